# Leads the cluster's endpoint to a control plane that answers: the first of those named, so that each server asks its own.
# Usage: bash endpoint.sh ENDPOINT PORT ADDRESS...
endpoint=$1 port=$2
shift 2

answers() { timeout 1 bash -c "</dev/tcp/$1/$port" 2>/dev/null; }

# Taken and replaced in one step: there is no moment without a way.
lead() {
  nft -f - <<RULES || exit 1
add table ip betelgeuse-api
delete table ip betelgeuse-api
table ip betelgeuse-api {
  chain output {
    type nat hook output priority -100; policy accept;
    ip daddr $endpoint tcp dport $port dnat to $1
  }
}
RULES
}

at=$1
lead "$at"
while sleep 2; do
  for each in "$@"; do
    answers "$each" || continue
    if [ "$each" != "$at" ]; then
      echo "$endpoint leads to $each"
      lead "$each"
      # Who still talks to the one that is gone is told so by the other, and asks anew.
      answers "$at" || conntrack -D -p tcp --orig-dst "$endpoint" --orig-port-dst "$port" >/dev/null 2>&1
      at=$each
    fi
    break
  done
done
