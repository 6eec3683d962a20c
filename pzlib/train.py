"""A Run to a trained model, by TRL's GRPOTrainer or its SFTTrainer with a public method changed; kills do no harm.
Leaves out quantised weights, and how several processes are started: `pzlib.engine.processes`."""

import os
import shutil
import warnings
from functools import partial

import huggingface_hub
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, is_peft_model
from datasets import Dataset
from transformers import PrinterCallback
from trl import GRPOConfig, GRPOTrainer, SFTConfig
from trl.trainer import disable_dropout_in_model

from pzlib.corpus import SMALL_WORLD
from pzlib.engine import models, processes
from pzlib.engine.memory import TOKENS_AT_ONCE, shares
from pzlib.engine.packing import PackedModel, check_drop_rows, keep_moving_rows, prompts_together
from pzlib.engine.sampling import can_branch
from pzlib.engine.updates import Clips, OwnLoss, PerBatch, amended
from pzlib.engine.vllm import Cuts, as_asked, ending, vllm_arguments
from pzlib.game import blocks
from pzlib.runs.callbacks import Kept, Manifests, Recorder, Watchdog, latest_good, thin, trackers
from pzlib.runs.folder import RunFolder, note, training, untouched
from pzlib.world.tinywiki import is_world

# The hub's library read the variable when it was imported, perhaps before pzlib.
huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = os.environ["HF_HUB_DISABLE_TELEMETRY"] != "0"
ADAPTER = "adapter"  # the folder of what LoRA trained, beside `model`, where it is merged


def train(run, view=None, evaluate=None):
    """Train `run`, or go on where it was stopped, and return its RunFolder; a finished run comes back at once.

    evaluate: `evaluate(model, tokenizer, step)` -> rows for eval.csv, asked before the first step, every `eval_every`
    steps and after the last. view: its `update(folder, step, steps)` is called every few seconds. The trained model is
    in `<run>/model`. Starting a run again that was stopped, or failed, goes on from its last whole checkpoint. Raises
    ValueError or FileNotFoundError, with the remedy, for what cannot work, and TimeoutError for a training that hangs.
    """
    folder, main = RunFolder(run.folder), PartialState().is_main_process
    complete = folder.state() == "complete"
    if complete and untouched(folder, run):
        return folder.open(run)
    processes.check(run)  # a sharding that one process cannot have would be ignored without a word
    if run.processes > 1 and PartialState().num_processes == 1 and not complete:
        return processes.launch(run, view, evaluate)
    model, tokenizer = models.load(run)
    items, facts = material(run, model, tokenizer, progress=main)
    if complete:  # its text or model was moved or touched: it must be the same
        note(folder.open(run, facts), run)
        return folder
    with training(folder, run, facts, main), ending():
        trainer = make_trainer(run, model, tokenizer, items, folder, evaluate, view)
        # one process looks, for it sets broken ones aside; all go on from what it found
        found = [latest_good(folder.path / "checkpoints", run.run_id) if main else None]
        checkpoint, step = broadcast_object_list(found)[0]
        if main:
            folder.truncate_after(step if checkpoint else -1)
        watchdog = Watchdog(run, folder, PartialState().process_index)
        trainer.add_callback(watchdog)
        with models.less_noise(), watchdog.watching():
            trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
            for name in ("model", ADAPTER) if run.lora_rank else ("model",):
                _save_model(trainer, folder.path, name)
    if main and view is not None:
        view.update(folder, run.steps, run.steps)
    return folder


def material(run, model, tokenizer, progress=False):
    """(the items that a run trains on, the facts of text and model that must not change while it does)."""
    corpus = run.method.load_items(run, tokenizer, progress=progress)
    items, left_out = fitting(run, corpus, tokenizer)
    if not (is_world(run.corpus) or run.corpus == SMALL_WORLD):  # nobody's own text
        texts = [item.question if hasattr(item, "question") else item.text for item in items]
        models.check_words(texts, tokenizer, run)
    return items, {
        "corpus_digest": corpus.digest,
        "corpus_report": dict(corpus.report),
        "prompts_too_long": left_out,
        "model_fingerprint": models.fingerprint(model),
        "parameters": model.num_parameters(),
    }


