"""How answers are rated: IoU, SSIM, PSNR, precision and recall, and intervals over images."""

import numpy as np
import pytest

from edgekit.data import load_data
from edgekit.data.generated import generated
from edgekit.errors import DataError
from edgekit.evaluate import mean_change, mean_number
from edgekit.tasks import CLASSIFICATION, ENHANCEMENT, SEGMENTATION, Task, score_outputs
from edgekit.tasks.enhancement import psnr, ssim
from edgekit.tasks.segmentation import iou

RANDOM = np.random.default_rng(0)


def values(task: Task, outputs: object, targets: object) -> dict[str, float | None]:
    return {m.name: m.value.value for m in score_outputs(task, outputs, targets, False).metrics}


def test_precision_and_recall_are_means_over_the_classes() -> None:
    outputs = np.eye(3)[[0, 0, 1, 1, 2, 0]]
    labels = np.array([0, 1, 1, 1, 2, 2])
    scored = score_outputs(CLASSIFICATION, outputs, labels, False)
    assert scored.samples == (1, 0, 1, 1, 1, 0)
    assert values(CLASSIFICATION, outputs, labels) == {
        "precision": pytest.approx((1 / 3 + 1 + 1) / 3),
        "recall": pytest.approx((1 + 2 / 3 + 1 / 2) / 3),
    }


@pytest.mark.parametrize(
    ("found", "mask", "wanted"),
    [
        ([[1, 1, 0, 0]], [[0, 1, 1, 0]], 1 / 3),
        ([[0, 0]], [[0, 0]], 1.0),
        ([[0, 1]], [[0, 0]], 0.0),
        ([[0, 1, 2, 2]], [[0, 1, 1, 2]], (1 + 1 / 2 + 1 / 2) / 3),
    ],
    ids=["half", "both empty", "nothing there", "three classes"],
)
def test_iou_is_the_overlap_over_the_union(found: object, mask: object, wanted: float) -> None:
    assert iou(np.array(found), np.array(mask)) == pytest.approx(wanted)


def test_masks_are_scored_at_one_half_or_at_a_logit_of_0() -> None:
    masks = np.array([[[1, 0], [0, 1]]])
    probabilities = np.array([[[[0.9], [0.2]], [[0.4], [0.6]]]])
    logits = np.log(probabilities / (1 - probabilities))
    assert score_outputs(SEGMENTATION, probabilities, masks, False).samples == (1.0,)
    assert score_outputs(SEGMENTATION, logits, masks, True).samples == (1.0,)
    assert values(SEGMENTATION, probabilities, masks)["pixel accuracy"] == 1.0


def test_noise_costs_psnr_what_its_definition_says_and_similarity_too() -> None:
    picture = np.full((32, 32, 3), 0.5)
    assert psnr(picture + 0.1, picture) == pytest.approx(20.0)
    assert psnr(picture, picture) == 100.0
    textured = RANDOM.random((32, 32, 3))
    assert ssim(textured, textured) == pytest.approx(1.0)
    assert ssim(textured[::-1], textured) < 0.2


def test_what_a_screen_cannot_show_costs_nothing() -> None:
    white = np.ones((1, 16, 16, 3))
    assert score_outputs(ENHANCEMENT, 1.7 * white, white, False).samples == pytest.approx((1.0,))


def test_metrics_that_cannot_be_had_say_why() -> None:
    pictures = RANDOM.random((2, 32, 32, 3))
    told = {m.name: m.value for m in score_outputs(ENHANCEMENT, pictures, pictures, False).metrics}
    assert list(told) == ["PSNR", "LPIPS", "NIQE", "PIQE", "BRISQUE"]
    assert "downloaded by torchvision" in str(told["LPIPS"].reason)
    assert told["PIQE"].value is not None or "edgekit[quality]" in str(told["PIQE"].reason)


