"""Advice: when it is given, and that its commands are commands."""

import shlex
from typing import Any

import pytest

from edgekit.advice import advise
from edgekit.cli.parser import parser
from edgekit.comparison import Advice, Row, Stage
from edgekit_converters import parse_recipe
from edgekit_device import Number

COMMAND = "edgekit compare m.keras --data digits"
ENERGY = Number.estimated(1.0, 0.5, 2.0)


def row(
    recipe: str, accuracy: float | None = 0.95, latency: float | None = 1.0, **more: Any
) -> Row:
    def number(value: float | None) -> Number:
        return Number.unavailable("failed") if value is None else Number.measured(value)

    known = Number.counted(1)
    fields: dict[str, Any] = {
        "recipe": recipe,
        "board": "local",
        "file": "f",
        "accuracy": number(accuracy),
        "parameters": known,
        "macs": known,
        "file_bytes": known,
        "gzip_bytes": known,
        "latency_p50_ms": number(latency),
        "peak_rss_bytes": known,
        "energy_j": ENERGY,
    }
    return Row(**{**fields, **more})


def stage(recipe: str = "lcrm", epochs: int = 20, **more: Any) -> Stage:
    changed = ("c1: depthwise (case 1.1)", "c2: pointwise 8 (case 2)", "c3: depthwise (case 3)")
    return Stage(recipe, recipe, 1.0, epochs, **{"changed": changed, **more})


def advice(
    rows: list[Row], *stages: Stage, epochs: int = 20, runtime: str = "litert"
) -> tuple[Advice, ...]:
    given = advise(rows, stages, epochs, COMMAND, {"local": runtime})
    for item in given:
        words = shlex.split(item.command)
        if words[:1] == ["edgekit"]:
            options = parser().parse_args(words[1:])
            for recipe in options.recipes:
                parse_recipe(recipe)
    return given


def test_a_comparison_without_fault_needs_no_advice() -> None:
    rows = [row("base"), row("int8", latency=0.5), row("lcrm", 0.945)]
    assert advice(rows, stage()) == ()


def test_training_that_was_cut_off_is_given_twice_the_epochs() -> None:
    (given,) = advice([row("base"), row("lcrm", 0.90)], stage(epochs=20))
    assert given.text.startswith("lcrm is 5.0 points under base and was still training after 20")
    assert given.command == f"{COMMAND} --epochs 40"


def test_training_that_ended_by_itself_is_told_to_keep_the_most_harmful_layer() -> None:
    (given,) = advice([row("base"), row("lcrm", 0.90)], stage(epochs=9))
    assert "ended by itself after 9 epochs; keep the convolution c2" in given.text
    recipes = parser().parse_args(shlex.split(given.command)[1:]).recipes
    assert parse_recipe(recipes[0]).passes[0].where == ("!c2",)


def test_without_a_case_2_the_last_substitute_is_kept() -> None:
    (given,) = advice(
        [row("base"), row("lcrm", 0.90)],
        stage(epochs=9, changed=("a: x (case 3)", "b: y (case 1.1)")),
    )
    assert "keep the convolution b," in given.text


def test_with_one_substitute_there_is_none_to_keep() -> None:
    (given,) = advice([row("base"), row("lcrm", 0.90)], stage(epochs=9, changed=("a: x (case 2)",)))
    assert "keep the convolution" not in given.text
    assert given.command.endswith("--recipes 'lcrm(weights=fresh)'")


def test_the_options_of_the_pass_stay() -> None:
    name = "lcrm(style=table4, where='c*')"
    (given,) = advice([row("base"), row(name, 0.90)], stage(name, epochs=9))
    recipes = parser().parse_args(shlex.split(given.command)[1:]).recipes
    (gentler,), (fresh,) = (parse_recipe(recipe).passes for recipe in recipes)
    assert (gentler.style, gentler.where) == ("table4", ("c*", "!c2"))
    assert (fresh.style, fresh.where, fresh.weights) == ("table4", ("c*",), "fresh")


def test_no_shell_expands_what_the_command_holds() -> None:
    """In an interactive shell "!" means history unless single quotes hold it."""
    (given,) = advice([row("base"), row("lcrm", 0.90)], stage(epochs=9))
    assert "!" in given.command
    quote = ""
    for letter in given.command:
        if letter in "'\"" and quote in ("", letter):
            quote = "" if quote else letter
        assert letter != "!" or quote == "'"


@pytest.mark.parametrize("lost", [0.0, 0.009], ids=["nothing", "under a point"])
def test_a_loss_that_test_data_hardly_show_is_no_reason(lost: float) -> None:
    assert advice([row("base"), row("lcrm", 0.95 - lost)], stage()) == ()


@pytest.mark.parametrize(
    "rows",
    [
        [row("base", None), row("lcrm", 0.5)],
        [row("base"), row("lcrm", None)],
        [row("base"), row("lcrm+int8", 0.94, latency=0.5)],
    ],
    ids=["base unknown", "recipe unknown", "stage without a row"],
)
def test_what_is_not_known_is_not_judged(rows: list[Row]) -> None:
    assert advice(rows, stage()) == ()


def test_int8_that_is_no_faster_on_tflite_runtime_is_sent_to_the_other_runtime() -> None:
    (given,) = advice([row("base"), row("int8", latency=0.96)], runtime="tflite-runtime")
    assert "int8 is no faster than base on local" in given.text
    assert given.command == f"{COMMAND} --runtime litert"


def test_int8_that_is_no_faster_on_litert_is_not_sent_to_litert() -> None:
    (given,) = advice([row("base"), row("int8", latency=1.2)])
    assert "int8 is no faster than base on local" in given.text
    assert given.command == ""


