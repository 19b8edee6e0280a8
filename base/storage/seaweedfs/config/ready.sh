#!/bin/sh
# Succeeds when an object can be read by a signed request. The port answers before that: after a restart, objects are
# there once their volumes have reported.
set -eu

url=https://localhost:8333/betelgeuse-ready
# Credentials by standard input: arguments are seen by others. TLS guards the body.
ask() {
    printf 'user = "%s:%s"\n' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" |
        curl --config - --aws-sigv4 aws:amz:us-east-1:s3 --header 'x-amz-content-sha256: UNSIGNED-PAYLOAD' \
            --cacert /tls/ca.crt --silent --show-error --max-time 8 --write-out ' %{http_code}' "$@"
}

said="$(ask "$url/object")"
case "$said" in
    # The first time there is no such object: it is made, and read the next time.
    *" 404") said="$(ask --request PUT "$url") $(ask --request PUT --data ready "$url/object")" ;;
    "ready 200") exit 0 ;;
esac
echo "$said"
exit 1
