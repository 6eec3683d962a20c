"""What a training leaves in its folder step by step: metrics, evaluations, status, and the view of them.
Leaves out the episodes, which the game writes as it plays."""

import time

import torch
from transformers import TrainerCallback

from pzlib.adapters import bare

VIEW_SECONDS = 2.0


class Recorder(TrainerCallback):
    """Writes each step's metrics, evaluates when it is time, and keeps status and view up to date.

    source: what was trained on, a Game or Lessons; its `metrics` holds the numbers of the last step.
    """

    def __init__(self, run, folder, source, evaluate, view):
        self.run, self.folder, self.source, self.evaluate, self.view = run, folder, source, evaluate, view
        self.started = self.seen = 0.0
        self.seconds, self.seconds_evaluation, self.rate = 0.0, 0.0, None

    def on_train_begin(self, args, state, control, **kwargs):
        if state.global_step == 0:
            self._score(state, kwargs)
        self._show(state, always=True)

    def on_step_begin(self, args, state, control, **_):
        self.started = time.perf_counter()

    def on_pre_optimizer_step(self, args, state, control, optimizer, **_):
        self.rate = optimizer.param_groups[0]["lr"]  # the one used; what the trainer logs is the next step's

    def on_step_end(self, args, state, control, **kwargs):
        self.seconds = time.perf_counter() - self.started
        if state.global_step == self.run.steps or (
            self.run.eval_every and state.global_step % self.run.eval_every == 0
        ):
            self._score(state, kwargs)

    def on_log(self, args, state, control, logs, **_):
        state.log_history.clear()  # the trainer's own copy of all this would grow, in memory and in each checkpoint
        if "loss" not in logs or not state.is_world_process_zero:  # the closing log of a run has none
            return
        played = self.source.metrics
        self.folder.append_metrics(
            {
                "step": state.global_step,
                "seconds": self.seconds,
                "seconds_generation": played["seconds_generation"],
                "seconds_training": self.seconds - played["seconds_generation"],
                "seconds_evaluation": self.seconds_evaluation,  # after this step; after the first, also before it
                "learning_rate": self.rate,
                "grad_norm": float(logs["grad_norm"]),
                "loss": logs["loss"],
                **played,
                # of vLLM: how far its log-probabilities lie from the trainer's
                **{name: value for name, value in logs.items() if name.startswith("sampling/")},
            }
        )
        self.seconds_evaluation = 0.0
        self._show(state)

    def on_save(self, args, state, control, **_):
        self._show(state, always=True)

    def _score(self, state, kwargs):
        if self.evaluate is None or not state.is_world_process_zero:
            return
        started = time.perf_counter()
        with torch.random.fork_rng():  # an evaluation in between must not change what is trained
            rows = self.evaluate(bare(kwargs["model"]), kwargs["processing_class"], state.global_step)
        self.folder.append_eval([{"step": state.global_step, **row} for row in rows])
        self.seconds_evaluation += time.perf_counter() - started

    def _show(self, state, always=False):
        if not state.is_world_process_zero or not (always or time.perf_counter() - self.seen >= VIEW_SECONDS):
            return
        self.folder.set_status("running", step=state.global_step, steps=self.run.steps)
        if self.view is not None:
            self.view.update(self.folder, state.global_step, self.run.steps)
        self.seen = time.perf_counter()
