#!/bin/sh
# Starts Valkey with the accounts it had, and with the administrator's password from the Secret.
#
# The accounts are in a file on the volume, which `ACL SAVE` writes. Two lines of it are written at each start: nobody
# comes in without a name, and who makes the accounts has the password of now. Needs: the volume at /data.
set -eu
umask 077

users=/data/users.acl
hash="$(sha256sum < /secret/password)"
{
    echo "user default off"
    echo "user admin on #${hash%% *} ~* &* +@all"
    if [ -f "$users" ]; then
        sed -n -e '/^user default /d' -e '/^user admin /d' -e '/^user /p' "$users"
    fi
} > "$users.draft"
# A kill leaves the old file or the new one.
mv "$users.draft" "$users"

exec valkey-server /etc/valkey/valkey.conf
