"""What `lcrm(auto=true)` can be asked for, and which choices answer it best."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit_converters import (
    Choice,
    Costs,
    Point,
    RecipeError,
    RewriteError,
    Scan,
    Trial,
    choose,
    front,
    parse_recipe,
)
from edgekit_converters.lcrm.front import predicted
from edgekit_converters.lcrm.goal import Goal, parse_goal
from edgekit_converters.lcrm.scan import Together

READ = {
    "drop<=1": Goal("drop", 1),
    " drop <= 0.5 ": Goal("drop", 0.5),
    "drop<=2 on pi4": Goal("drop", 2, place="pi4"),
    "macs<=4M": Goal("macs", 4e6),
    "macs<=0.4x": Goal("macs", 0.4, relative=True),
    "parameters<=250k": Goal("parameters", 250e3),
    "latency_ms<=5 on qemu:pi3b+": Goal("latency_ms", 5, place="qemu:pi3b+"),
    "latency_ms<=0.8x on pi in float32": Goal("latency_ms", 0.8, True, "pi", "float32"),
    "energy_mj<=1e-2 on nepu-v1": Goal("energy_mj", 0.01, place="nepu-v1"),
}
REFUSED = {
    "fast": "no such goal",
    "drop<1": "no such goal",
    "accuracy<=1": "no such goal",
    "macs<=-4M": "no such goal",
    "macs<=0": "above 0",
    "drop<=1M": "in points",
    "latency_ms<=5": "latency_ms<=5 on pi4",
    "macs<=4M on pi4": "same everywhere",
    "latency_ms<=5 on pi4 in int16": "int8 or in float32",
    "macs<=4M in int8": "about a place",
}


@pytest.mark.parametrize("text", READ, ids=str)
def test_goals_are_read(text: str) -> None:
    assert parse_goal(text) == READ[text]


@pytest.mark.parametrize("text", REFUSED, ids=str)
def test_other_goals_are_refused_with_what_may_stand_there(text: str) -> None:
    with pytest.raises(RecipeError, match=REFUSED[text]):
        parse_goal(text)


@pytest.mark.parametrize(
    "recipe",
    [
        "lcrm(auto=true)+distill+int8",
        "lcrm(where='conv*,!conv2', auto=true, target='macs<=0.4x')",
        "lcrm(auto=true, target='latency_ms<=5 on qemu:pi3b+ in float32')+distill",
    ],
)
def test_a_recipe_with_a_goal_is_written_as_it_is_read(recipe: str) -> None:
    assert str(parse_recipe(recipe)) == recipe
    assert parse_recipe(str(parse_recipe(recipe))) == parse_recipe(recipe)


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ("lcrm(target='macs<=4M')", "auto=true"),
        ("lcrm(auto=true, multiplier=2)", "leave multiplier out"),
        ("lcrm(auto=true, spatial=true)", "leave spatial out"),
        ("lcrm(auto=true, weights=fresh)", "throws it away"),
        ("lcrm(auto=true, style=table4)", "closed form"),
        ("lcrm(auto=yes)", "true or false"),
    ],
)
def test_options_that_contradict_auto_are_refused(recipe: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        parse_recipe(recipe)


def scan_of(layers: list[list[tuple[int, float]]]) -> tuple[Scan, Costs]:
    """A scan whose layers have substitutes of (what they save, how far they are off)."""
    trials = tuple(
        Trial(f"conv{index}", Choice(r), f"depthwise x{r}", 0.0, off, 100, 100 - saved, 10, 10 - r)
        for index, options in enumerate(layers)
        for r, (saved, off) in enumerate(options, start=1)
    )
    total = 100 * len(layers)
    saved = {(trial.path, trial.choice): float(100 - (trial.macs_after or 0)) for trial in trials}
    # A loss of half of what the outputs are off.
    together = (Together(1.0, 0.5), Together(0.2, 0.1))
    return Scan(0.9, total, 10, trials, together, ()), Costs("MACs", float(total), saved)


OPTIONS = st.lists(
    st.tuples(st.integers(1, 99), st.floats(0.001, 0.5)), min_size=1, max_size=3
).map(lambda found: sorted(found, key=lambda option: (-option[0], -option[1])))


@given(st.lists(OPTIONS, min_size=1, max_size=4), st.floats(0, 1))
def test_no_choice_at_all_is_better_than_the_fronts(
    layers: list[list[tuple[int, float]]], share: float
) -> None:
    scan, costs = scan_of(layers)
    points = front(scan, costs)
    limit = share * costs.parent
    kept = (0, 0.0)
    every = [
        (costs.parent - sum(saved for saved, _ in chosen), sum(off for _, off in chosen))
        for chosen in product(*([kept, *options] for options in layers))
    ]
    possible = [off for cost, off in every if cost <= limit]
    if limit >= costs.parent:
        with pytest.raises(RewriteError, match="need no other layers"):
            choose(points, Goal("macs", limit), costs, limit)
        return
    if not possible:
        with pytest.raises(RewriteError, match=r"nearest.*comes to") as refused:
            choose(points, Goal("macs", limit), costs, limit)
        advised = float(re.findall(r"Ask for (\S+) or more", str(refused.value))[0])
        if advised < costs.parent:
            assert choose(points, Goal("macs", advised), costs, advised).choices
        return
    picked = choose(points, Goal("macs", limit), costs, limit)
    assert picked.cost <= limit
    assert picked.off == pytest.approx(min(possible))
    assert picked.lost == pytest.approx(picked.off / 2)


@given(st.lists(OPTIONS, min_size=1, max_size=5))
def test_the_front_rises_from_the_cheapest_to_the_parent(
    layers: list[list[tuple[int, float]]],
) -> None:
    scan, costs = scan_of(layers)
    points = front(scan, costs)
    for cheaper, dearer in pairwise(points):
        assert cheaper.cost < dearer.cost
        assert cheaper.off > dearer.off
        assert cheaper.lost >= dearer.lost
    assert points[-1] == Point((), 0.0, costs.parent)
    most = sum(max(saved for saved, _ in options) for options in layers)
    assert points[0].cost == costs.parent - most


def test_many_layers_have_a_front_of_bounded_length_that_keeps_its_ends() -> None:
    layers = [[(90 - i, 0.01 * (i + 1)), (60 - i, 0.003 * (i + 1))] for i in range(40)]
    scan, costs = scan_of(layers)
    points = front(scan, costs)
    assert len(points) <= 2002
    assert points[0].cost == costs.parent - sum(options[0][0] for options in layers)
    assert points[-1] == Point((), 0.0, costs.parent)


def test_a_drop_that_no_layer_keeps_names_the_nearest() -> None:
    scan, costs = scan_of([[(80, 0.1)], [(70, 0.04)]])
    points = front(scan, costs)
    with pytest.raises(RewriteError, match=r"at most 1 points.*conv1 r=1, loses 2\.00 points"):
        choose(points, Goal("drop", 1), costs, 0.01)
    assert choose(points, Goal("drop", 3), costs, 0.03).choices == (("conv1", Choice(1)),)


@pytest.mark.parametrize(
    ("off", "lost"), [(0.0, 0.0), (0.1, 0.0), (0.15, 0.01), (0.2, 0.02), (0.4, 0.06), (1.2, 0.2)]
)
def test_the_loss_is_read_off_from_models_with_all_layers_replaced(off: float, lost: float) -> None:
    scan = replace(
        scan_of([[(80, 0.1)]])[0],
        together=(Together(0.6, 0.1), Together(0.2, 0.02), Together(0.1, -0.01)),
    )
    assert predicted(scan, off) == pytest.approx(lost)
