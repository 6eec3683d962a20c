"""From a table of runs to lines: what every figure checks, one curve an arm with its seeds and interval.
Left out of the papers: nothing of theirs, since they show single runs; seeds and intervals are ours."""

import textwrap

import numpy as np
import pandas as pd

from pzlib.figures.style import Mark, Picture, caption, marks_of
from pzlib.stats import bootstrap_ci, paired_test

TRAINING, TINYBENCH = "data/results/training.csv", "data/results/tinybench.csv"  # what a figure says it is made from

COSTS = "data/results/costs.csv"

RUN = ["run_id", "objective", "tier", "seed", "step"]

GROUPS = {"general": "General", "math": "Math", "spans": "Masked words"}  # of tinybench.csv, as titles

MASKED_WORDS = "Masked words: words of unseen passages that reasoning can deduce."

BAND = "Line: mean over seeds; band: 95 % bootstrap interval over seeds; thin lines: single seeds."

SEEDS = "Large marks: mean; bars: 95 % bootstrap interval over seeds; small marks: single seeds."

ALONE = "One seed only, so no interval."



def armed(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column `arm`, by which everything is compared; where no study names it, the objective."""
    return table if "arm" in table or "objective" not in table else table.assign(arm=table["objective"])



def checked(table: pd.DataFrame, name: str, columns: list[str], key: tuple = ()) -> pd.DataFrame:
    """The `armed` table, after refusing what would draw a wrong figure: no rows or column, mixed tiers, doubled runs.

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
    table = armed(table)
    for (arm, seed), ids in table.groupby(["arm", "seed"])["run_id"].unique().items():
        if len(ids) > 1:
            remedy = "give one, as pzlib.studies.select does"
            raise ValueError(f"{name}: several runs of {arm}, seed {seed}: {', '.join(ids)}; {remedy}")
    if table.duplicated(["run_id", "step", *key]).any():
        raise ValueError(f"{name}: a run has two rows for one step; collect the runs again")
    return table



def by_arm(table: pd.DataFrame) -> list[tuple[pd.DataFrame, Mark]]:
    """The rows and the Mark of every arm, in the order in which the table first names them."""
    return [(table[table["arm"] == arm], mark) for arm, mark in marks_of(table["arm"]).items()]



def group_means(tinybench: pd.DataFrame, values: str | list = "accuracy", group: str = "group") -> pd.DataFrame:
    """Plain mean over the tasks of a group, as the paper's averages: one row a run, step and group."""
    return tinybench.groupby(["arm", *RUN, group], as_index=False, sort=False)[values].mean()



def wide(rows: pd.DataFrame, column: str, window: int = 1) -> pd.DataFrame:
    """One arm's `column` as steps × seeds, up to the last step that every seed has.

    `window` > 1 smooths every seed by a centred running mean over so many rows.

    >>> rows = {"step": [1, 2, 1], "seed": [0, 0, 1], "reward": [0.0, 0.5, 1.0]}
    >>> wide(pd.DataFrame(rows), "reward").to_numpy().tolist()
    [[0.0, 1.0]]
    """
    table = rows.pivot(index="step", columns="seed", values=column).sort_index().astype(float)
    table = table.loc[: rows.groupby("seed")["step"].max().min()]
    return table.rolling(window, min_periods=1, center=True).mean() if window > 1 else table



def binned(training: pd.DataFrame) -> int:
    """How many steps a row is the mean of: 1 in a run's own metrics, more in training.csv.

    >>> binned(pd.DataFrame({"run_id": "a", "step": [10, 20, 30]})), binned(pd.DataFrame({"run_id": "a", "step": [1]}))
    (10, 1)
    """
    gaps = training.sort_values("step").groupby("run_id")["step"].diff()
    return int(gaps.median()) if gaps.notna().any() else 1



def smoothing(training: pd.DataFrame) -> int:
    """The running mean's length in rows: a twentieth of the run; 1, so none, for rows that are means already.

    >>> [smoothing(pd.DataFrame({"run_id": "a", "step": steps})) for steps in (range(1, 201), [1, 2], [100, 200])]
    [10, 1, 1]
    """
    return 1 if binned(training) > 1 else max(1, int(training["step"].max()) // 20)



def averaged(training: pd.DataFrame) -> str:
    """The caption's words for `binned` or `smoothing`; none where a point is one step.

    >>> averaged(pd.DataFrame({"run_id": "a", "step": [10, 20]}))
    'Each point: mean over the 10 steps up to it.'
    """
    width, window = binned(training), smoothing(training)
    if width > 1:
        return f"Each point: mean over the {width} steps up to it."
    return f"Running mean over {window} steps." if window > 1 else ""



def curve(ax, table: pd.DataFrame, mark: Mark, label: str, *, line: str = "") -> None:
    """Draw `wide` values: thin lines for the seeds, a thick one for their mean, a band from two seeds on.

    `line` is a dash other than the mark's own; its markers are open.
    """
    look = {"markerfacecolor": "white"} if line else {}
    table, line = table.dropna(how="all"), line or mark.line
    if table.empty:
        return
    if table.shape[1] > 1:
        ax.plot(table.index, table, color=mark.colour, linewidth=0.5, alpha=0.3, linestyle=line)
        thinned = table.iloc[:: max(1, len(table) // 60)]
        seeds = [row[~np.isnan(row)] for row in thinned.to_numpy()]
        ends = np.array([bootstrap_ci(values, n=1000) for values in seeds])  # (steps, 2)
        ax.fill_between(thinned.index, ends[:, 0], ends[:, 1], color=mark.colour, alpha=0.18, linewidth=0)
    look |= {"color": mark.colour, "linestyle": line, "marker": mark.marker, "markersize": 4}
    few = 1 if len(table) < 10 else len(table) // 5  # enough markers to tell the lines apart
    ax.plot(table.index, table.mean(axis=1), **look, markevery=few, label=label)



def panel(ax, table: pd.DataFrame, column: str, title: str, window: int = 1, unit: float = 1) -> None:
    """One curve an arm of `column` times `unit`, by step; an arm that lacks it is left out."""
    for rows, mark in by_arm(table):
        if column in rows and rows[column].notna().any():
            curve(ax, wide(rows, column, window) * unit, mark, mark.label)
    ax.set(title=title, xlabel="Step")
    ax.xaxis.get_major_locator().set_params(integer=True)



def stacked(ax, rows: pd.DataFrame, shares: pd.DataFrame, colours: list, window: int = 1) -> None:
    """One arm's `shares` (a row a row of `rows`) as a stack by step, mean over the seeds."""
    means = [wide(rows.assign(share=shares[name]), "share", window).mean(axis=1) for name in shares]
    means = pd.concat(means, axis=1, keys=shares.columns).dropna(how="all")  # a step without masks: the stack spans it
    labels = [str(name).replace("_", " ") for name in means]
    ax.stackplot(means.index, means.to_numpy().T, labels=labels, colors=colours, linewidth=0.3, edgecolor="white")
    first, last = means.index.min(), means.index.max()
    ax.set(xlabel="Step", ylim=(0, 1), xlim=(first, max(last, first + 1)))
    ax.grid(visible=False)



def seeds(ax, place: float, values: np.ndarray, mark: Mark) -> None:
    """One arm as a row of a chart: the mean with its interval, under it every seed as a small mark."""
    if len(values) == 0:
        return
    small = {"color": mark.colour, "markersize": 3.5, "alpha": 0.55, "linestyle": ""}
    ax.plot(values, np.full(len(values), place + 0.05), mark.marker, **small)
    mean, (low, high) = values.mean(), bootstrap_ci(values)
    reach = np.maximum([[mean - low], [high - mean]], 0)  # rounding can leave equal values a hair apart
    ax.errorbar(mean, place - 0.2, xerr=reach, fmt=mark.marker, color=mark.colour, markersize=6, capsize=3)



def difference(values: pd.Series, reference: pd.Series) -> str:
    """One arm minus another in points, over the seeds (the index) that both have; empty below two of them.

    >>> difference(pd.Series([3.0, 5.0]), pd.Series([1.0, 2.0, 9.0]))
    '+2.5 [+2.0, +3.0]'
    """
    pairs = pd.concat([values, reference], axis=1).dropna().to_numpy().T
    if pairs.shape[1] < 2:
        return ""
    test = paired_test(*pairs)
    low, high = test["interval"]
    return f"{test['difference']:+.1f} [{low:+.1f}, {high:+.1f}]".replace("-", "−")



def folded(label: str, width: int = 18) -> str:
    """A name of an arm in lines of so many characters, the first break after a comma; for an axis or a title.

    >>> folded("negative accuracy, zero rule")
    'negative accuracy,\\nzero rule'
    """
    if len(label) <= width:
        return label
    parts = label.replace(", ", ",\n", 1).split("\n")
    return "\n".join(textwrap.fill(part, width, break_on_hyphens=False, break_long_words=False) for part in parts)



def legend(figure, axes) -> None:
    """One legend above all panels, each name once, in as many columns as the names leave room for."""
    found = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        columns = 116 // (max(map(len, found)) + 8)
        figure.legend(found.values(), found.keys(), loc="outside upper left", ncols=max(1, min(4, columns)))



def explain(figure: Picture, table: pd.DataFrame, source: str, words: str, *, lines: bool = True) -> None:
    """Write under the figure how to read it, then the table's name with its numbers of rows and of seeds."""
    seeds = table.groupby("arm", sort=False)["seed"].nunique()
    usual, marks = int(seeds.mode().iloc[0]), marks_of(seeds.index)
    others = ", ".join(f"{marks[arm].label} {count}" for arm, count in seeds.items() if count != usual)
    counts = f"{usual} an arm" if len(seeds) > 1 else str(usual)
    how = ALONE if seeds.max() == 1 else BAND if lines else ""
    origin = f"{source}, tier {table['tier'].iloc[0]}: {len(table)} rows; seeds: {counts}"
    caption(figure, " ".join(f"{how} {words}".split()), origin + (f", but {others}" if others else "") + ".")
