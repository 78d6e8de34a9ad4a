"""What models cost where they are to run: measured on a board, or estimated from a profile."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.boards import Board, ProfileSettings, check_board, parse_board, profile_on
from edgekit.boards.named import boards
from edgekit.boards.profiling import with_own_profile
from edgekit.boards.qemu import KIND
from edgekit.errors import RunError
from edgekit.npu.outcome import PLACE
from edgekit.progress import Listener, silent
from edgekit_device.board import BoardProfile
from edgekit_device.npus import shipped_npus
from edgekit_device.number import Number
from edgekit_device.profiles import load_profile, shipped_profiles
from edgekit_device.record import Record

if TYPE_CHECKING:
    from edgekit.npu.target import Npu
    from edgekit_converters import Place
    from edgekit_converters.lcrm.goal import Goal

_UNITS = {"latency_ms": "ms", "energy_mj": "mJ"}
_QUICK = ProfileSettings(
    runs=30, seconds=1.0, rounds=5, idle_seconds=0.0, sample_interval_s=0.0, meter="model"
)
"""Dozens of files of one layer are measured, of which latency needs the median alone."""

Cost = Callable[[Sequence[Path]], list[Number]]


@dataclass(frozen=True)
class Priced:
    """A place and what tells its prices from others'."""

    place: Place
    key: dict[str, Any]


def priced(goal: Goal, progress: Listener = silent) -> Priced:
    """The place that a goal names: an NPU's profile, a board's profile, or a board to measure on.

    An emulated board has no clock, so its profile is what speaks. A drop is weighed against energy
    on an NPU and against latency on a board.

    Raises:
        EdgeKitError, EdgeKitDeviceError: there is no such place.
    """
    import edgekit_converters as ec

    named = str(goal.place)
    npu = named.removeprefix(PLACE)
    on_npu = named.startswith(PLACE) or npu in shipped_npus()
    usual = "energy_mj" if on_npu else "latency_ms"
    measure = usual if goal.measure == "drop" else goal.measure
    if on_npu:
        from edgekit.npu.target import load_target

        target = load_target(npu)
        cost, key = _of_npu(target, measure), target.key
    else:
        cost, key = _of_board(named, measure, progress)

    def price(models: Sequence[Any]) -> list[float]:
        numbers = _converted(models, goal.scheme, cost)
        return [
            _value(number, model.name, named, measure)
            for number, model in zip(numbers, models, strict=True)
        ]

    facts = {"place": named, "measure": measure, "scheme": goal.scheme, **key}
    return Priced(ec.Place(named, _UNITS[measure], price), facts)


def _of_npu(target: Npu, measure: str) -> Cost:
    from edgekit.npu.estimating import estimate
    from edgekit.npu.workload import read_workload

    def cost(files: Sequence[Path]) -> list[Number]:
        found = [estimate(read_workload(file), target.profile, target.precision) for file in files]
        return [_measure(one.latency_ms, one.energy_j, measure) for one in found]

    return cost


def _of_board(named: str, measure: str, progress: Listener) -> tuple[Cost, dict[str, Any]]:
    profile = _profile(named)
    if profile is not None:
        return _of_profile(profile, measure), {"profile": asdict(profile)}
    board = parse_board(named)
    settings = _QUICK if measure == "latency_ms" else replace(_QUICK, meter="auto")
    settings = with_own_profile(board, settings)
    # A board of that name may be another one by now, and a profile may have other numbers.
    key = {
        "board": str(board),
        "machine": platform.node(),
        "agent": check_board(board, settings, progress),
        "settings": asdict(settings),
        "profile": settings.profile and asdict(load_profile(settings.profile)),
    }
    return _measured(board, settings, measure, progress), key


def _profile(named: str) -> BoardProfile | None:
    """The profile to estimate with; None for a board that can be measured."""
    kind, _, core = named.partition(":")
    if kind == KIND:
        return load_profile(core)
    if named in boards():
        return None
    return load_profile(named) if named.endswith(".toml") or named in shipped_profiles() else None


def _of_profile(profile: BoardProfile, measure: str) -> Cost:
    from edgekit.boards.estimating import estimate

    def cost(files: Sequence[Path]) -> list[Number]:
        found = [estimate(file, profile) for file in files]
        return [_measure(one.latency_ms, one.energy_j, measure) for one in found]

    return cost


def _measured(board: Board, settings: ProfileSettings, measure: str, progress: Listener) -> Cost:
    def cost(files: Sequence[Path]) -> list[Number]:
        records = [Record.from_json(data) for data in profile_on(board, files, settings, progress)]
        return [_measure(record.latency_ms.p50, record.energy_j, measure) for record in records]

    return cost


def _measure(latency_ms: Number, energy_j: Number, measure: str) -> Number:
    return latency_ms if measure == "latency_ms" else energy_j


def _value(number: Number, model: str, place: str, measure: str) -> float:
    if number.value is None:
        raise RunError(
            f"lcrm(auto=true): {measure} of {model} on {place} is unavailable ({number.reason}); "
            "give a target in macs or parameters, or another place."
        )
    return number.value if measure == "latency_ms" else 1e3 * number.value


def _converted(models: Sequence[Any], scheme: str, cost: Cost) -> list[Number]:
    import edgekit_converters as ec

    generator = np.random.default_rng(0)
    with TemporaryDirectory() as folder:
        files = []
        for index, model in enumerate(models):
            samples = [
                generator.random((4, *tensor.shape[1:])).astype(tensor.dtype)
                for tensor in model.inputs
            ]
            quantize = ec.Quantize("int8" if scheme == "int8" else "float32")
            file = Path(folder) / f"{index:03d}-{model.name}.tflite"
            file.write_bytes(ec.convert(model, quantize, samples, 1))
            files.append(file)
        return cost(files)
