# The pages, for the command to embed. Types are upstream's to check: the bundler needs none.
node=$PWD/node
dist=$PWD/alertmanager/ui/app/dist

# At /ui/, upstream's next ones: they show the server's state so far.
cd alertmanager/ui/mantine-ui
"$node" node_modules/vite/bin/vite.js build
rm -r node_modules
cd ../../..

# At /, those in use.
mkdir "$dist/elm"
"$node" pages.js pages.go "$dist/elm"

mv alertmanager "$OUT/alertmanager"
