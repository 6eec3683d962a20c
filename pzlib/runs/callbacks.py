"""What happens between the trainer's steps: metrics and scores are written, and a training that has stopped moving is
ended, with the stacks of all threads. Leaves out slowness: only that no part of a step ends for a given time counts."""

import contextlib
import faulthandler
import os
import signal
import sys
import threading
import time

import torch
from transformers import TrainerCallback
from transformers.integrations import get_reporting_integration_callbacks

VIEW_SECONDS = 2.0
GRACE = 30  # seconds that a training has to end by itself, once it was interrupted


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
