"""The NPU profiles that come with the agent, found as the boards' are: `profiles/npus/*.toml`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from edgekit_device.errors import NpuProfileError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def shipped_npus() -> dict[str, str]:
    """The text of every profile that comes with the agent, by name."""
    folder = files("edgekit_device") / "profiles" / "npus"
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    return {
        entry.name.removesuffix(".toml"): entry.read_text("utf-8")
        for entry in entries
        if entry.name.endswith(".toml")
    }


def npu_data(named: str) -> tuple[Mapping[str, Any], str]:
    """Read a shipped profile by its name, or one from a `.toml` file: (its tables, its file).

    Raises:
        NpuProfileError: there is no such profile or file, or it is not TOML.
    """
    if named.endswith(".toml"):
        try:
            text, file = Path(named).read_text("utf-8"), named
        except (OSError, UnicodeDecodeError) as error:
            raise NpuProfileError(f"the NPU profile {named} cannot be read: {error}") from error
    else:
        shipped = shipped_npus()
        if named not in shipped:
            raise NpuProfileError(
                f"there is no NPU profile {named!r}: name one of {', '.join(shipped)}, or a file "
                "that ends in .toml"
            )
        text, file = shipped[named], f"{named}.toml"
    try:
        return tomllib.loads(text), file
    except tomllib.TOMLDecodeError as error:
        raise NpuProfileError(f"{file}: it is not TOML: {error}") from error
