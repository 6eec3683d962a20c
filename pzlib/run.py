"""What a run is: every setting of it, with its tier's defaults, checked before anything heavy is loaded.
Leaves out several updates a batch: one on-policy update a step is what all of it is written for."""

import difflib
import hashlib
import json
import math
import os
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from pzlib.tiers import TIERS, defaults

REPO = Path(__file__).resolve().parent.parent  # what is shipped: data/tinybase, notebooks
ROOT = Path(os.environ.get("PZLIB_HOME") or REPO).resolve()  # what is written: data/runs

PASSIVE = ("random_span", "random_next_token", "entropy_next_token")  # no generator: targets drawn by a rule
SUPERVISED = ("sft", "continued_pretraining")  # no rollouts either

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
}
# The smallest value that means something; a name ending in ">" must be greater than its bound.
LOWEST = {
    "seed": 0, "corpus_limit": 1, "min_tokens": 1, "max_tokens": 1, "span_words": 1, "min_context": 1,
    "random_span_steps": 0, "generator_every": 0, "steps": 1, "passages": 1, "group": 2,
    "learning_rate>": 0, "warmup_steps": 0, "temperature>": 0, "top_p>": 0,
    "max_prompt_tokens": 1, "max_completion_tokens": 1, "clip_low>": 0, "clip_high>": 0, "clip_dual": 0,
    "max_grad_norm>": 0, "kl": 0, "entropy_bonus": 0, "length_penalty": 0, "weight_decay": 0,
    "entropy_top": 2, "entropy_threshold": 0, "dynamic_from": 0, "ema>": 0,
    "micro_batch_rows": 1, "eval_every": 0, "eval_items": 1, "save_every": 1,
}  # fmt: skip

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"  # of a run's folder


def by_tier(plain=None):
    """A field whose default is its tier's value, filled in by `Run.__post_init__`; `plain` where the tier has none."""
    return field(default=None, metadata={"plain": plain})


def near_names(name, known):
    """Words that help after an unknown name: its nearest known ones, or else all of them.

    >>> near_names("sed", ["seed", "steps"])
    'did you mean seed?'
    >>> near_names("zzz", ["seed", "steps"])
    'known: seed, steps'
    """
    near = difflib.get_close_matches(name, list(known), n=3)
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"


def typed(name, value, want):
    """`value` as the type `want` (bool, int, float or str), or a ValueError that names the setting.

    An int is fine where a float is wanted; a bool is no number and a string is never converted.

    >>> typed("temperature", 1, float)
    1.0
    >>> typed("learning_rate", "1e-6", float)
    Traceback (most recent call last):
    ValueError: learning_rate: wants a float, got the str '1e-6'; write it without quotes
    """
    if want is float and type(value) is int:
        return float(value)
    if type(value) is want:
        return value
    remedy = "; write it without quotes" if isinstance(value, str) else ""
    article = "an" if want is int else "a"
    got = f"the {type(value).__name__} {value!r}"
    raise ValueError(f"{name}: wants {article} {want.__name__}, got {got}{remedy}")


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
    corpus: str = by_tier()  # whatever pzlib.corpus.load_passages takes
    corpus_limit: int = by_tier()  # passages
    min_tokens: int = by_tier()  # of a passage
    max_tokens: int = by_tier()
    corpus_config: str = by_tier()  # of a hub data set ("20231101.en"); "" = its only one
    corpus_column: str = "text"
    question_column: str = "question"  # of a problem set (rlvr); "a.b" is the field b of the column a
    answer_column: str = "answer"
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
        self._check_values()

    def _check_values(self):
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: {getattr(self, name)!r} is not one of {', '.join(allowed)}")
        for key, bound in LOWEST.items():
            name, above = key.rstrip(">"), key.endswith(">")
            value = getattr(self, name)
            if not math.isfinite(value) or value < bound or (above and value == bound):
                raise ValueError(f"{name}: must be {'above' if above else 'at least'} {bound}, got {value}")
        if self.top_p > 1:
            raise ValueError(f"top_p: must be at most 1 (1 = sample from every token), got {self.top_p}")
        if self.clip_dual and self.clip_dual <= 1 + self.clip_high:
            raise ValueError(f"clip_dual: {self.clip_dual} is within the clip range; give 0, or above 1 + clip_high")
        if self.no_answer_reward > 0 or not math.isfinite(self.no_answer_reward):
            raise ValueError(f"no_answer_reward: {self.no_answer_reward} would pay for silence; give 0 or less")
        if self.ema >= 1:
            raise ValueError(f"ema: must be below 1 (at 1 the baseline never moves), got {self.ema}")
        if self.clip_low >= 1:
            raise ValueError(f"clip_low: must be below 1 (the floor is 1 - clip_low), got {self.clip_low}")
        if self.min_tokens > self.max_tokens:
            raise ValueError(f"min_tokens: {self.min_tokens} is above max_tokens {self.max_tokens}")
        for name in ("model", "corpus", "corpus_column", "entropy_model", "question_column", "answer_column"):
            if not getattr(self, name).strip():
                raise ValueError(f"{name}: is empty; leave it out to take the tier's default")
        if self.random_span_steps > self.steps:
            raise ValueError(f"random_span_steps: {self.random_span_steps} is above steps {self.steps}")
        if self.name and not re.fullmatch(NAME, self.name):
            raise ValueError(f"name: {self.name!r} is no folder name; use letters, digits, '.', '_' and '-'")

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
        added later leaves the names, and with them the stored results, of earlier runs as they are.
        """
        if self.name:
            return self.name
        values = {f.name: (getattr(self, f.name), f.metadata.get("plain", f.default)) for f in fields(self)}
        told = {name: value for name, (value, plain) in values.items() if value != plain}
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        return f"{self.objective}-{self.tier}-s{self.seed}-{digest[:8]}"

    @property
    def folder(self):
        return ROOT / "data" / "runs" / self.run_id

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
        trained = ROOT / "data/runs" / run_id
        if re.fullmatch(NAME, run_id) and trained.is_dir():
            checkpoint = trained / "checkpoints" / f"checkpoint-{step}"
            return str(checkpoint if checkpoint.is_dir() else trained / (f"model-{step}" if step else "model"))
        return locate(self.model)

    @property
    def corpus_source(self):
        """`corpus` as `load_passages` takes it: an absolute path where there is one, else the name."""
        return locate(self.corpus)


def refuse_unknown(given, known, what):
    """ValueError for the first name of `given` that is not in `known`, with the nearest known ones."""
    for name in given:
        if name not in known:
            raise ValueError(f"{name}: no such {what}; {near_names(name, known)}")


def locate(name):
    """An existing path as an absolute string, looked for under ROOT, the repository, the working directory.

    A notebook's working directory depends on who started it, so it comes last; a name that is no path there
    (a hub name, a corpus of ours) comes back unchanged.
    """
    for base in (ROOT, REPO, Path.cwd()):
        if (base / name).exists():
            return str((base / name).resolve())
    return name
