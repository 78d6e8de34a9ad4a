"""The `edgekit` command."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

OK, FAILED, USAGE, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Exit codes: 0 when all went well, 1 when some recipe or board failed (what worked is shown and
    kept), 2 when the input cannot be used, 130 when interrupted.
    """
    from edgekit.cli.parser import parser

    given = sys.argv[1:] if arguments is None else list(arguments)
    options = parser().parse_args(given)
    options.given = given
    # TensorFlow reads this when it is imported, which no command does before this line.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from edgekit.cli.commands import COMMANDS, user_errors

    # As an exception, so that the agent that works for this command is ended with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        code = COMMANDS[options.command](options)
        # Here, where a reader that has gone is still caught, not when the interpreter ends.
        sys.stdout.flush()
        return code
    except user_errors() as error:
        if options.debug:
            raise
        print(f"edgekit: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print(f"edgekit: interrupted; {_kept(options.command)}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return _reader_gone()
    except SystemExit as stop:
        # So does rich answer a reader that has gone.
        if isinstance(stop.__context__, BrokenPipeError):
            return _reader_gone()
        raise
    except OSError as error:
        if options.debug:
            raise
        kept = _kept(options.command)
        print(
            f"edgekit: {error}. {kept[0].upper()}{kept[1:]}; --debug shows where it happened.",
            file=sys.stderr,
        )
        return USAGE


def _kept(command: str) -> str:
    """What a command that ends before its time leaves to the next one."""
    if command == "train":
        return "an unfinished training or profile is not kept"
    what = "trials" if command == "search" else "stages"
    return f"finished {what} are kept and will be reused"


def _reader_gone() -> int:
    """The reader of a pipe (head, less) has seen enough: nothing more is written, nor is it bad."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return OK
