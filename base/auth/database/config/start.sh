#!/bin/sh
# Starts PostgreSQL; makes its files on the first start, sets the passwords on every start.
#
# Needs: PGDATA below the volume, initdb and postgres on PATH, a user with a name, the Secret in /secret.
# A kill -9 at any point is harmless: files are made under another name and renamed when they are complete.
set -eu
umask 077

secret=/secret
config=/etc/postgresql
draft="$PGDATA.draft"

# Run the statements of standard input, one a line, on the files in $1, without a server: passwords are in statements,
# and statements reach neither an argument nor a log.
run_sql() {
    said="$(postgres --single -D "$1" -c log_min_error_statement=panic postgres 2>&1 >/dev/null)" ||
        said="FATAL: $said"
    # Single-user mode ends well although a statement failed.
    case "$said" in
        *ERROR:* | *FATAL:* | *PANIC:*)
            echo "start.sh: $said" >&2
            return 1
            ;;
    esac
}

# Print the content of a file as an SQL literal.
literal() {
    printf "'%s'" "$(sed "s/'/''/g" "$1")"
}

if [ ! -d "$PGDATA" ]; then
    rm -rf "$draft"
    mkdir -p "$draft"
    # PostgreSQL's own collation: another C library in a newer image breaks no index.
    initdb --pgdata="$draft" --username=postgres --pwfile="$secret/postgres-password" --auth=scram-sha-256 \
        --encoding=UTF8 --locale=C --locale-provider=builtin --builtin-locale=C.UTF-8
    {
        echo "CREATE ROLE keycloak LOGIN;"
        echo "CREATE DATABASE keycloak OWNER keycloak;"
        echo "REVOKE ALL ON DATABASE keycloak FROM PUBLIC;"
    } | run_sql "$draft"
    mv "$draft" "$PGDATA"
    sync "${PGDATA%/*}"
fi

# A killed server leaves a lock with its process number, which another process has now. Nobody else can be at work here:
# the volume is this pod's alone (ReadWriteOncePod).
rm -f "$PGDATA/postmaster.pid"
{
    echo "ALTER ROLE postgres PASSWORD $(literal "$secret/postgres-password");"
    echo "ALTER ROLE keycloak PASSWORD $(literal "$secret/password");"
    # Files of before it was there, or of a copy, lack it.
    echo "DO \$\$ BEGIN IF to_regrole('metrics') IS NULL THEN CREATE ROLE metrics LOGIN; END IF; END \$\$;"
    echo "GRANT pg_monitor TO metrics;"
    echo "ALTER ROLE metrics PASSWORD $(literal "$secret/metrics-password");"
} | run_sql "$PGDATA"

exec postgres -D "$PGDATA" -c config_file="$config/postgresql.conf" -c hba_file="$config/pg_hba.conf"
