"""What the model servers tell about themselves: inside, and only inside."""

import pytest
import requests

from betelgeuse.kube import Obj
from betelgeuse.tree import Host
from conformance.site import Site
from conformance.timeouts import TIMEOUTS
from conformance.verdict import require


def _page(site: Site, pod: Obj, port: int) -> str:
    """Fetch the page as whoever may forward ports can: network policies keep everybody else out, on any node."""
    meta = pod["metadata"]
    with site.forward(meta["namespace"], meta["name"], port) as base, requests.Session() as session:
        # The proxies of the environment do not lead to this machine's own ports.
        session.trust_env = False
        answer = session.get(f"{base}/metrics", timeout=TIMEOUTS.api)
    return answer.text if answer.ok else f"{answer.status_code} {answer.text[:300]!r}"


def _require_metrics(site: Site, host: Host, marker: str) -> None:
    # Beside the model server, others may answer for what it has not.
    pod = next((each for each in site.pods(host) if each["metadata"]["name"].startswith(host.label)), {})
    ports = [p["containerPort"] for c in pod.get("spec", {}).get("containers", []) for p in c.get("ports", [])]
    require(
        pod and ports,
        where=str(host),
        want="a running pod with a declared port",
        got=f"pod {pod.get('metadata', {}).get('name')}, ports {ports}",
        reproduce=f"kubectl -n {host.namespace} get pods",
    )

    pages = [_page(site, pod, port) for port in ports]

    name = pod["metadata"]["name"]
    require(
        any(marker in page for page in pages),
        where=f"{host.namespace}/{name}, port {ports}",
        want=f"a metrics page with {marker!r}",
        got="; ".join(page[:300] for page in pages),
        reproduce=f"kubectl -n {host.namespace} port-forward pod/{name} 8080:{ports[0]}; curl 127.0.0.1:8080/metrics",
    )


@pytest.mark.feature("llm")
def test_llm_has_metrics_inside(site: Site, llm: Host) -> None:
    """The language model counts its tokens in Prometheus metrics, for the inside."""
    _require_metrics(site, llm, "tokens_predicted_total")


@pytest.mark.feature("embeddings")
def test_embeddings_has_metrics_inside(site: Site, embeddings: Host) -> None:
    """The embedding model has Prometheus metrics, for the inside."""
    _require_metrics(site, embeddings, "# TYPE")
