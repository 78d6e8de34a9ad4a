"""What a data set asks of a model, and how its answers are rated: one file for each task."""

from edgekit.tasks.classification import CLASSIFICATION
from edgekit.tasks.enhancement import ENHANCEMENT
from edgekit.tasks.segmentation import SEGMENTATION
from edgekit.tasks.task import Scored, Task, score_file, score_outputs

__all__ = [
    "CLASSIFICATION",
    "ENHANCEMENT",
    "SEGMENTATION",
    "Scored",
    "Task",
    "score_file",
    "score_outputs",
]
