"""A disk that is full, closed or limited: one sentence, and nothing half-written is left."""

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.disk import hidden, leftovers, publish, storing, try_folder, write_whole
from edgekit.errors import DiskError, RunError
from edgekit.progress import silent
from edgekit.store import open_run, stage_folder

FULL = Path("/dev/full")
"""A device on which every write meets a full disk, also root's."""


def refused(path: Path, make: Callable[[Path], Any]) -> str:
    """What is said when a stage cannot be stored; nothing of it may be left."""
    run = open_run(path)
    with pytest.raises(DiskError) as error:
        stage_folder(run, "key", "stage lcrm+P", make, silent)
    assert list((run / "stages").iterdir()) == []
    return str(error.value)


def test_a_full_disk_names_the_folder_the_stage_and_the_way_out(tmp_path: Path) -> None:
    said = refused(tmp_path / "run", lambda folder: FULL.write_text("x"))
    assert said == (
        f"The disk of {tmp_path}/run is full (No space left on device) while storing the stage "
        "lcrm+P; finished stages are kept: free some space and run the same command again."
    )


def test_a_disk_that_is_full_when_keras_saves_is_told_the_same(
    models_py: Path, tmp_path: Path
) -> None:
    import edgekit_converters as ec

    model = ec.load_model(f"{models_py}:tiny")

    def save(folder: Path) -> dict[str, Any]:
        (folder / "model.keras").symlink_to(FULL)
        ec.save_stage(model, folder)
        return {}

    assert "is full (No space left on device)" in refused(tmp_path, save)


def test_a_disk_that_is_full_when_numpy_saves_is_told_the_same(tmp_path: Path) -> None:
    def save(folder: Path) -> dict[str, Any]:
        with FULL.open("wb") as file:
            np.savez(file, weights=np.zeros(1 << 18))
        return {}

    assert "is full (No space left on device)" in refused(tmp_path, save)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
def test_what_a_library_wraps_is_found_behind_its_error(number: int) -> None:
    def wrapped() -> None:
        try:
            raise OSError(number, os.strerror(number))
        except OSError as error:
            raise ValueError("the archive cannot be closed") from error

    with pytest.raises(DiskError, match=os.strerror(number)), storing(Path("run"), "the stage x"):
        wrapped()


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(FileNotFoundError), storing(Path("run"), "the stage x"):
        Path("nowhere/at/all").read_text()
    with pytest.raises(RunError, match="as it was"), storing(Path("run"), "the stage x"):
        raise RunError("as it was")


def test_a_folder_nobody_may_write_to_is_told_of() -> None:
    # Root ignores permissions, but not those of the kernel's own folders.
    with pytest.raises(DiskError, match="cannot be written"), storing(Path("/sys"), "the stage x"):
        Path("/sys/edgekit").mkdir()


def test_where_nothing_is_kept_nothing_is_said_to_be(tmp_path: Path) -> None:
    with (
        pytest.raises(DiskError) as error,
        storing(tmp_path, "the trained model", kept="", option="-o"),
    ):
        FULL.write_text("x")
    assert str(error.value) == (
        f"The disk of {tmp_path} is full (No space left on device) while storing the trained "
        "model: free some space and run the same command again."
    )


def test_trying_a_folder_makes_it_and_leaves_nothing_in_it(tmp_path: Path) -> None:
    try_folder(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    with pytest.raises(OSError, match="sys"):
        try_folder(Path("/sys/kernel"))


def test_something_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "source").write_text("content")
    (tmp_path / "optimized").write_text("a file in the folder's place")
    with (
        pytest.raises(DiskError, match=r"optimized is in the way"),
        storing(tmp_path, "the file of base"),
    ):
        publish(tmp_path / "source", tmp_path / "optimized" / "base.tflite")


def test_publishing_replaces_what_is_there_whole_and_again(tmp_path: Path) -> None:
    source, target = tmp_path / "stored", tmp_path / "files" / "base.tflite"
    source.write_text("new")
    target.parent.mkdir()
    target.write_text("old")
    for _ in range(2):
        publish(source, target)
        assert target.read_text() == "new"
        assert target.samefile(source)
        assert [path.name for path in target.parent.iterdir()] == ["base.tflite"]


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")
def test_publishing_copies_between_file_systems(tmp_path: Path) -> None:
    target = Path("/dev/shm") / f"edgekit-{os.getpid()}" / "base.tflite"
    (tmp_path / "stored").write_text("content")
    try:
        publish(tmp_path / "stored", target)
        assert target.read_text() == "content"
        assert leftovers(target.parent) == []
    finally:
        target.unlink(missing_ok=True)
        target.parent.rmdir()


def test_a_text_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "comparison.json"
    write_whole(file, "first")
    with pytest.raises(UnicodeEncodeError):
        write_whole(file, "second \ud800")
    assert file.read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["comparison.json"]


def test_hidden_names_are_known_as_leftovers(tmp_path: Path) -> None:
    users = (".backup.2024", ".env.1", "edgekit-x.1", ".edgekit-notes")
    for name in (".lock", ".compare.json", "visible", "with.1", *users):
        (tmp_path / name).touch()
    hidden(tmp_path / "key").mkdir()
    assert leftovers(tmp_path) == [hidden(tmp_path / "key")]


@pytest.mark.slow
@pytest.mark.parametrize("limit", [512, 24 << 10, 40 << 10], ids="{}".format)
def test_a_comparison_that_may_not_write_more_ends_with_one_sentence_and_goes_on_later(
    models_py: Path, digits_npz: Path, tmp_path: Path, limit: int
) -> None:
    """512 bytes hold no file, 24 KiB the files but no conversion, 40 KiB no trained model."""
    run = tmp_path / "run"
    command = [sys.executable, "-m", "edgekit", "compare", f"{models_py}:tiny"]
    options = ["--data", str(digits_npz), "--out", str(run), "--epochs", "1", "--recipes", "lcrm"]
    short = ["--seconds", "0.1", "--runs", "2", "--rounds", "1", "--idle-seconds", "0"]

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    def ran(preexec: Callable[[], None] | None) -> Any:
        return subprocess.run(
            [*command, *options, *short],
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=preexec,
        )

    cut = ran(limited)
    assert cut.returncode == 2, cut.stderr
    *progress, last = cut.stderr.splitlines()
    assert "takes no file of this size (File too large) while storing the " in last
    assert "finished stages are kept" in last
    assert all(line.startswith("edgekit: ") for line in progress)
    assert not any("failed" in line for line in progress)
    assert leftovers(run / "stages") == leftovers(run / "files") == []
    whole = ran(None)
    assert whole.returncode == 0, whole.stderr
    assert "was interrupted; " in whole.stderr
