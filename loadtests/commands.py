"""What only a command of the surroundings can say: a token, how much memory a server holds."""

import shlex
import subprocess


def ask(command: str, patience: float) -> str:
    """Return what a command prints, in at most so many seconds; RuntimeError with its own words where it does not.

    The environment says the command, so that no secret is in it and none in an argument.
    """
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and whoever runs the load test names the command
            shlex.split(command), capture_output=True, text=True, timeout=patience, check=False
        )
    except subprocess.TimeoutExpired:
        message = f"{command}: said nothing within {patience:.0f} s"
        raise RuntimeError(message) from None
    if done.returncode != 0 or not done.stdout.strip():
        message = f"{command}: {done.stderr.strip() or 'printed nothing'}"
        raise RuntimeError(message)
    return done.stdout.strip()
