"""The folder of one run: settings, status, metrics, episodes and scores, written so that a kill or a full disk loses
nothing, and the lock that lets one process train it. Leaves out disks without locks: there the status alone decides."""

import contextlib
import errno
import json
import math
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

import filelock
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from pzlib.errors import refuse_unknown
from pzlib.paths import REPO, stamp

PACKAGES = ("torch", "trl", "transformers", "accelerate", "datasets", "peft", "numpy", "pandas", "vllm")
# A score, whatever was asked: n answers, k to each question; accuracy is correct / n, the mean over questions; low and
# high: its 95 % interval over questions; length: tokens an answer; prompts: digest of what was asked (equal: paired).
# length_reasoned: tokens an answer that reasons; error: the standard error that sampling leaves, were the same asked
# again. What is not known is null.
EVAL_COLUMNS = (
    "step", "task", "group", "n", "correct", "accuracy", "length", "reasoned", "k", "low", "high", "prompts",
    "length_reasoned", "error",
)  # fmt: skip
SOURCES = "sources.json"
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP)  # what a cluster's disk without locks says

# A row is one completion; reward is raw (null: none was given), length in tokens, entropy in nats per token; position
# is where its mask begins, as a share of the passage's characters; verdict is the verifier's, null where there is none.
EPISODES = {
    "step": "int64", "role": "string", "passage_id": "string", "block": "int64", "group_index": "int64", "row": "int64",
    "mask": "string", "kind": "string", "legal": "bool", "count": "int64", "position": "double", "prompt": "string",
    "completion": "string", "prediction": "string", "reward": "double", "advantage": "double", "length": "int64",
    "clipped": "bool", "entropy": "double", "verdict": "string",
}  # fmt: skip
SCHEMA = pa.schema(list(EPISODES.items()))


def write_atomic(path, content):
    """Write bytes or str so that `path` holds either all of it or what it held before, even on a full disk."""
    path = Path(path)
    handle, new = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(new, 0o644)  # mkstemp's 0600 would hide results from other users of a shared disk
        os.replace(new, path)
    except BaseException:
        Path(new).unlink(missing_ok=True)
        raise


def environment():
    """What a run runs on: versions, machine and commit, as plain JSON values."""
    packages = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            packages[name] = metadata.version(name)
    torch = sys.modules.get("torch")  # asked only where it is loaded anyway: a reader of runs needs none
    return {
        "python": platform.python_version(),
        "packages": packages,
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads() if torch else None,
        "gpu": torch.cuda.get_device_name() if torch and torch.cuda.is_available() else None,
        "commit": _git("rev-parse", "HEAD"),
        # not of what studies write while they run: their tables and figures
        "uncommitted_changes": bool(_git("status", "--porcelain", "--", ".", ":!data/results", ":!figures")),
    }


def _cpu():
    with contextlib.suppress(OSError):  # not Linux
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(": ", 1)[1]
    return platform.processor()


@cache  # asking takes a tenth of a second; what counts is the code as loaded
def _git(*command):
    try:
        done = subprocess.run(["git", "-C", str(REPO), *command], capture_output=True, text=True)
    except FileNotFoundError:  # no git on this machine
        return None
    return done.stdout.strip() or None


