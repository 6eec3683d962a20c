"""The rules by which the ledger judges, stated before the rows are read: margins, families, verdicts, seeds needed.
Plain tables in and out; which rows a claim compares is in `pzlib.studies.claims`. No paper states such rules."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from pzlib.stats import holm, seeds_needed
from pzlib.studies.metrics import METRICS

ALPHA, POWER, LEAST_PAIRS = 0.05, 0.8, 3
# How a verdict begins
VERDICTS = ("reproduced", "contradicted", "no difference", "inconclusive", "precondition failed", "not run")
# direction: which way a claim points (of a - b), and whether it only says that a margin is not passed that way
DIRECTIONS = {">": 1, "<": -1, ">=": 1, "<=": -1, "=": 0}

RULE = f"""A claim says that a metric of a is above (>) or below (<) that of b, not below it (>=), not above it (<=) or equal to it (=).
* *Pairs* are seeds of one base; with two bases all pairs count, and each base's mean must have the effect's sign.
* *Effect*: the mean of a − b, with its 95 % t interval over pairs. Where b is the base, one model measured once, its own
  sampling variance is added (from the number of its answers).
* *Two tests*: against nothing (paired t), and against the margin (two one-sided t tests, or one where a claim says "not").
* *Families*: each of both tests is corrected by Holm over all claims of one paper.
* *Verdicts*, at {ALPHA}: **reproduced**: differs from nothing as claimed; **contradicted**: differs the other way;
  **no difference**: within the margin; **inconclusive**: none of these. "Not below", "not above" and "equal" are reproduced
  within the margin, contradicted beyond it. **Precondition failed**: what the claim rests on does not hold here, so it
  is not tested. **Not run**: fewer than {LEAST_PAIRS} pairs.
* *Reproduced* is about the sign. The size is beside the paper's, and an effect below the margin is called small.
* *Along training*: curves that meet at the end are also compared by their mean over all steps (the area under them).
* *Seeds needed*: pairs that settle an inconclusive claim with {POWER:.0%} power, if effect and spread are what they seem, at the
  level that Holm's correction left it."""


@dataclass(frozen=True)
class Margin:
    """The smallest difference that matters: `size` in the metric's unit, or as a share of b's value where `relative`."""

    size: float
    relative: bool
    why: str


MARGINS = {
    "accuracies": Margin(2, False, "points; about the smallest gain over Random RLPT in PretrainZero's Table 1 (8B: 1.82)"),
    "shares": Margin(5, False, "points of groups, masks or answers; one in twenty changes little of what a step learns"),
    "lengths": Margin(0.1, True, "a tenth of b's; the papers' curves of length can be read off to about that"),
    "entropy": Margin(0.5, True, "half of b's; less is what a change of sampling temperature does, a collapse takes more"),
    "rewards": Margin(0.05, False, "of the generator's scale from 0 to 1, as for shares; of RLP's gain in nats, the most that "
                      "an empty thought may cost here"),
    "perplexity": Margin(0.02, True, "2 % of b's, 0.02 nats a token"),
    "costs": Margin(0.1, True, "a tenth of b's; two machines differ by more"),
    "fits": Margin(0.1, False, "of a correlation or of R²"),
}  # fmt: skip
_KINDS = {
    "reward": "accuracies", "accuracy": "accuracies", "entropy": "entropy", "generator reward": "rewards",
    "gain": "rewards", "perplexity": "perplexity", "tokens": "costs", "rank correlation": "fits",
    "power-law fit": "fits", "mask position": "fits",
}  # fmt: skip


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


def judge(table: pd.DataFrame, tier: str) -> pd.DataFrame:
    """The tested claims with p_holm, p_margin_holm, p_along_holm, verdict, small, along and seeds.

    table: a row a claim: paper, direction, effect, margin, spread (of the pairs' differences), shared (variance),
    p (against nothing), p_margin, p_along and effect_along (NaN where there is no curve), signs (whether all bases
    agree), failed (the precondition that does not hold, or ""). Rows without p are not run.
    """
    table = table.assign(**{f"{p}_holm": float("nan") for p in ("p", "p_margin", "p_along")}, left=1)
    for _, paper in table.groupby("paper"):
        for p in ("p", "p_margin", "p_along"):
            family = paper.loc[paper[p].notna() & (paper["failed"] == ""), p]
            table.loc[family.index, f"{p}_holm"] = holm(family)
            if p == "p":  # Holm's factor: how many of the family's tests are not smaller
                table.loc[family.index, "left"] = len(family) + 1 - family.rank(method="first").astype(int)
    words = [_verdict(row, tier) for row in table.to_dict("records")]
    return table.drop(columns="left").assign(**pd.DataFrame(words, index=table.index))


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
        if differs:
            word = "reproduced" if way * row["effect"] > 0 else "contradicted"
            word = word if row["signs"] else "inconclusive"
    else:
        beyond = abs(row["effect"]) > row["margin"] and way * row["effect"] <= 0
        word = "reproduced" if within else "contradicted" if differs and beyond else "inconclusive"
    small = row["direction"] in "<>" and differs and abs(row["effect"]) < row["margin"]
    along = ""
    if row["p_along_holm"] < ALPHA and word in ("no difference", "inconclusive"):
        along = "as claimed" if way * row["effect_along"] > 0 else "the other way"
    seeds = None
    if word == "inconclusive":
        alpha = ALPHA / row["left"]
        seeds = seeds_needed(row["effect"], row["spread"], row["margin"], row["shared"], alpha, POWER)
    return {"verdict": f"{word} at {tier}", "small": bool(small), "along": along, "seeds": seeds}
