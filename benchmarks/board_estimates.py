"""The estimate of a board's latency against published times of float32 models.

XNNPACK's README has MobileNets on 4 threads; the LCRM paper its AlexNet pair on a Raspberry Pi 4,
whose number of threads it does not say (one is assumed).
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import results

import edgekit_converters as ec
from edgekit.boards.estimating import Work, latency_ms, read_work, work_of
from edgekit.npu.networks import Network, mobilenet_v1, mobilenet_v2, workload
from edgekit.npu.workload import Operand
from edgekit_device.number import Number
from edgekit_device.profiles import load_profile

_MOBILENETS = (
    ("MobileNet v1", mobilenet_v1(), "pi3b+", 114.0),
    ("MobileNet v2", mobilenet_v2(), "pi3b+", 79.0),
    ("MobileNet v1", mobilenet_v1(), "pi4", 77.0),
    ("MobileNet v2", mobilenet_v2(), "pi4", 46.0),
)
_PAIR_MS = {"parent": 331.0, "lcrm": 123.0}


def main() -> None:
    table = [["model", "board", "threads", "published ms", "estimated ms", "inside"]]
    for name, network, board, published_ms in _MOBILENETS:
        found = latency_ms(_work(name, network), load_profile(board), 4)
        table.append(_row(name, board, 4, published_ms, found))
    pair = _pair()
    for name, found in pair.items():
        table.append(_row(f"AlexNet, {name}", "pi4", 1, _PAIR_MS[name], found))
    changes = {
        "published": 100 * (_PAIR_MS["lcrm"] / _PAIR_MS["parent"] - 1),
        "estimated": 100 * (_value(pair["lcrm"]) / _value(pair["parent"]) - 1),
    }
    table.append(
        ["LCRM's change %", "pi4", "1", *(f"{change:.1f}" for change in changes.values()), "-"]
    )
    results.write("board_estimates", {"lcrm_change_percent": changes}, table)


def _work(name: str, network: Network) -> Work:
    """Of a network in float32, whose layers are written down without a file."""

    def floating(operand: Operand) -> Operand:
        return replace(operand, bits=32, floating=True)

    made = workload(name, network)
    layers = [
        replace(
            layer,
            inputs=tuple(map(floating, layer.inputs)),
            outputs=tuple(map(floating, layer.outputs)),
            weights=floating(layer.weights) if layer.weights else None,
        )
        for layer in made.layers
    ]
    return work_of(replace(made, layers=tuple(layers)))


def _pair() -> dict[str, Number]:
    ec.set_seed(0)
    parent = ec.alexnet()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, model in (("parent", parent), ("lcrm", ec.apply_lcrm(parent)[0])):
            file = Path(folder) / f"{name}.tflite"
            ec.export_tflite(model, ec.Quantize("float32"), file)
            found[name] = latency_ms(read_work(file), load_profile("pi4"), 1)
    return found


def _row(name: str, board: str, threads: int, published_ms: float, found: Number) -> list[str]:
    low, high = found.low or 0.0, found.high or 0.0
    inside = "yes" if low <= published_ms <= high else "no"
    estimated = f"{_value(found):.0f} ({low:.0f} to {high:.0f})"
    return [name, board, str(threads), f"{published_ms:.0f}", estimated, inside]


def _value(number: Number) -> float:
    if number.value is None:
        raise SystemExit(number.reason)
    return number.value


if __name__ == "__main__":
    main()
