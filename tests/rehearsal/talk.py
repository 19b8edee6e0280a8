"""Two pods on two servers that talk all the time, over one connection: what they say, and whether it was ever lost."""

import json
from typing import Any, Final

from betelgeuse.builds import images
from tests.rehearsal.machines import Machine
from tests.rehearsal.story import kubectl, until

_NAMESPACE: Final = "rehearsal"
_IMAGE: Final = "portal"
"""Any of the platform's own with a Python."""
_READY_SECONDS: Final = 90.0
_LISTEN: Final = """
import http.server
class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("", 8080), Echo).serve_forever()
"""
_SPEAK: Final = """
import http.client, sys, time
to, word, heard, lost = sys.argv[1], sys.argv[2], 0, 0
while True:
    wire = http.client.HTTPConnection(to, 8080, timeout=60)
    try:
        while True:
            wire.request("GET", "/" + word)
            if word not in wire.getresponse().read().decode():
                raise OSError("another answer")
            heard += 1
            print(heard, lost, flush=True)
            time.sleep(0.1)
    except (OSError, http.client.HTTPException):
        lost += 1
        print(heard, lost, flush=True)
        time.sleep(0.1)
"""


def _pod(name: str, machine: Machine, *arguments: str) -> dict[str, Any]:
    confined = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    container = {
        "name": name,
        "image": images.reference(images.named(_IMAGE)),
        "imagePullPolicy": "Never",
        "command": ["python3", "-c", *arguments],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}},
        "securityContext": confined,
    }
    ours = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": _NAMESPACE},
        "spec": {
            "nodeName": machine.name,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": ours,
            "containers": [container],
        },
    }


def begin(speaker: Machine, listener: Machine, word: str) -> None:
    """Have a pod on one server tell a pod on another a word, again and again."""
    end()
    kubectl("create", "namespace", _NAMESPACE)
    kubectl("apply", "-f", "-", data=json.dumps(_pod("listener", listener, _LISTEN)))
    address = ""

    def starting() -> str:
        nonlocal address
        address = kubectl("-n", _NAMESPACE, "get", "pod", "listener", "--output=jsonpath={.status.podIP}")
        return "" if address else "the listener has no address yet"

    until("the listener starts", _READY_SECONDS, starting)
    kubectl("apply", "-f", "-", data=json.dumps(_pod("speaker", speaker, _SPEAK, address, word)))
    until("the pods talk", _READY_SECONDS, lambda: "" if heard()[0] > 0 else "nothing was heard yet")


def heard() -> tuple[int, int]:
    """Return how often the word came back, and how often the connection was lost."""
    last = kubectl("-n", _NAMESPACE, "logs", "speaker", "--tail=1").split()
    return (int(last[0]), int(last[1])) if last else (0, 0)


def goes_on(seconds: float, what: str) -> float:
    """Wait until more is heard than now; return after how long."""
    before, _ = heard()
    return until(what, seconds, lambda: "" if heard()[0] > before else "nothing new was heard")


def end() -> None:
    """Take the pods away."""
    kubectl("delete", "namespace", _NAMESPACE, "--ignore-not-found", seconds=120)
