"""A better picture for each picture: structural similarity, and noise in dB."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgekit.comparison import Metric
from edgekit.evaluate import mean_change, mean_number, mean_share
from edgekit.tasks.quality import quality
from edgekit.tasks.task import Task

SMALLEST = 11
"""The least height and width of a picture, in pixels: the window that SSIM looks through."""

_MOST_DB = 100.0


def ssim(picture: Any, wanted: Any) -> float:
    """Structural similarity of two pictures [height, width, channels] from 0 to 1.

    As Wang et al. (IEEE TIP 13 (2004) 600) compute it: a Gaussian window of 1.5 pixels, the mean
    over the channels.
    """
    from skimage.metrics import structural_similarity

    return float(
        structural_similarity(
            np.asarray(picture, np.float64),
            np.asarray(wanted, np.float64),
            channel_axis=-1,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def psnr(picture: Any, wanted: Any) -> float:
    """Peak signal-to-noise ratio of two pictures from 0 to 1, in dB; at most 100, if equal."""
    from skimage.metrics import peak_signal_noise_ratio

    ours, theirs = np.asarray(picture, np.float64), np.asarray(wanted, np.float64)
    if not np.square(ours - theirs).mean() > 10 ** (-_MOST_DB / 10):
        return _MOST_DB
    return min(_MOST_DB, float(peak_signal_noise_ratio(theirs, ours, data_range=1.0)))


def _rate(outputs: Any, wanted: Any, _: bool) -> list[float]:
    return [ssim(ours, theirs) for ours, theirs in zip(_shown(outputs), wanted, strict=True)]


def _others(outputs: Any, wanted: Any, _: bool) -> tuple[Metric, ...]:
    pictures = _shown(outputs)
    noise = [psnr(ours, theirs) for ours, theirs in zip(pictures, wanted, strict=True)]
    return (Metric("PSNR", mean_number(noise), unit="dB"), *quality(pictures))


def _shown(outputs: Any) -> Any:
    """What a screen would show: nothing is darker than black or brighter than white."""
    return np.clip(np.asarray(outputs), 0.0, 1.0)


def _trivial(x: Any, wanted: Any, _: int) -> tuple[float, str]:
    if x.shape == wanted.shape:
        scale = 255.0 if float(x.max()) > 1 + math.ulp(1.0) else 1.0
        return float(np.mean(_rate(x / scale, wanted, False))), "leaving the pictures as they are"
    grey = np.broadcast_to(wanted.mean(axis=0), wanted.shape)
    return float(np.mean(_rate(grey, wanted, False))), "always giving the mean picture"


ENHANCEMENT = Task(
    kind="enhancement",
    metric="SSIM",
    rate=_rate,
    others=_others,
    number=mean_share,
    change=mean_change,
    trivial=_trivial,
    check="scaling with --pixels, which picture of a pair is the better one",
)
"""Pictures [height, width, channels] from 0 to 1."""
