"""What a run is: every setting of it, with its tier's defaults, checked before anything heavy is loaded.
Leaves out several updates a batch: one on-policy update a step is what all of it is written for."""

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from pzlib.allowed import NAME, SUPERVISED, check
from pzlib.refusals import near_names, refuse_unknown, typed
from pzlib.tiers import TIERS, defaults

REPO = Path(__file__).resolve().parent.parent  # what is shipped: data/tinybase, notebooks
ROOT = Path(os.environ.get("PZLIB_HOME") or REPO).resolve()  # what is written: data/runs

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
    corpus: str = by_tier()  # whatever pzlib.corpus.load_passages takes
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
    processes: int = 1  # of this machine, one a GPU where it has some: `accelerate launch` in `pzlib.launch`
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
            kept, checkpoint = trained / f"model-{step}", trained / "checkpoints" / f"checkpoint-{step}"
            if step and not kept.is_dir() and (checkpoint / "manifest.json").is_file():  # a whole one
                return str(checkpoint)
            return str(kept if step else trained / "model")
        return locate(self.model)

    @property
    def corpus_source(self):
        """`corpus` as `load_passages` takes it: an absolute path where there is one, else the name."""
        return locate(self.corpus)


def misspelt(name):
    """Why `name`, which is no path, can be no hub name either: words with a remedy; None where it may be one.

    Asked before the hub is, which takes its time to say no.

    >>> misspelt("data/tinybse"), misspelt("Qwen/Qwen3-4B-Base")
    ('there is no data/tinybse; did you mean tinybase or tinybase_small?', None)
    """
    run_id = name.partition("@")[0]
    if re.fullmatch(r".+-(smoke|mini|gpu|paper)-s\d+(-\w+)?", run_id) and not (ROOT / "data/runs" / run_id).is_dir():
        return "no run of that name is in data/runs"
    head, _, tail = name.rpartition("/")
    inside = [base / head for base in (ROOT, REPO) if head and (base / head).is_dir()]
    if inside:
        return f"there is no {name}; {near_names(tail, sorted(path.name for path in inside[-1].iterdir()))}"
    return None


def locate(name):
    """An existing path as an absolute string, looked for under ROOT, the repository, the working directory.

    A notebook's working directory depends on who started it, so it comes last; a name that is no path there
    (a hub name, a corpus of ours) comes back unchanged.
    """
    for base in (ROOT, REPO, Path.cwd()):
        if (base / name).exists():
            return str((base / name).resolve())
    return name
