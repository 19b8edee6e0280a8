#!/bin/sh
# Succeeds when the server answers over TLS. The server reads a certificate once: a pod whose certificate was renewed is
# started anew, which loses a cache.
set -eu

if ! cmp -s /tls/tls.crt /run/valkey/certificate; then
    kill -TERM 1
    exit 1
fi
# By the environment: arguments are seen by others.
REDISCLI_AUTH="$(cat /secret/password)"
export REDISCLI_AUTH
said="$(valkey-cli -h localhost -p 6379 --tls --cacert /tls/ca.crt --user argocd --no-auth-warning PING)"
[ "$said" = PONG ]
