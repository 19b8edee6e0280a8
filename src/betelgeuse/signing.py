"""The key that signs what `gitops` commits: made on the operator's machine, which it never leaves.

Argo CD brings commits of this key alone about: whoever gets hold of Gitea cannot change the platform with it.
"""

from pathlib import Path
from typing import Final

from betelgeuse import paths
from betelgeuse.errors import RefusedError
from betelgeuse.shell import run

_SECONDS: Final = 60.0
_WHO: Final = "betelgeuse <betelgeuse@localhost>"
_FINGERPRINT: Final = "fpr"
_ID: Final = 16
"""Letters at a fingerprint's end, by which Argo CD knows a key."""


class Signer:
    """GnuPG with the one key of an environment."""

    def __init__(self, env: str, state: Path = paths.STATE) -> None:
        """Nothing is made before it is asked for."""
        self.home: Final = state / "gitops" / env
        """The keyring; `destroy` leaves it alone."""

    @property
    def environment(self) -> dict[str, str]:
        """What lets git and gpg find the keyring."""
        return {"GNUPGHOME": str(self.home)}

    def _gpg(self, *words: str) -> str:
        return run(["gpg", "--batch", "--quiet", *words], env=self.environment, timeout=_SECONDS, internet=False)

    def _known(self) -> str:
        """Return the key's id; empty where there is none yet."""
        if not self.home.is_dir():
            return ""
        told = (line.split(":") for line in self._gpg("--with-colons", "--list-secret-keys").splitlines())
        return next((fields[9][-_ID:] for fields in told if fields[0] == _FINGERPRINT), "")

    def key(self) -> str:
        """Return the key's id; RefusedError where this machine has no key of the environment."""
        if known := self._known():
            return known
        message = (
            f"no key that signs commits in {self.home}: it is on the machine that ran `invoke gitops --enable`; copy "
            "the folder from there, or hand the platform back (`--disable`) and enable it here"
        )
        raise RefusedError(message)

    def ensure(self) -> str:
        """Make the key where there is none; return its id."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._known():
            self._gpg("--passphrase", "", "--quick-generate-key", _WHO, "ed25519", "sign", "never")
        return self.key()

    def public(self) -> str:
        """Return the public half, in the armour that Argo CD's keyring takes."""
        return self._gpg("--armor", "--export", self.key())

    def close(self) -> None:
        """End the agent that gpg leaves behind."""
        run(["gpgconf", "--kill", "gpg-agent"], env=self.environment, timeout=_SECONDS, internet=False)
