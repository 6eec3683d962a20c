"""What happens between the steps: metrics, scores, checkpoints that a kill cannot spoil, models that stay. A training
that has stopped moving is ended. Leaves out what a checkpoint holds: it is as transformers saves it."""

import contextlib
import faulthandler
import json
import os
import shutil
import signal
import sys
import threading
import time

import torch
from accelerate import PartialState
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback
from transformers.integrations import get_reporting_integration_callbacks

from pzlib.paths import sha256
from pzlib.runs.folder import write_atomic

VIEW_SECONDS = 2.0
GRACE = 30  # seconds that a training has to end by itself, once it was interrupted
MANIFEST = "manifest.json"
KEPT = 2  # should the newest be damaged later, there is the one before it


class Recorder(TrainerCallback):
    """Writes each step's metrics, evaluates when it is time, and keeps status and view up to date.

    method: the run's; its `metrics` holds the numbers of the last step. bare: makes of the trainer's model the one that
    `evaluate(model, tokenizer, step)` is asked with.
    """

    def __init__(self, run, folder, method, evaluate, view, bare):
        self.run, self.folder, self.method = run, folder, method
        self.evaluate, self.view, self.bare = evaluate, view, bare
        self.started = self.seen = self.seconds = self.seconds_evaluation = 0.0
        self.rate = None

    def on_train_begin(self, args, state, control, **kwargs):
        if state.global_step == 0:
            self._score(state, kwargs)
        self._show(state, always=True)

    def on_step_begin(self, args, state, control, **_):
        self.method.begin_step(state.global_step + 1)
        self.started = time.perf_counter()

    def on_pre_optimizer_step(self, args, state, control, optimizer, **_):
        self.rate = optimizer.param_groups[0]["lr"]  # the one used; what the trainer logs is the next step's

    def on_step_end(self, args, state, control, **kwargs):
        self.seconds = time.perf_counter() - self.started
        every = self.run.eval_every
        if state.global_step == self.run.steps or (every and state.global_step % every == 0):
            self._score(state, kwargs)

    def on_log(self, args, state, control, logs, **_):
        state.log_history.clear()  # the trainer's own copy of all this would grow, in memory and in each checkpoint
        if "loss" not in logs or not state.is_world_process_zero:  # the closing log of a run has none
            return
        played = self.method.metrics
        row = {
            "step": state.global_step, "seconds": self.seconds, "seconds_generation": played["seconds_generation"],
            "seconds_training": self.seconds - played["seconds_generation"],
            "seconds_evaluation": self.seconds_evaluation,  # after this step; after the first, also before it
            "learning_rate": self.rate, "grad_norm": float(logs["grad_norm"]), "loss": logs["loss"],
        }  # fmt: skip
        # of vLLM: how far its log-probabilities are from the trainer's
        sampling = {name: value for name, value in logs.items() if name.startswith("sampling/")}
        self.folder.append_metrics(row := row | played | sampling)
        logs.clear()  # a tracker gets both roles' numbers; the trainer's own average over the roles
        logs.update({name: value for name, value in row.items() if name != "step" and value is not None})
        self.seconds_evaluation = 0.0
        self._show(state)

    def on_save(self, args, state, control, **_):
        self._show(state, always=True)

    def _score(self, state, kwargs):
        if self.evaluate is None or not state.is_world_process_zero:
            return
        self.folder.set_status("running", step=state.global_step, steps=self.run.steps, doing="evaluating")
        if self.view is not None:  # a base may take a minute, in which a notebook would show nothing
            self.view.update(self.folder, state.global_step, self.run.steps)
        started = time.perf_counter()
        with torch.random.fork_rng():  # an evaluation in between must not change what is trained
            rows = self.evaluate(self.bare(kwargs["model"]), kwargs["processing_class"], state.global_step)
        self.folder.append_eval([{"step": state.global_step, **row} for row in rows])
        self.seconds_evaluation += time.perf_counter() - started
        self.seen = 0.0  # the next step says that training goes on

    def _show(self, state, always=False):
        if not state.is_world_process_zero or not (always or time.perf_counter() - self.seen >= VIEW_SECONDS):
            return
        self.folder.set_status("running", step=state.global_step, steps=self.run.steps, doing="training")
        if self.view is not None:
            self.view.update(self.folder, state.global_step, self.run.steps)
        self.seen = time.perf_counter()


