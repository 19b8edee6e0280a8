# Prints the files of a folder ($1), or of some folders in it (the rest), as one tar archive.
set -eu
cd "$1"
shift
for folder; do
    [ -d "$folder" ] || { echo "$PWD has no folder $folder" >&2; exit 1; }
done
if [ $# = 0 ]; then set -- .; fi
# Without what an interrupted restore left, and without sockets, which are no content.
listed() { find "$@" \( -path ./.restored -o -path ./.before \) -prune -o \( ! -type s ! -path . \) "$print"; }
# The last names first: git's references come before the objects that they name, which are only ever added. A name that
# does not exist makes tar fail where find did.
case "$(tar --version 2>&1)" in
    *GNU*)
        print=-print0
        { listed "$@" || printf 'could not be listed\0'; } | sort -zr |
            tar --create --file=- --no-recursion --null --files-from=-
        ;;
    *)
        print=-print
        { listed "$@" || echo 'could not be listed'; } | sort -r | tar -c -f - --no-recursion -T -
        ;;
esac
