"""The run folder: trained stages under content keys, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgekit.errors import RunError


def content_key(facts: dict[str, Any]) -> str:
    """A short key that changes when any of the facts changes."""
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def open_run(folder: str | Path) -> Path:
    """The run folder, made where needed.

    Raises:
        RunError: it cannot be written.
    """
    path = Path(folder)
    try:
        (path / "stages").mkdir(parents=True, exist_ok=True)
        (path / "files").mkdir(exist_ok=True)
        probe = path / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise RunError(
            f"The run folder {path} cannot be written ({error.strerror}); name another with --out."
        ) from error
    return path


def stage_folder(run: Path, key: str, make: Callable[[Path], dict[str, Any]]) -> tuple[Path, bool]:
    """The folder of one finished stage and whether it was there already.

    `make` writes the stage's files into the folder it is given and returns the facts to keep. The
    folder appears under its key only once all of it is written, so a killed run leaves none.
    """
    final = run / "stages" / key
    if (final / "stage.json").is_file():
        return final, True
    partial = run / "stages" / f".{key}.{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        facts = make(partial)
        (partial / "stage.json").write_text(json.dumps(facts, indent=1) + "\n")
        try:
            partial.rename(final)
        except OSError:
            # Another process was faster, or a folder without its facts is in the way.
            if not (final / "stage.json").is_file():
                shutil.rmtree(final)
                partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final, False


def read_stage(folder: Path) -> dict[str, Any]:
    """The facts a finished stage kept.

    Raises:
        RunError: the stage's file is damaged.
    """
    try:
        facts = json.loads((folder / "stage.json").read_text())
    except (OSError, ValueError) as error:
        raise damaged(folder, str(error)) from error
    if not isinstance(facts, dict):
        raise damaged(folder, f"its stage.json holds a {type(facts).__name__}")
    return facts


def damaged(folder: Path, why: str) -> RunError:
    """The error of a stage that cannot be used."""
    return RunError(
        f"The stage {folder} is damaged ({why}); delete that folder and run again, it will be "
        "trained anew."
    )


def file_name(recipe: str) -> str:
    """A file name that a recipe can be told by."""
    name = re.sub(r"[^\w.+=-]+", "_", recipe, flags=re.ASCII).strip("_")
    if name == recipe and 0 < len(name) <= 80:
        return name
    return f"{name[:60]}-{hashlib.sha256(recipe.encode()).hexdigest()[:6]}"
