"""The one reader of rendered trees: everything that asks what a tree declares asks here.

Only conformance/coverage.py reads the objects a second time, by itself: it is the check on this.
"""

from betelgeuse.tree.clients import Client
from betelgeuse.tree.gates import Gate
from betelgeuse.tree.listeners import Listener, hostnames
from betelgeuse.tree.matches import Match
from betelgeuse.tree.reader import STORE, STORE_ADMIN, Host, Route, TcpHost, TlsName, Tree
from betelgeuse.tree.refs import Ref, ref

__all__ = [
    "STORE",
    "STORE_ADMIN",
    "Client",
    "Gate",
    "Host",
    "Listener",
    "Match",
    "Ref",
    "Route",
    "TcpHost",
    "TlsName",
    "Tree",
    "hostnames",
    "ref",
]
