"""How a child process ends: when its parent does, however that ends, and without harm to it."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int | None = None) -> None:
    """Have the kernel end this process with its parent, whatever either of them is doing.

    To the kernel the parent is the thread that started us: it has to live as long as we do.
    `parent` is its process id, for a child that would not notice that it never had one.
    """
    if sys.platform != "linux":
        return
    parent = os.getppid() if parent is None else parent
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    # A parent that died before that call sends no signal. Without its number, one that died before
    # getppid above is seen by the end of what it should have sent, as nothing has been run yet.
    if os.getppid() != parent:
        sys.exit("the parent has ended")


def die_alone() -> None:
    """Let a model that breaks this process leave no core file, and take nobody's memory along.

    Where memory runs out, the kernel is to end this process and not the agent.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    # PARENT PROGRAM ARGUMENT…: becomes the program, which ends with the parent.
    die_with_parent(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
