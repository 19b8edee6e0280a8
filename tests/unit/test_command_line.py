"""The command line as a person meets it: whatever is typed, and whatever the shell does around it."""

import fcntl
import functools
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from invoke.collection import Collection
from invoke.program import Program

import tasks
from betelgeuse import paths, render, shell
from betelgeuse.progress import say

NAMESPACE = Collection.from_module(tasks)
GOOD = {"app": "llm", "client": "api-client", "name": "ann", "store": "postgres", "target": "llm"}
"""What the verbs ask for, where another argument is tried."""
NEVER = ("", "  ", "\x1b[31mred", "a\nb", "\u202eb", "\udcff", "x" * 5000)
"""What no argument may be."""
ODD = ("no-such-word", "-1", "nan", "../../etc", "$(id)%s{0}", ",", "é" * 300, "--yes")
CODES = set(range(1, 8))
PROGRESS = re.compile(r"\[ *\d+ s\] .*")

VERBS = """
import sys
from pathlib import Path
from betelgeuse import paths
from betelgeuse.progress import out, step
from betelgeuse.workflows import policy_graph
from loadtests.workflows.reach import fresh_log
from betelgeuse.verb import verb

paths.REPORTS = Path("/proc/no-such-folder")


@verb
def show(_):
    out("a" * 100_000)


@verb
def wait(_):
    out("up")
    sys.stdin.read()


@verb
def picture(_):
    policy_graph._write("x", "")


@verb
def log(_):
    fresh_log("x")


@verb
def work(_):
    with step("a piece of work that is told in more than thirty characters"):
        pass
"""


def _string_options() -> list[tuple[str, str]]:
    """Return each verb with each of its arguments that take a text."""
    return [
        (verb, argument.name)
        for verb in sorted(NAMESPACE.task_names)
        for argument in NAMESPACE[verb].get_arguments()
        if argument.kind is not bool
    ]


_render = functools.cache(render.render)


@pytest.fixture
def _harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the verbs a machine without a cluster, on which nothing but kustomize may be started."""
    monkeypatch.setattr(paths, "STATE", tmp_path / "state")
    monkeypatch.setattr(paths, "REPORTS", tmp_path / "reports")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    monkeypatch.delenv("NODES", raising=False)
    # The tree does not change meanwhile: it is read once.
    monkeypatch.setattr(render, "render", _render)
    start = shell._start

    def kustomize(argv: Sequence[str], *parts: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401 - as the original's
        assert argv[1] == "kustomize", f"{argv} was started"
        return start(argv, *parts)

    monkeypatch.setattr(shell, "_start", kustomize)
    handlers = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for one, handler in handlers.items():
        signal.signal(one, handler)


def _run(argv: Sequence[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """Run the program in this process; return its exit code and what it says beside progress."""
    with pytest.raises(SystemExit) as ended:
        Program(namespace=NAMESPACE).run(["invoke", *argv])
    said = capsys.readouterr()
    assert said.out == ""
    return int(ended.value.code or 0), [line for line in said.err.splitlines() if not PROGRESS.fullmatch(line)]


@pytest.mark.usefixtures("_harmless")
@pytest.mark.parametrize(("verb", "option"), _string_options())
def test_whatever_an_argument_is(verb: str, option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One printable line and a documented exit code, 2 for what no argument may be; and nothing is left behind."""
    others = [
        f"--{each.name}={GOOD[each.name]}"
        for each in NAMESPACE[verb].get_arguments()
        if each.positional and each.name != option
    ]
    for value in (*NEVER, *ODD):
        code, lines = _run([verb, *others, f"--{option.rstrip('_').replace('_', '-')}={value}"], capsys)

        assert len(lines) == 1, (value, lines)
        assert lines[0].isprintable(), value
        assert len(lines[0]) <= 1500, value
        assert code in CODES, value
        assert code == 2 or value not in NEVER, value
        assert list(tmp_path.iterdir()) == [], value


def test_every_verb_is_tried() -> None:
    """Verbs and arguments are Invoke's own list, so a new one is tried without a new line here."""
    listed = {verb for verb, _ in _string_options()}

    assert set(NAMESPACE.task_names) - listed == {"setup"}
    assert ("user", "first_name") in _string_options()
    assert {name for verb, name in _string_options() if verb == "deploy"} == {"env", "nodes", "profile"}


UNKNOWN = [
    (["no-such-verb"], "No idea what 'no-such-verb' is!"),
    (["setup", "--no-such-flag"], "No idea what '--no-such-flag' is!"),
    (["images", "extra"], "No idea what 'extra' is!"),
    (["token"], "'token' did not receive required positional arguments: 'client'"),
    (["deploy", "--nodes"], "Flag <Argument: nodes (n)> needed value and was not given one!"),
]


