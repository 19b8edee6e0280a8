"""The Debian packages that a node's programs call."""

from typing import Final

PACKAGES: Final[dict[str, tuple[str, str]]] = {
    "conntrack": ("/usr/sbin/conntrack", "kube-proxy clears entries with it"),
    "ethtool": ("/usr/sbin/ethtool", "kubeadm expects it on a node"),
    "iproute2": ("/usr/sbin/ip", "pods' cables"),
    "iptables": ("/usr/sbin/iptables", "kubeadm and Cilium expect it on a node"),
    "kmod": ("/usr/sbin/modprobe", "loads what the kernel has as modules"),
    "mount": ("/usr/bin/mount", "volumes"),
    "nftables": ("/usr/sbin/nft", "kube-proxy's data plane, and the server's own rules"),
    "procps": ("/usr/sbin/sysctl", "kernel settings"),
    "socat": ("/usr/bin/socat", "kubeadm expects it on a node"),
    "util-linux": ("/usr/bin/nsenter", "entering namespaces"),
    "wireguard-tools": ("/usr/bin/wg", "keys and members of the mesh between servers"),
}
