"""How claims are judged: margins, tests, families, verdicts, seeds needed; and what some claims measure that is not a
column of one table. Which rows a claim compares is in `pzlib.studies.claims`. No paper states such rules or measures.
They were written before the stored rows, but after those of an earlier world, some of which had been seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import nctdtr, stdtr, stdtrit

from pzlib.errors import near_names
from pzlib.evaluation.benchmarks import BENCHMARKS
from pzlib.stats import holm, power_law
from pzlib.studies import metrics
from pzlib.studies.metrics import Metric, values

# Of a whole study, by seed: `QUANTITIES`, below, works them out.
METRICS = metrics.METRICS | {
    "efficiency": Metric("", "points a token", "Accuracy by length", table="study"),
    "tokens": Metric("", "thousand tokens", "Tokens used", table="study"),
    "length wander": Metric("", "tokens", "Change of length along training", table="study"),
    "rank correlation": Metric("", "correlation", "Rank correlation over starts, before and after", table="study"),
    "power-law fit": Metric("", "R²", "Fit of a power law of compute", table="study"),
}

ALPHA, POWER, LEAST_PAIRS = 0.05, 0.8, 3
# How a verdict begins
VERDICTS = ("reproduced", "contradicted", "no difference", "inconclusive", "precondition failed", "not run")
# direction: which way a claim points (of a - b), and whether it only says that a margin is not passed that way
DIRECTIONS = {">": 1, "<": -1, ">=": 1, "<=": -1, "=": 0}

RULE = f"""A claim says that a metric of a is above (>) or below (<) that of b; not below it (>=), not above it (<=), or
equal to it (=), each within a margin.

* *Pairs* are seeds of one base. With two bases the seeds of both count, and both means must have the effect's sign.
  Of bases alone, which no run trains, the pairs are the bases, and the tests rest on their sampling errors.
* *Effect*: the mean of a − b with its 95 % t interval over pairs, the base being a factor. Where b is the base itself,
  one model that was measured once, its own sampling error is added, from the number of its answers.
* *Two tests*: against nothing (t), and against the margin (two one-sided t tests; one, where a claim says "not").
* *Families*: either test is corrected by Holm's method over all tested claims of one paper.
* *Verdicts*, at {ALPHA}: **reproduced**, where a differs from b as claimed; **contradicted**, where it differs the
  other way; **no difference**, where it is within the margin; **inconclusive** otherwise. What is claimed to be equal,
  not below or not above is reproduced within the margin and contradicted beyond it. **Precondition failed**: what the
  claim rests on does not hold here, so nothing is tested. **Not run**: fewer than {LEAST_PAIRS} pairs of runs.
* *Size*: a verdict is about the sign. The paper's size is beside ours; an effect below the margin is called small.
* *Along training*: curves that meet at the end are compared by their means over all steps too, the area under them.
  Against the base the error of drawing few answers at each step is added, as if all runs shared it.
