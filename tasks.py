"""Betelgeuse's verbs: `invoke --list`. Each is a thin call into the workflows of betelgeuse or loadtests."""

import functools
import signal
import sys
from collections.abc import Callable
from typing import Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from betelgeuse.errors import BetelgeuseError

LOCAL = "local"


def verb(function: Callable[..., Any]) -> Any:  # noqa: ANN401 - invoke's own decorator is untyped
    """Make a task of a function: expected errors become one line and their exit code, an interrupt 130."""

    @functools.wraps(function)
    def run(context: Context, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as the task's own
        # A closed terminal or a polite kill ends like Ctrl-C: what we started is stopped too.
        for ending in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(ending, signal.default_int_handler)
        try:
            function(context, *args, **kwargs)
        except BetelgeuseError as error:
            raise Exit(str(error), error.exit_code) from None
        except KeyboardInterrupt:
            message = "interrupted: run the same command again to go on"
            raise Exit(message, 130) from None

    return task(run)


@verb
def setup(_: Context, browser: bool = False) -> None:
    """Install the system packages the embedded cluster needs (deploy does this too), or the browser of the checks."""
    from betelgeuse import system

    packages = system.BROWSER if browser else system.PACKAGES
    sys.stdout.write(f"installed: {' '.join(system.install(packages)) or 'nothing was missing'}\n")


@verb
def images(_: Context, profile: str = "", only: str = "", refresh: bool = False) -> None:
    """Build what the cache lacks of a profile's images, or --only=NAME; --refresh takes newer Debian packages."""
    from betelgeuse.workflows.images import build, build_one

    if only:
        build_one(only)
    else:
        build(profile, refresh=refresh)


@verb
def lock(_: Context, program: str) -> None:
    """Write the locks beside a program's program.yaml, after its version or its packages changed."""
    from betelgeuse.workflows.lock import lock as write

    write(program)


@verb
def render(_: Context, env: str = LOCAL, profile: str = "") -> None:
    """Print the rendered tree of an environment."""
    from betelgeuse.workflows.render import show

    show(env, profile)


@verb
def plan(_: Context, env: str = LOCAL, profile: str = "", nodes: int = 0, prune_data: bool = False) -> None:
    """Show what a deploy would change, delete and keep; exit code 0 for nothing, 2 for changes."""
    from betelgeuse.workflows.plan import show

    raise Exit(code=show(env, profile, nodes or None, data=not prune_data))


@verb
def deploy(_: Context, env: str = LOCAL, profile: str = "", nodes: int = 0, prune_data: bool = False) -> None:
    """Bring an environment to what the tree says; --profile=… chooses what it runs; safe to repeat and after a kill.

    What leaves the tree is deleted, but nothing that holds data unless --prune-data.
    """
    from betelgeuse.workflows.deploy import deploy as run

    run(env, nodes or None, profile, prune_data=prune_data)


@verb
def status(_: Context, env: str = LOCAL, profile: str = "", json: bool = False) -> None:
    """Tell what is ready and, for the rest, why not; exit code 1 when something is not."""
    from betelgeuse.workflows.status import show

    raise Exit(code=show(env, profile, as_json=json))


@verb
def doctor(_: Context, env: str = LOCAL, profile: str = "", json: bool = False) -> None:
    """Check this machine for an environment and its profile, with a fix for each failure."""
    from betelgeuse.doctor import run

    raise Exit(code=run(env, profile, as_json=json))


@verb
def policy_graph(_: Context, env: str = LOCAL, profile: str = "", live: bool = False) -> None:
    """Draw who may call whom, as a table and an SVG file; --live adds what the network dropped lately."""
    from betelgeuse.workflows.policy_graph import show

    show(env, profile, live=live)


@verb
def ca(_: Context, env: str = LOCAL) -> None:
    """Print the file with the roots that clients must trust."""
    from betelgeuse.workflows.ca import roots

    roots(env)


@verb
def open(_: Context, app: str, env: str = LOCAL) -> None:  # noqa: A001 - the verb's name
    """Tell how to reach an app: address, hosts-file line, roots, key."""
    from betelgeuse.workflows.open import explain

    explain(env, app)


@verb
def token(_: Context, client: str, env: str = LOCAL) -> None:
    """Print a token of a machine client, and nothing else: for curl and scripts."""
    from betelgeuse.workflows.token import token as show

    show(env, client)


@verb
def loadtest(  # noqa: PLR0913, PLR0917 - what a run is; see loadtests/README.md
    _: Context,
    target: str,
    profile: str = "smoke",
    scenario: str = "",
    load: str = "",
    seconds: str = "",
    workers: str = "",
    env: str = LOCAL,
) -> None:
    """Put load on the llm or embeddings of an environment, --workers=N from pods; exit code 1 if a limit is broken."""
    from loadtests.workflows.loadtest import loadtest as run

    raise Exit(code=run(env, target, profile, scenario=scenario, load=load, seconds=seconds, workers=workers))


@verb
def capacity(
    _: Context, rounds: str = "5", sweep_seconds: str = "", against: str = "", keep: bool = False, env: str = LOCAL
) -> None:
    """Measure what a node carries and how close that is to the hardware; exit code 1 when it is less than before."""
    from loadtests.workflows.capacity import capacity as run

    raise Exit(code=run(env, rounds, against, sweep_seconds, keep=keep))


@verb
def user(
    _: Context, name: str, groups: str = "", email: str = "", new_password: bool = False, env: str = LOCAL
) -> None:
    """Make a person's account, or add groups to it (--groups=a,b); prints a password to be changed at first login."""
    from betelgeuse.workflows.user import user as make

    make(env, name, [group for group in groups.split(",") if group], email, new_password=new_password)


@verb
def rotate_secrets(_: Context, only: str = "", env: str = LOCAL) -> None:
    """Make generated secrets anew, all or --only=namespace/name,…, and roll what uses them; safe to kill and repeat."""
    from betelgeuse.workflows.rotate_secrets import rotate

    rotate(env, [name for name in only.split(",") if name])


def _typed(env: str) -> bool:
    """Ask for the environment's name; without anybody to ask the answer is no."""
    try:
        return input(f"Type {env} to remove everything we own there: ") == env
    except EOFError:
        return False


@verb
def destroy(_: Context, env: str = LOCAL, yes: bool = False) -> None:
    """Remove an environment; anything but local asks first (or --yes)."""
    from betelgeuse.workflows.destroy import destroy as run

    if env != LOCAL and not yes and not _typed(env):
        message = f"nothing was removed: type {env}, or say --yes"
        raise Exit(message, 3)
    run(env)
