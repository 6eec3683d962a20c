"""Runs survive: killed at any step and started again, they end as if never killed; bad checkpoints are told
in words."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from skilled import teach, write_corpus

from pzlib import checkpoints
from pzlib.ema import FILE
from pzlib.folder import RunFolder
from pzlib.run import Run
from pzlib.train import train

TIMES = ["seconds", "seconds_generation", "seconds_training", "seconds_evaluation"]
SCRIPT = """
import json, sys, torch
torch.set_num_threads(1)
from pzlib.run import Run
from pzlib.train import train
train(Run(**json.loads(sys.argv[1])), evaluate=lambda m, t, step: [
    {"task": "a", "group": "general", "n": 2, "correct": step % 2, "accuracy": step % 2 / 2, "length": 1.0,
    "reasoned": 0.0}])
"""


@pytest.fixture(scope="module")
def skilled(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("skilled")
    torch.manual_seed(0)
    teach(tiny_model, folder / "model", steps=100)
    write_corpus(folder / "corpus.jsonl")
    return folder


@pytest.fixture
def settings(skilled):
    return {
        "tier": "smoke",
        "model": str(skilled / "model"),
        "corpus": str(skilled / "corpus.jsonl"),
        "steps": 8,
        "min_tokens": 4,
        "max_prompt_tokens": 32,
        "max_completion_tokens": 8,
        "learning_rate": 1e-3,
        "schedule": "cosine",
        "save_every": 3,
        "eval_every": 2,
    }


def start(settings):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, json.dumps(settings)], stderr=subprocess.PIPE, env=os.environ
    )


def weights(folder):
    return (folder.path / "model" / "model.safetensors").read_bytes()


def same(a, b):
    assert a.metrics().drop(columns=TIMES).equals(b.metrics().drop(columns=TIMES))
    assert a.episodes().equals(b.episodes()) and a.evals().equals(b.evals())
    assert weights(a) == weights(b)


@pytest.mark.slow
def test_killed_at_random_steps_and_resumed_it_ends_bit_for_bit_as_if_never_killed(settings):
    whole = start(settings | {"name": "whole"})
    assert whole.wait() == 0, whole.stderr.read().decode()
    want, got = (RunFolder(Run(**settings | {"name": name}).folder) for name in ("whole", "killed"))
    rng, kills = random.Random(0), 0
    for _ in range(12):
        process = start(settings | {"name": "killed"})
        at = rng.randint(1, 3) + int(got.status().get("step", 0) if kills else 0)
        while process.poll() is None and len(got.metrics()) < at:
            time.sleep(0.01)
        time.sleep(rng.random() * 0.1)  # anywhere in a step, or while a checkpoint is written
        process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            break
        assert process.returncode == -signal.SIGKILL, process.stderr.read().decode()
        kills += 1
        if kills == 3:
            last = start(settings | {"name": "killed"})
            assert got.state() in ("resumable", "new", "running")
            assert last.wait() == 0, last.stderr.read().decode()
            break
    assert kills and got.state() == "complete"
    same(got, want)


@pytest.fixture
def stopped(settings):
    """A run that failed in its sixth step, with the checkpoints of steps 3 and 5 ... and the settings that go
    on."""
    run = Run(**settings | {"save_every": 2})

    def evaluate(model, tokenizer, step):
        if step == 6:
            raise RuntimeError("stop")
        return []

    with pytest.raises(RuntimeError):
        train(run, evaluate=evaluate)
    folder = RunFolder(run.folder)
    assert sorted(p.name for p in (folder.path / "checkpoints").glob("checkpoint-*")) == [
        "checkpoint-2",
        "checkpoint-4",
    ]
    return run, folder


@pytest.mark.parametrize(
    "harm, said",
    [
        (
            lambda p: (p / "optimizer.pt").write_bytes((p / "optimizer.pt").read_bytes()[:100]),
            "optimizer.pt has 100 bytes",
        ),
        (lambda p: (p / "manifest.json").unlink(), "was never finished"),
        (lambda p: (p / "model.safetensors").unlink(), "model.safetensors is missing"),
        (
            lambda p: (p / "rng_state.pth").write_bytes(bytes((p / "rng_state.pth").stat().st_size)),
            "rng_state.pth has changed",
        ),
    ],
)
def test_a_broken_checkpoint_is_set_aside_and_the_one_before_used(stopped, capsys, harm, said):
    run, folder = stopped
    kept = folder.path / "checkpoints"
    harm(kept / "checkpoint-4")
    path, step = checkpoints.latest_good(kept, run.run_id)
    assert (path.name, step) == ("checkpoint-2", 2) and (kept / "broken-checkpoint-4").is_dir()
    assert said in capsys.readouterr().out
    assert train(run).metrics()["step"].tolist() == list(range(1, 9))


def test_another_runs_checkpoint_is_refused_in_words(stopped):
    run, folder = stopped
    manifest = folder.path / "checkpoints/checkpoint-4/manifest.json"
    manifest.write_text(manifest.read_text().replace(run.run_id, "somebody-elses"))
    with pytest.raises(ValueError, match="a checkpoint of run somebody-elses, not of"):
        train(run)
    assert folder.state() == "failed"


def test_a_full_disk_in_mid_write_leaves_the_last_good_checkpoint(stopped, monkeypatch):
    run, folder = stopped
    from transformers import Trainer

    def full(self, *a, **k):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_save_optimizer_and_scheduler", full)
        with pytest.raises(OSError, match="No space left"):
            train(run)
    assert folder.state() == "failed" and "No space left" in folder.status()["error"]
    assert checkpoints.latest_good(folder.path / "checkpoints", run.run_id, say=lambda _: None)[1] == 4
    assert train(run).state() == "complete"


def test_rlp_goes_on_with_its_moving_average_bit_for_bit(settings, tiny_model):
    """Stopped in step 5, it goes on from step 3: with the base or the policy for an average, rewards would differ."""
    settings |= {"objective": "rlp", "model": str(tiny_model), "passages": 4, "ema": 0.5, "steps": 7, "eval_every": 1}

    def evaluate(model, tokenizer, step):
        if step == 5 and stopping:
            raise RuntimeError("stop")
        return []

    stopping = True
    with pytest.raises(RuntimeError):
        train(Run(**settings, name="stopped"), evaluate=evaluate)
    stopping = False
    whole, resumed = (train(Run(**settings, name=name), evaluate=evaluate) for name in ("whole", "stopped"))
    same(whole, resumed)
    averages = [(folder.path / "checkpoints/checkpoint-7" / FILE).read_bytes() for folder in (whole, resumed)]
    assert averages[0] == averages[1] != (whole.path / "checkpoints/checkpoint-7/model.safetensors").read_bytes()
    assert whole.metrics()["grad_norm"].gt(0).all()


def test_a_resumed_run_reports_each_step_once(stopped):
    run, folder = stopped
    assert folder.metrics()["step"].tolist()[:4] == [1, 2, 3, 4]
    done = train(run)
    assert done.metrics()["step"].tolist() == list(range(1, 9)) == done.episode_steps()