class RunFolder:
    """The files of one run under `path`; reading needs no `open`, and never creates anything."""

    def __init__(self, path):
        self.path = Path(path)

    def interrupted(self):
        """Called when a person stopped its training; a view that shows it replaces this by its own."""

    def open(self, run, facts=None):
        """Create the folder for the Run `run`, or check that the same settings and facts made it; returns self.

        facts: plain JSON values that must not change either (corpus digest, model fingerprint, ...); None: only the
        settings are compared. Raises ValueError naming what differs, or the living process that trains here.
        """
        settings = run.to_dict()
        params = json.loads(_json({"run_id": run.run_id, **settings, **(facts or {})}))
        if self.state() == "running" and self.status()["pid"] != os.getpid():
            raise ValueError(self.taken())
        if not (self.path / "params.json").exists():
            for folder in (self.path, self.path / "episodes", self.path / "checkpoints"):
                folder.mkdir(parents=True, exist_ok=True)
            write_atomic(self.path / "env.json", _json(environment()))
            write_atomic(self.path / "params.json", _json(params))
            return self
        then = self.params()
        # A folder of an earlier version lacks the settings that came later: it was made with their defaults.
        then = type(run).from_dict({name: then[name] for name in settings if name in then}).to_dict() | then
        asked = params if facts is None else {**then, **params}
        was, now = _differing(then, params, [name for name in asked if name not in run.HOW])
        if was:
            remedy = "give the run another name, or delete the folder"
            raise ValueError(f"{self.path}: made with {_shown(was)}, started with {_shown(now)}; {remedy}")
        if self.state() != "complete":
            begun, here = json.loads((self.path / "env.json").read_text())["packages"], environment()["packages"]
            was, now = _differing(begun, here, {**begun, **here})
            if was:
                text = f"{self.path}: begun under {_shown(was)}, goes on under {_shown(now)}"
                warnings.warn(f"{text}: its numbers need not be those of an unbroken run", stacklevel=2)
        return self

    def taken(self):
        """Words for whoever would train here while another does."""
        who = f"process {self.status()['pid']}" if self.state() == "running" else "another process"
        return f"{self.path}: {who} trains it now; wait, or give another seed or name"

    def params(self):
        """The settings and facts the run was made with."""
        return json.loads((self.path / "params.json").read_text())

    def status(self):
        """status.json as a dict: state, step, steps, doing, pid, started, updated, error; {} before the first."""
        path = self.path / "status.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def set_status(self, state, **named):
        """Record `state` (running, resumable, complete or failed) and any of step, steps, doing ("training" or
        "evaluating") and error; the rest is kept, except error and doing."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        me = psutil.Process()
        status = {"step": 0, "steps": None, "started": now, **self.status(), "doing": None, "error": None, **named}
        status |= {"state": state, "pid": me.pid, "pid_started": me.create_time(), "updated": now}
        write_atomic(self.path / "status.json", _json(status))

    def state(self):
        """new, running (its process lives), resumable (interrupted, or its process is gone), complete or failed."""
        status = self.status()
        if status.get("state") != "running":
            return status.get("state", "new")
        try:
            process = psutil.Process(status["pid"])
            # The start time tells a living process from a later one that was given the same number.
            same = abs(process.create_time() - status["pid_started"]) < 1
            return "running" if same and process.status() != psutil.STATUS_ZOMBIE else "resumable"
        except psutil.NoSuchProcess:
            return "resumable"

    def progress(self):
        """Where a run that has ended stopped, and from which checkpoint it would go on: words for a person."""
        whole = self.path.glob("checkpoints/checkpoint-*/manifest.json")
        saved = max((int(path.parent.name.removeprefix("checkpoint-")) for path in whole), default=0)
        status, why = self.status(), "" if saved else ", since there is no checkpoint yet"
        at = f"at step {status.get('step', 0)} of {status.get('steps')}"
        return f"{at}; run it again to resume from step {saved}{why}"

    def append_metrics(self, row):
        """Add one step's metrics (a dict with `step`); NaN and infinity are stored as null."""
        line = (json.dumps({k: _plain(v) for k, v in row.items()}) + "\n").encode()
        with open(self.path / "metrics.jsonl", "ab", buffering=0) as file:
            size = file.tell()
            if file.write(line) < len(line):  # a full disk takes part of a line: leave none of it
                file.truncate(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file.name)

    def metrics(self):
        """metrics.jsonl as a DataFrame, one row per optimizer step; empty before the first."""
        return pd.DataFrame(rows := self._metric_rows(), columns=None if rows else ["step"])

    def _metric_rows(self):
        path = self.path / "metrics.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]  # a kill leaves half a line

    def write_episodes(self, step, rank, rows):
        """Store the episodes (dicts by EPISODES' columns) of one step and process, whole or not at all."""
        refuse_unknown({k: None for row in rows for k in row}, EPISODES, "column of episodes")
        buffer = pa.BufferOutputStream()
        table = pa.Table.from_pylist([{"step": step, **row} for row in rows], schema=SCHEMA)
        pq.write_table(table, buffer, write_page_checksum=True)
        write_atomic(self.path / f"episodes/step_{step:06d}.rank{rank}.parquet", buffer.getvalue().to_pybytes())

    def episodes(self, steps=None):
        """Episodes of the given steps (None: all) as one DataFrame, in order of step and process.

        Raises ValueError for a file that was cut short or changed since it was written.
        """
        tables = [_episodes(path) for step, _, path in self._episode_files() if steps is None or step in set(steps)]
        # a column that an earlier version did not have yet is null there
        return pa.concat_tables([SCHEMA.empty_table(), *tables], promote_options="default").to_pandas()

    def episode_steps(self):
        """The steps that have episodes, sorted: the live view reads the last few only."""
        return sorted({step for step, _, _ in self._episode_files()})

    def _episode_files(self):
        """(step, rank, path), sorted."""
        found = (self.path / "episodes").glob("step_*.rank*.parquet")
        return sorted((*map(int, re.findall(r"\d+", path.name)), path) for path in found)

    def append_eval(self, rows):
        """Add rows (dicts by EVAL_COLUMNS); a step's task that is measured again replaces its old row."""
        for row in rows:
            refuse_unknown(row, EVAL_COLUMNS, "column of eval.csv")
            refuse_unknown(("step", "task"), row, "column of this evaluation row")
        new = pd.DataFrame(rows, columns=EVAL_COLUMNS)
        both = pd.concat([table for table in (self.evals(), new) if len(table)] or [new])
        both = both.drop_duplicates(["step", "task"], keep="last").sort_values("step", kind="stable")
        write_atomic(self.path / "eval.csv", both.to_csv(index=False, lineterminator="\n"))

    def evals(self):
        """eval.csv as a DataFrame by EVAL_COLUMNS; empty before the first evaluation."""
        path = self.path / "eval.csv"
        return pd.read_csv(path).reindex(columns=EVAL_COLUMNS) if path.exists() else pd.DataFrame(columns=EVAL_COLUMNS)

    def truncate_after(self, step):
        """Forget metrics, episodes and evaluations of steps later than `step`: a resume starts there."""
        rows = [row for row in self._metric_rows() if row["step"] <= step]
        write_atomic(self.path / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        for at, _, path in self._episode_files():
            if at > step:
                path.unlink()
        if len(evals := self.evals()):
            kept = evals[evals["step"] <= step]
            write_atomic(self.path / "eval.csv", kept.to_csv(index=False, lineterminator="\n"))


def _episodes(path):
    try:
        return pq.ParquetFile(path, page_checksum_verification=True).read()
    except (pa.ArrowException, OSError) as error:  # pyarrow has no more exact words for what is wrong in it
        if getattr(error, "errno", None):
            raise  # the disk's or the system's doing: the file may be well
        remedy = "put it back from a copy, or delete it to read the other steps"
        raise ValueError(f"{path}: not as it was written ({str(error).splitlines()[0]}); {remedy}") from error


def _json(value):
    return json.dumps(value, indent=1) + "\n"


def _plain(value):
    value = value.item() if hasattr(value, "item") else value  # a numpy or torch scalar
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _differing(old, new, names):
    names = [name for name in names if old.get(name) != new.get(name)]
    return {name: old.get(name) for name in names}, {name: new.get(name) for name in names}


def _shown(values):
    texts = {name: json.dumps(value) for name, value in values.items()}
    return ", ".join(f"{name} {text if len(text) <= 60 else text[:57] + '...'}" for name, text in texts.items())


def _stamps(run):
    return {"model": stamp(run.model_source), "corpus": stamp(run.corpus_source)}


def note(folder, run):
    """Write down, in a run's RunFolder, what files it is made from."""
    write_atomic(folder.path / SOURCES, json.dumps(_stamps(run)) + "\n")


def untouched(folder, run):
    """Whether a run's files are as they were noted. Where nothing was noted, or a file is gone, it is taken as so: a
    finished run must open without the text it was made from."""
    path = folder.path / SOURCES
    noted = json.loads(path.read_text()) if path.exists() else {}
    return all(now is None or now == noted.get(name, now) for name, now in _stamps(run).items())


@contextlib.contextmanager
def held(folder):
    """While entered, no other process trains in this RunFolder, even one that was started in the same moment.

    Raises ValueError where another holds it.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder.path / ".lock", timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise ValueError(folder.taken()) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    try:
        yield
    finally:
        lock.release()


class Interrupted(KeyboardInterrupt):
    """A training that a person stopped: one line in a notebook instead of a traceback."""

    def __init__(self, folder):
        super().__init__(f"{folder.path.name}: interrupted {folder.progress()}")

    def _render_traceback_(self):  # IPython asks an exception for it
        return [str(self)]


@contextlib.contextmanager
def training(folder, run, facts, main=True):
    """While entered, this process trains the Run `run` in `folder`: it holds the lock, and the status says how it ends.

    complete where nothing is raised, resumable on Ctrl-C or an exit, failed, with the reason, on any other error.
    facts: as `open` takes them. main: False in the other processes of the run, which write nothing.
    Raises ValueError as `held` and `open` do, Interrupted for a KeyboardInterrupt, OSError for what a full disk raises.
    """
    with held(folder) if main else contextlib.nullcontext():
        if main:
            note(folder.open(run, facts), run)
            folder.set_status("running", steps=run.steps)
        try:
            yield
        except BaseException as raised:
            error = _full_disk(folder, raised) or raised
            if main:
                # a full disk may be the very reason; the old status then says "running" of a process that is gone
                with contextlib.suppress(OSError):
                    if isinstance(error, Exception):
                        folder.set_status("failed", error=f"{type(error).__name__}: {error}")
                    else:
                        folder.set_status("resumable")
            if isinstance(error, KeyboardInterrupt):
                folder.interrupted()
                raise Interrupted(folder) from None
            if error is not raised:
                raise error from raised
            raise
        if main:
            folder.set_status("complete", step=run.steps, steps=run.steps)


def _full_disk(folder, error):
    """An OSError that says so where torch does not, which calls it an unexpected position; None of any other error."""
    if type(error) is RuntimeError and shutil.disk_usage(folder.path).free < 2**20:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder.path))
    return None
