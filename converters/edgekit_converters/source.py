"""`file.py:function`: the user's own Python as a source of models."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from edgekit_converters.errors import ModelLoadError


def split_function(source: str) -> tuple[Path, str] | None:
    """(file, function) of `file.py:function`; None where the text is not of that form."""
    file, colon, name = source.rpartition(":")
    if not colon or not file.endswith(".py") or not name.isidentifier():
        return None
    return Path(file), name


def load_module(path: Path) -> ModuleType:
    """Runs a Python file as a module of its own name, with its folder importable.

    Raises:
        ModelLoadError: the file is missing or fails.
    """
    if not path.is_file():
        raise ModelLoadError(f"{path} does not exist; give the path of a Python file.")
    name = f"edgekit_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelLoadError(f"{path} is not a Python file; its name must end in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    folder = str(path.parent.resolve())
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ModelLoadError(f"{path} fails with {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(folder)
    return module


def call_function(module: ModuleType, name: str) -> Any:
    """What the function of that name in the module returns, called without arguments.

    Raises:
        ModelLoadError: no such function, or it fails.
    """
    path, function = module.__file__, getattr(module, name, None)
    if not callable(function):
        raise ModelLoadError(f"{path} has no function {name!r}; give file.py:function.")
    try:
        return function()
    except (Exception, SystemExit) as error:
        raise ModelLoadError(f"{path}:{name} fails with {type(error).__name__}: {error}") from error
