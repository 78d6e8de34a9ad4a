"""Damaged model files by way of the protocol: each is answered, and none ends the agent."""

from itertools import islice
from pathlib import Path

import pytest
from mutated_files import mutations, profile_mutations


@pytest.mark.slow
def test_every_mutated_file_is_answered_and_nothing_is_left(tmp_path: Path) -> None:
    outcomes = profile_mutations(tmp_path, islice(mutations(0), 40), at_once=8)
    assert sum(outcomes.values()) == 40
    # Some are refused, and some are harmless enough to run.
    assert outcomes["ok"]
    assert outcomes["load"] + outcomes["crash"]
    assert set(outcomes) <= {"ok", "load", "crash", "inference", "inputs", "timeout"}


def test_mutations_are_the_same_for_the_same_seed() -> None:
    first, again, other = (list(islice(mutations(seed), 20)) for seed in (1, 1, 2))
    assert first == again != other
    assert all(content[4:8] == b"TFL3" for content in first)
