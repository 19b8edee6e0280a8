# Prints the server's databases as SQL. The first line names them, the last says that the copy is whole.
set -eu
say() { psql -U postgres -d postgres -XqAt -v ON_ERROR_STOP=1 -c "$1"; }
databases="$(say "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname !~ '^postgres$|[.]before$' ORDER BY 1")"
echo "-- databases" $databases
# Owners without their passwords: those come from the cluster's Secrets.
say "SELECT format('DO \$\$ BEGIN CREATE ROLE %I; EXCEPTION WHEN duplicate_object THEN NULL; END \$\$;', rolname)
     FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'postgres' ORDER BY 1"
for name in $databases; do
    pg_dump -U postgres --create "$name"
done
printf '%s\n' '\echo whole'
