"""Many runs, a few at a time, each in a process of its own: what is stored is not run again, rows come as runs end.
Leaves out clusters and GPUs shared between runs: one machine, `jobs` processes that share its cores."""

import contextlib
import hashlib
import itertools
import json
import logging
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import ray
from ray._private import ray_constants
from ray.exceptions import NodeDiedError, ObjectLostError, OutOfMemoryError, RayError, WorkerCrashedError

from pzlib.engine.processes import PARENT, end_with_parent
from pzlib.errors import refuse_unknown
from pzlib.headless import announce_failures, announced_in, duration, parse_value, read_parameters, run_notebook
from pzlib.paths import root
from pzlib.run import Run
from pzlib.runs.folder import RunFolder, write_atomic
from pzlib.studies.results import collect_run, folder_of, load

STATES = ("done", "skipped", "failed", "running", "queued")  # skipped: done by an earlier batch



@dataclass
class Row:
    """One job as a reader sees it. seconds: since it began, or all that it took; step of steps: of its run's training,
    which this start found at step `begun`; tries: how often it was started; said: why it failed."""

    name: str
    state: str = "queued"
    seconds: float | None = None
    step: int | None = None
    steps: int | None = None
    begun: int = 0
    where: str = ""
    tries: int = 0
    said: str = ""

    @property
    def ended(self):
        return self.state in ("done", "skipped", "failed")



def counts(rows):
    """How many there are, and in each state that occurs.

    >>> counts([Row("a", "done"), Row("b"), Row("c")])
    '3 jobs: 1 done, 2 queued'
    """
    found = Counter(row.state for row in rows)
    told = ", ".join(f"{found[state]} {state}" for state in STATES if found[state])
    return f"{len(rows)} job{'s' * (len(rows) != 1)}: {told}"



def seconds_left(rows):
    """Seconds until all have ended, as many at a time as run now; None where nothing tells how long a job takes.

    A job takes as long as those done took in the mean; before the first is done, what the training steps of the
    running ones promise.

    >>> seconds_left([Row("a", "done", 60), Row("b", "running", 20), Row("c", "running", 50), Row("d")])
    55.0
    >>> seconds_left([Row("a", "running", 30, step=10, steps=40), Row("b")])
    210.0
    """
    running = [row for row in rows if row.state == "running"]
    queued = sum(row.state == "queued" for row in rows)
    took = [row.seconds for row in rows if row.state == "done" and row.seconds]
    paced = [row for row in running if row.seconds and (row.step or 0) > row.begun]
    took = took or [row.seconds * row.steps / (row.step - row.begun) for row in paced]
    if not took:
        return None
    whole = sum(took) / len(took)
    left = queued * whole + sum(max(whole - (row.seconds or 0), 0) for row in running)
    return left / max(len(running), 1)



def headline(rows):
    """E.g. `16 jobs: 9 done, 2 running, 5 queued, about 3 min 0 s left`."""
    left = None if all(row.ended for row in rows) else seconds_left(rows)
    rest = f", about {duration(left)} left" if left is not None else ""
    return f"{counts(rows)}{rest}"



def line(row):
    """E.g. `seed=3: running on gpu-2, step 7 of 12, 35 s, start 2`.

    >>> line(Row("seed=3", "failed", 4, tries=1, said="cell 2 failed"))
    'seed=3: failed after 4 s: cell 2 failed'
    """
    parts = [row.state]
    if row.state == "running":
        parts[0] += f" on {row.where}" if row.where else ""
        parts += [f"step {row.step} of {row.steps}"] if row.steps else []
        parts += [duration(row.seconds)] if row.seconds is not None else []
    elif row.ended and row.seconds is not None:
        parts[0] += f" after {duration(row.seconds)}" if row.state == "failed" else f" in {duration(row.seconds)}"
    if row.tries > 1:
        parts.append(f"start {row.tries}")
    said = f": {row.said}" if row.said else ""
    return f"{row.name}: {', '.join(parts)}{said}"



