"""Two real processes (gloo, on processors) are as one: same blocks, draws, rewards and gradients; a killed one ends the
run in words, and the same command goes on."""

import json
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import psutil
import pytest
import torch
from benchmarkfiles import benchmark_files  # noqa: F401 - a fixture
from safetensors.torch import load_file

from pzlib.engine.processes import follow, start, start_all
from pzlib.evaluation.along import along
from pzlib.evaluation.harness import Protocol
from pzlib.paths import root
from pzlib.run import Run
from pzlib.runs.callbacks import kept
from pzlib.runs.folder import RunFolder
from pzlib.train import train

# the runs that most of these tests look at are made once, not by every worker of pytest-xdist
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("processes")]

TIMES = ["seconds", "seconds_generation", "seconds_training", "seconds_evaluation"]
REAL = ["reward", "advantage", "entropy"]  # numbers that a model computes, so that rounding may reach them
VARIANTS = {
    "pretrainzero": {"filter": "none"},
    "refill": {"filter": "refill"},  # as often as not one process has a dead block and the other has none
    "one": {"mask_rule": "one", "temperature": 0.7, "top_p": 0.9, "kl": 0.01, "drop_rows": False},
    "random_steps_first": {"random_span_steps": 1, "filter": "refill"},
    "micro": {"micro_batch_rows": 8, "generator_every": 2},
    "lora": {"lora_rank": 2},
    "random_span": {"objective": "random_span"},
    "random_next_token": {"objective": "random_next_token"},
    "entropy_next_token": {"objective": "entropy_next_token", "passages": 8, "corpus": "tinywiki_clean"},
    "rlvr": {"objective": "rlvr", "passages": 8},
    "rpt": {"objective": "rpt", "dynamic_from": 2},
    "rlp": {"objective": "rlp", "passages": 8, "ema": 0.5},
    "likelihood": {
        "objective": "entropy_next_token",
        "reward": "logprob",
        "std_filter": 0.5,
        "corpus": "tinywiki_clean",
    },
    "answer_term": {"objective": "random_span", "reward": "jepo", "answer_term": True, "filter": "none"},
    "sft": {"objective": "sft"},
    "continued_pretraining": {"objective": "continued_pretraining"},
    "quiet_star": {"objective": "quiet_star", "max_completion_tokens": 3},
}
# Trains the runs it is given one after the other, and keeps the gradient of each first step.
SCRIPT = """
import json, sys, torch
from accelerate import PartialState
from pzlib.runs.callbacks import Recorder
from pzlib.run import Run
from pzlib.train import train
torch.set_num_threads(1)
state = PartialState(cpu=True)

def keep(self, args, state_, control, model, optimizer, **_):
    self.rate = optimizer.param_groups[0]["lr"]
    path = self.folder.path / "gradient.pt"
    if state.is_main_process and state_.global_step == 0:
        torch.save(torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad]), path)

Recorder.on_pre_optimizer_step = keep
for settings in json.loads(open(sys.argv[1]).read()):
    train(Run(**settings))
"""


@pytest.fixture(scope="module")
def sizes(skilled, tiny_model):
    def make(name, **changes):
        objective = changes.get("objective")
        if objective in ("entropy_next_token", "rpt"):  # which the tiny model was not taught
            return {"tier": "smoke", "name": name, "steps": 2, "passages": 4, **changes}
        return {
            "tier": "smoke", "name": name, "steps": 2, "passages": 4, "min_tokens": 4, "learning_rate": 1e-3,
            "model": str(tiny_model if objective == "rlp" else skilled / "model"),
            "corpus": str(skilled / ("problems.jsonl" if objective == "rlvr" else "corpus.jsonl")),
            "max_prompt_tokens": 32, "max_completion_tokens": 8, **changes,
        }  # fmt: skip

    return make


