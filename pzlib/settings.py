"""TRL's arguments of a run, with everything written out that a paper fixes or TRL's defaults would change.
Leaves out several updates per rollout: the paper says nothing of them, its neighbours train on-policy."""

import torch
from trl import GRPOConfig, SFTConfig

from pzlib.allowed import SUPERVISED
from pzlib.engine import vllm_arguments
from pzlib.shares import shares
from pzlib.thoughts import FORMS


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
