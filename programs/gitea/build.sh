# The server's pages: scripts, styles and fonts, beside the pictures that the module has.
mv node_modules gitea/node_modules
(
    cd gitea
    # Maps of the sources are for who changes them.
    ENABLE_SOURCEMAP=false NODE_ENV=production ../node node_modules/vite/bin/vite.js build
)
mv gitea/public "$OUT/public"
