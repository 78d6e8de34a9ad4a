"""Costly activation functions replaced by ones that an NPU computes as a single integer operator.

The choice is data: `CHEAP`. What a gate does (the sigmoid of squeeze-and-excite) and what makes the
model's output is left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from edgekit_converters.errors import RewriteError
from edgekit_converters.graph import Call, Graph, read_graph
from edgekit_converters.lcrm.plan import normalisations_behind
from edgekit_converters.outcome import Outcome
from edgekit_converters.passes import Activations
from edgekit_converters.retrained import retrained
from edgekit_converters.rewriting import Replacement, rewrite
from edgekit_converters.train import Progress, Training, TrainingData
from edgekit_converters.where import check_where, selected

CHEAP: dict[str, tuple[str, str]] = {
    "silu": ("hard_silu", "its piecewise form (Howard et al. 2019, MobileNetV3)"),
    "gelu": ("hard_silu", "x sigmoid(1.702 x) is nearly GELU (Hendrycks and Gimpel 2016)"),
    "mish": ("hard_silu", "it differs from swish by less than 0.2 everywhere"),
    "elu": ("leaky_relu", "it keeps a negative branch, without an exponential"),
    "celu": ("leaky_relu", "it keeps a negative branch, without an exponential"),
    "selu": ("leaky_relu", "it keeps a negative branch, without an exponential"),
    "softplus": ("relu", "its limit on both sides"),
    "squareplus": ("relu", "its limit on both sides"),
    "sparse_plus": ("relu", "its limit on both sides"),
    "tanh": ("hard_tanh", "the identity around 0 between -1 and 1 too; a clamp"),
    "softsign": ("hard_tanh", "between -1 and 1 too; a clamp"),
}
"""Costly activation -> what `to=auto` takes, and why. Names are those of `keras.activations`."""

_STAYING = {
    "sigmoid": "one integer operator as it is (LOGISTIC), while a hard sigmoid is two, which stay "
    "float behind qat",
    **dict.fromkeys(
        ("exponential", "hard_shrink", "log_sigmoid", "soft_shrink", "sparse_sigmoid",
         "tanh_shrink"),
        "no cheap activation is near it",
    ),
}  # fmt: skip
"""Activations that `auto` leaves, and why; any other choice replaces them."""

_ON_DEMAND = {"sigmoid": "hard_sigmoid"}
"""What `auto` takes for an activation that it leaves, where a pattern names the layer."""

_BOUNDED = ("hard_sigmoid", "hard_tanh", "sigmoid", "softsign", "sparse_sigmoid", "tanh")
_OPERATIONS = {
    "Celu": "celu", "Elu": "elu", "Gelu": "gelu", "Mish": "mish", "Selu": "selu",
    "Sigmoid": "sigmoid", "Silu": "silu", "Softplus": "softplus", "Softsign": "softsign",
    "SparsePlus": "sparse_plus", "SparseSigmoid": "sparse_sigmoid", "Squareplus": "squareplus",
    "Tanh": "tanh",
}  # fmt: skip
"""Bare operations that are activations."""
_PRODUCTS = ("Dot", "Einsum", "Matmul", "Multiply")
_HANDING_ON = (
    "BroadcastTo", "Concatenate", "Dropout", "ExpandDims", "Flatten", "GetItem", "Identity",
    "Permute", "RepeatVector", "Rescaling", "Reshape", "Resizing", "Squeeze", "Subtract",
    "Transpose", "UpSampling1D", "UpSampling2D",
)  # fmt: skip
"""Between a gate's sigmoid and its product there may be these."""


def activations(
    model: Any,
    step: Activations,
    data: TrainingData | None,
    training: Training,
    progress: Progress | None,
) -> Outcome:
    """Replaces activations in a copy of the model and, where there are data, trains it.

    Raises:
        RewriteError: no activation to replace, or a pattern that matches no layer.
    """
    graph = read_graph(model)
    check_where("activations", "layer", step.where, [call.path for call in graph.calls])
    ends, gates = output_activations(graph), gate_activations(graph)
    replacements: dict[str, Replacement] = {}
    changed, skipped, seen = [], [], set()
    for call in graph.calls:
        name = activation_name(call.layer)
        if name not in CHEAP and name not in _STAYING:
            continue
        reason = _left(call, name, step, ends, gates)
        target: str = step.to
        if step.to == "auto":
            target, _ = CHEAP.get(name, (_ON_DEMAND.get(name, ""), ""))
        if not reason:
            replacements[call.path] = _replacing(target)
        if id(call.layer) in seen:
            continue
        seen.add(id(call.layer))
        if reason:
            skipped.append((call.path, f"{name}: {reason}"))
        else:
            frozen = "" if getattr(call.layer, "trainable", True) else "was frozen, now trained; "
            changed.append(f"{call.path}: {frozen}{name} becomes {target}")
    if not changed:
        reasons = "; ".join(f"{path}: {reason}" for path, reason in skipped[:3])
        raise RewriteError(
            f"{step} finds no activation to replace in {model.name!r} "
            f"({reasons or 'all of them are cheap already'}); leave activations out."
        )
    thawed = {*replacements, *normalisations_behind(graph, set(replacements))}
    result = rewrite(model, replacements, thawed=thawed)
    return retrained(
        model, result, data, training.tuning, progress,
        changed=tuple(changed), skipped=tuple(skipped),
    )  # fmt: skip


