"""Runs survive: killed at any step and started again, they end as if never killed; bad checkpoints are told
in words."""

import json
import logging
import os
import subprocess
import sys

import pytest
from skilled import whole_and_stopped

from pzlib.engine.models import AVERAGE
from pzlib.run import Run
from pzlib.runs import callbacks
from pzlib.runs.folder import Interrupted, RunFolder
from pzlib.train import train

TIMES = ["seconds", "seconds_generation", "seconds_training", "seconds_evaluation"]
HEAD = """
import json, sys, torch
torch.set_num_threads(1)
from pzlib.run import Run
from pzlib.train import train
run = Run(**json.loads(sys.argv[1]))
def evaluate(model, tokenizer, step):
    return [{"task": "a", "group": "general", "n": 2, "correct": step % 2, "accuracy": step % 2 / 2, "length": 1.0,
             "reasoned": 0.0}]
"""
SCRIPT = HEAD + "train(run, evaluate=evaluate)"


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


def start(settings, **env):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, json.dumps(settings)], stderr=subprocess.PIPE, env=os.environ | env
    )


def weights(folder):
    return (folder.path / "model" / "model.safetensors").read_bytes()


def same(a, b):
    assert a.metrics().drop(columns=TIMES).equals(b.metrics().drop(columns=TIMES))
    assert a.episodes().equals(b.episodes()) and a.evals().equals(b.evals())
    assert weights(a) == weights(b)


# Starts the run again and again in a process of its own, forked so that the libraries are read once only, and kills it:
# one time in three while it loads, else some steps after it began, perhaps while a checkpoint is written. After each
# kill, what was told as saved must be there.
KILLS = """
import os, random, signal, time
from pzlib.runs.callbacks import MANIFEST, latest_good
from pzlib.runs.folder import RunFolder
kills, rng, folder, saved = int(sys.argv[2]), random.Random(0), RunFolder(run.folder), 0
rows = folder.path / "metrics.jsonl"
for kill in range(kills + 1):
    before = rows.stat().st_ino if rows.exists() else None
    child = os.fork()
    if not child:
        def held(model, tokenizer, step):  # a fast machine would reach the end before the last kill
            while kill < kills and step > saved + 10:
                time.sleep(1)
            return evaluate(model, tokenizer, step)
        train(run, evaluate=held)
        os._exit(0)
    if kill < kills and kill % 3 == 0:
        time.sleep(1.5 * rng.random())
    elif kill < kills:  # a start makes the file of metrics anew, and then adds to it
        enough = saved + rng.randint(1, 6)
        while not rows.exists() or rows.stat().st_ino == before or len(folder.metrics()) < enough:
            assert not os.waitpid(child, os.WNOHANG)[0], "it ended by itself"
            time.sleep(0.005)
        time.sleep(0.1 * rng.random())
    if kill < kills:
        os.kill(child, signal.SIGKILL)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended == (-signal.SIGKILL if kill < kills else 0), (ended, kill)
    told = [int(path.parent.name.removeprefix("checkpoint-")) for path in folder.path.glob("checkpoints/*/" + MANIFEST)]
    before, saved = saved, latest_good(folder.path / "checkpoints", run.run_id)[1] if told else 0
    assert saved == max(told, default=0) >= before, (before, saved, told)
    assert folder.metrics()["step"].tolist()[:saved] == folder.episode_steps()[:saved] == [*range(1, saved + 1)]
"""


