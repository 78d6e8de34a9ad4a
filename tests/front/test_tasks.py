"""How answers are rated: IoU, SSIM, PSNR, precision and recall, and intervals over images."""

import numpy as np
import pytest
from PIL import ImageFont

from edgekit.data import glyphs, load_data, lowlight
from edgekit.data.generated import generated
from edgekit.errors import DataError, RunError
from edgekit.evaluate import mean_change, mean_number, mean_share
from edgekit.tasks import CLASSIFICATION, ENHANCEMENT, SEGMENTATION, Task, score_outputs
from edgekit.tasks.enhancement import psnr, ssim
from edgekit.tasks.quality import quality
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
    ("found", "mask", "classes", "wanted"),
    [
        ([[1, 1, 0, 0]], [[0, 1, 1, 0]], 2, 1 / 3),
        ([[0, 0]], [[0, 0]], 2, 1.0),
        ([[0, 1]], [[0, 0]], 2, 0.0),
        ([[0, 1, 2, 2]], [[0, 1, 1, 2]], 3, (1 + 1 / 2 + 1 / 2) / 3),
        ([[0, 0, 1, 0]], [[0, 0, 1, 1]], 3, (2 / 3 + 1 / 2) / 2),
        ([[0, 0, 2, 0]], [[0, 0, 2, 2]], 3, (2 / 3 + 1 / 2) / 2),
    ],
    ids=["half", "both empty", "nothing there", "three classes", "first of three", "last of three"],
)
def test_iou_is_the_overlap_over_the_union(
    found: object, mask: object, classes: int, wanted: float
) -> None:
    assert iou(np.array(found), np.array(mask), classes) == pytest.approx(wanted)


def test_an_image_of_one_class_is_rated_as_the_others_of_its_task() -> None:
    masks = np.array([[[0, 0, 1, 1]], [[0, 0, 2, 2]]])
    found = np.array([[[0, 0, 1, 0]], [[0, 0, 2, 0]]])
    first, second = score_outputs(SEGMENTATION, np.eye(3)[found], masks, False).samples
    assert first == second


def test_nothing_to_find_has_no_precision_and_no_recall() -> None:
    nothing = np.zeros((3, 4, 4, 1))
    scored = score_outputs(SEGMENTATION, nothing, np.zeros((3, 4, 4), np.int64), False)
    assert scored.samples == (1.0, 1.0, 1.0)
    told = {metric.name: metric.value for metric in scored.metrics}
    assert str(told["precision"].reason) == "nothing was found"
    assert str(told["recall"].reason) == "there is nothing to find in the test samples"
    assert told["pixel accuracy"].value == 1.0


@pytest.mark.parametrize(("share", "said"), [(0.9, "background"), (0.1, "foreground")])
def test_the_better_of_both_answers_without_a_thought_is_told(share: float, said: str) -> None:
    masks = np.ones((10, 4, 4), np.int64)
    masks[: int(10 * share)] = 0
    score, answer = SEGMENTATION.trivial(masks, masks, 2)
    assert (score, answer) == (pytest.approx(0.9), f"calling every pixel {said}")


@pytest.mark.parametrize("task", [CLASSIFICATION, SEGMENTATION, ENHANCEMENT])
def test_an_output_of_nan_has_no_score(task: Task) -> None:
    outputs = RANDOM.random((3, 16, 16, 3) if task is not CLASSIFICATION else (3, 4))
    targets = {"classification": np.zeros(3, int), "segmentation": np.zeros((3, 16, 16), int)}
    outputs[1].flat[0] = np.nan
    with pytest.raises(RunError, match="output for sample 1 of 3 holds NaN"):
        score_outputs(task, outputs, targets.get(task.kind, outputs), False)


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


def test_piqe_sees_the_colours_as_they_are() -> None:
    pictures = np.zeros((1, 64, 64, 3))
    pictures[..., 0] = np.round(255 * RANDOM.random((64, 64))) / 255
    told = {metric.name: metric.value for metric in quality(pictures)}["PIQE"]
    try:
        from pypiqe import piqe
    except ImportError:
        assert "pypiqe" in str(told.reason)
        return
    as_opencv_has_it = np.round(255 * pictures[0, ..., ::-1]).astype(np.uint8)
    assert told.value == pytest.approx(float(piqe(as_opencv_has_it)[0]))


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


def test_the_interval_of_a_share_ends_at_1() -> None:
    beyond, within = mean_number([0.9, 1.0]), mean_share([0.9, 1.0])
    assert beyond.high is not None
    assert beyond.high > 1.0 == within.high
    assert (within.value, within.low) == (beyond.value, beyond.low)
    assert mean_share([0.4]).low is None


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


def test_no_photograph_is_in_two_splits() -> None:
    names = [name for split in lowlight.PHOTOGRAPHS.values() for name in split]
    assert len(names) == len(set(names)) == 7
    assert set(lowlight.PHOTOGRAPHS) == {"train", "val", "test"}


def test_fonts_look_the_same_on_machines_with_and_without_libfribidi() -> None:
    assert {font.layout_engine for font in glyphs.fonts(24)} == {ImageFont.Layout.BASIC}


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
        (np.full((8, 16, 16, 1), 255, np.uint8), "Grey pictures as targets are given from 0 to 1"),
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
