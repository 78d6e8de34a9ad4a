"""The three distributions fit one another, and the linters hold."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PROJECTS = {"edgekit": ROOT, "converters": ROOT / "converters", "device": ROOT / "device"}
CONSTRAINTS = sorted(ROOT.glob("constraints*.txt"))


def project(name: str) -> dict[str, Any]:
    return tomllib.loads((PROJECTS[name] / "pyproject.toml").read_text())["project"]


def test_the_three_have_one_version_and_one_range_of_pythons() -> None:
    assert len({project(name)["version"] for name in PROJECTS}) == 1
    assert len({project(name)["requires-python"] for name in PROJECTS}) == 1
    assert len({project(name)["license"] for name in PROJECTS}) == 1


def test_edgekit_takes_the_other_two_in_its_own_version() -> None:
    version = project("edgekit")["version"]
    needs = set(project("edgekit")["dependencies"])
    assert {f"edgekit-converters=={version}", f"edgekit-device[litert]=={version}"} <= needs


def test_the_agent_knows_the_version_of_its_project() -> None:
    from edgekit_device import __version__

    assert __version__ == project("device")["version"]


def test_neither_of_the_two_needs_the_other_or_edgekit() -> None:
    for name in ("converters", "device"):
        extras = project(name).get("optional-dependencies", {}).values()
        needs = [*project(name)["dependencies"], *(need for extra in extras for need in extra)]
        assert not [need for need in needs if need.startswith("edgekit")]


def test_the_device_needs_no_tensorflow() -> None:
    extras = project("device")["optional-dependencies"].values()
    needs = [*project("device")["dependencies"], *(need for extra in extras for need in extra)]
    names = {re.split(r"[^\w-]", need)[0] for need in needs}
    assert names == {
        "numpy",
        "psutil",
        "memory-profiler",
        "tomli",
        "ai-edge-litert",
        "tflite-runtime",
    }


def test_every_dependency_is_pinned_by_the_constraints() -> None:
    pinned = {line.split("==")[0] for line in pins(ROOT / "constraints.txt")}
    for name in PROJECTS:
        extras = project(name).get("optional-dependencies", {})
        needs = [*project(name)["dependencies"], *extras.get("dev", []), *extras.get("litert", [])]
        names = {re.split(r"[^\w-]", need)[0].lower().replace("_", "-") for need in needs}
        assert {n for n in names if not n.startswith("edgekit")} <= pinned


def pins(file: Path) -> list[str]:
    lines = (line.split("#")[0].strip() for line in file.read_text().splitlines())
    return [line for line in lines if line]


@pytest.mark.parametrize("file", CONSTRAINTS, ids=lambda file: file.name)
def test_constraints_pin_versions_and_name_no_place(file: Path) -> None:
    text = file.read_text()
    assert not re.search(r"https?:|file:|://|--(index|extra|find|trusted)|@ ", text)
    assert not re.search(r"\b\d+\.\d+\.\d+\.\d+:\d+|\.(internal|local|corp)\b", text)
    for line in pins(file):
        assert re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; [\w\s.*<>=!'()-]+)?", line), line


def test_the_import_contracts_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout
