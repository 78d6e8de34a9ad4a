"""Whole estimates: what costs what, and that less work never costs more."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tflite_files import every_product, odd_ones

from edgekit.errors import NpuError
from edgekit.npu import Estimate, Events, NpuProfile, Precision, estimate, load_npu, read_workload
from edgekit.npu.networks import mobilenet_v2, resnet50, workload
from edgekit.npu.workload import Layer, Loops, Workload, of_loops

NEPU = load_npu("nepu-v1")
EXACT = Precision()
CONVS = (
    ("first", Loops(p=14, q=14, m=24, c=8, r=3, s=3, height=14, width=14)),
    ("depthwise", Loops(p=14, q=14, m=1, c=1, r=3, s=3, groups=24, height=14, width=14)),
    ("pointwise", Loops(p=14, q=14, m=48, c=24)),
    ("dense", Loops(p=1, q=1, m=10, c=48)),
)
SMALL = workload("small", CONVS)


def value(estimate: Estimate, name: str) -> float:
    number = getattr(estimate, name)
    assert number.how == "estimated"
    return float(number.value)


def events(shares: list[float], network: Workload = SMALL) -> list[Events]:
    return [
        Events(layer.node, layer.macs, int(share * layer.macs))
        for layer, share in zip(network.layers, shares, strict=True)
    ]


def test_totals_are_the_sum_of_the_layers() -> None:
    found = estimate(SMALL, NEPU)
    assert found.cycles == sum(layer.cycles for layer in found.layers)
    assert value(found, "latency_ms") == pytest.approx(found.cycles / NEPU.clock_hz * 1e3)
    parts = [part for part in found.energy_parts_j.values() if part is not None]
    assert value(found, "energy_j") == pytest.approx(sum(parts))
    layers = [layer.energy_j.value or 0.0 for layer in found.layers]
    assert value(found, "energy_j") == pytest.approx(sum(layers))
    assert found.macs == sum(loops.macs for _, loops in CONVS)


def test_a_layers_latency_is_the_longest_of_all_and_the_fill() -> None:
    for layer in estimate(workload("mobilenet_v2", mobilenet_v2()), NEPU).layers:
        longest = max(layer.compute_cycles, *layer.memory_cycles.values())
        assert layer.cycles == pytest.approx(longest + layer.fill_cycles)
        assert layer.bound_by in ("compute", *layer.memory_cycles)
        if layer.bound_by != "compute":
            assert layer.memory_cycles[layer.bound_by] == longest
        assert 0 < layer.utilisation <= 1


def test_the_interval_is_the_profiles_error() -> None:
    found = estimate(SMALL, NEPU)
    for number, ratios in (
        (found.latency_ms, NEPU.error.latency),
        (found.energy_j, NEPU.error.energy),
    ):
        assert number.value is not None
        assert (number.low, number.high) == tuple(number.value * ratio for ratio in ratios)


def test_a_known_layer_by_hand(changed: Callable[..., NpuProfile]) -> None:
    profile = changed(cores=1, shared=None, static_w=0.0, array__dataflows=("OS",))
    layer = of_loops("one", Loops(p=4, q=4, m=32, c=16))
    (found,) = estimate(Workload("x", (layer,), (0,), (1,)), profile, EXACT).layers
    # 16 pixels x 32 filters on 32 x 32 elements: one fold of 16 products and 62 to fill.
    assert found.compute_cycles == 16 + 62 - 1
    macs = 16 * 32 * 16
    assert found.macs == macs
    assert found.energy_parts_j["mac"] == pytest.approx(macs * (0.0284e-12 + 0.0142e-12))
    # 256 bytes in, 512 of weights, 512 out, each once.
    assert found.bytes["dram"] == (256 + 512, 512)
    assert found.energy_parts_j["dram"] == pytest.approx(1280 * 31.2e-12)


def test_activations_stay_on_the_chip_where_they_fit(changed: Callable[..., NpuProfile]) -> None:
    inside = estimate(SMALL, NEPU)
    outside = estimate(SMALL, changed(shared=None))
    weights = sum(loops.weight_elements for _, loops in CONVS)
    ends = CONVS[0][1].input_elements + CONVS[-1][1].output_elements
    assert sum(inside.bytes["dram"]) == weights + ends
    between = [loops.output_elements for _, loops in CONVS[:-1]]
    between += [loops.input_elements for _, loops in CONVS[1:]]
    assert sum(outside.bytes["dram"]) >= weights + ends + sum(between)
    assert value(inside, "energy_j") < value(outside, "energy_j")


def test_weights_that_stay_on_the_chip_are_not_fetched(changed: Callable[..., NpuProfile]) -> None:
    kept = estimate(SMALL, changed(keeps_weights=True))
    assert sum(kept.bytes["dram"]) == CONVS[0][1].input_elements + CONVS[-1][1].output_elements


def test_weights_needed_again_come_from_the_shared_memory() -> None:
    profile = load_npu("edge-tpu-like")
    network = workload("resnet50", resnet50())
    found = estimate(network, profile)
    weights = sum(layer.weights.elements for layer in network.layers if layer.weights)
    kept = weights - found.bytes["dram"][0]
    assert 0 < kept < 8e6
    assert found.bytes["dram"][0] <= weights + 150_528


@settings(max_examples=25)
@given(
    bits=st.tuples(st.integers(2, 8), st.integers(2, 8), st.integers(16, 32)),
    fewer=st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 8)),
)
def test_fewer_bits_never_cost_more(bits: tuple[int, ...], fewer: tuple[int, ...]) -> None:
    names = ("weight_bits", "activation_bits", "accumulator_bits")
    low = [max(1, bit - less) for bit, less in zip(bits, fewer, strict=True)]
    wide = estimate(SMALL, NEPU, Precision(**dict(zip(names, bits, strict=True))))
    narrow = estimate(SMALL, NEPU, Precision(**dict(zip(names, low, strict=True))))
    assert narrow.cycles <= wide.cycles
    assert value(narrow, "energy_j") <= value(wide, "energy_j")


@settings(max_examples=25)
@given(
    shares=st.lists(st.floats(0, 1), min_size=4, max_size=4),
    more=st.lists(st.floats(0, 1), min_size=4, max_size=4),
    kind=st.sampled_from(["none", "gate", "skip"]),
)
def test_skipped_products_never_cost_more(
    shares: list[float], more: list[float], kind: str
) -> None:
    profile = replace(NEPU, array=replace(NEPU.array, zero_skipping=kind))
    further = [share + (1 - share) * extra for share, extra in zip(shares, more, strict=True)]
    some = estimate(SMALL, profile, events=events(shares))
    all_ = estimate(SMALL, profile, events=events(further))
    assert all_.cycles <= some.cycles
    assert value(all_, "energy_j") <= value(some, "energy_j")
    dense = estimate(SMALL, profile)
    assert some.cycles <= dense.cycles
    if kind != "skip":
        assert some.cycles == dense.cycles
    if kind == "none":
        assert value(all_, "energy_j") == value(dense, "energy_j")


def test_serial_activations_take_their_bits_and_others_do_not(
    changed: Callable[..., NpuProfile],
) -> None:
    loops = Loops(p=32, q=32, m=128, c=512)
    network = workload("one", (("one", loops),))

    def cycles(profile: NpuProfile, bits: int) -> float:
        found = estimate(network, profile, Precision(activation_bits=bits))
        return found.layers[0].compute_cycles

    serial, fixed = changed(cores=1), changed(cores=1, array__bit_scaling="none")
    assert cycles(fixed, 4) == cycles(fixed, 8) == cycles(serial, 8)
    # All but the filling of the array halves.
    assert 0.5 < cycles(serial, 4) / cycles(serial, 8) < 0.6


def test_static_zeros_are_those_of_the_weights() -> None:
    layer = of_loops("pruned", Loops(p=8, q=8, m=32, c=64), zero_weights=0.5)
    network = Workload("pruned", (layer,), (0,), (1,))
    dense = estimate(network, NEPU, Precision())
    pruned = estimate(network, NEPU, Precision(skip_zero_weights=True))
    assert pruned.layers[0].skipped_macs == layer.macs / 2
    assert pruned.cycles < dense.cycles
    assert pruned.energy_parts_j["mac"] == pytest.approx((dense.energy_parts_j["mac"] or 0) / 2)


@pytest.mark.parametrize(
    ("multiplier", "relative"),
    [
        ("exact", 1.0),
        ("table(mul8s_1L2D.npy)", 0.200 / 0.425),
        ("table(/some/where/mul8u_17KS.bin)", 0.104 / 0.391),
    ],
)
def test_published_multipliers_have_their_power(multiplier: str, relative: float) -> None:
    exact = estimate(SMALL, NEPU, EXACT).energy_parts_j["mac"] or 0.0
    found = estimate(SMALL, NEPU, Precision(multiplier=multiplier)).energy_parts_j["mac"]
    product = NEPU.array.multiply_j / (NEPU.array.multiply_j + NEPU.array.add_j)
    assert found == pytest.approx(exact * (1 - product + product * relative))


@pytest.mark.parametrize("multiplier", ["drum(4)", "mitchell", "truncated(3)", "table(mine.npy)"])
def test_a_multiplier_of_unknown_energy_is_unavailable_and_not_0(
    multiplier: str, changed: Callable[..., NpuProfile]
) -> None:
    precision = Precision(multiplier=multiplier)
    found = estimate(SMALL, NEPU, precision)
    assert found.energy_j.how == "unavailable"
    assert multiplier in str(found.energy_j.reason)
    assert found.energy_parts_j["mac"] is None
    assert (found.energy_parts_j["dram"] or 0) > 0
    assert found.latency_ms.value == estimate(SMALL, NEPU, EXACT).latency_ms.value
    told = estimate(SMALL, NEPU, replace(precision, multiplier_energy=0.5))
    profiled = estimate(SMALL, changed(multipliers={multiplier: 0.5}), precision)
    assert told.energy_j.value == profiled.energy_j.value
    assert value(told, "energy_j") < value(estimate(SMALL, NEPU, EXACT), "energy_j")


def test_every_product_of_a_file_is_estimated(tmp_path: Path) -> None:
    found = estimate(read_workload(every_product(tmp_path)), NEPU)
    assert found.not_estimated == ()
    view = next(layer for layer in found.layers if layer.operator == "RESHAPE")
    assert (view.unit, view.cycles, view.energy_j.value) == ("none", 0, 0)
    assert all(layer.cycles > 0 for layer in found.layers if layer is not view)


def test_what_is_not_estimated_is_named_with_its_reason_and_in_no_number(tmp_path: Path) -> None:
    found = estimate(read_workload(odd_ones(tmp_path)), NEPU)
    assert [layer.name for layer in found.layers] == ["pooled", "summed", "real"]
    reasons = {one.name: one.reason for one in found.not_estimated}
    assert set(reasons) == {"rooted", "wide", "open"}
    assert "computes in float32" in reasons["wide"]
    assert "--recipe int8" in reasons["wide"]
    assert found.latency_ms.reason == "without 3 operators that are not estimated"
    # The host reads what the chip hands over: 64 floats through the DRAM.
    real = found.layers[2]
    assert real.bytes["dram"] == (0, 256)


def test_a_file_that_the_npu_cannot_run_at_all_has_no_number() -> None:
    model = Path(__file__).parents[1] / "device" / "models" / "conv_float32.tflite"
    found = estimate(read_workload(model), NEPU)
    assert found.layers == ()
    assert found.latency_ms.how == found.energy_j.how == "unavailable"
    assert len(found.not_estimated) == 5


def test_wider_operands_than_the_array_takes_are_refused() -> None:
    network = workload("wide", CONVS[:1], bits=16)
    (left,) = estimate(network, NEPU).not_estimated
    assert "its weights have 16 bits, and the array takes 8" in left.reason


def test_a_kernel_wider_than_a_row_stationary_array_is_refused() -> None:
    network = workload("wide", (("wide", Loops(p=4, q=4, m=4, c=1, r=13, s=13)),))
    (left,) = estimate(network, load_npu("eyeriss")).not_estimated
    assert left.reason == "a kernel of 13 columns does not fit the 12 rows of eyeriss"


def test_events_must_be_of_this_file() -> None:
    with pytest.raises(NpuError, match="events name node 9, but small has the nodes 0 to 3"):
        estimate(SMALL, NEPU, events=[Events(9, 10)])
    with pytest.raises(NpuError, match="node 1 twice"):
        estimate(SMALL, NEPU, events=[Events(1, 10), Events(1, 10)])
    with pytest.raises(NpuError, match="skipped_macs is 11"):
        Events(1, 10, 11)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"weight_bits": 0}, "weight_bits is 0"),
        ({"activation_bits": True}, "activation_bits is True"),
        ({"accumulator_bits": 65}, "accumulator_bits is 65"),
        ({"multiplier": "drum(9)"}, "multiplier 'drum(9)' is not known"),
        ({"multiplier_energy": -1.0}, "multiplier_energy is -1.0"),
        ({"multiplier_energy": float("nan")}, "multiplier_energy is nan"),
    ],
)
def test_an_arithmetic_that_is_none_is_refused(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(NpuError) as caught:
        Precision(**wrong)  # type: ignore[arg-type]
    assert says in str(caught.value)


def test_layers_alike_are_judged_once_and_alike() -> None:
    twice = workload("twice", (CONVS[0], CONVS[2], CONVS[2]))
    found = estimate(twice, replace(NEPU, shared=None))
    layers: list[Layer] = list(twice.layers)
    assert layers[1].loops == layers[2].loops
    assert found.layers[1].cycles == found.layers[2].cycles
