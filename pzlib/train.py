"""A Run to a trained model: TRL's GRPOTrainer, unmodified but for its public `compute_loss`, in a folder that survives.
Leaves out several updates per rollout: the paper says nothing of them and its neighbours train on-policy."""

import contextlib
import logging
import shutil
import time
import warnings
from dataclasses import fields

import torch
from accelerate import PartialState
from transformers import PrinterCallback, TrainerCallback
from transformers.utils import logging as transformers_logging
from trl import GRPOConfig, GRPOTrainer

from pzlib import checkpoints
from pzlib.corpus import load_passages
from pzlib.folder import RunFolder
from pzlib.game import Game, blocks
from pzlib.models import fingerprint, fitting, load
from pzlib.packing import PackedModel, check_drop_rows, keep_moving_rows
from pzlib.run import Run

TOKENS_AT_ONCE = 2048  # of a forward pass on a CPU: larger ones fall out of its cache
VIEW_SECONDS = 2.0


def settings(run, folder, processes=1):
    """The GRPOConfig of a run; everything that a paper fixes, or TRL's defaults would change, is written out.

    Raises ValueError where rows and processes do not divide.
    """
    local, rest = divmod(run.rows_per_step, processes)
    block = run.groups_per_block * run.group
    if rest or local % block:
        raise ValueError(
            f"passages: {run.passages} a step cannot be shared among {processes} processes without cutting one's rows; "
            f"give a multiple of {processes}"
        )
    micro = next(n for n in range(min(run.micro_batch_rows, local), 0, -1) if local % n == 0)
    gpu = torch.cuda.is_available()
    return GRPOConfig(
        output_dir=str(folder.path / "checkpoints"), seed=run.seed, use_cpu=not gpu,
        # One on-policy update a step: the rollout buffer is empty whenever a checkpoint is written.
        max_steps=run.steps, per_device_train_batch_size=micro, gradient_accumulation_steps=local // micro,
        steps_per_generation=local // micro, num_iterations=1, num_generations=run.group, shuffle_dataset=False,
        max_completion_length=run.max_completion_tokens, temperature=run.temperature, top_p=run.top_p, top_k=0,
        # papers.md 1.1 and 8: no KL, clip-higher, token-level loss, z-scores within a group
        loss_type="dapo", beta=0.0, epsilon=run.clip_low, epsilon_high=run.clip_high, scale_rewards="group",
        importance_sampling_level="token", entropy_coef=0.0, top_entropy_quantile=1.0, router_aux_loss_coef=0.0,
        mask_truncated_completions=False, disable_dropout=True,
        learning_rate=run.learning_rate, warmup_steps=run.warmup_steps, weight_decay=run.weight_decay,
        lr_scheduler_type="cosine" if run.schedule == "cosine" else "constant_with_warmup",
        optim="adamw_torch", adam_beta1=0.9, adam_beta2=0.999, adam_epsilon=1e-8, max_grad_norm=run.max_grad_norm,
        bf16=run.dtype == "bfloat16", fp16=False, gradient_checkpointing=gpu, dataloader_pin_memory=gpu,
        use_vllm=run.use_vllm, vllm_mode="colocate",
        vllm_importance_sampling_mode="token_truncate",  # TRL's sequence_mask drops long completions whole, unsaid
        save_strategy="steps", save_steps=run.save_every, save_total_limit=checkpoints.KEPT,
        logging_steps=1, logging_nan_inf_filter=False, report_to="none", disable_tqdm=True, remove_unused_columns=False,
    )  # fmt: skip


class PZTrainer(GRPOTrainer):
    """GRPOTrainer whose loss leaves out the rows that add nothing to it; see `pzlib.packing`."""

    drop_rows = False

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if self.drop_rows:
            inputs = keep_moving_rows(inputs)
            alone_on_cpu = self.accelerator.num_processes == 1 and self.accelerator.device.type == "cpu"
            model = PackedModel(model, self.accelerator.unwrap_model(model), inputs["completion_ids"].shape[1],
                                at_once=TOKENS_AT_ONCE if alone_on_cpu else None)  # fmt: skip
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)


class Recorder(TrainerCallback):
    """Writes each step's metrics, evaluates when it is time, and keeps status and view up to date."""

    def __init__(self, run, folder, game, evaluate, view):
        self.run, self.folder, self.game, self.evaluate, self.view = run, folder, game, evaluate, view
        self.started = self.seen = 0.0
        self.seconds, self.rate = 0.0, None

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
        if state.global_step == self.run.steps or (self.run.eval_every and state.global_step % self.run.eval_every == 0):
            self._score(state, kwargs)

    def on_log(self, args, state, control, logs, **_):
        if "loss" not in logs or not state.is_world_process_zero:  # the closing log of a run has none
            return
        played = self.game.metrics
        self.folder.append_metrics({
            "step": state.global_step, "seconds": self.seconds, "seconds_generation": played["seconds_generation"],
            "seconds_training": self.seconds - played["seconds_generation"], "learning_rate": self.rate,
            "grad_norm": float(logs["grad_norm"]), "loss": logs["loss"], **played,
        })  # fmt: skip
        self._show(state)

    def on_save(self, args, state, control, **_):
        self._show(state, always=True)

    def _score(self, state, kwargs):
        if self.evaluate is None or not state.is_world_process_zero:
            return
        with torch.random.fork_rng():  # an evaluation in between must not change what is trained
            rows = self.evaluate(kwargs["model"], kwargs["processing_class"], state.global_step)
        self.folder.append_eval([{"step": state.global_step, **row} for row in rows])

    def _show(self, state, always=False):
        if not state.is_world_process_zero or not (always or time.perf_counter() - self.seen >= VIEW_SECONDS):
            return
        self.folder.set_status("running", step=state.global_step, steps=self.run.steps)
        if self.view is not None:
            self.view.update(self.folder, state.global_step, self.run.steps)
        self.seen = time.perf_counter()


