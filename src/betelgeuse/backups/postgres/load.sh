# Makes the databases anew from what dump.sh printed. What is there is set aside and comes back where anything fails.
set -eu
sql() { psql -U postgres -d postgres -XqAt -v ON_ERROR_STOP=1 "$@"; }
aside() {
    sql -v name="$1" <<'SQL'
SELECT format('ALTER DATABASE %I ALLOW_CONNECTIONS false', :'name') FROM pg_database WHERE datname = :'name' \gexec
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :'name' \g /dev/null
SELECT format('ALTER DATABASE %I RENAME TO %I', :'name', :'name' || '.before')
    FROM pg_database WHERE datname = :'name' \gexec
SQL
}
back() {
    sql -v name="$1" <<'SQL'
SELECT format('DROP DATABASE IF EXISTS %I WITH (FORCE)', :'name')
    FROM pg_database WHERE datname = :'name' || '.before' \gexec
SELECT format('ALTER DATABASE %I RENAME TO %I', :'name' || '.before', :'name')
    FROM pg_database WHERE datname = :'name' || '.before' \gexec
SELECT format('ALTER DATABASE %I ALLOW_CONNECTIONS true', :'name') FROM pg_database WHERE datname = :'name' \gexec
SQL
}
drop() {
    printf 'DROP DATABASE IF EXISTS :"name" WITH (FORCE)\n' | sql -v name="$1.before"
}
# Through cat: psql takes a pipe that says "nothing yet" for the end of its input.
cat | {
    read -r _ kind names
    [ "$kind" = databases ] || { echo "this is no copy of a PostgreSQL server" >&2; exit 1; }
    for name in $names; do
        # A restore that was killed left it so.
        back "$name"
        aside "$name"
    done
    # The first statement that fails ends it; without the last line something is missing.
    if [ "$(sql -o /dev/null -f - | tail -n 1)" = whole ]; then
        for name in $names; do drop "$name"; done
    else
        for name in $names; do back "$name"; done
        echo "the copy could not be loaded; what was there before is back" >&2
        exit 1
    fi
}
