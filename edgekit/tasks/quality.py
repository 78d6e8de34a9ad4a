"""How pictures look: metrics that need a package of their own, or weights that none carries.

Lower is better for all four.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.comparison import Metric
from edgekit.evaluate import mean_number
from edgekit_device import Number

_BLOCK = 16
_LPIPS = (
    "the package lpips carries its last layer alone; the weights of the network under it are "
    "downloaded by torchvision"
)
_NIQE = "no maintained package carries its model of pristine pictures"
_BRISQUE = "the package that carries its weights (brisque 0.2) does not run with NumPy 2.4"


def quality(pictures: Any) -> tuple[Metric, ...]:
    """LPIPS, NIQE, PIQE and BRISQUE of pictures [n, height, width, channels] from 0 to 1.

    PIQE (Venkatanath et al., NCC 2015) needs no weights; it is the mean over the pictures. What
    cannot be had says why.
    """
    return (
        Metric("LPIPS", Number.unavailable(_LPIPS), more=False),
        Metric("NIQE", Number.unavailable(_NIQE), more=False),
        Metric("PIQE", _piqe(pictures), more=False),
        Metric("BRISQUE", Number.unavailable(_BRISQUE), more=False),
    )


def _piqe(pictures: Any) -> Number:
    if pictures.shape[-1] not in (1, 3) or min(pictures.shape[1:3]) < _BLOCK:
        return Number.unavailable(f"it needs pictures of at least {_BLOCK} x {_BLOCK} pixels")
    try:
        from pypiqe import piqe
    except ModuleNotFoundError as error:
        return Number.unavailable(f"{error.name} is not installed: pip install 'edgekit[quality]'")
    except ImportError as error:
        return Number.unavailable(f"pypiqe cannot be loaded: {error}")
    shown = np.round(255 * np.asarray(pictures)).astype(np.uint8)
    # It takes pictures as OpenCV has them, blue first.
    scores = [float(piqe(np.ascontiguousarray(one[..., ::-1]).squeeze())[0]) for one in shown]
    if not np.isfinite(scores).all():
        return Number.unavailable("it gives no number where a picture is all of one colour")
    return mean_number(scores)
