"""Runs that degenerated: every completion at the cut, or an entropy near 0, for a while; found in rows of training.
Left out: why. Such a run stays in every mean; it is marked wherever it is shown, so that nobody reads it as a result."""

import pandas as pd

STEPS = 20  # for at least so many steps on end
LEAST_ENTROPY = 0.05  # nats a token
MARK = "†"  # in legends, captions and tables
SIGNS = {
    "every completion at the cut": ("predictor/clipped", lambda share: share >= 1 - 1e-6),
    f"entropy under {LEAST_ENTROPY}": ("predictor/entropy", lambda nats: nats < LEAST_ENTROPY),
}


def degenerate(training: pd.DataFrame) -> pd.Series:
    """{run_id: since when and by which sign} of the runs that degenerated; the others are not in it.

    training: rows of training.csv, each a mean over the steps since the row before, or of a run's metrics with a column
    `run_id`. Methods that sample nothing have no such columns and cannot degenerate in this sense.

    >>> rows = {"run_id": "a", "step": [10, 20, 30], "predictor/clipped": [0.4, 1.0, 1.0]}
    >>> degenerate(pd.DataFrame(rows)).to_dict()
    {'a': 'every completion at the cut from step 11 to 30'}
    """
    found = {}
    for run_id, rows in training.groupby("run_id", sort=False):
        rows = rows.sort_values("step")
        before = rows["step"].shift(fill_value=0)
        for words, (column, holds) in SIGNS.items():
            if column not in rows:
                continue
            sick = holds(rows[column].astype(float))
            for _, own in rows[sick].groupby((~sick).cumsum()[sick]):
                start, end = int(before[own.index[0]]), int(own["step"].iloc[-1])
                if end - start >= STEPS:
                    found.setdefault(run_id, f"{words} from step {start + 1} to {end}")
    return pd.Series(found, dtype=object, name="degenerate")


def notes(table: pd.DataFrame, label=str) -> list[str]:
    """A line for each run that degenerated, as its arm's label, seed and words, by the column `degenerate` of the table
    (`pzlib.studies.results.with_marks`); [] for one without it.

    >>> row = {"arm": "rlp", "seed": 1, "degenerate": "every completion at the cut from step 11 to 30"}
    >>> notes(pd.DataFrame([row]))
    ['† rlp, seed 1: every completion at the cut from step 11 to 30']
    """
    if "degenerate" not in table:
        return []
    runs = table[table["degenerate"].fillna("") != ""].drop_duplicates(["arm", "seed"])
    return [f"{MARK} {label(row.arm)}, seed {row.seed}: {row.degenerate}" for row in runs.itertuples()]
