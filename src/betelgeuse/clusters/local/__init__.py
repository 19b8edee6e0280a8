"""The embedded cluster: kubeadm on nodes made of Linux namespaces, from binaries we built."""
