"""The delegate's tests again, with every access to memory and every undefined operation checked."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NATIVE = HERE.parents[1] / "device" / "native"
TESTS = tuple(f"test_delegate_{part}.py" for part in ("exact", "arithmetic", "robust", "refused"))
FLAGS = ("-std=c++17", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-ffp-contract=off")
CHECKS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")


def runtime_file(name: str) -> str:
    """Give the compiler's own file of that name."""
    command = ["g++", f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++ and its sanitizers")
def test_no_test_of_the_delegate_does_anything_undefined(tmp_path: Path) -> None:
    library = tmp_path / "libedgekit_nepu.so"
    sources = sorted(map(str, NATIVE.glob("*.cpp")))
    subprocess.run(["g++", *FLAGS, *CHECKS, *sources, "-o", str(library)], check=True)
    environment = {
        **os.environ,
        "EDGEKIT_NEPU_LIBRARY": str(library),
        "EDGEKIT_EXAMPLES": "8",
        # Python is not linked with C++'s library, which the sanitizer looks for when it starts.
        "LD_PRELOAD": f"{runtime_file('libasan.so')} {runtime_file('libstdc++.so')}",
        # What Python and the runtime never free is not the delegate's.
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
        + [str(HERE / test) for test in TESTS],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
