# The module as it compiles: with a page to embed, and with a file that a module's archive cannot hold, a link.
cp -r page argo-workflows/ui/dist
cp argo-workflows/workflow/executor/osspecific/signal_darwin.go argo-workflows/workflow/executor/osspecific/signal_linux.go
mv argo-workflows "$OUT/argo-workflows"
