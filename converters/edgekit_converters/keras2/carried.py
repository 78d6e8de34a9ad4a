"""Keras 3 layers, operations and functions inside tf_keras models."""

from __future__ import annotations

import itertools
import weakref
from typing import Any, cast

import keras
import tensorflow as tf
import tf_keras

_lent: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
"""What configurations name by a token; whoever was made from one keeps the thing itself alive."""
_numbers = itertools.count()


class CarriedCall:
    """One call of a Keras 3 operation: its arguments, with tensors put in when it is called.

    Args:
        operation: a layer, an operation or a function.
        args: its positional arguments, with tf_keras tensors in them.
        kwargs: its keyword arguments, likewise.
        masked: which of the tensors, counted flat, come with a Keras mask.
        first: whether this is the layer's first call, whose losses hold those of the weights.
    """

    def __init__(
        self,
        operation: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        masked: tuple[int, ...] = (),
        first: bool = True,
    ) -> None:
        self.operation = operation
        self.masked_outputs: tuple[int, ...] = ()
        self._structure = (args, kwargs)
        self._values = keras.tree.flatten(self._structure)
        self._places = [i for i, value in enumerate(self._values) if is_symbolic(value)]
        for place in self._places:
            self._values[place] = None
        self._masked, self._first = masked, first

    @property
    def variables(self) -> list[Any]:
        """The operation's Keras 3 variables."""
        return list(getattr(self.operation, "variables", ()))

    def __call__(self, tensors: list[Any], training: Any) -> tuple[list[Any], list[Any]]:
        """The outputs, those masks that they have behind them, and the losses."""
        # Keras 3 does not have its layers converted either.
        run = tf.autograph.experimental.do_not_convert(self._run)
        return cast("tuple[list[Any], list[Any]]", run(tensors, training))

    def _run(self, tensors: list[Any], training: Any) -> tuple[list[Any], list[Any]]:
        args, kwargs = self._filled(tensors)
        if not isinstance(self.operation, keras.layers.Layer):
            return self._flat(self.operation(*args, **kwargs)), []
        known = tf.get_static_value(training) if tf.is_tensor(training) else bool(training)
        if known is None:
            # The losses of a branch cannot leave it.
            return tf.cond(
                tf.cast(training, tf.bool),
                lambda: self._flat(self.operation(*args, **kwargs, training=True)),
                lambda: self._flat(self.operation(*args, **kwargs, training=False)),
            ), []
        outputs = self._flat(self.operation(*args, **kwargs, training=bool(known)))
        losses = list(self.operation.losses)
        of_weights = sum(v.regularizer is not None for v in self.operation.trainable_variables)
        # Keras 3 gives the losses of the weights last, and adds them once for all calls.
        return outputs, losses if self._first else losses[: len(losses) - of_weights]

    def _filled(self, tensors: list[Any]) -> Any:
        values, count = list(self._values), len(self._places)
        masks = dict(zip(self._masked, tensors[count:], strict=True))
        for i, (place, tensor) in enumerate(zip(self._places, tensors[:count], strict=True)):
            values[place] = _with_mask(tensor, masks[i]) if i in masks else tensor
        return keras.tree.pack_sequence_as(self._structure, values)

    def _flat(self, outputs: Any) -> list[Any]:
        flat = keras.tree.flatten(outputs)
        masks = [mask_of(tensor) for tensor in flat]
        self.masked_outputs = tuple(i for i, mask in enumerate(masks) if mask is not None)
        # Both Kerases keep masks in the same attribute; tf_keras' layers must not see it.
        bare = [
            tensor if mask is None else tf.identity(tensor)
            for tensor, mask in zip(flat, masks, strict=True)
        ]
        return [*bare, *(tf.convert_to_tensor(masks[i]) for i in self.masked_outputs)]


@tf_keras.utils.register_keras_serializable("edgekit")
class Carried(tf_keras.layers.Layer):  # type: ignore[misc]
    """One call of a Keras 3 layer or operation.

    Copies of this layer share what they call, with its weights, which are trained and counted as
    the layer's own; so are its regularisation losses. Its weights' constraints are not enforced.
    Masks are tensors among the inputs and outputs.
    """

    def __init__(self, token: str, **settings: Any) -> None:
        # Keras 3 casts the inputs itself, and not every one of them.
        super().__init__(autocast=False, **settings)
        self.token = token
        self.carried = _lent[token]
        self.carried_variables = [variable.value for variable in self.carried.variables]

    @property
    def trainable_weights(self) -> list[Any]:
        """What Keras 3 trains: a variable that was frozen later does not know it itself."""
        if not self.trainable:
            return []
        return [variable.value for variable in self.carried.variables if variable.trainable]

    @property
    def non_trainable_weights(self) -> list[Any]:
        """The other variables, those of random generators too."""
        return [
            variable.value
            for variable in self.carried.variables
            if not (self.trainable and variable.trainable)
        ]

    def call(self, inputs: Any, training: Any = None) -> Any:
        """Calls the Keras 3 layer on the tensors."""
        given = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        outputs, losses = self.carried(given, training)
        for loss in losses:
            self.add_loss(loss)
        return outputs[0] if len(outputs) == 1 else outputs

    def get_config(self) -> dict[str, Any]:
        """The carried call by its token, valid in this process while a model holds the call."""
        return {**super().get_config(), "token": self.token}


@tf_keras.utils.register_keras_serializable("edgekit")
class CarriedFunction(
    tf_keras.regularizers.Regularizer,  # type: ignore[misc]
    tf_keras.constraints.Constraint,  # type: ignore[misc]
):
    """A Keras 3 regularizer or constraint that tf_keras does not have."""

    def __init__(self, token: str) -> None:
        self._token, self._function = token, _lent[token]

    def __call__(self, weight: Any) -> Any:
        """What the Keras 3 one gives."""
        return self._function(weight)

    def get_config(self) -> dict[str, Any]:
        """The function by its token, valid in this process while a layer holds it."""
        return {"token": self._token}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> CarriedFunction:
        """Another name for the same function."""
        return cls(**config)


def carry_function(function: Any) -> CarriedFunction:
    """A regularizer or constraint for a tf_keras layer that calls the Keras 3 one."""
    held = _Held(function)
    return CarriedFunction(lend(held, type(function).__name__))


class _Held:
    """Any callable, in a form that can be referred to weakly."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def __call__(self, weight: Any) -> Any:
        return self._function(weight)


def lend(thing: Any, label: str) -> str:
    """A token for the thing, which the caller has to keep alive until it is used."""
    token = f"{label}:{next(_numbers)}"
    _lent[token] = thing
    return token


def is_symbolic(value: Any) -> bool:
    """Whether it is a tensor of a tf_keras graph."""
    return isinstance(value, tf_keras.__internal__.KerasTensor)


def mask_of(tensor: Any) -> Any:
    """The mask that Keras 3 has attached to a tensor; None without one."""
    return getattr(tensor, "_keras_mask", None)


def _with_mask(tensor: Any, mask: Any) -> Any:
    # A tensor of its own: others may use the given one.
    own = tf.identity(tensor)
    own._keras_mask = mask
    return own
