"""The published error is what the model has, and the profiles' intervals follow from it."""

import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.npu.networks import alexnet
from edgekit.npu.profile import load_npu
from edgekit.npu.validation import (
    EYERISS_MS,
    EYERISS_MW,
    Ratios,
    coral_checks,
    coral_energy_check,
    eyeriss_layers,
    eyeriss_total,
    measured_ratios,
    report,
    scale_sim_checks,
)

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def ratios() -> dict[str, Ratios]:
    found = measured_ratios(eyeriss_layers(), coral_checks(), coral_energy_check())
    return {one.machine: one for one in found}


def test_scale_sim_is_hit_exactly() -> None:
    assert len(scale_sim_checks()) == 6
    assert all(check.error == 0 for check in scale_sim_checks())


def test_the_chips_figures_agree_with_the_papers_totals() -> None:
    assert sum(EYERISS_MS.values()) == pytest.approx(115.3)
    energy = sum(EYERISS_MS[name] * EYERISS_MW[name] for name in EYERISS_MS)
    assert energy / 115.3 == pytest.approx(278, abs=0.5)
    assert {name for name, _ in alexnet()} == set(EYERISS_MS)


def test_the_chip_is_never_beaten_by_more_than_is_published() -> None:
    total = eyeriss_total(eyeriss_layers())
    assert total.time.error == pytest.approx(-0.15, abs=0.02)
    assert total.power.error == pytest.approx(-0.41, abs=0.02)


@pytest.mark.parametrize("machine", ["eyeriss", "edge-tpu-like"])
def test_a_measured_machines_interval_holds_every_measurement(
    machine: str, ratios: dict[str, Ratios]
) -> None:
    error = load_npu(machine).error
    assert error.latency[0] <= ratios[machine].latency[0]
    assert error.latency[1] >= ratios[machine].latency[1]
    assert error.energy[0] <= ratios[machine].energy[0]
    assert error.energy[1] >= ratios[machine].energy[1]


@pytest.mark.parametrize("machine", ["nepu-v1", "ethos-u55-like"])
def test_an_unmeasured_machines_interval_is_the_widest_ratio_seen(
    machine: str, ratios: dict[str, Ratios]
) -> None:
    error = load_npu(machine).error
    assert error.latency[1] == pytest.approx(max(x.latency[1] for x in ratios.values()), abs=0.05)
    assert error.energy[1] == pytest.approx(max(x.energy[1] for x in ratios.values()), abs=0.05)
    assert error.latency[0] <= min(x.latency[0] for x in ratios.values())
    assert error.energy[0] <= min(x.energy[0] for x in ratios.values())


def test_the_page_in_the_docs_is_what_the_command_makes() -> None:
    page = DOCS / "npu-cost-model-error.md"
    command = [sys.executable, "-m", "edgekit.npu.validation"]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert made == report()
    assert page.read_text() == made, f"python -m edgekit.npu.validation > {page.name}"
