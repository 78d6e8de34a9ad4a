"""The run folder: stages are whole or not there, names are safe."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.disk import hidden, leftovers, remove
from edgekit.errors import RunError
from edgekit.progress import Step, silent
from edgekit.store import content_key, damage, file_name, open_run, read_facts, stage_folder


def no_maker(folder: Path) -> dict[str, Any]:
    raise AssertionError("the stage was there already")


def visible(run: Path) -> list[str]:
    return [path.name for path in (run / "stages").iterdir() if not path.name.startswith(".")]


def test_a_stage_is_made_once_and_then_reused(tmp_path: Path) -> None:
    run = open_run(tmp_path / "new" / "run")

    def make(folder: Path) -> dict[str, Any]:
        (folder / "model").write_text("weights")
        assert not (run / "stages" / "key").exists()
        return {"epochs": 3}

    folder, reused = stage_folder(run, "key", "stage x", make, silent)
    assert not reused
    assert read_facts(folder) == {"epochs": 3}
    assert stage_folder(open_run(run), "key", "stage x", no_maker, silent) == (folder, True)
    assert (folder / "model").read_text() == "weights"
    assert visible(run) == ["key"]


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt])
def test_a_maker_that_stops_leaves_nothing(tmp_path: Path, stop: type[BaseException]) -> None:
    run = open_run(tmp_path)

    def make(folder: Path) -> dict[str, Any]:
        (folder / "model").write_text("half")
        raise stop

    with pytest.raises(stop):
        stage_folder(run, "key", "stage x", make, silent)
    assert list((run / "stages").iterdir()) == []


def test_facts_that_cannot_be_written_leave_nothing(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    with pytest.raises(TypeError):
        stage_folder(run, "key", "stage x", lambda folder: {"bad": object()}, silent)
    assert list((run / "stages").iterdir()) == []


def test_a_killed_process_leaves_no_stage_under_the_key(tmp_path: Path) -> None:
    script = """
import sys, time
from pathlib import Path
from edgekit.store import open_run, stage_folder

def make(folder):
    (folder / "model").write_text("half")
    print("writing", flush=True)
    time.sleep(60)

stage_folder(open_run(sys.argv[1]), "key", "stage x", make, lambda step: None)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGKILL)
    assert visible(tmp_path) == []
    folder, reused = stored(open_run(tmp_path), {"whole": True})
    assert not reused
    assert read_facts(folder) == {"whole": True}


def stored(run: Path, facts: dict[str, Any], steps: list[Step] | None = None) -> tuple[Path, bool]:
    """Store two files and facts under one key, or find them there."""

    def make(folder: Path) -> dict[str, Any]:
        (folder / "model").write_bytes(bytes(range(100)))
        (folder / "inner").mkdir()
        (folder / "inner" / "more").write_text("more")
        return facts

    heard = [] if steps is None else steps
    return stage_folder(run, "key", "stage lcrm", make, heard.append)


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def change_facts(file: Path) -> None:
    file.write_text(file.read_text().replace('"epochs": 3', '"epochs": 9'))


ALTERED = "does not have the content it was stored with"
DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no-facts": (lambda f: (f / "stage.json").unlink(), "it has no stage.json"),
    "half-facts": (lambda f: os.truncate(f / "stage.json", 40), "its stage.json cannot be read"),
    "empty-facts": (lambda f: os.truncate(f / "stage.json", 0), "its stage.json cannot be read"),
    "binary-facts": (
        lambda f: (f / "stage.json").write_bytes(b"\xff\xfe"),
        "its stage.json cannot be read",
    ),
    "old-facts": (
        lambda f: (f / "stage.json").write_text('{"stage": {}, "layers": []}'),
        "its stage.json holds no checksums",
    ),
    "list": (lambda f: (f / "stage.json").write_text("[1]"), "its stage.json holds no checksums"),
    "other-facts": (lambda f: change_facts(f / "stage.json"), f"stage.json {ALTERED}"),
    "no-file": (lambda f: (f / "model").unlink(), "model is missing"),
    "half-file": (lambda f: os.truncate(f / "model", 50), f"model {ALTERED}"),
    "flipped-bit": (lambda f: flip(f / "inner" / "more"), f"inner/more {ALTERED}"),
    "longer-file": (
        lambda f: (f / "model").write_bytes((f / "model").read_bytes() + b"x"),
        f"model {ALTERED}",
    ),
    "empty-folder": (
        lambda f: [shutil.rmtree(f), f.mkdir()],
        "it has no stage.json",
    ),
    "file-in-its-place": (
        lambda f: [shutil.rmtree(f), f.write_text("x")],
        "its stage.json cannot be read",
    ),
}