@pytest.mark.slow
def test_killed_at_thirty_random_moments_it_ends_bit_for_bit_as_if_never_killed(settings):
    settings |= {"steps": 400, "eval_every": 2}  # a kill comes at most 12 steps after what was saved
    whole = start(settings | {"name": "whole"})
    killed = [sys.executable, "-c", HEAD + KILLS, json.dumps(settings | {"name": "killed"}), "30"]
    done = subprocess.run(killed, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert whole.wait() == 0, whole.stderr.read().decode()
    want, got = (RunFolder(Run(**settings | {"name": name}).folder) for name in ("whole", "killed"))
    assert got.state() == "complete"
    same(got, want)


@pytest.mark.slow
def test_two_starts_of_one_run_in_one_moment_train_it_once(settings):
    settings |= {"steps": 60}
    both = [start(settings) for _ in range(2)]
    said = {process.wait(): process.stderr.read().decode() for process in both}
    assert set(said) == {0, 1} and "trains it now; wait, or give another seed or name" in said[1]
    folder = RunFolder(Run(**settings).folder)
    assert folder.state() == "complete" and folder.metrics()["step"].tolist() == [*range(1, 61)]


@pytest.fixture
def small_disk(tmp_path):
    """A folder that is a disk of 1 MB, which only root may make."""
    path = tmp_path / "disk"
    path.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no small disk can be made here: {made.stderr.strip()}")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


@pytest.mark.slow
def test_a_disk_that_is_full_fails_the_run_in_words_and_with_room_again_nothing_is_lost(settings, small_disk):
    settings |= {"name": "run"}
    whole = start(settings)
    process = start(settings, PZLIB_HOME=str(small_disk))
    said = process.communicate()[1].decode()
    assert process.returncode == 1 and "No space left on device" in said.splitlines()[-1]
    folder = RunFolder(small_disk / "data/runs/run")
    assert folder.state() in ("failed", "resumable"), "there may be no room even to say so"
    saved = callbacks.latest_good(folder.path / "checkpoints", "run")[1]
    assert saved and folder.metrics()["step"].tolist()[:saved] == folder.episode_steps()[:saved]
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    again = start(settings, PZLIB_HOME=str(small_disk))
    assert again.wait() == 0, again.stderr.read().decode()
    assert whole.wait() == 0, whole.stderr.read().decode()
    same(folder, RunFolder(Run(**settings).folder))


@pytest.fixture
def stopped(settings):
    """(Run, RunFolder) of a run that failed in its sixth step, with the checkpoints of steps 2 and 4."""
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
    path, step = callbacks.latest_good(kept, run.run_id)
    assert (path.name, step) == ("checkpoint-2", 2) and (kept / "broken-checkpoint-4").is_dir()
    assert said in capsys.readouterr().out
    assert train(run).metrics()["step"].tolist() == list(range(1, 9))


def test_a_checkpoint_that_was_never_finished_is_deleted(stopped, capsys):
    run, folder = stopped
    kept = folder.path / "checkpoints"
    (kept / "checkpoint-4/manifest.json").unlink()
    assert callbacks.latest_good(kept, run.run_id) == (kept / "checkpoint-2", 2)
    left = [path.name for path in kept.glob("*checkpoint*")]
    assert left == ["checkpoint-2"], "kills would fill the disk with halves"
    assert "was never finished; deleted" in capsys.readouterr().out


def test_an_interrupted_run_is_resumable_and_the_line_says_from_where(settings):
    run = Run(**settings | {"save_every": 3})

    def evaluate(model, tokenizer, step):
        if step == 6 and not again:
            raise KeyboardInterrupt
        return []

    again = False
    with pytest.raises(Interrupted, match="interrupted at step [56] of 8; run it again to resume from step 3$"):
        train(run, evaluate=evaluate)
    status = RunFolder(run.folder).status()
    assert (status["state"], status["error"]) == ("resumable", None)
    again = True
    assert train(run, evaluate=evaluate).metrics()["step"].tolist() == list(range(1, 9))


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
    assert callbacks.latest_good(folder.path / "checkpoints", run.run_id, say=lambda _: None)[1] == 4
    assert train(run).state() == "complete"


def test_a_kill_while_an_old_checkpoint_is_deleted_costs_no_later_one(stopped, monkeypatch):
    run, folder = stopped
    kept = folder.path / "checkpoints"
    os.utime(kept / "checkpoint-4", (0, 0))
    (kept / "checkpoint-2/optimizer.pt").unlink()  # so that of the two it was changed last

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(callbacks, "write_manifest", killed)
        with pytest.raises(KeyboardInterrupt):
            train(run)
    assert callbacks.latest_good(kept, run.run_id, say=lambda _: None)[1] == 4
    train(run)
    assert sorted(path.name for path in kept.glob("checkpoint-*")) == ["checkpoint-6", "checkpoint-8"]


def test_rlp_goes_on_with_its_moving_average_bit_for_bit(settings, tiny_model):
    """Stopped in step 5, it goes on from step 3: with the base or the policy for an average, rewards would differ."""
    settings |= {"objective": "rlp", "model": str(tiny_model), "passages": 4, "ema": 0.5, "steps": 7, "eval_every": 1}
    whole, resumed = whole_and_stopped(lambda name: Run(**settings, name=name), step=5)
    same(whole, resumed)
    averages = [(folder.path / "checkpoints/checkpoint-7" / AVERAGE).read_bytes() for folder in (whole, resumed)]
    assert averages[0] == averages[1] != (whole.path / "checkpoints/checkpoint-7/model.safetensors").read_bytes()
    assert whole.metrics()["grad_norm"].gt(0).all()


def test_a_resumed_run_reports_each_step_once_and_alarms_nobody(stopped):
    run, folder = stopped
    said, logger = [], logging.getLogger("transformers.trainer")
    listener = logging.Handler()
    listener.emit = lambda record: said.append(record.getMessage())
    logger.addHandler(listener)
    kept = json.loads((folder.path / "checkpoints/checkpoint-4/trainer_state.json").read_text())
    assert kept["log_history"] == [], "metrics.jsonl has it; a checkpoint would grow with each step"
    assert folder.metrics()["step"].tolist()[:4] == [1, 2, 3, 4]
    done = train(run)
    logger.removeHandler(listener)
    assert done.metrics()["step"].tolist() == list(range(1, 9)) == done.episode_steps()
    assert not [words for words in said if "missing keys" in words], "a tied head is no loss"
