#!/bin/sh
# Starts a server once and writes down the classes it loads, as upstream's image does: kafka.jsa and storage.jsa, which
# a JVM maps instead of loading and checking each class anew.
#
# Needs: the jars in /opt/kafka/libs, train.properties beside this file. Leaves /opt/kafka/{kafka,storage}.jsa.
set -eu
here="$(dirname "$0")"
work=/tmp/train
mkdir "$work"
# One server that trusts itself.
keytool -genkeypair -alias kafka -dname CN=kafka -keyalg EC -groupname secp256r1 -ext san=ip:127.94.4.0 \
    -storetype PKCS12 -keystore "$work/keystore.p12" -storepass training
keytool -exportcert -alias kafka -keystore "$work/keystore.p12" -storepass training -file "$work/ca.der"
keytool -importcert -noprompt -alias ca -keystore "$work/keystore.p12" -storepass training -file "$work/ca.der"
echo '{"keys": [{"kty": "RSA", "kid": "training", "n": "sXchTmB3", "e": "AQAB"}]}' >"$work/jwks.json"

# The archive holds good for this class path only: start.sh joins it in the same way.
jars="$(printf '%s:' /opt/kafka/libs/*.jar)"
jars="${jars%:}"
java -XX:ArchiveClassesAtExit=/opt/kafka/storage.jsa -XX:+UseSerialGC -cp "$jars" kafka.tools.StorageTool format \
    --standalone --cluster-id=MkU3OEVBNTcwNTJENDM2Qg --config="$here/train.properties"
java -XX:ArchiveClassesAtExit=/opt/kafka/kafka.jsa -XX:+UseSerialGC -Xmx256m -Dlog4j2.level=INFO \
    -Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file:///tmp/train/jwks.json \
    -Dorg.apache.kafka.sasl.oauthbearer.allowed.files=/tmp/train/jwks.json \
    -cp "$jars" kafka.Kafka "$here/train.properties" >"$work/log" 2>&1 &
server=$!
until grep -q 'Kafka Server started' "$work/log"; do
    kill -0 "$server" || { cat "$work/log" >&2; exit 1; }
    sleep 1
done
kill -TERM "$server"
# A JVM that a signal ends says 128 + 15.
wait "$server" || [ $? -eq 143 ]
ls -l /opt/kafka/kafka.jsa /opt/kafka/storage.jsa
rm -rf "$work"
