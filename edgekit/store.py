"""The run folder: finished work under content keys, written whole, checked before it is used."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgekit.disk import hidden, remove, storing
from edgekit.errors import RunError
from edgekit.progress import FOUND, Listener, Step
from edgekit_device.errors import RecordError

STAGES, MEASURED = "stages", "measured"
"""The folders of finished stages, and of measurements that wait for the rest of a comparison."""


_FACTS = "stage.json"


UNREADABLE = (KeyError, TypeError, ValueError, RecordError)
"""What facts raise that are not those of a stage."""


class StageDamageError(Exception):
    """A stored stage that looks whole but cannot be used; whoever meets it has it done again."""

    def __init__(self, folder: Path, label: str, why: str) -> None:
        super().__init__(f"{label} in {folder}: {why}")
        self.folder, self.label, self.why = folder, label, why


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
        (path / STAGES).mkdir(parents=True, exist_ok=True)
        (path / "files").mkdir(exist_ok=True)
        probe = hidden(path / "writable")
        probe.touch()
        # A run at work there may take it for a leftover.
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(
            f"The run folder {path} cannot be written ({error.strerror}); name another with --out."
        ) from error
    return path


def stage_folder(
    run: Path,
    key: str,
    label: str,
    make: Callable[[Path], dict[str, Any]],
    progress: Listener,
) -> tuple[Path, bool]:
    """The folder of one finished stage and whether it was there already.

    `make` writes the stage's files into the folder it is given and returns the facts to keep.
    `label` is what people are told of, such as "stage lcrm".

    Raises:
        DiskError: the stage cannot be stored.
    """
    found = find(run, STAGES, key, label, progress)
    return (found, True) if found else (put(run, STAGES, key, label, make), False)


def find(run: Path, shelf: str, key: str, label: str, progress: Listener) -> Path | None:
    """The folder under this key if all in it is as it was stored; a damaged one is removed."""
    folder = run / shelf / key
    if not folder.exists():
        return None
    why = damage(folder)
    if why is None:
        return folder
    set_aside(run, StageDamageError(folder, label, why), progress)
    return None


def put(
    run: Path, shelf: str, key: str, label: str, make: Callable[[Path], dict[str, Any]]
) -> Path:
    """Makes the folder under this key, which appears only once all of it is written.

    So a killed run leaves none. Raises DiskError where it cannot be stored.
    """
    final = run / shelf / key
    partial = hidden(final)
    with storing(run, f"the {label}"):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            # What JSON makes of the facts is what will be read and checked.
            facts = json.loads(json.dumps(make(partial)))
            files = {
                str(path.relative_to(partial)): _sha256(path)
                for path in sorted(partial.rglob("*"))
                if path.is_file()
            }
            told = {"sha256": _digest(files, facts), "files": files, "facts": facts}
            (partial / _FACTS).write_text(json.dumps(told, indent=1) + "\n")
            # Another process may have been faster, or something useless is in the way.
            if not final.exists() or damage(final) is not None:
                remove(final)
                partial.rename(final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return final


def read_facts(folder: Path) -> dict[str, Any]:
    """The facts that a stage kept, which `find` or `put` has given."""
    facts: dict[str, Any] = json.loads((folder / _FACTS).read_text())["facts"]
    return facts


def damage(folder: Path) -> str | None:
    """In what a folder differs from what was stored; None if it is whole."""
    try:
        told = json.loads((folder / _FACTS).read_bytes())
    except FileNotFoundError:
        return f"it has no {_FACTS}"
    except (OSError, ValueError):
        return f"its {_FACTS} cannot be read"
    if not isinstance(told, dict) or not {"sha256", "files", "facts"} <= told.keys():
        return f"its {_FACTS} holds no checksums"
    if told["sha256"] != _digest(told["files"], told["facts"]):
        return f"{_FACTS} does not have the content it was stored with"
    for name, wanted in told["files"].items():
        try:
            if _sha256(folder / name) != wanted:
                return f"{name} does not have the content it was stored with"
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
    return None


def set_aside(run: Path, found: StageDamageError, progress: Listener) -> None:
    """Removes a stage that cannot be used and says so."""
    sentence = f"{found.label} was damaged ({found.why}); it is done again"
    progress(Step(FOUND, 1.0, sentence))
    with storing(run, f"the {found.label}"):
        remove(found.folder)


def unreadable(
    folder: Path, label: str, error: Exception, reused: bool
) -> StageDamageError | RunError:
    """What to raise for facts that do not read back: only an earlier run's are done again."""
    why = f"it lacks or misspells {error}"
    if reused:
        return StageDamageError(folder, label, why)
    return RunError(
        f"The {label} was stored in {folder} but cannot be read again ({why}); name another folder "
        "with --out."
    )


def file_name(recipe: str) -> str:
    """A file name that a recipe can be told by."""
    name = re.sub(r"[^\w.+=-]+", "_", recipe, flags=re.ASCII).strip("_")
    if name == recipe and 0 < len(name) <= 80:
        return name
    return f"{name[:60]}-{hashlib.sha256(recipe.encode()).hexdigest()[:6]}"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _digest(files: Any, facts: Any) -> str:
    return hashlib.sha256(json.dumps([files, facts], sort_keys=True).encode()).hexdigest()