@pytest.fixture(scope="module")
def homes(sizes, tmp_path_factory):
    """Where every variant was run by one process, and where by two."""
    folder = tmp_path_factory.mktemp("homes")
    (folder / "train.py").write_text(SCRIPT)
    (folder / "runs.json").write_text(json.dumps([sizes(name, **changes) for name, changes in VARIANTS.items()]))
    command = [sys.executable, folder / "train.py", folder / "runs.json"]
    assert follow([start(command, {"PZLIB_HOME": str(folder / "one"), "ACCELERATE_USE_CPU": "true"})]) is None
    assert follow(start_all(command, Run(processes=2), gpus=False, PZLIB_HOME=folder / "two")) is None
    return folder / "one", folder / "two"


@pytest.mark.parametrize("name", VARIANTS)
def test_two_processes_play_reward_and_learn_what_one_does(homes, sizes, name):
    one, two = (RunFolder(home / "data/runs" / name) for home in homes)
    ours, theirs = two.episodes(), one.episodes()
    if VARIANTS[name].get("objective") not in ("sft", "continued_pretraining", "quiet_star"):
        assert len(list((two.path / "episodes").iterdir())) == 2 * len(list((one.path / "episodes").iterdir())) == 4
        assert len(ours) > 0
    pd.testing.assert_frame_equal(ours.drop(columns=REAL), theirs.drop(columns=REAL))
    least = 1e-4 if name in ("rlp", "likelihood") else 1e-5
    pd.testing.assert_frame_equal(ours[REAL], theirs[REAL], rtol=0, atol=least)
    metrics = [folder.metrics().drop(columns=TIMES) for folder in (two, one)]
    pd.testing.assert_frame_equal(*metrics, rtol=1e-3, atol=1e-5)
    gradients = [torch.load(folder.path / "gradient.pt", weights_only=True) for folder in (two, one)]
    size = gradients[1].norm()
    assert size > 0 and (gradients[0] - gradients[1]).norm() < 1e-5 * size
    # Adam divides by the root of the squared gradient: where that is all but 0, rounding decides
    ends = [folder.path / "model/model.safetensors" for folder in (two, one)]
    source = Run(**sizes(name, **VARIANTS[name])).model_source
    two_end, one_end, begin = map(load_file, (*ends, f"{source}/model.safetensors"))
    apart, moved = (
        sum((one_end[key] - other[key]).norm() ** 2 for key in one_end) ** 0.5 for other in (two_end, begin)
    )
    assert 0 < moved and apart < 1e-3 * moved


def test_some_of_these_runs_met_what_could_have_parted_them(homes):
    one = {name: RunFolder(homes[0] / "data/runs" / name).metrics() for name in VARIANTS}
    assert one["refill"]["refilled"].sum() > 0 and one["pretrainzero"]["fillers"].sum() > 0
    assert (one["micro"]["rows_trained"] < one["micro"]["rows"]).all()


# accelerate shards on GPUs only: two processors are called such, and FSDP2 does the rest over gloo. Then the last
# checkpoint is taken away, and the run goes on from the one before it.
SHARDED = """
import json, shutil, sys, torch
import accelerate.state
from accelerate import PartialState
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor
from pzlib.runs.callbacks import Recorder
from pzlib.run import Run
from pzlib.train import train
torch.set_num_threads(1)
plain = accelerate.state.PartialState.__init__

def renamed(self, *args, **kwargs):
    plain(self, *args, **kwargs)
    if self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type = DistributedType.MULTI_GPU

def sharded(self, args, state, control, model, optimizer, **_):
    assert all(isinstance(weight, DTensor) for weight in model.parameters())
    self.rate = optimizer.param_groups[0]["lr"]

accelerate.state.PartialState.__init__ = renamed
Recorder.on_pre_optimizer_step = sharded
state = PartialState(cpu=True)
run = Run(**json.loads(open(sys.argv[1]).read()))
folder = train(run)
if state.is_main_process:
    shutil.copytree(folder.path / "model", folder.path / "first")
    shutil.rmtree(folder.path / "checkpoints/checkpoint-2")
    folder.set_status("failed", error="stopped")
state.wait_for_everyone()
train(run)
"""


