"""Files that a command is told to write models to."""

from __future__ import annotations

from pathlib import Path

from edgekit.errors import RunError


def check_model_file(out: Path, source: str | Path | None = None) -> None:
    """Refuses a file that no model could be written to, before time is spent on training.

    `source` is what the model was loaded from.

    Raises:
        RunError: naming the file and what it should be.
    """
    if out.suffix != ".keras":
        raise RunError(f"-o {out}: Keras models end in .keras; name such a file.")
    if out.is_dir():
        raise RunError(f"-o {out} is a folder; name the .keras file in it.")
    files = [] if source is None else [Path(source), Path(str(source).rpartition(":")[0])]
    if out.exists() and any(file.is_file() and file.samefile(out) for file in files):
        raise RunError(f"-o {out} is the model that was given; name another file for the result.")


def free_name(stem: str) -> Path:
    """`STEM.keras`, or STEM-2, STEM-3, … where there is a file of that name already."""
    number, path = 1, Path(f"{stem}.keras")
    while path.exists() or path.is_symlink():
        number += 1
        path = Path(f"{stem}-{number}.keras")
    return path
