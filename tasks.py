"""Betelgeuse's verbs: `invoke --list`. Each is a thin call into the workflows of betelgeuse or loadtests."""

from invoke.context import Context
from invoke.exceptions import Exit

from betelgeuse.progress import out
from betelgeuse.verb import listed, verb

LOCAL = "local"


@verb
def setup(_: Context, browser: bool = False) -> None:
    """Install the system packages the embedded cluster needs (deploy does this too), or the browser of the checks."""
    from betelgeuse import system

    packages = system.BROWSER if browser else system.PACKAGES
    out(f"installed: {' '.join(system.install(packages)) or 'nothing was missing'}")


@verb
def images(  # noqa: PLR0913, PLR0917 - what may be asked of the build cache
    _: Context,
    profile: str | None = None,
    only: str | None = None,
    refresh: bool = False,
    lacking: bool = False,
    export: str | None = None,
    import_: str | None = None,
    env: str | None = None,
    push: str | None = None,
    resolve: bool = False,
) -> None:
    """Build a profile's images, or name what is missing, carry the cache, bring images to a registry, pin digests."""
    from betelgeuse.workflows import images as verbs

    if env is not None:
        verbs.check_env(env, asked=bool(push or resolve))
    if export:
        verbs.export(profile or "", export)
    elif import_:
        verbs.take(import_)
    elif push:
        verbs.push(env or LOCAL, profile or "", push)
    elif resolve:
        verbs.resolve(env or LOCAL, profile or "")
    elif lacking:
        verbs.show_lacking(profile or "")
    elif only:
        verbs.build_one(only)
    else:
        verbs.build(profile or "", refresh=refresh)


@verb
def lock(_: Context, program: str) -> None:
    """Write the locks beside a program's program.yaml, after its version or its packages changed."""
    from betelgeuse.workflows.lock import lock as write

    write(program)


@verb
def render(_: Context, env: str = LOCAL, profile: str | None = None) -> None:
    """Print the rendered tree of an environment."""
    from betelgeuse.workflows.render import show

    show(env, profile or "")


@verb
def plan(
    _: Context, env: str = LOCAL, profile: str | None = None, nodes: str | None = None, prune_data: bool = False
) -> None:
    """Show what a deploy would change, delete and keep; exit code 0 for nothing, 2 for changes."""
    from betelgeuse.workflows.plan import show

    raise Exit(code=show(env, profile or "", nodes, data=not prune_data))


@verb
def deploy(
    _: Context, env: str = LOCAL, profile: str | None = None, nodes: str | None = None, prune_data: bool = False
) -> None:
    """Bring an environment to what the tree says; --profile=… chooses what it runs; safe to repeat and after a kill.

    What leaves the tree is deleted, but nothing that holds data unless --prune-data.
    """
    from betelgeuse.workflows.deploy import deploy as run

    run(env, nodes, profile or "", prune_data=prune_data)


@verb
def status(_: Context, env: str = LOCAL, profile: str | None = None, json: bool = False) -> None:
    """Tell what is ready and, for the rest, why not; exit code 1 when something is not."""
    from betelgeuse.workflows.status import show

    raise Exit(code=show(env, profile or "", as_json=json))


@verb
def nodes(
    _: Context, env: str = LOCAL, remove: str = "", reboot: str = "", prune_data: bool = False, json: bool = False
) -> None:
    """Show the nodes; --remove=NAME takes a server out, --reboot=NAME reboots it, --reboot=due all that ask for it."""
    from betelgeuse.workflows.nodes import nodes as run

    raise Exit(code=run(env, remove, reboot, prune_data=prune_data, as_json=json))


@verb
def doctor(_: Context, env: str = LOCAL, profile: str | None = None, json: bool = False) -> None:
    """Check this machine for an environment and its profile, with a fix for each failure."""
    from betelgeuse.doctor import run

    raise Exit(code=run(env, profile or "", as_json=json))


@verb
def policy_graph(_: Context, env: str = LOCAL, profile: str | None = None, live: bool = False) -> None:
    """Draw who may call whom, as a table and an SVG file; --live adds what the network dropped lately."""
    from betelgeuse.workflows.policy_graph import show

    show(env, profile or "", live=live)


@verb
def dashboards(_: Context, format: str = "grafana", env: str = LOCAL, profile: str | None = None) -> None:  # noqa: A002 - the option
    """Write the dashboards of a profile's tree to reports/, for Grafana to import (--format=perses: for Perses)."""
    from betelgeuse.workflows.dashboards import write

    write(env, profile or "", format)


