#!/bin/sh
# Starts Valkey with one account, whose password is the Secret's.
set -eu
umask 077

hash="$(sha256sum < /secret/password)"
{
    echo "user default off"
    echo "user argocd on #${hash%% *} ~* &* +@all -@dangerous +info"
} > /run/valkey/users.acl
# What the server reads now: ready.sh compares.
cp /tls/tls.crt /run/valkey/certificate
exec valkey-server /etc/valkey/valkey.conf
