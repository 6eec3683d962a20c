"""The sizes a run can have: for each tier, and for RLVR apart, the default of every setting that the tier changes.
What the papers leave unsaid (warm-up, micro-batches, how Wikipedia is cut) has a default of ours here."""

MINI = {
    "model": "data/tinybase", "corpus": "tinywiki", "corpus_config": "", "corpus_limit": 2000,
    "min_tokens": 16, "max_tokens": 80, "template": "tiny", "span_words": 2, "min_context": 5,
    "steps": 200, "passages": 4, "group": 8, "learning_rate": 3e-4, "schedule": "constant", "warmup_steps": 0,
    "max_prompt_tokens": 96, "max_completion_tokens": 24, "micro_batch_rows": 512, "dtype": "float32",
    "eval_every": 25, "eval_items": 64, "save_every": 25,
}  # fmt: skip
# Stated in arXiv:2512.03442: model, steps, learning rate and schedule, prompt and completion tokens,
# 32 passages a step, groups of 8. The other values are ours.
PAPER = {
    "model": "Qwen/Qwen3-4B-Base", "corpus": "wikimedia/wikipedia", "corpus_config": "20231101.en",
    "corpus_limit": 64_000, "min_tokens": 32, "max_tokens": 1400, "template": "paper", "span_words": 5,
    "min_context": 16, "steps": 2000, "passages": 32, "group": 8, "learning_rate": 5e-7, "schedule": "cosine",
    "warmup_steps": 0,
    "max_prompt_tokens": 1536, "max_completion_tokens": 4096, "micro_batch_rows": 4, "dtype": "bfloat16",
    "eval_every": 100, "eval_items": 256, "save_every": 50,
}  # fmt: skip
# A tier is a size and nothing else: what it does not name here is the same at every tier.
TIERS = {
    "smoke": MINI | {"corpus_limit": 64, "steps": 12, "passages": 2, "group": 4,
                     "eval_every": 0, "eval_items": 16, "save_every": 6},
    "mini": MINI,
    "gpu": PAPER | {"model": "Qwen/Qwen3-0.6B-Base", "corpus_limit": 8000, "steps": 200, "passages": 8,
                    "learning_rate": 1e-6, "max_completion_tokens": 1024, "micro_batch_rows": 8,
                    "eval_every": 50},
    "paper": PAPER,
}  # fmt: skip
# RLVR as PretrainZero's follow-on (section 4.3: 400 steps of 128 problems, the General-Reasoner recipe) and, for what
# it leaves unsaid, General-Reasoner's script: rate, lengths, KL, entropy bonus, clip and dual clip, the two penalties.
# Its four updates a batch are one here, its verifier model is math-verify, and the passes over the data are ours.
RECIPE = {
    "corpus": "TIGER-Lab/WebInstruct-verified", "corpus_config": "", "corpus_limit": 51_200, "steps": 400,
    "passages": 128, "group": 8, "learning_rate": 5e-7, "schedule": "constant", "max_prompt_tokens": 1024,
    "max_completion_tokens": 8192, "verifier": "math", "length_penalty": 0.05, "no_answer_reward": -0.5,
    "filter": "none", "clip_low": 0.3, "clip_high": 0.3, "clip_dual": 10.0, "kl": 1e-4, "entropy_bonus": 1e-3,
    "drop_rows": False,
}  # fmt: skip
# On the small world nothing but right and wrong counts: without KL and bonus, rows of no advantage cost nothing.
EXAM = {"corpus": "tinybench", "steps": 100, "passages": 32, "eval_every": 10}
RLVR = {
    "smoke": EXAM | {"steps": 6, "passages": 4, "eval_every": 0, "save_every": 3},
    "mini": EXAM,
    "gpu": RECIPE | {"corpus_limit": 8000, "steps": 100, "passages": 32, "learning_rate": 1e-6,
                     "max_completion_tokens": 2048},
    "paper": RECIPE,
}  # fmt: skip


def defaults(tier, objective):
    """What a tier sets for an objective: {setting: value}.

    >>> defaults("paper", "pretrainzero")["steps"], defaults("paper", "rlvr")["steps"]
    (2000, 400)
    """
    return TIERS[tier] | (RLVR[tier] if objective == "rlvr" else {})
