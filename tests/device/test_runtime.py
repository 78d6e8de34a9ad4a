import subprocess
import sys

import pytest

from edgekit_device.errors import RuntimeMissingError
from edgekit_device.record import Runtime
from edgekit_device.runtime import Installed, choose, installed, unusable

LITERT = Installed(Runtime("litert", "2.3.0"), None)
OLD = Installed(Runtime("tflite-runtime", "2.14.0"), None)
BROKEN = Installed(Runtime("tflite-runtime", "2.14.0"), unusable("tflite-runtime", "2.1.0"))


def test_this_environment_has_a_usable_runtime() -> None:
    chosen = choose("auto", installed())
    assert chosen.name in ("litert", "tflite-runtime")
    assert chosen.version[0].isdigit()


def test_auto_takes_the_first_usable_one() -> None:
    assert choose("auto", (LITERT, OLD)) == LITERT.runtime
    assert choose("auto", (BROKEN, LITERT)) == LITERT.runtime
    assert choose("auto", (OLD,)) == OLD.runtime


def test_the_named_one_is_taken() -> None:
    assert choose("tflite-runtime", (LITERT, OLD)) == OLD.runtime


@pytest.mark.parametrize(
    ("name", "found", "says"),
    [
        ("auto", (), r"pip install 'edgekit-device\[litert\]'"),
        ("litert", (OLD,), r"pip install 'edgekit-device\[litert\]'"),
        ("tflite-runtime", (LITERT,), r"pip install 'edgekit-device\[tflite-runtime\]'"),
        ("tflite-runtime", (LITERT, BROKEN), "numpy 2.1.0"),
        ("auto", (BROKEN,), "pip install 'numpy<2'"),
    ],
)
def test_none_that_works_is_an_error_with_a_pip_command(
    name: str, found: tuple[Installed, ...], says: str
) -> None:
    with pytest.raises(RuntimeMissingError, match=says):
        choose(name, found)


def test_the_error_says_what_is_not_installed() -> None:
    with pytest.raises(RuntimeMissingError, match="runtime 'litert' is not installed in the agent"):
        choose("litert", (OLD,))
    with pytest.raises(RuntimeMissingError, match="no TFLite runtime is installed in the agent"):
        choose("auto", ())


@pytest.mark.parametrize(
    ("runtime", "numpy", "usable"),
    [
        ("tflite-runtime", "1.26.4", True),
        ("tflite-runtime", "2.0.0", False),
        ("litert", "2.4.6", True),
        ("litert", "1.26.4", True),
    ],
)
def test_tflite_runtime_needs_numpy_1(runtime: str, numpy: str, usable: bool) -> None:
    assert (unusable(runtime, numpy) is None) == usable


def imported_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_agent_needs_neither_tensorflow_nor_keras() -> None:
    modules = imported_by("import edgekit_device.cli, edgekit_device.worker")
    assert not modules & {"tensorflow", "keras", "edgekit", "edgekit_converters"}


def test_what_measures_the_worker_is_not_in_the_worker() -> None:
    modules = imported_by("import edgekit_device.worker")
    assert not modules & {"psutil", "memory_profiler"}
