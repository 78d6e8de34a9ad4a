import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Test modules have no package under --import-mode=importlib: without this, no ssh_server, nor the
# agent's tflite_file.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "device")]

# How long an example takes says more about the machine's other users than about the code.
settings.register_profile("front", deadline=None)
settings.load_profile("front")

MODELS = """
import keras
from keras import layers


def tiny():
    keras.utils.set_random_seed(7)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(8, 3, padding="same", activation="relu", name="c1"),
            layers.Conv2D(8, 3, padding="same", activation="relu", name="c2"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Conv2D(16, 3, padding="same", activation="relu", name="c3"),
            layers.GlobalAveragePooling2D(name="gap"),
            layers.Dense(10, activation="softmax", name="out"),
        ],
        name="tiny",
    )


def two_inputs():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    return keras.Model([a, b], layers.Dense(2)(layers.Add()([a, b])), name="two_inputs")


def no_conv():
    inputs = keras.Input((8, 8, 1))
    return keras.Model(inputs, layers.Dense(10)(layers.Flatten()(inputs)), name="no_conv")
"""


class Ran(NamedTuple):
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session", autouse=True)
def own_config(tmp_path_factory: pytest.TempPathFactory) -> Generator[None, None, None]:
    """No board that the user of this machine has named is known to a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


@pytest.fixture(scope="session")
def models_py(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python file whose functions build small models."""
    file = tmp_path_factory.mktemp("models") / "models.py"
    file.write_text(MODELS)
    return file


@pytest.fixture(scope="session")
def tiny_keras(models_py: Path) -> Path:
    """The tiny model as a .keras file, trained a little so that scores say something."""
    import edgekit_converters as ec
    from edgekit import load_data

    model = ec.load_model(f"{models_py}:tiny")
    data = load_data("digits", (8, 8, 1))
    ec.fine_tune(
        model,
        (data.train.x, data.train.y),
        (data.validation.x, data.validation.y),
        ec.classification_objective(model, 10),
        ec.Training(epochs=6, learning_rate=1e-2),
    )
    file = models_py.with_name("tiny.keras")
    ec.save_model(model, file)
    return file


@pytest.fixture(scope="session")
def digits_npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A third of the digits, in splits of their own."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x, y = (digits.images[..., None] / 16).astype(np.float32), digits.target
    file = tmp_path_factory.mktemp("data") / "digits.npz"
    np.savez(
        file,
        x_train=x[:400],
        y_train=y[:400],
        x_val=x[400:500],
        y_val=y[400:500],
        x_test=x[500:650],
        y_test=y[500:650],
    )
    return file


@pytest.fixture(scope="session")
def board_toml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board profile of this machine's architecture, with two power models."""
    file = tmp_path_factory.mktemp("boards") / "bench.toml"
    file.write_text(f"""
schema = "edgekit.board/1"
name = "bench"
description = "a board for tests"
architecture = "{platform.machine()}"
device_tree_models = ["Test Board"]
cores = 4
clock_hz = 1_000_000_000
memory_bytes = [1_000_000_000]

[cpu]
core = "Cortex-Test"

[[power]]
idle_w = 2.0
full_load_w = 6.0
source = "laboratory A"

[[power]]
idle_w = 1.0
full_load_w = 7.0
source = "laboratory B"

[sources]
cores = "data sheet"
clock_hz = "data sheet"
memory_bytes = "data sheet"
""")
    return file


@pytest.fixture(scope="session")
def edgekit() -> Callable[..., Ran]:
    """Run the real command in a process of its own."""

    def run(*arguments: Any, cwd: Path | None = None, code: int | None = 0) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "edgekit", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=cwd,
            timeout=540,
            check=False,
        )
        assert code is None or done.returncode == code, done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def profiling(board_toml: Path) -> Any:
    """As short as profiling can be, on a board whose power is known."""
    from edgekit import ProfileSettings

    return ProfileSettings(
        runs=6, seconds=0.2, warmup=1, rounds=3, idle_seconds=0.2, profile=str(board_toml)
    )


class Compared(NamedTuple):
    """A comparison, what it was made from, and where its files are."""

    result: Any
    model: Path
    data: Path
    out: Path
    training: Any
    written_by_compare: str


@pytest.fixture(scope="session")
def compared(
    tiny_keras: Path, digits_npz: Path, profiling: Any, tmp_path_factory: pytest.TempPathFactory
) -> Compared:
    """One real comparison of the four built-in recipes; nothing may change its folder."""
    from edgekit import compare, write_report
    from edgekit_converters import Training

    out, training = tmp_path_factory.mktemp("run") / "tiny", Training(epochs=2, learning_rate=0.01)
    result = compare(
        tiny_keras, digits_npz, out=out, training=training, profiling=profiling, command="edgekit …"
    )
    written = (out / "comparison.json").read_text()
    write_report(result, out)
    return Compared(result, tiny_keras, digits_npz, out, training, written)


@pytest.fixture
def sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A running ssh server without an agent; boards are remembered for this test alone."""
    from ssh_server import KEYGEN, SSH, SSHD, Server, free_port

    if not (SSHD and SSH and KEYGEN):
        pytest.skip("no sshd here; on Debian: apt-get install openssh-server openssh-client")
    server = Server(tmp_path / "sshd", free_port())
    server.make()
    server.start()
    monkeypatch.setenv("PATH", f"{server.folder}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    yield server
    server.stop()
    for pid in server.processes():
        os.kill(pid, signal.SIGKILL)
