"""The cores that a model is kept on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from edgekit_device.errors import ModelError, UsageError

_MOST_CORES = 4096


def cores_from(text: str) -> tuple[int, ...]:
    """Read "0,2-3" as (0, 2, 3).

    Raises:
        UsageError: it is no list of cores.
    """
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < _MOST_CORES:
            raise UsageError(
                "affinity: must be numbers of cores and ranges of them, such as 0,2-3. "
                f"Received: {text!r}"
            )
        found |= set(range(first, last + 1))
    return tuple(sorted(found))


def check_cores(affinity: Iterable[int] | None) -> None:
    """Refuse cores that this process may not run on.

    Raises:
        UsageError: there is no such core here.
    """
    if affinity is None:
        return
    if not hasattr(os, "sched_setaffinity"):
        raise UsageError("affinity: this system does not let a process choose its cores; leave out")
    here = os.sched_getaffinity(0)
    missing = sorted(set(affinity) - here)
    if missing:
        raise UsageError(
            f"affinity: there is no core {', '.join(map(str, missing))} for the agent here: it may "
            f"run on {', '.join(map(str, sorted(here)))}"
        )


def keep_on(affinity: Iterable[int]) -> None:
    """Keep this process, and all threads it starts from now on, on these cores.

    Raises:
        ModelError: the system refuses.
    """
    try:
        os.sched_setaffinity(0, affinity)
    except OSError as error:
        raise ModelError(
            "affinity", f"the cores {list(affinity)} cannot be used: {error.strerror}"
        ) from error
