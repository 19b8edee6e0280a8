# The server's pages and plugins, and the module with the pages in it.

# The pages. Their core library is the module's own source: the registry has other versions of it. It stays outside of
# node_modules, where the bundler reads TypeScript.
rm -r node_modules/@perses-dev/core
mv node_modules perses/ui/node_modules
ln -s ../../core perses/ui/node_modules/@perses-dev/core
sed -i 's#"dist/[a-z/.]*index\.[a-z.]*"#"src/index.ts"#' perses/ui/core/package.json
# The plugin of tables knows this by its older name.
echo "export { transformData as useTransformData } from './utils/transform-data';" >> perses/ui/core/src/index.ts
(
    cd perses/ui/app
    NODE_ENV=production ../../../node ../node_modules/@rspack/cli/bin/rspack.js build
    # The server fills in a prefix of paths, here none, in scripts alone.
    sed -i 's#PREFIX_PATH_PLACEHOLDER/#/#g' dist/*.css
    # They are embedded and sent compressed.
    find dist -type f -exec gzip -9n {} +
)
{
    cat perses/ui/embed.go.tmpl
    printf '\n//go:embed'
    (cd perses/ui && find app/dist -name '*.gz' | sort | sed 's/^/ /' | tr -d '\n')
    printf '\nvar embedFS embed.FS\n'
} > embed.go
mv embed.go perses/ui/embed.go

# The plugins, as archives that the server unpacks. Their packages lack the schemas by which the server knows what may be
# given to them: ours stand in.
mkdir "$OUT/archives"
for schemas in schemas/*/; do
    plugin=$(basename "$schemas")
    package=perses/ui/node_modules/@perses-dev/$plugin
    mkdir "$plugin"
    cp -r "$package/__mf" "$package/mf-manifest.json" "$plugin"
    find "$plugin" -name '*.map' -delete
    cp -r "$schemas" "$plugin/schemas"
    mkdir "$plugin/cue.mod"
    printf 'module: "betelgeuse.local/%s@v0"\nlanguage: version: "v0.15.4"\n' "$plugin" > "$plugin/cue.mod/module.cue"
    ./node -e "
        const said = require('./$package/package.json');
        said.perses.schemasPath = 'schemas';
        process.stdout.write(JSON.stringify(said, null, 2));
    " > "$plugin/package.json"
    name=$(./node -p "require('./$package/mf-manifest.json').id")
    tar --create --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --directory="$plugin" . |
        gzip -9n > "$OUT/archives/$name.tar.gz"
done

# What is in the module from here on is compiled.
rm -r perses/ui/node_modules perses/ui/core perses/ui/e2e perses/ui/app/src
mv perses "$OUT/perses"
