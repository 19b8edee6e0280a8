#!/bin/sh
# Starts Kafka; gives the volume its form on the first start. The same in our image and in upstream's.
#
# Needs: PUBLIC_NAME, ISSUER, JAVA_OPTS; the files of the Secrets in /tls and /secret; /keys/jwks.json,
# which keys.sh keeps; a writable /run/kafka.
set -eu
umask 077
config=/etc/kafka/betelgeuse
settings=/run/kafka/server.properties
address="$(hostname).kafka-brokers.broker.svc.cluster.local"

{
    cat "$config/server.properties"
    echo "node.id=$(hostname | sed 's/.*-//')"
    echo "advertised.listeners=CLIENT://$address:9092,INTERNAL://$address:9093,EXTERNAL://$PUBLIC_NAME:9094"
    echo "sasl.oauthbearer.expected.issuer=$ISSUER"
    for prefix in '' listener.name.client. listener.name.external.; do
        echo "${prefix}ssl.keystore.password=$(cat /secret/keystore-password)"
    done
    echo "ssl.truststore.password=$(cat /secret/keystore-password)"
} >"$settings"

# In this order: the archive of classes holds good for the class path it was made with.
jars="$(printf '%s:' /opt/kafka/libs/*.jar)"
jars="${jars%:}"

# meta.properties is written last: a kill -9 before it is a first start again.
if [ ! -f /var/lib/kafka/data/logs/meta.properties ]; then
    rm -rf /var/lib/kafka/data/logs
    java -XX:+UseSerialGC -XX:SharedArchiveFile=/opt/kafka/storage.jsa -cp "$jars" kafka.tools.StorageTool format \
        --standalone --cluster-id=betelgeuse --config="$settings"
fi

# shellcheck disable=SC2086 # several options
exec java $JAVA_OPTS -XX:SharedArchiveFile=/opt/kafka/kafka.jsa -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true \
    -Dlog4j2.configurationFile="$config/log4j2.properties" \
    -Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file:///keys/jwks.json \
    -Dorg.apache.kafka.sasl.oauthbearer.allowed.files=/keys/jwks.json \
    -cp "$jars:/jmx-metrics/*" JmxMetrics 9404 "$config/metrics" kafka.Kafka "$settings"
