"""The NEPU delegate: its library, a runtime's interpreter with it, and what it counted."""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import edgekit_device
from edgekit_device.arithmetic import Arithmetic
from edgekit_device.errors import ArithmeticSettingError, DelegateUnavailableError, ModelError
from edgekit_device.record import Runtime
from edgekit_device.runtime import choose, installed

LIBRARY = "libedgekit_nepu.so"
OVERRIDE = "EDGEKIT_NEPU_LIBRARY"

# What a runtime adds to a delegate's own sentence, at times without a line's end before it.
_EMPTY_ENDING = re.compile(
    r"Node number \d+ \((?:EdgeKitNEPU|TfLite\w*Delegate)\) failed to (?:prepare|invoke)\.?"
)

_MODULES = {"litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}


@dataclass(frozen=True)
class NodeFate:
    """One node of the model: taken by the delegate, or left on the CPU for a reason."""

    graph: int
    node: int
    operator: str
    output: str
    reason: str | None


@dataclass(frozen=True)
class Coverage:
    """Which nodes the delegate took, over all graphs of a model, and in how many partitions."""

    nodes: tuple[NodeFate, ...]
    partitions: int

    @property
    def claimed(self) -> int:
        """How many nodes the delegate took."""
        return sum(node.reason is None for node in self.nodes)

    def left(self) -> tuple[NodeFate, ...]:
        """Give the nodes that stay on the CPU."""
        return tuple(node for node in self.nodes if node.reason is not None)

    def summary(self) -> str:
        """Say it in one line, then one line for each reason why nodes stay on the CPU."""
        total, parts = len(self.nodes), self.partitions
        ending = "" if parts == 1 else "s"
        lines = [f"NEPU: {self.claimed} of {total} nodes, {parts} partition{ending}"]
        reasons = Counter(str(node.reason) for node in self.left())
        lines += [f"  on the CPU: {count} x {reason}" for reason, count in reasons.items()]
        return "\n".join(lines)


@dataclass(frozen=True)
class Event:
    """What one node did in one inference.

    `macs` are the products that the layer's definition asks for, padding left out; `runs` is above
    1 for a node that a loop runs again, or where no inference was marked in between.
    `bytes_weights` are the constants' bytes as stored in the file.
    """

    graph: int
    node: int
    operator: str
    partition: int
    inference: int
    runs: int
    macs: int
    skipped_macs: int
    saturations: int
    bytes_in: int
    bytes_out: int
    bytes_weights: int
    wall_ns: int

    def to_json(self) -> dict[str, int | str]:
        """Give the JSON object."""
        return asdict(self)


class _RawEvent(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int32) for name in ("graph", "node", "builtin")),
        *((name, ctypes.c_int32) for name in ("partition", "inference", "runs")),
        *((name, ctypes.c_int64) for name in ("macs", "skipped_macs", "saturations")),
        *((name, ctypes.c_int64) for name in ("bytes_in", "bytes_out", "bytes_weights")),
        ("wall_ns", ctypes.c_int64),
    )


def library_in(package: Path) -> Path:
    """Give where the library lies in an installed package of the agent."""
    return package / "_native" / LIBRARY


def library_path() -> Path:
    """Find the delegate's library: where EDGEKIT_NEPU_LIBRARY says, or in this package.

    Raises:
        DelegateUnavailableError: there is none.
    """
    override = os.environ.get(OVERRIDE)
    if override is not None:
        if Path(override).is_file():
            return Path(override).resolve()
        raise DelegateUnavailableError(
            f"delegate unavailable: {OVERRIDE} names {override!r}, which is no file; "
            "correct or unset the variable"
        )
    for folder in edgekit_device.__path__:
        candidate = library_in(Path(folder))
        if candidate.is_file():
            return candidate
    raise DelegateUnavailableError(
        f"delegate unavailable: this installation holds no {LIBRARY}: there was no C++ compiler, "
        "or the machine is neither x86_64 nor aarch64 with Linux; build it with: "
        "edgekit-agent build-delegate"
    )


def operator_rules() -> dict[str, tuple[str, ...]]:
    """Give the operators that the delegate knows, each with its constraints as text."""
    entries = _list(_library().edgekit_nepu_operators())
    return {entry["operator"]: tuple(entry["rules"]) for entry in entries}


