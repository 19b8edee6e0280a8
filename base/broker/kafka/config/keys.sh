#!/bin/sh
# Keeps the realm's public keys in /keys/jwks.json, which Kafka reads again when it changes. Asked by Kafka itself, they
# would have to be there before it starts; and while Keycloak is away, the keys that are known stay good.
#
# Needs: KEYS, their address; wget.
set -eu
umask 022
trap 'exit 0' TERM

[ -s /keys/jwks.json ] || echo '{"keys": []}' >/keys/jwks.json
while :; do
    if wget -q -T 5 -O /keys/draft "$KEYS" && grep -q '"keys"' /keys/draft; then
        mv /keys/draft /keys/jwks.json
    else
        echo "keys.sh: no keys from $KEYS; those that are known stay" >&2
    fi
    # How long a new key of the realm may stay unknown, and a withdrawn one accepted. In the background: a signal ends it.
    sleep 30 &
    wait $!
done