@pytest.mark.usefixtures("_harmless")
@pytest.mark.parametrize(("argv", "words"), UNKNOWN)
def test_what_invoke_does_not_know(argv: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Invoke says it in a line of its own."""
    assert _run(argv, capsys) == (1, [words])


REFUSED = [
    (["user", "--name=", "--groups=platform-admins", "--new-password"], 2, "--name is empty; say a value, or leave"),
    (["user", "--name=ann", "--groups=a,,b"], 2, "--groups is empty"),
    (["user", "--name=ann", "--email=ann"], 2, "--email must be a mail address, got 'ann'"),
    (["rotate-secrets", "--only="], 2, "--only is empty"),
    (["deploy", "--nodes=0"], 2, "--nodes must be a whole number from 1 to 9, got '0'"),
    (["destroy", "--env=hetzer"], 2, "unknown environment 'hetzer'; did you mean 'hetzner'?"),
    (["deploy", "--env=single-node"], 1, "no cluster for environment 'single-node': no kubeconfig is at"),
    (["deploy", "--env=hetzner"], 1, "no cluster for environment 'hetzner': no kubeconfig is at"),
    (["plan"], 1, "no cluster for environment 'local': "),
    (["plan", "--env=kind"], 1, "no cluster for environment 'kind': "),
    (["loadtest", "--target=llm", "--load=0"], 2, "--load: expected a number from 0.01"),
    (["loadtest", "--target=llm", "--scenario=own.json"], 2, "--scenario: there is no file "),
]


@pytest.mark.usefixtures("_harmless")
@pytest.mark.parametrize(("argv", "code", "words"), REFUSED)
def test_what_is_refused(
    argv: list[str], code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anybody is asked and before anything is built; no folder stays behind."""
    found, lines = _run(argv, capsys)

    assert (found, len(lines)) == (code, 1)
    assert lines[0].startswith(words)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def command(tmp_path: Path) -> tuple[list[str], dict[str, str]]:
    """Return how a shell runs a verb of ours, with verbs that only show, wait, write or work."""
    (tmp_path / "ours.py").write_text(VERBS, "utf-8")
    environment = {**os.environ, "PYTHONPATH": f"{paths.ROOT}:{tmp_path}", "TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    program = str(Path(sys.executable).with_name("invoke"))
    return [program, "--search-root", str(tmp_path), "--collection", "ours"], environment


Command = tuple[list[str], dict[str, str]]


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ('"$@" show >/dev/full', 1, "standard output: No space left on device: the result is not whole"),
        ('"$@" show >&-', 1, "standard output is closed: the result cannot be printed"),
        ('"$@" show | head -c 1 >/dev/null', 0, ""),
        ('"$@" picture', 1, "/proc/no-such-folder: No such file or directory"),
        ('"$@" log', 1, "/proc/no-such-folder: No such file or directory"),
        ('"$@" wait </dev/null >/dev/null 2>&-', 0, ""),
    ],
)
def test_what_cannot_be_written_is_one_line(command: Command, script: str, code: int, words: str) -> None:
    """A full disk, a closed stream, a read-only checkout: one line, and not the exit code of success."""
    argv, environment = command
    shell_argv = ["bash", "-o", "pipefail", "-c", script, "bash", *argv]
    done = subprocess.run(shell_argv, env=environment, capture_output=True, text=True, timeout=180, check=False)  # noqa: S603 - our own

    assert (done.returncode, done.stderr.splitlines()) == (code, [words] if words else [])


@pytest.mark.parametrize("streams", ["</dev/null", "<&-", "<&- >&-", "<<<no", "< <(printf '\\xff')"])
def test_without_anybody_to_ask_the_answer_is_no(command: Command, streams: str) -> None:
    """Whatever standard input is, nothing is removed that nobody agreed to."""
    argv, environment = command
    script = f'"$1" --search-root {paths.ROOT} destroy --env=single-node {streams}'
    done = subprocess.run(  # noqa: S603 - our own
        ["bash", "-c", script, "bash", argv[0]],
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    assert (done.returncode, done.stderr) == (3, "nothing was removed: type single-node, or say --yes\n")


@pytest.mark.parametrize(("caller", "code"), [(["env", "--default-signal=HUP"], 130), (["nohup"], 0)])
def test_who_ignores_a_hangup_is_obeyed(command: Command, caller: list[str], code: int) -> None:
    """A closed terminal ends a verb, unless its caller asked that it goes on."""
    argv, environment = command
    with subprocess.Popen(  # noqa: S603 - our own
        [*caller, *argv, "wait"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGHUP)
        with suppress(BrokenPipeError):
            process.stdin.close()

        assert process.wait(120) == code


def test_the_live_line_fits_the_terminal_that_shows_it(command: Command) -> None:
    """However wide standard output is: a longer line would wrap and could not be taken away."""
    argv, environment = command
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 30, 0, 0))
    environment["COLUMNS"] = "200"
    subprocess.run([*argv, "work"], env=environment, stdout=subprocess.DEVNULL, stderr=theirs, timeout=180, check=True)  # noqa: S603 - our own
    os.close(theirs)
    live = os.read(ours, 65536).decode().partition("\r\x1b[K")[0]
    os.close(ours)

    assert live.startswith("[")
    assert len(live) == 29


def test_progress_without_a_terminal_has_no_width(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines for a log are whole."""
    say("x" * 300)

    assert "x" * 300 in capsys.readouterr().err
