"""What a run is: every setting of it with its allowed values, and a run's name; a tier's sizes: `pzlib.tiers`.
Leaves out how they are computed: `pzlib.train` makes TRL's arguments of them."""

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass, field, fields
from typing import ClassVar

from pzlib import objectives
from pzlib.engine.memory import shares
from pzlib.errors import near_names, refuse_unknown, typed
from pzlib.objectives.likelihood import LIKELIHOODS
from pzlib.paths import NAME, locate, root
from pzlib.tiers import TIERS, WORLDS

TIER = object()  # the default of a setting that every tier gives


def setting(default, by_tier=False, **bounds):
    """A field of `Run` with what its value may be: `choices`, `at_least`, `above`, `at_most`, `below`, `filled`.

    by_tier: a tier or a method may give another default than the plain `default`; TIER: every tier gives one.
    """
    tiered = by_tier or default is TIER
    plain = None if default is TIER else default
    return field(default=None if tiered else default, metadata={"plain": plain, **bounds})


@dataclass(frozen=True)
class Run:
    """Every setting of one run; a setting left out takes its tier's default.

    Units: tokens are the model's, rows are completions. A step is one batch over all processes: sampled once, then
    learned in `updates_per_batch` optimizer updates, each of an equal part of its rows. Steps, `eval_every`,
    `save_every`, rows of metrics (their loss is the updates' mean, their gradient norm the last one's) count batches.
    Raises ValueError naming the setting and the remedy: unknown names, wrong types, impossible values.

    >>> run = Run(tier="mini", seed=2)
    >>> run.steps, run.group, run.groups_per_block, run.rows_per_step
    (200, 8, 9, 288)
    >>> Run(sed=2)
    Traceback (most recent call last):
    ValueError: sed: no such setting of a run; did you mean seed?
    """

    # On how many processes a run is computed, what each holds, how it is watched, which of its models stay: no part of
    # what a run is.
    HOW: ClassVar = ("processes", "sharding", "watchdog_minutes", "report_to", "keep_every")

    tier: str = setting("mini", choices=tuple(TIERS))
    objective: str = "pretrainzero"  # of `pzlib.objectives.METHODS`
    seed: int = setting(0, at_least=0)
    model: str = setting(TIER, filled=True)  # a folder (relative ones: in the repository first), run id or hub name
    corpus: str = setting(TIER, filled=True)  # whatever pzlib.corpus.load_passages takes
    corpus_limit: int = setting(TIER, at_least=1)  # passages
    min_tokens: int = setting(TIER, at_least=1)  # of a passage
    max_tokens: int = setting(TIER, at_least=1)
    corpus_config: str = setting(TIER)  # of a hub data set ("20231101.en"); "" = its only one
    corpus_split: str = setting("train", by_tier=True, filled=True)  # of a saved or hub data set
    corpus_column: str = setting("text", by_tier=True, filled=True)  # "a.b": a field; "a+b": both, joined
    question_column: str = setting("question", by_tier=True, filled=True)  # of a problem set; "a.b": a field
    answer_column: str = setting("answer", by_tier=True, filled=True)
    solutions: str = setting("", by_tier=True)  # of mixed_sft: a problem set with worked solutions, which are learned
    solution_column: str = "solution"
    held_out: str = ""  # a text, as `corpus`, that is asked along training (`pzlib.evaluation.held_out`)
    template: str = setting(TIER, choices=("tiny", "paper", "three_shot"))  # `pzlib.prompts.TEMPLATES`
    mask_rule: str = setting("all", choices=("all", "one", "words"))  # PretrainZero section 4.4
    max_occurrences: int = setting(7, at_least=1)  # of a span that may be masked: the paper's "fewer than 8"
    span_words: int = setting(TIER, at_least=1)  # most words of a random span
    min_context: int = setting(TIER, at_least=1)  # tokens before a next-token target, at least
    entropy_model: str = setting("policy", by_tier=True, filled=True)  # of entropy_next_token, rpt: policy, base, proxy
    entropy_top: int = setting(16, at_least=2)  # of rpt: the entropy is that of so many most likely tokens
    entropy_threshold: float = setting(0.0, by_tier=True, at_least=0)  # nats; of rpt: positions below are no targets
    rpt_template: str = setting("v0", choices=tuple(f"v{n}" for n in range(7)))
    rpt_reward: str = setting("prefix", choices=("prefix", "first_token", "dense", "conditional_dense"))
    ema: float = setting(0.999, above=0, below=1)  # of rlp: how much of itself the baseline keeps at each step
    # of a prediction: whether it is right, or how likely the target is after the reasoning (objectives/likelihood.py)
    reward: str = setting("exact", by_tier=True, choices=("exact", *LIKELIHOODS, "random", "judge"))
    answer_term: bool = False  # with a likelihood reward, its own gradient on the target too (VeriFree, JEPO)
    debias: bool = False  # with prob or avg_prob, what the start gives the target unreasoned is taken off (RLPR)
    std_filter: float = setting(0.0, at_least=0, below=1)  # groups whose std is below so much of its average (RLPR 0.5)
    talk_tokens: int = setting(4, at_least=1)  # of quiet_star: true tokens that a thought is tried on
    policy_weight: float = setting(1.0, by_tier=True, at_least=0)  # of quiet_star: of REINFORCE beside the prediction
    thought_scale: float = setting(1.0, by_tier=True, above=0)  # of quiet_star: start and end learn so much faster
    middle_weight: float = setting(0.5, at_least=0, at_most=1)  # of rlpt: of MSR beside ASR; not stated
    judge: str = ""  # of rlpt with reward judge: a model, or http://host:port/NAME of an endpoint
    generator_reward: str = setting(  # PretrainZero eq. 9; the others are ablations, see pzlib.rewards
        "zero_rule", choices=("zero_rule", "no_zero_rule", "negative_accuracy", "learnability", "spice")
    )
    generator_every: int = setting(1, at_least=0)  # steps from one training of the generator to the next; 0: never
    random_span_steps: int = setting(0, at_least=0)  # of random spans before the generator plays (SmolLM3: 100)
    verifier: str = setting("exact", by_tier=True, choices=("exact", "math"))  # of rlvr: equal strings, or math-verify
    length_penalty: float = setting(0.0, by_tier=True, at_least=0)  # rlvr: for each token longer or shorter, up to 10
    no_answer_reward: float = setting(0.0, by_tier=True, at_most=0)  # rlvr: of a completion without an answer
    filter: str = setting("drop", by_tier=True, choices=("none", "drop", "refill"))  # DAPO's, of groups without signal
    dynamic_from: int = setting(0, by_tier=True, at_least=0)  # the step from which the filter is `refill`; 0: never
    steps: int = setting(TIER, at_least=1)
    passages: int = setting(TIER, at_least=1)  # a step, all processes together; of rlvr: problems
    group: int = setting(TIER, at_least=2)  # G: masks a passage, and predictions a mask
    updates_per_batch: int = setting(1, by_tier=True, at_least=1)  # with 1 every ratio is 1, and no clip acts
    learning_rate: float = setting(TIER, above=0)
    schedule: str = setting(TIER, choices=("cosine", "constant"))
    warmup_steps: int = setting(TIER, at_least=0)
    temperature: float = setting(1.0, by_tier=True, above=0)
    top_p: float = setting(1.0, above=0, at_most=1)  # 1: from every token
    max_prompt_tokens: int = setting(TIER, at_least=1)
    max_completion_tokens: int = setting(TIER, at_least=1)
    # TRL's dapo (a mean over a step's tokens), grpo (over each sequence's first: PretrainZero eq. 11), dr_grpo, cispo;
    # gspo: grpo with one ratio a sequence
    loss: str = setting("dapo", choices=("dapo", "grpo", "dr_grpo", "gspo", "cispo"))
    # of the generator's GRPO loss beside the predictor's, each over its own tokens; 0: all tokens pooled, as DAPO does
    generator_weight: float = setting(0.0, at_least=0)
    clip_low: float = setting(0.2, by_tier=True, above=0, below=1)  # the floor of a ratio is 1 - clip_low
    clip_high: float = setting(0.28, by_tier=True, above=0)
    clip_dual: float = setting(0.0, by_tier=True, at_least=0)  # largest ratio where the advantage is negative; 0: none
    kl: float = setting(0.0, by_tier=True, at_least=0)  # weight of the KL term against the start
    entropy_bonus: float = setting(0.0, by_tier=True, at_least=0)
    max_grad_norm: float = setting(1.0, by_tier=True, above=0)
    weight_decay: float = setting(0.0, by_tier=True, at_least=0)
    drop_rows: bool = setting(True, by_tier=True)  # rows of zero advantage skip the model; the gradient stays the same
    micro_batch_rows: int = setting(TIER, at_least=1)  # rows of one forward and backward
    dtype: str = setting(TIER, choices=("float32", "bfloat16"))
    use_vllm: bool = False  # needs the extra `vllm`
    vllm_mode: str = setting("colocate", choices=("colocate", "server"))  # server: on GPUs of its own, `pzlib serve`
    vllm_memory: float = setting(0.3, above=0, at_most=1)  # share of a GPU's memory that a colocated engine takes
    vllm_server: str = "127.0.0.1:8000"  # host and port of the server
    processes: int = setting(1, at_least=1)  # of this machine, one a GPU where it has some
    sharding: str = setting("ddp", choices=("ddp", "fsdp", "zero2", "zero3"))  # what each holds: all, or its share
    watchdog_minutes: float = setting(60.0, at_least=0)  # without any part of a step ended: the run fails; 0: never
    # a tracker that gets every step's metrics too; its own package must be installed
    report_to: str = setting("none", choices=("none", "tensorboard", "trackio", "wandb", "mlflow"))
    lora_rank: int = setting(0, at_least=0)  # of adapters at all linear layers, which alone are trained; 0: all weights
    lora_alpha: int = setting(0, at_least=0)  # they count lora_alpha / lora_rank times; 0: twice
    eval_every: int = setting(TIER, at_least=0)  # steps; 0 = before and after only
    eval_items: int = setting(TIER, at_least=1)  # per TinyBench task
    eval_draws: int = setting(1, by_tier=True, at_least=1)  # of 4 answers a question, before and after; along one
    eval_side: str = setting("test", choices=("test", "validation"))  # of the questions; rates are chosen on the second
    save_every: int = setting(TIER, at_least=1)  # steps
    keep_every: int = setting(TIER, at_least=0)  # steps from one kept model to the next; 0: at half only
    name: str = ""  # the run folder's name; "" derives it from the settings

    def __new__(cls, *args, **settings):
        refuse_unknown(settings, [f.name for f in fields(cls)], "setting of a run")
        return super().__new__(cls)

    def __post_init__(self):
        typed("tier", self.tier, str)
        if self.tier not in TIERS:
            raise ValueError(f"tier: {self.tier!r} is not a tier; {near_names(self.tier, TIERS)}")
        typed("objective", self.objective, str)
        own = TIERS[self.tier] | self.method.tiers.get(self.tier, {})
        for f in fields(self):
            value = getattr(self, f.name)
            if value is None:
                value = own.get(f.name, f.metadata.get("plain"))
            object.__setattr__(self, f.name, typed(f.name, value, f.type))
        for f in fields(self):
            _check_bounds(f.name, getattr(self, f.name), f.metadata)
        _check_together(self)
        self.method.check(self)

    @classmethod
    def from_dict(cls, settings):
        """The Run of `to_dict()`; unknown names are refused as everywhere.

        >>> run = Run(tier="smoke")
        >>> Run.from_dict(run.to_dict()) == run
        True
        """
        return cls(**settings)

    @classmethod
    def choices(cls, name):
        """The values that a setting may have, where they are a few.

        >>> Run.choices("mask_rule")
        ('all', 'one', 'words')
        """
        if name == "objective":
            return tuple(method.name for method in objectives.METHODS)
        return cls.__dataclass_fields__[name].metadata["choices"]

    def to_dict(self):
        """All settings by name, resolved: plain JSON values."""
        return asdict(self)

    @property
    def method(self):
        """The class of the run's method, with its facts; see `pzlib.method.Method`."""
        return objectives.method(self.objective)

    @property
    def run_id(self):
        """The run folder's name: `name`, or objective, tier, seed and 8 hex digits that hash the settings.

        A setting at its plain default is left out of the hash, except those that every tier names: so a setting
        added later leaves the names, and with them the stored results, of earlier runs as they are. Left out too is
        how a run is computed (`HOW`): it can go on in another way.
        """
        if self.name:
            return self.name
        values = {f.name: (getattr(self, f.name), f.metadata.get("plain", f.default)) for f in fields(self)}
        hashed = {name: value for name, (value, plain) in values.items() if value != plain and name not in self.HOW}
        digest = hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()
        return f"{self.objective}-{self.tier}-s{self.seed}-{digest[:8]}"

    def differences(self):
        """The settings in which the run differs from the defaults of its tier and method: {name: value}.

        >>> Run(tier="mini", seed=2).differences()
        {'seed': 2}
        """
        usual = Run(tier=self.tier, objective=self.objective).to_dict()
        return {name: value for name, value in self.to_dict().items() if value != usual[name]}

    @property
    def folder(self):
        return root() / "data" / "runs" / self.run_id

    @property
    def groups_per_block(self):
        """Groups of one passage or problem: PretrainZero's 1 of masks and G of predictions."""
        return self.method.groups(self)

    @property
    def rows_per_step(self):
        """Completions of one step, all processes: PretrainZero's 32 x (1 + 8) x 8 = 2,304.

        Supervised methods see one row for each mask that the others predict G times: passages x G.
        """
        return self.passages * self.groups_per_block * (1 if self.method.supervised else self.group)

    @property
    def model_source(self):
        """`model` as transformers takes it: an absolute folder where there is one, else the hub name.

        A run's id means the model that the run ended with, `id@step` the one it kept at that step, or that of a
        checkpoint which is still there.
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


def _check_bounds(name, value, bounds):
    """ValueError, with the remedy, for a value that its setting cannot have, whatever the others are."""
    if "choices" in bounds and value not in bounds["choices"]:
        raise ValueError(f"{name}: {value!r} is not one of {', '.join(bounds['choices'])}")
    if bounds.get("filled") and not value.strip():
        raise ValueError(f"{name}: is empty; leave it out to take the tier's default")
    for word, holds in (
        ("at_least", lambda bound: value >= bound), ("above", lambda bound: value > bound),
        ("at_most", lambda bound: value <= bound), ("below", lambda bound: value < bound),
    ):  # fmt: skip
        if word in bounds and not (math.isfinite(value) and holds(bounds[word])):
            raise ValueError(f"{name}: must be {word.replace('_', ' ')} {bounds[word]}, got {value}")


def _check_together(run):
    """ValueError, with the remedy, for settings that cannot go together."""
    if run.clip_dual and run.clip_dual <= 1 + run.clip_high:
        raise ValueError(f"clip_dual: {run.clip_dual} is within the clip range; give 0, or above 1 + clip_high")
    if run.reward not in run.method.rewards:
        fit = ", ".join(run.method.rewards)
        raise ValueError(f"reward: {run.reward!r} does not fit what {run.objective} asks; it takes {fit}")
    of_likelihoods = [name for name in ("answer_term", "debias", "std_filter") if getattr(run, name)]
    if of_likelihoods and run.reward not in LIKELIHOODS:
        fit = f"set reward to one of {', '.join(LIKELIHOODS)}, or leave it out"
        raise ValueError(f"{of_likelihoods[0]}: belongs to rewards by likelihood; {fit}")
    _check_updates(run)
    if run.eval_side != "test" and not WORLDS[run.tier].small:
        raise ValueError(f"eval_side: the world of {run.tier} has no {run.eval_side} questions; leave it out")
    if run.min_tokens > run.max_tokens:
        raise ValueError(f"min_tokens: {run.min_tokens} is above max_tokens {run.max_tokens}")
    if not re.fullmatch(r"[^\s:/]+:\d+", run.vllm_server):
        raise ValueError(f"vllm_server: wants host:port, such as 127.0.0.1:8000, got {run.vllm_server!r}")
    if run.lora_alpha and not run.lora_rank:
        raise ValueError(f"lora_alpha: {run.lora_alpha} without adapters; give lora_rank too, or leave it out")
    if run.random_span_steps > run.steps:
        raise ValueError(f"random_span_steps: {run.random_span_steps} is above steps {run.steps}")
    if run.name and not re.fullmatch(NAME, run.name):
        raise ValueError(f"name: {run.name!r} is not a folder name; use letters, digits, '.', '_' and '-'")


def _check_updates(run):
    """ValueError for updates without a batch, and a weight that the loss has no place for."""
    if run.updates_per_batch > 1 and run.method.supervised:
        raise ValueError(f"updates_per_batch: {run.objective} samples no batch; set it to 1, and passages lower")
    shares(run)
    if not run.generator_weight:
        return
    if not run.method.has_generator:
        raise ValueError(f"generator_weight: {run.objective} has no generator; leave it out")
    reasons = {
        f"loss {run.loss} is no sum over tokens": run.loss not in ("dapo", "cispo"),
        "a KL term (kl) has no advantage to weight": run.kl, "nor has an entropy_bonus": run.entropy_bonus,
    }  # fmt: skip
    if found := [why for why, holds in reasons.items() if holds]:
        raise ValueError(f"generator_weight: {' and '.join(found)}; leave it out, or take loss dapo without them")
