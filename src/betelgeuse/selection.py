"""Which profile a command is about: the one it was told, else the one deployed last by choice, else the overlay's own.

What was chosen is kept in the cluster's inventory, so that every machine sees it, and beside the kubeconfig for
commands that ask no cluster. A deploy of the overlay's own profile forgets the choice.
"""

from contextlib import suppress

from betelgeuse import inventory, paths, profiles
from betelgeuse.errors import UsageError
from betelgeuse.kube import Kube
from betelgeuse.profiles import Profile
from betelgeuse.progress import say


def recall(env: str) -> str:
    """Return the profile this machine remembers, empty where none was chosen."""
    try:
        return (paths.state_dir(env) / "profile").read_text("utf-8").strip()
    except OSError:
        return ""


def remember(env: str, name: str) -> None:
    """Keep the chosen profile of an environment on this machine; an empty name forgets it."""
    file = paths.state_dir(env) / "profile"
    if name == recall(env):
        return
    if not name:
        file.unlink(missing_ok=True)
        return
    # A half-written choice would read as none, and the next deploy would remove areas.
    paths.write(file, f"{name}\n")


def chosen(env: str, profile: Profile) -> str:
    """Return what is to be remembered of a profile: its name, or nothing where the overlay names the same."""
    return "" if profile.name == profiles.default(env) else profile.name


def select(env: str, said: str = "", kube: Kube | None = None) -> Profile:
    """Return the profile a command is about; the cluster, where it is asked, knows better than this machine.

    UsageError where the profile is unknown or incomplete.
    """
    if said:
        return profiles.load(said)
    own = profiles.default(env)
    name = recall(env) if kube is None else inventory.load(kube).profile
    if kube is not None:
        # A state folder that only root may write costs commands without a cluster the news.
        with suppress(OSError):
            remember(env, name)
    if not name or name == own:
        return profiles.load(own)
    if name not in profiles.names():
        have = ", ".join(profiles.names())
        message = f"{env} runs profile {name!r}, which this tree lacks: say --profile=<name> (profiles/ has: {have})"
        raise UsageError(message)
    say(f"profile {name}, as deployed last; overlays/{env} itself names {own}")
    return profiles.load(name)
