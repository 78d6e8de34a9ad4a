"""What the kit adds to TFMOT's own work: pruning, clustering and QAT, against a bare script.

Both train the same network on the same samples for as many epochs with the same schedule; the kit
also carries the model over and back, compares, proves and scores it. In turns; the ratio is taken
pair by pair.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import results
from cascades import glyphs_cnn

import edgekit_converters as ec
from edgekit.data import glyphs
from edgekit_converters.cascades.library import tfmot
from edgekit_converters.keras2.bridge import to_tf_keras

EPOCHS, BATCH, RATE = 5, 64, 1e-4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--samples", type=int, default=6000)
    options = parser.parse_args()
    model = glyphs_cnn()
    data = ec.TrainingData(
        glyphs.make_glyphs(options.samples, 1),
        glyphs.make_glyphs(600, 2),
        len(glyphs.CHARACTERS),
    )
    training = ec.Training(tuning_epochs=EPOCHS, tuning_learning_rate=RATE, batch_size=BATCH)
    bare: dict[str, Callable[[Any, Any], Any]] = {"P": _prune, "C": _cluster, "Q": _quantise}
    table = [["pass", "pairs", "median ratio, kit / bare script", "all ratios"]]
    facts: dict[str, Any] = {"samples": options.samples, "epochs": EPOCHS}
    for name, script in bare.items():
        (step,) = ec.parse_recipe(name).passes
        ratios, seconds = [], []
        for pair in range(options.pairs):
            spent = {}
            for turn in ("kit", "bare") if pair % 2 else ("bare", "kit"):
                # The network to start from is not the script's work.
                start_model = to_tf_keras(model).model if turn == "bare" else model
                begin = time.monotonic()
                if turn == "bare":
                    script(start_model, data)
                else:
                    ec.run_pass(start_model, step, data=data, training=training)
                spent[turn] = time.monotonic() - begin
            ratios.append(spent["kit"] / spent["bare"])
            seconds.append(spent)
            print(name, spent, flush=True)
        facts[name] = {"ratios": ratios, "seconds": seconds, "median": float(np.median(ratios))}
        shown = ", ".join(f"{ratio:.3f}" for ratio in ratios)
        table.append([name, str(len(ratios)), f"{np.median(ratios):.3f}", shown])
    results.write("cascade_overhead", facts, table)


def _fit(model: Any, data: Any, callbacks: list[Any]) -> None:
    import tf_keras

    model.compile(
        optimizer=tf_keras.optimizers.Adam(RATE),
        loss=tf_keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
    )
    model.fit(
        *data.train,
        validation_data=data.validation,
        epochs=EPOCHS,
        batch_size=BATCH,
        verbose=0,
        callbacks=callbacks,
    )


def _prune(model: Any, data: Any) -> Any:
    library = tfmot.sparsity.keras
    steps = -(-len(data.train[1]) // BATCH) * EPOCHS // 2
    schedule = library.PolynomialDecay(0.0, 0.5, 0, steps // 20 * 20, frequency=steps // 20)
    pruned = library.prune_low_magnitude(model, pruning_schedule=schedule)
    _fit(pruned, data, [library.UpdatePruningStep()])
    return library.strip_pruning(pruned)


def _cluster(model: Any, data: Any) -> Any:
    library = tfmot.clustering.keras
    clustered = library.cluster_weights(
        model,
        number_of_clusters=16,
        cluster_centroids_init=library.CentroidInitialization.KMEANS_PLUS_PLUS,
    )
    _fit(clustered, data, [])
    return library.strip_clustering(clustered)


def _quantise(model: Any, data: Any) -> Any:
    quantised = tfmot.quantization.keras.quantize_model(model)
    _fit(quantised, data, [])
    return quantised


if __name__ == "__main__":
    main()
