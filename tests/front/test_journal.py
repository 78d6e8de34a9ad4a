"""One run in a folder at a time, and what a killed one leaves is found."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgekit.errors import DiskError, RunError
from edgekit.journal import alone, under_way
from edgekit.progress import FOUND, Step
from edgekit.store import open_run

HOLD = """
import sys, time
from pathlib import Path
from edgekit.disk import hidden
from edgekit.journal import alone, under_way
from edgekit.store import open_run

run = open_run(sys.argv[1])
with alone(run, "edgekit compare m.keras") as entry, under_way(run, sys.argv[2], entry, print):
    hidden(run / "stages" / "key").mkdir()
    (run / "stages" / "whole").mkdir()
    (run / "measured").mkdir()
    print(entry.started, flush=True)
    time.sleep(60)
"""


@contextmanager
def working(run: Path, kind: str = "compare") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process at work in the folder, killed at the end."""
    command = [sys.executable, "-c", HOLD, str(run), kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.send_signal(signal.SIGKILL)


def begin(run: Path, kind: str = "compare") -> tuple[bool, list[str]]:
    """A run that ends well: whether it follows an interrupted one, and what it tells."""
    told: list[Step] = []
    with alone(run, "test") as entry, under_way(run, kind, entry, told.append) as resumed:
        assert all(step.task == FOUND for step in told)
    return resumed, [step.detail for step in told]


def test_the_second_run_is_refused_with_all_it_needs_to_know(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    with working(run) as (process, started):
        with pytest.raises(RunError) as error, alone(run, "second"):
            pytest.fail("two runs in one folder")
        said = str(error.value)
        assert said.startswith(f"{run} is in use by the process {process.pid} on ")
        assert f"since {started} (edgekit compare m.keras)" in said
        assert said.endswith("wait for its end, or name another folder with --out.")


def test_a_killed_run_locks_nobody_out_and_is_found(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    with working(run) as (_, started):
        pass
    assert begin(run) == (
        True,
        [
            f"the run that began at {started} was interrupted; 1 finished stage is kept, the "
            "unfinished one starts over"
        ],
    )
    assert sorted(path.name for path in (run / "stages").iterdir()) == ["whole"]
    assert begin(run) == (False, [])


def test_what_the_user_has_in_the_folder_stays(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    for folder in (run, run / "files", run / "stages"):
        (folder / ".backup.2024").mkdir()
        (folder / ".env.1").touch()
    begin(run)
    for folder in (run, run / "files", run / "stages"):
        assert (folder / ".backup.2024").is_dir()
        assert (folder / ".env.1").is_file()


def test_measurements_outlive_an_interruption_and_no_end(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    with working(run):
        pass
    assert begin(run, "optimize")[0] is False
    assert (run / "measured").is_dir()
    with alone(run, "test") as entry, under_way(run, "compare", entry, print) as resumed:
        assert resumed
        assert (run / "measured").is_dir()
    assert not (run / "measured").exists()


@pytest.mark.parametrize(
    ("error", "left"),
    [(RunError, False), (DiskError, True), (KeyboardInterrupt, True), (SystemExit, True)],
)
def test_only_an_interruption_is_noted(
    tmp_path: Path, error: type[BaseException], left: bool
) -> None:
    run = open_run(tmp_path)
    with (
        pytest.raises(error),
        alone(run, "test") as entry,
        under_way(run, "compare", entry, print),
    ):
        raise error
    assert begin(run)[0] is left


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}'])
def test_an_unreadable_journal_is_an_interruption_at_an_unknown_time(
    tmp_path: Path, text: str
) -> None:
    run = open_run(tmp_path)
    (run / ".compare.json").write_text(text)
    assert begin(run) == (True, ["an earlier run was interrupted; 0 finished stages are kept"])


@pytest.mark.parametrize("text", ["", "{", '{"pid": 999999999, "host": "x"}'])
def test_a_lock_whose_holder_is_unknown_still_holds(tmp_path: Path, text: str) -> None:
    run = open_run(tmp_path)
    handle = os.open(run / ".lock", os.O_RDWR | os.O_CREAT)
    try:
        os.write(handle, text.encode())
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="is in use by another edgekit; "), alone(run, "test"):
            pytest.fail("two runs in one folder")
    finally:
        os.close(handle)


def test_a_file_system_without_locks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(handle: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)  # No such file system is at hand.
    with pytest.raises(RunError, match=r"without file locks \(No locks available\).*--out"):
        begin(open_run(tmp_path))
