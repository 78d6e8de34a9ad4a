"""Every variant of the delegate's kernels computes what its definition says, on random shapes."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "device" / "native"
CHECK = Path(__file__).with_name("check_kernels.cpp")
X86 = ("avx512-vbmi", "avx512-vnni", "avx2", "plain")
ARM = ("neon-dot", "neon", "plain")
CORES = ("max", "cortex-a53", "cortex-a76")
TOOLS = {"aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu", "qemu-aarch64": "qemu-user"}

pytestmark = pytest.mark.slow


def build(compiler: str, program: Path, *options: str) -> Path:
    command = [compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", *options, f"-I{NATIVE}"]
    sources = [CHECK, *sorted(NATIVE.glob("gemm*.cpp"))]
    done = subprocess.run(
        [*command, *sources, "-o", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return program


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that checks, with sanitisers: a read past a row's end is an error."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++")
    if not compiler:
        pytest.skip("no C++ compiler; install g++ or set CXX")
    program = tmp_path_factory.mktemp("kernels") / "check"
    return build(compiler, program, "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover")


@pytest.mark.parametrize("seed", ["1", "2"])
@pytest.mark.parametrize("name", sorted({*X86, *ARM}))
def test_a_variant_computes_what_its_definition_says(checker: Path, name: str, seed: str) -> None:
    names = run(checker, "names").split()
    if name in names:
        assert f"{name}: " in run(checker, name, seed)
    else:  # another architecture's or beyond this CPU
        refused = subprocess.run([checker, name, seed], capture_output=True, check=False)
        assert refused.returncode == 2


def test_variants_are_those_of_the_cpu(checker: Path) -> None:
    known = X86 if platform.machine() == "x86_64" else ARM
    names = run(checker, "names").split()
    assert names == [name for name in known if name in names]
    assert names[-1] == "plain"
    flags = Path("/proc/cpuinfo").read_text().split()
    assert ("avx2" in names) == ("avx2" in flags and "fma" in flags)
    assert ("avx512-vnni" in names) == ("avx512_vnni" in flags)
    assert ("neon-dot" in names) == ("asimddp" in flags)


@pytest.fixture(scope="module")
def arm_checker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for tool, package in TOOLS.items():
        if not shutil.which(tool):
            pytest.skip(f"no {tool}; install {package}")
    program = tmp_path_factory.mktemp("kernels") / "check-aarch64"
    return build("aarch64-linux-gnu-g++", program, "-O3", "-static")


@pytest.mark.parametrize("core", CORES)
def test_variants_on_emulated_arm_cores(arm_checker: Path, core: str) -> None:
    emulator = ("qemu-aarch64", "-cpu", core)
    names = run(*emulator, arm_checker, "names").split()
    assert names == [name for name in ARM if name != "neon-dot" or core != "cortex-a53"]
    for name in names[: None if core == "max" else -1]:  # "plain" is the same everywhere
        assert f"{name}: " in run(*emulator, arm_checker, name, "1")
