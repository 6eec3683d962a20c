"""Many jobs, a few at a time, each in a process of its own (a Run, a notebook), on this machine or on a Ray cluster.
Leaves out sharing a GPU: a job has whole ones. What is done is not done again, what was killed goes on."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from filelock import FileLock

from pzlib.engine.processes import FAILED, KEEP_PAGES, as_child, how_it_ended, start, stop, visible_gpus
from pzlib.errors import duration
from pzlib.headless import progress
from pzlib.paths import root
from pzlib.runs.folder import RunFolder

STATES = ("done", "skipped", "failed", "running", "queued")  # skipped: done before
RETRIES = 3  # of a job whose machine is lost: after so many it is perhaps the job that brings machines down
CHILD = """
import json, sys
from {module} import {kind}
from pzlib.studies.queue.jobs import perform
perform({kind}(**json.loads(sys.argv[1])))
"""


class Job(Protocol):
    """What is done in a process of its own. A dataclass of plain values, so that it travels."""

    name: str
    after: str  # the name of the job that must have ended before

    def path(self, end: str) -> Path: ...  # its file of that ending: .log is what it prints, .lock its lock
    def runs(self) -> list[RunFolder]: ...  # those that it has opened so far
    def complete(self) -> bool: ...  # whether nothing is left to do
    def execute(self) -> int: ...  # do it here; returns the exit code


def perform(job: Job) -> None:
    """What the process of a job does: the job, unless it is done, and after whoever does it now; then it exits."""
    with as_child(), FileLock(job.path(".lock")):
        sys.exit(0 if job.complete() else job.execute())


def _process(job: Job, environment: dict) -> subprocess.Popen:
    child = CHILD.format(module=type(job).__module__, kind=type(job).__name__)
    job.path(".log").parent.mkdir(parents=True, exist_ok=True)
    with open(job.path(".log"), "ab") as log:
        return start([sys.executable, "-c", child, json.dumps(asdict(job))], environment, stdout=log)


class Here:
    """This machine: jobs share its cores, and each has `gpus` of its own (None: one, where there are any)."""

    def __init__(self, at_once: int | None, gpus: int | None) -> None:
        self.free = visible_gpus()
        count = len(self.free)
        self.gpus = _whole(gpus, count)
        fit = count // self.gpus if self.gpus else at_once or 2  # a step of the small model gains little from a third
        self.at_once = min(at_once or fit, fit)
        self.environment = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // self.at_once))}
        self.environment |= {} if self.gpus else {name: os.environ.get(name, kept) for name, kept in KEEP_PAGES.items()}

    def start(self, job: Job) -> tuple[subprocess.Popen, list[str]]:
        own = [self.free.pop() for _ in range(self.gpus)]
        return _process(job, self.environment | {"CUDA_VISIBLE_DEVICES": ",".join(own)}), own

    def poll(self, handle) -> int | str | None:
        """None while the job runs, then its exit code, or why there is none."""
        process, own = handle
        if process.poll() is not None:
            self.free += own
        return process.returncode

    def stop(self, handles) -> None:
        stop(*(process for process, _ in handles))


class Cluster:
    """The machines of a Ray cluster, of which this is one; they see this folder and data/runs at the same paths."""

    def __init__(self, address: str, at_once: int | None, gpus: int | None) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        import ray

        self.ray = ray
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL)
        except Exception as error:  # Ray raises plain ones
            remedy = "`ray start --head` on one machine, `ray start --address HOST:PORT` on the others makes one"
            raise ValueError(f"address: no Ray cluster answers at {address} ({error}); {remedy}") from error
        most = max(int(node["Resources"].get("GPU", 0)) for node in ray.nodes() if node["Alive"])
        self.gpus, self.most = _whole(gpus, most), at_once
        alike = {"num_cpus": 1, "num_gpus": self.gpus, "scheduling_strategy": "SPREAD"}
        self.task = ray.remote(_on_ray).options(max_retries=RETRIES, **alike)

    @property
    def at_once(self) -> int:
        """As many as fit, which machines that come and go change."""
        there = self.ray.cluster_resources()
        fit = there.get("GPU", 0) // self.gpus if self.gpus else there.get("CPU", 0)
        return int(min(self.most or fit, fit))

    def start(self, job: Job):
        around = {"PZLIB_HOME": str(root())} | ({} if self.gpus else {"CUDA_VISIBLE_DEVICES": ""})
        return self.task.remote(job, around, os.getcwd())

    def poll(self, handle) -> int | str | None:
        try:
            return self.ray.get(handle) if self.ray.wait([handle], timeout=0)[0] else None
        except self.ray.exceptions.RayError as error:
            return f"{type(error).__name__}: {' '.join(str(error).split())[-300:]}"

    def stop(self, handles) -> None:
        self.ray.shutdown()  # ends the workers, and with a worker ends its job


def _on_ray(job, environment, cwd):
    """A worker was started elsewhere, without what surrounds the command that a person typed."""
    with contextlib.suppress(OSError):
        os.chdir(cwd)
    os.environ.update(environment)
    return _process(job, {}).wait()


def _whole(gpus, most):
    if (gpus or 0) > most:
        raise ValueError(f"gpus: {gpus} a job, but the largest machine here has {most}; lower it")
    return min(most, 1) if gpus is None else gpus


@dataclass
class Row:
    """One job as a reader sees it. seconds: since it began, or all that it took; step of steps: of its run's training,
    which this start found at step `begun`; why: it failed."""

    name: str
    state: str = "queued"
    seconds: float | None = None
    step: int | None = None
    steps: int | None = None
    begun: int = 0
    why: str = ""

    def __str__(self) -> str:
        """
        >>> str(Row("seed=3", "failed", 4, why="cell 2")), str(Row("seed=3", "running", 80, step=7, steps=12))
        ('seed=3: failed after 4 s: cell 2', 'seed=3: step 7 of 12')
        """
        if self.state == "running":
            return f"{self.name}: step {self.step} of {self.steps}" if self.steps else self.name
        after = "" if self.seconds is None else f" after {duration(self.seconds)}"
        return f"{self.name}: {self.state}{after}{': ' if self.why else ''}{self.why}"


def counts(rows: list[Row]) -> str:
    """How many there are, and in each state that occurs.

    >>> counts([Row("a", "done"), Row("b"), Row("c")])
    '3 jobs: 1 done, 2 queued'
    """
    found = Counter(row.state for row in rows)
    each = ", ".join(f"{found[state]} {state}" for state in STATES if found[state])
    return f"{len(rows)} job{'s' * (len(rows) != 1)}: {each}"


def seconds_left(rows: list[Row]) -> float | None:
    """Seconds until all have ended, as many at a time as run now; None where it is not known how long a job takes.

    A job takes as long as those done took in the mean; before the first is done, what the training steps of the
    running ones promise.

    >>> seconds_left([Row("a", "done", 60), Row("b", "running", 20), Row("c", "running", 50), Row("d")])
    55.0
    >>> seconds_left([Row("a", "running", 30, step=10, steps=40), Row("b")])
    210.0
    """
    running = [row for row in rows if row.state == "running"]
    paced = [row for row in running if row.seconds and (row.step or 0) > row.begun]
    took = [row.seconds for row in rows if row.state == "done" and row.seconds]
    took = took or [row.seconds * row.steps / (row.step - row.begun) for row in paced]
    if not took:
        return None
    whole = sum(took) / len(took)
    left = sum(row.state == "queued" for row in rows) * whole
    return (left + sum(max(whole - (row.seconds or 0), 0) for row in running)) / max(len(running), 1)


def headline(rows: list[Row]) -> str:
    """How far the queue is, in a line.

    >>> headline([Row("a", "done", 9), Row("b", "running", 3, step=5, steps=9), Row("c")])
    '3 jobs: 1 done, 1 running, 1 queued, about 15 s left (b: step 5 of 9)'
    """
    going = [str(row) for row in rows if row.state == "running"]
    left = seconds_left(rows) if going else None
    return counts(rows) + (f", about {duration(left)} left" if left else "") + f" ({'; '.join(going)})" * bool(going)


def work(jobs: list[Job], on: Callable, stream=None, done: Callable = lambda job: None) -> list[Row]:
    """Do all jobs that are not complete on the machines that `on()` gives, and show how far they are; a Row each.

    done(job) is called for each that is complete. Raises KeyboardInterrupt after stopping the processes.
    """
    rows, waiting, busy = {job.name: Row(job.name) for job in jobs}, [], {}
    for job in jobs:
        if job.complete():
            rows[job.name].state = "skipped"
            done(job)
        else:
            waiting.append(job)
    if not waiting:
        return list(rows.values())
    machines = on()
    try:
        with _shown(lambda: headline(list(rows.values())), stream or sys.stdout) as show:
            while waiting or busy:
                for job in list(waiting):
                    row, before = rows[job.name], rows.get(job.after)
                    if before and before.state == "failed":
                        row.state, row.why = "failed", f"{job.after} failed, whose model it needs"
                        waiting.remove(job)
                    elif len(busy) < machines.at_once and not (before and before.state in ("queued", "running")):
                        waiting.remove(job)
                        row.state, busy[job.name] = "running", (job, machines.start(job), time.monotonic())
                for job, handle, began in list(busy.values()):
                    row, code = rows[job.name], machines.poll(handle)
                    row.seconds = time.monotonic() - began
                    if code is None:
                        _follow(job, row)
                        continue
                    del busy[job.name]
                    if job.complete():
                        row.state = "done"
                        done(job)
                    else:
                        row.state, row.why = "failed", _why(job, code)
                show()
                time.sleep(0.2)
    finally:
        machines.stop([handle for _, handle, _ in busy.values()])
    return list(rows.values())


@contextlib.contextmanager
def _shown(text: Callable, stream):
    """While entered, `text()` is shown: in a notebook in one output, at each call of what this gives; else alone."""
    if not type(stream).__module__.startswith("ipykernel"):
        with progress(text, stream):
            yield lambda: None
        return
    from IPython.display import display

    handle, last = display({"text/plain": ""}, raw=True, display_id=True), ""

    def show():
        nonlocal last
        if text() != last:
            last = text()
            handle.update({"text/plain": last}, raw=True)

    show()
    yield show
    show()


def _follow(job: Job, row: Row) -> None:
    for status in [folder.status() for folder in job.runs()][-1:]:
        if row.step is None:
            row.begun = status.get("step", 0)
        row.step, row.steps = status.get("step"), status.get("steps")


def _why(job: Job, code: int | str) -> str:
    lines = job.path(".log").read_text(errors="replace").split("\n") if job.path(".log").exists() else []
    why = next((line.removeprefix(FAILED) for line in lines[::-1] if line.strip()), "")
    why = code if isinstance(code, str) else why if code > 0 and why else how_it_ended(code)
    return f"{why}; log: {job.path('.log')}"