class Watchdog(TrainerCallback):
    """Each event of the trainer is a sign of life; after `run.watchdog_minutes` without one, training is ended.

    folder: the RunFolder, which gets `stacks.rank<rank>.txt` and the state failed. A thread interrupts the main one,
    which trains, as Ctrl-C would, and `watching` makes a TimeoutError of it; where the main thread does not come back
    from what it waits for, the process ends, and later one that keeps even Python's lock. The clock runs on while a
    process is stopped by hand, and a disk that blocks for ever blocks this too.
    """

    def __init__(self, run, folder, rank=0):
        self.minutes, self.folder, self.rank = run.watchdog_minutes, folder, rank
        self.path = folder.path / f"stacks.rank{rank}.txt"
        self.words, self._ended, self._file = "", threading.Event(), None

    @contextlib.contextmanager
    def watching(self):
        """While entered, the training must move. Raises TimeoutError, with the remedy, when it did not."""
        if not self.minutes:
            yield
            return
        with open(self.path, "w") as self._file:
            self.beat()
            thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            thread.start()
            try:
                yield
            except BaseException as error:
                if self.words:  # what the interrupt became on its way
                    raise TimeoutError(self.words) from error
                raise
            finally:
                self._ended.set()
                faulthandler.cancel_dump_traceback_later()
                thread.join()
                if not self.words:
                    self.path.unlink()

    def beat(self, *_, **__):
        """A sign of life."""
        self._last = time.monotonic()
        if self._file and not self._ended.is_set():
            # of the C library: it needs no lock of Python's, comes after the thread had its turn, and ends the process
            faulthandler.dump_traceback_later(60 * self.minutes + 2 * GRACE, exit=True, file=self._file)

    def _watch(self):
        while time.monotonic() - self._last <= 60 * self.minutes:
            if self._ended.wait(min(1.0, 15 * self.minutes)):
                return
        faulthandler.dump_traceback(self._file, all_threads=True)
        self.words = (
            f"no part of a step ended for {self.minutes:g} minutes; where it stood is in {self.path}. Start it again "
            "to go on from its last checkpoint; where steps take that long, raise watchdog_minutes"
        )
        with contextlib.suppress(OSError):  # a dead disk may be what it waits for
            self.folder.set_status("failed", error=f"TimeoutError: {self.words}")
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # it wakes a wait, as Ctrl-C does
        if not self._ended.wait(GRACE):
            print(self.words, file=sys.stderr, flush=True)
            os._exit(1)

    on_step_begin = on_substep_end = on_step_end = on_log = on_save = on_evaluate = on_pre_optimizer_step = beat


def trackers(run):
    """The callbacks of `run.report_to`, to be called after the Recorder, which gives them the metrics under their own
    names; ValueError with the remedy where its package is missing."""
    try:
        return [tracker() for tracker in get_reporting_integration_callbacks(run.report_to)]
    except (RuntimeError, ImportError) as error:
        missing = f"report_to: {run.report_to} is not installed here; install it with pip, or leave report_to out"
        raise ValueError(missing) from error


def write_manifest(checkpoint, run_id, step):
    """List every file of the folder `checkpoint` (a Path) with size and SHA-256, once all of them are written."""
    paths = [path for path in sorted(checkpoint.rglob("*")) if path.is_file() and path.name != MANIFEST]
    files = {str(p.relative_to(checkpoint)): {"size": p.stat().st_size, "sha256": sha256(p)} for p in paths}
    write_atomic(checkpoint / MANIFEST, json.dumps({"run_id": run_id, "step": step, "files": files}, indent=1) + "\n")


def latest_good(folder, run_id, say=print):
    """(path, step) of the newest whole checkpoint under `folder`, or (None, 0) where there is none.

    One that was never finished, since the run was killed while writing, is deleted; one that was damaged since is
    renamed to `broken-...`; `say` gets a line for each, and the one before is tried. Raises ValueError for another
    run's checkpoint.
    """
    for path in reversed(_oldest_first(folder)):
        manifest, wrong = _check(path)
        if not wrong and manifest["run_id"] != run_id:
            raise ValueError(f"{path}: a checkpoint of run {manifest['run_id']}, not of {run_id}; move it elsewhere")
        if not wrong:
            return path, manifest["step"]
        if (path / MANIFEST).exists():
            aside = path.with_name(f"broken-{path.name}")
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
            done = f"set aside as {aside.name}"
        else:
            shutil.rmtree(path)
            done = "deleted"
        say(f"{path}: {wrong}; {done}, the one before it is used")
    return None, 0


