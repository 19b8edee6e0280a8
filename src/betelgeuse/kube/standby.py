"""Our kubeconfig names one control plane of several; while that is away, another one takes its place there."""

import re
import socket
from typing import Final

from betelgeuse import paths, servers
from betelgeuse.progress import say

_SECONDS: Final = 3.0


def _answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=_SECONDS):
            return True
    except OSError:
        return False


def settle(env: str) -> None:
    """Have the environment's own kubeconfig name a control plane that answers, where one does."""
    file = paths.kubeconfig_path(env)
    controls = [server.address for server in servers.load(env) if server.controls]
    if len(controls) < 2 or not file.is_file():  # noqa: PLR2004 - one, and another in its place
        return
    text = file.read_text("utf-8")
    for named, port in re.findall(r"server: https://([0-9.]+):(\d+)", text):
        if named not in controls or _answers(named, int(port)):
            continue
        if other := next((each for each in controls if each != named and _answers(each, int(port))), ""):
            say(f"{named} does not answer: the API is asked at {other}")
            paths.write(file, text.replace(f"https://{named}:{port}", f"https://{other}:{port}"), private=True)
