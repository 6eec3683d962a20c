"""A Run to a trained model, by TRL's SFTTrainer or its GRPOTrainer with a public method changed; kills do no harm.
Leaves out quantised weights, and how several processes are started: `pzlib.engine.processes`."""

import contextlib
import errno
import logging
import os
import shutil
import warnings
from dataclasses import fields, replace

import huggingface_hub
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, is_peft_model
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer, SFTConfig

from pzlib.corpus.passages import load_passages
from pzlib.corpus.problems import Problem, load_problems
from pzlib.engine import models
from pzlib.engine.models import fingerprint, load, quiet, tells_a_user_something
from pzlib.engine.packing import PackedModel, check_drop_rows, keep_moving_rows
from pzlib.engine.processes import check, launch
from pzlib.engine.sampling import can_branch
from pzlib.engine.shares import TOKENS_AT_ONCE, shares
from pzlib.engine.vllm import Cuts, as_asked, vllm_arguments
from pzlib.game import blocks, seed_of
from pzlib.objectives.pretrainzero import Game
from pzlib.objectives.rlp import FORMS, Thoughts
from pzlib.objectives.rlvr import Exam
from pzlib.objectives.rpt import NextTokens, rpt_prompt
from pzlib.objectives.supervised import supervised_trainer
from pzlib.objectives.targets import frozen_scorer
from pzlib.paths import locate
from pzlib.prompts import TEMPLATES, generator_prompt, predictor_prompt, question_prompt
from pzlib.run import SUPERVISED, Run
from pzlib.runs import checkpoints
from pzlib.runs.callbacks import Recorder, Watchdog
from pzlib.runs.folder import RunFolder, held, note, untouched


def settings(run, folder, processes=1):
    """The GRPOConfig of a run, the SFTConfig of a supervised one; everything that a paper fixes, or TRL's defaults
    would change, is written out.

    Raises ValueError where rows and processes do not divide.
    """
    supervised = run.objective in SUPERVISED
    local, micro = shares(run, processes)
    gpu = torch.cuda.is_available()
    shared = dict(
        output_dir=str(folder.path / "checkpoints"), seed=run.seed, use_cpu=not gpu,
        # One on-policy update a step: the rollout buffer is empty whenever a checkpoint is written.
        max_steps=run.steps, per_device_train_batch_size=micro, gradient_accumulation_steps=local // micro,
        learning_rate=run.learning_rate, warmup_steps=run.warmup_steps, weight_decay=run.weight_decay,
        lr_scheduler_type="cosine" if run.schedule == "cosine" else "constant_with_warmup",
        optim="adamw_torch", adam_beta1=0.9, adam_beta2=0.999, adam_epsilon=1e-8,
        max_grad_norm=run.max_grad_norm, bf16=run.dtype == "bfloat16", fp16=False, router_aux_loss_coef=0.0,
        gradient_checkpointing=gpu, dataloader_pin_memory=gpu, shuffle_dataset=False, remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        save_strategy="steps", save_steps=run.save_every,
        logging_steps=1, logging_nan_inf_filter=False, report_to="none", disable_tqdm=True,
    )  # fmt: skip
    if supervised:
        return SFTConfig(
            **shared, loss_type="nll", packing=False, max_length=None, train_sampling_strategy="sequential",
            dataset_kwargs={"skip_prepare_dataset": True},  # rows come whole from `supervised.Lessons`
        )  # fmt: skip
    rlp = run.objective == "rlp"
    return GRPOConfig(
        **shared, steps_per_generation=local // micro, num_iterations=1, num_generations=run.group,
        max_completion_length=run.max_completion_tokens, temperature=run.temperature, top_p=run.top_p, top_k=0,
        # PretrainZero (eqs. 10, 11 and text): no KL, clip-higher, z-scores within a group; token averaging is ours.
        # RLP (section 3.1): no division by a std, and a mean over the tokens of each thought: TRL's "grpo"
        loss_type="grpo" if rlp else "dapo",
        beta=run.kl, epsilon=run.clip_low, epsilon_high=run.clip_high, delta=run.clip_dual or None,
        scale_rewards="none" if rlp else "group",
        importance_sampling_level="token", entropy_coef=run.entropy_bonus, top_entropy_quantile=1.0,
        mask_truncated_completions=False, disable_dropout=True, **vllm_arguments(run),
        # what comes after a thought is not wanted; without vLLM `asking` sees to it
        generation_kwargs={"stop": [FORMS[run.template].closing], "include_stop_str_in_output": True}
        if rlp and run.use_vllm else None,
    )  # fmt: skip


