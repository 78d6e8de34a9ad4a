"""Damaged `.tflite` files by the thousand, and one agent that has to answer for each of them."""

import os
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import psutil
from agent_client import SHORT, AgentClient

MODELS = Path(__file__).parent / "models"

# Sizes, offsets and counts that a reader of FlatBuffers may stumble over.
_WORDS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutations(seed: int) -> Iterator[bytes]:
    """Damaged copies of the models of the tests, without an end, the same for the same seed."""
    generator = random.Random(seed)
    models = [path.read_bytes() for path in sorted(MODELS.glob("*.tflite"))]
    while True:
        yield _mutated(bytearray(generator.choice(models)), generator, models)


def _mutated(content: bytearray, generator: random.Random, models: list[bytes]) -> bytes:
    for _ in range(generator.randint(1, 6)):
        at = generator.randrange(len(content))
        match generator.randrange(7):
            case 0 | 1:
                content[at] ^= 1 << generator.randrange(8)
            case 2 | 3:
                word = generator.choice(_WORDS).to_bytes(4, "little")
                content[at // 4 * 4 : at // 4 * 4 + 4] = word
            case 4:
                content[at : at + 8] = generator.randbytes(8)
            case 5:
                other = generator.choice(models)
                start = generator.randrange(len(other))
                content[at : at + 64] = other[start : start + 64]
            case _ if generator.random() < 0.2:
                del content[max(at, 8) :]
    # Without its mark the file would not come as far as the runtime.
    content[4:8] = b"TFL3"
    return bytes(content)


def profile_mutations(home: Path, contents: Iterable[bytes], at_once: int) -> Counter[str]:
    """Have one agent profile the files, some in a job; give how often each outcome came.

    Raises AssertionError where a file goes unanswered, a process or a file is left, or it dies.
    """
    outcomes: Counter[str] = Counter()
    store, nowhere, given = home / "store", home / "nowhere", iter(contents)
    nowhere.mkdir()
    # Where core files and temporary files would be.
    around = ("env", "-C", str(nowhere), f"TMPDIR={nowhere}")
    settings = replace(SHORT, timeout_s=10.0)
    file = home / "mutated.tflite"
    with AgentClient(store, around=around) as agent:
        process = psutil.Process(agent.process.pid)
        while batch := list(islice(given, at_once)):
            models = []
            for content in batch:
                file.write_bytes(content)
                models.append(agent.put_model(file))
            agent.profile("job", *models, settings=settings)
            records = agent.until("result", "error")["records"]
            assert len(records) == len(batch)
            for record in records:
                failed = record["error"]
                assert (record["status"] == "error") == (failed is not None)
                outcomes[failed["kind"] if failed else "ok"] += 1
            agent.ask(type="forget", job="job")
            left = process.children(recursive=True)
            assert not left, left
        assert agent.process.poll() is None
        agent.stdin.close()
        assert agent.process.wait(60) == 0
    assert os.listdir(nowhere) == []
    assert list((store / "jobs").iterdir()) == []
    assert list((store / "incoming").iterdir()) == []
    file.unlink()
    return outcomes
