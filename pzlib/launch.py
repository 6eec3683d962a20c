"""A run on several processes of this machine: started as a child, its log streamed, its failure told, none left over.
Leaves out what they do (pzlib.workers) and how they share a model (pzlib.sharding)."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from pzlib.folder import RunFolder, write_atomic
from pzlib.sharding import WHOLE, accelerate_config, check
from pzlib.workers import EVALUATIONS, PARENT

CONFIG = "accelerate.json"  # in the run's folder
GRACE = 45  # seconds: torch's launcher gives its workers 30 to end by themselves
WORDS = {error.__name__: error for error in (ValueError, FileNotFoundError, TimeoutError)}


def launch(run, view=None, evaluate=None):
    """Train `run` on `run.processes` processes by `accelerate launch`; returns its RunFolder, as `train` does.

    What they say is printed as they say it. view: as in `train`, updated here from the run's folder. evaluate: None,
    or what `small_world` or `evaluation_of` gave: each process makes its own. If one process fails or is killed all
    end, the run is marked failed with the reason, and this raises: what the process raised where that is in words, else
    RuntimeError. Ctrl-C ends all of them first.
    Raises ValueError beforehand for what cannot be started.
    """
    if "LOCAL_RANK" in os.environ:
        raise RuntimeError("processes: this is one of several already, but accelerate knows of no other")
    check(run)
    evaluation = _name_of(evaluate)
    if evaluation and run.sharding not in WHOLE:
        raise ValueError(
            f"evaluate: with {run.sharding!r} no process can ask the model by itself; give None and evaluate the run "
            "when it has ended, or set sharding to zero2 or ddp"
        )
    folder, gpus = RunFolder(run.folder), _gpus(run)
    if folder.state() == "running":
        raise ValueError(f"{folder.path}: process {folder.status()['pid']} trains it now; wait, or give another seed")
    before = folder.status()
    folder.path.mkdir(parents=True, exist_ok=True)
    config = folder.path / CONFIG
    write_atomic(config, json.dumps(accelerate_config(run, gpus), indent=1) + "\n")
    with tempfile.TemporaryDirectory(prefix="pzlib-") as scratch:
        task, failure = Path(scratch) / "task.json", Path(scratch) / "failure.json"
        task.write_text(json.dumps({"settings": run.to_dict(), "evaluation": evaluation}))
        process = _start([config, task, failure], run.processes, gpus)
        try:
            _follow(process, folder, run.steps, view)
        except BaseException as error:
            _stop(process)
            if _begun(folder, before):
                folder.set_status("failed", error=f"{type(error).__name__}: {error}")
            raise
        if process.returncode:
            _raise(json.loads(failure.read_text()) if failure.exists() else None, process, run, folder, before)
    if view is not None:
        view.update(folder, run.steps, run.steps)
    return folder


def _name_of(evaluate):
    name = getattr(evaluate, "__qualname__", "").split(".")[0]
    if evaluate is not None and name not in EVALUATIONS:
        raise ValueError(
            "evaluate: a function of your own cannot be handed to other processes; give what "
            f"{' or '.join(EVALUATIONS)} returns, or None, or set processes to 1"
        )
    return name


def _gpus(run):
    import torch

    count = torch.cuda.device_count()
    if count and run.processes > count:
        raise ValueError(f"processes: {run.processes} need a GPU each, here are {count}; lower it")
    if not count and run.sharding != "ddp":  # accelerate would give every process the whole model, without a word
        raise ValueError(f"sharding: {run.sharding!r} needs GPUs, and here is none; set it to ddp")
    return bool(count)


def _start(paths, processes, gpus):
    env = {**os.environ, "PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false", PARENT: str(os.getpid())}
    env.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    if not gpus:
        # accelerate would name the device cpu:0, onto which torch restores no optimizer
        env |= {"ACCELERATE_USE_CPU": "true", "ACCELERATE_TORCH_DEVICE": "cpu"}
    return subprocess.Popen(
        [sys.executable, "-m", "pzlib.workers", "supervise", *map(str, paths)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env,
        text=True, errors="replace",
        start_new_session=True,  # Ctrl-C in a terminal reaches this process alone, which then ends the others
    )  # fmt: skip


def _follow(process, folder, steps, view):
    """Prints what the processes say and shows how far they are, until they have ended."""
    lines, seen = queue.SimpleQueue(), None

    def read():
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    line = ""
    while line is not None:
        with contextlib.suppress(queue.Empty):
            line = lines.get(timeout=0.5)
            if line:
                print(line, end="", flush=True)
                continue
        status = folder.status()
        if view is not None and status.get("state") == "running" and status["step"] != seen:
            seen = status["step"]
            view.update(folder, seen, steps)
    process.wait()


def _stop(process):
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()  # its workers see that it is gone


def _begun(folder, before):
    """Whether a run whose processes have ended had begun, and is not complete all the same or another start's now."""
    return folder.status() != before and folder.state() not in ("complete", "running")


def _raise(failure, process, run, folder, before):
    """Mark the run failed, if it had begun, and raise what happened."""
    hung = folder.status().get("error") or ""
    if folder.status() != before and hung.startswith("TimeoutError: "):  # its watchdog's word, before it was ended
        failure = {"rank": 0, "said": hung, "signal": None}
    if failure is None:
        sign = -process.returncode
        failure = {"rank": None, "said": f"exit code {process.returncode}", "signal": None}
        failure["signal"] = signal.Signals(sign).name if sign > 0 else None
    who = "the launcher" if failure["rank"] is None else f"process {failure['rank']} of {run.processes}"
    if failure["signal"]:
        why = " (by the system, if memory ran out)" if failure["signal"] == "SIGKILL" else ""
        said = f"{who} was ended by {failure['signal']}{why}"
    else:
        said = failure["said"] if failure["rank"] == 0 else f"{who}: {failure['said']}"
    if _begun(folder, before):
        folder.set_status("failed", error=said)
    error, _, words = failure["said"].partition(": ")
    if error in WORDS and not failure["signal"]:
        raise WORDS[error](words)
    raise RuntimeError(f"{said}; the same command goes on from the last checkpoint")