def _oldest_first(folder):
    numbered = [(path.name.removeprefix("checkpoint-"), path) for path in folder.glob("checkpoint-*")]
    return [path for _, path in sorted((int(step), path) for step, path in numbered if step.isdigit())]


def _check(checkpoint):
    """(manifest, what is wrong with it as text or None)."""
    try:
        manifest = json.loads((checkpoint / MANIFEST).read_text())
    except (FileNotFoundError, ValueError):
        return None, "was never finished"
    if not isinstance(manifest, dict) or not {"run_id", "step", "files"} <= manifest.keys():
        return None, "has a manifest that is not ours"
    for name, listed in manifest["files"].items():
        path = checkpoint / name
        if not path.is_file():
            return manifest, f"{name} is missing"
        if path.stat().st_size != listed["size"]:
            return manifest, f"{name} has {path.stat().st_size} bytes, not {listed['size']}"
        if sha256(path) != listed["sha256"]:
            return manifest, f"{name} has changed"
    return manifest, None


class Manifests(TrainerCallback):
    """Lists each checkpoint once the trainer has written it, and only then deletes all but the newest KEPT.

    The trainer's own `save_total_limit` must stay unset: it deletes before the new one is listed, and the one changed
    longest ago first. One whose deletion a kill broke off has just been changed, so the last whole one went before it.
    """

    def __init__(self, folder, run_id):
        self.folder, self.run_id = folder, run_id

    def on_save(self, args, state, control, **_):
        PartialState().wait_for_everyone()  # each process writes its own random state
        if not state.is_world_process_zero:
            return
        write_manifest(self.folder / f"checkpoint-{state.global_step}", self.run_id, state.global_step)
        for path in _oldest_first(self.folder)[:-KEPT]:
            shutil.rmtree(path)


def thin(model, dtype):
    """Store the weights of a saved model (the folder, a Path) in `dtype`, and nothing that only training needs.

    A head that is the embedding is stored once; FSDP gathers it twice."""
    (model / "training_args.bin").unlink(missing_ok=True)
    config = json.loads((model / "config.json").read_text())
    kind, doubled = getattr(torch, dtype), "lm_head.weight" if config.get("tie_word_embeddings") else None
    for path in model.glob("*.safetensors"):
        weights = {name: w.to(kind) if w.is_floating_point() else w for name, w in load_file(path).items()}
        weights.pop(doubled, None)
        save_file(weights, path, metadata={"format": "pt"})
    index = model / "model.safetensors.index.json"
    if index.is_file():
        listed = json.loads(index.read_text())
        listed["weight_map"].pop(doubled, None)
        write_atomic(index, json.dumps(listed, indent=2) + "\n")
    write_atomic(model / "config.json", json.dumps(config | {"dtype": dtype}, indent=2) + "\n")


def kept(folder):
    """{step: path} of the models that the run in the RunFolder `folder` has kept whole, its last included; sorted."""
    numbered = [(path.name.removeprefix("model-"), path) for path in folder.path.glob("model-*")]
    found = {int(step): path for step, path in numbered if step.isdigit()}
    if (folder.path / "model").is_dir():
        found[folder.params()["steps"]] = folder.path / "model"
    return dict(sorted(found.items()))


class Kept(TrainerCallback):
    """Keeps the model as `model-<step>` at half of the steps, for PretrainZero's RLVR (Table 3), and at every
    `keep_every`, in the dtype of the run's arithmetic: what a curve along training asks.

    save: `save(name, dtype)` writes the model; dtype None is its own.
    """

    def __init__(self, run, save):
        self.run, self.save = run, save

    def on_step_end(self, args, state, control, **_):
        step, run = state.global_step, self.run
        if step == run.steps // 2:
            self.save(f"model-{step}", None)
        elif run.keep_every and step % run.keep_every == 0 and step < run.steps:
            self.save(f"model-{step}", run.dtype)
