"""One job of a batch on the machine that got it: the notebook, and a record beside it of what became of it.
Leaves out which machine that is (pzlib.batch); what it shares with the others is a disk."""

import contextlib
import hashlib
import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from pzlib import run as settings
from pzlib.folder import RunFolder, write_atomic
from pzlib.headless import announced_in, run_notebook

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
    return RunFolder(settings.ROOT / "data/runs" / name)


def _write(job, record):
    write_atomic(job.path(".json"), json.dumps(record, indent=1) + "\n")


def _last_line(path):
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
