"""Child processes that end with this one; and a run on several of them, which accelerate takes for one.
Leaves out what a child does: `python -m pzlib train TASK.json`; and several machines."""

import contextlib
import ctypes
import importlib.util
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

from pzlib.runs.folder import Interrupted, RunFolder

PARENT = "PZLIB_PARENT"  # names, to a process that ends with its parent, which that is
TRAIN = (sys.executable, "-m", "pzlib", "train")  # and a JSON file {"settings": ..., "evaluation": a name or None}
FAILED = "failed: "  # begins the line in which a child says why
GRACE = 45  # seconds that a child has to end by itself
# Beside glibc's own choice, which gives the pages of freed tensors back and faults in new ones, a run of a small model
# takes 5 to 12 % less time (LOG.md, 2026-11-30) and some hundred MB more. No digit depends on it.
KEEP_PAGES = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**33), "MALLOC_TOP_PAD_": str(2**27)}
WHOLE = ("ddp", "zero2")  # every process holds all weights, so it can sample and score by itself


def start(command, env=None, **popen):
    """A child process (Popen) whose output, errors included, is read as text from its `stdout`.

    It ends with this process, SIGKILL of this one included, if what it does is `as_child()`. Ctrl-C in a terminal
    reaches this process alone, which then ends the child (`stop`). env: variables beside this process's; popen:
    arguments of Popen instead of these.
    """
    own = {"PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false", PARENT: str(os.getpid())}
    given = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    given |= dict(errors="replace", start_new_session=True, env={**os.environ, **own, **(env or {})})
    return subprocess.Popen([str(word) for word in command], **given | popen)


def end_with_parent(seconds=0.5):
    """From now on a process that `start` made ends, as by SIGTERM, within about `seconds` of its parent's end, however
    that came, and be it before this call; any other goes on."""
    parent = int(os.environ.pop(PARENT, 0))

    def watch():
        while os.getppid() == parent:
            time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGTERM)

    if parent:
        threading.Thread(target=watch, daemon=True).start()


def visible_gpus():
    """The GPUs of this process, each as CUDA_VISIBLE_DEVICES names it."""
    import torch

    count, names = torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return names[:count] if names[0] else [str(number) for number in range(count)]


def end_with_parent_for_good():
    """`end_with_parent` that also holds for the program that this process becomes by exec: Linux itself sends SIGTERM.

    A thread of the parent that starts a process and ends counts as its end. Elsewhere than on Linux it does nothing.
    """
    if sys.platform == "linux":
        parent = int(os.environ.pop(PARENT, 0)) or os.getppid()
        ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)  # 1 is PR_SET_PDEATHSIG
        if os.getppid() != parent:  # it had ended before
            os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def as_child():
    """Around what a child does: it ends with its parent, and says in one line why it failed, with exit code 1."""
    end_with_parent()
    try:
        yield
    except Exception as error:
        traceback.print_exc()
        print(FAILED + " ".join(f"{type(error).__name__}: {error}".split()), flush=True)
        sys.exit(1)


