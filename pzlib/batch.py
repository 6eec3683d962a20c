"""A matrix of notebook jobs on Ray: this machine by default, a cluster by its address; what is complete is skipped.
Leaves out a scheduler of its own: Ray places jobs, and what a job trains resumes by itself (pzlib.train)."""

import logging
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import ray
from ray._private import ray_constants
from ray.exceptions import NodeDiedError, ObjectLostError, OutOfMemoryError, RayError, WorkerCrashedError

from pzlib import run as settings
from pzlib.job import Job, run_job, version_of
from pzlib.jobtable import Row, counts, headline, line, table
from pzlib.matrix import matrix
from pzlib.progress import duration

LOST = (NodeDiedError, WorkerCrashedError, OutOfMemoryError, ObjectLostError)  # the machine's doing, not the job's
AUTHENTICATION = ("RAY_AUTH_TOKEN", "RAY_AUTH_MODE")  # the second is Ray's own doing, which defaults to tokens
STARTS = 4  # of a job whose worker is lost each time: perhaps it is the job that brings machines down


def batch(notebook, axes, seeds=(), output=None, jobs=None, gpus=None, address=None, stream=None):
    """Execute the notebook at `notebook` once for every combination of its axes; returns the exit code.

    axes, seeds: as `matrix` takes them. output: a folder of executed notebooks, records and logs; by default one under
    data/runs/notebooks. jobs: at a time at most; by default, here one a GPU or two, on a cluster as many as fit.
    gpus: a job; by default 1 where there are any. address: HOST:PORT of a Ray cluster, or auto; its machines must see
    this folder, data/runs and the notebook at the same paths, and this command runs on one of them.
    0: all are done, by now or before. 1: some failed. The same command goes on where one was stopped.
    130: interrupted. Raises ValueError and FileNotFoundError for bad input, before anything starts.
    """
    _check(jobs=(jobs, 1), gpus=(gpus, 0))
    if (address or "").startswith("ray://"):
        raise ValueError("address: wants HOST:PORT or auto; run the command on a machine of the cluster")
    notebook, stream = Path(notebook).resolve(), stream or sys.stdout
    parameters = matrix(notebook, axes, seeds)
    output = Path(output or settings.ROOT / "data/runs/notebooks" / notebook.stem).resolve()
    about = {"notebook": str(notebook), "version": version_of(notebook), "output": str(output),
             "home": str(settings.ROOT), "cwd": os.getcwd()}  # fmt: skip
    all_jobs = [Job(name=name, parameters=given, **about) for name, given in parameters.items()]
    rows = {job.name: Row(job.name, "skipped" if job.complete() else "queued") for job in all_jobs}
    waiting = [job for job in all_jobs if rows[job.name].state == "queued"]
    began, board = time.monotonic(), Board(list(rows.values()), stream)
    if waiting:
        with _ray(address, jobs):
            gpus = _gpus(gpus)
            at_once = jobs or (len(waiting) if address else _as_many(gpus))
            threads = 0 if address else max(1, (os.cpu_count() or 1) // at_once)
            waiting = [replace(job, gpus=gpus, threads=threads) for job in waiting]
            try:
                _play(waiting, rows, at_once, board)
            except KeyboardInterrupt:
                print("stopped: the same command goes on from here", file=stream)
                return 130
    print("\n".join(_summary(list(rows.values()), output, time.monotonic() - began)), file=stream)
    return int(any(row.state == "failed" for row in rows.values()))


class Board:
    """Shows rows: a table redrawn in place on a terminal, else a line for each that begins or ends."""

    def __init__(self, rows, stream):
        self.rows, self.stream, self.live = rows, stream, stream.isatty()
        self.drawn, self.told = 0, {row.name: row.state for row in rows}
        if not self.live:
            print(headline(rows), file=stream, flush=True)

    def show(self):
        if self.live:
            width, height = shutil.get_terminal_size()
            lines = [text[: width - 1] for text in table(self.rows, max(height - 3, 1))]
            up = f"\x1b[{self.drawn}A" if self.drawn else ""
            print(f"{up}\x1b[J" + "\n".join(lines), file=self.stream, flush=True)
            self.drawn = len(lines)
            return
        for row in self.rows:
            if row.state != self.told[row.name]:
                self.told[row.name] = row.state
                print(f"{line(row)} ({headline(self.rows)})", file=self.stream, flush=True)


def _check(**given):
    for name, (value, lowest) in given.items():
        if value is not None and value < lowest:
            raise ValueError(f"{name}: must be at least {lowest}, got {value}")


@contextmanager
def _ray(address, jobs):
    """Ray while entered: of this machine alone, on its loopback, gone afterwards; or the cluster at `address`."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    clusters, known = ray_constants.ENABLE_RAY_CLUSTER, {name: os.environ.get(name) for name in AUTHENTICATION}
    # With no cluster to be part of, its processes listen on this machine's loopback, and to those who know a token.
    ray_constants.ENABLE_RAY_CLUSTER = bool(address)
    if not (address or known["RAY_AUTH_TOKEN"]):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    try:
        with tempfile.TemporaryDirectory(prefix="pzlib-ray-", ignore_cleanup_errors=True) as scratch:
            _start(address, jobs, scratch)
            try:
                yield
            finally:
                ray.shutdown()  # ends the workers, and with a worker ends its kernel
    finally:
        # the next cluster of this process may be a real one, without a token or with its own
        ray_constants.ENABLE_RAY_CLUSTER = clusters
        for name, value in known.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _start(address, jobs, scratch):
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    try:
        if address:
            ray.init(address, **quiet)
        else:
            ray.init(
                "local", num_cpus=max(jobs or 0, os.cpu_count() or 1), include_dashboard=False,
                object_store_memory=2**27, _temp_dir=scratch, **quiet,
            )  # fmt: skip
    except Exception as error:  # Ray raises plain ones: its processes have half a minute to come up
        if address:
            remedy = "`ray start --head` on one machine, `ray start --address HOST:PORT` on the others makes one"
            raise ValueError(f"address: no Ray cluster answers at {address} ({error}); {remedy}") from error
        raise OSError(f"Ray did not start, perhaps as this machine is too busy; try again ({error})") from error


def _gpus(asked):
    """GPUs a job; ValueError where no machine has as many."""
    most = max(int(node["Resources"].get("GPU", 0)) for node in ray.nodes() if node["Alive"])
    gpus = min(most, 1) if asked is None else asked
    if gpus > most:
        raise ValueError(f"gpus: {gpus} a job, but the largest machine of the cluster has {most}; lower it")
    return gpus


def _as_many(gpus):
    """Jobs at a time on this machine: one a GPU, or two, as a step of the small model gains little from a core more."""
    return max(1, int(ray.cluster_resources().get("GPU", 0)) // gpus) if gpus else 2


def _play(jobs, rows, at_once, board):
    """Run every Job of `jobs`, keep `rows` {name: Row} true, and show them; a job whose worker is lost starts again."""
    waiting, busy, since = deque(jobs), {}, {}
    # a lost job is started again here, where it can be told and counted
    task = ray.remote(run_job).options(max_retries=0, num_cpus=1, num_gpus=jobs[0].gpus, scheduling_strategy="SPREAD")
    while waiting or busy:
        while waiting and len(busy) < at_once:
            job = waiting.popleft()
            row = rows[job.name]
            row.state, row.tries, row.where, row.step = "queued", row.tries + 1, "", None
            job.path(".json").unlink(missing_ok=True)  # the next one says that it has begun
            busy[task.remote(job, row.tries)] = job
        for ref in ray.wait(list(busy), timeout=0.5)[0]:
            job = busy.pop(ref)
            row = rows[job.name]
            try:
                record = ray.get(ref)
            except LOST as error:
                if row.tries < STARTS:
                    waiting.appendleft(job)
                    continue
                row.state, row.said = "failed", f"its worker was lost {STARTS} times ({type(error).__name__})"
            except RayError as error:
                row.state, row.said = "failed", " ".join(str(error).split())[-500:]
            else:
                row.state = "done" if record["state"] == "complete" else "failed"
                row.seconds, row.said = record["seconds"], record["said"]
        for job in busy.values():
            _follow(job, rows[job.name], since)
        board.show()


def _follow(job, row, since):
    """What a submitted job has written so far; its time is counted here, as clocks of machines differ."""
    record = job.record()
    if record.get("start") != row.tries:
        return  # Ray has not placed it yet
    begun = since.setdefault((job.name, row.tries), time.monotonic())
    row.state, row.where, row.seconds = "running", record["host"], time.monotonic() - begun
    for status in [folder.status() for folder in job.runs()][-1:]:
        if row.step is None:
            row.begun = status.get("step", 0)
        row.step, row.steps = status.get("step"), status.get("steps")


def _summary(rows, output, seconds):
    """Lines: how many ended how, every failure with its reason and log, and where things are."""
    failed = [row for row in rows if row.state == "failed"]
    told = [f"{line(row)}; log: {output / (row.name + '.log')}" for row in failed]
    told.append(f"{counts(rows)}, in {duration(seconds)}; executed notebooks: {output}")
    if failed:
        told.append("the same command tries the failed ones again, and skips the others")
    return told
