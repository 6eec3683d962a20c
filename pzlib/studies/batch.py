"""One notebook executed for every combination of its parameters, as jobs of `pzlib.studies.queue.jobs`.
Leaves out sweeps that choose what comes next: all combinations are known at the start."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pzlib.errors import duration
from pzlib.headless import REST, announced_in, find, parse_parameters, run_notebook
from pzlib.paths import root
from pzlib.runs.folder import RunFolder, write_atomic
from pzlib.studies.queue.jobs import Cluster, Here, counts, work

LONGEST = 120  # characters of a job's name: it becomes that of files
LET_GO = 60  # seconds in which the kernel of a lost process must have ended; it looks once a second


@dataclass(frozen=True)
class NotebookJob:
    """A notebook with parameters, and where it belongs: `output`/`name` with .ipynb, .json (the record) and .log.

    version: of the notebook's cells. The record has state (running, complete, failed), runs {id: state}, host, ...
    """

    name: str
    notebook: str
    version: str
    parameters: dict
    output: str
    after: str = ""

    def path(self, end: str) -> Path:
        return Path(self.output) / (f".{self.name}{end}" if end == ".lock" else self.name + end)

    def record(self) -> dict:
        """What the job wrote last; {} before the first."""
        return json.loads(self.path(".json").read_text()) if self.path(".json").exists() else {}

    def runs(self) -> list[RunFolder]:
        """Those that the notebook has announced so far, in this start of the job or in one that was lost."""
        try:
            return announced_in(self.path(".runs"))[0]
        except FileNotFoundError:
            return [RunFolder(root() / "data/runs" / name) for name in self.record().get("runs", {})]

    def complete(self) -> bool:
        """Whether this very notebook has been executed with these parameters to the end, and the runs that it trained
        are still there and complete by their own status."""
        record = self.record()
        same = all(record.get(name) == getattr(self, name) for name in ("version", "parameters"))
        if record.get("state") != "complete" or not same or not self.path(".ipynb").exists():
            return False
        return all(folder.state() == record["runs"][folder.path.name] for folder in self.runs())

    def execute(self) -> int:
        lost, code, began = self.runs() if self.path(".runs").exists() else [], 1, time.monotonic()
        self._write("running", began, {})
        while any(folder.state() == "running" for folder in lost) and time.monotonic() < began + LET_GO:
            time.sleep(0.2)  # the kernel of a lost process still trains these runs
        try:
            code = run_notebook(self.notebook, self.parameters, self.path(".ipynb"), announced=self.path(".runs"))
        finally:
            runs = {folder.path.name: folder.state() for folder in self.runs()}
            self._write("failed" if code else "complete", began, runs)
            self.path(".runs").unlink(missing_ok=True)
        return code

    def _write(self, state, began, runs):
        record = {"state": state, "version": self.version, "parameters": self.parameters, "runs": runs}
        record |= {"host": socket.gethostname(), "pid": os.getpid(), "seconds": round(time.monotonic() - began, 1)}
        write_atomic(self.path(".json"), json.dumps(record, indent=1) + "\n")


def matrix(notebook, axes, seeds=()):
    """{name: parameters} of every job, in order, the last axis fastest.

    axes: (name, [text, ...]) pairs as typed on a command line; seeds: texts such as `0-4`, for the parameter `seed`.
    The rules are those of one run (`pzlib.headless.parse_parameters`): ValueError for an unknown name, a wrong type, a
    value that is impossible, or anything that is given twice.
    """
    axes = [*axes, ("seed", seeds_of(seeds))] if seeds else list(axes)
    for name, texts in axes:
        if not texts:
            raise ValueError(f"{name}: has no value; give one or more after it")
    names, chosen = [name for name, _ in axes], itertools.product(*(texts for _, texts in axes))
    found = [parse_parameters(notebook, list(zip(names, texts, strict=True))) for texts in chosen]
    for name, texts in axes:
        often = Counter(repr((parameters.get(REST, {}) | parameters)[name]) for parameters in found)
        for value, times in often.items():
            if times > len(found) / len(texts):
                raise ValueError(f"{name}: the value {value} is given twice")
    return {name_of(parameters) or Path(notebook).stem: parameters for parameters in found}


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
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if last < first:
            raise ValueError(f"seeds: wants numbers and ranges such as 0-4, got {text!r}")
        seeds += map(str, range(first, last + 1))
    return seeds


def name_of(parameters):
    """What a job's files are called; 8 hex digits follow where the values alone would not tell two jobs apart.

    >>> name_of({"objective": "random_span", "seed": 3})
    'objective=random_span,seed=3'
    >>> name_of({"model": "Qwen/Qwen3-0.6B"})
    'model=Qwen_Qwen3-0.6B-093bb51b'
    """
    flat = {name: value for name, value in parameters.items() if name != REST} | parameters.get(REST, {})
    told = {name: str(value) for name, value in flat.items()}
    safe = {name: re.sub(r"[^A-Za-z0-9._+-]", "_", text) for name, text in told.items()}
    name = ",".join(f"{name}={text}" for name, text in safe.items())
    if safe == told and len(name) <= LONGEST:
        return name
    return f"{name[:LONGEST]}-{hashlib.sha256(json.dumps(parameters).encode()).hexdigest()[:8]}"


def version_of(notebook):
    """8 hex digits of what the notebook's code says: changed code makes a job another one, changed prose does not."""
    import nbformat

    code = [cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()[:8]


def batch(notebook, axes, seeds=(), output=None, jobs=None, gpus=None, address=None, stream=None) -> int:
    """Execute the notebook at `notebook` once for every combination of its axes; returns the exit code.

    axes, seeds: as `matrix` takes them. output: a folder of executed notebooks, records and logs; by default one under
    data/runs/notebooks. jobs: at a time at most; by default one per GPU, here without one two, on a cluster as many as
    fit. gpus: a job; by default 1 where there are any. address: HOST:PORT of a Ray cluster, or auto; its machines see
    this folder, data/runs and the notebook at the same paths, and this command runs on one of them.
    0: all are done, by now or before. 1: some failed. The same command goes on where one was stopped, and waits where
    another one does the same. 130: interrupted. Raises ValueError and FileNotFoundError for bad input, before anything
    starts.
    """
    for name, value, lowest in (("jobs", jobs, 1), ("gpus", gpus, 0)):
        if value is not None and value < lowest:
            raise ValueError(f"{name}: must be at least {lowest}, got {value}")
    if (address or "").startswith("ray://"):
        raise ValueError("address: wants HOST:PORT or auto; run the command on a machine of the cluster")
    notebook, stream, began = find(notebook).resolve(), stream or sys.stdout, time.monotonic()
    output = Path(output or root() / "data/runs/notebooks" / notebook.stem).resolve()
    parameters, version = matrix(notebook, axes, seeds), version_of(notebook)
    found = [NotebookJob(name, str(notebook), version, given, str(output)) for name, given in parameters.items()]
    try:
        rows = work(found, lambda: Cluster(address, jobs, gpus) if address else Here(jobs, gpus), stream)
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=stream)
        return 130
    failed = [str(row) for row in rows if row.state == "failed"]
    said = [*failed, f"{counts(rows)}, in {duration(time.monotonic() - began)}; executed notebooks: {output}"]
    if failed:
        said.append("the same command tries the failed ones again, and skips the others")
    print("\n".join(said), file=stream)
    return int(bool(failed))
