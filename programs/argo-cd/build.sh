# The module with pages to embed, and without what nobody compiles.
rm -r argocd/docs argocd/ui/src
cp pages/* argocd/ui/dist/app/
mv argocd "$OUT/argocd"
