"""The printed values of a paper's figure or table beside ours: what each of its columns is, whose rows it takes.
Left out: the list of them, which is `pzlib.studies.exhibits`, and how any is drawn."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd

from pzlib.evaluation.benchmarks import BENCHMARKS
from pzlib.studies import arms_of, left_out, metrics, select, study_of
from pzlib.studies.claims import reported
from pzlib.tiers import TIERS, WORLDS

ALL = tuple(TIERS)
DEAD = 0.98  # a share of groups without signal that is all of them, but for chance
EQUAL = "equal tokens"  # a moment: as `pzlib.studies.metrics.equal_tokens`
OUTRIGHT = "outright"  # a moment: step 0, next tokens predicted without a reasoning


class Curve(NamedTuple):
    """One panel of curves: its title, what is measured, the study and its arms, and what is printed of their ends.

    what: "curve" (the tier's own, MMLU-Pro), "general", "math", "length" (of the answers to the curve's questions) or
    "reward" (of training).
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

        >>> Exhibit("rlp", "Table S.1", "", "").name
        'rlp_table_s_1'
        """
        return re.sub(r"\W+", "_", f"{self.paper}_{self.number}".lower())


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
# Which columns a printed mean is of. PretrainZero: checked on all rows. RLP's are inferred from its base rows: Table
# 1's Math Avg is printed over 6 (here it is the plain mean of its five), Tables 3 and 4 leave AIME25 out, and their
# Science is of four samples, or of one and of four. What Tables S.3, S.4 and S.6 average is not known: as Table 3.
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

    moment: "end" (the last step at which it was asked), "base" (step 0) or "outright" (there, without a reasoning).

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
        return pd.concat(parts, axis=1).dropna().mean(axis=1)  # of seeds that were asked for all
    own = rows[rows["task"].isin(_tasks(column, rows, ", direct" * (moment == OUTRIGHT)))]
    own = own[own["step"] > 0] if moment == "end" else own[own["step"] == 0]
    last = own[own["step"] == own.groupby("seed")["step"].transform("max")]
    return 100 * last.groupby("seed")["accuracy"].first().rename(None)


def _tasks(column: str, rows: pd.DataFrame, way: str) -> list[str]:
    """The task of a column: a benchmark, or a category of one ("MMLU-Pro: Bio" is "mmlu_pro, biology")."""
    whole, colon, short = column.partition(": ")
    if not colon or short == "all":
        return [TASKS.get(whole, whole) + way]
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
    """A row per model, method and column: `printed` (NaN where nothing is), `ours` by seed (a Series, perhaps empty).

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


def printed_end(table: str, method: str, columns: tuple[str, ...], model: str = "Qwen3-4B-Base") -> float:
    """What a printed table has for a method: the plain mean of these columns.

    >>> printed_end("pretrainzero 2", "pretrainzero", ("AVG",))
    53.13
    """
    rows = reported(table)
    rows = rows[(rows["model"] == model) & (rows["method"] == method) & rows["benchmark"].isin(columns)]
    return float(rows["value"].mean())


def stops(training: pd.DataFrame, share: float = DEAD) -> dict[tuple[str, int], int]:
    """{(arm, seed): the first step from which on at least `share` of the groups have no signal}; others are absent.

    The paper marks where every group is all right or all wrong (section 3.1); a stored row is a mean over steps.

    >>> rows = {"arm": "a", "seed": [0, 0, 0, 1, 1], "step": [1, 2, 3, 1, 2]}
    >>> stops(pd.DataFrame(rows | {"predictor/dead_groups": [1, 0.5, 1, 0.2, 0.3]}))
    {('a', 0): 3}
    """
    found = {}
    for key, rows in training.groupby(["arm", "seed"], sort=False):
        rows = rows.sort_values("step")
        alive = rows.loc[rows["predictor/dead_groups"] < share, "step"]
        after = rows.loc[rows["step"] > (alive.max() if len(alive) else -1), "step"]
        if len(after):
            found[key] = int(after.min())
    return found
