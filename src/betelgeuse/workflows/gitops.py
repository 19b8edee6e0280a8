"""Hand the platform to Argo CD, and take it back: one of the two owns, `deploy` or a branch in Gitea.

The branch `env/<environment>` holds what `render` makes of the tree, without Secrets. `publish` writes it, makes the
secrets and the realm that a tree asks for, waits until Argo CD has brought it about, and takes a commit back that does
not become healthy. Its commits are signed, and Argo CD takes no others.
"""

import base64
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from betelgeuse import gitops, lease, lock, secrets, settings
from betelgeuse.apply import snapshot
from betelgeuse.apply_rules import MANAGER
from betelgeuse.errors import RefusedError, WaitTimeoutError
from betelgeuse.gitea import MAIN, REPOSITORY, Gitea
from betelgeuse.identity import forward
from betelgeuse.kube import Kube, Obj, connect
from betelgeuse.paths import ROOT
from betelgeuse.progress import Ticker, out, say, step
from betelgeuse.readiness import judge
from betelgeuse.rotation import value
from betelgeuse.settings import Settings
from betelgeuse.signing import Signer
from betelgeuse.workflows import plan, realm
from betelgeuse.workflows.session import opened

_ADMIN: Final = "gitea-admin"
_PORT: Final = 3000
_SECONDS: Final = 900.0
"""Until Argo CD has brought a commit about: its waves wait for health, and models load slowly."""
_DEGRADED_SECONDS: Final = 60.0
"""Of an application that Argo CD calls degraded: a Deployment is, once its own deadline (600 s) has passed."""
_PAUSE: Final = 2.0
_STRANGER: Final = "not in keyring"
"""What Argo CD says of a key that has not reached it yet, and goes on to say until it is told to look again."""
_AGAIN: Final = 30.0
_ASKS: Final = "betelgeuse-refresh"
"""Who asks Argo CD to look again: it takes that annotation away itself."""
_GOOD: Final = "G"
"""What git says of a signature by a key that it knows and trusts."""


def branch(env: str) -> str:
    """Return the branch of an environment."""
    return f"env/{env}"


@contextmanager
def _gitea(chosen: Settings, kube: Kube) -> Iterator[Gitea]:
    live = kube.get("v1", "Secret", _ADMIN, gitops.NAMESPACE)
    url, user, password = (value(live, key) for key in ("url", "username", "password"))
    pods = kube.list("v1", "Pod", gitops.NAMESPACE, labels="app.kubernetes.io/name=gitea")
    ready = next((pod["metadata"]["name"] for pod in pods if judge(pod).ready), "")
    if not (url and user and password and ready):
        message = "Gitea is not there or not ready; `invoke deploy --profile=tools` brings it, `invoke status` says why"
        raise RefusedError(message)
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    with forward.to_pod(chosen, gitops.NAMESPACE, ready, _PORT) as port, closing(Signer(chosen.env)) as signer:
        yield Gitea(f"http://127.0.0.1:{port}", url, user, f"Authorization: Basic {pair}", signer)


def _push_tree(gitea: Gitea) -> None:
    """Push the tree's own commit, for people to read; a tree that is no checkout has none."""
    if not (ROOT / ".git").exists():
        say("the tree is no checkout of git: branch main stays as it is")
        return
    gitea.git(ROOT, "push", "--quiet", "--force", gitea.remote, f"HEAD:refs/heads/{MAIN}")


