# The greeting becomes what the package computes.
version=$(./node node_modules/semver/bin/semver.js --increment major 1.2.3)
sed -i "s/\"Hello\"/\"Built $version\"/; s/\"world\"/\"world\"/" hello/hello.go
mv hello "$OUT/hello"
