"""Debian's packages for another architecture, fetched without touching this machine's own."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.boards.qemu.host import FailedError, run
from edgekit.errors import BoardError

SOURCES = "EDGEKIT_APT_SOURCES"
"""Names a file of apt sources (sources.list or .sources) that goes before the machine's own."""

_CONFIGURATION = """
Dir::State "{folder}";
Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}";
APT::Architecture "{architecture}";
#clear APT::Architectures;
APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "1";
// A list that cannot be fetched is an error, not a warning; older lists are still used.
APT::Update::Error-Mode "any";
// What this machine does after an update of its own is none of ours.
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
"""
_PLANNED = re.compile(r"^Inst (\S+) \((\S+) .*\[(\w+)\]\)", re.MULTILINE)


@dataclass(frozen=True)
class Package:
    """One package in one version."""

    name: str
    version: str
    architecture: str

    @property
    def file(self) -> str:
        """The file's name, as apt-get download gives it."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


class Apt:
    """apt with a state folder of its own, for another architecture, of this machine's sources.

    Its lists and packages lie in `folder` and are used again.
    """

    def __init__(self, folder: Path, architecture: str) -> None:
        """Writes its configuration.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder, self._architecture = folder, architecture
        (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        (folder / "packages").mkdir(exist_ok=True)
        (folder / "status").touch()
        text = _CONFIGURATION.format(folder=folder, architecture=architecture)
        if sources := os.environ.get(SOURCES):
            file = Path(sources).expanduser().absolute()
            text += f'Dir::Etc::sourcelist "{file}";\nDir::Etc::sourceparts "-";\n'
        self._configuration = folder / "apt.conf"
        self._configuration.write_text(text, encoding="utf-8")
        self._update_error: str | None = None

    def update(self) -> None:
        """Fetches the lists of packages; a source that fails may not be one that is needed."""
        try:
            self._run("update", "-qq")
        except FailedError as error:
            self._update_error = _why(error.said)

    def plan(self, names: Sequence[str]) -> list[Package]:
        """The packages of those names and all that they depend on.

        Raises:
            BoardError: the sources do not have them, or cannot be reached.
        """
        try:
            printed = self._run("--simulate", "-qq", "install", *names)
        except FailedError as error:
            if self._update_error:
                raise BoardError(
                    f"The packages of emulated boards cannot be fetched ({self._update_error}): is "
                    "there a network, and does apt-get update work here? Try again then."
                ) from error
            raise BoardError(
                f"apt's sources here lack packages for {self._architecture} that emulated boards "
                f"need ({_why(error.said)}): name a file with Debian's sources in {SOURCES}."
            ) from error
        return [Package(*found) for found in _PLANNED.findall(printed)]

    def fetch(self, packages: Sequence[Package]) -> list[Path]:
        """Downloads what is not there yet, and checks it; other packages are removed.

        Raises:
            BoardError: the sources do not give them.
            DiskError: the disk is full.
        """
        folder = self._folder / "packages"
        wanted = {package.file for package in packages}
        try:
            self._run("download", "-qq", *(f"{one.name}={one.version}" for one in packages))
        except FailedError as error:
            raise BoardError(
                f"The packages of emulated boards cannot be downloaded ({_why(error.said)}): is "
                "there a network? Try again then; what has come is kept."
            ) from error
        for file in folder.iterdir():
            if file.name not in wanted and file.is_file():
                file.unlink()
        return [folder / package.file for package in packages]

    def _run(self, *arguments: str) -> str:
        configured = {"APT_CONFIG": str(self._configuration)}
        return run("apt-get", arguments, configured, self._folder / "packages")


def sources_key() -> str:
    """A hash of apt's sources here: other sources give another system."""
    digest = hashlib.sha256()
    if named := os.environ.get(SOURCES):
        files = [Path(named).expanduser()]
        if not files[0].is_file():
            raise BoardError(f"{SOURCES}={named}: there is no such file; name a file of sources.")
    else:
        etc = Path("/etc/apt")
        files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    for file in files:
        if file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()


def unpack(package: Path, folder: Path) -> None:
    """Unpacks a package's files, without its scripts.

    Raises:
        BoardError: it is damaged.
        DiskError: the disk is full.
    """
    run("dpkg-deb", ["--extract", package, folder], cwd=folder)


def _why(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.startswith(("E:", "Err:"))]
    text = lines[0].removeprefix("E:").strip() if lines else said.strip()[-200:]
    return text.rstrip(".") or "apt-get fails in silence"
