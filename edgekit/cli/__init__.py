"""The `edgekit` command."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Exit codes: 0 when all went well, 1 when some recipe or board failed (what worked is shown and
    kept), 2 when the input cannot be used, 130 when interrupted.
    """
    from edgekit.cli.parser import parser

    options = parser().parse_args(arguments)
    # TensorFlow reads these when it is imported, which no command does before this line.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    from edgekit.cli.commands import COMMANDS, user_errors

    try:
        return COMMANDS[options.command](options)
    except user_errors() as error:
        if options.debug:
            raise
        print(f"edgekit: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("edgekit: interrupted; finished stages are kept and will be reused", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