def test_fsdp_on_two_processors_learns_what_whole_copies_do_and_goes_on_from_a_checkpoint(homes, sizes, home, tmp_path):
    settings = sizes("sft", objective="sft", save_every=1)
    for name, content in (
        ("train.py", SHARDED),
        ("run.json", json.dumps(settings)),
    ):
        (tmp_path / name).write_text(content)
    command = [sys.executable, tmp_path / "train.py", tmp_path / "run.json"]
    assert follow(start_all(command, Run(processes=2, sharding="fsdp"), gpus=False)) is None
    ours, first, theirs = (
        load_file(folder / "model.safetensors")
        for folder in (home / "data/runs/sft/model", home / "data/runs/sft/first", homes[1] / "data/runs/sft/model")
    )
    assert all(torch.equal(ours[name], first[name]) for name in ours), "it went on as if it had never stopped"
    assert max((ours[name] - theirs[name]).abs().max() for name in theirs) < 1e-5
    losses = [RunFolder(where / "data/runs/sft").metrics()["loss"].tolist() for where in (home, homes[1])]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
def test_two_processes_keep_the_models_that_one_keeps(sizes, home, tmp_path, sharding, benchmark_files):  # noqa: F811
    settings = sizes("kept", objective="sft", steps=4, keep_every=1, save_every=4, dtype="bfloat16")
    (tmp_path / "train.py").write_text(SHARDED.partition("folder = train")[0] + "train(run)\n")
    (tmp_path / "run.json").write_text(json.dumps(settings))
    if sharding == "ddp":
        (tmp_path / "train.py").write_text(SCRIPT)
        (tmp_path / "run.json").write_text(json.dumps([settings]))
    command = [sys.executable, tmp_path / "train.py", tmp_path / "run.json"]
    assert follow(start_all(command, Run(processes=2, sharding=sharding), gpus=False)) is None
    alone = train(Run(**settings | {"name": "alone"}))
    ours, theirs = kept(RunFolder(home / "data/runs/kept")), kept(alone)
    assert list(ours) == list(theirs) == [1, 2, 3, 4]
    for step, path in theirs.items():
        mine, other = load_file(ours[step] / "model.safetensors"), load_file(path / "model.safetensors")
        if step in (2, 4):  # whole; FSDP gathers a tied head as well
            mine.pop("lm_head.weight", None)
        assert {name: w.dtype for name, w in mine.items()} == {name: w.dtype for name, w in other.items()}
        assert max((mine[name].float() - other[name].float()).abs().max() for name in other) < 1e-2
    assert not list(RunFolder(home / "data/runs/kept").path.glob("*.part"))
    protocol = Protocol(max_tokens=4, batch=8, backend="own")
    along("kept", ["math500"], protocol, [str(benchmark_files)], say=lambda _: None)  # as models of one process are
    asked = RunFolder(home / "data/runs/kept").evals()
    assert asked["step"].tolist() == [0, 1, 2, 3, 4] and asked["prompts"].nunique() == 1 and (asked["n"] == 2).all()


ALONE = """
import json, sys
from pzlib.run import Run
from pzlib.train import train
try:
    train(Run(**json.loads(sys.argv[1])))
except (ValueError, RuntimeError) as error:
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    sys.exit(3)
"""


@pytest.fixture
def begin():
    started = []

    def alone(settings):
        command = [sys.executable, "-c", ALONE, json.dumps(settings)]
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
        return started[-1]

    yield alone
    for process in started:  # of a test that failed; what it started ends with it
        process.kill()


def until(what, seconds=600):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


def family(process):
    return psutil.Process(process.pid).children(recursive=True)


def worker(process, rank):
    (found,) = [p for p in family(process) if p.environ().get("RANK") == str(rank)]
    return found


def gone(processes):
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


