"""RPT's results as tables: next-token accuracy by split (its Table 1), along compute, and its scaling law (Fig. 5).
Left out: how RPT turns steps into FLOPs, which it doesn't say; 8 for each weight and token are counted here."""

from __future__ import annotations

import pandas as pd

from pzlib.powerlaw import PowerLaw, fit
from pzlib.studytables import tokens_used

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
