"""RPT's results as tables: next-token accuracy by split (its Table 1), along compute, and its scaling law (Fig. 5).
Left out: how RPT turns steps into FLOPs, which it doesn't say; 8 for each weight and token are counted here."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pandas as pd

from pzlib.stats import paired_test
from pzlib.studies.powerlaw import PowerLaw, fit
from pzlib.world.tinywiki import kind_class

CLASSES = ("trivial", "reasoning", "irreducible")

ARM = re.compile(r"(\w+), density ([\d.]+), noise ([\d.]+)")

PAIRS = (("pretrainzero", "random_span"), ("entropy_next_token", "random_span"))



def kind_columns(table: pd.DataFrame) -> list[str]:
    """The columns `mask/<kind>` in which some step has a share."""
    kinds = [name for name in table if name.startswith("mask/") and name not in ("mask/words", "mask/position")]
    return [name for name in kinds if table[name].fillna(0).any()]



def plain_kind(kind: str) -> str:
    """A kind without its direction: `x_inverse` is the same fact, asked from its other end."""
    return kind.removesuffix("_inverse")



def kind_shares(training: pd.DataFrame, name: Callable[[str], str] = plain_kind) -> pd.DataFrame:
    """One row a row of `training`: the share of the legal masks of each kind, from trivial to irreducible.

    Kinds that `name` calls the same are added up. A row sums to 1: a kind that is absent where there were masks has
    share 0. NaN where no mask was legal. Raises ValueError for a table without a kind.

    >>> kind_shares(pd.DataFrame({"mask/sum": [0.5, None], "mask/sum_inverse": 0.25, "mask/trivial": 0.25})).to_dict()
    {'trivial': {0: 0.25, 1: 0.25}, 'sum': {0: 0.75, 1: 0.25}}
    """
    kinds = kind_columns(training)
    if not kinds:
        raise ValueError(f"training: 'mask/<kind>' is not a column with shares; it has {sorted(training.columns)}")
    some = training[kinds].notna().any(axis=1)
    shares = training[kinds].fillna(0.0).where(some, axis=0).T
    shares = shares.groupby([name(kind.removeprefix("mask/")) for kind in kinds]).sum(min_count=1).T
    place = {"trivial": 0, "irreducible": 2}
    return shares[sorted(shares, key=lambda kind: (place.get(kind, 1), kind))]



def class_accuracy(training: pd.DataFrame) -> pd.DataFrame:
    """One row a row of `training`: accuracy on trivial, reasoning and irreducible masks, NaN where there were none.

    From `accuracy/<kind>`, each kind weighted by its share `mask/<kind>` of the masks.

    >>> rows = {"mask/sum": [0.1], "accuracy/sum": [1.0], "mask/month": [0.3], "accuracy/month": [0.2]}
    >>> class_accuracy(pd.DataFrame(rows)).round(6).to_numpy().tolist()
    [[nan, 0.4, nan]]
    """
    found = pd.DataFrame(np.nan, training.index, list(CLASSES))
    for name in CLASSES:
        kinds = [column.removeprefix("mask/") for column in kind_columns(training)]
        kinds = [kind for kind in kinds if kind_class(kind) == name and f"accuracy/{kind}" in training]
        right = training[[f"accuracy/{kind}" for kind in kinds]].to_numpy(dtype=float)
        share = training[[f"mask/{kind}" for kind in kinds]].to_numpy(dtype=float)
        share = np.where(np.isnan(right) | np.isnan(share), 0.0, share)
        weight = share.sum(axis=1)
        found[name] = np.where(weight > 0, np.nansum(right * share, axis=1) / np.where(weight > 0, weight, 1), np.nan)
    return found



def hits_shares(training: pd.DataFrame) -> pd.DataFrame:
    """One row a row of `training`, one arm's: share of the masks that k of G predictions found; columns k / G.

    Raises ValueError for a table without `hits/0`.

    >>> hits_shares(pd.DataFrame({"hits/0": [0.5], "hits/1": [0.25], "hits/2": [0.25], "hits/3": [None]})).to_dict()
    {0.0: {0: 0.5}, 0.5: {0: 0.25}, 1.0: {0: 0.25}}
    """
    names = [name for name in training if name.startswith("hits/") and training[name].notna().any()]
    if "hits/0" not in names:
        raise ValueError(f"training: 'hits/0' is not a column with shares; it has {sorted(training.columns)}")
    group = len(names) - 1
    return training[[f"hits/{k}" for k in range(group + 1)]].set_axis([k / group for k in range(group + 1)], axis=1)



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



def at_equal(tinybench: pd.DataFrame, used: str) -> pd.DataFrame:
    """The rows of each run's last evaluation within a column `budget`: the least that a run had used by its end.

    used: the column that says how much of it a run had used by a row's step.

    >>> rows = {"run_id": list("aaabb"), "step": [0, 1, 2, 0, 1], "seconds": [0, 5, 10, 0, 6]}
    >>> at_equal(pd.DataFrame(rows), "seconds")[["run_id", "step", "budget"]].to_numpy().tolist()
    [['a', 1, 6], ['b', 1, 6]]
    """
    table = tinybench.assign(budget=tinybench.groupby("run_id")[used].max().min())
    table = table[table[used] <= table["budget"]]
    return table[table["step"] == table.groupby("run_id")["step"].transform("max")]



def map_differences(tinybench: pd.DataFrame, group: str = "spans") -> pd.DataFrame:
    """A row a pair of `PAIRS` and place on the map: final accuracy of one minus the other in points, paired by seed.

    Columns first, second, density, noise, difference, low, high (95 % interval), n (pairs of seeds); a place with
    fewer than two pairs is left out. Raises ValueError for an arm not named "<objective>, density <d>, noise <n>".
    """
    table = tinybench[tinybench["group"] == group]
    table = table[table["step"] == table.groupby("run_id")["step"].transform("max")]
    means = table.groupby(["arm", "seed"])["accuracy"].mean() * 100
    cells = {}
    for arm in table["arm"].unique():
        match = ARM.fullmatch(arm)
        if not match:
            raise ValueError(f"arm: {arm!r} is no place on the map; name it '<objective>, density <d>, noise <n>'")
        objective, density, noise = match.groups()
        cells[objective, float(density), float(noise)] = means[arm]
    rows = []
    for first, second in PAIRS:
        for objective, density, noise in cells:
            other = cells.get((second, density, noise))
            if objective != first or other is None:
                continue
            pairs = pd.concat([cells[first, density, noise], other], axis=1).dropna().to_numpy().T
            if pairs.shape[1] > 1:
                test = paired_test(*pairs)
                found = [first, second, density, noise, test["difference"], *test["interval"], test["n"]]
                rows.append(found)
    return pd.DataFrame(rows, columns=["first", "second", "density", "noise", "difference", "low", "high", "n"])


SPLITS = ("easy", "medium", "hard")

WAYS = {"next token": "reasoning", "next token, direct": "outright"}  # group of tinybench.csv -> how it was predicted

FLOPS = 8  # a weight and token: 2 to draw or read it, 6 to learn from it (Kaplan et al., arXiv:2001.08361, section 2.1)



def next_token_accuracy(tinybench: pd.DataFrame) -> pd.DataFrame:
    """One row an arm, seed, step, split and way ("reasoning", "outright"): accuracy in %, of n answers.

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
    return table.assign(flops=FLOPS * tokens_used(table, training) * table["run_id"].map(weights))



