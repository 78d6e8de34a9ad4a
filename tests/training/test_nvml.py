"""What is read from NVML, on a library that answers as NVML does; no GPU takes part."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = """
#include <stdio.h>
#include <string.h>
typedef struct { unsigned int gpu, memory; } utilization;
static int device;
int nvmlInitWithFlags(unsigned int flags) { return 0; }
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return code == 3 ? "Not Supported" : "Not Found"; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **handle) {
    if (index > 1) return 6;
    *handle = &device + index;
    return 0;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    if (strcmp(uuid, "GPU-1")) return 6;
    *handle = &device + 1;
    return 0;
}
int nvmlDeviceGetName(void *handle, char *name, unsigned int length) {
    snprintf(name, length, "Pretended %d", (int)((int *)handle - &device));
    return 0;
}
int nvmlDeviceGetUtilizationRates(void *handle, utilization *found) {
    found->gpu = 37;
    found->memory = 5;
    return 0;
}
int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *millijoules) {
    if (handle == &device) return 3;
    *millijoules = 12345;
    return 0;
}
"""

ASK = """
import json, sys
from edgekit.training.nvml import open_gpu
from edgekit_device.errors import MeterError
try:
    gpu = open_gpu(json.loads(sys.argv[1]))
except MeterError as error:
    print(json.dumps(str(error)))
else:
    joules = gpu.joules if isinstance(gpu.joules, str) else gpu.joules.value()
    print(json.dumps([gpu.name, gpu.busy.value(), joules]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("pynvml")
    folder = tmp_path_factory.mktemp("nvml")
    (folder / "nvml.c").write_text(LIBRARY)
    made = ["gcc", "-shared", "-fPIC", "-o", f"{folder}/libnvidia-ml.so.1", f"{folder}/nvml.c"]
    subprocess.run(made, check=True)
    return folder


def asked(folder: Path | None, visible: dict[str, str]) -> object:
    import os

    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    if folder is not None:
        environ["LD_LIBRARY_PATH"] = str(folder)
    command = [sys.executable, "-c", ASK, json.dumps(visible)]
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


def test_shares_and_joules_are_read(folder: Path) -> None:
    assert asked(folder, {"CUDA_VISIBLE_DEVICES": "1,0"}) == ["Pretended 1", 0.37, 12.345]
    assert asked(folder, {"CUDA_VISIBLE_DEVICES": "GPU-1"}) == ["Pretended 1", 0.37, 12.345]


def test_a_gpu_that_counts_no_joules_says_so(folder: Path) -> None:
    name, busy, joules = asked(folder, {})
    assert (name, busy) == ("Pretended 0", 0.37)
    assert joules == "NVML: Pretended 0 counts no joules (Not Supported)"


def test_a_gpu_that_is_not_there_is_an_error(folder: Path) -> None:
    assert asked(folder, {"CUDA_VISIBLE_DEVICES": "7"}) == "NVML: Not Found"
    assert "begins with no GPU's number" in str(asked(folder, {"CUDA_VISIBLE_DEVICES": ""}))
