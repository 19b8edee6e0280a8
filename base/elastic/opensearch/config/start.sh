#!/bin/bash
# The server without upstream's start scripts, which want a folder of configuration that they can write: in our image as in
# upstream's, which has Java in a folder of its own.
set -euo pipefail
home=/usr/share/opensearch
PATH=$PATH:$home/jdk/bin

tool() { # CLASS ARGUMENT...
  java -Xmx64m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$home/plugins/opensearch-security/*:$home/lib/*" \
    org.opensearch.security.tools."$@"
}

# It makes a keystore beside its configuration, and looks for certificates there alone.
umask 077
install -m 0600 /etc/opensearch/opensearch.yml /etc/opensearch/log4j2.properties /tls/* /conf
mkdir -p /conf/opensearch-security
cd /conf/opensearch-security
install -m 0600 /etc/opensearch/security.yml config.yml
for type in roles action_groups tenants nodes_dn allowlist audit; do
  echo "_meta: {type: ${type//_/}, config_version: 2}" >$type.yml
done
cat >roles_mapping.yml <<END
_meta: {type: rolesmapping, config_version: 2}
all_access: {reserved: true, users: [admin]}
END
hash=$(PASSWORD=$(</secret/password) tool Hasher -env PASSWORD | tail -n 1)
cat >internal_users.yml <<END
_meta: {type: internalusers, config_version: 2}
admin: {reserved: true, hash: '$hash'}
END

# These files make the first server's index; later ones go on with it, so a new password is put into it here.
set_password() {
  local users=/tmp/security/internal_users.yml
  security_admin() {
    tool SecurityAdmin -h localhost -p 9200 -nhnv -cacert /tls/ca.crt -cert /admin/tls.crt -key /admin/tls.key "$@"
  }
  until (: </dev/tcp/127.0.0.1/9200) 2>/dev/null; do sleep 1; done
  until security_admin -backup /tmp/security >/tmp/security.log; do sleep 5; done
  sed -i "/^admin:/,/hash:/ s#hash:.*#hash: '$hash'#" $users
  security_admin -t internalusers -f $users >/tmp/security.log
  echo "$wanted" >$known
  echo "the administrator has a new password"
}
wanted=$(sha256sum </secret/password)
known=/data/password.sha256
if [ ! -e $known ]; then
  echo "$wanted" >$known
elif [ "$(<$known)" != "$wanted" ]; then
  set_password &
fi

# A server reads its certificate once: a renewed one ends it, and the kubelet starts it again.
certificate=$(readlink /tls/..data)
(while [ "$(readlink /tls/..data)" = "$certificate" ]; do sleep 600; done; kill $$) &

exec java -Xms256m -Xmx256m -XX:+UseSerialGC -Xss1m -XX:MaxDirectMemorySize=128m -XX:+ExitOnOutOfMemoryError \
  -Djava.awt.headless=true -Djna.nosys=true -Djna.tmpdir=/tmp -Djava.io.tmpdir=/tmp -Dio.netty.noUnsafe=true \
  -Dio.netty.noKeySetOptimization=true -Dio.netty.recycler.maxCapacityPerThread=0 \
  -Dio.netty.allocator.numDirectArenas=0 -Dlog4j.shutdownHookEnabled=false -Dlog4j2.disable.jmx=true \
  -Djava.locale.providers=SPI,CLDR --add-modules=jdk.incubator.vector --enable-native-access=ALL-UNNAMED \
  -javaagent:"$(echo $home/agent/opensearch-agent-[0-9]*.jar)" \
  -Dopensearch.path.home=$home -Dopensearch.path.conf=/conf -Dopensearch.distribution.type=zip \
  -Dopensearch.bundled_jdk=false -cp "$home/lib/*" org.opensearch.bootstrap.OpenSearch
