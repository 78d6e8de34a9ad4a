"""Latency and energy of a board that is not there, by its profile."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_file import DEQUANTIZE, FULLY_CONNECTED, ModelFile

from edgekit.boards import LocalBoard, ProfileSettings, parse_board, profile_on
from edgekit.boards.estimating import (
    Work,
    estimate,
    latency_ms,
    read_work,
    terms,
    with_estimates,
    work_of,
)
from edgekit.errors import NpuError
from edgekit.npu.networks import mobilenet_v1, mobilenet_v2, workload
from edgekit.npu.workload import Operand, Workload
from edgekit_device.board import BoardProfile, Cpu, LatencyModel, Power
from edgekit_device.number import Number
from edgekit_device.profiles import load_profile, shipped_profiles
from edgekit_device.record import Record
from edgekit_device.summary import record_text

MODELS = Path(__file__).parents[1] / "device" / "models"

BENCH = BoardProfile(
    name="bench",
    description="a board for tests",
    architecture="aarch64",
    device_tree_models=("Test Board",),
    cores=4,
    clock_hz=1e9,
    memory_bytes=(1e9,),
    cpu=Cpu("Cortex-Test", 4, 8, 1000, (1e9, 3e9)),
    power=(Power(2.0, 6.0, "laboratory A", "A"), Power(1.0, 7.0, "laboratory B", "B")),
    sources={},
    latency=LatencyModel(2.0, 0.5, 0.5, 4.0, "somebody's fit"),
)


def floating(network: Workload) -> Workload:
    """The same layers in float32."""

    def wide(operand: Operand) -> Operand:
        return replace(operand, bits=32, floating=True)

    layers = [
        replace(
            layer,
            inputs=tuple(map(wide, layer.inputs)),
            outputs=tuple(map(wide, layer.outputs)),
            weights=wide(layer.weights) if layer.weights else None,
        )
        for layer in network.layers
    ]
    return replace(network, layers=tuple(layers))


# XNNPACK's published times of float32, 4 threads: github.com/google/XNNPACK, README.
@pytest.mark.parametrize(
    ("board", "network", "published_ms"),
    [
        ("pi3b+", mobilenet_v1, 114),
        ("pi3b+", mobilenet_v2, 79),
        ("pi4", mobilenet_v1, 77),
        ("pi4", mobilenet_v2, 46),
    ],
)
def test_published_times_lie_near_the_estimate_and_inside_its_interval(
    board: str, network: Any, published_ms: float
) -> None:
    work = work_of(floating(workload("mobilenet", network())))
    found = latency_ms(work, load_profile(board), 4)
    assert found.value == pytest.approx(published_ms, rel=0.12)
    assert found.low is not None
    assert found.high is not None
    assert found.low < published_ms < found.high
    # Another laboratory's board, up to 2.5 times slower, is inside, too.
    assert found.high > 2.2 * published_ms


def test_the_published_order_of_two_networks_and_two_boards_holds() -> None:
    works = [work_of(floating(workload("m", net()))) for net in (mobilenet_v1, mobilenet_v2)]
    boards = ("pi3b", "pi3b+", "pi4", "pi400", "pi5")
    found = [
        [latency_ms(work, load_profile(board), 4).value or 0.0 for board in boards]
        for work in works
    ]
    for of_one in found:
        assert of_one == sorted(of_one, reverse=True)
    assert all(second < first for first, second in zip(*found, strict=True))


def test_the_form_by_hand() -> None:
    # 500 bytes is half the L2: a tensor and weights above it go to the memory.
    work = Work(4000, 8000, 501, (500, 501, 1000), operators=2)
    assert work.dram_bytes(1000) == 501 + 501 + 1000
    assert replace(work, weight_bytes=500).dram_bytes(1000) == 1501
    parts = terms(work, BENCH, 2)
    # 4000 / (4 * 2 GHz) + 8000 / (8 * 2 GHz); 2002 B at 2 GB/s.
    assert parts.macs_s == pytest.approx(0.5e-6 + 0.5e-6)
    assert parts.traffic_s == pytest.approx(1001e-9)
    found = latency_ms(work, BENCH, 2)
    value = 1e3 * (2.0 * 1e-6 + 0.5 * 1001e-9)
    assert found.how == "estimated"
    assert found.value == pytest.approx(value)
    assert found.low == pytest.approx(0.5 * value)
    # What two operators may cost beside that.
    assert found.high == pytest.approx(4 * value + 0.010)
    assert found.reason == "latency model of bench, somebody's fit"
    # Threads without a core of their own gain nothing.
    assert terms(work, BENCH, 9) == terms(work, BENCH, 4)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"latency": None}, "bench has no latency model"),
        ({"cpu": replace(BENCH.cpu, peak_macs_per_cycle_int8=None)}, "no cpu.peak_macs_per_cycle_"),
        ({"cpu": replace(BENCH.cpu, l2_bytes=None)}, "no cpu.l2_bytes"),
        ({"cpu": replace(BENCH.cpu, memory_bandwidth_bytes_per_s=())}, "memory_bandwidth"),
    ],
)
def test_what_the_profile_lacks_makes_it_unavailable(changed: dict[str, Any], says: str) -> None:
    found = latency_ms(Work(1, 1, 0, (2000,), 1), replace(BENCH, **changed), 1)
    assert found.how == "unavailable"
    assert says in str(found.reason)


def test_a_board_without_bandwidth_still_knows_what_stays_in_its_cache() -> None:
    cpu = replace(BENCH.cpu, memory_bandwidth_bytes_per_s=(), peak_macs_per_cycle_fp32=None)
    assert latency_ms(Work(0, 100, 0, (), 1), replace(BENCH, cpu=cpu), 1).how == "estimated"


def test_a_file_that_computes_nothing_has_no_time() -> None:
    assert latency_ms(Work(0, 0, 0, (10,), 1), BENCH, 1).how == "unavailable"


def test_a_file_is_counted_by_its_operators() -> None:
    found = read_work(MODELS / "conv_int8.tflite")
    assert (found.macs_fp32, found.macs_int8, found.operators) == (0, 10584 + 28800 + 80, 5)
    found = read_work(MODELS / "conv_float32.tflite")
    assert (found.macs_fp32, found.macs_int8) == (10584 + 28800 + 80, 0)
    # Weights and biases in float32: more than the weights, less than the file.
    size = (MODELS / "conv_float32.tflite").stat().st_size
    assert 0 < found.weight_bytes < size


def write(folder: Path, made: ModelFile) -> Path:
    file = folder / "made.tflite"
    file.write_bytes(made.to_bytes())
    return file


def test_hybrid_products_are_int8_and_weights_unpacked_when_loaded_are_floats(
    tmp_path: Path,
) -> None:
    made = ModelFile()
    image = made.tensor((1, 6), is_input=True, dtype=np.float32)
    hybrid = made.constant(np.ones((4, 6), np.int8), scales=(0.1,))
    middle = made.node(FULLY_CONNECTED, [image, hybrid], made.tensor((1, 4), dtype=np.float32))
    stored = made.constant(np.ones((3, 4), np.int8), scales=(0.1,))
    weights = made.node(DEQUANTIZE, [stored], made.tensor((3, 4), dtype=np.float32))
    last = made.tensor((1, 3), dtype=np.float32)
    made.outputs = [made.node(FULLY_CONNECTED, [middle, weights], last)]
    found = read_work(write(tmp_path, made))
    assert (found.macs_int8, found.macs_fp32) == (24, 12)
    # The conversion of the constant is no operator of an inference, its result no traffic.
    assert found.operators == 2
    assert found.tensor_bytes == (24, 16, 16, 12)
    assert found.weight_bytes == 24 + 12 * 4


def dense(image_shape: tuple[int, ...], dtype: Any) -> ModelFile:
    made = ModelFile()
    image = made.tensor(image_shape, is_input=True, dtype=dtype)
    weights = made.constant(np.ones((3, 6), np.float32))
    made.outputs = [made.node(FULLY_CONNECTED, [image, weights], made.tensor((1, 3), dtype=dtype))]
    return made


def test_what_cannot_be_counted_is_said(tmp_path: Path) -> None:
    with pytest.raises(NpuError, match=r"made.*FULLY_CONNECTED.*fixed batch"):
        read_work(write(tmp_path, dense((0, 6), np.float32)))
    with pytest.raises(NpuError, match=r"no\.tflite cannot be read"):
        read_work(tmp_path / "no.tflite")
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes((MODELS / "conv_int8.tflite").read_bytes()[:400])
    with pytest.raises(NpuError, match=r"damaged\.tflite"):
        read_work(damaged)
    found = estimate(MODELS / "branch_and_loop.tflite", BENCH)
    assert (found.macs, found.dram_bytes, found.energy_j.how) == (None, None, "unavailable")
    assert "cannot be counted" in str(found.latency_ms.reason)


def test_wide_integers_have_no_published_speed() -> None:
    network = workload("wide", mobilenet_v2(), bits=16)
    with pytest.raises(NpuError, match="integers of 16 bits"):
        work_of(network)


@pytest.fixture(scope="module")
def real() -> Record:
    settings = ProfileSettings(runs=2, seconds=0, warmup=1, rounds=1, idle_seconds=0)
    (record,) = profile_on(parse_board("local"), [MODELS / "conv_float32.tflite"], settings)
    return Record.from_json(record)


def emulated(real: Record, **changes: Any) -> Record:
    """What the agent of an emulated board writes: no latency, no energy."""
    unknown = Number.unavailable("an emulated board's clock counts instructions")
    return replace(
        real,
        machine=replace(real.machine, emulator="qemu-system-aarch64 -icount", board="pi4"),
        latency_ms=replace(real.latency_ms, **dict.fromkeys(vars(real.latency_ms), unknown)),
        throughput_per_s=unknown,
        energy_j=unknown,
        energy_above_idle_j=unknown,
        instructions=Number.emulated(7e6),
        **changes,
    )


def test_an_emulated_boards_record_is_given_estimates(real: Record) -> None:
    file, given = MODELS / "conv_float32.tflite", emulated(real)
    found = with_estimates(given, file, BENCH)
    work = read_work(file)
    p50 = found.latency_ms.p50
    assert p50 == latency_ms(work, BENCH, 1)
    assert None not in (p50.value, p50.low, p50.high)
    ms, low, high = p50.value or 0, p50.low or 0, p50.high or 0
    assert found.throughput_per_s.value == pytest.approx(1e3 / ms)
    assert found.throughput_per_s.low == pytest.approx(1e3 / high)
    assert found.throughput_per_s.high == pytest.approx(1e3 / low)
    # One of four cores busy: A 3 W, B 2.5 W; above idle 1 and 1.5 W.
    assert found.energy_j.value == pytest.approx(2.75 * ms / 1e3)
    assert found.energy_j.low == pytest.approx(2.5 * low / 1e3)
    assert found.energy_j.high == pytest.approx(3.0 * high / 1e3)
    assert found.energy_above_idle_j.value == pytest.approx(1.25 * ms / 1e3)
    assert found.energy_above_idle_j.low == pytest.approx(1.0 * low / 1e3)
    assert found.energy_above_idle_j.high == pytest.approx(1.5 * high / 1e3)
    assert found.latency_ms.p99.how == "unavailable"
    assert "median alone" in str(found.latency_ms.p99.reason)
    assert found.instructions == given.instructions
    said = record_text(found)
    assert re.search(r"^ *latency p50 +[\d.]+ ms \[.*\], estimated$", said, re.M)
    assert "p99" not in said
    assert Record.from_json(found.to_json()) == found


def test_a_real_boards_record_and_an_error_stay_as_they_are(real: Record) -> None:
    file = MODELS / "conv_float32.tflite"
    assert with_estimates(real, file, BENCH) is real
    failed = replace(emulated(real), status="error")
    assert with_estimates(failed, file, BENCH) is failed


@pytest.mark.parametrize(
    ("file", "profile", "says"),
    [
        ("conv_float32", None, "name one of its core with --profile"),
        ("conv_float32", replace(BENCH, latency=None), "no latency model"),
        ("branch_and_loop", BENCH, "cannot be counted"),
        ("is_not_there", BENCH, "cannot be read"),
    ],
)
def test_what_cannot_be_estimated_is_unavailable_with_the_reason(
    real: Record, file: str, profile: BoardProfile | None, says: str
) -> None:
    found = with_estimates(emulated(real), MODELS / f"{file}.tflite", profile)
    numbers = (found.latency_ms.p50, found.throughput_per_s, found.energy_j, found.latency_ms.max)
    for number in (*numbers, found.energy_above_idle_j):
        assert number.how == "unavailable"
        assert says in str(number.reason)


def test_no_power_model_leaves_the_energy_open_alone(real: Record) -> None:
    zero = shipped_profiles()["pi-zero-2w"]
    found = with_estimates(emulated(real), MODELS / "conv_float32.tflite", zero)
    assert found.latency_ms.p50.how == "estimated"
    assert found.energy_j.reason == "the board profile has no power model"


@pytest.mark.parametrize("named", [None, "pi400"])
def test_profiling_on_an_emulated_board_estimates(tmp_path: Path, named: str | None) -> None:
    file = MODELS / "conv_float32.tflite"
    settings = ProfileSettings(runs=2, seconds=0, rounds=1, idle_seconds=0, profile=named)
    (told,) = profile_on(emulated_board(tmp_path, "pi4"), [file], settings)
    record, expected = Record.from_json(told), estimate(file, load_profile(named or "pi4"))
    assert record.machine.emulator == "an emulator"
    assert record.latency_ms.p50 == expected.latency_ms
    assert record.energy_j == expected.energy_j


def test_a_profile_that_the_emulated_board_refuses_is_not_estimated_with(tmp_path: Path) -> None:
    settings = ProfileSettings(runs=2, seconds=0, rounds=1, idle_seconds=0, profile="pi5")
    board = emulated_board(tmp_path, None)
    (told,) = profile_on(board, [MODELS / "conv_float32.tflite"], settings)
    assert told["latency_ms"]["p50"]["how"] == "unavailable"
    assert "name one of its core" in told["energy_j"]["reason"]


def emulated_board(folder: Path, profile: str | None) -> LocalBoard:
    """The real agent, whose records are told to be of an emulated board with this profile."""
    script = folder / "agent"
    script.write_text(f"""#!{sys.executable}
import json, subprocess, sys

agent = subprocess.Popen([sys.executable, "-m", "edgekit_device", "serve"], stdout=subprocess.PIPE)
for line in agent.stdout:
    told = json.loads(line)
    for record in told.get("records", ()):
        record["machine"].update(emulator="an emulator", board={profile!r})
    print(json.dumps(told), flush=True)
""")
    script.chmod(0o755)
    return LocalBoard(script)