def test_the_interval_of_a_mean_covers_it_95_times_of_100() -> None:
    draws = RANDOM.beta(8, 2, (400, 30))
    numbers = [mean_number(draw) for draw in draws]
    covered = sum((n.low or 0) <= 0.8 <= (n.high or 0) for n in numbers)
    assert 0.90 <= covered / 400 <= 0.98


def test_a_change_is_judged_on_the_same_images() -> None:
    base = RANDOM.random(50)
    change = mean_change(list(base - 0.01 + RANDOM.normal(0, 0.001, 50)), list(base))
    assert change.value == pytest.approx(-0.01, abs=1e-3)
    # Images differ by far more than the change, which every one of them shows.
    assert change.high is not None
    assert change.high < -0.009
    assert mean_number([0.4]).low is None


@pytest.mark.parametrize(
    ("name", "task", "chance"),
    [
        ("glyphs", CLASSIFICATION, 0.2),
        ("nuclei", SEGMENTATION, 0.4),
        ("lowlight", ENHANCEMENT, 0.6),
    ],
)
def test_generated_tasks_come_from_their_seed(name: str, task: Task, chance: float) -> None:
    counts = (40, 10, 20)
    ours, again, other = (
        load_data(generated(name, samples=counts, seed=seed)) for seed in (3, 3, 4)
    )
    assert ours.task is task
    assert ours.fingerprint == again.fingerprint != other.fingerprint
    # Splits share no sample, and an answer without a thought is a poor one.
    assert not (ours.train.x[:10, None] == ours.test.x[None, :10]).all(axis=(2, 3, 4)).any()
    assert ours.trivial[0] < chance


def test_generated_images_have_the_models_size_channels_and_scale() -> None:
    data = load_data(generated("nuclei", (32, 32, 3), "byte", samples=(4, 4, 4)))
    assert data.train.x.shape == (4, 32, 32, 3)
    assert data.train.y.shape == (4, 32, 32)
    assert 2 < data.train.x.max() <= 255
    with pytest.raises(DataError, match=r"\(8, 64, 1\); nuclei has square images.*\(64, 64, 1\)"):
        load_data("nuclei", (8, 64, 1))


X = np.zeros((8, 16, 16, 3))


@pytest.mark.parametrize(
    ("y", "task"),
    [
        (np.arange(8) % 2, CLASSIFICATION),
        (np.arange(8 * 256).reshape(8, 16, 16) % 2, SEGMENTATION),
        (np.arange(8 * 256).reshape(8, 16, 16, 1) % 2 > 0, SEGMENTATION),
        (RANDOM.random((8, 16, 16, 3)), ENHANCEMENT),
        (RANDOM.random((8, 16, 16, 1)), ENHANCEMENT),
        (np.full((8, 16, 16, 3), 200, np.uint8), ENHANCEMENT),
    ],
    ids=["labels", "masks", "yes or no", "colour", "grey", "bytes"],
)
def test_arrays_tell_their_task(y: np.ndarray, task: Task) -> None:
    assert load_data({"x": X, "y": y}).task is task


@pytest.mark.parametrize(
    ("y", "why"),
    [
        (np.full((8, 16, 16), 255), "masks with values from 255 to 255; .*0 and 1, not 0 and 255"),
        (np.full((8, 16, 16), -1), "masks with values from -1"),
        (np.full((8, 16, 16, 3), 3.5), "pictures with values from 3.5 to 3.5 .* from 0 to 1"),
        (np.full((8, 16, 16, 3), np.nan), "pictures with values from nan"),
        (np.full((8, 9, 9, 3), 0.5), "pictures of 9 x 9 pixels .* at least 11 x 11"),
        (np.zeros((7, 16, 16), int), "8 samples but 7 targets"),
        (np.zeros((8, 16, 16), int), "all training labels are 0; masks need two classes"),
    ],
)
def test_targets_that_cannot_be_learned_are_refused(y: np.ndarray, why: str) -> None:
    with pytest.raises(DataError, match=why):
        load_data({"x": X, "y": y})
