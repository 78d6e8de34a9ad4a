"""Data of a classification task: where they come from and what must hold."""

from edgekit.data.dataset import Dataset, Split
from edgekit.data.sources import load_calibration, load_data

__all__ = ["Dataset", "Split", "load_calibration", "load_data"]
