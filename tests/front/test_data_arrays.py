"""`.npz` files and `file.py:function`: what is read, and that splits are what they say."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.data import Dataset, Split, load_data

N = 40
X = np.arange(N * 16, dtype=np.float64).reshape(N, 4, 4, 1) / 1000
Y = np.arange(N) % 4
SHAPE = (4, 4, 1)


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


def ids(split: Split) -> list[int]:
    """The samples' first values, which are all different, as numbers of samples."""
    return [round(float(value) * 1000) // 16 for value in split.x.reshape(len(split), -1)[:, 0]]


def all_ids(data: Dataset) -> list[int]:
    return ids(data.train) + ids(data.validation) + ids(data.test)


def test_digits_have_the_published_size_and_values_from_0_to_1() -> None:
    data = load_data("digits", (8, 8, 1))
    assert len(data.train) + len(data.validation) + len(data.test) == 1797
    assert data.classes == 10
    assert data.train.x.shape[1:] == (8, 8, 1)
    assert (data.train.x.min(), data.train.x.max()) == (0.0, 1.0)
    assert len(data.test) == round(1797 * 0.25)


def test_splits_in_the_file_are_taken_as_they_are(tmp_path: Path) -> None:
    file = saved(
        tmp_path,
        x_train=X[:20],
        y_train=Y[:20],
        x_val=X[20:30],
        y_val=Y[20:30],
        x_test=X[30:],
        y_test=Y[30:],
    )
    data = load_data(file, SHAPE)
    assert ids(data.train) == list(range(20))
    assert ids(data.validation) == list(range(20, 30))
    assert ids(data.test) == list(range(30, 40))
    assert list(data.test.y) == list(Y[30:])


def test_a_missing_validation_split_comes_out_of_training_and_not_out_of_test(
    tmp_path: Path,
) -> None:
    file = saved(tmp_path, x_train=X[:30], y_train=Y[:30], x_test=X[30:], y_test=Y[30:])
    data = load_data(file, SHAPE)
    assert ids(data.test) == list(range(30, 40))
    assert sorted(ids(data.train) + ids(data.validation)) == list(range(30))
    assert len(data.validation) == round(0.15 * 30)


def test_a_given_validation_split_stays_when_the_test_split_has_to_be_made(tmp_path: Path) -> None:
    file = saved(tmp_path, x_train=X[:30], y_train=Y[:30], x_val=X[30:], y_val=Y[30:])
    data = load_data(file, SHAPE)
    assert ids(data.validation) == list(range(30, 40))
    assert sorted(ids(data.train) + ids(data.test)) == list(range(30))


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param(np.eye(4)[Y], id="one-hot"),
        pytest.param(np.eye(4, dtype=bool)[Y], id="one-hot-bool"),
        pytest.param(Y[:, None], id="column"),
        pytest.param(Y.astype(np.float32), id="whole-floats"),
        pytest.param(Y.astype(np.uint8), id="uint8"),
    ],
)
def test_labels_are_read_in_every_common_form(tmp_path: Path, labels: Any) -> None:
    data = load_data(saved(tmp_path, x=X, y=labels), SHAPE)
    assert data.classes == 4
    for split in (data.train, data.validation, data.test):
        assert split.y.dtype == np.int64
        assert list(split.y) == [Y[i] for i in ids(split)]


def test_a_missing_channel_axis_is_added(tmp_path: Path) -> None:
    data = load_data(saved(tmp_path, x=X[..., 0], y=Y), SHAPE)
    assert data.train.x.shape[1:] == SHAPE
    assert sorted(all_ids(data)) == list(range(N))


def test_whole_numbers_keep_their_values_as_float32(tmp_path: Path) -> None:
    images = (np.arange(N * 16) % 256).astype(np.uint8).reshape(N, 4, 4, 1)
    data = load_data(saved(tmp_path, x=images, y=Y), SHAPE)
    assert data.train.x.dtype == np.float32
    assert max(s.x.max() for s in (data.train, data.validation, data.test)) == 255


