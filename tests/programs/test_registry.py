"""Images reach a registry and are told apart there: Debian's docker-registry, started for the run."""

import json
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from betelgeuse import system
from betelgeuse.builds import images, registry
from betelgeuse.errors import BuildError
from tests.ports import free_port

CONFIG = """version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}/storage}}}}
http: {{addr: "{address}", tls: {{certificate: {folder}/tls.crt, key: {folder}/tls.key}}}}
"""
SECONDS = 20


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where a registry of the test's own listens, by TLS, with a certificate that skopeo trusts."""
    system.install(system.REGISTRY)
    # Unpacked, not installed: its package starts a service.
    fetch = ["apt-get", "download", "-qq", "docker-registry"]
    subprocess.run(fetch, cwd=tmp_path, check=True, timeout=120)  # noqa: S603 - our own words
    (package,) = tmp_path.glob("*.deb")
    subprocess.run(["dpkg", "-x", str(package), str(tmp_path)], check=True)  # noqa: S603 - our own words
    own = f"127.0.0.1:{free_port()}"
    (tmp_path / "config.yml").write_text(CONFIG.format(folder=tmp_path, address=own), "utf-8")
    key, certificate = tmp_path / "tls.key", tmp_path / "tls.crt"
    issue = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=registry"]
    issue += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(issue, check=True, capture_output=True)  # noqa: S603 - our own words
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    argv = [str(tmp_path / "usr" / "bin" / "docker-registry"), "serve", str(tmp_path / "config.yml")]
    with subprocess.Popen(argv) as process:  # noqa: S603 - our own words
        try:
            until_it_listens(int(own.rpartition(":")[2]), process)
            yield own
        finally:
            process.terminate()


def until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait for the registry's port; fail when it ends, or does not come."""
    deadline = time.monotonic() + SECONDS
    while True:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, "docker-registry ended"
        assert time.monotonic() < deadline, f"docker-registry does not listen after {SECONDS} s"
        time.sleep(0.1)


def test_an_image_is_pushed_once_and_told_by_its_digest(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under the tag of its build; what the registry holds under the digest is that image."""
    image = images.named("pebble")
    images.build(image)
    place = f"{address}/team/platform"

    target = registry.push(image, place)
    again = registry.push(image, place)

    assert target == again == f"{place}/pebble:{images.reference(image).rpartition(':')[2]}"
    assert capsys.readouterr().err.count(": there already") == 1
    url = f"https://{address}/v2/team/platform/pebble/manifests/{registry.digest(target)}"
    request = urllib.request.Request(url, headers={"Accept": "application/vnd.docker.distribution.manifest.v2+json"})
    trusted = ssl.create_default_context(cafile=str(tmp_path / "tls.crt"))
    with urllib.request.urlopen(request, timeout=SECONDS, context=trusted) as answer:  # noqa: S310 - loopback
        assert json.load(answer)["layers"]


def test_what_is_not_there_is_told(address: str) -> None:
    """With the registry's own word."""
    with pytest.raises(BuildError, match=rf"^no digest of {address}/team/none:1: .*manifest unknown"):
        registry.digest(f"{address}/team/none:1")
