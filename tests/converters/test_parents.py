"""The paper's parents: as many parameters as it prints, and models that every tool takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgekit_converters import PARENTS, ModelLoadError, apply_lcrm, load_model
from edgekit_converters.complexity import parameters

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("name", "paper"),
    [("alexnet", 11.2e6), ("vgg9", 7.9e6), ("unet", 1.4e6), ("decom_net", 0.19e6)],
)
def test_parents_have_the_papers_parameters(name: str, paper: float) -> None:
    assert parameters(PARENTS[name]()) == pytest.approx(paper, rel=0.01)


def test_decom_net_has_the_papers_parameters_after_lcrm_too() -> None:
    """Table 9: 0.028 M."""
    assert int(parameters(apply_lcrm(PARENTS["decom_net"]())[0]) / 1e3) == 28


@pytest.mark.parametrize("name", ["alexnet_small", "vgg9_small", "unet_small", "decom_net_small"])
def test_a_small_parent_has_lcrm_cases_and_keeps_its_output(name: str) -> None:
    model = load_model(f"parent:{name}")
    rewritten, plan = apply_lcrm(model)
    assert any(decision.substitute for decision in plan)
    assert rewritten.output_shape == model.output_shape
    assert parameters(rewritten) < 0.55 * parameters(model)


def test_an_unknown_parent_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ModelLoadError, match=r"parent:resnet is none of .* unet_small, vgg9"):
        load_model("parent:resnet")


@pytest.mark.slow
def test_the_page_of_the_parents_is_up_to_date() -> None:
    code = "import make_parents, sys; sys.stdout.write(make_parents.page())"
    made = subprocess.run([sys.executable, "-c", code], cwd=DOCS, capture_output=True, check=True)
    assert made.stdout.decode() == (DOCS / "parents.md").read_text()
