"""Single steps of Keras' own training and inference, each timed until its result is there."""

from __future__ import annotations

import time
from typing import Any

import keras
import numpy as np

from edgekit_converters.backend import memory_errors, ran_out_of_memory
from edgekit_converters.errors import TrainingError
from edgekit_converters.objective import Objective, compiled
from edgekit_converters.train import set_seed

_LEARNING_RATE = 1e-3


class TimedSteps:
    """A model that is trained and asked with batches of one size, on any backend of Keras.

    A step takes a batch out of the samples, in an order of its own, and ends when its loss (or its
    outputs) can be read: `train_on_batch` and `predict_on_batch` wait for it on every backend.
    """

    def __init__(
        self, model: Any, x: Any, y: Any, objective: Objective, batch_size: int, seed: int = 0
    ) -> None:
        """Compiles the model with the task's own loss and Adam.

        Raises:
            TrainingError: the batch is larger than the number of samples.
        """
        if batch_size > len(x):
            raise TrainingError(
                f"A batch of {batch_size} needs as many training samples, there are {len(x)}."
            )
        set_seed(seed)
        loss, metric = compiled(keras, objective)
        model.compile(optimizer=keras.optimizers.Adam(_LEARNING_RATE), loss=loss, metrics=[metric])
        self._model, self._x, self._y = model, x, y
        self._order = np.random.default_rng(seed).permutation(len(x))
        self._batch_size, self._next = batch_size, 0

    def train(self, steps: int, seconds: float = 0.0) -> list[float]:
        """Seconds of each training step: at least so many, and as many as fit the time."""
        return self._run(self._train, steps, seconds)

    def infer(self, steps: int, seconds: float = 0.0) -> list[float]:
        """Seconds of each batch in inference: at least so many, and as many as fit the time."""
        return self._run(self._infer, steps, seconds)

    def _run(self, step: Any, steps: int, seconds: float) -> list[float]:
        taken: list[float] = []
        begin = now = time.perf_counter()
        try:
            while len(taken) < steps or now - begin < seconds:
                before = time.perf_counter()
                step()
                now = time.perf_counter()
                taken.append(now - before)
        except memory_errors() as error:
            if not ran_out_of_memory(error):
                raise
            raise MemoryError(
                f"a batch of {self._batch_size} needs more memory than there is"
            ) from error
        return taken

    def _train(self) -> None:
        rows = self._rows()
        self._model.train_on_batch(self._x[rows], self._y[rows], return_dict=True)

    def _infer(self) -> None:
        self._model.predict_on_batch(self._x[self._rows()])

    def _rows(self) -> Any:
        rows = np.arange(self._next, self._next + self._batch_size) % len(self._order)
        self._next = int(rows[-1]) + 1
        return self._order[rows]
