# The server's pages. Types are upstream's to check: the bundler needs none.
cd mantine-ui
../node node_modules/vite/bin/vite.js build
mv dist "$OUT/mantine-ui"