def fitting(run, items, tokenizer):
    """(items whose prompts have at most `max_prompt_tokens`, how many were left out); ValueError where none is left."""
    prompts = [run.method.prompts(run, item) for item in items]
    lengths = iter(tokenizer([text for own in prompts for text in own])["input_ids"] if prompts else [])
    longest = [max(len(next(lengths)) for _ in own) for own in prompts]
    kept = [item for item, n in zip(items, longest, strict=True) if n <= run.max_prompt_tokens]
    if not kept:
        found = f"the shortest prompt of {len(longest)} has {min(longest)} tokens" if longest else "there is no item"
        most = run.max_prompt_tokens
        raise ValueError(f"max_prompt_tokens: {most} is too few, {found}; raise it, or lower max_tokens")
    return kept, len(longest) - len(kept)


class PZTrainer(GRPOTrainer):
    """GRPOTrainer whose loss leaves out rows that add nothing, and reads a shared prompt once: `engine.packing`."""

    drop_rows = packs = False
    cuts = clips = None  # of importance ratios, with vLLM; of ratios, with several updates a batch

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if self.drop_rows or self.packs:
            inputs = prompts_together(self, inputs)
        if self.cuts:
            self.cuts.count(inputs)
        inputs = amended(inputs, self.method)
        if self.drop_rows:
            inputs = keep_moving_rows(inputs)
        if self.drop_rows or self.packs:
            alone_on_cpu = self.accelerator.num_processes == 1 and self.accelerator.device.type == "cpu"
            bare, most = models.bare(self.accelerator.unwrap_model(model)), inputs["completion_ids"].shape[1]
            model = PackedModel(model, bare, most, at_once=TOKENS_AT_ONCE if alone_on_cpu else None)
        model = self.clips.listening(model) if self.clips else model
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if self.clips:
            self.clips.count(inputs)
        return loss


def make_trainer(run, model, tokenizer, items, folder, evaluate=None, view=None):
    """The trainer of a run, ready to `train()`, on Passages or Problems; `trainer.method` is the run's method.

    Raises ValueError as `trl_arguments` and `check_drop_rows` do.
    """
    args = trl_arguments(run, folder, PartialState().num_processes)
    if run.drop_rows and not run.method.supervised:
        check_drop_rows(args)
    method, callbacks = run.method(run, items, tokenizer, folder, model), []
    own = dict(model=model, args=args, processing_class=tokenizer, peft_config=models.config(run))
    if method.supervised:
        disable_dropout_in_model(model)  # as GRPOConfig's `disable_dropout` does
        rows = Dataset.from_dict({"row": range(run.steps * run.rows_per_step)})
        trainer = OwnLoss(**own, train_dataset=rows, data_collator=method.collate)
    else:
        with warnings.catch_warnings(), as_asked(run):
            warnings.filterwarnings("ignore", message="You are using 'rollout_func'")
            trainer = PZTrainer(
                **own, train_dataset=blocks(items, run), reward_funcs=method.reward_funcs(), rollout_func=method.rollout
            )
        # asked while the model is whole: it tries, and a sharded one would have to be tried by all processes at once
        trainer.packs = method.reads_shared_prompts and can_branch(model)
        trainer.drop_rows = run.drop_rows
        if run.use_vllm:
            trainer.cuts = Cuts(method)
            callbacks.append(trainer.cuts)
        if run.updates_per_batch > 1:
            trainer.clips = Clips(method, args)
            callbacks.append(trainer.clips)
    trainer.method = method
    callbacks += [
        *method.callbacks,
        Kept(run, partial(_save_model, trainer, folder.path)),
        Recorder(run, folder, method, evaluate, view, models.bare),
        Manifests(folder.path / "checkpoints", run.run_id),
        *trackers(run),  # after the Recorder, which gives them the metrics under their own names
    ]
    for callback in callbacks if run.updates_per_batch == 1 else [PerBatch(callbacks, run.updates_per_batch)]:
        trainer.add_callback(callback)
    trainer.remove_callback(PrinterCallback)
    return trainer


