"""A study's runs as jobs (`pzlib.studies.queue.jobs`): those whose rows are not stored are made; what a plan costs.
Leaves out which runs are of a study (`pzlib.studies`) and how rows are kept (`pzlib.studies.results`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pzlib.engine.plan import estimated
from pzlib.errors import duration
from pzlib.headless import announce_failures
from pzlib.paths import root
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.studies.queue.jobs import Cluster, Here, work
from pzlib.studies.results import bring, folder_of, read, read_from
from pzlib.tiers import WORLDS


@dataclass(frozen=True)
class RunJob:
    """A run as notebook 04 makes it, without pictures. run: of `Run.to_dict`; after: the run that it goes on from;
    asked: whether it answers questions along the way; the weights are the same."""

    name: str
    run: dict
    after: str = ""
    asked: bool = True

    def path(self, end: str) -> Path:
        return root() / "data/runs" / self.name / {".log": "log.txt", ".lock": "job.lock"}[end]

    def runs(self) -> list[RunFolder]:
        return [RunFolder(root() / "data/runs" / self.name)]

    def complete(self) -> bool:
        return self.runs()[0].state() == "complete" and not self._unscored()

    def execute(self) -> int:
        from pzlib.evaluation import evaluation_of
        from pzlib.train import train

        run = Run.from_dict(self.run)
        if self._unscored():
            why = "is complete without scores, and no rows of it are stored"
            raise ValueError(f"{self.name} {why}; remove data/runs/{self.name}, and the same command makes it whole")
        train(run, evaluate=evaluation_of(run) if self.asked else None)
        return 0

    def _unscored(self) -> bool:
        """Whether it ended without the scores that are asked of it, as a start made again for its model does."""
        from pzlib.evaluation import evaluation_of

        folder = self.runs()[0]
        ended = self.asked and folder.state() == "complete" and folder.evals().empty
        return ended and evaluation_of(Run.from_dict(self.run)) is not None


def play(runs, jobs: int = 2, results=None, starts=(), stream=None, address: str | None = None) -> dict[str, str]:
    """Bring every Run of `runs` into the tables under `results` (default: their tier's); returns {run_id: what}.

    A run that is stored, or complete in data/runs, is not run again; one that was killed goes on from its checkpoint;
    one that fails does not stop the others, and a headless notebook then fails at its end. `jobs` processes at a time
    share the cores, here or of the Ray cluster at `address`; with 0 nothing is run. what: "stored", "complete",
    "failed: why" or "not run". starts: Runs whose models some of `runs` go on from: each is made first where such a run
    is to be made and the model is not in data/runs; one whose rows are stored is not asked again and they stay. Raises
    KeyboardInterrupt after stopping the processes; started again, they go on.
    """
    if not runs:  # every arm is left out at the tier
        return {}
    # without jobs what is drawn is counted: in a home without rows of its own, the repository's
    results = results or (folder_of if jobs else read_from)(runs[0].tier)
    runs, missing, first, results = _lacking(runs, results, starts)
    found = {run.run_id: "not run" if run in missing else "stored" for run in runs}
    if not jobs:
        print(f"{len(runs)} runs: {len(runs) - len(missing)} stored, {len(missing)} not run", file=stream)
        return found
    print(plan(runs, jobs, results, starts), file=stream, flush=True)
    todo = [*first, *missing]
    known = _whole(todo, results)
    each = [RunJob(one.run_id, one.to_dict(), one.model.partition("@")[0], one.run_id not in known) for one in todo]
    gpus = _gpus_of(todo, address)
    on = (lambda: Cluster(address, jobs, gpus)) if address else (lambda: Here(jobs, gpus))
    for row in work(each, on, stream, lambda job: bring(job.runs(), results)):
        found[row.name] = f"failed: {row.why}" if row.state == "failed" else "complete"
    announce_failures(f"{name} {what}" for name, what in found.items() if what.startswith("failed"))
    return found


def _gpus_of(runs, address) -> int | None:
    """The GPUs of each job: as many as its run has processes, here as far as there are any; None: one, if there is."""
    import torch

    most = max((run.processes for run in runs), default=1)
    return None if most == 1 else most if address else min(most, torch.cuda.device_count())


def plan(runs, jobs: int = 2, results=None, starts=()) -> str:
    """A line: how many of `runs` are stored, how many are to be made, how many of `starts` first, how long it takes.

    The time is that of stored runs and sweeps of the same objective, by step, of the same model (at a small tier, where
    there are such) and on the same text (where there are such); of others it is `pzlib.engine.plan.estimated`.
    """
    if not runs:
        return "0 runs"
    runs, missing, first, results = _lacking(runs, results, starts)
    text = f"{len(runs)} runs: {len(runs) - len(missing)} stored, {len(missing)} to make"
    if not missing:
        return text
    stored = _stored(results)
    each = [(run, _hours(run, stored)) for run in [*missing, *first]]
    hours, how = estimated([run for run, known in each if known is None], sum(known or 0 for _, known in each))
    text += f", and {len(first)} that they start from" * bool(first)
    return text + f", about {duration(3600 * hours / jobs)} at {jobs} at a time" * bool(hours) + how


def _lacking(runs, results, starts) -> tuple[list[Run], list[Run], list[Run], Path]:
    """Each run once; those that are not stored; those of `starts` whose model one of them needs and data/runs lacks."""
    runs = list({run.run_id: run for run in runs}.values())
    results = Path(results or folder_of(runs[0].tier))
    stored = _whole(runs, results)
    missing, before = [run for run in runs if run.run_id not in stored], {run.run_id: run for run in starts}
    first = [before.get(run.model.partition("@")[0]) for run in missing if not Path(run.model_source).is_dir()]
    return runs, missing, [start for start in dict.fromkeys(first) if start and start not in missing], results


def _whole(runs, results: Path) -> set[str]:
    """The ids of those of `runs` whose rows are stored, with scores where a run is asked for them."""
    from pzlib.evaluation import evaluation_of

    stored, path = set(_stored(results)["run_id"]), results / "tinybench.csv"
    scored = set(pd.read_csv(path, usecols=["run_id"])["run_id"]) if path.exists() else set()
    own = [run for run in runs if run.run_id in stored]
    return {run.run_id for run in own if run.run_id in scored or evaluation_of(run) is None}


def _stored(results: Path) -> pd.DataFrame:
    found = [read(path) for path in (results / "runs.csv", results / "sweep/runs.csv") if path.exists()]
    return pd.concat(found or [pd.DataFrame(columns=["run_id", "objective", "model", "tier", "corpus", "hours"])])


def _hours(run: Run, stored: pd.DataFrame) -> float | None:
    like = stored[(stored[["objective", "tier"]] == [run.objective, run.tier]).all(axis=1)].dropna(subset="hours")
    # the models of a small tier are all of one size; clean text is dearer: few groups are dead, so most rows train
    for setting, must in (("model", not WORLDS[run.tier].small), ("corpus", False)):
        same = like[like[setting] == getattr(run, setting)]
        like = like if same.empty and not must else same
    return None if like.empty else float((like["hours"] / like["steps"]).median() * run.steps)