* *Seeds needed* for an inconclusive claim: pairs that would settle it with {POWER:.0%} power if its effect and spread
  are what they seem, at the level that the correction left it. Where bases differ in sign the margin alone is asked."""


def word_of(verdict: str) -> str:
    """The one of `VERDICTS` that a verdict begins with.

    >>> word_of("no difference at mini")
    'no difference'
    """
    return next(word for word in VERDICTS if verdict.startswith(word))


@dataclass(frozen=True)
class Margin:
    """The smallest difference that matters: `size` in the metric's unit, or if `relative` as a share of b's value."""

    size: float
    relative: bool
    why: str


MARGINS = {
    "accuracies": Margin(2, False, "points; the smallest gain over Random RLPT in PretrainZero's Table 1 is 1.82 (8B)"),
    "shares": Margin(5, False, "points of groups, masks or answers; one in twenty changes little of a step"),
    "lengths": Margin(0.1, True, "a tenth; the papers' curves of length can be read off no finer"),
    "entropy": Margin(0.5, True, "half; sampling temperature alone moves it by less, a collapse by more"),
    "rewards": Margin(0.05, False, "of a scale from 0 to 1; of RLP's gain nats, what an empty thought may cost"),
    "perplexity": Margin(0.02, True, "0.02 nats a token"),
    "costs": Margin(0.1, True, "a tenth; two machines differ by more"),
    "fits": Margin(0.1, False, "of a correlation, of R², of the length of a passage"),
}  # fmt: skip
_KINDS = {
    "reward": "accuracies", "accuracy": "accuracies", "entropy": "entropy", "generator reward": "rewards",
    "gain": "rewards", "efficiency": "costs", "perplexity": "perplexity", "tokens": "costs", "rank correlation": "fits",
    "power-law fit": "fits", "mask position": "fits",
}  # fmt: skip


def metric_of(name: str) -> Metric:
    """The Metric of that name; ValueError with the near ones for another."""
    if name not in METRICS:
        raise ValueError(f"metric: no metric {name!r}; {near_names(name, METRICS)}")
    return METRICS[name]


def kind_of(metric: str) -> str:
    """Which of `MARGINS` a metric has.

    >>> kind_of("math"), kind_of("dead_groups"), kind_of("answer length")
    ('accuracies', 'shares', 'lengths')
    """
    own = METRICS[metric]
    if own.table == "tinybench" and own.column == "accuracy":
        return "accuracies"
    return _KINDS.get(metric) or ("shares" if own.unit == "points" else "lengths")


def margin_of(metric: str, b: float) -> float:
    """The margin of a metric in its unit, where b's mean is `b`.

    >>> margin_of("math", 40.0), margin_of("answer length", 12.0)
    (2, 1.2)
    """
    margin = MARGINS[kind_of(metric)]
    return round(margin.size * abs(b), 9) if margin.relative else margin.size


def margins() -> pd.DataFrame:
    """The table of margins: of which metrics, how much, why."""
    named = {kind: [] for kind in MARGINS}
    for metric in METRICS:
        named[kind_of(metric)].append(metric)
    rows = [(kind, ", ".join(named[kind]), f"{one.size:.0%} of b" if one.relative else f"{one.size:g}", one.why)
            for kind, one in MARGINS.items()]  # fmt: skip
    return pd.DataFrame(rows, columns=["of", "metrics", "margin", "why"])


def within(difference: float, interval: tuple[float, float], df: float, margin: float) -> tuple[float, float]:
    """Two one-sided t tests against a margin: p of "it is above -margin" and of "it is below margin".

    The larger is p of *no difference* (Schuirmann 1987). interval, df: its 95 % t interval and degrees of freedom, as
    of `pzlib.stats.stratified_t`. Errors: ValueError for a margin of 0: no data show that there is exactly nothing.

    >>> [round(p, 4) for p in within(0.5, (-0.888, 1.888), 4, margin=2)]  # error 0.5: t = 5 and 3
    [0.0037, 0.02]
    """
    if not margin > 0:
        raise ValueError(f"margin: {margin} must be above 0")
    error = (interval[1] - difference) / float(stdtrit(df, 0.975))
    if not error:
        return float(difference <= -margin), float(difference >= margin)
    return tuple(float(stdtr(df, -(margin + side) / error)) for side in (difference, -difference))


def seeds_needed(
    difference: float, spread: float, margin: float, shared: float = 0.0, alpha: float = ALPHA, level: float = ALPHA,
    bases: int = 1, most: int = 1000, signs: bool = True,
) -> int | None:  # fmt: skip
    """The fewest pairs that settle a comparison with `POWER`, if difference and spread are what they seem.

    To settle: the t test tells the difference from 0, or `within` puts it inside the margin. spread: of the pairs'
    differences within a base, s; shared: variance of errors that no number of pairs makes less; alpha, level: those
    that correction for the family leaves to the two tests; bases: each takes a degree of freedom; signs: whether they
    agree in sign, without which only the margin can be settled. None where `most` pairs do not settle it.

    >>> seeds_needed(2.0, 1.5, margin=2), seeds_needed(0.0, 1.5, margin=2), seeds_needed(1.0, 1.5, margin=2, shared=9)
    (7, 7, None)
    """
    for n in range(bases + 1, most + 1):
        own = spread**2 / n
        df = (own + shared) ** 2 / (own**2 / (n - bases)) if shared and own else float(n - bases)
        # chances to miss: the difference; that it is above -margin; that it is below margin
        sizes = np.array([abs(difference), margin + difference, margin - difference]) / (math.sqrt(own + shared) or 1)
        misses = nctdtr(df, sizes.clip(-30, 30), -stdtrit(df, [alpha / 2, level, level]))
        if signs and 1 - misses[0] >= POWER or 1 - misses[1:].sum() >= POWER:
            return n
    return None


def judge(table: pd.DataFrame, tier: str) -> pd.DataFrame:
    """The claims with p_holm, p_margin_holm, p_along_holm, verdict, small, along and seeds.

    table: a row a claim: paper, direction, effect, margin, spread (of the pairs' differences), shared (variance),
    p (against nothing), p_margin, p_along and effect_along (NaN where there is no curve), signs and signs_along
    (whether all bases agree), bases (how many; else one), failed (the precondition that does not hold, or ""). Rows
    without p are not run.
    """
    tests = ("p", "p_margin", "p_along")
    table = table.assign(**{f"{p}_holm": float("nan") for p in tests}, **{f"{p}_left": 1 for p in tests})
    for _, paper in table.groupby("paper"):
        for p in tests:
            family = paper.loc[paper[p].notna() & (paper["failed"] == ""), p]
            table.loc[family.index, f"{p}_holm"] = holm(family)
            # Holm's factor: how many of the family's tests are not smaller
            table.loc[family.index, f"{p}_left"] = len(family) + 1 - family.rank(method="first").astype(int)
    words = [_verdict(row, tier) for row in table.to_dict("records")]
    return table.drop(columns=[f"{p}_left" for p in tests]).assign(**pd.DataFrame(words, index=table.index))


def _verdict(row: dict, tier: str) -> dict:
    none = {"verdict": "not run at this tier", "small": False, "along": "", "seeds": None}
    if row["failed"]:
        return none | {"verdict": f"precondition failed at {tier}"}
    if pd.isna(row["p"]):
        return none
    way = DIRECTIONS[row["direction"]]
    differs, within = row["p_holm"] < ALPHA, row["p_margin_holm"] < ALPHA
    if row["direction"] in "<>":
        word = "no difference" if within else "inconclusive"
        if differs and row["signs"]:
            word = "reproduced" if way * row["effect"] > 0 else "contradicted"
    else:
        beyond = abs(row["effect"]) > row["margin"] and way * row["effect"] <= 0
        word = "reproduced" if within else "contradicted" if differs and beyond else "inconclusive"
    small = row["direction"] in "<>" and word in ("reproduced", "contradicted") and abs(row["effect"]) < row["margin"]
    along = ""
    if row["p_along_holm"] < ALPHA and row.get("signs_along", True) and word in ("no difference", "inconclusive"):
        along = "as claimed" if way * row["effect_along"] > 0 else "the other way"
    seeds = None
    if word == "inconclusive":
        levels, bases = [ALPHA / row[f"{p}_left"] for p in ("p", "p_margin")], row.get("bases", 1)
        agree = row["signs"] or row["direction"] not in "<>"
        seeds = seeds_needed(row["effect"], row["spread"], row["margin"], row["shared"], *levels, bases, signs=agree)
    return {"verdict": f"{word} at {tier}", "small": bool(small), "along": along, "seeds": seeds}


def needed(row: dict) -> str:
    """How many pairs would settle an inconclusive claim, as text; "" for other verdicts.

    >>> [needed({"verdict": "inconclusive at mini", "seeds": seeds}) for seeds in (12.0, None)]
    ['12', 'over 1000']
    """
    if not row["verdict"].startswith("inconclusive"):
        return ""
    none = "over 1000" if row.get("signs", True) else "the bases differ"
    return none if pd.isna(row["seeds"]) else f"{row['seeds']:.0f}"


def in_words(row: dict, ends: Sequence[str] = ("effect", "low", "high")) -> str:
    """An effect of the ledger with its interval and unit.

    >>> in_words({"effect": 1.26, "low": -0.5, "high": 3.0, "unit": "points"})
    '+1.3 [-0.5, +3.0] points'
    """
    digits = 1 if row["unit"] in ("points", "tokens", "thousand tokens") else 2
    effect, low, high = (f"{row[end]:+.{digits}f}" for end in ends)
    return f"{effect} [{low}, {high}] {row['unit']}"


Rows = Callable[[str], pd.DataFrame]  # the name of a table -> the study's rows of it, with their arm and seed
EVERY = "every start"  # as an arm: all arms of a study at once
NOISE = 0.1  # share of a variance


def tokens(rows_of: Rows, arm: str) -> pd.Series:
    """Thousand tokens (prompts and completions) that each run of an arm has used at its end."""
    training = rows_of("training")
    own = training[training["arm"] == arm].sort_values("step")
    each = own["tokens_prompt"].fillna(0) + own["tokens_completion"].fillna(0)
    steps = own.groupby("run_id")["step"].diff().fillna(own["step"])
    return (each * steps).groupby(own["seed"]).sum() / 1000


def length_wander(rows_of: Rows, arm: str) -> pd.Series:
    """How far the length of reasoned answers to questions wanders along a run: its highest less its lowest mean."""
    rows = rows_of("tinybench")
    own = rows[(rows["arm"] == arm) & rows["group"].isin(metrics.QUESTIONS)]
    means = own.groupby(["seed", "step", "group"])["length_reasoned"].mean()
    means = means.dropna().groupby(["seed", "step"]).mean()
    return means.groupby("seed").max() - means.groupby("seed").min()


def rank_correlation(rows_of: Rows, arm: str = EVERY, metric: str = "math") -> pd.Series:
    """Spearman's correlation over a study's arms of their scores before (step 0) and after, by seed; at least four."""
    rows, found = rows_of("tinybench"), {}
    for moment in ("base", "end"):
        found[moment] = pd.DataFrame({a: values(own, metric, moment) for a, own in rows.groupby("arm")}).rank(axis=1)
    if found["end"].shape[1] < 4:
        return pd.Series(dtype=float)
    return found["base"].corrwith(found["end"], axis=1).dropna()


def power_law_fit(rows_of: Rows, arm: str) -> pd.Series:
    """R² of the power law through a run's next-token accuracy along compute, mean over the splits that can be fitted
    (RPT's Fig. 5 prints one for each split). Where drawing the answers makes more than `NOISE` of the points' variance,
    no law could fit well, so that R² would speak of the drawing: such a split is left out."""
    own = [rows[rows["arm"] == arm] for rows in map(rows_of, ("tinybench", "training", "runs"))]
    if any(rows.empty for rows in own):
        return pd.Series(dtype=float)
    table = metrics.along_compute(*own)
    table = table[(table["way"] == "reasoning") & (table["step"] > 0)]
    found = {}
    for (seed, _), own in table.groupby(["seed", "split"]):
        drawn = (own["accuracy"] * (100 - own["accuracy"]) / own["n"]).mean()
        if own["flops"].nunique() >= 4 and 0 < own["accuracy"].var() and drawn <= NOISE * own["accuracy"].var():
            found.setdefault(seed, []).append(power_law(own["flops"], own["accuracy"]).r2)
    return pd.Series({seed: float(np.mean(fits)) for seed, fits in found.items()}, dtype=float)


def efficiency(rows_of: Rows, arm: str) -> pd.Series:
    """Points of overall accuracy for each token of an answer, after the run."""
    rows = rows_of("tinybench")
    own = rows[rows["arm"] == arm]
    return values(own, "overall") / values(own, "answer length")


QUANTITIES = {
    "efficiency": efficiency, "tokens": tokens, "length wander": length_wander, "rank correlation": rank_correlation,
    "power-law fit": power_law_fit,
}  # fmt: skip


def sampling_variance(rows: pd.DataFrame, metric: str) -> float | None:
    """The variance that the drawing of answers gives one evaluation of one model; None where the rows don't tell.

    rows: one model's, asked once (step 0 of one run), of the table that holds the metric. Of an accuracy it is each
    task's stored `error`, squared, where there is one; else, and of other shares, p (1 - p) / n with n answers: an
    upper bound, since questions differ in difficulty. What is not drawn (a most likely token, a greedy answer, the
    likelihood of a text) has none.

    >>> rows = {"task": ["sum", "chain"], "group": "math", "accuracy": [0.5, 0.5], "n": 100, "seed": 0, "step": 0}
    >>> round(sampling_variance(pd.DataFrame(rows), "math"), 6)  # in points²: two tasks of 25, their mean
    12.5
    """
    own = METRICS[metric]
    if own.table == "perplexity":
        return 0.0
    if own.table not in ("tinybench", "patterns") or own.column not in ("accuracy", "reasoned", "mean"):
        return None
    if own.table == "patterns":
        rows = rows.assign(task=rows["pattern"], group=rows["pattern"])
    rows = rows[rows["group"].isin(own.groups) | rows["task"].isin(own.groups)]
    share = rows[own.column].astype(float)
    drawn = ~rows["group"].str.endswith(", direct")
    if "k" in rows:  # once and greedily
        drawn &= ~(rows["task"].isin(BENCHMARKS) & (rows["k"] == 1))
    variance = share * (1 - share) / rows["n"] * drawn
    if own.column == "accuracy" and "error" in rows:
        variance = (rows["error"].astype(float) ** 2).fillna(variance)
    each = variance.groupby(rows["group"]).agg(["sum", "count"])
    return float(1e4 * (each["sum"] / each["count"] ** 2).sum() / len(each) ** 2) if len(each) else None