def _write(folder: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")


def _push(gitea: Gitea, env: str, objects: Sequence[Obj]) -> tuple[str, str]:
    """Commit what a tree renders to; return the branch's commit now and the one before, equal where nothing changed."""
    with TemporaryDirectory(prefix="betelgeuse-gitops-") as scratch:
        folder = Path(scratch)
        gitea.git(folder, "init", "--quiet", "--initial-branch", branch(env))
        gitea.git(folder, "remote", "add", "origin", gitea.remote)
        known = gitea.git(folder, "ls-remote", "--heads", "origin", branch(env))
        before = known.partition("\t")[0]
        if before:
            gitea.git(folder, "fetch", "--quiet", "--depth=1", "origin", branch(env))
            gitea.git(folder, "reset", "--quiet", "--soft", before)
        _write(folder, gitops.files(objects, gitea.repository, branch(env)))
        gitea.git(folder, "add", "--all")
        same = before and not gitea.git(folder, "diff", "--cached", "--name-only")
        # A commit of another key, or of none, is one that Argo CD does not take.
        if same and gitea.git(folder, "log", "-1", "--format=%G?") == _GOOD:
            return before, before
        gitea.git(folder, "commit", "--quiet", "--allow-empty", "--message", f"What the tree is for {env}")
        gitea.git(folder, "push", "--quiet", "origin", f"HEAD:refs/heads/{branch(env)}")
        return gitea.git(folder, "rev-parse", "HEAD"), before


def _take_back(gitea: Gitea, env: str, bad: str) -> str:
    """Undo a commit by another; return that."""
    with TemporaryDirectory(prefix="betelgeuse-gitops-") as scratch:
        folder = Path(scratch)
        gitea.git(folder, "init", "--quiet")
        gitea.git(folder, "fetch", "--quiet", "--depth=2", gitea.remote, branch(env))
        gitea.git(folder, "checkout", "--quiet", "--detach", "FETCH_HEAD")
        gitea.git(folder, "revert", "--no-edit", bad)
        gitea.git(folder, "push", "--quiet", gitea.remote, f"HEAD:refs/heads/{branch(env)}")
        return gitea.git(folder, "rev-parse", "HEAD")


def _secrets(kube: Kube, objects: Sequence[Obj]) -> None:
    """Make the Secrets that a tree declares: they are in no repository."""
    declared = [obj for obj in objects if obj["kind"] == "Secret"]
    made = secrets.ensure(kube, declared, snapshot(kube, declared))
    for key, names in made.generated.items():
        say(f"{key}: generated {', '.join(names)}")
    for obj in declared:
        kube.server_side_apply(obj, MANAGER, force=True)


def _refresh(kube: Kube) -> None:
    """Have Argo CD look again, and forget what it found out about the commit before."""
    annotations = {"argocd.argoproj.io/refresh": "hard"}
    meta = {"name": gitops.ROOT, "namespace": gitops.NAMESPACE, "annotations": annotations}
    kube.server_side_apply({"apiVersion": gitops.API, "kind": "Application", "metadata": meta}, _ASKS, force=True)


def _settle(kube: Kube, objects: Sequence[Obj], revision: str, seconds: float = _SECONDS) -> str:
    """Wait until a commit is brought about; return why it is not, when time is up or it will not be."""
    wanted = [gitops.ROOT, *(f"{gitops.ROOT}-{name}" for name in gitops.areas(objects))]
    _refresh(kube)
    begin = healthy = asked = time.monotonic()
    with Ticker(seconds) as ticker:
        while why := gitops.fault(kube.list(gitops.API, "Application", gitops.NAMESPACE), wanted, revision):
            now = time.monotonic()
            healthy = healthy if why.endswith(gitops.DEGRADED) else now
            if now - begin > seconds or now - healthy > _DEGRADED_SECONDS:
                return why
            if _STRANGER in why and now - asked > _AGAIN:
                _refresh(kube)
                asked = now
            ticker.update(why)
            time.sleep(_PAUSE)
    return ""


def publish(env: str, profile: str = "") -> None:
    """Bring the tree about through its branch; WaitTimeoutError where it does not become healthy and is undone."""
    chosen, kube, objects = opened(env, profile)
    if not gitops.owned(kube):
        message = f"deploy owns {env}: `invoke gitops --enable --env={env}` hands it to Argo CD"
        raise RefusedError(message)
    with lock.exclusive(env, "gitops"), lease.held(kube, env), _gitea(chosen, kube) as gitea:
        gitea.signer.key()
        _secrets(kube, objects)
        _publish(kube, gitea, env, objects)
    for change in realm.reconcile(chosen, kube, objects):
        say(change)


def _publish(kube: Kube, gitea: Gitea, env: str, objects: Sequence[Obj]) -> None:
    _push_tree(gitea)
    now, before = _push(gitea, env, objects)
    with step(f"Argo CD brings commit {now[:8]} about"):
        why = _settle(kube, objects, now)
    if not why:
        out(f"{env}: Argo CD has brought {now[:8]} about")
        return
    if not before or now == before:
        message = f"{env}: {now[:8]} is not brought about: {why}"
        raise WaitTimeoutError(message)
    back = _take_back(gitea, env, now)
    message = f"{env}: {now[:8]} did not become healthy ({why}); taken back by {back[:8]}"
    raise WaitTimeoutError(message)


def enable(env: str, profile: str = "") -> None:
    """Make Argo CD the reconciler of what runs now; raise RefusedError where the cluster is not what the tree says."""
    chosen, kube, objects = opened(env, profile)
    gitops.refuse(kube, env)
    if plan.plan(chosen, kube, objects) != plan.NO_CHANGES:
        message = f"{env} is not what the tree says: `invoke deploy --env={env}` first, Argo CD takes over what runs"
        raise RefusedError(message)
    with lock.exclusive(env, "gitops"), lease.held(kube, env), _gitea(chosen, kube) as gitea:
        key = gitea.signer.ensure()
        gitea.settle()
        _push_tree(gitea)
        revision, _ = _push(gitea, env, objects)
        _credentials(kube, gitea)
        project, root = gitops.project(gitea.repository, key), gitops.root(gitea.repository, branch(env))
        for obj in (gitops.keyring(key, gitea.signer.public()), gitops.binding(), project, root):
            kube.server_side_apply(obj, MANAGER, force=True)
        with step(f"Argo CD takes {env} over, at commit {revision[:8]}"):
            why = _settle(kube, objects, revision)
    if why:
        _hand_back(kube, objects)
        message = f"{env} was handed back to deploy: Argo CD did not take it over: {why}"
        raise WaitTimeoutError(message)
    out(f"{env}: Argo CD owns it; `invoke gitops --publish` brings changes about")


def _credentials(kube: Kube, gitea: Gitea) -> None:
    """Give Argo CD the repository's account, as a Secret that copies it."""
    recipe = (
        "type: literal:git\n"
        f"url: literal:{gitea.repository}\n"
        f"username: copy:{gitops.NAMESPACE}/{_ADMIN}/username\n"
        f"password: copy:{gitops.NAMESPACE}/{_ADMIN}/password\n"
    )
    obj = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": f"argocd-{REPOSITORY}",
            "namespace": gitops.NAMESPACE,
            "labels": {"argocd.argoproj.io/secret-type": "repository"},
            "annotations": {secrets.ANNOTATION: recipe},
        },
        "type": "Opaque",
    }
    kube.server_side_apply(obj, MANAGER, force=True)
    secrets.ensure(kube, [obj], snapshot(kube, [obj]))


