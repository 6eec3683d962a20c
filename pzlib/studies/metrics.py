"""What is measured: column, unit and title of each metric, once for tables, claims and figures; and its values by seed.
Leaves out every test and every mean over seeds, which are taken where they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pzlib import objectives
from pzlib.errors import NothingToDraw, near_names
from pzlib.evaluation.benchmarks import BENCHMARKS
from pzlib.stats import PowerLaw, power_law, stratified_t
from pzlib.world.tinywiki import kind_class


@dataclass(frozen=True)
class Metric:
    """A column of one of the tables in data/results. title: of a panel; unit: of differences ("points": % of a share);
    groups: those of TinyBench (or its tasks) whose plain mean it is."""

    column: str
    unit: str
    title: str
    groups: tuple[str, ...] = ()
    table: str = "tinybench"


LEAST = 5  # seeds below which no interval is shown
SPLITS = ("easy", "medium", "hard")  # of next tokens
GROUPS = ("general", "math", "spans")  # of TinyBench, each a metric
ACCURACIES, QUESTIONS = ("overall", *GROUPS), ("general", "math")

_EVALUATED = {
    "overall": Metric("accuracy", "points", "Overall", QUESTIONS),
    "general": Metric("accuracy", "points", "General", ("general",)),
    "math": Metric("accuracy", "points", "Math", ("math",)),
    "spans": Metric("accuracy", "points", "Masked words", ("spans",)),
    # of passages some of whose sentences runs read
    "spans read": Metric("accuracy", "points", "Masked words, training side", ("training side",)),
    "setback": Metric("accuracy", "points", "Setback", ("general",)),  # how far it ever falls below its best so far
    "answer length": Metric("length", "tokens", "Answer length", QUESTIONS),
    "reasoned": Metric("reasoned", "points", "Reasoned first", QUESTIONS),
    "next token": Metric("accuracy", "points", "Next-token accuracy", ("next token",)),
    **{f"next token, {s}": Metric("accuracy", "points", s.capitalize(), (f"next token, {s}",)) for s in SPLITS},
    "perplexity": Metric("perplexity", "perplexity", "Perplexity", ("text",), "perplexity"),
    # among answers that reason: over all answers the share that reasons would move the mean
    "reasoned length": Metric("length_reasoned", "tokens", "Length of reasoned answers", QUESTIONS),
    "reasoned length, masks": Metric("length_reasoned", "tokens", "Length of reasoned answers to masks", ("spans",)),
    "MMLU-Pro": Metric("accuracy", "points", "MMLU-Pro", ("mmlu_pro",)),
    "guesses": Metric("mean", "points", "Guesses at masks", ("direct guess",), "patterns"),
    "announced": Metric("mean", "points", "Announced reasonings on masks", ("thinks",), "patterns"),
}

_TRAINED = {
    "reward": ("predictor/reward", "points", "Reward"),
    "gain": ("predictor/reward", "nats", "Gain of a thought"),  # RLP's reward
    "accuracy": ("predictor/accuracy", "points", "Accuracy on the masks"),
    "dead_groups": ("predictor/dead_groups", "points", "Groups without signal"),
    "dead_wrong": ("predictor/dead_wrong", "points", "Groups all wrong"),
    "dead_right": ("predictor/dead_right", "points", "Groups all right"),
    "entropy": ("predictor/entropy", "nats", "Entropy"),
    "response length": ("predictor/length", "tokens", "Response length"),
    # of those with any text before the answer; "reasoned length" above is of those that begin with "Think :"
    "response length, reasoned": ("predictor/length_reasoned", "tokens", "Length of reasoned responses"),
    "legal": ("generator/legal", "points", "Legal masks"),
    "generator reward": ("generator/reward", "reward", "Generator's reward"),
    "mask words": ("mask/words", "words", "Length of a mask"),
    "mask position": ("mask/position", "place", "Place in the passage"),
    "noise masks": ("mask/irreducible", "points", "Irreducible masks"),  # share that hides what nothing can tell
    "hits middle": ("hits/", "points", "Masks in the middle"),  # share that 2 to G - 2 of their G predictions found
}

METRICS = _EVALUATED | {name: Metric(*facts, table="training") for name, facts in _TRAINED.items()}

# The moments of a run beside its end, and the metrics that are known then.
MOMENTS = {
    "base": list(_EVALUATED),  # step 0
    "halfway": list(_EVALUATED),  # the last evaluation in the first half
    "along": list(_EVALUATED),  # the mean over all steps after step 0: the area under the curve, by its length
    "start": list(_TRAINED),  # the first fifth of training
    "second fifth": list(_TRAINED),
    "direct": [name for name in _EVALUATED if name.startswith("next token")],  # step 0, predicted without a reasoning
}

CLASSES = {"trivial": "Trivial", "reasoning": "Deducible", "irreducible": "Irreducible"}  # of masks, with titles


def label_of(arm: str) -> str:
    """The label of a method or an arm: "sft, something" by the method's.

    >>> label_of("sft, late"), label_of("one mask")
    ('Supervised fine-tuning, late', 'one mask')
    """
    head, *rest = arm.split(", ")
    labels = {"base": "Base"} | {method.name: method.label for method in objectives.METHODS}
    return ", ".join([labels.get(head, head), *rest])


def armed(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column `arm`, by which everything is compared; where no study names it, the objective."""
    return table if "arm" in table or "objective" not in table else table.assign(arm=table["objective"])


