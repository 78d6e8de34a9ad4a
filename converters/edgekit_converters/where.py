"""Layer patterns of a pass: `*` and `?` match within paths, a leading `!` excludes."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase

from edgekit_converters.errors import RewriteError


def selected(path: str, where: tuple[str, ...]) -> bool:
    """Whether the patterns choose the layer: no pattern that is not an exclusion chooses all."""
    chosen = [pattern for pattern in where if not pattern.startswith("!")]
    refused = [pattern[1:] for pattern in where if pattern.startswith("!")]
    inside = not chosen or any(fnmatchcase(path, pattern) for pattern in chosen)
    return inside and not any(fnmatchcase(path, pattern) for pattern in refused)


def check_where(name: str, what: str, where: tuple[str, ...], paths: Collection[str]) -> None:
    """Refuses a pattern that matches nothing: `name` is the pass, `what` it works on.

    Raises:
        RewriteError: naming the pattern and the layers there are.
    """
    for pattern in where:
        if not any(fnmatchcase(path, pattern.removeprefix("!")) for path in paths):
            raise RewriteError(
                f"{name}(where={pattern!r}) matches no {what} of this model; it has "
                f"{', '.join(paths) or 'none'}."
            )
