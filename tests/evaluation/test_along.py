"""Benchmarks along training: every kept model is asked once, the same questions, and its scores are rows of the run."""

import json
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from benchmarkfiles import benchmark_files  # noqa: F401 - a fixture

from pzlib.evaluation import harness, scores
from pzlib.evaluation.along import PAIRED, along, models
from pzlib.evaluation.harness import Protocol
from pzlib.figures.accuracy import tinybench_curves
from pzlib.run import Run
from pzlib.runs.folder import EVAL_COLUMNS, RunFolder
from pzlib.studies.results import collect, load
from pzlib.train import train

pytest.importorskip("lm_eval.tasks", reason="needs the extra eval")

TASKS, PROTOCOL = ["math500", "mmlu_pro"], Protocol(max_tokens=8, batch=8)


def whole(rows):
    """The rows of benchmarks, without those of their categories."""
    return rows[~rows["group"].str.endswith("by category")]


@pytest.fixture
def run(skilled):
    settings = {"tier": "smoke", "steps": 3, "keep_every": 1, "min_tokens": 4, "max_prompt_tokens": 32, "passages": 1,
                "max_completion_tokens": 8, "name": "kept", "objective": "random_span"}  # fmt: skip
    return Run(model=str(skilled / "model"), corpus=str(skilled / "corpus.jsonl"), **settings)


def test_an_evaluation_along_training_goes_on_where_it_was_stopped(run, benchmark_files, home, monkeypatch):  # noqa: F811
    folder, asked, plain = train(run), [], harness.ask
    assert models("kept") == {0: run.model, 1: "kept@1", 2: "kept@2", 3: "kept"}

    def ask(lm, task, *rest):
        if len(asked) == 3:
            asked.append("stopped")
            raise KeyboardInterrupt
        asked.append(task)
        return plain(lm, task, *rest)

    monkeypatch.setattr(harness, "ask", ask)
    again = {"tasks": TASKS, "protocol": PROTOCOL, "data": [str(benchmark_files)]}
    with pytest.raises(KeyboardInterrupt):
        along("kept", **again)
    assert asked == ["math500", "mmlu_pro", "math500", "stopped"]
    assert whole(folder.evals())["step"].tolist() == [0, 0]  # what was finished is in the run
    table = along("kept", **again)
    assert asked[4:] == ["mmlu_pro", *TASKS, *TASKS], "two benchmarks of four models, none twice"
    rows = whole(folder.evals())
    assert tuple(rows.columns) == EVAL_COLUMNS and rows["step"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert (rows.groupby("task")["prompts"].nunique() == 1).all(), "every step is asked the same questions"
    assert table[["step", "task"]].to_numpy().tolist() == [[s, t] for t in TASKS for s in (1, 2, 3)]
    assert (table["n"] == 2).all() and len(pd.read_csv(folder.path / PAIRED)) == 6
    assert along("kept", **again).equals(table) and len(asked) == 9
    along("kept", ["gsm8k"], PROTOCOL, [str(benchmark_files)])
    assert set(pd.read_csv(folder.path / PAIRED)["task"]) == {*TASKS, "gsm8k"}


def test_the_rows_are_in_the_table_of_scores_and_are_drawn(run, benchmark_files, home):  # noqa: F811
    folder = train(run)
    along("kept", [*TASKS, "mmlu_pro_tenth"], PROTOCOL, [str(benchmark_files)], say=lambda _: None)
    collect(home / "data/runs", home / "data/results")
    table = load("tinybench", "smoke")
    assert list(table.columns) == ["run_id", "objective", "tier", "seed", *EVAL_COLUMNS, "degenerate"]
    assert set(whole(table)["group"]) == {"general", "math"} and len(whole(table)) == 12
    assert len(table) == 12 + 4 * 2  # two categories of MMLU-Pro, at four steps; none of its tenth
    own = folder.evals().sort_values(["step", "group", "task"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(table[list(EVAL_COLUMNS)], own, check_dtype=False)
    assert len(tinybench_curves(table).axes) == 3


def test_pairs_are_of_the_same_questions(run, benchmark_files, monkeypatch):  # noqa: F811
    train(run)
    plain, right = harness.ask, iter([0, 1, 1, 2])  # questions that each model finds

    def ask(lm, task, items, *rest):
        found = next(right)
        said = [rf"\boxed{{{item.gold if n < found else 'J'}}}" for n, item in enumerate(items)]
        answers = plain(lm, task, items, *rest)
        return [a | {"completions": [text]} for a, text in zip(answers, said, strict=True)]

    monkeypatch.setattr(harness, "ask", ask)
    table = along("kept", ["bbeh"], PROTOCOL, [str(benchmark_files)])
    assert table["difference"].tolist() == [0.5, 0.5, 1.0]


def test_what_cannot_be_asked_is_said_in_words(run, benchmark_files, home):  # noqa: F811
    with pytest.raises(FileNotFoundError, match="model: 'kept' is not a run of data/runs"):
        along("kept", TASKS, PROTOCOL)
    folder = RunFolder(run.folder).open(run)
    folder.set_status("running")
    with pytest.raises(ValueError, match="model: kept trains now"):
        along("kept", TASKS, PROTOCOL)


def test_the_librarys_own_sampler_answers_as_transformers_does(skilled, benchmark_files, tmp_path):  # noqa: F811
    said = {}
    for backend in ("hf", "own"):
        for samples in (1, 4):
            protocol = Protocol(max_tokens=8, batch=8, backend=backend, samples=samples)
            where = tmp_path / f"{backend}{samples}"
            asked = str(skilled / "model"), ["bbeh"], protocol, [str(benchmark_files)]
            folder, _ = scores.evaluate(*asked, output=where)
            said[backend, samples] = [record["completions"] for record in scores.samples(folder / "bbeh")]
    assert said["hf", 1] == said["own", 1], "greedy answers"
    assert all(len(set(texts)) > 1 for texts in said["own", 4])


@pytest.mark.slow
def test_models_are_asked_in_processes_of_their_own_that_end_with_this_one(run, benchmark_files, home):  # noqa: F811
    train(run)
    command = [sys.executable, "-m", "pzlib", "evaluate", "kept", "--along", "--jobs", "2", "--tasks", *TASKS, "--data",
               str(benchmark_files), "--max-tokens", "8", "--batch", "8"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    done = home / "data/evaluations/kept@1/math500/scores.csv"
    end = time.monotonic() + 120
    while not done.is_file():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130
    before = done.stat().st_mtime_ns
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert done.stat().st_mtime_ns == before, "what was finished is not asked again"
    assert "mmlu_pro: step 3 - start = " in again.stdout
    assert whole(RunFolder(run.folder).evals())["step"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    made = json.loads((home / "data/evaluations/kept/mmlu_pro/settings.json").read_text())
    assert (made["max_tokens"], made["batch"], made["backend"]) == (8, 8, "hf")
