"""Lines from a client that may send anything: read with bounded memory, none lost silently."""

from __future__ import annotations

import os
from collections.abc import Iterator

from edgekit_device.errors import RequestError

_PIECE = 1 << 16


def read_lines(descriptor: int, most_bytes: int) -> Iterator[bytes | RequestError]:
    """Give each line without its end, until the input ends; an error stands for an unusable one.

    A line of more than `most_bytes` is skipped as it comes ("line-too-long"), what follows the last
    line's end is none ("half-line").
    """
    rest = bytearray()
    skipping = False
    while piece := _read(descriptor):
        *ends, last = piece.split(b"\n")
        for end in ends:
            content = bytes(rest) + end
            rest.clear()
            if skipping or len(content) > most_bytes:
                yield _too_long(most_bytes)
            else:
                yield content
            skipping = False
        rest += last
        if skipping or len(rest) > most_bytes:
            skipping = True
            rest.clear()
    if skipping or rest:
        yield RequestError(
            "half-line", "the input ended within a line: a message is a whole line of JSON"
        )


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _PIECE)
    except ConnectionError:
        # A socket whose other side has gone.
        return b""


def _too_long(most_bytes: int) -> RequestError:
    return RequestError(
        "line-too-long",
        f"a line may have {most_bytes} bytes and this one had more: put large files in pieces",
    )