def test_an_open_size_of_the_model_takes_any(tmp_path: Path) -> None:
    assert load_data(saved(tmp_path, x=X, y=Y), (None, None, 1)).train.x.shape[1:] == SHAPE


@pytest.mark.parametrize("function", ["pair", "lists", "named", "plain"])
def test_a_function_gives_pairs_or_names(tmp_path: Path, function: str) -> None:
    file = tmp_path / "source.py"
    file.write_text("""
import numpy as np
X, Y = np.arange(640.0).reshape(40, 4, 4, 1) / 1000, np.arange(40) % 4
def pair(): return (X[:30], Y[:30]), (X[30:], Y[30:])
def lists(): return [[X[:30].tolist(), Y[:30].tolist()], [X[30:].tolist(), Y[30:].tolist()]]
def named(): return {"x_train": X[:30], "y_train": Y[:30], "x_test": X[30:], "y_test": Y[30:]}
def plain(): return {"x": X, "y": Y}
""")
    data = load_data(f"{file}:{function}", SHAPE)
    assert sorted(all_ids(data)) == list(range(N))
    if function != "plain":
        assert ids(data.test) == list(range(30, 40))


def test_a_data_set_at_hand_is_given_back() -> None:
    data = load_data("digits", (8, 8, 1))
    assert load_data(data, (8, 8, 1)) is data


@given(counts=st.lists(st.integers(5, 30), min_size=2, max_size=5), seed=st.integers(0, 2**32 - 1))
def test_splits_are_disjoint_complete_stratified_and_repeatable(
    counts: list[int], seed: int
) -> None:
    y = np.repeat(np.arange(len(counts)), counts)
    x = np.arange(len(y) * 16, dtype=np.float64).reshape(-1, 4, 4, 1) / 1000

    def split() -> Dataset:
        return load_data({"x": x, "y": y}, SHAPE, seed=seed)

    data = split()
    assert sorted(all_ids(data)) == list(range(len(y)))
    assert all_ids(data) == all_ids(split())
    for label, count in enumerate(counts):
        held = int((data.test.y == label).sum())
        assert abs(held - len(data.test) * count / len(y)) <= 1
        assert (data.train.y == label).any()


def test_another_seed_gives_other_splits() -> None:
    one, other = (load_data("digits", (8, 8, 1), seed=seed) for seed in (0, 1))
    assert not np.array_equal(one.test.y, other.test.y)
    assert one.fingerprint != other.fingerprint


@given(
    split=st.sampled_from(["train", "validation", "test"]),
    array=st.sampled_from(["x", "y"]),
    place=st.integers(0, 9),
)
def test_the_fingerprint_tells_any_changed_value(split: str, array: str, place: int) -> None:
    def data() -> Dataset:
        parts = (Split(np.zeros((10, 4), np.float32), np.zeros(10, np.int64)) for _ in range(3))
        return Dataset("data", *parts, classes=2)

    changed = data()
    values = getattr(getattr(changed, split), array)
    values[place] = 1
    assert changed.fingerprint != data().fingerprint
    assert data().fingerprint == data().fingerprint


def test_the_fingerprint_of_masks_does_not_depend_on_how_numbers_are_kept() -> None:
    x, y = np.zeros((100, 4, 4, 1), np.float32), np.arange(1600).reshape(100, 4, 4) % 7
    wide, narrow = (
        Dataset("data", *[Split(x, y.astype(kind))] * 3, classes=7) for kind in (np.int64, np.uint8)
    )
    assert wide.fingerprint == narrow.fingerprint


def test_the_fingerprint_tells_splits_from_their_concatenation() -> None:
    x, y = np.zeros((12, 4), np.float32), np.zeros(12, np.int64)

    def cut(*ends: int) -> Dataset:
        edges = (0, *ends, 12)
        parts = (Split(x[a:b], y[a:b]) for a, b in itertools.pairwise(edges))
        return Dataset("data", *parts, classes=2)

    assert cut(6, 9).fingerprint != cut(4, 9).fingerprint
