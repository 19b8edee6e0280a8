# The page, as files. Upstream's build but for the page's frame and vite.config.ts.
rm -r ui/tests ui/static/*
cp vite.config.ts ui/vite.config.ts
cp app.html ui/src/app.html
# A version has the same name wherever it is built; upstream's is the time.
name=$(find ui -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
sed -i "s/^\tkit: {/&\n\t\tversion: { name: '$name' },/" ui/svelte.config.js
grep -q "$name" ui/svelte.config.js
mv node_modules ui/node_modules
# The page's icon, in the colours of either theme.
sed 's/currentColor/#111111/g' ui/src/lib/assets/logo.svg > ui/static/favicon.svg
sed 's/currentColor/#fafafa/g' ui/src/lib/assets/logo.svg > ui/static/favicon-dark.svg
(
    cd ui
    NODE_ENV=production ../node node_modules/vite/bin/vite.js build
)
# Not built in $OUT: upstream empties the folder first, and this one lies in it.
mv ui/dist/* "$OUT"