def test_recipes_that_end_in_q_are_int8_as_well() -> None:
    rows = [row("base"), row("int8", latency=1.2), row("PCQ", latency=1.1), row("PC", latency=1.1)]
    (given,) = advice(rows)
    assert given.text.startswith("int8 and PCQ are no faster than base on local")


def tuned(recipe: str, name: str, epochs: int = 10, lost: float = 0.0) -> Stage:
    return Stage(recipe, name, 1.0, epochs, accuracy_before=0.95, accuracy_after=0.95 - lost)


@pytest.mark.parametrize(
    ("recipe", "name", "milder"),
    [
        ("P", "prune(0.5)", "prune(0.3)"),
        ("prune(pattern=2:4)", "prune(0.5, pattern=2:4)", "P"),
        ("C", "cluster(16)", "cluster(32)"),
        ("Q", "qat", "int16x8"),
        ("npu_qat(4)", "npu_qat(4)", "npu_qat(5)"),
        ("npu_qat(8)", "npu_qat(8)", "int16x8"),
        ("low_rank(0.9)", "low_rank(0.9)", "low_rank(0.95)"),
        ("activations", "activations", "activations(to=hard_swish)"),
    ],
)
def test_a_tuned_stage_that_lost_is_given_more_epochs_or_a_milder_pass(
    recipe: str, name: str, milder: str
) -> None:
    recipe = str(parse_recipe(recipe))
    rows = [row("base"), row(recipe, 0.90, 0.5, stages=(recipe,))]
    (given,) = advice(rows, tuned(recipe, name))
    assert given.text.startswith(f"{recipe} is 5.0 points under base and")
    assert "was still training after 10 epochs" in given.text
    options = parser().parse_args(shlex.split(given.command)[1:])
    assert options.recipes == [recipe, milder]
    assert options.tuning_epochs == 20
    (given,) = advice(rows, tuned(recipe, name, epochs=6))
    assert "ended by itself after 6 epochs" in given.text
    assert given.command == f"{COMMAND} --recipes {shlex.quote(milder)}"


def test_of_a_cascade_the_stage_that_lost_is_told_once() -> None:
    names = ("lcrm", "lcrm+P", "lcrm+PC", "lcrm+PCQ")
    passes = ("lcrm", "prune(0.5)", "cluster(16)", "qat")
    scores = (0.948, 0.946, 0.91, 0.905)
    stages = [tuned(recipe, name) for recipe, name in zip(names, passes, strict=True)]
    rows = [row("base")] + [
        row(recipe, score, 0.5, stages=names[: place + 1])
        for place, (recipe, score) in enumerate(zip(names, scores, strict=True))
    ]
    (given,) = advice(rows, *stages)
    assert given.text.startswith("lcrm+PC is 4.0 points under base and cluster(16) was still")
    assert "lcrm+P+cluster(32)" in given.command


def test_without_the_files_between_the_validation_split_says_which_stage_lost() -> None:
    rows = [row("base"), row("PC", 0.90, stages=("P", "PC"))]
    (given,) = advice(rows, tuned("P", "prune(0.5)", lost=0.04), tuned("PC", "cluster(16)"))
    assert "PC is 5.0 points under base, most of it lost by prune(0.5)" in given.text
    assert "prune(0.3)+C" in given.command


def test_quantisation_after_training_is_no_stage_to_blame() -> None:
    rows = [row("base"), row("P"), row("P+int8", 0.90, 0.5, stages=("P",))]
    assert advice(rows, tuned("P", "prune(0.5)")) == ()


def test_speed_is_compared_on_the_same_board() -> None:
    slow = {"board": "pi"}
    rows = [row("base", latency=10, **slow), row("int8", latency=5, **slow), row("base", latency=1)]
    assert advice(rows) == ()


def test_int8_that_costs_accuracy_is_offered_what_gives_it_back_once() -> None:
    rows = [row("base"), row("int8", 0.92, latency=0.5)]
    (given,) = advice(rows)
    assert given.text.startswith("int8 costs 3.0 points")
    assert given.command == f"{COMMAND} --recipes base int8 Q int16x8"
    assert advice([*rows, row("int16x8", 0.95, latency=0.5)]) == ()
    assert advice([*rows, row("Q", 0.95, latency=0.5)]) == ()


def test_missing_energy_is_explained_unless_the_row_failed_anyway() -> None:
    none = Number.unavailable("no profile")
    (given,) = advice([row("base", energy_j=none)])
    assert given.text.startswith("No energy: no profile. A board of your own")
    assert given.command == f"{COMMAND} --board qemu:pi4"
    assert advice([row("base"), row("int8", 0.95, None, energy_j=none, error="crashed")]) == ()


def test_what_inherited_is_given_more_channels_and_what_was_taught_more_epochs() -> None:
    changed = ("out: refitted, explains 90%", "c1: depthwise (fitted, explains 80%; case 1.1)")
    name = "lcrm(inherit=true)"
    left = stage(name, 9, changed=changed)
    (given,) = advice([row("base"), row(name, 0.90)], left)
    assert "ended by itself after 9 epochs; give its depthwise layers 2 kernels" in given.text
    assert given.command.endswith("--recipes 'lcrm(inherit=true, multiplier=2)'")
    both = stage(name, 9, changed=(*changed, "c2: pointwise 8 (fitted, explains 70%; case 2)"))
    (given,) = advice([row("base"), row(name, 0.90)], both)
    assert "keep the convolution c2" in given.text
    name += "+distill"
    (given,) = advice([row("base"), row(name + "+P", 0.90, stages=(name,))], stage(name, 8))
    assert given.text == f"{name}+P is 5.0 points under base after 8 epochs of distillation; " + (
        "give it more."
    )
    assert given.command.endswith("--recipes 'lcrm(inherit=true)+distill(epochs=16)'")
