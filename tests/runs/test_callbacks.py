"""A training that hangs is ended, in words, with the stacks of where it stood; one that moves is left alone."""

import json
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from skilled import write_corpus

from pzlib.run import Run
from pzlib.runs.callbacks import Watchdog
from pzlib.runs.folder import RunFolder
from pzlib.train import train

MINUTES = 0.01


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path)


@pytest.fixture
def dog(folder):
    return Watchdog(SimpleNamespace(watchdog_minutes=MINUTES), folder)


def hang_here():
    time.sleep(60)


def test_what_hangs_is_interrupted_and_its_stacks_are_kept(dog, folder):
    with (
        pytest.raises(TimeoutError, match=r"0\.01 minutes.*stacks\.rank0\.txt.*raise watchdog_minutes"),
        dog.watching(),
    ):
        hang_here()
    assert "hang_here" in dog.path.read_text()
    assert folder.state() == "failed" and folder.status()["error"].startswith("TimeoutError: no part of a step")


def test_what_moves_is_left_alone_and_leaves_no_file(dog, folder):
    with dog.watching():
        for _ in range(10):
            time.sleep(0.2)  # 2 s in all, more than three times what it may rest
            dog.on_substep_end(None, None, None)
    assert not dog.path.exists() and folder.state() == "new"


def test_a_users_own_interrupt_stays_one_and_leaves_no_file(dog):
    with pytest.raises(KeyboardInterrupt), dog.watching():
        raise KeyboardInterrupt
    assert not dog.path.exists()


def test_what_the_interrupt_became_on_its_way_is_told_as_what_it_was(dog):
    with pytest.raises(TimeoutError, match="no part of a step"), dog.watching():
        try:
            hang_here()
        except KeyboardInterrupt as error:
            raise RuntimeError("Connection closed by peer") from error


def test_it_can_be_turned_off(folder):
    with Watchdog(SimpleNamespace(watchdog_minutes=0.0), folder).watching():
        assert not list(folder.path.iterdir())


# A lock of C's, taken twice, that no signal ends: CDLL gives Python's own lock back meanwhile, PyDLL keeps it.
STUCK = """
import ctypes, sys
from types import SimpleNamespace
from pathlib import Path
from pzlib.runs import callbacks as watchdog
from pzlib.runs.folder import RunFolder
watchdog.GRACE = 1
dog = watchdog.Watchdog(SimpleNamespace(watchdog_minutes=0.01), RunFolder(Path(sys.argv[2])))
mutex, c = ctypes.create_string_buffer(64), getattr(ctypes, sys.argv[1])(None)
with dog.watching():
    c.pthread_mutex_lock(mutex)
    c.pthread_mutex_lock(mutex)
"""


@pytest.mark.parametrize("library, state", [("CDLL", "failed"), ("PyDLL", "new")])
def test_a_process_that_no_interrupt_reaches_is_ended(folder, library, state):
    command = [sys.executable, "-c", STUCK, library, str(folder.path)]
    assert subprocess.run(command, capture_output=True, timeout=55).returncode == 1
    stacks = (folder.path / "stacks.rank0.txt").read_text()
    assert "<module>" in stacks and folder.state() == state
    assert ("Timeout (" in stacks) == (library == "PyDLL"), "the C library's timer writes this, and is the last resort"


def test_a_run_that_hangs_fails_in_words_and_goes_on_when_started_again(tiny_model, tmp_path):
    write_corpus(tmp_path / "corpus.jsonl")
    settings = {
        "tier": "smoke", "objective": "random_span", "model": str(tiny_model), "corpus": str(tmp_path / "corpus.jsonl"),
        "steps": 3, "min_tokens": 4, "max_prompt_tokens": 32, "max_completion_tokens": 8, "eval_every": 2,
        "save_every": 1,
    }  # fmt: skip

    def evaluate(model, tokenizer, step):
        if step == 2 and hangs:
            hang_here()
        return []

    hangs = True
    with pytest.raises(TimeoutError, match="Start it again"):
        train(Run(**settings, watchdog_minutes=0.1), evaluate=evaluate)
    folder = RunFolder(Run(**settings).folder)
    assert folder.state() == "failed" and "hang_here" in (folder.path / "stacks.rank0.txt").read_text()
    hangs = False
    assert train(Run(**settings), evaluate=evaluate).metrics()["step"].tolist() == [1, 2, 3]
    assert not (folder.path / "stacks.rank0.txt").exists()
    assert json.loads((folder.path / "params.json").read_text())["watchdog_minutes"] == 0.1
