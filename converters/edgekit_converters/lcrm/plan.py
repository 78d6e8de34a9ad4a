"""Which convolutions of a graph LCRM replaces, by what, and why it leaves the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras

from edgekit_converters.complexity import macs, parameters, total_macs
from edgekit_converters.errors import RewriteError
from edgekit_converters.graph import Call, Graph, inner_layers
from edgekit_converters.lcrm import rules
from edgekit_converters.lcrm.rules import STYLES, Case, Choice, Convolution, Style, Substitute
from edgekit_converters.where import check_where, selected

_SMALL_SHARE = 0.01
_CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)
_NORMALISATIONS = (
    "BatchNormalization",
    "GroupNormalization",
    "LayerNormalization",
    "LayerScale",
    "Normalization",
    "PReLU",
    "UnitNormalization",
)


@dataclass(frozen=True)
class Decision:
    """What LCRM does with one convolution. MACs are None where the graph leaves sizes open.

    `share` is the convolution's part of the model's MACs, or, where `all_counted` is False, of
    those that can be counted. A frozen convolution's substitute is trained all the same.
    """

    path: str
    layer_type: str
    case: Case | None
    substitute: Substitute | None
    reason: str
    parameters_before: int
    parameters_after: int
    macs_before: int | None
    macs_after: int | None
    share: float | None
    all_counted: bool = True
    frozen: bool = False

    @property
    def verdict(self) -> str:
        """In a plain word, whether the substitution will pay."""
        if self.substitute is None:
            return f"left: {self.reason}"
        if self.macs_before is None or self.macs_after is None or self.share is None:
            return "cannot say: the graph leaves sizes open"
        saved = 1 - self.macs_after / self.macs_before
        if saved <= 0:
            return "no: it computes as much as before"
        if self.share < _SMALL_SHARE:
            return f"little: {saved:.0%} of a layer that is {self.share:.1%} of {self._whole}"
        return f"yes: saves {saved * self.share:.0%} of {self._whole}"

    @property
    def _whole(self) -> str:
        return "the model's MACs" if self.all_counted else "the MACs that can be counted"


def plan_lcrm(
    graph: Graph,
    *,
    style: Style = "equations",
    where: tuple[str, ...] = (),
    keep_ends: bool = True,
    multiplier: int = 1,
    spatial: bool = False,
    choices: Mapping[str, Choice] | None = None,
) -> tuple[Decision, ...]:
    """Decides for every convolution of the graph, in execution order.

    `where` holds layer-path patterns (`*` and `?`); one that starts with `!` excludes. With
    `keep_ends` the convolutions that read a model input, and those that feed a model output with no
    layer with weights in between, stay (the paper's initial and final layers). `multiplier` and
    `spatial` are every layer's `rules.Choice`; with `choices` only the layers named there, by path,
    are replaced, each by its own.

    Raises:
        RewriteError: unknown style, or a pattern that matches no convolution.
    """
    if style not in STYLES:
        raise RewriteError(f"lcrm knows no style {style!r}; choose one of {', '.join(STYLES)}.")
    usual = Choice(multiplier, spatial)
    convolutions = convolution_calls(graph)
    check_where("lcrm", "convolution", where, [call.path for call in convolutions])
    total, unknown = total_macs(graph)
    staying = why_left(graph, convolutions, where=where, keep_ends=keep_ends)
    decisions = []
    for call in convolutions:
        unchosen = choices is not None and call.path not in choices
        left = staying.get(call.path, "") or ("kept by choice" if unchosen else "")
        choice = usual if choices is None else choices.get(call.path, usual)
        decision = _left(call, left, total) if left else _replaced(call, style, choice, total)
        decisions.append(replace(decision, all_counted=not unknown))
    return tuple(decisions)


def convolution_calls(graph: Graph) -> list[Call]:
    """The first call of every layer that is a convolution or holds one."""
    return _unique(call for call in graph.calls if _holds_convolution(call.layer))


def why_left(
    graph: Graph, convolutions: list[Call], *, where: tuple[str, ...] = (), keep_ends: bool = True
) -> dict[str, str]:
    """Why some convolutions stay whatever would replace them, by path; no other is named."""
    shared = {layer for layer, times in graph.times_called().items() if times > 1}
    first, last = (_firsts(graph), _lasts(graph)) if keep_ends else (set(), set())
    reasons = {
        call.path: _foreign(call.layer)
        or ("excluded by where" if not selected(call.path, where) else "")
        or ("shared: the same weights serve several calls" if id(call.layer) in shared else "")
        or ("first convolution" if id(call.layer) in first else "")
        or ("last convolution: it makes the output" if id(call.layer) in last else "")
        for call in convolutions
    }
    return {path: reason for path, reason in reasons.items() if reason}


def normalisations_behind(graph: Graph, paths: set[str]) -> set[str]:
    """The batch normalisations that see what the layers at `paths` compute, by path.

    Their statistics fit the old layers; other layers with weights end the search.
    """
    reached: set[int] = set()
    found: set[str] = set()
    for call in graph.calls:
        if call.path in paths:
            reached.update(call.outputs)
        elif reached.intersection(call.inputs):
            if isinstance(call.layer, keras.layers.BatchNormalization):
                found.add(call.path)
            if not _has_kernel(call.layer):
                reached.update(call.outputs)
    return found


def describe(call: Call) -> Convolution:
    """A Conv2D call as the rules see it."""
    layer = call.layer
    space = slice(2, 4) if layer.data_format == "channels_first" else slice(1, 3)
    channel_axis = 1 if layer.data_format == "channels_first" else -1
    input_size, output_size = call.input_shapes[0][space], call.output_shapes[0][space]
    return Convolution(
        kernel=tuple(layer.kernel_size),
        channels_in=int(call.input_shapes[0][channel_axis] or 0),
        filters=layer.filters,
        input_size=(input_size[0], input_size[1]),
        output_size=(output_size[0], output_size[1]),
        use_bias=layer.use_bias,
    )


def _replaced(call: Call, style: Style, choice: Choice, total: int) -> Decision:
    conv = describe(call)
    case = rules.lcrm_case(conv.channels_in, conv.filters)
    replacement = rules.substitute(conv.channels_in, conv.filters, style, choice)
    before, after = rules.convolution_macs(conv), rules.substitute_macs(conv, replacement)
    deep = any(isinstance(layer, rules.Depthwise) for b in replacement.branches for layer in b)
    strides = tuple(call.layer.strides)
    fewer = rules.substitute_parameters(conv, replacement) < rules.convolution_parameters(conv)
    if deep and strides[0] != strides[1]:
        left = f"strides {strides}: a depthwise convolution needs equal strides"
    elif not fewer:
        left = f"{replacement} would have no fewer parameters"
    else:
        return Decision(
            path=call.path,
            layer_type=type(call.layer).__name__,
            case=case,
            substitute=replacement,
            reason="",
            parameters_before=rules.convolution_parameters(conv),
            parameters_after=rules.substitute_parameters(conv, replacement),
            macs_before=before,
            macs_after=after,
            share=before / total if before is not None and total else None,
            frozen=not call.layer.trainable,
        )
    return _left(call, left, total)


def _left(call: Call, reason: str, total: int) -> Decision:
    count, work = parameters(call.layer), macs(call)
    standard = type(call.layer) is keras.layers.Conv2D and call.layer.groups == 1
    conv = describe(call) if standard else None
    return Decision(
        path=call.path,
        layer_type=type(call.layer).__name__,
        case=rules.lcrm_case(conv.channels_in, conv.filters) if conv else None,
        substitute=None,
        reason=reason,
        parameters_before=count,
        parameters_after=count,
        macs_before=work,
        macs_after=work,
        share=work / total if work is not None and total else None,
    )


def _foreign(layer: Any) -> str:
    """Why this is no standard convolution that Algorithm 1 speaks of; empty if it is one."""
    name = type(layer).__name__
    if name.endswith("Transpose"):
        return "transposed convolution"
    if isinstance(layer, keras.layers.SeparableConv2D | keras.layers.DepthwiseConv2D):
        return "already depthwise"
    if isinstance(layer, keras.layers.Conv2D):
        if type(layer) is not keras.layers.Conv2D:
            return f"{name} is a class of its own: what it computes is not known"
        if layer.groups > 1:
            return f"grouped convolution ({layer.groups} groups)"
        if tuple(layer.kernel_size) == (1, 1):
            return "already pointwise"
        return ""
    if isinstance(layer, _CONVOLUTIONS):
        return "not two-dimensional"
    return f"inside {name}, which is not opened"


def _holds_convolution(layer: Any) -> bool:
    return any(isinstance(inner, _CONVOLUTIONS) for inner in inner_layers(layer))


def _has_kernel(layer: Any) -> bool:
    return bool(getattr(layer, "weights", ())) and type(layer).__name__ not in _NORMALISATIONS


def _firsts(graph: Graph) -> set[int]:
    untouched, found = set(graph.inputs), set()
    for call in graph.calls:
        if untouched.intersection(call.inputs):
            if _has_kernel(call.layer):
                found.add(id(call.layer))
            else:
                untouched.update(call.outputs)
    return found


def _lasts(graph: Graph) -> set[int]:
    final, found = set(graph.outputs), set()
    for call in reversed(graph.calls):
        if final.intersection(call.outputs):
            if _has_kernel(call.layer):
                found.add(id(call.layer))
            else:
                final.update(call.inputs)
    return found


def _unique(calls: Any) -> list[Call]:
    seen: dict[int, Call] = {}
    for call in calls:
        seen.setdefault(id(call.layer), call)
    return list(seen.values())
