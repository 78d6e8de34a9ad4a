"""Whether data fit into this machine's memory, told before they are read."""

from __future__ import annotations

import os

from edgekit.errors import DataError

PEAK = 2.1
"""How much more than its arrays reading a data set takes: splits that are drawn here are copies.

Measured with tracemalloc on every folder of docs/tasks.md: 1.2 to 2.0.
"""

_SHARE_OF_MEMORY = 0.5


def check_memory(what: str, needed: float) -> None:
    """Refuses what takes more than half of the machine's memory.

    Args:
        what: is read.
        needed: bytes, at the peak.

    Raises:
        DataError: it takes more.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > _SHARE_OF_MEMORY * memory:
        raise DataError(
            f"{what} take {needed / 1e9:.1f} GB as they are read, more than half of this "
            f"machine's memory ({memory / 1e9:.1f} GB). Give fewer (a folder or an .npz file of "
            "some of them), or a model with a smaller input."
        )
