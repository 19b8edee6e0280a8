# The jars that lie inside the server's jar, side by side; and its own classes as one of them, which an archive of
# classes needs.
python3 -m zipfile -e zipkin.jar unpacked
mkdir "$OUT/zipkin"
mv unpacked/BOOT-INF/lib "$OUT/zipkin/lib"
rm "$OUT"/zipkin/lib/spring-boot-jarmode-tools-*.jar
cd unpacked/BOOT-INF/classes
python3 -m zipfile -c "$OUT/zipkin/lib/zipkin-server.jar" ./*
