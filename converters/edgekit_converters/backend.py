"""The library that Keras computes with: TensorFlow, JAX or PyTorch.

Keras takes it from the environment variable KERAS_BACKEND when it is imported, and keeps it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Literal

from edgekit_converters.errors import TrainingError
from edgekit_converters.quiet import quiet

BACKENDS: dict[str, str] = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}
"""Keras' backends that can train, and what each is called to pip."""

Device = Literal["cpu", "gpu"]


@dataclass(frozen=True)
class Backend:
    """A backend in use: its name and version, and what it computes on."""

    name: str
    version: str
    device: Device


def choose_backend(name: str) -> None:
    """Has Keras compute with this backend, here and in processes started from here.

    Raises:
        TrainingError: there is no such backend, it is not installed, or Keras uses another already.
    """
    if name not in BACKENDS:
        raise TrainingError(
            f"{name!r} is no backend that Keras can train with; there are {', '.join(BACKENDS)}."
        )
    if find_spec(name) is None:
        raise TrainingError(
            f"Keras' backend {name} is not installed in this environment: pip install "
            f"{BACKENDS[name]}, or name another with --backend."
        )
    keras = sys.modules.get("keras")
    if keras is not None and keras.backend.backend() != name:
        raise TrainingError(
            f"Keras computes with {keras.backend.backend()} in this process already and cannot "
            f"change to {name}; set KERAS_BACKEND={name} before Keras is imported."
        )
    os.environ["KERAS_BACKEND"] = name


def chosen_backend() -> str:
    """The name of the backend that Keras uses; Keras is imported for it.

    Raises:
        TrainingError: Keras was told to use one that is not installed or cannot train.
    """
    told = os.environ.get("KERAS_BACKEND")
    if told is not None:
        choose_backend(told)
    with quiet():
        import keras

        # Keras imports TensorFlow under any backend, and TensorFlow greets everybody who does: when
        # the first configuration is written, which is here.
        keras.saving.serialize_keras_object(keras.initializers.Zeros())
    return str(keras.backend.backend())


def backend_here() -> Backend:
    """The backend in use, with what it computes on."""
    name = chosen_backend()
    return Backend(name, version(BACKENDS[name]), _device(name))


def peak_device_bytes() -> int | None:
    """Most bytes that the backend's tensors have held on its first GPU so far; None without one.

    What the backend has asked for in advance or keeps for later is not counted.
    """
    name = chosen_backend()
    if _device(name) == "cpu":
        return None
    if name == "torch":
        import torch

        return int(torch.cuda.max_memory_allocated())
    if name == "jax":
        import jax

        told = jax.devices()[0].memory_stats()
        return int(told["peak_bytes_in_use"]) if told and "peak_bytes_in_use" in told else None
    import tensorflow as tf

    return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])


def memory_errors() -> tuple[type[Exception], ...]:
    """The errors among which those are that backends raise where memory runs out."""
    # JAX and PyTorch raise kinds of RuntimeError. What was not imported has raised nothing.
    tensorflow = sys.modules.get("tensorflow")
    own = () if tensorflow is None else (tensorflow.errors.ResourceExhaustedError,)
    return (MemoryError, RuntimeError, *own)


_SAID = ("RESOURCE_EXHAUSTED", "out of memory", "can't allocate memory", "bad_alloc")


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether it is memory that ran out, rather than something else that went wrong."""
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return True
    return any(said.lower() in str(error).lower() for said in _SAID)


def _device(name: str) -> Device:
    if name == "torch":
        import torch

        return "gpu" if torch.cuda.is_available() else "cpu"
    if name == "jax":
        import jax

        return "cpu" if jax.default_backend() == "cpu" else "gpu"
    import tensorflow as tf

    return "gpu" if tf.config.list_physical_devices("GPU") else "cpu"
