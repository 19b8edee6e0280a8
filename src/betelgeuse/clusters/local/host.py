"""What a cluster changes of the machine beside its own parts: before the first boot, and back at the end."""

from betelgeuse.clusters.local import apparmor, handsoff, network, sysctls
from betelgeuse.clusters.local.layout import Node


def prepare(first: Node) -> None:
    """Remember what the nodes change for the whole machine, and make the bridge, which nobody else may manage."""
    sysctls.remember()
    sysctls.raise_limits()
    apparmor.remember()
    handsoff.claim()
    network.bridge_up(first.gateway, first.prefix)


def restore() -> None:
    """Remove the bridge and put everything back."""
    network.bridge_down()
    handsoff.release()
    sysctls.restore()
    apparmor.restore()
