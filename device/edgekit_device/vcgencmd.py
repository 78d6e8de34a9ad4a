"""The command by which a Raspberry Pi's firmware is asked."""

from __future__ import annotations

import subprocess

_PATIENCE_S = 2.0


def answer(command: str, question: str) -> str:
    """Give what the firmware answers; `command` is vcgencmd's path.

    Raises:
        OSError: the command cannot be started, or does not answer in time.
    """
    try:
        done = subprocess.run(
            [command, question],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(f"no answer within {_PATIENCE_S:g} s") from error
    return done.stdout if done.stdout.strip() else done.stderr
