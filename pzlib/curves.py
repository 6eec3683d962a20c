"""From a table of runs to lines: what every figure checks, one curve a method with its seeds and interval.
Left out of the papers: nothing of theirs, since they show single runs; seeds and intervals are ours."""

import numpy as np
import pandas as pd

from pzlib.stats import bootstrap_ci
from pzlib.style import Mark, Picture, caption, mark_of

RUN = ["run_id", "objective", "tier", "seed", "step"]
BAND = "Line: mean over seeds; band: 95 % bootstrap interval over seeds; thin lines: single seeds."
ALONE = "One seed only, so no interval."


def checked(table: pd.DataFrame, name: str, columns: list[str], key: tuple = ()) -> pd.DataFrame:
    """The table, after refusing what would draw a wrong figure: no rows or column, mixed tiers, doubled runs.

    `key` names the columns that, with run and step, tell the rows of `table` apart. Raises ValueError.

    >>> checked(pd.DataFrame({"run_id": ["a"]}), "training", [])
    Traceback (most recent call last):
    ValueError: training: 'objective' is not a column; it has ['run_id']; collect the runs again
    """
    absent = [column for column in [*RUN, *columns] if column not in table.columns]
    if absent:
        raise ValueError(
            f"{name}: {absent[0]!r} is not a column; it has {sorted(table.columns)}; collect the runs again"
        )
    if table.empty:
        raise ValueError(f"{name}: no rows; run notebook 04, then `python -m pzlib results`")
    tiers = sorted(table["tier"].unique())
    if len(tiers) > 1:
        raise ValueError(f"{name}: rows of the tiers {', '.join(tiers)}; give those of one")
    for (objective, seed), ids in table.groupby(["objective", "seed"])["run_id"].unique().items():
        if len(ids) > 1:
            raise ValueError(f"{name}: several runs of {objective}, seed {seed}: {', '.join(ids)}; give one")
    if table.duplicated(["run_id", "step", *key]).any():
        raise ValueError(f"{name}: a run has two rows for one step; collect the runs again")
    return table


def wide(rows: pd.DataFrame, column: str, window: int = 1) -> pd.DataFrame:
    """One method's `column` as steps × seeds, up to the last step that every seed has.

    `window` > 1 smooths every seed by a centred running mean over so many steps.

    >>> rows = {"step": [1, 2, 1], "seed": [0, 0, 1], "reward": [0.0, 0.5, 1.0]}
    >>> wide(pd.DataFrame(rows), "reward").to_numpy().tolist()
    [[0.0, 1.0]]
    """
    table = rows.pivot(index="step", columns="seed", values=column).sort_index().astype(float)
    table = table.loc[: rows.groupby("seed")["step"].max().min()]
    return table.rolling(window, min_periods=1, center=True).mean() if window > 1 else table


def smoothing(steps: pd.Series) -> int:
    """The running mean's length: a twentieth of the run.

    >>> smoothing(pd.Series([1, 200])), smoothing(pd.Series([1, 12]))
    (10, 1)
    """
    return max(1, int(steps.max()) // 20)


def smoothed(window: int) -> str:
    """The caption's words for a running mean; none where nothing was smoothed.

    >>> smoothed(10)
    'Running mean over 10 steps.'
    """
    return f"Running mean over {window} steps." if window > 1 else ""


def curve(ax, table: pd.DataFrame, mark: Mark, label: str, *, line: str = "-", marker: str = "") -> None:
    """Draw `wide` values: thin lines for the seeds, a thick one for their mean, a band from two seeds on."""
    table = table.dropna(how="all")
    if table.empty:
        return
    if table.shape[1] > 1:
        ax.plot(table.index, table, color=mark.colour, linewidth=0.5, alpha=0.3, linestyle=line)
        thinned = table.iloc[:: max(1, len(table) // 60)]
        seeds = [row[~np.isnan(row)] for row in thinned.to_numpy()]
        ends = np.array([bootstrap_ci(values, n=1000) for values in seeds])  # (steps, 2)
        ax.fill_between(thinned.index, ends[:, 0], ends[:, 1], color=mark.colour, alpha=0.18, linewidth=0)
    look = {"color": mark.colour, "linestyle": line, "marker": marker, "markersize": 4}
    ax.plot(table.index, table.mean(axis=1), **look, label=label)


def legend(figure, axes) -> None:
    """One legend above all panels, each name once."""
    found = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        figure.legend(found.values(), found.keys(), loc="outside upper left", ncols=4)


def explain(figure: Picture, table: pd.DataFrame, source: str, words: str, *, lines: bool = True) -> None:
    """Write under the figure how to read it, then the table's name with its numbers of rows and of seeds."""
    seeds = table.groupby("objective")["seed"].nunique()
    counts = ", ".join(f"{mark_of(objective).label} {count}" for objective, count in seeds.items())
    how = ALONE if seeds.max() == 1 else BAND if lines else ""
    origin = f"{source}, tier {table['tier'].iloc[0]}: {len(table)} rows; seeds: {counts}."
    caption(figure, " ".join(f"{how} {words}".split()), origin)