def make_trainer(run, model, tokenizer, passages, folder, evaluate=None, view=None):
    """The trainer of a run, ready to `train()`; `trainer.game` is its Game. Raises ValueError as `check_drop_rows` does."""
    args = settings(run, folder, PartialState().num_processes)
    if run.drop_rows:
        check_drop_rows(args, model)
    game = Game(run, passages, tokenizer, folder)
    callbacks = [Recorder(run, folder, game, evaluate, view), checkpoints.Manifests(folder.path / "checkpoints", run.run_id)]
    logging.getLogger("trl.trainer.grpo_trainer").addFilter(tells_a_user_something)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are using 'rollout_func'")
        trainer = PZTrainer(model=model, args=args, processing_class=tokenizer, train_dataset=blocks(passages, run),
                            reward_funcs=game.reward_funcs, rollout_func=game.rollout, callbacks=callbacks)  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    trainer.drop_rows, trainer.game = run.drop_rows, game
    return trainer


def tells_a_user_something(record):
    """False for two messages of the libraries: TRL's, at length, of rows without a reward, which here are fillers of
    illegal masks and dead groups; and transformers' of file times, by which it would order checkpoints."""
    said = record.getMessage()
    return "All reward functions returned None" not in said and "mtime may not be reliable" not in said


@contextlib.contextmanager
def quiet():
    """No progress bar for every checkpoint that is written; what the caller shows of progress is the run's."""
    logging.getLogger("transformers.trainer_utils").addFilter(tells_a_user_something)
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def train(run, view=None, evaluate=None):
    """Train `run`, or go on where it was stopped, and return its RunFolder; a complete run comes back at once.

    evaluate: `evaluate(model, tokenizer, step)` -> rows for eval.csv, asked before the first step, every `eval_every`
    steps and after the last. view: its `update(folder, step, steps)` is called every few seconds. The trained model is
    in `<run>/model`. On an error, or Ctrl-C, the run is marked failed with the reason, and starting it again goes on
    from the last whole checkpoint. Raises ValueError or FileNotFoundError, in words, for what cannot work.
    """
    main, folder = PartialState().is_main_process, RunFolder(run.folder)
    if folder.state() == "complete":
        return folder.open(run, _facts(folder))
    model, tokenizer = load(run)
    corpus = load_passages(run.corpus_source, tokenizer=tokenizer, min_tokens=run.min_tokens, max_tokens=run.max_tokens,
                           limit=run.corpus_limit, seed=run.seed, column=run.corpus_column, progress=main)  # fmt: skip
    passages, left_out = fitting(run, corpus, tokenizer)
    facts = {"corpus_digest": corpus.digest, "corpus_report": dict(corpus.report), "prompts_too_long": left_out,
             "model_fingerprint": fingerprint(model), "parameters": model.num_parameters()}  # fmt: skip
    if main:
        folder.open(run, facts)
        folder.set_status("running", steps=run.steps)
    try:
        trainer = make_trainer(run, model, tokenizer, passages, folder, evaluate, view)
        checkpoint, step = checkpoints.latest_good(folder.path / "checkpoints", run.run_id)
        if main:
            folder.truncate_after(step if checkpoint else -1)
        with quiet():
            trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
            _save_model(trainer, folder.path)
    except BaseException as error:
        if main:
            _mark_failed(folder, error)
        raise
    if main:
        folder.set_status("complete", step=run.steps, steps=run.steps)
        if view is not None:
            view.update(folder, run.steps, run.steps)
    return folder


def _facts(folder):
    """What `open` is to compare besides the settings: the facts as recorded, since nothing is loaded to find them anew."""
    return {k: v for k, v in folder.params().items() if k != "run_id" and k not in {f.name for f in fields(Run)}}


def _save_model(trainer, path):
    """The model and its tokenizer in `path`/model, whole or not at all."""
    part = path / "model.part"
    trainer.save_model(str(part))
    if trainer.accelerator.is_main_process:
        shutil.rmtree(path / "model", ignore_errors=True)
        part.rename(path / "model")


def _mark_failed(folder, error):
    try:
        folder.set_status("failed", error=f"{type(error).__name__}: {error}")
    except OSError:  # a full disk may be the very reason; the old status says "running" of a process that is gone
        pass
