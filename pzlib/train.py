"""A Run to a trained model, by TRL's SFTTrainer or its GRPOTrainer with a public method changed; kills do no harm.
Leaves out adapters and quantised weights: the papers train all weights."""

import logging
import shutil
import warnings
from dataclasses import fields

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOTrainer

from pzlib import checkpoints
from pzlib.branching import can_branch
from pzlib.corpus import load_passages
from pzlib.exam import Exam
from pzlib.folder import RunFolder
from pzlib.game import Game
from pzlib.layout import blocks
from pzlib.models import fingerprint, fitting, load
from pzlib.nexttoken import frozen_scorer
from pzlib.packing import PackedModel, check_drop_rows, keep_moving_rows
from pzlib.problems import load_problems
from pzlib.quiet import quiet, tells_a_user_something
from pzlib.recorder import Recorder
from pzlib.rlp import Thoughts
from pzlib.rpt import NextTokens
from pzlib.run import SUPERVISED, Run
from pzlib.settings import settings
from pzlib.supervised import supervised_trainer

TOKENS_AT_ONCE = 2048  # of a forward pass on a CPU: larger ones fall out of its cache


class PZTrainer(GRPOTrainer):
    """GRPOTrainer whose loss leaves out the rows that add nothing to it, and reads a shared prompt once; see
    `pzlib.packing`."""

    drop_rows = packs = False

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if self.drop_rows:
            inputs = keep_moving_rows(inputs)
        if self.drop_rows or self.packs:
            alone_on_cpu = self.accelerator.num_processes == 1 and self.accelerator.device.type == "cpu"
            model = PackedModel(
                model,
                self.accelerator.unwrap_model(model),
                inputs["completion_ids"].shape[1],
                at_once=TOKENS_AT_ONCE if alone_on_cpu else None,
            )
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)


class Halfway(TrainerCallback):
    """Keeps the model at half of the steps too, as `model-<step>`: PretrainZero's RLVR starts from both (Table 3)."""

    def __init__(self, trainer, folder):
        self.trainer, self.path = trainer, folder.path

    def on_step_end(self, args, state, control, **_):
        if state.global_step == args.max_steps // 2:
            _save_model(self.trainer, self.path, f"model-{state.global_step}")


def make_trainer(run, model, tokenizer, items, folder, evaluate=None, view=None):
    """The trainer of a run, ready to `train()`, on Passages or Problems; of one with rollouts `trainer.game` is the
    Rollout. Raises ValueError as `settings` and `check_drop_rows` do."""
    args = settings(run, folder, PartialState().num_processes)
    if run.objective in SUPERVISED:
        trainer, source = supervised_trainer(run, model, tokenizer, items, args)
    else:
        trainer, source = _game_trainer(run, model, tokenizer, items, args, folder)
    trainer.add_callback(Halfway(trainer, folder))
    trainer.add_callback(Recorder(run, folder, source, evaluate, view))
    trainer.add_callback(checkpoints.Manifests(folder.path / "checkpoints", run.run_id))
    trainer.remove_callback(PrinterCallback)
    return trainer


def _game_trainer(run, model, tokenizer, items, args, folder):
    if run.drop_rows:
        check_drop_rows(args, model)
    game = _rollout(run, model, tokenizer, items, folder)
    logging.getLogger("trl.trainer.grpo_trainer").addFilter(tells_a_user_something)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are using 'rollout_func'")
        trainer = PZTrainer(
            model=model,
            args=args,
            processing_class=tokenizer,
            train_dataset=blocks(items, run),
            reward_funcs=game.reward_funcs,
            rollout_func=game.rollout,
        )
    trainer.drop_rows, trainer.packs, trainer.game = run.drop_rows, game.packs and can_branch(model), game
    for callback in game.callbacks:
        trainer.add_callback(callback)
    return trainer, game


def _rollout(run, model, tokenizer, items, folder):
    if run.objective == "rlvr":
        return Exam(run, items, tokenizer, folder)
    if run.objective == "rlp":
        return Thoughts(run, items, tokenizer, folder, model)
    rollout = NextTokens if run.objective == "rpt" else Game
    return rollout(run, items, tokenizer, folder, frozen_scorer(run, model, tokenizer))


def train(run, view=None, evaluate=None):
    """Train `run`, or go on where it was stopped, and return its RunFolder; a complete run comes back at
    once.

    evaluate: `evaluate(model, tokenizer, step)` -> rows for eval.csv, asked before the first step, every
    `eval_every` steps and after the last. view: its `update(folder, step, steps)` is called every few
    seconds. The trained model is in `<run>/model`. On an error, or Ctrl-C, the run is marked failed with the
    reason, and starting it again goes on from the last whole checkpoint. Raises ValueError or
    FileNotFoundError, in words, for what cannot work.
    """
    main, folder = PartialState().is_main_process, RunFolder(run.folder)
    if folder.state() == "complete":
        return folder.open(run, _facts(folder))
    model, tokenizer = load(run)
    corpus = material(run, tokenizer, progress=main)
    items, left_out = fitting(run, corpus, tokenizer)
    facts = {
        "corpus_digest": corpus.digest,
        "corpus_report": dict(corpus.report),
        "prompts_too_long": left_out,
        "model_fingerprint": fingerprint(model),
        "parameters": model.num_parameters(),
    }
    if main:
        folder.open(run, facts)
        folder.set_status("running", steps=run.steps)
    try:
        trainer = make_trainer(run, model, tokenizer, items, folder, evaluate, view)
        # one process looks, for it sets broken ones aside; all go on from what it found
        found = [checkpoints.latest_good(folder.path / "checkpoints", run.run_id) if main else None]
        checkpoint, step = broadcast_object_list(found)[0]
        if main:
            folder.truncate_after(step if checkpoint else -1)
        with quiet():
            trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
            _save_model(trainer, folder.path, "model")
    except BaseException as error:
        if main:
            _mark_failed(folder, error)
        raise
    if main:
        folder.set_status("complete", step=run.steps, steps=run.steps)
        if view is not None:
            view.update(folder, run.steps, run.steps)
    return folder


def material(run, tokenizer, progress=False):
    """The Corpus of a run: Passages, or of rlvr Problems. Errors as in `load_passages` and `load_problems`."""
    shared = {"limit": run.corpus_limit, "seed": run.seed, "config": run.corpus_config or None}
    if run.objective == "rlvr":
        columns = {"question_column": run.question_column, "answer_column": run.answer_column}
        return load_problems(run.corpus_source, **columns, **shared)
    return load_passages(
        run.corpus_source,
        tokenizer=tokenizer,
        min_tokens=run.min_tokens,
        max_tokens=run.max_tokens,
        column=run.corpus_column,
        progress=progress,
        **shared,
    )


def _facts(folder):
    """What `open` is to compare besides the settings: the facts as recorded, since nothing is loaded to find
    them anew."""
    return {
        k: v for k, v in folder.params().items() if k != "run_id" and k not in {f.name for f in fields(Run)}
    }


def _save_model(trainer, path, name):
    """The model and its tokenizer in `path`/`name`, whole or not at all."""
    part = path / f"{name}.part"
    trainer.save_model(str(part))
    if trainer.accelerator.is_main_process:
        shutil.rmtree(path / name, ignore_errors=True)
        part.rename(path / name)


def _mark_failed(folder, error):
    try:
        folder.set_status("failed", error=f"{type(error).__name__}: {error}")
    except (
        OSError
    ):  # a full disk may be the very reason; the old status says "running" of a process that is gone
        pass
