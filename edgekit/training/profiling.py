"""What training a model costs at each batch size, beside a second model where there is one.

For each batch size every model gets a process of its own. They take turns in the same rounds, so
that a machine that drifts does not favour one of them.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.data import Dataset
from edgekit.errors import RunError
from edgekit.progress import Listener, Step, silent
from edgekit.training.child import Request
from edgekit.training.energy import Meters, metered
from edgekit.training.measured import Told, row_of
from edgekit.training.rows import ProfiledModel, TrainingProfile, TrainingRow, failed_row
from edgekit.training.worker import Child, ChildError
from edgekit_device.machine import read_machine
from edgekit_device.number import Number

if TYPE_CHECKING:
    from edgekit.stages import Parent
    from edgekit_converters.passes import Pass

BATCH_SIZES = (16, 32, 64, 128, 256)
"""Those of the LCRM paper's Tables 5 to 7."""

FIRST_STEPS = 3
"""Steps that are shown apart: in them the libraries compile and look for the fastest kernels."""

_TURNS = 4
_LEAST_SAMPLES = 512
_BATCHES_OF_SAMPLES = 2


@dataclass(frozen=True)
class ProfileOptions:
    """How to measure: at least so many steps and seconds for each batch size.

    `meter` and `board_profile` are those of `metered`.
    """

    batch_sizes: tuple[int, ...] = BATCH_SIZES
    steps: int = 20
    seconds: float = 6.0
    seed: int = 0
    meter: str = "auto"
    board_profile: str | None = None

    def __post_init__(self) -> None:
        if not self.batch_sizes or min(self.batch_sizes) < 1:
            given = ", ".join(map(str, self.batch_sizes)) or "none"
            raise RunError(f"The batch sizes are {given}; give whole numbers from 1 on.")
        if self.steps < 1:
            raise RunError(f"--steps is {self.steps}; at least 1 step has to be measured.")
        if not 0 <= self.seconds < float("inf"):
            raise RunError(f"--seconds is {self.seconds}; it must be 0 or more.")


@dataclass(frozen=True)
class Subject:
    """A model to be trained, as its name in the table; `code` are Python files it needs."""

    name: str
    parent: Parent
    recipe: str | None = None
    code: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Work:
    """What all measurements have in common."""

    folder: Path
    data: Dataset
    options: ProfileOptions
    environ: Mapping[str, str]
    meters: Meters
    requests: Mapping[str, Request]
    progress: Listener


def rewritten(subject: Subject, recipe: str, seed: int = 0) -> Subject:
    """The subject's model after a recipe of passes that need no training, such as `lcrm`.

    What substitutes start from does not matter to the time of a step: nothing is inherited.

    Raises:
        RunError: another pass is asked for.
    """
    import edgekit_converters as ec
    from edgekit.store import content_key

    passes = ec.parse_recipe(recipe).passes
    model = subject.parent.model
    for step in passes:
        known: Pass = step
        if isinstance(step, ec.Lcrm):
            if step.auto:
                raise RunError(
                    f"--recipe {recipe!r}: auto=true tries layers on data before it chooses, which "
                    "is no matter of a profile; make the model with edgekit optimize and give it "
                    "with --against, or leave out auto."
                )
            # samples are what inherit learns from, and go with it.
            known = replace(step, inherit=False, samples=ec.Lcrm.samples)
        if not isinstance(known, ec.Lcrm | ec.Activations | ec.LowRank):
            raise RunError(
                f"--recipe {recipe!r}: training is profiled behind lcrm, activations and low_rank, "
                f"not behind {step}; leave it out, or give a model of your own with --against."
            )
        model = ec.run_pass(model, known, training=ec.Training(seed=seed)).model
    if not passes:
        raise RunError(f"--recipe {recipe!r} changes nothing; name a pass such as lcrm.")
    key = content_key({"parent": ec.fingerprint(model)})
    parent = replace(subject.parent, model=model, key=key)
    return Subject(f"{subject.name} {recipe}", parent, recipe, subject.code)


def profile_training(
    subjects: Sequence[Subject],
    data: Dataset,
    options: ProfileOptions | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    progress: Listener = silent,
) -> TrainingProfile:
    """Measures training and inference of one model, or two side by side, at each batch size.

    A batch size that cannot be had (too few samples, too little memory) costs its own row alone.
    `environ` is the environment of the measured processes; KERAS_BACKEND names their backend.

    Raises:
        ConverterError, EdgeKitError, EdgeKitDeviceError: before any work, for input that cannot be
            used.
    """
    import edgekit_converters as ec

    options = options or ProfileOptions()
    names = [subject.name for subject in subjects]
    if len(set(names)) < len(names):
        raise RunError(f"Two models are called {names[0]}; they need two names.")
    for subject in subjects:
        ec.objective_for(subject.parent.model, data.targets)
    with tempfile.TemporaryDirectory(prefix="edgekit-training-") as folder:
        environment = _environment(environ)
        requests = _requests(Path(folder), subjects, data, options)
        with metered(options.meter, options.board_profile, environment) as meters:
            work = _Work(Path(folder), data, options, environment, meters, requests, progress)
            found: list[dict[str, Told | ChildError]] = []
            for number, size in enumerate(options.batch_sizes, start=1):
                found.append(_one_size(work, size, names))
                _tell(work, f"batches of {size} measured", number / len(options.batch_sizes))
            rows = [
                _row(name, size, each[name], meters, len(data.train))
                for size, each in zip(options.batch_sizes, found, strict=True)
                for name in names
            ]
            told = [one for each in found for one in each.values() if isinstance(one, Told)]
            return _profile(work, subjects, told, rows)


