"""Patterns of reasoning as tables: shares of responses with intervals, by source or run, and paired comparisons.
Left out: models of variance between seeds and cases together; each is tested on its own."""

from __future__ import annotations

import pandas as pd

from pzlib.patterns import AMOUNTS, PATTERNS
from pzlib.stats import bootstrap_ci, holm, paired_test, wilson


def means(table: pd.DataFrame, by: list[str], columns: tuple[str, ...] = (*PATTERNS, *AMOUNTS)) -> pd.DataFrame:
    """Mean of each column with its 95 % interval: a row a group of `by` and column, with n, cases, mean, low, high.

    table: `pzlib.patterns.measured`, with a column `case`. The mean of a pattern is the share of responses that have
    it, and its interval Wilson's. Responses to one case are alike, so that is taken at their effective number (the
    variance between cases decides, Korn & Graubard 1998), and where none or all have the pattern at the number of
    cases. The interval of an amount is a bootstrap over the means of cases. Unknown values (restates without a
    prompt) are not in n.

    >>> rows = {"source": "a", "case": ["p", "p", "q", "q"], "words": [3.0, 5.0, 4.0, 4.0]}
    >>> means(pd.DataFrame(rows), ["source"], ("words",)).to_dict("records")
    [{'source': 'a', 'pattern': 'words', 'n': 4, 'cases': 2, 'mean': 4.0, 'low': 4.0, 'high': 4.0}]
    """
    rows = []
    for key, group in table.groupby(by, sort=False, dropna=False):
        for column in columns:
            known = group.dropna(subset=column)
            if len(known):
                interval = _share if column in PATTERNS else _amount
                mean, (low, high) = interval(known[column], known["case"])
                row = {"pattern": column, "n": len(known), "cases": known["case"].nunique()}
                rows.append(dict(zip(by, key, strict=True)) | row | {"mean": mean, "low": low, "high": high})
    return pd.DataFrame(rows, columns=[*by, "pattern", "n", "cases", "mean", "low", "high"])


def _share(values: pd.Series, cases: pd.Series) -> tuple[float, tuple[float, float]]:
    n, m, share = len(values), cases.nunique(), float(values.mean())
    effective = m
    if 0 < share < 1:
        apart = (values - share).groupby(cases).sum()
        variance = float((apart**2).sum()) / n**2 * m / max(1, m - 1)
        # At least 1: a lone case tells nothing of others. At most n, which a variance of 0 would exceed.
        effective = max(1.0, share * (1 - share) / max(variance, share * (1 - share) / n))
    return share, wilson(share * effective, effective)


def _amount(values: pd.Series, cases: pd.Series) -> tuple[float, tuple[float, float]]:
    return float(values.mean()), bootstrap_ci(values.groupby(cases).mean())


def by_run(table: pd.DataFrame, arms) -> pd.DataFrame:
    """What data/results/patterns.csv holds: `means` of every run's answers, and at step 0 of the base's with its seed.

    table: `pzlib.patterns.measured` answers whose source is an arm, "<arm>, step <n>" or "base"; arms: (arm, Run)
    pairs, as `pzlib.studies.Study.runs` gives; one whose run gave no answers has no rows.
    """
    parts, arm_of = [], table["source"].str.partition(", step ")[0]
    for arm, run in arms:
        own = table[table["seed"].eq(run.seed) & arm_of.isin([arm, "base"])]
        if arm in set(own["source"]):
            parts.append(own.assign(run_id=run.run_id, objective=run.objective, tier=run.tier))
    keys = ["run_id", "objective", "tier", "seed", "step"]
    return means(pd.concat(parts or [table[:0]]), keys, (*PATTERNS, *AMOUNTS, "right"))


def compare(table: pd.DataFrame, first: str, second: str, patterns=PATTERNS, over: str = "case") -> pd.DataFrame:
    """What `second` has more than `first` of each pattern, by paired tests over cases or over seeds.

    table: `pzlib.patterns.measured`, with columns source and `over`; each case (or seed) that both sources have counts
    once, by its mean over all else. Over cases the question is whether *these* models differ on other passages; over
    seeds, whether the *methods* would on other runs. p is from sign flips (`stats.paired_test`), `p (Holm)` is adjusted
    for the number of patterns that differ anywhere; the others have no test.
    Errors: ValueError where nothing is shared.
    """
    sides = [table[table["source"] == name].groupby(over)[list(patterns)].mean() for name in (first, second)]
    common = sides[0].index.intersection(sides[1].index)
    if common.empty:
        raise ValueError(f"{over}: {first!r} and {second!r} have no {over} in common; line them up first")
    rows = []
    for pattern in patterns:
        pairs = pd.concat([side.loc[common, pattern] for side in sides], axis=1).dropna().to_numpy()
        if not len(pairs):
            continue
        row = {"pattern": pattern, first: pairs[:, 0].mean(), second: pairs[:, 1].mean(), "n": len(pairs)}
        if (pairs[:, 0] != pairs[:, 1]).any():
            test = paired_test(pairs[:, 1], pairs[:, 0])
            low, high = test["interval"]
            row |= {"difference": test["difference"], "low": low, "high": high, "p": test["p"]}
        rows.append(row)
    found = pd.DataFrame(rows).reindex(columns=["pattern", first, second, "difference", "low", "high", "p", "n"])
    tested = found["p"].notna()
    found.loc[tested, "p (Holm)"] = holm(found.loc[tested, "p"]) if tested.any() else None
    return found.set_index("pattern")
