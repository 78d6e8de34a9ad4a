"""What the wheels hold, and that the device's works where nothing else is."""

import json
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECTS = {
    "edgekit": ROOT,
    "edgekit_converters": ROOT / "converters",
    "edgekit_device": ROOT / "device",
}
DATA = {
    "edgekit": ["edgekit/report/style.css", "edgekit/report/template.html"],
    "edgekit_converters": [],
    "edgekit_device": [
        f"edgekit_device/profiles/{file.parent.name}/{file.name}"
        for file in sorted((ROOT / "profiles").glob("*/*.toml"))
    ]
    + [f"edgekit_device/native/{file.name}" for file in (ROOT / "device/native").iterdir()]
    + ["edgekit_device/_native/libedgekit_nepu.so"],
}


@pytest.mark.slow
@pytest.mark.parametrize("package", PROJECTS)
@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("build", "hatchling", "scikit_build_core")),
    reason="needs the packages build, hatchling and scikit-build-core",
)
def test_a_wheel_holds_the_package_its_data_and_nothing_else(package: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path]
    subprocess.run([*command, PROJECTS[package]], capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert f"{package}/py.typed" in names
    assert set(DATA[package]) <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {package}
    folder = PROJECTS[package] / package
    modules = {str(file.relative_to(folder.parent)) for file in folder.rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules


IMPORT_ALL = """
import importlib, json, pkgutil, sys
import edgekit_device
found = pkgutil.walk_packages(edgekit_device.__path__, "edgekit_device.")
names = [m.name for m in found if not m.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
from importlib.metadata import distributions
print(json.dumps({"modules": names, "home": edgekit_device.__file__,
    "loaded": sorted({name.split(".")[0] for name in sys.modules}),
    "installed": sorted(d.metadata["Name"].lower() for d in distributions())}))
"""
FOREIGN = {"tensorflow", "keras", "tf_keras", "tf-keras", "rich", "matplotlib", "edgekit"}


@pytest.mark.slow
def test_the_agent_works_in_an_environment_of_its_own(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    python = tmp_path / "env" / "bin" / "python"
    install = ["-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt"]
    done = subprocess.run(
        [python, *install, f"{ROOT / 'device'}[litert]"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run = {"cwd": tmp_path, "capture_output": True, "text": True, "check": True}
    seen = json.loads(subprocess.run([python, "-I", "-c", IMPORT_ALL], **run).stdout)
    assert seen["home"].startswith(str(tmp_path))
    sources = [
        p for p in (ROOT / "device/edgekit_device").rglob("*.py") if not p.name.startswith("__")
    ]
    assert len(seen["modules"]) >= len(sources)
    assert not FOREIGN & {*seen["loaded"], *seen["installed"]}
    agent = tmp_path / "env" / "bin" / "edgekit-agent"
    facts = json.loads(subprocess.run([agent, "info", "--json"], **run).stdout)
    assert [r["runtime"]["name"] for r in facts["runtimes"]] == ["litert"]
    model = ROOT / "tests/device/models/conv_int8.tflite"
    short = ["--runs", "2", "--seconds", "0", "--rounds", "1", "--idle-seconds", "0", "--json"]
    (record,) = json.loads(subprocess.run([agent, "profile", model, *short], **run).stdout)
    assert (record["status"], record["golden"]["status"]) == ("ok", "passed")