def activation_name(layer: Any) -> str:
    """The name of the activation that a layer or operation computes; empty where it has none."""
    kind = type(layer).__name__
    if not isinstance(layer, keras.layers.Layer):
        return _OPERATIONS.get(kind, "")
    if isinstance(layer, keras.layers.ELU):
        return "elu"
    if isinstance(layer, keras.layers.Wrapper):
        return activation_name(layer.layer)
    function = getattr(layer, "activation", None)
    if isinstance(function, keras.layers.Layer):
        return activation_name(function)
    name = getattr(function, "__name__", "")
    return name if function is getattr(keras.activations, name, None) else ""


def _left(call: Call, name: str, step: Activations, ends: set[int], gates: set[int]) -> str:
    """Why an activation stays; empty if it is replaced."""
    layer, kind = call.layer, type(call.layer).__name__
    if not selected(call.path, step.where):
        return "excluded by where"
    if isinstance(layer, keras.layers.RNN | keras.layers.Bidirectional):
        return f"inside {kind}, whose gates were trained with it"
    if isinstance(layer, keras.layers.Wrapper):
        return f"inside {kind}, which is not opened"
    if isinstance(layer, keras.layers.Layer) and type(layer) is not getattr(
        keras.layers, kind, None
    ):
        return f"{kind} is a class of its own: what it computes is not known"
    if id(layer) in ends:
        return "it makes the output"
    named = any(not pattern.startswith("!") for pattern in step.where)
    if id(layer) in gates and not named:
        return f"a gate: it is multiplied with another tensor; where='{call.path}' takes it"
    if step.to == "auto" and name in _STAYING and not (named and name in _ON_DEMAND):
        return f"{_STAYING[name]}; to=relu6 replaces it"
    return ""


def _replacing(target: str) -> Replacement:
    """What puts the target in the place of a layer's activation; other weights stay."""

    def replace(layer: Any) -> Callable[[Any], Any]:
        if not isinstance(layer, keras.layers.Layer) or isinstance(layer, keras.layers.ELU):
            policy = getattr(layer, "dtype_policy", None)
            alone: Callable[[Any], Any]
            alone = keras.layers.Activation(target, name=layer.name, dtype=policy)
            return alone
        config = {**layer.get_config(), "activation": target, "trainable": True}
        made = type(layer).from_config(config)

        def apply(tensor: Any) -> Any:
            result = made(tensor)
            made.set_weights(layer.get_weights())
            return result

        return apply

    return replace


def output_activations(graph: Graph) -> set[int]:
    """The layers (by `id`) whose activation is the last on the way to an output."""
    final, found = set(graph.outputs), set()
    for call in reversed(graph.calls):
        if not final.intersection(call.outputs):
            continue
        if _ends_a_path(call.layer):
            found.add(id(call.layer))
        else:
            final.update(call.inputs)
    return found


def _ends_a_path(layer: Any) -> bool:
    """Whether nothing in front of a layer is the output's own activation."""
    return bool(activation_name(layer) not in ("", "linear") or getattr(layer, "weights", ()))


def gate_activations(graph: Graph) -> set[int]:
    """The layers (by `id`) whose bounded activation is multiplied with another tensor."""
    multiplied: set[int] = set()
    found = set()
    for call in reversed(graph.calls):
        kind = type(call.layer).__name__
        if kind in _PRODUCTS and len(call.inputs) > 1:
            multiplied.update(call.inputs)
        elif multiplied.intersection(call.outputs):
            if activation_name(call.layer) in _BOUNDED:
                found.add(id(call.layer))
            elif kind in _HANDING_ON:
                multiplied.update(call.inputs)
    return found
