#!/bin/sh
# Succeeds when the server answers an account over TLS. The server reads a certificate once: a renewed one is handed to
# it here.
set -eu

# By the environment: arguments are seen by others.
REDISCLI_AUTH="$(cat /secret/password)"
export REDISCLI_AUTH

ask() {
    said="$(valkey-cli -h localhost -p 6379 --tls --cacert /tls/ca.crt --user admin --no-auth-warning "$@")"
}

loaded=/run/valkey/certificate
if ! cmp -s /tls/tls.crt "$loaded"; then
    ask CONFIG SET tls-cert-file /tls/tls.crt tls-key-file /tls/tls.key
    [ "$said" = OK ]
    # By force: the copy is read-only, as what the kubelet mounts.
    cp -f /tls/tls.crt "$loaded"
fi
ask PING
[ "$said" = PONG ]
