"""The values that the settings of a run may have, alone and beside each other.
Leaves out types, which are those of the fields of `pzlib.run.Run`, and what only a model or a text can refuse."""

import math
import re

from pzlib.tiers import TIERS

PASSIVE = ("random_span", "random_next_token", "entropy_next_token")  # no generator: targets drawn by a rule
SUPERVISED = ("sft", "continued_pretraining", "mixed_sft")  # no rollouts either

CHOICES = {
    "tier": tuple(TIERS),
    "objective": ("pretrainzero", *PASSIVE, *SUPERVISED, "rlvr", "rpt", "rlp"),
    "rpt_template": tuple(f"v{n}" for n in range(7)),
    "rpt_reward": ("prefix", "first_token", "dense", "conditional_dense"),
    "template": ("tiny", "paper"),
    "mask_rule": ("all", "one", "words"),
    "generator_reward": ("zero_rule", "no_zero_rule", "negative_accuracy", "learnability"),
    "verifier": ("exact", "math"),
    "filter": ("none", "drop", "refill"),
    "schedule": ("cosine", "constant"),
    "dtype": ("float32", "bfloat16"),
    "sharding": ("ddp", "fsdp", "zero2", "zero3"),
    "vllm_mode": ("colocate", "server"),
}
# The smallest value that means something; a name ending in ">" must be greater than its bound.
LOWEST = {
    "seed": 0, "corpus_limit": 1, "min_tokens": 1, "max_tokens": 1, "span_words": 1, "min_context": 1,
    "random_span_steps": 0, "generator_every": 0, "steps": 1, "passages": 1, "group": 2,
    "learning_rate>": 0, "warmup_steps": 0, "temperature>": 0, "top_p>": 0,
    "max_prompt_tokens": 1, "max_completion_tokens": 1, "clip_low>": 0, "clip_high>": 0, "clip_dual": 0,
    "max_grad_norm>": 0, "kl": 0, "entropy_bonus": 0, "length_penalty": 0, "weight_decay": 0,
    "entropy_top": 2, "entropy_threshold": 0, "dynamic_from": 0, "ema>": 0,
    "processes": 1, "lora_rank": 0, "lora_alpha": 0,
    "micro_batch_rows": 1, "vllm_memory>": 0, "watchdog_minutes": 0, "eval_every": 0, "eval_items": 1, "save_every": 1,
}  # fmt: skip
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"  # of a run's folder


def check(run):
    """ValueError, with the remedy, for the first setting of `run` whose value is impossible."""
    for name, allowed in CHOICES.items():
        if getattr(run, name) not in allowed:
            raise ValueError(f"{name}: {getattr(run, name)!r} is not one of {', '.join(allowed)}")
    for key, bound in LOWEST.items():
        name, above = key.rstrip(">"), key.endswith(">")
        value = getattr(run, name)
        if not math.isfinite(value) or value < bound or (above and value == bound):
            raise ValueError(f"{name}: must be {'above' if above else 'at least'} {bound}, got {value}")
    if run.top_p > 1:
        raise ValueError(f"top_p: must be at most 1 (1 = sample from every token), got {run.top_p}")
    if run.clip_dual and run.clip_dual <= 1 + run.clip_high:
        raise ValueError(f"clip_dual: {run.clip_dual} is within the clip range; give 0, or above 1 + clip_high")
    if run.no_answer_reward > 0 or not math.isfinite(run.no_answer_reward):
        raise ValueError(f"no_answer_reward: {run.no_answer_reward} would pay for silence; give 0 or less")
    if run.ema >= 1:
        raise ValueError(f"ema: must be below 1 (at 1 the baseline never moves), got {run.ema}")
    if run.clip_low >= 1:
        raise ValueError(f"clip_low: must be below 1 (the floor is 1 - clip_low), got {run.clip_low}")
    if run.min_tokens > run.max_tokens:
        raise ValueError(f"min_tokens: {run.min_tokens} is above max_tokens {run.max_tokens}")
    for name in ("model", "corpus", "corpus_column", "entropy_model", "question_column", "answer_column"):
        if not getattr(run, name).strip():
            raise ValueError(f"{name}: is empty; leave it out to take the tier's default")
    if run.objective == "mixed_sft" and not run.solutions.strip():
        raise ValueError("solutions: is empty; mixed_sft needs worked solutions, leave it out for the tier's set")
    if run.vllm_memory > 1:
        raise ValueError(f"vllm_memory: is a share of a GPU's memory, at most 1, got {run.vllm_memory}")
    if not re.fullmatch(r"[^\s:/]+:\d+", run.vllm_server):
        raise ValueError(f"vllm_server: wants host:port, such as 127.0.0.1:8000, got {run.vllm_server!r}")
    if run.lora_alpha and not run.lora_rank:
        raise ValueError(f"lora_alpha: {run.lora_alpha} without adapters; give lora_rank too, or leave it out")
    if run.random_span_steps > run.steps:
        raise ValueError(f"random_span_steps: {run.random_span_steps} is above steps {run.steps}")
    if run.name and not re.fullmatch(NAME, run.name):
        raise ValueError(f"name: {run.name!r} is no folder name; use letters, digits, '.', '_' and '-'")
