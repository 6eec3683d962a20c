"""The check for GPU boxes, dry: the script runs without a GPU and a network, and its measures agree where they must."""

import os
import subprocess
import sys

import pandas as pd
import pytest
import torch

from tests.bench.gpu_check import PLANNED, WAYS, store

SCRIPT = "tests/bench/gpu_check.sh"


@pytest.mark.slow
def test_the_script_runs_dry_and_no_way_changes_the_gradient(tmp_path):
    out = tmp_path / "gpu.csv"
    done = subprocess.run(
        [SCRIPT, "--dry", str(out)], env=os.environ | {"PYTHON": sys.executable}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    table = pd.read_csv(out).set_index(["measure", "way"])["value"].unstack("way")
    played = table.loc[["sampling, tokens a second", "training, tokens a second", "peak memory, MiB"], list(WAYS)]
    assert (played > 0).all().all()
    assert (table.loc["planned memory, MiB", list(PLANNED)] > 0).all()
    norms = table.loc["gradient norm, step 1", list(WAYS)]
    assert norms.min() > 0 and norms.max() - norms.min() < 1e-2 * norms.min()
    beside = table["tinybase in float32, against the CPU"].dropna()
    assert beside.to_dict() == {
        "equal completions, step 1": 1.0, "equal completions, 3 steps": 1.0, "weights apart, of the largest move": 0.0,
    }  # fmt: skip


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_without_a_gpu_it_says_how_to_try_it():
    done = subprocess.run([SCRIPT], env=os.environ | {"PYTHON": sys.executable}, capture_output=True, text=True)
    assert done.returncode == 1 and "here is no GPU; --dry OUT.csv tries the script on a CPU" in done.stderr


def test_rows_of_other_devices_stay_and_those_of_the_same_are_replaced(tmp_path):
    out = tmp_path / "gpu.csv"
    for device, value in (("a", 1.0), ("b", 2.0), ("a", 3.00004)):
        store([{"device": device, "measure": "m", "value": value}], out)
    assert pd.read_csv(out)[["device", "value"]].to_numpy().tolist() == [["b", 2.0], ["a", 3.0]]
