# Replaces the files of a folder ($1), or of some folders in it (the rest), with what dump.sh printed. What was there is
# set aside until all of it is loaded.
set -eu
cd "$1"
shift
# Everything, but for what a restore needs itself.
all() { find . -mindepth 1 -maxdepth 1 ! -name .restored ! -name .before "$@"; }
fail() { echo "$1" >&2; exit 1; }
# A restore that was killed half way.
if [ -d .before ]; then
    if [ $# = 0 ]; then
        all -exec rm -rf {} +
        find .before -mindepth 1 -maxdepth 1 -exec mv {} . \;
    else
        for folder; do
            if [ -e ".before/$folder" ]; then rm -rf "$folder" && mv ".before/$folder" "$folder"; fi
        done
    fi
    rm -rf .before
fi
rm -rf .restored
mkdir .restored
tar -x -p -f - -C .restored || { rm -rf .restored; fail "the copy could not be read; nothing was changed"; }
[ -n "$(ls -A .restored)" ] || { rm -rf .restored; fail "the copy is empty; nothing was changed"; }
mkdir .before
if [ $# = 0 ]; then
    all -exec mv {} .before/ \;
    find .restored -mindepth 1 -maxdepth 1 -exec mv {} . \;
else
    for folder; do
        if [ -e "$folder" ]; then
            mkdir -p ".before/$(dirname "$folder")"
            mv "$folder" ".before/$folder"
        fi
    done
    for folder; do
        if [ -e ".restored/$folder" ]; then
            mkdir -p "$(dirname "$folder")"
            mv ".restored/$folder" "$folder"
        fi
    done
fi
rm -rf .restored .before