def _hand_back(kube: Kube, objects: Sequence[Obj]) -> int:
    """Take Argo CD's applications and rights away, and its part in the ownership of what runs; return of how many."""
    names = [gitops.ROOT, *(f"{gitops.ROOT}-{name}" for name in gitops.areas(objects))]
    # The root first: it would make the others again. None has a finalizer: what they brought about stays.
    for name in names:
        meta = {"name": name, "namespace": gitops.NAMESPACE}
        kube.delete({"apiVersion": gitops.API, "kind": "Application", "metadata": meta})
    kube.delete(gitops.binding())
    count = 0
    for live in snapshot(kube, objects).values():
        operations = gitops.disowned(live)
        if operations:
            kube.json_patch(live, operations, MANAGER)
            count += 1
    return count


def disable(env: str, profile: str = "") -> None:
    """Hand the platform back to deploy: Argo CD's applications go, what they brought about stays."""
    _, kube, objects = opened(env, profile)
    with lock.exclusive(env, "gitops"), lease.held(kube, env):
        count = _hand_back(kube, objects)
    out(f"{env}: deploy owns it again ({count} objects handed back); `invoke deploy` sets right what differs")


def show(env: str) -> None:
    """Say who owns an environment."""
    kube = connect(settings.load(env))
    out(f"{env}: {'Argo CD' if gitops.owned(kube) else 'deploy'} owns it")