def instruction_sets() -> tuple[str, ...]:
    """Name the delegate's kernels that this processor can run, the ones in use first."""
    return tuple(_library().edgekit_nepu_kernels().decode().split(","))


def products(multiplier: str) -> npt.NDArray[np.int32]:
    """Give a multiplier's products [256, 256]: of int8 codes viewed as uint8, activation first.

    Raises:
        ArithmeticSettingError: there is no such multiplier, or its file cannot be read.
        DelegateUnavailableError: the library is missing.
    """
    return _table("edgekit_nepu_products", multiplier)


def magnitudes(multiplier: str) -> npt.NDArray[np.int32]:
    """Give a multiplier's products [256, 256] of unsigned operands, as in its publication.

    Raises:
        ArithmeticSettingError: there is no such multiplier, or it is a table of signed products.
        DelegateUnavailableError: the library is missing.
    """
    return _table("edgekit_nepu_magnitudes", multiplier)


def _table(function: str, multiplier: str) -> npt.NDArray[np.int32]:
    table = np.zeros((256, 256), np.int32)
    pointer = table.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
    problem = getattr(_library(), function)(multiplier.encode(), pointer)
    if problem is not None:
        raise ArithmeticSettingError(problem.decode())
    return table


class Nepu:
    """One delegate: in an arithmetic, for the interpreters of one runtime.

    `handle` goes into the runtime's `Interpreter(experimental_delegates=[handle])`, as does
    `interpreter()`. Mark inferences with `next_inference()` between them, or `reset()` after each.
    """

    def __init__(
        self,
        arithmetic: Arithmetic | None = None,
        runtime: Runtime | None = None,
        instructions: str = "auto",
    ) -> None:
        """Load the library into `runtime` (default: the one the agent would take).

        Raises:
            DelegateUnavailableError: the library is missing or refuses the options.
        """
        self.runtime = runtime or choose("auto", installed())
        self.arithmetic = arithmetic or Arithmetic()
        self._module = importlib.import_module(f"{_MODULES[self.runtime.name]}.interpreter")
        self._library = _library()
        options = {
            **self.arithmetic.options(),
            "kernels": instructions,
            "runtime": self.runtime.name,
            "runtime_version": self.runtime.version,
        }
        try:
            self.handle = self._module.load_delegate(str(library_path()), options)
        except ValueError as error:
            # The runtime's own line comes first; the delegate's sentence is the last.
            raise DelegateUnavailableError(
                f"delegate unavailable: {str(error).splitlines()[-1]}"
            ) from error
        self._pointer = ctypes.c_void_p(self.handle._get_native_delegate_pointer())

    def interpreter(
        self,
        model: Path | bytes,
        *,
        reference: bool = False,
        require_claims: bool = False,
        **more: Any,
    ) -> Any:
        """Make an interpreter of the model with this delegate, its tensors allocated.

        `reference`: what the delegate leaves is run by the runtime's reference kernels, so that
        the whole result is exact. `require_claims`: a model of which the delegate takes nothing is
        an error, whatever other interpreters of this delegate gave it; that is judged for one
        thread at a time. `more` goes to the runtime's Interpreter.

        Raises:
            ModelError: the runtime refuses the model, or the delegate takes nothing of it.
        """
        content = (
            {"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}
        )
        name = "the model" if isinstance(model, bytes) else Path(model).name
        resolvers = self._module.OpResolverType
        if reference:
            more["experimental_op_resolver_type"] = resolvers.BUILTIN_REF
        before = max((graph["prepared"] for graph in self._graphs()), default=0)
        try:
            made = self._module.Interpreter(**content, experimental_delegates=[self.handle], **more)
            made.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError("delegate", f"{name}: {_one_line(str(error))}") from error
        if require_claims:
            # Not those that are new: the runtime may make one where a freed one stood.
            added = _coverage(graph for graph in self._graphs() if graph["prepared"] > before)
            if added.claimed == 0:
                summary = _one_line(added.summary())
                raise ModelError("delegate", f"{name}: the NEPU takes none of its nodes: {summary}")
        return made

    def coverage(self) -> Coverage:
        """Say which nodes the delegate took, added up over all interpreters of this Nepu.

        An interpreter that is gone is still counted, until the runtime makes another one in its
        place in memory. For the coverage of one model, give it a Nepu of its own.

        Raises:
            ModelError: the library cannot say, for example for want of memory.
        """
        return _coverage(self._graphs())

    def _graphs(self) -> list[dict[str, Any]]:
        return _list(self._library.edgekit_nepu_coverage(self._pointer))

    def events(self) -> tuple[Event, ...]:
        """Give the events since the last reset, in the order in which nodes first ran."""
        count = self._library.edgekit_nepu_events(self._pointer, None, 0)
        raw = (_RawEvent * count)()
        self._library.edgekit_nepu_events(self._pointer, raw, count)
        names = {(node.graph, node.node): node.operator for node in self.coverage().nodes}
        return tuple(_event(entry, names) for entry in raw)

    def take_events(self) -> tuple[Event, ...]:
        """Give the events and forget them; inferences and the noise go on."""
        found = self.events()
        self._library.edgekit_nepu_forget_events(self._pointer)
        return found

    def next_inference(self) -> None:
        """Let what follows count as the next inference."""
        self._library.edgekit_nepu_next_inference(self._pointer)

    def reset(self) -> None:
        """Forget all events; inferences and the noise begin anew."""
        self._library.edgekit_nepu_reset(self._pointer)


def events_json(coverage: Coverage, events: Iterable[Event], arithmetic: Arithmetic) -> str:
    """Write coverage and events as one JSON document."""
    document = {
        "schema": "edgekit.nepu-events/1",
        "arithmetic": asdict(arithmetic),
        "partitions": coverage.partitions,
        "nodes": [asdict(node) for node in coverage.nodes],
        "events": [event.to_json() for event in events],
    }
    return json.dumps(document, allow_nan=False)


def _coverage(graphs: Iterable[Mapping[str, Any]]) -> Coverage:
    chosen = tuple(graphs)
    nodes = (NodeFate(graph["graph"], **node) for graph in chosen for node in graph["nodes"])
    return Coverage(tuple(nodes), sum(graph["partitions"] for graph in chosen))


def _list(text: bytes) -> list[dict[str, Any]]:
    if not text.startswith(b"["):  # the library's sentence instead
        raise ModelError("delegate", f"the NEPU delegate cannot answer: {text.decode()}")
    entries: list[dict[str, Any]] = json.loads(text)
    return entries


def _one_line(text: str) -> str:
    """Put a runtime's lines into one, without those that only say that a delegate failed."""
    parts = re.split(r"\n|(?=Node number \d+ \()", text)
    lines = [line for part in parts if (line := part.strip().rstrip("."))]
    telling = [line for line in lines if not _EMPTY_ENDING.fullmatch(line)]
    return "; ".join(telling or lines)


def _event(raw: _RawEvent, names: Mapping[tuple[int, int], str]) -> Event:
    counted = [field.name for field in fields(Event) if field.name != "operator"]
    values = {name: int(getattr(raw, name)) for name in counted}
    return Event(operator=names[(values["graph"], values["node"])], **values)


def _library() -> ctypes.CDLL:
    path = library_path()
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise DelegateUnavailableError(
            f"delegate unavailable: {path} cannot be loaded: {error}; "
            "build it for this machine with: edgekit-agent build-delegate"
        ) from error
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "operators": (ctypes.c_char_p, []),
        "kernels": (ctypes.c_char_p, []),
        "products": (ctypes.c_char_p, [ctypes.c_char_p, ctypes.POINTER(ctypes.c_int32)]),
        "magnitudes": (ctypes.c_char_p, [ctypes.c_char_p, ctypes.POINTER(ctypes.c_int32)]),
        "coverage": (ctypes.c_char_p, [ctypes.c_void_p]),
        "events": (ctypes.c_size_t, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]),
        "forget_events": (None, [ctypes.c_void_p]),
        "next_inference": (None, [ctypes.c_void_p]),
        "reset": (None, [ctypes.c_void_p]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, f"edgekit_nepu_{name}")
        function.restype, function.argtypes = result, arguments
    return library
