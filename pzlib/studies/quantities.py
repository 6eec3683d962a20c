"""What a claim measures that is no column of one table: costs, correlations over arms, fits, the base's sampling error.
Each is a plain function of a study's rows and gives values by seed. No paper states how it measured them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from pzlib.evaluation.benchmarks import BENCHMARKS
from pzlib.stats import power_law
from pzlib.studies import metrics
from pzlib.studies.metrics import METRICS, values

Rows = Callable[[str], pd.DataFrame]  # the name of a table -> the study's rows of it, with their arm and seed
EVERY = "every start"  # as an arm: all arms of a study at once


def tokens(rows_of: Rows, arm: str) -> pd.Series:
    """Thousand tokens (prompts and completions) that each run of an arm has used at its end."""
    training = rows_of("training")
    own = training[training["arm"] == arm].sort_values("step")
    each = own["tokens_prompt"].fillna(0) + own["tokens_completion"].fillna(0)
    steps = own.groupby("run_id")["step"].diff().fillna(own["step"])
    return (each * steps).groupby(own["seed"]).sum() / 1000


def length_wander(rows_of: Rows, arm: str) -> pd.Series:
    """How far the length of answers to questions wanders along a run: highest less lowest of its evaluations."""
    rows = rows_of("tinybench")
    own = rows[(rows["arm"] == arm) & rows["group"].isin(metrics.QUESTIONS)]
    means = own.groupby(["seed", "step", "group"])["length"].mean().groupby(["seed", "step"]).mean()
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
    (RPT's Fig. 5 prints one for each split)."""
    tinybench, training, runs = (rows_of(name) for name in ("tinybench", "training", "runs"))
    table = metrics.along_compute(*(rows[rows["arm"] == arm] for rows in (tinybench, training, runs)))
    table = table[(table["way"] == "reasoning") & (table["step"] > 0)]
    found = {}
    for (seed, _), own in table.groupby(["seed", "split"]):
        if own["flops"].nunique() >= 4 and own["accuracy"].nunique() > 1:
            found.setdefault(seed, []).append(power_law(own["flops"], own["accuracy"]).r2)
    return pd.Series({seed: float(np.mean(fits)) for seed, fits in found.items()}, dtype=float)


QUANTITIES = {
    "tokens": tokens, "length wander": length_wander, "rank correlation": rank_correlation,
    "power-law fit": power_law_fit,
}  # fmt: skip


def sampling_variance(rows: pd.DataFrame, metric: str) -> float | None:
    """The variance that the drawing of answers gives one evaluation of one model; None where the rows don't tell.

    rows: one model's, asked once (step 0 of one run), of the table that holds the metric. Of a share it is p (1 - p) / n
    for every task, n its number of answers: an upper bound, since questions differ in difficulty. What is not drawn (a
    most likely token, a greedy answer, the likelihood of a text) has none.

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
    each = (share * (1 - share) / rows["n"] * drawn).groupby(rows["group"]).agg(["sum", "count"])
    return float(1e4 * (each["sum"] / each["count"] ** 2).sum() / len(each) ** 2) if len(each) else None
