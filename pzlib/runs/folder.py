"""One process trains a run: a lock on its folder, which goes with the process, however it ends.
Leaves out disks that have no locks: there the folder's status alone keeps starts apart."""

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import warnings
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from pzlib.errors import refuse_unknown
from pzlib.paths import REPO
from pzlib.run import HOW, Run

PACKAGES = ("torch", "trl", "transformers", "accelerate", "datasets", "peft", "numpy", "pandas", "vllm")



def environment():
    """What a run runs on: versions, machine and commit, as plain JSON values."""
    installed = {name: _version(name) for name in PACKAGES}
    torch = sys.modules.get("torch")  # asked only where it is loaded anyway: a reader of runs needs none
    return {
        "python": platform.python_version(),
        "packages": {name: version for name, version in installed.items() if version},
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads() if torch else None,
        "gpu": torch.cuda.get_device_name() if torch and torch.cuda.is_available() else None,
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain")),
    }



def _version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None



def _cpu():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor()
    names = [line.split(": ", 1)[1] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()



@cache  # asking takes a tenth of a second; what counts is the code as loaded
def _git(*command):
    try:
        done = subprocess.run(["git", "-C", str(REPO), *command], capture_output=True, text=True)
    except FileNotFoundError:  # no git on this machine
        return None
    return done.stdout.strip() or None


STATES = ("running", "complete", "failed")

EVAL_COLUMNS = ("step", "task", "group", "n", "correct", "accuracy", "length", "reasoned")

# A row is one completion; reward is raw (null: none was given), length in tokens, entropy in nats per token; position
# is where its mask begins, as a share of the passage's characters; verdict is the verifier's, null where there is none.
EPISODES = pa.schema(
    [("step", pa.int64()), ("role", pa.string()), ("passage_id", pa.string()), ("block", pa.int64()),
     ("group_index", pa.int64()), ("row", pa.int64()), ("mask", pa.string()), ("kind", pa.string()),
     ("legal", pa.bool_()), ("count", pa.int64()), ("position", pa.float64()), ("prompt", pa.string()),
     ("completion", pa.string()), ("prediction", pa.string()), ("reward", pa.float64()), ("advantage", pa.float64()),
     ("length", pa.int64()), ("clipped", pa.bool_()), ("entropy", pa.float64()), ("verdict", pa.string())]
)  # fmt: skip



def write_atomic(path, content):
    """Write bytes or str so that `path` holds either all of it or what it held before, even on a full disk.

    The content goes to a new file in the same folder, reaches the disk, and takes the name in one move.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    handle, new = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(new, 0o644)  # mkstemp's 0600 would hide results from other users of a shared disk
        os.replace(new, path)
    except BaseException:
        Path(new).unlink(missing_ok=True)
        raise



class RunFolder:
    """The files of one run under `path`; reading needs no `open`, and never creates anything.

    `state()` is never ambiguous: new, running (its process lives), resumable (killed), complete or failed.
    """

    def __init__(self, path):
        self.path = Path(path)

    def __repr__(self):
        return f"RunFolder({str(self.path)!r})"

    def open(self, run, extra=None):
        """Create the folder for `run`, or check that the same settings and facts made it; returns self.

        extra: plain JSON facts that must not change either (corpus digest, model fingerprint, ...).
        Raises ValueError naming what differs, or the living process that trains here already.
        """
        params = json.loads(json.dumps({"run_id": run.run_id, **run.to_dict(), **(extra or {})}))
        if self.state() == "running" and self.status()["pid"] != os.getpid():
            raise ValueError(self.taken())
        if not (self.path / "params.json").exists():
            for folder in (self.path, self.path / "episodes", self.path / "checkpoints"):
                folder.mkdir(parents=True, exist_ok=True)
            write_atomic(self.path / "env.json", json.dumps(environment(), indent=1) + "\n")
            write_atomic(self.path / "params.json", json.dumps(params, indent=1) + "\n")
            return self
        # A folder of an earlier version lacks the settings that came later: it was made with their defaults.
        was, now = _differing(self.run().to_dict() | self.params(), params, left_out=HOW)
        if was:
            remedy = "give the run another name, or delete the folder"
            raise ValueError(f"{self.path}: made with {_said(was)}, started with {_said(now)}; {remedy}")
        if self.state() != "complete":
            begun = json.loads((self.path / "env.json").read_text())["packages"]
            was, now = _differing(begun, environment()["packages"])
            if was:
                text = f"{self.path}: begun under {_said(was)}, goes on under {_said(now)}"
                warnings.warn(f"{text}: its numbers need not be those of an unbroken run", stacklevel=2)
        return self

    def taken(self):
        """Words for whoever would train here while another does."""
        who = f"process {self.status()['pid']}" if self.state() == "running" else "another process"
        return f"{self.path}: {who} trains it now; wait, or give another seed or name"

    def params(self):
        """The settings and facts the run was made with."""
        return json.loads((self.path / "params.json").read_text())

    def run(self):
        """The Run that made this folder."""
        params = self.params()
        return Run.from_dict({k: v for k, v in params.items() if k in Run.__dataclass_fields__})

    def status(self):
        """status.json as a dict: state, step, steps, pid, started, updated, error; {} before the first."""
        path = self.path / "status.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def set_status(self, state, **named):
        """Record `state` (running, complete or failed) and any of step, steps, error; the rest is kept."""
        if state not in STATES:
            raise ValueError(f"state: {state!r} is not one of {', '.join(STATES)}")
        refuse_unknown(named, ("step", "steps", "error"), "field of the status")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        me = psutil.Process()
        status = {"state": state, "step": 0, "steps": None, "started": now, **self.status(), **named}
        status |= {"state": state, "pid": me.pid, "pid_started": me.create_time(), "updated": now}
        status["error"] = named.get("error")  # an error is told until the run goes on
        write_atomic(self.path / "status.json", json.dumps(status, indent=1) + "\n")

    def state(self):
        """new, running, resumable, complete or failed; one whose process is gone was killed: resumable."""
        status = self.status()
        if status.get("state") != "running":
            return status.get("state", "new")
        try:
            process = psutil.Process(status["pid"])
            # The start time tells a living process from a later one that was given the same number.
            same = abs(process.create_time() - status["pid_started"]) < 1
            alive = same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            alive = False
        return "running" if alive else "resumable"

    def append_metrics(self, row):
        """Add one step's metrics (a dict with `step`); NaN and infinity are stored as null."""
        if "step" not in row:
            raise ValueError("step: missing from a row of metrics; every row names its optimizer step")
        line = (json.dumps({k: _plain(v) for k, v in row.items()}) + "\n").encode()
        with open(self.path / "metrics.jsonl", "ab", buffering=0) as file:
            size = file.tell()
            if file.write(line) < len(line):  # a full disk takes part of a line: leave none of it
                file.truncate(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file.name)

    def metrics(self):
        """metrics.jsonl as a DataFrame, one row per optimizer step; empty before the first."""
        rows = self._metric_rows()
        return pd.DataFrame(rows, columns=None if rows else ["step"])

    def _metric_rows(self):
        path = self.path / "metrics.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]  # a kill leaves half a line

    def write_episodes(self, step, rank, rows):
        """Store the episodes (dicts by EPISODES' columns) of one step and process, whole or not at all."""
        refuse_unknown({k: None for row in rows for k in row}, EPISODES.names, "column of episodes")
        buffer = pa.BufferOutputStream()
        table = pa.Table.from_pylist([{"step": step, **row} for row in rows], schema=EPISODES)
        pq.write_table(table, buffer, write_page_checksum=True)
        path = self.path / "episodes" / f"step_{step:06d}.rank{rank}.parquet"
        write_atomic(path, buffer.getvalue().to_pybytes())

    def episodes(self, steps=None):
        """Episodes of the given steps (None: all) as one DataFrame, in order of step and process.

        Raises ValueError, with the remedy, for a file that was cut short or changed since it was written.
        """
        wanted = None if steps is None else set(steps)
        files = [p for p in self._episode_files() if wanted is None or _step(p) in wanted]
        tables = [_episodes(p) for p in files]
        # A column that an earlier version did not have yet is null there.
        return pa.concat_tables([EPISODES.empty_table(), *tables], promote_options="default").to_pandas()

    def episode_steps(self):
        """The steps that have episodes, sorted: the live view reads the last few only."""
        return sorted({_step(p) for p in self._episode_files()})

    def _episode_files(self):
        def order(path):
            return _step(path), int(path.name.split("rank")[1].split(".")[0])

        return sorted((self.path / "episodes").glob("step_*.rank*.parquet"), key=order)

    def append_eval(self, rows):
        """Add rows (dicts by EVAL_COLUMNS); a step's task that is measured again replaces its old row."""
        for row in rows:
            refuse_unknown(row, EVAL_COLUMNS, "column of eval.csv")
            refuse_unknown(("step", "task"), row, "column of this evaluation row")
        new = pd.DataFrame(rows, columns=EVAL_COLUMNS)
        both = pd.concat([table for table in (self.evals(), new) if len(table)] or [new])
        both = both.drop_duplicates(["step", "task"], keep="last")
        self._write_evals(both.sort_values("step", kind="stable"))

    def _write_evals(self, table):
        write_atomic(self.path / "eval.csv", table.to_csv(index=False, lineterminator="\n"))

    def evals(self):
        """eval.csv as a DataFrame; empty before the first evaluation."""
        path = self.path / "eval.csv"
        return pd.read_csv(path) if path.exists() else pd.DataFrame(columns=EVAL_COLUMNS)

    def truncate_after(self, step):
        """Forget metrics, episodes and evaluations of steps later than `step`: a resume starts there."""
        rows = [row for row in self._metric_rows() if row["step"] <= step]
        write_atomic(self.path / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        for path in self._episode_files():
            if _step(path) > step:
                path.unlink()
        evals = self.evals()
        if len(evals):
            self._write_evals(evals[evals["step"] <= step])



def _episodes(path):
    try:
        return pq.ParquetFile(path, page_checksum_verification=True).read()
    except (pa.ArrowException, OSError) as error:  # pyarrow has no more exact words for what is wrong in it
        if getattr(error, "errno", None):
            raise  # the disk's or the system's doing: the file may be well
        remedy = "put it back from a copy, or delete it to read the other steps"
        raise ValueError(f"{path}: not as it was written ({str(error).splitlines()[0]}); {remedy}") from error



def _step(path):
    return int(path.name.split(".")[0].removeprefix("step_"))



def _plain(value):
    value = value.item() if hasattr(value, "item") else value  # a numpy or torch scalar
    return None if isinstance(value, float) and not math.isfinite(value) else value



def _differing(old, new, left_out=()):
    names = [k for k in {**old, **new} if old.get(k) != new.get(k) and k not in left_out]
    return {k: old.get(k) for k in names}, {k: new.get(k) for k in names}



def _said(values):
    texts = {k: json.dumps(v) for k, v in values.items()}
    return ", ".join(f"{k} {t if len(t) <= 60 else t[:57] + '...'}" for k, t in texts.items())


FILE = "sources.json"  # in the run's folder



def stamps(run):
    """{"model": ..., "corpus": ...}: 16 hex digits that change with any file of it; None for what is no path."""
    return {"model": _stamp(run.model_source), "corpus": _stamp(run.corpus_source)}



def _stamp(source):
    path = Path(source)
    if not path.exists():
        return None
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    told = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]



def note(folder, run):
    """Write down, in a run's RunFolder, what it is made from."""
    write_atomic(folder.path / FILE, json.dumps(stamps(run)) + "\n")



def untouched(folder, run):
    """Whether a run's files are as they were noted. Where nothing was noted, or a file is gone, it is taken as so: a
    finished run must open without the text it was made from."""
    path = folder.path / FILE
    if not path.exists():
        return True
    noted = json.loads(path.read_text())
    return all(now is None or now == noted.get(name) for name, now in stamps(run).items())


UNKNOWN = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP)  # what a cluster's disk without locks says



@contextlib.contextmanager
def held(folder):
    """While entered, no other process trains in this RunFolder, even one that was started in the same moment.

    Raises ValueError where another holds it.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    with open(folder.path / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(folder.taken()) from None
        except OSError as error:
            if error.errno not in UNKNOWN:
                raise
        yield
