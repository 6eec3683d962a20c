"""DeepSpeed's ZeRO on two processors over gloo: it learns what one process does, and goes on from a checkpoint.
Left out: GPUs, and ZeRO-3 with rollouts, which needs vLLM to sample. `make test-slow` brings DeepSpeed, beside the
environment and not in it: where it can be imported, every library says so at each start."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pzlib.engine.processes import follow, start_all
from pzlib.paths import REPO
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.train import train

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("deepspeed")]
SETTINGS = {"tier": "smoke", "steps": 3, "passages": 4, "save_every": 1}

# accelerate asks for no backend where it finds no GPU, and takes DeepSpeed for GPUs only: it is told of gloo, and not
# that these are processors.
SCRIPT = """
import json, sys, torch
from accelerate import PartialState
from accelerate.utils.deepspeed import DeepSpeedOptimizerWrapper
from pzlib.runs.callbacks import Recorder
from pzlib.run import Run
from pzlib.train import train
torch.set_num_threads(1)

def wrapped(self, args, state, control, model, optimizer, **_):
    assert isinstance(optimizer, DeepSpeedOptimizerWrapper)
    self.rate = optimizer.param_groups[0]["lr"]

Recorder.on_pre_optimizer_step = wrapped
state = PartialState(backend="gloo")
assert (state.num_processes, state.distributed_type.value) == (2, "DEEPSPEED")
settings = json.loads(open(sys.argv[1]).read())
train(Run(**settings))
state.wait_for_everyone()
"""


@pytest.fixture(scope="module")
def site():
    """Where DeepSpeed lies."""
    folder = Path(os.environ.get("PZLIB_DEEPSPEED") or REPO / ".deepspeed")
    if not (folder / "deepspeed").is_dir():
        pytest.skip(f"no DeepSpeed in {folder}; `make .deepspeed/installed`")
    if not shutil.which("g++"):
        pytest.skip("DeepSpeed compiles what it needs; there is no g++")
    return folder


@pytest.fixture
def start(site, home, tmp_path):
    """start(settings) trains a run on two processes and returns its RunFolder."""

    def begin(settings):
        (tmp_path / "train.py").write_text(SCRIPT)
        (tmp_path / "run.json").write_text(json.dumps(settings))
        command, run = [sys.executable, tmp_path / "train.py", tmp_path / "run.json"], Run(**settings)
        where = {"PYTHONPATH": f"{REPO}:{site}", "DS_ACCELERATOR": "cpu"}
        assert follow(start_all(command, run, gpus=True, **where)) is None
        return RunFolder(Run(**settings).folder)

    return begin


@pytest.mark.parametrize("objective, sharding", [("sft", "zero3"), ("pretrainzero", "zero2"), ("rlp", "zero2")])
def test_two_processes_learn_what_one_does(start, objective, sharding):
    settings = SETTINGS | {"objective": objective}
    two = start(settings | {"processes": 2, "sharding": sharding, "name": "two"})
    one = train(Run(**settings, name="one"))
    losses, norms = ([folder.metrics()[name].tolist() for folder in (two, one)] for name in ("loss", "grad_norm"))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4, abs=1e-6)
    assert norms[0] == pytest.approx(norms[1], rel=1e-3) and max(norms[1]) > 0
    if objective != "sft":
        drop = ["reward", "advantage", "entropy"]  # what a model computes, so that rounding may reach it
        assert two.episodes().drop(columns=drop).equals(one.episodes().drop(columns=drop))
    ours, theirs, begin = (
        load_file(path / "model.safetensors")
        for path in (two.path / "model", one.path / "model", REPO / "data/tinybase_a")
    )
    head = ours.pop("lm_head.weight", ours["model.embed_tokens.weight"])  # a tied weight is stored by both its names
    assert ours.keys() == theirs.keys() and torch.equal(head, ours["model.embed_tokens.weight"])
    apart, moved = (
        sum((theirs[name] - other[name]).norm() ** 2 for name in theirs) ** 0.5 for other in (ours, begin)
    )
    assert 0 < moved and apart < 1e-3 * moved


def test_a_stopped_run_goes_on_from_its_checkpoint(start):
    settings = SETTINGS | {"objective": "sft", "processes": 2, "sharding": "zero3", "name": "stopped"}
    folder = start(settings)
    first, metrics = load_file(folder.path / "model/model.safetensors"), folder.metrics()
    shutil.rmtree(folder.path / "checkpoints/checkpoint-3")
    folder.set_status("failed", error="stopped")
    again = load_file(start(settings).path / "model/model.safetensors")
    assert max((first[name] - again[name]).abs().max() for name in first) < 1e-6
    assert folder.metrics()["loss"].tolist() == pytest.approx(metrics["loss"].tolist(), rel=1e-5)