def laws(table: pd.DataFrame, way: str = "reasoning") -> dict[tuple[str, str], PowerLaw]:
    """{(arm, split): the PowerLaw of the means over seeds along compute}; absent where it can't be fitted.

    table: of `along_compute`. Step 0 has spent nothing and is left out, as RPT fits checkpoints of training only. A law
    needs four of them that differ.
    """
    found = {}
    trained = table[(table["way"] == way) & (table["step"] > 0)]
    for (arm, split), rows in trained.groupby(["arm", "split"], sort=False):
        means = rows.groupby("step")[["flops", "accuracy"]].mean()
        if len(means) >= 4 and means["accuracy"].nunique() > 1:
            found[arm, split] = fit(means["flops"], means["accuracy"])
    return found



def laws_table(found: dict[tuple[str, str], PowerLaw]) -> pd.DataFrame:
    """The laws with their 95 % intervals, a row each: what RPT's Fig. 5 prints (R²) and what it doesn't."""
    rows = []
    for (arm, split), law in found.items():
        row = {"arm": arm, "split": split, "points": len(law.computes), "decades": law.decades}
        for name, value in (("alpha", law.alpha), ("limit", law.limit), ("scale", law.scale)):
            low, high = law.intervals[name]
            row |= {name: value, f"{name}, low": low, f"{name}, high": high}
        rows.append(row | {"R²": law.r2, "R² of a line in log C": law.r2_log})
    return pd.DataFrame(rows)
