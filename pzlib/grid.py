"""Many runs, a few at a time, each in a process of its own: what is stored is not run again, rows come as runs end.
Leaves out clusters and GPUs shared between runs: one machine, `jobs` processes that share its cores."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from pzlib import run as settings
from pzlib.folder import RunFolder
from pzlib.headless import announce_failures
from pzlib.progress import duration
from pzlib.results import collect_run, folder_of, load
from pzlib.run import Run
from pzlib.workers import PARENT, end_with_parent

UNSEEN_HOURS = 0.05  # a run's time where none like it is stored


def play(runs, jobs=2, say=print, results=None, starts=()):
    """Bring every Run of `runs` into the tables under `results` (default: their tier's); returns {run_id: what}.

    A run that is stored, or complete in data/runs, is not run again; one that was killed goes on from its checkpoint;
    one that fails is told of, with its log, and does not stop the others; a headless notebook then fails at its end.
    `jobs` processes at a time share the cores; with 0 nothing is run. what: "stored", "complete", "failed: why" or
    "not run". `say` gets one line beforehand (how many, how long) and one a run. starts: Runs whose models some of
    `runs` go on from: each is made first, though its rows be stored, where such a run is to be made and the model is
    not in data/runs.
    Raises KeyboardInterrupt after stopping the processes; started again, they go on.
    """
    runs = list({run.run_id: run for run in runs}.values())
    results = Path(results or folder_of(runs[0].tier))
    found = {run.run_id: "stored" for run in runs if run.run_id in _stored(results)}
    waiting = [run for run in runs if run.run_id not in found]
    if not jobs:
        say(f"{len(runs)} runs: {len(found)} stored, {len(waiting)} not run")
        return found | {run.run_id: "not run" for run in waiting}
    before = {run.run_id: run for run in starts}
    behind = {run.run_id: before.get(run.model.partition("@")[0]) for run in waiting}  # what each goes on from
    say(plan(runs, jobs, results, starts))
    waiting = [run for run_id, run in _absent(waiting, starts).items() if run_id not in behind] + waiting
    busy, ended, started = {}, 0, time.monotonic()
    try:
        while waiting or busy:
            for run in waiting[:]:
                start = behind.get(run.run_id)
                if start and not _ready(run):
                    if start in waiting or start.run_id in busy:
                        continue
                    waiting.remove(run)
                    found[run.run_id] = f"failed: {start.run_id} left no model to start from: {_why_none(start)}"
                    say(f"{run.run_id}: {found[run.run_id]}")
                elif len(busy) < jobs:
                    waiting.remove(run)
                    old = RunFolder(run.folder).status()
                    busy[run.run_id] = _start(run, jobs), old
            for run_id, (process, old) in list(busy.items()):
                if process.poll() is not None:
                    del busy[run_id]
                    found[run_id] = _finish(run_id, process.returncode, old, results)
                    ended, left = ended + 1, len(waiting) + len(busy)
                    rest = f", about {duration((time.monotonic() - started) / ended * left)} left" if left else ""
                    say(f"{run_id}: {found[run_id]} ({len(found)} of {len(found) + left}{rest})")
            time.sleep(0.2)
    finally:
        for process, _ in busy.values():
            process.terminate()
        for process, _ in busy.values():
            process.wait()
    announce_failures(f"{run_id} {what}" for run_id, what in found.items() if what.startswith("failed"))
    return found


def plan(runs, jobs=2, results=None, starts=()):
    """In words: how many of `runs` are stored, how many are to be made, how many of `starts` first, how long it takes.

    The time is that of stored runs of the same objective and model, by step, on the same text where there are such;
    others count as 3 minutes.
    """
    runs = list({run.run_id: run for run in runs}.values())
    results = Path(results or folder_of(runs[0].tier))
    stored = _stored(results)
    missing = [run for run in runs if run.run_id not in stored]
    text = f"{len(runs)} runs: {len(runs) - len(missing)} stored, {len(missing)} to make"
    if not missing:
        return text
    table = load("runs", folder=results) if (results / "runs.csv").exists() else pd.DataFrame()
    first = _absent(missing, starts).values()
    hours = sum(_hours(run, table) for run in [*missing, *first]) / jobs
    text += f", and {len(first)} that they start from" if first else ""
    return f"{text}, about {duration(3600 * hours)} at {jobs} at a time"


def _absent(runs, starts):
    """{run id: Run} of those of `starts` whose model some of `runs` needs and data/runs lacks."""
    before = {run.run_id: run for run in starts}
    needed = [before.get(run.model.partition("@")[0]) for run in runs if not _ready(run)]
    return {start.run_id: start for start in needed if start}


def _hours(run, table):
    if not len(table):
        return UNSEEN_HOURS
    like = table[(table["objective"] == run.objective) & (table["model"] == run.model) & (table["tier"] == run.tier)]
    like = like.dropna(subset="hours")
    same = like[like["corpus"] == run.corpus]  # clean text is dearer: few groups are dead, so most rows are trained
    like = like if same.empty else same
    return UNSEEN_HOURS if like.empty else float((like["hours"] / like["steps"]).median() * run.steps)


def _stored(results):
    path = results / "runs.csv"
    return set(pd.read_csv(path, usecols=["run_id"])["run_id"]) if path.exists() else set()


def _ready(run):
    """Whether the model that a run starts from is there."""
    return Path(run.model_source).is_dir()


def _why_none(start):
    if RunFolder(start.folder).state() == "complete":
        return f"delete {start.folder}, and it is made again"  # by a version that kept the last model only
    return RunFolder(start.folder).status().get("error") or "it failed"


def _start(run, jobs):
    run.folder.mkdir(parents=True, exist_ok=True)
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    with open(run.folder / "log.txt", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "pzlib.grid", json.dumps(run.to_dict())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={
                **os.environ, "OMP_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "false", PARENT: str(os.getpid()),
            },  # fmt: skip
        )


def _finish(run_id, code, old, results):
    folder = RunFolder(settings.ROOT / "data/runs" / run_id)
    if folder.state() == "complete":
        collect_run(folder, results)
        return "complete"
    log = (folder.path / "log.txt").read_text(errors="replace").strip().splitlines()
    if code < 0:  # whatever the folder says is of an earlier try
        why = f"ended by {signal.Signals(-code).name}"
    else:
        told = folder.status().get("error") if folder.status() != old else None  # else of an earlier try, too
        why = told or (log[-1] if log else "") or f"exit code {code}"
    return f"failed: {why}; see {folder.path / 'log.txt'}"


def train_one(run):
    """One run of a grid, in its own process: what notebook 04 does, without pictures."""
    end_with_parent()  # else a study that is killed leaves runs behind which hold their folders
    from pzlib.splits import evaluation_of
    from pzlib.train import train

    train(run, evaluate=evaluation_of(run))


if __name__ == "__main__":
    train_one(Run.from_dict(json.loads(sys.argv[1])))