def _environment(environ: Mapping[str, str] | None) -> dict[str, str]:
    """Memory of a GPU is to be taken as it is needed, and NVML and CUDA to number GPUs alike."""
    from edgekit_converters.backend import chosen_backend

    given = dict(os.environ if environ is None else environ)
    defaults = {
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": chosen_backend(),
    }
    # A child imports what this process imports, wherever that was found.
    path = os.pathsep.join(each or os.getcwd() for each in sys.path)
    return {**defaults, **given, "PYTHONPATH": path}


def _requests(
    folder: Path, subjects: Sequence[Subject], data: Dataset, options: ProfileOptions
) -> dict[str, Request]:
    """What each subject's children are asked, but for the batch size; their files are written."""
    import edgekit_converters as ec

    count = min(
        len(data.train), max(_LEAST_SAMPLES, _BATCHES_OF_SAMPLES * max(options.batch_sizes))
    )
    samples, targets = folder / "x.npy", folder / "y.npy"
    np.save(samples, data.train.x[:count])
    np.save(targets, data.train.y[:count])
    found = {}
    for number, subject in enumerate(subjects):
        file = folder / f"{number}.keras"
        ec.save_model(subject.parent.model, file)
        objective = ec.objective_for(subject.parent.model, data.targets)
        found[subject.name] = Request(
            parent=os.getpid(),
            model=str(file),
            code=subject.code,
            safe=subject.parent.safe,
            samples=str(samples),
            targets=str(targets),
            objective=asdict(objective),
            batch_size=1,
            seed=options.seed,
        )
    return found


def _one_size(work: _Work, size: int, names: Sequence[str]) -> dict[str, Told | ChildError]:
    """What was measured with one batch size; a model that lacked memory is tried again alone."""
    given = len(work.data.train)
    if size > given:
        reason = f"it needs as many training samples, {work.data.name} has {given}"
        return dict.fromkeys(names, ChildError(reason, memory=False))
    found = _together(work, size, names)
    for name, one in found.items():
        if isinstance(one, ChildError) and one.memory and len(names) > 1:
            found.update(_together(work, size, [name]))
    return found


def _together(work: _Work, size: int, names: Sequence[str]) -> dict[str, Told | ChildError]:
    """Measures models in turns, each in a process of its own."""
    found: dict[str, Told | ChildError] = {}
    done = work.options.batch_sizes.index(size) / len(work.options.batch_sizes)
    with ExitStack() as stack:
        children: dict[str, Child] = {}
        for name in names:
            place = Path(tempfile.mkdtemp(dir=work.folder)) / "child"
            request = replace(work.requests[name], batch_size=size)
            children[name] = stack.enter_context(Child(request, place, work.environ))
            try:
                found[name] = Told.hello(name, size, children[name].hear())
            except ChildError as error:
                found[name] = error
        for command, keep in _commands(work.options):
            _tell(work, f"batches of {size}: {command.split()[0]}", done)
            for name, told in found.items():
                if isinstance(told, ChildError):
                    continue
                try:
                    found[name] = keep(told, children[name].ask(command))
                except ChildError as error:
                    found[name] = error
                    children[name].close()
    return found


def _commands(options: ProfileOptions) -> Iterator[tuple[str, Any]]:
    """What each child is asked in turn, and what becomes of the answer."""
    steps, seconds = -(-options.steps // _TURNS), options.seconds / _TURNS
    yield f"train {FIRST_STEPS} 0", Told.with_first
    for _ in range(_TURNS):
        yield f"train {steps} {seconds}", Told.with_training
    yield "memory", Told.with_memory
    yield f"infer {FIRST_STEPS} 0", Told.unchanged
    for _ in range(_TURNS):
        yield f"infer {steps} {seconds / 2}", Told.with_inference


def _tell(work: _Work, detail: str, fraction: float) -> None:
    work.progress(Step("profile training", fraction, detail))


def _row(
    name: str, size: int, found: Told | ChildError, meters: Meters, images: int
) -> TrainingRow:
    if isinstance(found, ChildError):
        return failed_row(name, size, f"a batch of {size}: {found}")
    return row_of(found, meters, images)


def _profile(
    work: _Work, subjects: Sequence[Subject], told: Sequence[Told], rows: Sequence[TrainingRow]
) -> TrainingProfile:
    if not told:
        raise RunError(f"Nothing could be measured. {rows[0].model}: {rows[0].error}.")
    gpu = work.meters.gpu
    return TrainingProfile(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        data=work.data.describe(),
        images_per_epoch=len(work.data.train),
        backend=told[0].backend,
        backend_version=told[0].version,
        device=told[0].device,
        gpu=None if isinstance(gpu, str) or told[0].device == "cpu" else gpu.name,
        machine=read_machine(Path("/"), work.options.board_profile),
        batch_sizes=work.options.batch_sizes,
        steps=work.options.steps,
        seconds=work.options.seconds,
        models=tuple(_model(subject) for subject in subjects),
        rows=tuple(rows),
    )


def _model(subject: Subject) -> ProfiledModel:
    from edgekit_converters.complexity import total_macs
    from edgekit_converters.graph import read_graph

    model = subject.parent.model
    macs, unknown = total_macs(read_graph(model))
    number = Number.counted(macs)
    if unknown:
        number = Number.unavailable(f"the MACs of {', '.join(map(str, unknown))} are not known")
    return ProfiledModel(subject.name, int(model.count_params()), number, subject.recipe)
