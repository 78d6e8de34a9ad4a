import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

DEVICE = Path(__file__).parents[2] / "device"
BOARDS = Path(__file__).parents[2] / "profiles" / "boards"


def test_no_extra_holds_numpy_back_where_its_runtime_cannot_be_installed() -> None:
    (line,) = (
        line
        for line in (DEVICE / "pyproject.toml").read_text().splitlines()
        if line.startswith("tflite-runtime = ")
    )
    requirements = line.count('"') // 2
    assert requirements == line.count("; python_version < '3.12'\"") == 2


needs_build = pytest.mark.skipif(
    find_spec("build") is None or find_spec("scikit_build_core") is None,
    reason="needs the packages build and scikit-build-core",
)


@pytest.mark.slow
@needs_build
def test_without_a_compiler_there_is_a_wheel_without_the_library(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path]
    environment = {**os.environ, "CXX": str(tmp_path / "no-compiler")}
    subprocess.run([*command, DEVICE], capture_output=True, check=True, env=environment)
    (wheel,) = tmp_path.glob("*-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert "edgekit_device/delegate.py" in names
    assert "edgekit_device/native/delegate.cpp" in names
    assert not [name for name in names if name.endswith(".so")]


@pytest.mark.slow
@needs_build
def test_a_wheel_built_by_way_of_the_sdist_holds_the_board_profiles(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path)]
    subprocess.run([*command, str(DEVICE)], capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        pi4 = archive.read("edgekit_device/profiles/boards/pi4.toml")
    assert {f"edgekit_device/profiles/boards/{file.name}" for file in BOARDS.iterdir()} <= names
    assert pi4 == (BOARDS / "pi4.toml").read_bytes()
    assert "edgekit_device/py.typed" in names
    assert "edgekit_device/_native/libedgekit_nepu.so" in names
    assert not any("models/" in name or name.startswith("tests") for name in names)
