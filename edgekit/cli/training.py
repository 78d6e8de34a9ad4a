"""`edgekit train`: a trained model, or what training it costs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.cli.live import live
from edgekit.errors import RunError
from edgekit_device.codec import encode

if TYPE_CHECKING:
    from edgekit.stages import Parent
    from edgekit.training.profiling import ProfileOptions, Subject
    from edgekit.training.teaching import Taught

PROFILE_ONLY = (
    *("batch_sizes", "steps", "seconds", "against", "recipe"),
    *("meter", "board_profile", "out"),
)
TRAINING_ONLY = ("output", "epochs", "batch_size", "learning_rate", "patience")
"""Options that one of the two uses alone; not given, they are None."""


def run(options: argparse.Namespace) -> int:
    """`edgekit train`."""
    from edgekit_converters.backend import choose_backend, chosen_backend

    alone = TRAINING_ONLY if options.profile else PROFILE_ONLY
    for name in alone:
        if getattr(options, name) is not None:
            option = "-o" if name == "output" else f"--{name.replace('_', '-')}"
            raise RunError(
                f"{option} is of training, which --profile only measures; leave out one of the two."
                if options.profile
                else f"{option} is of --profile, which is not given; add it, or leave out {option}."
            )
    if options.backend is not None:
        choose_backend(options.backend)
    if options.profile:
        return _profile(options)
    chosen_backend()
    return _teach(options)


def _teach(options: argparse.Namespace) -> int:
    import edgekit_converters as ec
    from edgekit.optimization import load_data_for
    from edgekit.outputs import check_model_file
    from edgekit.training.teaching import teach

    if options.output is None:
        raise RunError(
            "edgekit train writes the trained model: name its file with -o OUT.keras, or measure "
            "what training costs with --profile."
        )
    out = Path(options.output)
    check_model_file(out, options.model)
    given = {name: getattr(options, name) for name in TRAINING_ONLY if name != "output"}
    asked = {name: value for name, value in given.items() if value is not None}
    training = ec.Training(seed=options.seed, **asked)
    with live() as progress:
        progress.note("loading the model")
        parent = _parent(options, options.model)
        data = load_data_for(parent, options.data, seed=options.seed, pixels=options.pixels)
        done = teach(parent, data, out, training, progress)
    if options.json:
        print(json.dumps({**encode(done), "file": str(done.file)}, indent=1))
    else:
        _print_taught(done)
    return 0


def _print_taught(done: Taught) -> None:
    from edgekit.report.format import digits, interval_text

    print(f"{done.model}, {done.data}")
    print(f"Best epoch: {done.best_epoch} of {done.epochs}")
    for name, rating in (("Validation", done.validation), ("Test", done.test)):
        shown = []
        for metric in rating.metrics:
            value = metric.value.value
            if value is None:
                continue
            ends = interval_text("accuracy", metric.value)
            text = f"{value:.3f}" if abs(value) <= 1 else digits(value)
            unit = f" {metric.unit}" if metric.unit else ""
            shown.append(f"{metric.name} {text}{unit}{f' ({ends})' if ends else ''}")
        print(f"{name}, {rating.samples} samples: {', '.join(shown)}")
    print(f"Written: {done.file}")


def _profile(options: argparse.Namespace) -> int:
    from edgekit.optimization import load_data_for
    from edgekit.training.files import try_profile, write_profile
    from edgekit.training.profiling import profile_training, rewritten
    from edgekit_converters.backend import chosen_backend

    if options.against is not None and options.recipe is not None:
        raise RunError("--against and --recipe both name a second model; give one of them.")
    settings = _settings(options)
    with live() as progress, off_the_gpu() as environ:
        # Not before: Keras is imported here, and a backend may look for GPUs then.
        chosen_backend()
        progress.note("loading the model")
        subjects = [_subject(options, options.model)]
        parent = subjects[0].parent
        data = load_data_for(parent, options.data, seed=options.seed, pixels=options.pixels)
        if options.recipe is not None:
            subjects.append(rewritten(subjects[0], options.recipe, options.seed))
        if options.against is not None:
            subjects.append(_subject(options, options.against, besides=subjects[0]))
        if options.out:
            try_profile(Path(options.out))
        found = profile_training(subjects, data, settings, environ=environ, progress=progress)
    # Shown first: should it not be possible to write it, it is not lost.
    if options.json:
        print(json.dumps(found.to_json(), indent=1))
    else:
        from edgekit.training.table import print_profile

        print_profile(found)
    sys.stdout.flush()
    files = write_profile(found, Path(options.out)) if options.out else ()
    if not options.json:
        for file in files:
            print(file)
    return 1 if any(row.error for row in found.rows) else 0


def _settings(options: argparse.Namespace) -> ProfileOptions:
    from edgekit.training.profiling import ProfileOptions

    named = ("batch_sizes", "steps", "seconds", "meter", "board_profile")
    given = {name: getattr(options, name) for name in named}
    asked = {name: value for name, value in given.items() if value is not None}
    return ProfileOptions(seed=options.seed, **asked)


def _subject(options: argparse.Namespace, source: str, besides: Subject | None = None) -> Subject:
    from edgekit.training.profiling import Subject

    parent = _parent(options, source)
    name = parent.model.name
    if besides is not None:
        _same_input(besides.parent.model, parent.model, source)
        if name == besides.name:
            name = f"{name} ({Path(source).name})"
    files = [options.custom_objects] if options.custom_objects else []
    if ".py:" in source:
        files.append(source.rpartition(":")[0])
    return Subject(name, parent, code=tuple(dict.fromkeys(files)))


def _same_input(first: Any, second: Any, source: str) -> None:
    taken = [[tuple(tensor.shape[1:]) for tensor in model.inputs] for model in (first, second)]
    if taken[0] != taken[1]:
        one, other = (", ".join(map(str, shapes)) for shapes in taken)
        raise RunError(
            f"--against {source} takes samples of shape {other}, the first model {one}; only "
            "models of the same input can be put side by side on the same data."
        )


def _parent(options: argparse.Namespace, source: str) -> Parent:
    from edgekit.optimization import load_parent

    return load_parent(
        source,
        seed=options.seed,
        safe=not options.unsafe,
        custom_objects=options.custom_objects,
    )


@contextmanager
def off_the_gpu() -> Iterator[dict[str, str]]:
    """This process leaves GPUs alone, for those that are measured; gives the environment of these.

    Before Keras is imported: a backend that has seen a GPU keeps some of its memory.
    """
    hidden = {
        "CUDA_VISIBLE_DEVICES": "",
        "JAX_PLATFORMS": "cpu",
        "KERAS_TORCH_DEVICE": "cpu",
    }
    given = dict(os.environ)
    os.environ.update(hidden)
    try:
        yield given
    finally:
        for name in hidden:
            if name in given:
                os.environ[name] = given[name]
            else:
                del os.environ[name]