def stop(*processes, grace=GRACE):
    """End children: SIGTERM, and SIGKILL to those that are still there after `grace` seconds."""
    for process in processes:
        process.terminate()
    end = time.monotonic() + grace
    for process in processes:
        try:
            process.wait(max(0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def follow(processes, look=lambda: None):
    """Print what children print, as they print it, and call `look` at least every half second, until all have ended.

    Returns None, or of the first that failed its number and the reason as text; the others are ended then. A killed
    one counts as the first: the others fail for want of it, perhaps within the same moment.
    """
    lines, ends, said, first = queue.SimpleQueue(), [], {}, None

    def read(number):
        for line in processes[number].stdout:
            lines.put((number, line))
        lines.put((number, None))

    for number in range(len(processes)):
        threading.Thread(target=read, args=(number,), daemon=True).start()
    while len(ends) < len(processes):
        with contextlib.suppress(queue.Empty):
            number, line = lines.get(timeout=0.5)
            if line is None:
                processes[number].wait()
                ends.append(number)
            elif line.startswith(FAILED):
                said[number] = line.removeprefix(FAILED).strip()
            else:
                print(line, end="", flush=True)
        codes = [process.poll() for process in processes]
        failed = [n for n, code in enumerate(codes) if code and code < 0] + [n for n in ends if codes[n]]
        if failed and first is None:
            n, code = failed[0], codes[failed[0]]
            first = n, said[n] if code > 0 and n in said else how_it_ended(code)
            stop(*processes)
        look()
    return first


def how_it_ended(code):
    """An exit code that is not 0, as text.

    >>> how_it_ended(3), how_it_ended(-15)
    ('exit code 3', 'ended by SIGTERM')
    """
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    return f"ended by {name}" + (" (by the system, if memory ran out)" if name == "SIGKILL" else "")


def environment(run, gpus):
    """What accelerate reads in each process of a run, as `accelerate launch` would set it: {variable: value}.

    gpus: whether each has one. bfloat16 is the arithmetic's, as at one process: FSDP and ZeRO keep the weights they
    update in float32. DeepSpeed takes what is "auto" from the trainer.

    >>> from pzlib.run import Run
    >>> environment(Run(processes=8, sharding="zero2"), gpus=True)["ACCELERATE_DEEPSPEED_ZERO_STAGE"]
    '2'
    """
    found = {"ACCELERATE_MIXED_PRECISION": "bf16" if run.dtype == "bfloat16" else "no"}
    if not gpus:  # accelerate would name the device cpu:0, onto which torch restores no optimizer
        found |= {"ACCELERATE_USE_CPU": "true", "ACCELERATE_TORCH_DEVICE": "cpu"}
    if run.sharding == "fsdp":
        found |= {
            "ACCELERATE_USE_FSDP": "true",
            "FSDP_VERSION": "2",
            "FSDP_RESHARD_AFTER_FORWARD": "true",
            "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",  # the model names its layers itself
            "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",  # a checkpoint's weights are a model that anything loads
            "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",  # every process looks at the weights it loaded
        }
    if run.sharding.startswith("zero"):
        found |= {
            "ACCELERATE_USE_DEEPSPEED": "true",
            "ACCELERATE_DEEPSPEED_ZERO_STAGE": run.sharding[-1],
            "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "auto",
            "ACCELERATE_GRADIENT_CLIPPING": "auto",
            "ACCELERATE_DEEPSPEED_ZERO3_INIT": "false",
            "ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL": "true",
        }
    return found


def start_all(command, run, gpus, **env):
    """The children, one for each process of a run, that find each other and share its work."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    threads = os.environ.get("OMP_NUM_THREADS") or max(1, (os.cpu_count() or 1) // run.processes)
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": run.processes}
    shared |= {"LOCAL_WORLD_SIZE": run.processes, "OMP_NUM_THREADS": threads, **environment(run, gpus), **env}
    shared = {name: str(value) for name, value in shared.items()}
    ranks = ({"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(run.processes))
    return [start(command, shared | rank) for rank in ranks]


def check(run):
    """ValueError, naming the setting and the remedy, for what a run's sharding cannot do.

    Sharded weights are read by all processes together, so no process can sample or score on its own: vLLM has to.

    >>> from pzlib.run import Run
    >>> check(Run(processes=2, sharding="fsdp"))
    Traceback (most recent call last):
    ValueError: sharding: with 'fsdp' no process can sample by itself; set use_vllm to True, or sharding to ddp
    """
    if run.processes == 1 and run.sharding != "ddp":
        raise ValueError(f"sharding: one process has nobody to share {run.sharding!r} with; raise processes")
    if run.sharding.startswith("zero") and importlib.util.find_spec("deepspeed") is None:
        raise ValueError("sharding: DeepSpeed is not installed; pip install deepspeed on a GPU box, or take fsdp")
    if run.sharding in WHOLE:
        return
    whole = "sharding to " + ("zero2 or ddp" if run.sharding == "zero3" else "ddp")
    if run.lora_rank:
        raise ValueError(f"lora_rank: adapters are not merged from sharded weights; set it to 0, or {whole}")
    alone = f"sharding: with {run.sharding!r} no process can"
    if not run.method.supervised and not run.use_vllm:
        raise ValueError(f"{alone} sample by itself; set use_vllm to True, or {whole}")
    what, remedy = run.method.needs_whole_weights(run) or (None, None)
    if what:
        raise ValueError(f"{alone} {what}; {f'{remedy}, or' if remedy else 'set'} {whole}")


def launch(run, view=None, evaluate=None):
    """Train `run` on `run.processes` processes of this machine; returns its RunFolder, as `train` does.

    What they print is printed here as it comes. view: as in `train`, updated here from the run's folder. evaluate: None
    or an evaluation with a `name`, by which a process finds its own. If one process fails or is killed all end, the
    run is marked failed with the reason, and this raises: what the process raised where that is a message, else
    RuntimeError. Ctrl-C ends all of them first. Raises ValueError first for what cannot be started.
    """
    import torch

    folder, seen, gpus = RunFolder(run.folder), None, torch.cuda.device_count()
    _check_start(run, evaluate, folder, gpus)
    before = folder.status()

    def look():
        nonlocal seen
        status = folder.status()
        if view is not None and status.get("state") == "running" and status["step"] != seen:
            seen = status["step"]
            view.update(folder, seen, run.steps)

    def note(reason):
        """Mark the run failed, without a reason resumable, if this start began it and it has not ended otherwise."""
        if folder.status() != before and folder.state() not in ("complete", "running"):
            folder.set_status("failed" if reason else "resumable", error=reason)

    with tempfile.TemporaryDirectory(prefix="pzlib-") as scratch:
        task = Path(scratch) / "task.json"
        task.write_text(json.dumps({"settings": run.to_dict(), "evaluation": evaluate and evaluate.name}))
        workers = start_all([*TRAIN, task], run, gpus > 0)
        try:
            failed = follow(workers, look)
        except BaseException as error:
            stop(*workers)
            note(f"{type(error).__name__}: {error}" if isinstance(error, Exception) else None)
            if isinstance(error, KeyboardInterrupt):
                folder.interrupted()
                raise Interrupted(folder) from None
            raise
    if failed:
        rank, reason = failed
        hung = folder.status().get("error") or ""  # its watchdog's word, before it was ended
        if folder.status() != before and hung.startswith("TimeoutError: "):
            rank, reason = 0, hung
        kind, _, words = reason.partition(": ")
        for error in (ValueError, FileNotFoundError, TimeoutError):
            if kind == error.__name__:  # meant for the user, whichever process found it
                note(reason)
                raise error(words)
        killed = reason.startswith("ended by")
        if killed or rank:
            reason = f"process {rank} of {run.processes}{' was ' if killed else ': '}{reason}"
        note(reason)
        raise RuntimeError(f"{reason}; run it again to resume from the last checkpoint")
    if view is not None:
        view.update(folder, run.steps, run.steps)
    return folder


def _check_start(run, evaluate, folder, gpus):
    """Raises, with the reason, where `run` cannot be started on several processes here and now."""
    if "LOCAL_RANK" in os.environ:
        raise RuntimeError("processes: this is one of several already, but accelerate knows of no other")
    check(run)
    if evaluate is not None and not getattr(evaluate, "name", None):
        raise ValueError("evaluate: a function of your own cannot be handed to other processes; set processes to 1")
    if evaluate is not None and run.sharding not in WHOLE:
        why = f"with {run.sharding!r} no process can ask the model by itself"
        raise ValueError(f"evaluate: {why}; give None and evaluate the run when it has ended")
    if 0 < gpus < run.processes:
        raise ValueError(f"processes: {run.processes} need a GPU each, here are {gpus}; lower it")
    if not gpus and run.sharding != "ddp":  # accelerate would give every process the whole model, without a word
        raise ValueError(f"sharding: {run.sharding!r} needs GPUs, and here is none; set it to ddp")
    if folder.state() == "running":
        raise ValueError(f"{folder.path}: process {folder.status()['pid']} trains it now; wait, or give another seed")
