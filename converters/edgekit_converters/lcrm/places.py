"""What substitutes would save where a model is to run: each layer as a model of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from edgekit_converters.errors import RewriteError
from edgekit_converters.graph import Call, read_graph
from edgekit_converters.lcrm.front import Costs
from edgekit_converters.lcrm.plan import describe
from edgekit_converters.lcrm.rewrite import build_substitute
from edgekit_converters.lcrm.rules import Choice, substitute
from edgekit_converters.lcrm.scan import Scan


@dataclass(frozen=True)
class Place:
    """A board or an NPU: `price` gives what one inference of each model costs there, in `unit`."""

    name: str
    unit: str
    price: Callable[[Sequence[Any]], list[float]]


def place_costs(model: Any, scan: Scan, place: Place) -> Costs:
    """What the parent costs at the place, and what each of the scan's choices saves there.

    A convolution and its substitutes are priced as models of one layer, so that what a call itself
    costs cancels out.

    Raises:
        RewriteError: the graph leaves open what a convolution sees.
    """
    calls = {call.path: call for call in read_graph(model).calls}
    paths = list(dict.fromkeys(trial.path for trial in scan.trials))
    tried = [(trial.path, trial.choice) for trial in scan.trials]
    models = [
        model,
        *(_alone(calls[path]) for path in paths),
        *(_alone(calls[path], choice) for path, choice in tried),
    ]
    parent, *prices = place.price(models)
    before = dict(zip(paths, prices, strict=False))
    after = dict(zip(tried, prices[len(paths) :], strict=True))
    return Costs(place.unit, parent, {key: before[key[0]] - cost for key, cost in after.items()})


def _alone(call: Call, choice: Choice | None = None) -> Any:
    """The convolution, or a substitute of it, as a model with random weights."""
    conv = call.layer
    shape = call.input_shapes[0]
    if None in shape[1:]:
        raise RewriteError(
            f"lcrm(auto=true): {call.path} sees {shape}, whose open sizes leave open what it costs "
            "on a place; build the model with fixed sizes, or give a target in parameters."
        )
    given = keras.Input(shape[1:])
    if choice is None:
        made = type(conv).from_config(conv.get_config())(given)
        return keras.Model(given, made, name=conv.name)
    found = substitute(describe(call).channels_in, conv.filters, "equations", choice)
    made = build_substitute(conv, found, shape)(given)
    return keras.Model(given, made, name=f"{conv.name}_substitute")
