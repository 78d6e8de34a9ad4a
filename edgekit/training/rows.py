"""What training costs, as values: one row per model and batch size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgekit_device.codec import encode
from edgekit_device.number import Number
from edgekit_device.record import Machine

SCHEMA = "edgekit.training-profile/1"

NUMBERS: dict[str, str] = {
    "throughput_images_per_s": "images/s",
    "step_ms": "step p50",
    "step_p90_ms": "step p90",
    "peak_rss_bytes": "peak RSS",
    "peak_rss_growth_bytes": "of it for training",
    "device_memory_bytes": "GPU memory",
    "cpu_share": "CPU",
    "other_cpu_share": "others' CPU",
    "gpu_share": "GPU",
    "gpu_idle_ratio": "GPU idle",
    "energy_per_epoch_j": "energy/epoch",
    "host_energy_per_epoch_j": "host energy/epoch",
    "inference_ms": "inference",
    "energy_per_inference_j": "energy/inference",
}
"""The numbers of a row, in table order, with their headings."""


@dataclass(frozen=True)
class TrainingRow:
    """One model trained with one batch size, in a process of its own.

    `throughput_images_per_s` is images over the seconds of all steps but the first three (LCRM
    paper, Table 5), whose times are `first_steps_ms`; its interval is the range of the turns.
    `step_ms` is the median step, its interval the range of the turns' medians.
    `peak_rss_bytes` is the process's high-water mark while it trained, the libraries included;
    `peak_rss_growth_bytes` the part above what it held with the model loaded.
    `device_memory_bytes` are the most that tensors took on the GPU (Table 7's PMC).
    `cpu_share` is the process's CPU time over that of all cores it may use, `other_cpu_share` that
    of all other programs over that of all cores. `gpu_share` is the time in which the GPU ran a
    kernel over all (equation 17), `gpu_idle_ratio` 1 less that (equation 18).
    `energy_per_epoch_j` is the GPU's where the training ran on one (Figure 5), else the host's;
    both are those of the steps, scaled to the training split. `inference_ms` and
    `energy_per_inference_j` are those of one image in batches of this size (Table 6, Figure 5b).
    `error` is why there are no numbers.
    """

    model: str
    batch_size: int
    steps: int
    throughput_images_per_s: Number
    step_ms: Number
    step_p90_ms: Number
    first_steps_ms: tuple[Number, ...]
    peak_rss_bytes: Number
    peak_rss_growth_bytes: Number
    device_memory_bytes: Number
    cpu_share: Number
    other_cpu_share: Number
    gpu_share: Number
    gpu_idle_ratio: Number
    energy_per_epoch_j: Number
    host_energy_per_epoch_j: Number
    inference_ms: Number
    energy_per_inference_j: Number
    error: str | None = None


@dataclass(frozen=True)
class ProfiledModel:
    """A model of the profile; `recipe` is what made it from the first one, None: it was given."""

    name: str
    parameters: int
    macs: Number
    recipe: str | None = None


@dataclass(frozen=True)
class TrainingProfile:
    """Rows by batch size, the first model's before the second's."""

    created: str
    data: str
    images_per_epoch: int
    backend: str
    backend_version: str
    device: str
    gpu: str | None
    machine: Machine
    batch_sizes: tuple[int, ...]
    steps: int
    seconds: float
    models: tuple[ProfiledModel, ...]
    rows: tuple[TrainingRow, ...]

    def to_json(self) -> dict[str, Any]:
        """Give the JSON object; every number says how it came about."""
        return {"schema": SCHEMA, **encode(self)}


def failed_row(model: str, batch_size: int, reason: str) -> TrainingRow:
    """A row without numbers, for one reason."""
    nothing = Number.unavailable(reason)
    return TrainingRow(
        model=model,
        batch_size=batch_size,
        steps=0,
        first_steps_ms=(),
        error=reason,
        **dict.fromkeys(NUMBERS, nothing),
    )
