"""A server on its way to be a node."""

from dataclasses import dataclass

from betelgeuse.clusters.local import kubeadm
from betelgeuse.clusters.local.kubeadm import Member
from betelgeuse.clusters.servers.facts import Facts
from betelgeuse.servers import Server
from betelgeuse.ssh import Connection


@dataclass(frozen=True)
class Node:
    """A server on its way to be a node."""

    connection: Connection
    found: Facts
    member: Member
    """By its name, at the address that it has as a node."""
    traits: kubeadm.Traits

    @property
    def server(self) -> Server:
        """As servers.yaml lists it."""
        return self.connection.server
