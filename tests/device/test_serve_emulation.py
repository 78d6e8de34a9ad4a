"""An agent that runs models with the NEPU delegate."""

import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from agent_client import AgentClient

from edgekit_device.arithmetic import Arithmetic
from edgekit_device.emulation import Emulation, emulate
from edgekit_device.runtime import choose, installed

Copy = Callable[..., Path]


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[AgentClient]:
    with AgentClient(tmp_path / "store") as client:
        yield client


def counts(done: Emulation) -> list[dict[str, Any]]:
    return [{**vars(node), "wall_ns": 0} for node in done.totals]


@pytest.mark.parametrize(
    "arithmetic", [Arithmetic(), Arithmetic(weight_bits=4, multiplier="drum(4)")], ids=str
)
def test_it_counts_what_the_command_counts(
    agent: AgentClient, model: Copy, arithmetic: Arithmetic
) -> None:
    file = model("conv_int8")
    assert agent.emulate("job", agent.put_model(file), arithmetic=arithmetic)["type"] == "running"
    (document,) = agent.until("result", "error")["records"]
    told = Emulation.from_json(document)
    here, _ = emulate(file, "nepu-v1", arithmetic, choose("auto", installed()))
    assert (told.inputs, told.inferences) == ("golden", here.inferences)
    assert (told.arithmetic, told.nodes) == (arithmetic, here.nodes)
    assert counts(told) == counts(here)


def test_a_multiplier_s_table_is_put_beside_the_model(
    agent: AgentClient, model: Copy, tmp_path: Path
) -> None:
    table, values = tmp_path / "zero.bin", np.zeros((256, 256), "<i4")
    arithmetic = Arithmetic(multiplier=f"table({table})")
    file = agent.put_model(model("conv_int8"))
    refused = agent.emulate("job", file, arithmetic=arithmetic)
    assert (refused["kind"], refused["ended"]) == ("bad-request", False)
    assert "the file of the multiplier's table is needed" in refused["message"]
    values.tofile(table)
    # The arithmetic that was asked for is not the table's.
    refused = agent.emulate("job", file, arithmetic=Arithmetic(), table=agent.put(table))
    assert (refused["kind"], refused["ended"]) == ("bad-request", False)
    assert "alone. Received with the multiplier 'exact'" in refused["message"]
    agent.emulate("job", file, arithmetic=arithmetic, table=agent.put(table))
    end = agent.until("result", "error")
    assert end["type"] == "result", end
    assert sum(node["macs"] for node in end["records"][0]["totals"]) > 0


def test_a_board_without_the_delegate_says_so(
    model: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEKIT_NEPU_LIBRARY", str(tmp_path / "none.so"))
    with AgentClient(tmp_path / "store") as agent:
        agent.emulate("job", agent.put_model(model("conv_int8")), arithmetic=Arithmetic())
        end = agent.until("result", "error")
    assert (end["kind"], end["ended"]) == ("no-delegate", True)
    assert "delegate unavailable" in end["message"]


def test_a_model_that_breaks_its_process_leaves_no_core_file(
    agent: AgentClient, model: Copy, tmp_path: Path
) -> None:
    file = agent.put_model(model("conv_int8"))
    with (tmp_path / "store/machine").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        agent.emulate("job", file, arithmetic=Arithmetic())
        assert agent.receive()["event"]["event"] == "waiting"
        (job,) = psutil.Process(agent.process.pid).children()
        assert job.rlimit(psutil.RLIMIT_CORE)[0] == 0
        assert Path(f"/proc/{job.pid}/oom_score_adj").read_text().strip() == "1000"
    assert agent.until("result", "error")["type"] == "result"


def test_what_cannot_be_asked_is_refused(agent: AgentClient, model: Copy) -> None:
    file = agent.put_model(model("conv_int8"))
    wrong = {"weight_bits": 1}
    answer = agent.ask(
        type="emulate",
        job="job",
        models=[file],
        npu="nepu-v1",
        arithmetic={**vars(Arithmetic()), **wrong},
        table=None,
        runtime="auto",
        keep_s=0.0,
    )
    assert (answer["kind"], answer["ended"]) == ("bad-request", False)
    assert "weight_bits must be a whole number from 2 to 8. Received: 1" in answer["message"]
