module betelgeuse.local/programs/alertmanager-pages

go 1.26.0

require github.com/prometheus/alertmanager v0.28.1 // indirect