def table(rows, height):
    """The headline and at most `height` lines below it: what runs and what failed first, then what waits.

    >>> print("\\n".join(table([Row("a", "done", 9), Row("b", "running", 3), Row("c"), Row("d")], 2)))
    4 jobs: 1 done, 1 running, 2 queued, about 24 s left
    b: running, 3 s
    c: queued
    (2 more)
    """
    order = ("running", "failed", "queued", "done", "skipped")
    shown = sorted(rows, key=lambda row: order.index(row.state))
    more = [f"({len(shown) - height} more)"] if len(shown) > height else []
    return [headline(rows), *map(line, shown[:height]), *more]


LONGEST = 120  # characters of a name: it becomes that of files



def matrix(notebook, axes, seeds=()):
    """{name: parameters} of every job, in order, the last axis fastest.

    axes: (name, [text, ...]) pairs as typed on a command line; seeds: texts such as `0-4`, for the parameter `seed`.
    The rules are those of one run: ValueError for an unknown name, a wrong type or anything that is given twice.
    """
    defaults, values = read_parameters(notebook), {}
    axes = [*axes, ("seed", seeds_of(seeds))] if seeds else axes
    refuse_unknown([name for name, _ in axes], defaults, f"parameter of {Path(notebook).name}")
    for name, texts in axes:
        if name in values:
            raise ValueError(f"{name}: given twice; give each parameter once, with all its values")
        if not texts:
            raise ValueError(f"{name}: has no value; give one or more after it")
        values[name] = [parse_value(name, text, defaults[name]) for text in texts]
        for value in values[name]:
            if values[name].count(value) > 1:
                raise ValueError(f"{name}: the value {value!r} is given twice")
    combinations = [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
    return {name_of(parameters) or Path(notebook).stem: parameters for parameters in combinations}



def seeds_of(texts):
    """Seeds and ranges of them, as typed, one by one; a range includes its end.

    >>> seeds_of(["0-2", "7"])
    ['0', '1', '2', '7']
    >>> seeds_of(["3-1"])
    Traceback (most recent call last):
    ValueError: seeds: wants numbers and ranges such as 0-4, got '3-1'
    """
    seeds = []
    for text in texts:
        first, last = (re.fullmatch(r"(\d+)(?:-(\d+))?", text) or re.match("()()", "")).groups()
        last = last or first
        if not first or int(last) < int(first):
            raise ValueError(f"seeds: wants numbers and ranges such as 0-4, got {text!r}")
        seeds += map(str, range(int(first), int(last) + 1))
    return seeds



def name_of(parameters):
    """What a job's files are called; 8 hex digits follow where the values alone would not tell two jobs apart.

    >>> name_of({"objective": "random_span", "seed": 3})
    'objective=random_span,seed=3'
    >>> name_of({"model": "Qwen/Qwen3-0.6B"})
    'model=Qwen_Qwen3-0.6B-093bb51b'
    """
    told = {name: str(value) for name, value in parameters.items()}
    safe = {name: re.sub(r"[^A-Za-z0-9._+-]", "_", text) for name, text in told.items()}
    name = ",".join(f"{name}={text}" for name, text in safe.items())
    if safe == told and len(name) <= LONGEST:
        return name
    return f"{name[:LONGEST]}-{hashlib.sha256(json.dumps(parameters).encode()).hexdigest()[:8]}"


LET_GO = 60  # seconds in which the kernel of a lost worker must have ended; it looks once a second



@dataclass(frozen=True)
class Job:
    """A notebook with parameters, and where it belongs: `output`/`name` with .ipynb, .json (the record) and .log.

    version: of the notebook's cells; home, cwd: PZLIB_HOME and the working directory of whoever started the batch;
    threads: 0 leaves them to Ray; gpus: with 0 none is seen. Plain values all, so that it travels.
    """

    name: str
    notebook: str
    version: str
    parameters: dict
    output: str
    home: str
    cwd: str
    threads: int = 0
    gpus: int = 0

    def path(self, end):
        return Path(self.output) / (self.name + end)

    def record(self):
        """What the job wrote last: state (running, complete, failed), runs {id: state}, said, seconds, host, ...;
        {} before the first."""
        try:
            return json.loads(self.path(".json").read_text())
        except FileNotFoundError:
            return {}

    def runs(self):
        """The RunFolders that the notebook has announced so far, in this start of the job or one that was lost."""
        try:
            return announced_in(self.path(".runs"))[0]
        except FileNotFoundError:
            return [_folder(name) for name in self.record().get("runs", {})]

    def complete(self):
        """Whether this very notebook has been executed with these parameters to the end, and the runs that it trained
        are still there and complete by their own status."""
        record = self.record()
        same = all(record.get(name) == getattr(self, name) for name in ("version", "parameters"))
        if record.get("state") != "complete" or not same or not self.path(".ipynb").exists():
            return False
        return all(_folder(name).state() == state for name, state in record["runs"].items())



def version_of(notebook):
    """8 hex digits of what the notebook's code says: changed code makes a job another one, changed prose does not."""
    import nbformat

    code = [cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()[:8]



def run_job(job, start=1):
    """Execute `job` here, for the `start`-th time in its batch; returns its record, which is written beforehand too, so
    that others see where it runs. What it trains goes on from its checkpoint."""
    _move_in(job)
    lost = job.runs() if job.path(".runs").exists() else []
    record = {"state": "running", "version": job.version, "parameters": job.parameters, "runs": {}, "said": "",
              "start": start, "host": socket.gethostname(), "pid": os.getpid(), "seconds": 0.0}  # fmt: skip
    _write(job, record)
    began = time.monotonic()
    _wait_for(lost)
    with open(job.path(".log"), "a", buffering=1) as log:
        with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            code = _executed(job)
    record["seconds"] = round(time.monotonic() - began, 1)
    record["runs"] = {folder.path.name: folder.state() for folder in job.runs()}
    record["state"] = "failed" if code else "complete"
    if code:
        record["said"] = _last_line(job.path(".log")).removeprefix(f"{job.notebook}: ")
    _write(job, record)
    job.path(".runs").unlink(missing_ok=True)
    return record



def _executed(job):
    try:
        return run_notebook(job.notebook, job.parameters, job.path(".ipynb"), announced=job.path(".runs"))
    except (ValueError, OSError) as error:  # no such file on this machine, a full disk
        print(" ".join(f"{type(error).__name__}: {error}".split()))
        return 2



def _move_in(job):
    """A worker of a cluster was started elsewhere, without what surrounds the command that a person typed."""
    os.environ["PZLIB_HOME"] = job.home
    if Path(job.cwd).is_dir():
        os.chdir(job.cwd)
    if job.threads:
        os.environ["OMP_NUM_THREADS"] = str(job.threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if not job.gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    Path(job.output).mkdir(parents=True, exist_ok=True)



def _wait_for(folders):
    """The kernel of a worker that died on this machine ends a moment later; until then it trains these runs."""
    until = time.monotonic() + LET_GO
    while any(folder.state() == "running" for folder in folders) and time.monotonic() < until:
        time.sleep(0.2)



def _folder(name):
    return RunFolder(root() / "data/runs" / name)



def _write(job, record):
    write_atomic(job.path(".json"), json.dumps(record, indent=1) + "\n")



def _last_line(path):
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


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
    output = Path(output or root() / "data/runs/notebooks" / notebook.stem).resolve()
    about = {"notebook": str(notebook), "version": version_of(notebook), "output": str(output),
             "home": str(root()), "cwd": os.getcwd()}  # fmt: skip
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
            _start_ray(address, jobs, scratch)
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



def _start_ray(address, jobs, scratch):
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
            [sys.executable, "-m", "pzlib.studies.queue", json.dumps(run.to_dict())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={
                **os.environ, "OMP_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "false", PARENT: str(os.getpid()),
            },  # fmt: skip
        )



def _finish(run_id, code, old, results):
    folder = RunFolder(root() / "data/runs" / run_id)
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
    from pzlib.evaluation import evaluation_of
    from pzlib.train import train

    train(run, evaluate=evaluation_of(run))

if __name__ == "__main__":
    train_one(Run.from_dict(json.loads(sys.argv[1])))