# The hub's library read the variable when it was imported, perhaps before pzlib.
huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = os.environ["HF_HUB_DISABLE_TELEMETRY"] != "0"

ADAPTER = "adapter"  # the folder of what LoRA trained, beside `model`, where it is merged



class PZTrainer(GRPOTrainer):
    """GRPOTrainer whose loss leaves out the rows that add nothing to it, and reads a shared prompt once; see
    `pzlib.engine.packing`."""

    drop_rows = packs = False
    cuts = None  # of importance ratios, with vLLM

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if self.cuts:
            self.cuts.count(inputs)
        if self.drop_rows:
            inputs = keep_moving_rows(inputs)
        if self.drop_rows or self.packs:
            alone_on_cpu = self.accelerator.num_processes == 1 and self.accelerator.device.type == "cpu"
            model = PackedModel(
                model,
                models.bare(self.accelerator.unwrap_model(model)),
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
    with warnings.catch_warnings(), as_asked(run):
        warnings.filterwarnings("ignore", message="You are using 'rollout_func'")
        trainer = PZTrainer(
            model=model,
            args=args,
            processing_class=tokenizer,
            train_dataset=blocks(items, run),
            reward_funcs=game.reward_funcs,
            rollout_func=game.rollout,
            peft_config=models.config(run),
        )
    # asked while the model is whole: it tries, and a sharded one would have to be tried by all processes at once
    trainer.packs = can_branch(model) and game.packs
    trainer.drop_rows, trainer.game = run.drop_rows, game
    if run.use_vllm:
        trainer.cuts = Cuts(game)
        trainer.add_callback(trainer.cuts)
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
    once, unless a file of its text or model has changed since: then that is read, and another content refused.

    evaluate: `evaluate(model, tokenizer, step)` -> rows for eval.csv, asked before the first step, every
    `eval_every` steps and after the last. view: its `update(folder, step, steps)` is called every few
    seconds. The trained model is in `<run>/model`. On an error, or Ctrl-C, the run is marked failed with the
    reason, and starting it again goes on from the last whole checkpoint. Raises ValueError or
    FileNotFoundError, in words, for what cannot work, and TimeoutError for a training that hangs.
    """
    main, folder = PartialState().is_main_process, RunFolder(run.folder)
    complete = folder.state() == "complete"
    if complete and untouched(folder, run):
        return folder.open(run, _facts(folder))
    check(run)  # a sharding that one process cannot have would be passed over in silence
    if run.processes > 1 and PartialState().num_processes == 1 and not complete:
        return launch(run, view, evaluate)
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
    if complete:  # its text or model was moved or touched: it must say the same
        note(folder.open(run, facts), run)
        return folder
    with held(folder) if main else contextlib.nullcontext():
        if main:
            note(folder.open(run, facts), run)
            folder.set_status("running", steps=run.steps)
        try:
            _train(run, model, tokenizer, items, folder, evaluate, view)
        except BaseException as error:
            full = _full_disk(folder, error)
            if main:
                _mark_failed(folder, full or error)
            if full:
                raise full from error
            raise
        if main:
            folder.set_status("complete", step=run.steps, steps=run.steps)
    if main and view is not None:
        view.update(folder, run.steps, run.steps)
    return folder



def _train(run, model, tokenizer, items, folder, evaluate, view):
    """From the last whole checkpoint, or the start, to the saved model."""
    main = PartialState().is_main_process
    trainer = make_trainer(run, model, tokenizer, items, folder, evaluate, view)
    # one process looks, for it sets broken ones aside; all go on from what it found
    found = [checkpoints.latest_good(folder.path / "checkpoints", run.run_id) if main else None]
    checkpoint, step = broadcast_object_list(found)[0]
    if main:
        folder.truncate_after(step if checkpoint else -1)
    dog = Watchdog(run, folder, PartialState().process_index)
    trainer.add_callback(dog)
    with quiet(), dog.watching():
        trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
        for name in ("model", ADAPTER) if run.lora_rank else ("model",):
            _save_model(trainer, folder.path, name)



def material(run, tokenizer, progress=False):
    """The Corpus of a run: Passages, of rlvr Problems, of mixed_sft both. Errors as where they are loaded."""
    shared = {"limit": run.corpus_limit, "seed": run.seed, "config": run.corpus_config or None}
    columns = {"question_column": run.question_column, "answer_column": run.answer_column}
    if run.objective == "rlvr":
        return load_problems(run.corpus_source, **columns, **shared)
    text = load_passages(
        run.corpus_source,
        tokenizer=tokenizer,
        min_tokens=run.min_tokens,
        max_tokens=run.max_tokens,
        column=run.corpus_column,
        progress=progress,
        **shared,
    )
    if run.objective != "mixed_sft":
        return text
    # other problems than the ones that RLVR of the same seed would train on
    shared |= {"seed": seed_of(run.seed, "solutions"), "config": None}
    solved = load_problems(locate(run.solutions), solution_column=run.solution_column, **columns, **shared)
    return text.joined([replace(problem, id=f"solution-{problem.id}") for problem in solved], solved)



def _facts(folder):
    """What `open` is to compare besides the settings: the facts as recorded, since nothing is loaded to find
    them anew."""
    return {k: v for k, v in folder.params().items() if k != "run_id" and k not in {f.name for f in fields(Run)}}



def _save_model(trainer, path, name):
    """The model, its adapter merged into it, and its tokenizer in `path`/`name`, whole or not at all."""
    part, main = path / f"{name}.part", trainer.accelerator.is_main_process
    if is_peft_model(trainer.model) and name != ADAPTER:
        if main:
            models.export(trainer.model, trainer.processing_class, part)
    else:
        trainer.save_model(str(part))
    if main:
        shutil.rmtree(path / name, ignore_errors=True)
        part.rename(path / name)



def _full_disk(folder, error):
    """An OSError that says so where torch does not, which calls it an unexpected position; None if it is something
    else."""
    if type(error) is not RuntimeError or shutil.disk_usage(folder.path).free >= 2**20:
        return None
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder.path))



def _mark_failed(folder, error):
    # a full disk may be the very reason; the old status then says "running" of a process that is gone
    with contextlib.suppress(OSError):
        folder.set_status("failed", error=f"{type(error).__name__}: {error}")


def fitting(run, items, tokenizer):
    """(passages or problems whose prompts are at most `max_prompt_tokens` long, how many were left out).

    Raises ValueError where none is left.
    """
    template = TEMPLATES[run.template]
    if run.objective in ("rlvr", "mixed_sft"):  # plain text is read without a prompt
        prompts = [[question_prompt(i.question, template)] if isinstance(i, Problem) else [i.text] for i in items]
    elif run.objective == "rpt":
        prompts = [[rpt_prompt(p.text, run.template, run.rpt_template)] for p in items]
    elif run.objective == "rlp":
        prompts = [[FORMS[run.template].prompt(p.text)] for p in items]
    else:
        prompts = [[make(p.text, template) for make in (generator_prompt, predictor_prompt)] for p in items]
    lengths = iter(tokenizer([text for own in prompts for text in own])["input_ids"] if prompts else [])
    longest = [max(len(next(lengths)) for _ in own) for own in prompts]
    kept = [item for item, n in zip(items, longest, strict=True) if n <= run.max_prompt_tokens]
    if not kept:
        found = (
            f"the shortest prompt of {len(longest)} has {min(longest)} tokens"
            if longest
            else "there is nothing to ask"
        )
        raise ValueError(
            f"max_prompt_tokens: {run.max_prompt_tokens} is too few, {found}; raise it, or lower max_tokens"
        )
    return kept, len(longest) - len(kept)