def trl_arguments(run, folder, processes=1):
    """The GRPOConfig of a run, the SFTConfig of a supervised one; everything that a paper fixes, or TRL's defaults
    would change, is written out.

    TRL's step is one optimizer update, a run's is one sampled batch: `updates_per_batch` of TRL's. General-Reasoner's
    four updates a batch are four mini-batches, 256 of 1,024 prompts each. TRL's `steps_per_generation` gives them (the
    rows are cut into more parts); `num_iterations` would read every row again. TRL then takes the old log-probabilities
    from the policy as it was when it sampled. Rows carry their advantages along, so that a group or block that an
    update's border cuts loses nothing. Learning rate and warm-up move with every update.

    Raises ValueError where rows and processes do not divide.
    """
    method, gpu = run.method, torch.cuda.is_available()
    (local, micro), updates = shares(run, processes), run.updates_per_batch
    shared = dict(
        output_dir=str(folder.path / "checkpoints"), seed=run.seed, use_cpu=not gpu,
        # The rollout buffer is empty whenever a checkpoint is written: only between batches.
        max_steps=run.steps * updates, per_device_train_batch_size=micro,
        gradient_accumulation_steps=local // micro // updates,
        learning_rate=run.learning_rate, warmup_steps=run.warmup_steps * updates, weight_decay=run.weight_decay,
        lr_scheduler_type="cosine" if run.schedule == "cosine" else "constant_with_warmup",
        optim="adamw_torch", adam_beta1=0.9, adam_beta2=0.999, adam_epsilon=1e-8,
        max_grad_norm=run.max_grad_norm, bf16=run.dtype == "bfloat16", fp16=False, router_aux_loss_coef=0.0,
        gradient_checkpointing=gpu, dataloader_pin_memory=gpu, shuffle_dataset=False, remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        save_strategy="steps", save_steps=run.save_every * updates,
        logging_steps=updates, logging_nan_inf_filter=False, disable_tqdm=True,
        report_to="none", run_name=run.run_id,  # see `trackers`
    )  # fmt: skip
    if method.supervised:
        return SFTConfig(
            **shared, loss_type="nll", packing=False, max_length=None, train_sampling_strategy="sequential",
            dataset_kwargs={"skip_prepare_dataset": True},  # rows come whole from the method's `collate`
        )  # fmt: skip
    # Without vLLM the sampler sees to it that nothing comes after a stop word.
    stop = {"stop": method.stop_words(run), "include_stop_str_in_output": True}
    own = dict(
        steps_per_generation=local // micro, num_iterations=1, num_generations=run.group,
        max_completion_length=run.max_completion_tokens, temperature=run.temperature, top_p=run.top_p, top_k=0,
        # PretrainZero (eqs. 10, 11 and text): no KL, clip-higher, z-scores within a group; token averaging is ours.
        loss_type={"gspo": "grpo"}.get(run.loss, run.loss), beta=run.kl, entropy_coef=run.entropy_bonus,
        epsilon=run.clip_low, delta=run.clip_dual or None, scale_rewards="group",
        epsilon_high=run.clip_high + (run.loss == "cispo"),  # with cispo TRL takes the largest ratio itself
        importance_sampling_level="sequence" if run.loss == "gspo" else "token", top_entropy_quantile=1.0,
        mask_truncated_completions=False, disable_dropout=True, **vllm_arguments(run),
        generation_kwargs=stop if stop["stop"] and run.use_vllm else None,
    )  # fmt: skip
    return GRPOConfig(**shared, **own | method.loss)


def _save_model(trainer, path, name, dtype=None):
    """The model, its adapter merged into it, and its tokenizer in `path`/`name`, whole or not at all; dtype: of the
    file's weights, where not their own. All processes of a run call it, as a sharded model is gathered for it."""
    part, main = path / f"{name}.part", trainer.accelerator.is_main_process
    if is_peft_model(trainer.model) and name != ADAPTER:
        if main:
            models.export(trainer.model, trainer.processing_class, part)
    else:
        trainer.save_model(str(part))
    if main:
        if dtype:
            thin(part, dtype)
        trainer.method.save_beside(part)
        shutil.rmtree(path / name, ignore_errors=True)
        part.rename(path / name)
