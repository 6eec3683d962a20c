"""What a tier is: the sizes of its runs, and the world that they read and answer; plain values, no heavy import.
Leaves out what a method sets differently, which is in its file of `pzlib.objectives`."""

from dataclasses import dataclass, field, replace
from functools import partial


@dataclass(frozen=True)
class Text:
    """A corpus as its publisher has it: name (on the hub, a file, or a world of ours), config, split, column.

    column: "a+b" joins two. question, answer: of problems with gold answers (`Questions`) the columns instead. size:
    documents, None where it is not known or endless. note: what to mind.
    """

    name: str
    config: str = ""
    split: str = "train"
    column: str = "text"
    question: str = ""
    answer: str = ""
    size: int | None = None
    note: str = ""

    def settings(self) -> dict:
        """As settings of a Run.

        >>> WORLDS["paper"].clean.settings()["corpus_column"], WORLDS["paper"].problems.settings()["answer_column"]
        ('problem+solution', 'answer')
        """
        columns = {"question_column": self.question, "answer_column": self.answer}
        columns = columns if self.question else {"corpus_column": self.column}
        return {"corpus": self.name, "corpus_config": self.config, "corpus_split": self.split, **columns}


Questions = partial(Text, question="question", answer="answer")


@dataclass(frozen=True)
class World:
    """What a tier's runs start from, read and are asked; every study and notebook takes its models and texts from here.

    base, smaller: models, a folder or a hub name. smaller_settings: what the papers set beside the smaller base, where
    a method has a generator. early: a checkpoint of the base from early in its own pretraining, where there is one
    (RLP, Table S.4). sizes: other bases of the same study. proxies: {model: a smaller one with the same
    tokenizer}, whose entropy can choose tokens. general, mathematical, clean: texts; clean is like RPT's, where high
    entropy is not noise. benchmarks, curve: names of `pzlib.evaluation.benchmarks`, asked at the end and along
    training. hardware: as `pzlib plan` takes it, and how many of it. small: the small world, whose texts and models are
    ours. bases: of the small world, models that differ by seed alone; the first is `base`.
    """

    base: str
    smaller: str
    general: Text
    mathematical: Text
    clean: Text
    problems: Text
    benchmarks: tuple[str, ...]
    curve: str
    hardware: str
    gpus: int
    smaller_settings: dict = field(default_factory=dict)
    early: str = ""
    sizes: tuple[str, ...] = ()
    proxies: dict = field(default_factory=dict)
    small: bool = False
    bases: tuple[str, ...] = ()

    def base_of(self, seed: int) -> str:
        """The base from which a run of that seed starts, where there are two: seeds come in tens, one base each.

        >>> [WORLDS["mini"].base_of(seed) for seed in (4, 10, 100)]
        ['data/tinybase_a', 'data/tinybase_b', 'data/tinybase_a']
        """
        return self.bases[seed // 10 % len(self.bases)] if self.bases else self.base

    @property
    def both(self) -> Text:
        """General and mathematical text in equal shares; only small worlds can be mixed."""
        return Text(f"{self.general.name}+{self.mathematical.name}")


# Two bases from two seeds, so that no verdict hangs on one. Runs read its training side alone.
SMALL_WORLD = World(
    base="data/tinybase_a", smaller="data/tinybase_c_small", bases=("data/tinybase_a", "data/tinybase_b"),
    early="data/tinybase_a_early",
    general=Text("tinywiki"), mathematical=Text("tinymath"), clean=Text("tinywiki_clean"),
    problems=Questions("tinybench"), benchmarks=("tinybench",), curve="tinybench", hardware="cpu", gpus=0, small=True,
)  # fmt: skip

# Hub sets as their cards had them in 2025; what is None or "not known" was looked for and not found.
WIKIPEDIA = Text("wikimedia/wikipedia", "20231101.en", size=6_407_814,
                 note="which dump the paper cut, and how, is not stated")
MATHPILE = Text("GAIR/MathPile", note="gated: accept its licence (CC BY-NC-SA 4.0) on the hub; the paper's subset and "
                "the number of documents are not known")  # fmt: skip
OMNIMATH = Text("KbsdJames/Omni-MATH", split="test", column="problem+solution", size=4428,
                note="its one split is called test; also: domain, difficulty, answer, source")  # fmt: skip
WEBINSTRUCT = Questions("TIGER-Lab/WebInstruct-verified", size=None,
                        note="about 230,000 rows; also: answer_type, category, difficulty; questions without their "
                        "options were amended, the rows as they were are its split train_legacy")  # fmt: skip
# Of methods whose own text is another one: Quiet-STaR's code; what stands in for mixed SFT's solutions
OPENWEBMATH = Text("open-web-math/open-web-math", size=6_315_233, note="also: url, date, metadata")
LIMO = Questions("GAIR/LIMO", size=817, note="also: solution, the long one that is learned")
NINE = ("mmlu_pro", "supergpqa", "bbeh", "math500", "olympiadbench", "minerva", "gsm8k", "amc23", "aime24")
R1 = "deepseek-ai/DeepSeek-R1-Distill-Qwen-{}"

# PretrainZero, section 4.1 (models, SmolLM3's first 100 steps on random spans), its data (texts), Tables 1-2
# (benchmarks); RPT, section 3 (OmniMATH, the proxy that filters tokens); General-Reasoner (WebInstruct-verified).
PAPERS_WORLD = World(
    base="Qwen/Qwen3-4B-Base", smaller="HuggingFaceTB/SmolLM3-3B-Base", smaller_settings={"random_span_steps": 100},
    sizes=("Qwen/Qwen3-8B-Base", "Qwen/Qwen3-30B-A3B-Base"),
    proxies={"Qwen/Qwen3-4B-Base": "Qwen/Qwen3-0.6B-Base", R1.format("14B"): R1.format("1.5B")},
    general=WIKIPEDIA, mathematical=MATHPILE, clean=OMNIMATH, problems=WEBINSTRUCT,
    benchmarks=(*NINE, "aime25"), curve="mmlu_pro_tenth", hardware="h100-80gb", gpus=8,
)  # fmt: skip
# One GPU: ours. The smaller base has no kin with its tokenizer above it, and the base none below it.
ONE_GPU = World(
    base="Qwen/Qwen3-0.6B-Base", smaller="HuggingFaceTB/SmolLM2-360M", smaller_settings={"random_span_steps": 10},
    sizes=("Qwen/Qwen3-1.7B-Base", "HuggingFaceTB/SmolLM3-3B-Base"),
    general=WIKIPEDIA, mathematical=MATHPILE, clean=OMNIMATH, problems=WEBINSTRUCT,
    benchmarks=(*NINE, "aime25"), curve="mmlu_pro_tenth", hardware="h100-80gb", gpus=1,
)  # fmt: skip
# The second base stands in for the smaller and the early one, so that tests need no third.
SMOKE_WORLD = replace(SMALL_WORLD, smaller="data/tinybase_b", early="data/tinybase_b")
WORLDS = {"smoke": SMOKE_WORLD, "mini": SMALL_WORLD, "gpu": ONE_GPU, "paper": PAPERS_WORLD}

# The sizes a run can have. What the papers leave unsaid (warm-up, micro-batches, how Wikipedia is cut) is ours here;
# what a method sets differently is in its file of `pzlib.objectives`.
MINI = {
    # 800 passages: RL reads each once in 200 steps, and what reads more text than RL reads the same text again.
    "model": SMALL_WORLD.base, "corpus": SMALL_WORLD.general.name, "corpus_config": "", "corpus_limit": 800,
    "min_tokens": 16, "max_tokens": 80, "template": "tiny", "span_words": 2, "min_context": 5,
    "steps": 200, "passages": 4, "group": 8, "learning_rate": 3e-4, "schedule": "constant", "warmup_steps": 0,
    "max_prompt_tokens": 96, "max_completion_tokens": 32, "micro_batch_rows": 512, "dtype": "float32",
    "eval_every": 50, "eval_items": 64, "eval_draws": 16, "save_every": 25, "keep_every": 0,
}  # fmt: skip
# Stated in arXiv:2512.03442: model, steps, learning rate and schedule, prompt and completion tokens,
# 32 passages a step, groups of 8. The other values are ours.
PAPER = {
    "model": PAPERS_WORLD.base, "corpus": WIKIPEDIA.name, "corpus_config": WIKIPEDIA.config,
    "corpus_limit": 64_000, "min_tokens": 32, "max_tokens": 1400, "template": "paper", "span_words": 5,
    "min_context": 16, "steps": 2000, "passages": 32, "group": 8, "learning_rate": 5e-7, "schedule": "cosine",
    "warmup_steps": 0,
    "max_prompt_tokens": 1536, "max_completion_tokens": 4096, "micro_batch_rows": 4, "dtype": "bfloat16",
    "eval_every": 100, "eval_items": 256, "save_every": 50, "keep_every": 200,
}  # fmt: skip
# A tier is a size and nothing else: what it does not name here is the same at every tier.
TIERS = {
    "smoke": MINI | {"corpus_limit": 64, "steps": 12, "passages": 2, "group": 4,
                     "eval_every": 0, "eval_items": 16, "eval_draws": 1, "save_every": 6},
    "mini": MINI,
    "gpu": PAPER | {"model": ONE_GPU.base, "corpus_limit": 8000, "steps": 200, "passages": 8,
                    "learning_rate": 1e-6, "max_completion_tokens": 1024, "micro_batch_rows": 8,
                    "eval_every": 50, "keep_every": 25},
    "paper": PAPER,
}  # fmt: skip


def named_at(arm, tier: str):
    """An arm's name, a text with such names, or a table with a column of them, by the text that is read at a tier.

    >>> named_at("pretrainzero, TinyMath", "paper"), named_at("pretrainzero, TinyMath", "mini")
    ('pretrainzero, MathPile', 'pretrainzero, TinyMath')
    """
    if not isinstance(arm, str):
        return arm.assign(arm=[named_at(one, tier) for one in arm["arm"]]) if "arm" in arm else arm
    world = WORLDS[tier]
    return arm if world.small else arm.replace("TinyMath", world.mathematical.name.rpartition("/")[2])
