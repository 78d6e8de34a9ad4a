"""Recipes: written, read, and refused with the term and what may stand there."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit_converters import (
    Activations,
    Cluster,
    Distill,
    Lcrm,
    LowRank,
    NpuQat,
    Prune,
    Qat,
    Quantize,
    Recipe,
    RecipeError,
    parse_recipe,
)
from edgekit_converters.lcrm.rules import STYLES
from edgekit_converters.passes import SCHEMES
from edgekit_converters.recipe import SHORT_NAMES

patterns = st.from_regex(r"!?[a-z][a-z0-9_/*?]{0,8}", fullmatch=True)
lcrms = st.builds(
    Lcrm,
    style=st.sampled_from(STYLES),
    where=st.lists(patterns, max_size=3).map(tuple),
    keep_ends=st.booleans(),
)
inheriting = st.builds(
    Lcrm,
    where=st.lists(patterns, max_size=2).map(tuple),
    inherit=st.just(True),
    multiplier=st.integers(1, 4),
    spatial=st.booleans(),
    samples=st.integers(64, 5000),
)
shares = st.integers(1, 999).map(lambda share: share / 1000)
replacing = st.builds(
    Activations,
    st.sampled_from(["auto", "relu", "relu6", "hard_swish"]),
    st.lists(patterns, max_size=2).map(tuple),
)
factorising = st.builds(LowRank, shares | st.just(1), st.lists(patterns, max_size=2).map(tuple))
quantizes = st.sampled_from(SCHEMES).flatmap(
    lambda scheme: st.builds(
        Quantize,
        st.just(scheme),
        st.sampled_from(["float", "int"] if scheme in ("int8", "int16x8") else ["float"]),
    )
)
prunes = st.sampled_from(["any", "2:4", "4x1"]).flatmap(
    lambda pattern: st.builds(
        Prune,
        st.just(0.5) if pattern == "2:4" else shares,
        st.sampled_from(["polynomial", "constant"]),
        st.just(pattern),
        where=st.lists(patterns, max_size=2).map(tuple),
        depthwise=st.booleans(),
        allocation=st.sampled_from(["uniform", "energy"] if pattern == "any" else ["uniform"]),
    )
)
clusters = st.builds(
    Cluster,
    st.integers(3, 300),
    st.sampled_from(["kmeans++", "linear", "density", "random"]),
    per_channel=st.booleans(),
    where=st.lists(patterns, max_size=2).map(tuple),
    depthwise=st.booleans(),
)
qats = st.builds(Qat, st.sampled_from(["float", "int"]), st.lists(patterns, max_size=2).map(tuple))
npu_qats = st.builds(
    NpuQat,
    st.integers(3, 8),
    st.integers(2, 8),
    st.just(0) | shares,
    st.sampled_from(["float", "int"]),
    st.lists(patterns, max_size=2).map(tuple),
)
teaching = st.builds(Distill, st.integers(1, 50), st.integers(1, 9), shares | st.just(1))
recipes = st.tuples(
    st.none() | lcrms | inheriting,
    st.none() | replacing,
    st.none() | factorising,
    st.none() | teaching,
    st.none() | st.just(Prune()) | prunes,
    st.none() | st.just(Cluster()) | clusters,
    st.none() | quantizes | qats | npu_qats,
).map(
    lambda steps: Recipe(
        tuple(
            step
            for step in steps
            if step is not None and not (isinstance(step, Distill) and steps[:3] == (None,) * 3)
        )
    )
)


@given(recipes)
def test_what_is_written_reads_back_as_the_same_value(recipe: Recipe) -> None:
    assert parse_recipe(str(recipe)) == recipe
    assert hash(parse_recipe(str(recipe))) == hash(recipe)


READ = {
    "base": Recipe(),
    " Base ": Recipe(),
    "float32": Recipe((Quantize("float32"),)),
    "INT8": Recipe((Quantize("int8"),)),
    "LCRM": Recipe((Lcrm(),)),
    "lcrm()": Recipe((Lcrm(),)),
    "lcrm + int8": Recipe((Lcrm(), Quantize("int8"))),
    "lcrm(style=table4)+int16x8(io=int)": Recipe((Lcrm("table4"), Quantize("int16x8", "int"))),
    "lcrm(where=conv1)": Recipe((Lcrm(where=("conv1",)),)),
    "lcrm(where='a*, !b', keep_ends=false)+dynamic": Recipe(
        (Lcrm(where=("a*", "!b"), keep_ends=False), Quantize("dynamic"))
    ),
    'lcrm(where="a+b")': Recipe((Lcrm(where=("a+b",)),)),
    "lcrm(keep_ends=True)": Recipe((Lcrm(),)),
    "P": Recipe((Prune(0.5),)),
    "pcq": Recipe((Prune(0.5), Cluster(16), Qat())),
    "lcrm + CQ": Recipe((Lcrm(), Cluster(), Qat())),
    "prune(0.7)+cluster(8)+int8": Recipe((Prune(0.7), Cluster(8), Quantize("int8"))),
    "prune": Recipe((Prune(),)),
    "prune(sparsity=.5, schedule=constant)": Recipe((Prune(0.5, "constant"),)),
    "prune(pattern=2:4)": Recipe((Prune(pattern="2:4"),)),
    "prune(0.75, pattern=4x1, where='d*,!d2')": Recipe(
        (Prune(0.75, pattern="4x1", where=("d*", "!d2")),)
    ),
    "cluster(32, per_channel=true, depthwise=true)": Recipe(
        (Cluster(32, per_channel=True, depthwise=True),)
    ),
    "activations+low_rank": Recipe((Activations(), LowRank())),
    "lcrm(inherit=true, multiplier=2)+distill+int8": Recipe(
        (Lcrm(inherit=True, multiplier=2), Distill(), Quantize("int8"))
    ),
    "lcrm(spatial=true)+distill(4, weight=.5)+PQ": Recipe(
        (Lcrm(spatial=True), Distill(4, weight=0.5), Prune(), Qat())
    ),
    "low_rank(0.9)+activations(to=relu)": Recipe((LowRank(0.9), Activations("relu"))),
    "activations+lcrm": Recipe((Activations(), Lcrm())),
    "low_rank(energy=1, where='d*')": Recipe((LowRank(1, ("d*",)),)),
    "PC+npu_qat(3, activation_bits=6)": Recipe((Prune(), Cluster(), NpuQat(3, 6))),
    "npu_qat(energy_aware=0.1, io=int, where='!out')": Recipe(
        (NpuQat(4, 8, 0.1, "int", ("!out",)),)
    ),
    "prune(0.6, allocation=energy)": Recipe((Prune(0.6, allocation="energy"),)),
    "P+qat(io=int, where='!conv1')": Recipe((Prune(), Qat("int", ("!conv1",)))),
}


@pytest.mark.parametrize("text", READ)
def test_people_may_write_it_like_this(text: str) -> None:
    assert parse_recipe(text) == READ[text]


REFUSED = {
    "": "'' is no pass",
    "int4": "'int4' is no pass; choose from lcrm, activations, low_rank, distill, prune",
    "lcrm+": "'' is no pass",
    "lcrm++int8": "'' is no pass",
    "lcrm+base": "'base' is no pass",
    "lcrm,int8": "'lcrm,int8' is no pass",
    "lcrm(style=table4": "is no pass",
    "int8(4)": "name=value",
    "int8(io=int,io=int)": "'io' stands there twice",
    "int8(bits=4)": "no option 'bits'; it takes io",
    "int8(scheme=int8)": "no option 'scheme'",
    "lcrm(stile=table4)": "no option 'stile'; it takes style, where, keep_ends",
    "lcrm(style=fancy)": "choose one of equations, table4, notebook",
    "lcrm(keep_ends=maybe)": "true or false",
    "lcrm(keep_ends=1)": "true or false",
    "int8(io=short)": "choose float or int",
    "float32(io=int)": "only int8 and int16x8",
    "float16(io=int)": "only int8 and int16x8",
    "dynamic(io=int)": "only int8 and int16x8",
    "int8+lcrm": "int8 must come last",
    "float16+int8": "float16 must come last",
    "lcrm+lcrm": "lcrm may stand in a recipe once",
    "lcrm+lcrm(style=table4)+int8": "once",
    "prune(0)": "prune(sparsity=0): give the share",
    "prune(1)": "above 0 and below 1",
    "prune(-0.1)": "sparsity=-0.1",
    "prune(half)": "sparsity='half'",
    "prune(nan)": "sparsity='nan'",
    "prune(1e999)": "sparsity=inf",
    "prune(true)": "sparsity=True",
    "prune(0.5, 0.6)": "the first may be sparsity without its name",
    "prune(schedule=cosine)": "choose one of polynomial, constant",
    "prune(pattern=3x)": "2:4, or a block",
    "prune(0.6, pattern=2:4)": "are a sparsity of 0.5",
    "prune(depthwise=yes)": "true or false",
    "cluster(1)": "give 2 or more",
    "cluster(-3)": "give 2 or more",
    "cluster(2.5)": "a whole number",
    "cluster(many)": "a whole number",
    "cluster(initialisation=best)": "choose one of kmeans++, linear, density, random",
    "prune+cluster(2)": "give 3 centroids or more",
    "qat(io=short)": "choose float or int",
    "CP": "prune must come before cluster",
    "cluster+prune": "Write prune(0.5)+cluster(16)",
    "QP": "qat must come last",
    "P+lcrm": "lcrm must come before prune",
    "C+lcrm": "lcrm must come before cluster",
    "Q+int8": "qat writes an int8 file itself; leave int8 out",
    "Q+lcrm": "qat must come last",
    "int8+P": "int8 must come last",
    "low_rank+lcrm": "the factors would be gone. Write lcrm+low_rank(0.95)",
    "P+low_rank": "none of the zeros. Write low_rank(0.95)+prune(0.5)",
    "C+low_rank": "low_rank must come before cluster",
    "P+activations": "fill the zeros again. Write activations+prune(0.5)",
    "C+activations": "activations must come before cluster",
    "Q+activations": "qat must come last",
    "low_rank(0)": "low_rank(energy=0): give the share of the kernels' energy",
    "low_rank(1.5)": "above 0 and at most 1",
    "low_rank(many)": "energy='many'",
    "activations(swish)": "choose one of auto, relu, relu6, hard_swish",
    "activations+activations(relu)": "activations may stand in a recipe once",
    "npu_qat(9)": "npu_qat(weight_bits=9): give a whole number from 2 to 8",
    "npu_qat(1)": "from 2 to 8",
    "npu_qat(4.5)": "from 2 to 8",
    "npu_qat(activation_bits=true)": "activation_bits=True",
    "npu_qat(io=short)": "choose one of float, int",
    "npu_qat(energy_aware=1)": "energy's share of the loss, from 0 (none) to below 1",
    "npu_qat(energy_aware=much)": "energy_aware='much'",
    "npu_qat(2, energy_aware=0.1)": "2 bits are the fewest",
    "npu_qat+int8": "npu_qat writes an int8 file itself; leave int8 out",
    "npu_qat+qat": "both train the rounding of one int8 file",
    "Q+npu_qat": "leave one of them out",
    "npu_qat+P": "npu_qat must come last",
    "npu_qat+npu_qat(8)": "npu_qat must come last",
    "prune(allocation=even)": "choose one of uniform, energy",
    "prune(pattern=2:4, allocation=energy)": "a pattern fixes the share of zeros",
    "lcrm(inherit=1)": "lcrm(inherit=1): give true or false",
    "lcrm(multiplier=0)": "lcrm(multiplier=0): give a whole number from 1 on",
    "lcrm(multiplier=1.5)": "a whole number",
    "lcrm(inherit=true, samples=10)": "lcrm(samples=10): give a whole number from 64 on",
    "lcrm(samples=100)": "samples are what inherit=true and auto=true learn",
    "lcrm(style=table4, inherit=true)": "lcrm(style=table4, inherit=true): its layers have no",
    "lcrm(style=notebook, multiplier=2)": "leave out multiplier, or the style",
    "lcrm(style=notebook, spatial=true)": "it says what case 2 becomes",
    "lcrm(inherit=true, weights=fresh)": "throws it away",
    "distill": "the model would be its own teacher",
    "distill+int8": "put what changes it before",
    "lcrm+distill(dropout=off)": "distill(dropout='off'): give true or false",
    "lcrm+distill(0)": "distill(epochs=0): give a whole number from 1 on",
    "lcrm+distill(temperature=0)": "a number from 1",
    "lcrm+distill(temperature=hot)": "temperature='hot'",
    "lcrm+distill(weight=0)": "above 0 and at most 1",
    "lcrm+distill(weight=1.2)": "weight=1.2",
    "lcrm+distill+distill": "distill may stand in a recipe once",
    "activations+distill+lcrm": "what they were taught would be gone",
    "P+distill": "fill the zeros again. Write distill+prune(0.5)",
    "lcrm+Q+distill": "qat must come last",
    "PP": "prune may stand in a recipe once",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_recipe_is_refused_with_what_may_stand_there(text: str) -> None:
    with pytest.raises(RecipeError) as refusal:
        parse_recipe(text)
    assert REFUSED[text] in str(refusal.value)


@given(st.text("lcrmint8(=,')+!*aeo_ \"", max_size=25) | st.text(max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        recipe = parse_recipe(text)
    except RecipeError:
        return
    assert parse_recipe(str(recipe)) == recipe


def test_a_recipe_knows_what_it_rewrites_and_how_it_is_written_out() -> None:
    recipe = parse_recipe("lcrm+int8(io=int)")
    assert recipe.rewrites == (Lcrm(),)
    assert recipe.export == Quantize("int8", "int")
    assert parse_recipe("lcrm").export == Quantize("float32")
    assert parse_recipe("base").rewrites == ()
    assert parse_recipe("lcrm+PQ").rewrites == (Lcrm(), Prune(), Qat())
    assert parse_recipe("qat(io=int)").export == Quantize("int8", "int")


def test_distillation_trains_what_stands_before_it() -> None:
    recipe = parse_recipe("lcrm(inherit=true)+activations+distill+PC+int8")
    lcrm = Lcrm(inherit=True)
    assert recipe.stages == ((lcrm, Activations(), Distill()), (Prune(),), (Cluster(),))
    assert parse_recipe("lcrm+PQ").stages == ((Lcrm(),), (Prune(),), (Qat(),))
    assert parse_recipe("base").stages == parse_recipe("int8").stages == ()


@pytest.mark.parametrize("name", SHORT_NAMES)
@pytest.mark.parametrize("before", ["", "lcrm+"])
def test_cascades_are_called_as_in_the_paper(name: str, before: str) -> None:
    assert str(parse_recipe(before + name)) == before + name
    long = {"P": "prune(0.5)", "C": "cluster(16)", "Q": "qat"}
    written_out = "+".join(long[letter] for letter in name)
    assert str(parse_recipe(before + written_out)) == before + name


def test_a_cascade_of_other_options_says_them() -> None:
    assert str(parse_recipe("prune(0.7)+cluster(16)+qat")) == "prune(0.7)+CQ"
    assert str(parse_recipe("prune(0.5)+cluster(8)+qat")) == "P+cluster(8)+Q"


def test_recipes_need_no_tensorflow() -> None:
    script = (
        "import sys, edgekit_converters as ec; ec.parse_recipe('lcrm+int8'); "
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras', 'tf_keras')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_all_public_names_exist() -> None:
    import edgekit_converters

    for name in edgekit_converters.__all__:
        assert getattr(edgekit_converters, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = edgekit_converters.nonsense