def test_a_killed_process_ends_the_run_in_words_and_it_goes_on_as_if_never_killed(sizes, home, begin):
    assert root() == home
    settings = sizes("killed", processes=2, steps=6, save_every=2)
    folder = RunFolder(Run(**settings).folder)

    first = begin(settings)
    until(lambda: len(folder.metrics()) >= 3)
    all_of_it = family(first)
    assert len(all_of_it) >= 2, "two workers"
    worker(first, 1).send_signal(signal.SIGKILL)
    until(lambda: first.poll() is not None, seconds=120)
    said = first.stderr.read().decode()
    assert first.returncode == 3 and "RuntimeError: process 1 of 2 was ended by SIGKILL" in said, said[-3000:]
    assert folder.state() == "failed" and folder.status()["error"].startswith("process 1 of 2 was ended by SIGKILL")
    until(lambda: gone(all_of_it), seconds=10)

    second = begin(settings)
    until(lambda: folder.state() == "running")
    all_of_it = family(second)
    second.send_signal(signal.SIGKILL)  # the notebook's kernel, say: nobody is left to end the others
    second.wait()
    until(lambda: gone(all_of_it), seconds=20)
    assert folder.state() in ("resumable", "failed")

    for each in (settings, settings | {"name": "whole"}):
        process = begin(each)
        assert process.wait(600) == 0, process.stderr.read().decode()[-3000:]
    whole = RunFolder(Run(**settings | {"name": "whole"}).folder)
    assert folder.state() == whole.state() == "complete"
    assert folder.metrics().drop(columns=TIMES).equals(whole.metrics().drop(columns=TIMES))
    assert folder.episodes().equals(whole.episodes())
    assert [(f.path / "model/model.safetensors").read_bytes() for f in (folder, whole)].count(
        (whole.path / "model/model.safetensors").read_bytes()
    ) == 2


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_hangs_ends_the_run_in_words_with_the_others_stacks(sizes, home, begin, rank):
    settings = sizes("hung", processes=2, steps=200, watchdog_minutes=0.1)
    folder = RunFolder(Run(**settings).folder)
    first = begin(settings)
    until(lambda: len(folder.metrics()) >= 2)
    all_of_it = family(first)
    worker(first, rank).suspend()  # it neither ends nor answers: the other waits for it in the middle of a step
    until(lambda: first.poll() is not None, seconds=150)
    said = first.stderr.read().decode()
    assert said.splitlines()[-1].startswith("TimeoutError: no part of a step ended for 0.1 minutes"), said[-3000:]
    assert folder.state() == "failed" and folder.status()["error"] == said.splitlines()[-1]
    assert "step" in (folder.path / f"stacks.rank{1 - rank}.txt").read_text()
    until(lambda: gone(all_of_it), seconds=60)


def test_what_a_process_says_no_to_is_said_as_if_it_stood_alone(sizes, home, begin):
    process = begin(sizes("refused", processes=2, max_prompt_tokens=5))
    assert process.wait(600) == 3
    said = process.stderr.read().decode()
    assert "ValueError: max_prompt_tokens: 5 is too few, the shortest prompt" in said.splitlines()[-1]
    folder = RunFolder(home / "data/runs/refused")
    assert folder.state() == "new", "nothing was begun"


def test_several_updates_on_two_processes_are_plain_trls_and_go_on_bit_for_bit(sizes, home):
    """TRL shuffles each process's own rows into its updates; what is sampled first is what one process samples."""
    settings = sizes("two", updates_per_batch=2, filter="none", steps=3, processes=2, save_every=2)
    dropped, plain = (train(Run(**settings | {"name": str(drop), "drop_rows": drop})) for drop in (True, False))
    alone = train(Run(**settings | {"name": "alone", "processes": 1}))
    first = [folder.episodes().query("step == 1").drop(columns=REAL) for folder in (dropped, alone)]
    pd.testing.assert_frame_equal(*first)
    source = Run(**settings).model_source
    ends = [folder.path / "model/model.safetensors" for folder in (dropped, plain)]
    ours, theirs, begin = map(load_file, (*ends, f"{source}/model.safetensors"))
    apart, moved = (sum((ours[key] - other[key]).norm() ** 2 for key in ours) ** 0.5 for other in (theirs, begin))
    assert 0 < moved and apart < 1e-2 * moved
    assert dropped.metrics()["predictor/ratio_clipped"].notna().all()
    shutil.rmtree(dropped.path / "checkpoints/checkpoint-3")
    end = (dropped.path / "model/model.safetensors").read_bytes()
    shutil.rmtree(dropped.path / "model")
    dropped.set_status("failed", error="stopped by a test")
    again = train(Run(**settings | {"name": "True", "drop_rows": True}))
    assert (again.path / "model/model.safetensors").read_bytes() == end
