"""Weight clustering: each kernel's weights share a few values, which training moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import tf_keras

from edgekit_converters.cascades.kernels import Choice, Kernel, choose, kernels, sparse
from edgekit_converters.cascades.library import sparse_cluster, tfmot
from edgekit_converters.cascades.preserve import HoldKept, Keep
from edgekit_converters.cascades.prune import nothing_to_do
from edgekit_converters.cascades.tuning import count, outcome, prove_kernel, tune
from edgekit_converters.keras2.bridge import to_tf_keras, weights_back
from edgekit_converters.outcome import Outcome
from edgekit_converters.passes import Cluster, Initialisation, Pass
from edgekit_converters.proof import count_values
from edgekit_converters.train import Progress, Training, TrainingData

_INITIALISATIONS: dict[Initialisation, str] = {
    "kmeans++": "KMEANS_PLUS_PLUS",
    "linear": "LINEAR",
    "density": "DENSITY_BASED",
    "random": "RANDOM",
}


def cluster(
    model: Any,
    step: Cluster,
    before: tuple[Pass, ...],
    data: TrainingData | None,
    training: Training,
    progress: Progress | None,
) -> Outcome:
    """Clusters a copy of the model and trains its centroids; zeros that pruning made stay zero.

    Raises:
        RewriteError: nothing to cluster, or a pattern that matches no layer.
        ProofError: a kernel has more distinct values than asked, or has lost zeros.
    """
    bridged = to_tf_keras(model)
    found = kernels(bridged)
    pruned = sparse(bridged, before, found)
    choice = _with_values(choose(bridged, step, found), step, pruned)
    if not choice.taken:
        raise nothing_to_do(str(step), "cluster", model.name, choice)
    # TFMOT takes the kernels out of their layers when the wrappers are built.
    earlier = {kernel.layer.name: kernel.values for kernel in found}
    changed = tuple(f"{kernel.path}: {_told(kernel, step)}" for kernel in choice.taken)
    wrapped = _wrapped(bridged.model, choice, step, pruned)
    names = {kernel.layer.name for kernel in choice.taken}
    held = HoldKept(
        (wrapped.get_layer(kernel.layer.name), kernel.attribute, Keep(zeros=True, clusters=False))
        for kernel in found
        if kernel.layer.name in pruned - names
    )
    trained = tune(wrapped, model, data, training, progress, callbacks=(held,))
    parameters = count(wrapped)
    stripped = tfmot.clustering.keras.strip_clustering(wrapped)
    result = weights_back(bridged, stripped)
    return outcome(
        model,
        result,
        data,
        trained,
        parameters,
        changed=changed,
        skipped=choice.skipped,
        proof=tuple(
            prove_kernel(
                kernel,
                replace(kernel, layer=stripped.get_layer(kernel.layer.name)).values,
                sparsity=(
                    count_values(earlier[kernel.layer.name])[0]
                    if kernel.layer.name in pruned
                    else None
                ),
                centroids=step.centroids if kernel.layer.name in names else None,
                per_channel=step.per_channel and kernel.kind == "Conv2D",
            )
            for kernel in found
        ),
    )


def _with_values(choice: Choice, step: Cluster, pruned: set[str]) -> Choice:
    """The choice without kernels whose values cannot be clustered as asked."""
    taken, skipped = [], list(choice.skipped)
    for kernel in choice.taken:
        each = step.per_channel and kernel.kind == "Conv2D"
        rows = kernel.by_channel(kernel.values) if each else kernel.values.reshape(1, -1)
        nonzero = int((rows != 0).sum(axis=1).min())
        if kernel.layer.name in pruned and nonzero < step.centroids:
            per = " in one channel" if each else ""
            skipped.append(
                (
                    kernel.path,
                    f"pruning left {nonzero} weights{per}, fewer than the {step.centroids} "
                    "centroids",
                )
            )
        else:
            taken.append(kernel)
    return Choice(tuple(taken), tuple(skipped))


def _wrapped(model: Any, choice: Choice, step: Cluster, pruned: set[str]) -> Any:
    taken = {kernel.layer.name: kernel for kernel in choice.taken}
    initialisation = getattr(
        tfmot.clustering.keras.CentroidInitialization, _INITIALISATIONS[step.initialisation]
    )

    def wrap(layer: Any) -> Any:
        kernel = taken.get(layer.name)
        if kernel is None:
            return layer
        # TFMOT refuses frozen convolutions and loses the centroids of other frozen layers.
        layer.trainable = True
        wrapper = sparse_cluster.cluster_weights(
            layer,
            number_of_clusters=step.centroids,
            cluster_centroids_init=initialisation,
            preserve_sparsity=layer.name in pruned,
            cluster_per_channel=step.per_channel and kernel.kind == "Conv2D",
        )
        if kernel.kind == "DepthwiseConv2D":
            # TFMOT's own table says that this type has nothing to cluster.
            layer.get_clusterable_weights = lambda: [
                (kernel.attribute, getattr(layer, kernel.attribute))
            ]
        return wrapper

    return tf_keras.models.clone_model(model, clone_function=wrap)


def _told(kernel: Kernel, step: Cluster) -> str:
    each = " in each channel" if step.per_channel and kernel.kind == "Conv2D" else ""
    frozen = "" if kernel.layer.trainable else "was frozen, now trained; "
    return f"{frozen}{kernel.values.size} weights share {step.centroids} values{each}"