def metric_of(name: str) -> Metric:
    """The Metric of that name; ValueError with the near ones for another."""
    if name not in METRICS:
        raise ValueError(f"metric: no metric {name!r}; {near_names(name, METRICS)}")
    return METRICS[name]


def comparable(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of tasks that a run was asked at each of its steps, where there are such: a mean over other tasks at
    other steps is not a curve. Of a benchmark and a part of it the benchmark counts. The small world asks all at once.

    >>> rows = {"seed": 0, "step": [0, 0, 9, 9, 9], "task": ["gsm8k", "mmlu_pro_tenth"] * 2 + ["math500"]}
    >>> comparable(pd.DataFrame(rows | {"group": ["math", "general"] * 2 + ["math"]}))["task"].unique().tolist()
    ['gsm8k', 'mmlu_pro_tenth']
    """
    if set(rows["task"]).isdisjoint(BENCHMARKS):
        return rows
    unit = "run_id" if "run_id" in rows else "seed"
    steps = rows.groupby([unit, "group"])["step"].transform("nunique")
    always = rows.groupby([unit, "group", "task"])["step"].transform("nunique") == steps
    rows = rows[always | ~always.groupby([rows[unit], rows["group"]]).transform("any")]
    asked = set(zip(rows[unit], rows["task"], strict=True))
    wholes = {name: benchmark.part_of for name, benchmark in BENCHMARKS.items()}
    return rows[[(run, wholes.get(task)) not in asked for run, task in zip(rows[unit], rows["task"], strict=True)]]


def values(rows: pd.DataFrame, metric: str, moment: str = "end") -> pd.Series:
    """A metric of one arm's runs at one moment, by seed; seeds without it are left out.

    rows: of the table that holds the metric. moment: "end" (the last evaluation; the last fifth of training), or one of
    `MOMENTS`. Shares come in per cent. Errors: ValueError for a metric or moment unknown.

    >>> rows = {"seed": 0, "step": [0, 0, 9, 9], "task": ["sum", "chain"] * 2, "group": "math"}
    >>> values(pd.DataFrame(rows | {"accuracy": [0.2, 0.4, 0.5, 0.7]}), "math").to_dict()
    {0: 60.0}
    """
    scale = 100 if metric_of(metric).unit == "points" else 1
    if moment != "end" and metric not in MOMENTS.get(moment, ()):
        raise ValueError(f"moment: {metric} is not known at {moment!r}; take end, or one of {', '.join(MOMENTS)}")
    found = (_trained if METRICS[metric].table == "training" else _evaluated)(rows, metric, moment)
    return (scale * found.rename(None)).astype(float).dropna()


def bases_of(seeds: Sequence[int]) -> np.ndarray:
    """Of each seed the number of its base: seeds come in tens, one base each. More than two tens are seeds that one
    chose at a tier of one base: no world has three.

    >>> bases_of([0, 1, 10]).tolist(), bases_of([1, 42, 1234]).tolist()
    ([0, 0, 1], [0, 0, 0])
    """
    tens = np.array([seed // 10 for seed in seeds])  # an array: pandas takes a list of numbers for names of columns
    return tens if len({*tens}) <= 2 else np.zeros_like(tens)


def one_sign(gaps: pd.Series) -> bool:
    """Whether the means of differences by seed have one sign on all bases: the rule of the claims' verdicts.

    >>> one_sign(pd.Series({0: 9.0, 1: 7.0, 10: 1.0})), one_sign(pd.Series({0: 9.0, 1: 7.0, 10: -1.0}))
    (True, False)
    """
    means = gaps.groupby(bases_of(gaps.index)).mean()
    return bool((means > 0).all() or (means < 0).all())


def on_fewer_bases(seeds: dict[str, Sequence[int]]) -> list[str]:
    """Of {name: its seeds} the names with runs from fewer bases than another: their means are not comparable.

    >>> on_fewer_bases({"a": [0, 1, 10], "b": [0, 1, 2], "c": []})
    ['b']
    """
    bases = {name: len({*bases_of(own)}) for name, own in seeds.items() if len(own)}
    return [name for name, n in bases.items() if n < max(bases.values())]


def over_seeds(values: pd.Series, errors: pd.Series | None = None) -> tuple[float, float, float]:
    """The mean of values by seed with its 95 % t interval: the mean over bases of their means, the base being a factor.
    Where no base has two, the interval has no width. errors: as of `stratified_t`.

    >>> [round(end, 2) for end in over_seeds(pd.Series({0: 4.0, 1: 6.0, 10: 40.0, 11: 42.0}))]
    [23.0, 19.96, 26.04]
    """
    bases = bases_of(values.index)
    if len({*bases}) == len(bases):
        return (float(values.mean()),) * 3
    test = stratified_t([*values], [*bases], None if errors is None else [*errors[values.index]])
    return test["difference"], *test["interval"]


def _evaluated(rows, metric, moment):
    column, groups = METRICS[metric].column, METRICS[metric].groups
    if column not in rows or rows.empty:
        return pd.Series(dtype=float)
    if moment == "direct":
        groups, moment = [f"{group}, direct" for group in groups], "base"
    if METRICS[metric].table == "patterns":
        rows = rows.assign(task=rows["pattern"], group=rows["pattern"])
    tasks = comparable(rows[rows["group"].isin(groups) | rows["task"].isin(groups)])
    curve = tasks.groupby(["seed", "step", "group"])[column].mean().groupby(["seed", "step"]).mean().reset_index("step")
    by_seed = curve.groupby("seed")
    if metric == "setback":
        return (by_seed[column].cummax() - curve[column]).groupby("seed").max()
    if moment == "along":
        trained = curve[curve["step"] > 0].groupby("seed")
        return trained.apply(lambda own: np.trapezoid(own[column], own["step"]) / (np.ptp(own["step"]) or np.nan))
    last = by_seed["step"].transform("max")
    upto = curve[curve["step"] <= {"end": last, "halfway": last / 2, "base": 0}[moment]]
    return upto.loc[~upto.index.duplicated(keep="last"), column]


def _trained(rows, metric, moment):
    column, last = METRICS[metric].column, rows.groupby("seed")["step"].transform("max")
    low, high = {"start": (0, 0.2), "second fifth": (0.2, 0.4), "end": (0.8, 1)}[moment]
    part = rows[(rows["step"] > low * last) & (rows["step"] <= high * last)]
    if metric == "hits middle":
        filled = sum(rows[name].notna().any() for name in rows if name.startswith("hits/"))  # those up to its own G
        hits = [f"hits/{k}" for k in range(filled)][2:-2]
        part = part.assign(**{column: part[hits].sum(axis=1, min_count=1)})
    return part.groupby("seed")[column].agg(pd.Series.mean) if column in part else pd.Series(dtype=float)


def kind_columns(table: pd.DataFrame) -> list[str]:
    """The columns `mask/<kind>` in which some step has a share."""
    kinds = [name for name in table if name.startswith("mask/") and name not in ("mask/words", "mask/position")]
    return [name for name in kinds if table[name].fillna(0).any()]


def kind_shares(training: pd.DataFrame) -> pd.DataFrame:
    """One row per row of `training`: the share of the legal masks of each class of `CLASSES` that occurs.

    A row sums to 1: a class that is absent where there were masks has share 0. NaN where no mask was legal.
    Raises ValueError for a table without a kind.

    >>> kind_shares(pd.DataFrame({"mask/sum": [0.5, None], "mask/sum_inverse": 0.25, "mask/trivial": 0.25})).to_dict()
    {'trivial': {0: 0.25, 1: 0.25}, 'reasoning': {0: 0.75, 1: 0.25}}
    """
    kinds = kind_columns(training)
    if not kinds:
        raise NothingToDraw(f"training: 'mask/<kind>' is not a column with shares; it has {sorted(training.columns)}")
    some = training[kinds].notna().any(axis=1)
    shares = training[kinds].fillna(0.0).where(some, axis=0).T
    shares = shares.groupby([kind_class(kind.removeprefix("mask/")) for kind in kinds]).sum(min_count=1).T
    return shares[[name for name in CLASSES if name in shares]]


def class_accuracy(training: pd.DataFrame) -> pd.DataFrame:
    """One row per row of `training`: accuracy on trivial, reasoning and irreducible masks, NaN where there were none.

    From `accuracy/<kind>`, each kind weighted by its share `mask/<kind>` of the masks.

    >>> rows = {"mask/sum": [0.1], "accuracy/sum": [1.0], "mask/month": [0.3], "accuracy/month": [0.2]}
    >>> class_accuracy(pd.DataFrame(rows)).round(6).to_numpy().tolist()
    [[nan, 0.4, nan]]
    """
    found, kinds = {}, [column.removeprefix("mask/") for column in kind_columns(training)]
    for name in CLASSES:
        own = [kind for kind in kinds if kind_class(kind) == name and f"accuracy/{kind}" in training]
        right, share = (training[[f"{of}/{kind}" for kind in own]].astype(float) for of in ("accuracy", "mask"))
        right = right.set_axis(share.columns, axis=1)
        found[name] = (right * share).sum(axis=1) / share.where(right.notna()).sum(axis=1)
    return pd.DataFrame(found)


def all_samples(training: pd.DataFrame) -> pd.DataFrame:
    """`training` with the columns "all samples/entropy", "/length" and "/reward": means over the G masks of a passage
    and the G predictions of each legal one. Where nobody makes masks they are the predictor's, whose own are emptied.

    >>> rows = {"run_id": "a", "hits/0": 0.5, "hits/1": 0.0, "hits/2": [0.5], "generator/legal": 0.5}
    >>> rows |= {"predictor/length": 1.0, "generator/length": 3.0, "predictor/entropy": 1.0, "predictor/reward": 1.0}
    >>> float(all_samples(pd.DataFrame(rows))["all samples/length"].iloc[0])
    2.0
    """
    hits = training[[name for name in training if name.startswith("hits/")]]
    group = hits.notna().sum(axis=1).groupby(training["run_id"]).transform("max") - 1
    none = pd.Series(np.nan, training.index)
    found, plays = {}, training.get("generator/legal", none).notna()
    many = group * training.get("generator/legal", none)
    for key in ("entropy", "length", "reward"):
        own, other = training[f"predictor/{key}"], training.get(f"generator/{key}", none)
        both = ((many * own + other) / (many + 1)).fillna(other)
        found[f"all samples/{key}"] = both.where(plays & (group > 0), own.where(~plays))
        found[f"predictor/{key}"] = own.where(plays)
    return training.assign(**found)


def tokens_used(tinybench: pd.DataFrame, training: pd.DataFrame) -> pd.Series:
    """For every row of `tinybench` the tokens (prompts and completions) its run had used by that step.

    A row of `training` holds means a step, over the steps since the row before; between two rows the count is linear.
    Raises ValueError for a run of `tinybench` whose tokens `training` lacks.

    >>> training = {"run_id": "a", "step": [10, 20], "tokens_prompt": [5.0, 7.0], "tokens_completion": [1.0, 1.0]}
    >>> tokens_used(pd.DataFrame({"run_id": "a", "step": [0, 10, 15]}), pd.DataFrame(training)).tolist()
    [0.0, 60.0, 100.0]
    """
    used = pd.Series(np.nan, tinybench.index)
    for run_id, rows in tinybench.groupby("run_id"):
        own = training[training["run_id"] == run_id].sort_values("step")
        total = ((own["tokens_prompt"] + own["tokens_completion"]) * np.diff(own["step"], prepend=0)).cumsum()
        if own.empty or total.isna().any():
            raise ValueError(f"training: no tokens_prompt, tokens_completion of run {run_id}; collect the runs again")
        used[rows.index] = np.interp(rows["step"], [0, *own["step"]], [0, *total])
    return used


def equal_tokens(tinybench: pd.DataFrame, training: pd.DataFrame) -> pd.DataFrame:
    """The rows of each run's last evaluation within the budget: the tokens that all runs had used by their ends.

    Adds columns `tokens` (used by then) and `budget`. Errors as in `tokens_used`.
    """
    return at_equal(tinybench.assign(tokens=tokens_used(tinybench, training)), "tokens")


def at_equal(tinybench: pd.DataFrame, used: str, between: bool = False) -> pd.DataFrame:
    """The rows of each run's last evaluation within a column `budget`: the least that a run had used by its end.

    used: the column that says how much of it a run had used by a row's step. between: rows at the budget itself, with
    the accuracy on the line between the evaluations before and after it.

    >>> rows = {"run_id": list("aaabb"), "step": [0, 1, 2, 0, 1], "seconds": [0, 5, 10, 0, 6]}
    >>> at_equal(pd.DataFrame(rows), "seconds")[["run_id", "step", "budget"]].to_numpy().tolist()
    [['a', 1, 6], ['b', 1, 6]]
    """
    table = tinybench.assign(budget=tinybench.groupby("run_id")[used].max().min())
    if between and len(table):
        at, keys = table["budget"].iloc[0], ["arm", "run_id", "seed", "group", "task"]
        curves = comparable(table).sort_values("step", kind="stable").groupby(keys, sort=False)
        ends = {key: {n: np.interp(at, own[used], own[n]) for n in ("step", "accuracy")} for key, own in curves}
        return pd.DataFrame([dict(zip(keys, key, strict=True)) | end for key, end in ends.items()]).assign(budget=at)
    table = table[table[used] <= table["budget"]]
    return table[table["step"] == table.groupby("run_id")["step"].transform("max")]


WAYS = {"next token": "reasoning", "next token, direct": "outright"}  # group of tinybench.csv -> how it was predicted
FLOPS = 8  # a weight and token: 2 to draw or read it, 6 to learn from it (Kaplan et al., arXiv:2001.08361, section 2.1)


def next_token_accuracy(tinybench: pd.DataFrame) -> pd.DataFrame:
    """One row per arm, seed, step, split and way ("reasoning", "outright"): accuracy in %, of n answers.

    tinybench: rows with a column `arm`; runs that were not asked for next tokens have none here.

    >>> row = {"arm": "rpt", "run_id": "a", "tier": "mini", "seed": 0, "step": 25, "n": 9, "accuracy": 0.5}
    >>> asked = pd.DataFrame([row | {"group": "next token, direct", "task": "next token, hard, direct"}])
    >>> next_token_accuracy(asked)[["split", "way", "accuracy"]].to_numpy().tolist()
    [['hard', 'outright', 50.0]]
    """
    rows = tinybench[tinybench["group"].isin(list(WAYS))]
    split = rows["task"].str.split(", ").str[1]
    found = rows.assign(split=split, way=rows["group"].map(WAYS), accuracy=100 * rows["accuracy"])
    return found[["arm", "run_id", "tier", "seed", "step", "split", "way", "n", "accuracy"]].reset_index(drop=True)


def along_compute(tinybench: pd.DataFrame, training: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """`next_token_accuracy` with a column `flops`: what the run had spent on RL by then.

    `FLOPS` for each weight and each token of prompts and completions, as a trainer spends that reads every prompt for
    every row and leaves no row out: ours spends less, in nearly the same proportion. runs: of runs.csv, for the number
    of weights. Errors as in `tokens_used`.
    """
    table = next_token_accuracy(tinybench)
    weights = runs.drop_duplicates("run_id").set_index("run_id")["parameters"]
    spent = tokens_used(table, training).astype(float) * table["run_id"].map(weights).astype(float)
    return table.assign(flops=FLOPS * spent)


def laws(table: pd.DataFrame) -> dict[tuple[str, str], PowerLaw]:
    """{(arm, split): the PowerLaw of accuracy after a reasoning, mean over seeds, along compute}; absent where there
    are fewer than four points that differ.

    table: of `along_compute`. Step 0 has spent nothing and is left out, as RPT fits checkpoints of training only.
    """
    found = {}
    trained = table[(table["way"] == "reasoning") & (table["step"] > 0)]
    for key, rows in trained.groupby(["arm", "split"], sort=False):
        means = rows.groupby("step")[["flops", "accuracy"]].mean()
        if len(means) >= 4 and means["accuracy"].nunique() > 1:
            found[key] = power_law(means["flops"], means["accuracy"])
    return found


def laws_table(found: dict[tuple[str, str], PowerLaw]) -> pd.DataFrame:
    """The laws with their 95 % intervals, a row each: what RPT's Fig. 5 prints (R²) and what it doesn't."""
    rows = []
    for (arm, split), law in found.items():
        row = {"arm": arm, "split": split, "points": len(law.computes), "decades": law.decades}
        for name in ("alpha", "limit", "scale"):
            ends = law.intervals[name]
            row |= {name: getattr(law, name), f"{name}, low": ends[0], f"{name}, high": ends[1]}
        rows.append(row | {"R²": law.r2, "R² of a line in log C": law.r2_log})
    return pd.DataFrame(rows)
