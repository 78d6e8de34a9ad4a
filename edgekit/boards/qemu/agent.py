"""The agent of this environment, in an archive that the kernel of an emulated board unpacks."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import edgekit_device
from edgekit.boards.qemu import cpio
from edgekit.boards.qemu.bytecode import compile_all
from edgekit.store import content_key
from edgekit_device import __version__
from edgekit_device.delegate import LIBRARY, library_in

_PACKAGE = Path(edgekit_device.__path__[0])
_GUEST = Path(__file__).with_name("guest")
_HOME = "edgekit"


def archive_key(disk: Path, delegate: Path | None) -> str:
    """A key of the agent's sources and delegate, what starts it, and the disk they go with."""
    digest = hashlib.sha256()
    for name, file in [("init", _GUEST / "init"), *sorted(_sources())]:
        digest.update(f"{name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return content_key(
        {
            "disk": disk.name,
            "delegate": delegate and delegate.name,
            "version": __version__,
            "files": digest.hexdigest(),
        }
    )


def make_archive(folder: Path, disk: Path, delegate: Path | None) -> None:
    """Writes `archive` into the folder; `disk` is the folder of the disk that it goes with.

    `delegate` is the folder of the NEPU delegate's library, None where it could not be built.
    """
    facts = json.loads((disk / "facts.json").read_text("utf-8"))
    root = folder / "root"
    home = root / "opt" / _HOME
    for name, file in _sources():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, home / name)
    if delegate is not None:
        library = library_in(home / "edgekit_device")
        library.parent.mkdir(exist_ok=True)
        shutil.copyfile(delegate / LIBRARY, library)
    metadata = home / f"edgekit_device-{__version__}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: edgekit-device\nVersion: {__version__}\n")
    compile_all([home], root, (facts["python"][0], facts["python"][1]))
    files: dict[str, bytes | Path] = {
        f"{_HOME}/{file.relative_to(home)}": file for file in home.rglob("*") if file.is_file()
    }
    files["init"] = (_GUEST / "init").read_bytes()
    files["bin/busybox"] = (disk / "busybox").read_bytes()
    files["modules/order"] = "".join(f"{name}\n" for name in facts["modules"]).encode()
    for name in facts["modules"]:
        files[f"modules/{name}"] = disk / "modules" / name
    (folder / "archive").write_bytes(cpio.archive(files))
    shutil.rmtree(root)


def _sources() -> Iterator[tuple[str, Path]]:
    """The agent's files and the board's first process, by their places beside each other.

    The sources of the NEPU delegate stay out: no compiler is there.
    """
    yield "supervisor.py", _GUEST / "supervisor.py"
    for pattern in ("**/*.py", "profiles/**/*.toml"):
        for file in _PACKAGE.glob(pattern):
            yield f"edgekit_device/{file.relative_to(_PACKAGE)}", file
