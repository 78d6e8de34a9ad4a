"""Keras models in: `.keras` and `.h5` of Keras 3 and 2, or a function that builds one."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import keras

from edgekit_converters.errors import ModelLoadError
from edgekit_converters.graph import functional, read_graph
from edgekit_converters.keras2 import reading
from edgekit_converters.parents import PARENTS
from edgekit_converters.source import call_function, load_module, split_function

_SUPPORTED = "a Keras .keras or .h5 file, or file.py:function that returns a model"
_PARENT = "parent:"


@dataclass(frozen=True)
class _File:
    """What a model file says of itself before anything in it is built."""

    path: Path
    keras_version: str
    config: dict[str, Any]


def load_model(
    source: str | Path, *, custom_objects: str | Path | None = None, safe: bool = True
) -> Any:
    """Loads a Keras model as a Keras 3 model without compiling it.

    Args:
        source: `.keras` or `.h5` file of Keras 3 or Keras 2, `file.py:function`, or `parent:NAME`
            for one of the kit's own, untrained.
        custom_objects: Python file whose layers and functions the model needs.
        safe: refuse files that carry code of their own (Lambda layers).

    Raises:
        ModelLoadError: with what to do, for anything that cannot be loaded or rewritten.
    """
    if custom_objects is not None:
        register_objects(custom_objects)
    function = split_function(str(source))
    if str(source).startswith(_PARENT):
        model = _parent(str(source).removeprefix(_PARENT))
    elif function is not None:
        model = _built(*function)
        if not isinstance(model, keras.Model):
            raise ModelLoadError(
                f"{source} returned {type(model).__name__}, not a Keras 3 model; "
                "return a keras.Model (built with `import keras`)."
            )
    else:
        model = _load_file(_read(Path(source)), safe)
    try:
        functional(model)
    except ModelLoadError as error:
        raise ModelLoadError(f"{source}: {error}") from error
    if not read_graph(model).calls:
        raise ModelLoadError(f"The model in {source} has no layers; there is nothing to convert.")
    return model


def register_objects(file: str | Path) -> None:
    """Makes the layers and functions that a Python file defines known to Keras.

    Raises:
        ModelLoadError: it cannot be run, or defines none.
    """
    if not _register(load_module(Path(file))):
        raise ModelLoadError(f"{file} defines no class or function to register with Keras.")


def _parent(name: str) -> Any:
    if name not in PARENTS:
        raise ModelLoadError(
            f"{_PARENT}{name} is none of the kit's own models; there are {', '.join(PARENTS)}."
        )
    return PARENTS[name]()


def _read(path: Path) -> _File:
    if path.is_dir():
        raise ModelLoadError(
            f"{path} is a folder; a SavedModel has lost its Keras layers and cannot be rewritten. "
            f"Save the model with model.save('model.keras') and give {_SUPPORTED}."
        )
    if not path.is_file():
        raise ModelLoadError(f"{path} does not exist; give {_SUPPORTED}.")
    try:
        if zipfile.is_zipfile(path):
            return _read_zip(path)
        if h5py.is_hdf5(path):
            return _read_h5(path)
    except ModelLoadError:
        raise
    except Exception as error:  # h5py and zipfile meet damage with errors of many kinds
        raise ModelLoadError(
            f"{path} is damaged or cut short ({error}); copy or save it again."
        ) from error
    size = path.stat().st_size
    raise ModelLoadError(
        f"{path} ({size} bytes) is neither a Keras .keras file nor an HDF5 file, or it is cut "
        f"short; give {_SUPPORTED}."
    )


def _read_zip(path: Path) -> _File:
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        if not {"config.json", "metadata.json"} <= names:
            raise ModelLoadError(
                f"{path} is a zip file but no Keras model (no config.json inside); "
                f"give {_SUPPORTED}."
            )
        broken = archive.testzip()
        if broken is not None:
            raise ModelLoadError(f"{path} is damaged (its {broken} fails); save it again.")
        metadata = json.loads(archive.read("metadata.json"))
        config = json.loads(archive.read("config.json"))
    return _File(path, str(metadata.get("keras_version", "3")), config)


def _read_h5(path: Path) -> _File:
    with h5py.File(path, "r") as archive:
        if "model_config" not in archive.attrs:
            raise ModelLoadError(
                f"{path} holds weights but no architecture; save the whole model with "
                "model.save('model.keras'), or build it in file.py:function and load the weights "
                "there."
            )
        config = json.loads(archive.attrs["model_config"])
        version = archive.attrs.get("keras_version", "2")
    return _File(path, version.decode() if isinstance(version, bytes) else str(version), config)


def _load_file(file: _File, safe: bool) -> Any:
    lambdas = _lambda_layers(file.config)
    if safe and lambdas:
        raise ModelLoadError(
            f"{file.path} carries Python code in Lambda layer {lambdas[0]!r}, and loading it would "
            "run that code. If you trust the file's source, pass --unsafe (safe=False); better, "
            "replace the Lambda by a layer class."
        )
    old = file.keras_version.startswith(("1", "2"))
    stranger = next(_strangers(file.config), None) if safe and old else None
    if stranger is not None:
        # Keras 2 would import the module that the file names, whatever it is.
        raise ModelLoadError(_ask_for(file, stranger))
    try:
        if old:
            return reading.load(file.path, safe)
        return keras.models.load_model(file.path, compile=False, safe_mode=safe)
    except ModelLoadError:
        raise
    except Exception as error:  # so do Keras' readers, and the user's own layers
        raise ModelLoadError(_explain(file, error)) from error


_MISSING = (
    r"Could not locate (?:class|function) '(?P<name>[^']+)'",
    r"Unknown [\w ]+: '?(?P<name>[\w>]+)'?",
    r"Unknown [\w ]+ '\{.*'config': '(?P<name>\w+)'",
    r"Could not find (?:class|function) '?(?P<name>\w+)",
    r"Cannot deserialize object of type `(?P<name>\w+)`",
    r"Could not deserialize '(?P<name>[\w.]+)' because it is not a KerasSaveable",
    r"layer=(?P<name>\w+) of type <class 'str'>",
)
"""How the Kerases say that they do not know a class or function."""


def _missing(text: str) -> str:
    """The name of the class or function that Keras does not know; empty if it is not that."""
    cause = text.rpartition("Exception encountered:")[2]
    found = next((m["name"] for p in _MISSING if (m := re.search(p, cause))), "")
    if found == "function":  # Keras 2 gives the kind here; the name is in the configuration
        names = re.findall(r"'class_name': 'function', 'config': '(\w+)'", text)
        return names[-1] if names else found
    return found


def _explain(file: _File, error: Exception) -> str:
    text = str(error)
    missing = _missing(text)
    if missing in _operations():
        return (
            f"{file.path} applies the bare operation {missing!r} between its layers, which "
            "Keras 3 writes to .h5 but cannot read from it; save the model again with "
            "model.save('model.keras')."
        )
    if missing in keras.saving.get_custom_objects():
        return (
            f"{file.path} uses {missing!r}, which your file defines, but Keras cannot put it back "
            "from this format; save the model again where it was made, with "
            "model.save('model.keras')."
        )
    if missing:
        return _ask_for(file, missing)
    first = next((line.strip() for line in text.splitlines() if line.strip()), repr(error))
    return (
        f"{file.path} (Keras {file.keras_version}) cannot be loaded by Keras {keras.__version__}: "
        f"{first[:300]} If the file was not cut short, save it again where it was made, with "
        "model.save('model.keras')."
    )


def _ask_for(file: _File, missing: str) -> str:
    return (
        f"{file.path} uses {missing!r}, which Keras does not know; pass the Python file "
        "that defines it with --custom-objects FILE.py (custom_objects=…)."
    )


def _strangers(config: Any) -> Iterator[str]:
    """The classes and functions of a configuration that are neither Keras' nor registered."""
    if isinstance(config, dict):
        kind, module = config.get("class_name"), config.get("module")
        if isinstance(kind, str) and isinstance(module, str):
            name = config.get("config") if kind == "function" else kind
            known = {str(name), str(config.get("registered_name"))}
            ours = module.partition(".")[0] in ("keras", "tf_keras")
            if not ours and not known & set(keras.saving.get_custom_objects()):
                yield str(name)
        config = list(config.values())
    if isinstance(config, list):
        for value in config:
            yield from _strangers(value)


def _operations() -> set[str]:
    """The names of Keras' own operations that are no layers."""
    found, open_classes = set(), [keras.Operation]
    while open_classes:
        cls = open_classes.pop()
        if cls is not keras.Layer:
            open_classes += cls.__subclasses__()
            found.add(cls.__name__)
    return found - set(dir(keras.layers))


def _lambda_layers(config: Any) -> list[str]:
    if isinstance(config, dict):
        inner = [name for value in config.values() for name in _lambda_layers(value)]
        if config.get("class_name") in {"Lambda", "__lambda__"}:
            settings = config.get("config")
            name = settings.get("name") if isinstance(settings, dict) else None
            return [str(name or config.get("name") or "lambda"), *inner]
        return inner
    if isinstance(config, list):
        return [name for value in config for name in _lambda_layers(value)]
    return []


def _built(path: Path, name: str) -> Any:
    """The model that the function builds; what its file defines is known to Keras from then on."""
    module = load_module(path)
    model = call_function(module, name)
    _register(module)
    return model


def _register(module: ModuleType) -> int:
    """Makes every class and function defined in the module known to Keras; returns how many."""
    own = {
        name: value
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    }
    keras.saving.get_custom_objects().update(own)
    return len(own)
