"""What a run is: every setting of it, with its tier's defaults, checked before anything heavy is loaded.
Leaves out several updates a batch: one on-policy update a step is what all of it is written for."""

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass, field, fields

from pzlib.errors import near_names, refuse_unknown, typed
from pzlib.paths import NAME, locate, root

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


# On how many processes a run is computed, what each of them holds, and how it is watched: no part of what a run is.
HOW = ("processes", "sharding", "watchdog_minutes")



def by_tier(plain=None):
    """A field whose default is its tier's value, filled in by `Run.__post_init__`; `plain` where the tier has none."""
    return field(default=None, metadata={"plain": plain})



@dataclass(frozen=True)
class Run:
    """Every setting of one run; a setting left out takes its tier's default.

    Units: tokens are the model's, rows are completions, a step is one optimizer step over all processes.
    Raises ValueError naming the setting and the remedy: unknown names, wrong types, impossible values.

    >>> run = Run(tier="mini", seed=2)
    >>> run.steps, run.group, run.groups_per_block, run.rows_per_step
    (200, 8, 9, 288)
    >>> Run(sed=2)
    Traceback (most recent call last):
    ValueError: sed: no such setting of a run; did you mean seed?
    """

    tier: str = "mini"
    objective: str = "pretrainzero"
    seed: int = 0
    model: str = by_tier()  # a folder (relative ones are looked for in the repository first) or a hub name
    corpus: str = by_tier()  # whatever pzlib.corpus.passages.load_passages takes
    corpus_limit: int = by_tier()  # passages
    min_tokens: int = by_tier()  # of a passage
    max_tokens: int = by_tier()
    corpus_config: str = by_tier()  # of a hub data set ("20231101.en"); "" = its only one
    corpus_column: str = "text"
    question_column: str = "question"  # of a problem set (rlvr); "a.b" is the field b of the column a
    answer_column: str = "answer"
    solutions: str = by_tier("")  # of mixed_sft: a problem set with worked solutions, which are learned
    solution_column: str = "solution"
    template: str = by_tier()
    mask_rule: str = "all"  # PretrainZero section 4.4
    span_words: int = by_tier()  # most words of a random span
    min_context: int = by_tier()  # tokens that stand before a next-token target at least
    entropy_model: str = by_tier("policy")  # of entropy_next_token, rpt: policy, base, folder or hub name of a proxy
    entropy_top: int = 16  # of rpt: the entropy is that of so many most likely tokens
    entropy_threshold: float = by_tier(0.0)  # of rpt: positions below it, in nats, are no targets
    rpt_template: str = "v0"
    rpt_reward: str = "prefix"
    ema: float = 0.999  # of rlp: how much of itself the baseline keeps at each step
    generator_reward: str = "zero_rule"  # PretrainZero eq. 9; the others are ablations, see pzlib.rewards
    generator_every: int = 1  # the generator's rows are in the loss at every so many-th step; 0: at none
    random_span_steps: int = 0  # steps of random spans before the generator plays (the paper's SmolLM3: 100)
    verifier: str = by_tier("exact")  # of rlvr: equal strings, or math-verify in processes of its own
    length_penalty: float = by_tier(0.0)  # rlvr: off a right answer's reward for each token longer or shorter, up to 10
    no_answer_reward: float = by_tier(0.0)  # rlvr: of a completion without an answer
    filter: str = by_tier("drop")  # DAPO's, of groups whose accuracy is 0 or 1
    dynamic_from: int = by_tier(0)  # the step from which the filter is `refill` whatever it was before; 0: never
    steps: int = by_tier()
    passages: int = by_tier()  # a step, all processes together; of rlvr: problems
    group: int = by_tier()  # G: masks a passage, and predictions a mask
    learning_rate: float = by_tier()
    schedule: str = by_tier()
    warmup_steps: int = by_tier()
    temperature: float = by_tier(1.0)
    top_p: float = 1.0
    max_prompt_tokens: int = by_tier()
    max_completion_tokens: int = by_tier()
    clip_low: float = by_tier(0.2)
    clip_high: float = by_tier(0.28)
    clip_dual: float = by_tier(0.0)  # largest ratio where the advantage is negative; 0: no bound
    kl: float = by_tier(0.0)  # weight of the KL term against the start
    entropy_bonus: float = by_tier(0.0)
    max_grad_norm: float = by_tier(1.0)
    weight_decay: float = by_tier(0.0)
    drop_rows: bool = by_tier(True)  # rows of zero advantage skip forward and backward; the gradient stays the same
    micro_batch_rows: int = by_tier()  # rows of one forward and backward
    dtype: str = by_tier()
    use_vllm: bool = False  # needs the extra `vllm`
    vllm_mode: str = "colocate"  # in the training process, or "server": on GPUs of its own, `python -m pzlib serve`
    vllm_memory: float = 0.3  # share of a GPU's memory that a colocated engine takes
    vllm_server: str = "127.0.0.1:8000"  # host and port of the server
    processes: int = 1  # of this machine, one a GPU where it has some: `accelerate launch` in `pzlib.engine.processes`
    sharding: str = "ddp"  # what each of them holds of weights and optimizer: all of it, or by FSDP or ZeRO its share
    watchdog_minutes: float = 60.0  # without any part of a step ended: the run fails, with its stacks; 0: never
    lora_rank: int = 0  # of adapters at all linear layers, which alone are trained; 0: all weights are
    lora_alpha: int = 0  # they count lora_alpha / lora_rank times; 0: twice
    eval_every: int = by_tier()  # steps; 0 = before and after only
    eval_items: int = by_tier()  # per TinyBench task
    save_every: int = by_tier()  # steps
    name: str = ""  # the run folder's name; "" derives it from the settings

    def __new__(cls, *args, **settings):
        refuse_unknown(settings, [f.name for f in fields(cls)], "setting of a run")
        return super().__new__(cls)

    def __post_init__(self):
        typed("tier", self.tier, str)
        if self.tier not in TIERS:
            raise ValueError(f"tier: {self.tier!r} is not a tier; {near_names(self.tier, TIERS)}")
        own = defaults(self.tier, self.objective)
        for f in fields(self):
            value = getattr(self, f.name)
            if value is None:
                value = own.get(f.name, f.metadata.get("plain"))
            object.__setattr__(self, f.name, typed(f.name, value, f.type))
        check(self)

    @classmethod
    def from_dict(cls, settings):
        """The Run of `to_dict()`; unknown names are refused as everywhere.

        >>> run = Run(tier="smoke")
        >>> Run.from_dict(run.to_dict()) == run
        True
        """
        return cls(**settings)

    def to_dict(self):
        """All settings by name, resolved: plain JSON values."""
        return asdict(self)

    @property
    def run_id(self):
        """The run folder's name: `name`, or objective, tier, seed and 8 hex digits that hash the settings.

        A setting at its plain default is left out of the hash, but for those that every tier names: so a setting
        added later leaves the names, and with them the stored results, of earlier runs as they are. Left out too is
        how a run is computed (`HOW`): it can go on in another way.
        """
        if self.name:
            return self.name
        values = {f.name: (getattr(self, f.name), f.metadata.get("plain", f.default)) for f in fields(self)}
        told = {name: value for name, (value, plain) in values.items() if value != plain and name not in HOW}
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        return f"{self.objective}-{self.tier}-s{self.seed}-{digest[:8]}"

    @property
    def folder(self):
        return root() / "data" / "runs" / self.run_id

    @property
    def groups_per_block(self):
        """Groups of one passage: G of predictions, and before them the group of masks if there is one; 1 of a problem,
        and 1 of thoughts."""
        if self.objective in ("rlvr", "rlp"):
            return 1
        return self.group + (self.objective == "pretrainzero")

    @property
    def rows_per_step(self):
        """Completions of one step, all processes: PretrainZero's 32 x (1 + 8) x 8 = 2,304.

        Supervised objectives see one row for each mask that the others predict G times: passages x G.
        """
        if self.objective in SUPERVISED:
            return self.passages * self.group
        return self.passages * self.groups_per_block * self.group

    @property
    def model_source(self):
        """`model` as transformers takes it: an absolute folder where there is one, else the hub name.

        A run's id stands for the model that the run ended with, `id@step` for the one it kept at that step, or that
        of a checkpoint which is still there.
        """
        run_id, _, step = self.model.partition("@")
        trained = root() / "data/runs" / run_id
        if re.fullmatch(NAME, run_id) and trained.is_dir():
            kept, checkpoint = trained / f"model-{step}", trained / "checkpoints" / f"checkpoint-{step}"
            if step and not kept.is_dir() and (checkpoint / "manifest.json").is_file():  # a whole one
                return str(checkpoint)
            return str(kept if step else trained / "model")
        return locate(self.model)

    @property
    def corpus_source(self):
        """`corpus` as `load_passages` takes it: an absolute path where there is one, else the name."""
        return locate(self.corpus)