@verb
def ca(_: Context, env: str = LOCAL, stores: bool = False) -> None:
    """Print the file with the roots that clients must trust; --stores: clients of databases and brokers."""
    from betelgeuse.workflows.ca import roots

    roots(env, stores=stores)


@verb
def open(_: Context, app: str, env: str = LOCAL) -> None:  # noqa: A001 - the verb's name
    """Tell how to reach an app: address, hosts-file line, roots, key."""
    from betelgeuse.workflows.open import explain

    explain(env, app)


@verb
def dns(_: Context, env: str = LOCAL, profile: str | None = None) -> None:
    """Print the records of an environment's hosts as a zone, and nothing else: for a DNS provider to import."""
    from betelgeuse.workflows.dns import show

    show(env, profile or "")


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
    scenario: str | None = None,
    load: str | None = None,
    seconds: str | None = None,
    workers: str | None = None,
    env: str = LOCAL,
) -> None:
    """Put load on the llm or embeddings of an environment, --workers=N from pods; exit code 1 if a limit is broken."""
    from loadtests.workflows.loadtest import loadtest as run

    said = {"scenario": scenario, "load": load, "seconds": seconds, "workers": workers}
    raise Exit(code=run(env, target, profile, **{name: text for name, text in said.items() if text is not None}))


@verb
def capacity(
    _: Context,
    rounds: str = "5",
    sweep_seconds: str | None = None,
    against: str | None = None,
    keep: bool = False,
    env: str = LOCAL,
) -> None:
    """Measure what a node carries and how close that is to the hardware; exit code 1 when it is less than before."""
    from loadtests.workflows.capacity import capacity as run

    raise Exit(code=run(env, rounds, against or "", sweep_seconds or "", keep=keep))


@verb
def user(  # noqa: PLR0913, PLR0917 - who a person is
    _: Context,
    name: str,
    groups: str | None = None,
    email: str | None = None,
    first_name: str | None = None,
    last_name: str | None = None,
    new_password: bool = False,
    env: str = LOCAL,
) -> None:
    """Make a person's account, or set details and add groups (--groups=a,b); prints a new one's first password."""
    from betelgeuse.identity.people import Person
    from betelgeuse.workflows.user import user as make

    person = Person(name, email, first_name, last_name)
    make(env, person, listed("groups", groups), new_password=new_password)


@verb
def rotate_secrets(_: Context, only: str | None = None, env: str = LOCAL) -> None:
    """Make generated secrets anew, all or --only=namespace/name,…, and roll what uses them; safe to kill and repeat."""
    from betelgeuse.workflows.rotate_secrets import rotate

    rotate(env, listed("only", only))


@verb
def rotate_mesh(_: Context, env: str) -> None:
    """Make the keys of the mesh between servers anew."""
    from betelgeuse.workflows.rotate_mesh import rotate

    rotate(env)


@verb
def backup(_: Context, store: str | None = None, env: str = LOCAL) -> None:
    """Copy what the stores hold (or one --store) to BACKUP_TARGET, encrypted and verified."""
    from betelgeuse.workflows.backup import backup as run

    run(env, store or "")


@verb
def backups(_: Context, env: str = LOCAL) -> None:
    """List the copies: of what, from when, how big, and when they were verified."""
    from betelgeuse.workflows.backup import listed

    listed(env)


@verb
def restore(_: Context, store: str, at: str | None = None, env: str = LOCAL) -> None:
    """Replace what a store holds with its newest copy, or the newest of a time (--at=2026-11-28T14:30, UTC)."""
    from betelgeuse.workflows.restore import restore as run

    run(env, store, at or "")


@verb
def accounts(_: Context, delete: str | None = None, env: str = LOCAL) -> None:
    """List the stores' accounts with who declares them; --delete=STORE/USER removes one that nobody declares."""
    from betelgeuse.workflows.accounts import accounts as run

    run(env, delete or "")


@verb
def gitops(
    _: Context,
    enable: bool = False,
    publish: bool = False,
    disable: bool = False,
    profile: str | None = None,
    env: str = LOCAL,
) -> None:
    """Say who owns an environment; give it to Argo CD (--enable), bring a change about (--publish), or --disable."""
    from betelgeuse.workflows import gitops as verbs

    if enable:
        verbs.enable(env, profile or "")
    elif publish:
        verbs.publish(env, profile or "")
    elif disable:
        verbs.disable(env, profile or "")
    else:
        verbs.show(env)


@verb
def destroy(_: Context, env: str = LOCAL, yes: bool = False) -> None:
    """Remove an environment; where a deploy did not make the cluster, it asks first (or --yes)."""
    from betelgeuse.workflows.destroy import ask
    from betelgeuse.workflows.destroy import destroy as run

    ask(env, yes=yes)
    run(env)
