"""What systemd is told of a node's two programs: text.

They make mounts and namespaces for every container, and a container inherits what its parent may not do: most of what
confines other services would confine or break the platform's pods.
"""

from collections.abc import Mapping
from typing import Final

from betelgeuse.clusters.servers import place

CONTAINERD: Final = "containerd.service"
KUBELET: Final = "kubelet.service"

_COMMON: Final = """\
Restart=always
RestartSec=2
# Timers may be a little late, so that a wakeup serves several (docs/performance.md).
TimerSlackNSec=1ms
# A session's soft limit, 1,024, is too low for databases, and containers inherit this one.
LimitNOFILE=1048576
LimitCORE=0
TasksMax=infinity
# Containers have cgroups of their own below the unit's or beside it; none is systemd's to touch.
Delegate=yes
# A restart leaves containers alone.
KillMode=process
LockPersonality=yes
"""
_FIRST: Final = "OOMScoreAdjust=-999\n"
"""Pods are to be killed before what runs them."""
_KUBECONFIGS: Final = (
    "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
)


def containerd(programs: Mapping[str, str], *, resources: bool) -> str:
    """Return containerd's unit; `programs` are the folders on the server by program."""
    search = f"{programs['containerd']}:{programs['runc']}:{place.PATH}"
    return f"""\
[Unit]
Description=containerd, which runs the containers of Betelgeuse
After=network.target local-fs.target

[Service]
Type=notify
Environment=PATH={search}
ExecStartPre=-/sbin/modprobe overlay
# Cilium is confined and mounts nothing itself, and systemd leaves this file system out in containers.
ExecStartPre=/bin/sh -ec 'mountpoint -q /sys/fs/bpf || {{ mount -t bpf bpf /sys/fs/bpf; touch /run/betelgeuse-bpf; }}'
ExecStart={programs["containerd"]}/containerd --config {place.CONTAINERD}
{_COMMON}{_FIRST if resources else ""}
[Install]
WantedBy=multi-user.target
"""


def kubelet(programs: Mapping[str, str], *, resources: bool) -> str:
    """Return the kubelet's unit: it waits for kubeadm, which writes its configuration and then starts it."""
    return f"""\
[Unit]
Description=kubelet, the agent of Kubernetes
Wants=network-online.target containerd.service
After=network-online.target containerd.service betelgeuse-mesh.service
ConditionPathExists=/var/lib/kubelet/config.yaml
StartLimitIntervalSec=0

[Service]
Environment=PATH={place.PATH}
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
ExecStart={programs["kubernetes"]}/kubelet {_KUBECONFIGS} --config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS
{_COMMON}{_FIRST if resources else ""}
[Install]
WantedBy=multi-user.target
"""
