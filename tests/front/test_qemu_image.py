"""How the image of emulated boards is made, and what is said where it cannot be."""

import fcntl
import platform
import re
import shutil
import time
from pathlib import Path

import pytest

from edgekit.boards import parse_board
from edgekit.boards.qemu import cpio, host, image, machines, standing
from edgekit.boards.qemu.cache import cache_folder, layer
from edgekit.boards.qemu.image import build_image
from edgekit.cli import main
from edgekit.errors import BoardError, DiskError
from edgekit.progress import Step, silent

PI4 = "qemu:pi4"

Capture = pytest.CaptureFixture[str]


def test_boards_have_their_profiles_cores_and_memory() -> None:
    found = {name: (one.cpu, one.cores, one.memory_bytes) for name, one in machines().items()}
    assert found["pi3b+"] == ("cortex-a53", 4, 1 << 30)
    assert found["pi4"] == ("cortex-a72", 4, 1 << 30)
    assert found["pi5"][:2] == ("cortex-a76", 4)
    assert str(parse_board("qemu:pi3b+")) == "qemu:pi3b+"


@pytest.mark.parametrize("text", ["qemu:", "qemu:pi9", "qemu"])
def test_what_is_no_emulated_board_is_refused(text: str) -> None:
    with pytest.raises(BoardError, match=r"is no emulated board: give one of .*qemu:pi4"):
        parse_board(text)


def test_missing_programs_are_named_with_what_installs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert main(["boards", "up", PI4]) == 2
    said = capsys.readouterr().err
    assert f"need {host.QEMU} and apt-get and dpkg-deb, which this machine lacks: " in said
    assert "use a Debian machine or container" in said
    for name in ("apt-get", "dpkg-deb"):
        (tmp_path / name).symlink_to("/bin/true")
    assert main(["boards", "up", PI4]) == 2
    assert "sudo apt-get install qemu-system-arm" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()


def test_a_layer_whose_removal_was_interrupted_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(folder: Path) -> None:
        (folder / "kernel").touch()
        (folder / "disk").touch()

    def be_killed(folder: Path) -> None:
        (folder / "kernel").unlink()
        raise KeyboardInterrupt

    for key in ("one", "two"):
        layer(tmp_path, key, make)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", be_killed)
        with pytest.raises(KeyboardInterrupt):
            layer(tmp_path, "three", make)
    found = layer(tmp_path, "one", make)
    assert {file.name for file in found.iterdir()} == {"kernel", "disk"}


def test_a_cross_compiler_that_fails_costs_the_delegate_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "c++" if platform.machine() == "aarch64" else "aarch64-linux-gnu-g++"
    (tmp_path / name).write_text("#!/bin/sh\necho no such header >&2\nexit 1\n")
    (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    told: list[Step] = []
    assert image._delegate(tmp_path / "delegates", told.append) is None
    assert "without the NEPU delegate: no such header" in told[-1].detail
    assert not list((tmp_path / "delegates").iterdir())


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("deb http://127.0.0.1:9/debian bookworm main", "is there a network"),
        ("deb [trusted=yes] file:{folder} ./", "apt's sources here lack packages for arm64"),
    ],
    ids=["no-network", "no-arm64"],
)
def test_sources_that_do_not_serve_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, says: str
) -> None:
    (tmp_path / "Packages").touch()
    (tmp_path / "sources.list").write_text(source.format(folder=tmp_path) + "\n")
    monkeypatch.setenv("EDGEKIT_APT_SOURCES", str(tmp_path / "sources.list"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(BoardError, match=re.escape(says)):
        build_image(silent)
    assert not list((tmp_path / "cache").glob("edgekit/qemu/disks/[!.]*"))


def test_a_disk_without_room_is_told_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("edgekit.boards.qemu.system._NEEDED_BYTES", 1 << 60)
    with pytest.raises(DiskError, match=r"is full: .*XDG_CACHE_HOME"):
        build_image(silent)


def test_a_cache_folder_in_the_way_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "edgekit").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DiskError, match="name another folder in XDG_CACHE_HOME"):
        build_image(silent)


def test_who_only_looks_whether_a_board_is_up_does_not_keep_it_from_booting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder, tries = cache_folder() / "up" / "pi4", []
    folder.mkdir(parents=True)
    look = (folder / "lock").open("w")
    fcntl.flock(look, fcntl.LOCK_SH)

    def pause(seconds: float) -> None:
        tries.append(seconds)
        look.close()

    monkeypatch.setattr(time, "sleep", pause)
    # No QEMU is needed to see that it is come to.
    monkeypatch.setenv("PATH", str(tmp_path))
    nothing = image.Image(tmp_path, tmp_path, tmp_path)
    with pytest.raises(BoardError, match="which this machine lacks"):
        standing.boot(machines()["pi4"], nothing)
    assert len(tries) == 1
    with (tmp_path / "held").open("w") as held, (tmp_path / "held").open() as other:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert not standing._hold(other.fileno())


def test_an_archive_holds_folders_before_what_is_in_them() -> None:
    packed = cpio.archive({"a/b/c": b"see", "init": b"#!"})
    assert len(packed) % 4 == 0
    places = [packed.index(name) for name in (b"a\0", b"a/b\0", b"a/b/c\0", b"init\0", b"TRAILER")]
    assert places == sorted(places)
