#!/bin/bash
# The server without upstream's start scripts, which write their own configuration: in our image as in upstream's.
set -euo pipefail
export NEO4J_HOME=/var/lib/neo4j NEO4J_CONF=/etc/neo4j
libraries="$NEO4J_HOME/lib/*"
# The first server that ends well leaves its loaded classes behind: later starts take half the work.
server=(java -Xms256m -Xmx256m -XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError
  -XX:+AutoCreateSharedArchive -XX:SharedArchiveFile=/data/classes.jsa '-Xlog:cds*=error'
  --add-opens=java.base/java.nio=ALL-UNNAMED --add-opens=java.base/java.io=ALL-UNNAMED
  --add-opens=java.base/sun.nio.ch=ALL-UNNAMED --enable-native-access=ALL-UNNAMED
  --add-modules=jdk.incubator.vector -Dlog4j2.disable.jmx=true -Dio.netty.tryReflectionSetAccessible=true
  -cp "$libraries:/jmx-metrics/*" JmxMetrics 9404 "$NEO4J_CONF/metrics" org.neo4j.server.Neo4jCommunity
  --home-dir="$NEO4J_HOME" --config-dir="$NEO4J_CONF" --console-mode
  -c "server.bolt.advertised_address=$PUBLIC_NAME:7687"
  -c "server.http.x_forward.allow_hosts=$PUBLIC_NAME"
  -c "dbms.security.http_access_control_allow_origin=https://$PUBLIC_NAME")

# The administrator's password, by a server that asks for none and that nobody but this script can reach.
set_password() {
  "${server[@]}" -c dbms.security.auth_enabled=false -c server.default_listen_address=127.0.0.1 \
    -c server.http_enabled_modules=QUERY_API_ENDPOINTS &
  until (: </dev/tcp/127.0.0.1/7474) 2>/dev/null; do
    kill -0 $! # A server that ended ends the script.
    sleep 1
  done
  local body answer
  body='{"statement": "ALTER USER neo4j SET PASSWORD $new CHANGE NOT REQUIRED", "parameters": {"new": "'$(</secret/password)'"}}'
  exec 3<>/dev/tcp/127.0.0.1/7474
  printf 'POST /db/system/query/v2 HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: %s\r\n\r\n%s' \
    "${#body}" "$body" >&3
  answer=$(cat <&3)
  exec 3>&-
  kill $!
  wait $! || [ $? = 143 ]
  # A script that was killed may have set it already.
  [[ $answer == *" 202 "* || $answer == *"cannot be the same"* ]] || { echo "the password is not set: $answer" >&2; exit 1; }
}

wanted=$(sha256sum </secret/password)
known=/data/password.sha256
if [ ! -d /data/databases/system ]; then
  # Only the file's name is an argument: the command reads the password there.
  java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$libraries" \
    org.neo4j.cli.AdminTool dbms set-initial-password @/secret/password
elif [ ! -e $known ] || [ "$(<$known)" != "$wanted" ]; then
  set_password
fi
echo "$wanted" >$known

# A server reads its certificate once: a renewed one ends it, and the kubelet starts it again.
certificate=$(readlink /tls/..data)
(while [ "$(readlink /tls/..data)" = "$certificate" ]; do sleep 600; done; kill $$) &
exec "${server[@]}"
