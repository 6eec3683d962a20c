"""The sizes a run can have: for each tier, the default of every setting it changes, and what some objectives change.
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

# RPT (arXiv:2506.08007, section 3 and appendix): OmniMATH, R1-Distill-Qwen-14B, a proxy of 1.5B, 256 positions of 8
# answers each, temperature 0.8, gradient clip 0.2, dynamic sampling from step 500. Its threshold and how many positions
# a document gives are not stated: ours.
RPT_PAPER = {
    "model": "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B", "corpus": "KbsdJames/Omni-MATH", "corpus_limit": 4428,
    "corpus_config": "", "entropy_model": "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "entropy_threshold": 0.5,
    "steps": 1000, "filter": "none", "dynamic_from": 500, "learning_rate": 1e-6, "schedule": "constant",
    "temperature": 0.8,
    "max_prompt_tokens": 4096, "max_tokens": 3072, "max_completion_tokens": 8192, "max_grad_norm": 0.2,
    "weight_decay": 0.01,
}  # fmt: skip
RPT_SMALL = {"entropy_model": "base", "entropy_threshold": 0.5}
RPT = {
    "smoke": RPT_SMALL,
    "mini": RPT_SMALL,
    "gpu": {name: RPT_PAPER[name] for name in ("entropy_threshold", "schedule", "temperature", "max_grad_norm")}
           | {"entropy_model": "base", "learning_rate": 1e-6},
    "paper": RPT_PAPER,
}  # fmt: skip
# RLP (arXiv:2510.01265, section 3.2): Qwen3-1.7B-Base, 512 documents of 16 thoughts, temperature 0.7, 2048 tokens of
# context and of thought, 200 steps (170M tokens). Its corpus mixture is not public: Wikipedia stands in.
RLP_PAPER = {
    "model": "Qwen/Qwen3-1.7B-Base", "steps": 200, "passages": 512, "group": 16, "learning_rate": 1e-6,
    "schedule": "constant", "temperature": 0.7, "max_tokens": 1900, "max_prompt_tokens": 2048,
    "max_completion_tokens": 2048,
}  # fmt: skip
# Rewards are real numbers: no group is all right or all wrong, and a mean over rows needs every row.
RLP_ALL = {"filter": "none", "drop_rows": False}
RLP = {
    "smoke": RLP_ALL | {"passages": 4},
    "mini": RLP_ALL | {"passages": 32},
    "gpu": RLP_ALL | {"passages": 32, "schedule": "constant", "temperature": 0.7, "max_completion_tokens": 512},
    "paper": RLP_ALL | RLP_PAPER,
}
# Mixed SFT (arXiv:2608.23256, abstract): text without reasonings and long ones, in one stage. Its sets and mixture
# are not known to us: LIMO's long solutions stand in, half of the rows each.
LONG = {"solutions": "GAIR/LIMO"}
MIXED = {"smoke": {"solutions": "tinybench"}, "mini": {"solutions": "tinybench"}, "gpu": LONG, "paper": LONG}
BY_OBJECTIVE = {"rlvr": RLVR, "rpt": RPT, "rlp": RLP, "mixed_sft": MIXED}


def defaults(tier, objective):
    """What a tier sets for an objective: {setting: value}.

    >>> defaults("paper", "pretrainzero")["steps"], defaults("paper", "rlvr")["steps"]
    (2000, 400)
    """
    return TIERS[tier] | BY_OBJECTIVE.get(objective, {}).get(tier, {})
