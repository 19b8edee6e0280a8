# Takes a node of Betelgeuse off its server. Safe to repeat; what is not there is no failure.
# The script itself comes by standard input: nothing that it calls may read on.
quiet() { "$@" </dev/null >/dev/null 2>&1 || :; }

quiet systemctl disable --now kubelet.service
# Every pod's processes, whatever they think of it.
quiet systemctl kill --kill-whom=all --signal=KILL kubepods.slice
quiet systemctl disable --now containerd.service
for pid in $(pgrep -f '^/opt/betelgeuse/programs/[^ ]*/containerd-shim-runc-v2 '); do quiet kill -9 "$pid"; done
quiet systemctl stop kubepods.slice

# Longest first: what is mounted inside goes before what it is mounted in.
cut -d ' ' -f 2 /proc/mounts | grep -E '^/(var/lib/(kubelet|containerd)|run/(containerd|netns|cilium))(/|$)' | sort -r |
  while read -r point; do quiet umount -l "$point"; done

for link in $(ip -o link show | sed -n 's/^[0-9]*: \(\(cilium\|lxc\)[^@:]*\).*/\1/p'); do quiet ip link delete "$link"; done
for link in $(ip -o link show | sed -n 's/^[0-9]*: \([^@:]*\).*/\1/p'); do
  quiet tc filter delete dev "$link" ingress
  quiet tc filter delete dev "$link" egress
done
# The profile of containers, which containerd loads.
if grep -qs '^cri-containerd.apparmor.d ' /sys/kernel/security/apparmor/profiles; then
  printf cri-containerd.apparmor.d >/sys/kernel/security/apparmor/.remove
fi
# A program whose link or map is pinned nowhere is unloaded.
rm -rf /sys/fs/bpf/cilium /sys/fs/bpf/tc
if [ -e /run/betelgeuse-bpf ]; then
  quiet umount /sys/fs/bpf
  rm /run/betelgeuse-bpf
fi
for family in ip ip6; do quiet nft delete table "$family" kube-proxy; done
for tool in iptables ip6tables; do
  if rules=$("$tool-save" 2>/dev/null) && [ -n "$rules" ]; then
    printf '%s\n' "$rules" | grep -vE 'CILIUM_|KUBE-|cilium' | "$tool-restore" || :
  fi
done
# What iptables leaves behind its last rule: tables of empty chains that let everything pass.
nft list tables 2>/dev/null | while read -r _ family name; do
  if ! nft list table "$family" "$name" | grep -qvE '^(table .*[{]|[[:space:]]*(chain .*[{]|type .* policy accept;|[}])?)$'; then
    quiet nft delete table "$family" "$name"
  fi
done
# Cilium's own: rules that lead marked packets to its tables.
for family in -4 -6; do
  ip "$family" rule list 2>/dev/null | sed -n 's/^\([0-9]*\):.*lookup \(200[45]\).*/\1 \2/p' |
    while read -r priority table; do
      quiet ip "$family" rule delete priority "$priority" table "$table"
      quiet ip "$family" route flush table "$table"
    done
  # It moves the rule for local addresses behind its own.
  if ip "$family" rule list 2>/dev/null | grep -q '^100:.*lookup local'; then
    quiet ip "$family" rule add priority 0 lookup local
    quiet ip "$family" rule delete priority 100 lookup local
  fi
done

rm -rf /etc/cni /etc/kubernetes /opt/cni /opt/containerd /opt/local-path-provisioner /run/containerd /run/cilium /run/flannel \
  /var/lib/cilium /var/lib/cni /var/lib/containerd /var/lib/etcd /var/lib/kubelet /var/log/containers /var/log/pods \
  /var/run/cilium /usr/libexec/kubernetes /etc/sysctl.d/99-zzz-override_cilium.conf /etc/betelgeuse/joined
# Made where a pod mounts it and a kernel without modules has none.
quiet rmdir /usr/lib/modules