@pytest.mark.parametrize(("harm", "why"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_stage_is_told_of_and_done_again(
    tmp_path: Path, harm: Callable[[Path], Any], why: str
) -> None:
    run = open_run(tmp_path)
    folder, _ = stored(run, {"epochs": 3})
    assert damage(folder) is None
    harm(folder)
    steps: list[Step] = []
    assert stored(run, {"epochs": 3}, steps) == (folder, False)
    assert [step.detail for step in steps] == [f"stage lcrm was damaged ({why}); it is done again"]
    assert damage(folder) is None
    assert read_facts(folder) == {"epochs": 3}
    assert stored(run, {"epochs": 3}, steps) == (folder, True)
    assert len(steps) == 1


def test_facts_come_back_as_they_were(tmp_path: Path) -> None:
    facts = {"loss": [0.1, float("inf"), 1e-300], "text": '\u5c64 "\\n', "none": None}
    folder, _ = stored(open_run(tmp_path), facts)
    assert read_facts(folder) == facts
    assert damage(folder) is None


@pytest.mark.parametrize("inside", ["", "deeper"], ids=["itself", "parent"])
def test_a_file_in_place_of_the_run_folder_is_refused(tmp_path: Path, inside: str) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(RunError, match=r"cannot be written .*name another with --out"):
        open_run(tmp_path / "run" / inside)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder nobody may write to")
def test_a_folder_that_refuses_writing_is_refused() -> None:
    with pytest.raises(RunError, match=r"/proc/run cannot be written .*--out"):
        open_run("/proc/run")


def test_opening_a_run_leaves_no_probe(tmp_path: Path) -> None:
    open_run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "stages"]


def test_a_probe_that_another_run_cleans_up_is_no_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch = Path.touch

    def touch_and_lose(path: Path) -> None:
        touch(path)
        for left in leftovers(tmp_path):
            remove(left)

    monkeypatch.setattr(Path, "touch", touch_and_lose)
    assert open_run(tmp_path) == tmp_path


def test_a_key_tells_any_changed_fact_and_no_order() -> None:
    facts = {"pass": "lcrm", "seed": 0, "data": None}
    assert content_key(facts) == content_key(dict(reversed(facts.items())))
    keys = {content_key(facts | change) for change in ({}, {"seed": 1}, {"data": ""}, {"x": None})}
    assert len(keys) == 4


@pytest.mark.parametrize("recipe", ["base", "int8", "lcrm+int8", "float16"])
def test_a_plain_recipe_names_its_file(recipe: str) -> None:
    assert file_name(recipe) == recipe


HOSTILE = [
    "lcrm(where='../../etc/passwd')",
    "lcrm(where='/abs')",
    "lcrm(where='a\\b')",
    "lcrm(where='a\x00b')",
    "lcrm(where='" + "層" * 100 + "')",
    "lcrm(where='" + "x" * 500 + "')",
    "",
    "/",
    "..",
    "a" * 300,
    "𠀀" * 79,
]


@pytest.mark.parametrize("recipe", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_recipe_stays_one_file_in_its_folder(tmp_path: Path, recipe: str) -> None:
    file = tmp_path / f"{file_name(recipe)}.manifest.json"
    temporary = hidden(file)
    for path in (file, temporary):
        path.touch()
    assert {path.name for path in tmp_path.iterdir()} == {file.name, temporary.name}


@given(st.text(max_size=120), st.text(max_size=120))
def test_different_recipes_have_different_names(one: str, other: str) -> None:
    assert (file_name(one) == file_name(other)) == (one == other)


@given(st.text())
def test_a_name_needs_no_quoting_and_fits_every_file_system(recipe: str) -> None:
    name = file_name(recipe)
    assert re.fullmatch(r"[A-Za-z0-9_.+=-]+", name)
    assert len(name) <= 80


def test_whoever_finishes_a_stage_second_keeps_the_first(tmp_path: Path) -> None:
    run = open_run(tmp_path)

    first, _ = stored(open_run(tmp_path / "elsewhere"), {"by": "the first"})

    def overtaken(folder: Path) -> dict[str, Any]:
        shutil.copytree(first, run / "stages" / "key")
        return {"by": "the second"}

    folder, _ = stage_folder(run, "key", "stage x", overtaken, silent)
    assert read_facts(folder) == {"by": "the first"}
    assert [path.name for path in (run / "stages").iterdir()] == ["key"]
