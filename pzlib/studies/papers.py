"""The papers' figures and tables: what each shows, which function draws it, whose rows it takes, who makes them; and
the printed values beside ours. Left out: pictures of ideas and prompts (PretrainZero's Figs. 1, 2, 4, 5, RPT's 1 to 3,
RLP's 1), and RLP's Fig. S.1 and Table S.7, whose content is not known to us."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd

from pzlib.evaluation.benchmarks import BENCHMARKS
from pzlib.studies import arms_of, left_out, metrics, select, study_of
from pzlib.studies.claims import NAMES, as_markdown, reported
from pzlib.studies.tables import interval
from pzlib.tiers import NINE, WORLDS

REAL = ("gpu", "paper")
ALL = ("smoke", "mini", *REAL)
EQUAL = "equal tokens"  # a moment: as `pzlib.studies.metrics.equal_tokens`


class Curve(NamedTuple):
    """One panel of curves: its title, what is measured, the study and its arms, and what is printed of their ends.

    what: "curve" (the tier's own, MMLU-Pro), "general", "math" or "length" (of the answers to the curve's questions).
    printed: {arm: (name of a printed table, method, columns whose plain mean it is)}.
    """

    title: str
    what: str
    study: str
    arms: tuple[str, ...]
    printed: dict = {}
    stop: bool = False  # whether the step is marked from which no group has signal


@dataclass(frozen=True)
class Exhibit:
    """A figure or table of a paper. form: the function in `pzlib.figures` that draws it; studies: (name, settings of
    its runs at a real tier), whose rows it takes; asked: of their models afterwards, at a real tier, by
    `pzlib evaluate STUDY --along`; printed: tables of `pzlib.studies.claims.reported`; arms: printed method (or "model:
    method") -> "arm" or "arm@moment" of one of the studies; curves: of `curves_beside`; note: what to mind.
    """

    paper: str
    number: str
    what: str
    form: str
    studies: tuple[tuple[str, dict], ...] = ()
    asked: tuple[str, ...] = ()
    printed: tuple[str, ...] = ()
    arms: dict = field(default_factory=dict)
    curves: tuple[Curve, ...] = ()
    tiers: tuple[str, ...] = ALL
    note: str = ""

    @property
    def name(self) -> str:
        """As a file's name.

        >>> EXHIBITS[0].name
        'pretrainzero_fig_3'
        """
        return f"{self.paper}_{self.number}".lower().replace(". ", "_").replace(" ", "_").replace(".", "_")


# --- What a column of a printed table is ---------------------------------------------------------------------------

TASKS = {  # printed column -> task of the table of scores
    "MMLU-Pro": "mmlu_pro", "SuperGPQA": "supergpqa", "BBEH": "bbeh", "MATH-500": "math500", "MATH500": "math500",
    "Olympiad": "olympiadbench", "Minerva": "minerva", "GSM8K": "gsm8k", "AMC23": "amc23", "AIME24": "aime24",
    "AIME25": "aime25", "MMLU": "mmlu", "GPQA": "gpqa", "MMLU@1[4]": "mmlu_1of4", "MMLU-Pro@1[4]": "mmlu_pro_1of4",
    "GPQA@1[4]": "gpqa_1of4", "easy": "next token, easy", "medium": "next token, medium", "hard": "next token, hard",
}  # fmt: skip
SIX = ("MATH-500", "Olympiad", "Minerva", "GSM8K", "AMC23", "AIME24")
FOUR = ("MATH500", "GSM8K", "AMC23", "Minerva")
AT_FOUR = ("MMLU@1[4]", "MMLU-Pro@1[4]", "GPQA@1[4]")
_RLP = {"Math": FOUR, "Science": AT_FOUR, "Avg": ("Math", "Science")}
# Which columns a printed mean is of. PretrainZero: checked on all rows. RLP's are inferred from its base rows: Table 1's
# Math Avg is printed over 6 (here it is the plain mean of its five), Tables 3 and 4 leave AIME25 out, and their Science
# is of four samples, or of one and of four. What Tables S.3, S.4 and S.6 average is not known: as Table 3.
MEANS = {
    "pretrainzero": {"AVG": SIX, "MATH avg": SIX, "Overall": ("MATH avg", "SuperGPQA", "BBEH", "MMLU-Pro")},
    "rpt": {"Skywork-OR1": SIX},  # its subset is not public: ours are the six of PretrainZero
    "rlp": _RLP,
    "rlp 1": {
        "Math Avg": (*FOUR, "AIME25"), "Science Avg": ("MMLU", "MMLU-Pro", "GPQA"), "Science@1[4]": AT_FOUR,
        "Overall": ("Math Avg", "Science Avg", "Science@1[4]"),
    },
    "rlp 4": _RLP | {
        "Science": ("MMLU", "MMLU-Pro", "GPQA"), "Science@1[4]": AT_FOUR, "Avg": ("Math", "Science", "Science@1[4]")
    },
}  # fmt: skip
MEANS |= {"rlp 2": MEANS["rlp 1"], "rlp S.2": MEANS["rlp 4"]}
MEANS["rlp S.5"] = {**MEANS["rlp 1"], "Avg": MEANS["rlp 1"]["Overall"]}
# In the small world, whose tasks are no benchmarks: the metric that is a column's like.
SMALL = dict.fromkeys(("Overall", "Avg"), "overall")
SMALL |= dict.fromkeys(("MATH avg", "AVG", "Math Avg", "Math", "Skywork-OR1"), "math")
CATEGORIES = {"CS": "computer science", "L&A": "literature and arts"}  # RPT's short names that begin no category
BEFORE, AFTER = ", before RLVR", ", after RLVR"  # how RPT's Table 2 names its columns


def scored(rows: pd.DataFrame, column: str, moment: str = "end", means: dict | None = None) -> pd.Series:
    """What one arm's rows have for a printed column, by seed, in %: of a mean all its parts, or nothing.

    moment: "end" (the last step at which it was asked) or "base" (step 0).

    >>> rows = pd.DataFrame({"seed": 0, "step": [0, 9, 9], "task": ["gsm8k", "gsm8k", "amc23"], "accuracy": 0.5})
    >>> [scored(rows, "both", means={"both": names}).tolist() for names in (["GSM8K", "AMC23"], ["GSM8K", "AIME24"])]
    [[50.0], []]
    """
    for words, when in ((BEFORE, "base"), (AFTER, "end")):
        if column.endswith(words):
            column, moment = column.removesuffix(words), when
    small = set(rows["task"]).isdisjoint(BENCHMARKS)
    if small and column not in TASKS:
        return metrics.values(rows, SMALL[column], moment) if column in SMALL else pd.Series(dtype=float)
    if column in (means or {}):
        parts = [scored(rows, part, moment, means) for part in means[column]]
        return pd.concat(parts, axis=1).dropna().mean(axis=1) if all(map(len, parts)) else pd.Series(dtype=float)
    own = rows[rows["task"].isin(_tasks(column, rows))]
    own = own[own["step"] == 0] if moment == "base" else own[own["step"] > 0]
    last = own[own["step"] == own.groupby("seed")["step"].transform("max")]
    return 100 * last.groupby("seed")["accuracy"].first().rename(None)


def _tasks(column: str, rows: pd.DataFrame) -> list[str]:
    """The task of a column: a benchmark, or a category of one ("MMLU-Pro: Bio" is "mmlu_pro, biology")."""
    whole, colon, short = column.partition(": ")
    if not colon or short == "all":
        return [TASKS.get(whole, whole)]
    begins = f"{TASKS[whole]}, {CATEGORIES.get(short, short).lower()}"
    return [task for task in sorted(set(rows["task"])) if task.startswith(begins)][:1]


def base_of(study: str, tier: str, settings: dict) -> str:
    """The model from which a study's runs start at a tier, as the papers call it.

    >>> base_of("rlvr_after", "paper", {}), base_of("baselines", "paper", {"model": "Qwen/Qwen3-8B-Base"})
    ('R1-Distill-Qwen-14B', 'Qwen3-8B-Base')
    """
    starts = study_of(study).arms
    run = next(run for arm, run in arms_of(study, tier, [0], settings) if "start" not in starts[arm])
    return run.model.rpartition("/")[2].removeprefix("DeepSeek-")


def sources(exhibit: Exhibit, tier: str, settings: dict | None = None) -> list[tuple[str, dict]]:
    """The (study, settings) of an exhibit that have arms at a tier; `settings` of all their runs go before its own."""
    small, found = WORLDS[tier].small, []
    for study, own in exhibit.studies:
        if not (small and own) and len(left_out(study, tier)) < len(study_of(study).arms):
            found.append((study, own | (settings or {})))
    return found


def beside(exhibit: Exhibit, tables: dict[str, pd.DataFrame], tier: str, settings: dict | None = None) -> pd.DataFrame:
    """A row a model, method and column: `printed` (NaN where nothing is), `ours` by seed (a Series, perhaps empty).

    Ours are in a printed model's rows where they are of that model, else in rows of their own model.
    tables: {"tinybench": ..., "training": ...} of the tier, those that there are.
    """
    (paper, *_), values = exhibit.printed[0].split(), pd.concat(map(reported, exhibit.printed))
    found = {(row.model, row.method, row.benchmark): (row.value, pd.Series(dtype=float)) for row in values.itertuples()}
    means = MEANS.get(exhibit.printed[0], MEANS[paper])
    for study, own in sources(exhibit, tier, settings) if len(tables.get("tinybench", ())) else ():
        rows = select(tables["tinybench"], study, tier, settings=own)
        base = base_of(study, tier, own)
        for key, place in exhibit.arms.items():
            (arm, _, moment), (trained, _, method) = place.partition("@"), key.rpartition(": ")
            theirs = rows[rows["arm"] == arm]
            if moment == EQUAL and len(theirs):
                training = select(tables["training"], study, tier, settings=own)
                theirs, moment = metrics.equal_tokens(rows, training).query("arm == @arm"), "end"
            known = base in set(values["model"]) or (trained and base in HOME)
            model = (trained or base) if known else "" if {*values["model"]} == {""} and tier == "paper" else base
            for column in dict.fromkeys(values["benchmark"]) if len(theirs) else ():
                if len(scores := scored(theirs, column, moment or "end", means)):
                    at = (model, method if known else key, column)
                    found[at] = (found.get(at, (float("nan"),))[0], scores)
    lines = [(*at, printed, ours) for at, (printed, ours) in found.items()]
    return pd.DataFrame(lines, columns=["model", "method", "column", "printed", "ours"])


HOME = ("R1-Distill-Qwen-14B",)  # bases whose trained models the paper calls by names of their own ("RPT-14B: ...")


def shown(table: pd.DataFrame) -> str:
    """Markdown of `beside`: a row a model and method, in a cell "printed | ours [interval]"."""
    columns, lines = list(dict.fromkeys(table["column"])), []
    for (model, method), rows in table.groupby(["model", "method"], sort=False):
        own = rows.set_index("column")
        lines.append([model, method, *(cell(own.loc[name]) if name in own.index else "" for name in columns)])
    return as_markdown(["model", "method", *columns], lines).replace(" & ", " / ")


def cell(row: pd.Series) -> str:
    """The printed value and ours.

    >>> cell(pd.Series({"printed": 39.61, "ours": pd.Series(dtype=float)}))
    '39.61 & not run'
    """
    printed = "–" if pd.isna(row["printed"]) else f"{row['printed']:g}"
    return f"{printed} & {interval(row['ours'])}"


# --- The list ------------------------------------------------------------------------------------------------------

_LADDER = {name: name for name in ("continued_pretraining", "sft", "random_span", "pretrainzero")}
_LADDER = {"base": "pretrainzero@base"} | _LADDER
_FOUR_MODELS = (
    ("baselines", {}), ("baselines", {"model": "Qwen/Qwen3-8B-Base"}), ("baselines_small", {}),
    ("baselines", {"model": "Qwen/Qwen3-30B-A3B-Base"}),
)  # fmt: skip
_AFTER = {
    "base + rlvr": "from the base",
    "random_span, 2000 steps + rlvr": "from random spans",
    "pretrainzero, 1000 steps + rlvr": "from PretrainZero, half way",
    "pretrainzero, 2000 steps + rlvr": "from PretrainZero",
}
_POST = {
    "base": "rlp@base", "cpt": "continued_pretraining", "rlp": "rlp", "base + post": "from the base",
    "cpt + post": "from continued pretraining", "rlp + post": "from RLP",
}  # fmt: skip
_THINKS = {  # RPT's rows: the base and RPT, each after a reasoning
    "R1-Distill-Qwen-14B: reasoning": "rpt, clean text@base", "RPT-14B: reasoning": "rpt, clean text"
}  # fmt: skip
_MATH = ("math500", "gsm8k", "amc23", "minerva")
_SCIENCE = ("mmlu", "mmlu_pro", "gpqa", "mmlu_1of4", "mmlu_pro_1of4", "gpqa_1of4")
_RLP_ASKED, _CURVE = (*_MATH, *_SCIENCE), ("mmlu_pro_tenth",)
_TABLE_1, _TABLE_3 = ("pretrainzero 1", "{}", ("MMLU-Pro",)), ("pretrainzero 3", "{} + rlvr", ("MMLU-Pro",))


def _ends(table, **methods):
    """{arm: the printed MMLU-Pro of a method}; "_" in a keyword is a blank where the arm has one."""
    name, words, columns = table
    return {arm: (name, words.format(method), columns) for arm, method in methods.items()}


_PZ, _RS = "pretrainzero", "random_span"
_MMLU_1 = _ends(_TABLE_1, pretrainzero=_PZ, random_span=_RS)
_MMLU_3 = _ends(_TABLE_3, **{
    "from the base": "base", "from random spans": "random_span, 2000 steps",
    "from PretrainZero, half way": "pretrainzero, 1000 steps", "from PretrainZero": "pretrainzero, 2000 steps",
})  # fmt: skip
_GENERAL = {arm: ("pretrainzero 1", arm, ("SuperGPQA", "BBEH", "MMLU-Pro")) for arm in (_PZ, _RS)}
_AVG = {arm: ("pretrainzero 2", arm, ("AVG",)) for arm in (_PZ, _RS)}
_RLVR_ARMS = tuple(_AFTER.values())
_NTP = "random_next_token"


def _sizes(number, what, *studies, note=""):
    """A table of RLP's appendix whose rows are arms of studies, by their own names."""
    arms = {arm: arm for study in studies for arm in study_of(study).arms}
    arms |= {"base": f"{next(iter(arms))}@base"}
    printed = (f"rlp {number.removeprefix('Table ')}",)
    return Exhibit(
        "rlp", number, what, "table_beside", tuple((study, {}) for study in studies), _RLP_ASKED, printed, arms,
        tiers=ALL if any(set(study_of(study).arms) - {*study_of(study).real} for study in studies) else REAL, note=note,
    )  # fmt: skip


def _of_model(number, what, model, **more):
    """A table of RLP on another model: the study rlp with it."""
    own = Exhibit(
        "rlp", number, what, "table_beside", (("rlp", {"model": model}),), _RLP_ASKED,
        (f"rlp {number.removeprefix('Table ')}",), {"base": "rlp@base", "rlp": "rlp"}, tiers=REAL, **more,
    )  # fmt: skip
    return own


_NEMOTRON = "nvidia/NVIDIA-Nemotron-Nano-12B-v2-Base"
EXHIBITS = (
    Exhibit(
        _PZ, "Fig. 3", "MMLU-Pro by step for the passive rules, with the step at which nothing is left to learn",
        "curves_beside", (("collapse", {}),), _CURVE, curves=(
            Curve("Random tokens and spans", "curve", "collapse", (_NTP, _RS), _ends(_TABLE_1, random_span=_RS)),
            Curve("Random and uncertain tokens", "curve", "collapse", (_NTP, "entropy_next_token"), stop=True),
        ),
    ),
    Exhibit(
        _PZ, "Fig. 6", "entropy, response length and reward by step", "training_dynamics", (("baselines", {}),),
        note="its curves are known as images only",
    ),
    Exhibit(
        _PZ, "Fig. 7", "general and math means by step, answer length on a fixed tenth of MMLU-Pro", "curves_beside",
        (("baselines", {}),), (*NINE, *_CURVE), curves=(
            Curve("General", "general", "baselines", (_RS, _PZ), _GENERAL),
            Curve("Math", "math", "baselines", (_RS, _PZ), _AVG),
            Curve("Answer length", "length", "baselines", (_RS, _PZ)),
        ), note="which tenth is not known: ours is drawn by a seeded hash, category by category",
    ),
    Exhibit(
        _PZ, "Fig. 8", "one passage and what models answer to it", "casebook", (("baselines", {}),),
        note="any passage, target and models: `pzlib.evaluation.cases.of_passage`; the paper's passage is not in full in "
        "our notes",
    ),
    Exhibit(
        _PZ, "Fig. 9", "MMLU-Pro and answer length along RLVR, by start", "curves_beside", (("rlvr", {}),), _CURVE,
        curves=(
            Curve("Three starts", "curve", "rlvr", (*_RLVR_ARMS[:2], _RLVR_ARMS[3]), _MMLU_3),
            Curve("Half and whole", "curve", "rlvr", (_RLVR_ARMS[0], *_RLVR_ARMS[2:]), _MMLU_3),
            Curve("Answer length", "length", "rlvr", _RLVR_ARMS),
        ),
    ),
    Exhibit(
        _PZ, "Fig. 10", "MMLU-Pro by step: MathPile or Wikipedia; which occurrences a mask hides", "curves_beside",
        (("domain", {}), ("mask_rule", {})), _CURVE, curves=(
            Curve("Text", "curve", "domain", (_PZ, f"{_PZ}, TinyMath"), _MMLU_1),
            Curve(
                "Rule", "curve", "mask_rule", ("all occurrences", "one mask", "whole words"),
                _ends(_TABLE_1, **{"all occurrences": _PZ}),
            ),
        ), note="at real tiers the mathematical text is MathPile; whether the paper trained PretrainZero or random spans "
        "on it is not stated",
    ),
    Exhibit(
        _PZ, "Table 1", "general benchmarks by model and method", "table_beside", _FOUR_MODELS, NINE,
        ("pretrainzero 1",), _LADDER,
    ),
    Exhibit(
        _PZ, "Table 2", "math benchmarks by model and method", "table_beside", _FOUR_MODELS, NINE,
        ("pretrainzero 2",), _LADDER,
    ),
    Exhibit(
        _PZ, "Table 3", "general benchmarks after RLVR", "table_beside", (("rlvr", {}),), NINE, ("pretrainzero 3",),
        _AFTER,
    ),
    Exhibit(
        _PZ, "Table 4", "math benchmarks after RLVR", "table_beside", (("rlvr", {}),), NINE, ("pretrainzero 4",),
        _AFTER, note="the printed row of random spans is Table 2's, from before RLVR",
    ),
    Exhibit(
        "rpt", "Table 1", "next-token accuracy on held-out text by split", "table_beside", (("rpt", {}),),
        ("next_tokens",), ("rpt 1",), _THINKS | {"R1-Distill-Qwen-14B: next token": "rpt, clean text@outright"},
        note="on 200 passages of OmniMATH that the run does not read",
    ),
    Exhibit(
        "rpt", "Fig. 4", "the same, before and after, both ways", "next_tokens_beside", (("rpt", {}),),
        ("next_tokens",), ("rpt 1",), _THINKS,
    ),
    Exhibit(
        "rpt", "Fig. 5", "next-token accuracy by RL compute, with the law that fits it", "scaling", (("rpt", {}),),
        ("next_tokens",), note="its points are known as an image only",
    ),
    Exhibit(
        "rpt", "Fig. 6", "share of responses with a keyword, by group", "keyword_bars", (("rpt", {}),),
        note="from a file of completions: `pzlib run 07 -p transcripts FILE`",
    ),
    Exhibit(
        "rpt", "Table 2", "RLVR from the base, from next-token training and from RPT", "table_beside",
        (("rlvr_after", {}),), NINE, ("rpt 2",), {
            "R1-Distill-Qwen-14B: base": "from the base",
            "R1-Distill-Qwen-14B: continual next-token training": "from continued pretraining",
            "RPT-14B: rpt": "from RPT",
        }, note="the paper's 200 problems of Skywork-OR1 are not listed: ours is the mean of six math benchmarks",
    ),
    Exhibit(
        "rpt", "Table 3", "SuperGPQA and MMLU-Pro, zero-shot", "table_beside", (("rpt", {}),),
        ("supergpqa", "mmlu_pro"), ("rpt 3",), _THINKS, note="scores without a reasoning are not asked",
    ),
    Exhibit(
        "rpt", "Tables 6-7", "the same by category", "table_beside", (("rpt", {}),), ("supergpqa", "mmlu_pro"),
        ("rpt 6-7",), _THINKS, tiers=REAL, note="scores without a reasoning are not asked",
    ),
    Exhibit(
        "rlp", "Table 1", "benchmarks before and after the same post-training", "table_beside",
        (("rlp", {}), ("rlvr_after_rlp", {})), (*_RLP_ASKED, "aime25"), ("rlp 1",), _POST,
        note="its printed Math Avg is a sum of five over 6, ours their mean; post-training is RLVR here, where the paper "
        "has SFT and RLVR",
    ),
    Exhibit(
        "rlp", "Table 2", "the same on a hybrid model of 12B", "table_beside",
        (("rlp", {"model": _NEMOTRON}), ("rlvr_after_rlp", {"model": _NEMOTRON})), (*_RLP_ASKED, "aime25"),
        ("rlp 2",), _POST, tiers=REAL, note="the paper starts from a checkpoint that is not public; RLP needs whole "
        "weights on each GPU, which 8 of 80 GB have no room for at this size",
    ),
    Exhibit(
        "rlp", "Table 3", "RLP beside RPT at equal text and at equal compute", "table_beside", (("rlp_rpt", {}),),
        _RLP_ASKED, ("rlp 3",), {
            "base": "rlp@base", "rpt, token-matched": "rpt", "rlp, token-matched": "rlp",
            "rpt, FLOP-matched": f"rpt@{EQUAL}", "rlp, FLOP-matched": f"rlp@{EQUAL}",
        }, note="equal compute: as many tokens of prompts and completions",
    ),
    _sizes("Table 4", "RLP on other corpora", "rlp_corpora",
           note="its other corpora are not public, or not as plain text: `-p corpus FILE` of the study rlp reads any"),
    Exhibit(
        "rlp", "Fig. 2", "mean accuracy by rollouts, length of a thought and KL", "ablation_beside",
        tuple((study, {}) for study in ("rlp_rollouts", "rlp_thoughts", "rlp_kl")), _RLP_ASKED, ("rlp S.1",),
        note="one picture a study; its math and science panels are not printed",
    ),
    _sizes("Table S.1", "the same as a table", "rlp_rollouts", "rlp_thoughts", "rlp_kl"),
    Exhibit(
        "rlp", "Table S.2", "only math, only science, both", "table_beside", (), _RLP_ASKED, ("rlp S.2",), tiers=(),
        note="the two halves of its corpus are not known: `-p corpus FILE` of the study rlp reads any",
    ),
    _of_model("Table S.3", "RLP on a model of 14B", "Qwen/Qwen3-14B-Base"),
    Exhibit(
        "rlp", "Table S.4", "RLP on an early checkpoint", "table_beside", (), _RLP_ASKED, ("rlp S.4",), tiers=(),
        note="the checkpoint is not public",
    ),
    _sizes("Table S.5", "continued pretraining on longer rows", "rlp_context",
           note="a row is one passage here and never packed: it needs a corpus of long texts"),
    _sizes("Table S.6", "how slow a baseline", "rlp_ema", note="what it averages is not known: as Table 3"),
    Exhibit(
        "rlp", "Table S.8", "perplexity of held-out text before and after", "perplexities", (("rlp", {}),),
        printed=("rlp S.8",), note="`pzlib run 10` measures it, at real tiers on text that the run does not read",
    ),
)  # fmt: skip


def commands(exhibit: Exhibit, tier: str = "paper") -> list[str]:
    """The commands that make an exhibit's rows at a tier; none where it cannot be made there.

    >>> commands(EXHIBITS[0])
    ['pzlib study collapse --tier paper', 'pzlib evaluate collapse --along --tier paper --tasks mmlu_pro_tenth']
    """
    if tier not in exhibit.tiers:
        return []
    lines, small = [], WORLDS[tier].small
    for study, own in sources(exhibit, tier):
        given = "".join(f" -p {name} {value}" for name, value in own.items())
        lines.append(f"pzlib study {study} --tier {tier}{given}")
        if exhibit.asked and not small:
            lines.append(f"pzlib evaluate {study} --along --tier {tier}{given} --tasks {' '.join(exhibit.asked)}")
    return lines


HEAD = """# The papers' figures and tables

`pzlib figures --papers` prints this list and draws each entry of a tier into `figures/papers`; `pzlib figures --papers --tier paper` does
it for the papers' settings. What has no rows is drawn with the printed values alone, marked *not run*. Values are printed where the paper prints
them; curves that are images have none. This page is written by the same command.

Three steps make an entry: the commands of its row below, then `pzlib results`, then `pzlib figures --papers --tier paper`. `--seeds 0` makes
one seed, as the papers have; for the tier `gpu` write `--tier gpu`. In the small world the first command is enough, with `--tier mini`, and
TinyBench takes the place of the benchmarks. *Not run*: every entry at the tiers `gpu` and `paper`.

| figure | shows | drawn by | tiers | rows at `paper` | note |
|---|---|---|---|---|---|
"""


def markdown() -> str:
    """docs/papers_figures.md."""
    lines = []
    for one in EXHIBITS:
        rows = "<br>".join(f"`{line}`" for line in commands(one)) or "–"
        tiers = ", ".join(one.tiers) or "none"
        lines.append(f"| {NAMES[one.paper]} {one.number} | {one.what} | `{one.form}` | {tiers} | {rows} | {one.note} |")
    return HEAD + "\n".join(lines) + "\n"
