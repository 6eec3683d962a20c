"""The forms of all figures: lines along training, stacks, bars, rows of seeds; what is checked and written below them.
Left out of the papers: nothing of theirs, since they show single runs; seeds and intervals are ours."""

import textwrap
from collections.abc import Callable
from string import ascii_lowercase
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from pzlib.errors import NothingToDraw
from pzlib.figures.style import Mark, Picture, caption, marks_of
from pzlib.stats import bootstrap_ci, paired_test
from pzlib.studies.metrics import METRICS, armed, comparable, label_of
from pzlib.studies.results import notes

TRAINING, TINYBENCH = "data/results/training.csv", "data/results/tinybench.csv"  # what a figure says it is made from
RUN = ["run_id", "objective", "tier", "seed", "step"]
BAND = "Line: mean over seeds; band: 95 % bootstrap interval over seeds; thin lines: single seeds."
SEEDS = "Large marks: mean; bars: 95 % bootstrap interval over seeds; small marks: single seeds."
ALONE = "One seed only, so no interval."
MASKED_WORDS = "Masked words: words of unseen passages that reasoning can deduce."
NOT_AT_ZERO = "The axes do not start at zero"


class Panel(NamedTuple):
    """One panel of lines: a column, its title, what it is multiplied by, and the ends of its axis."""

    column: str
    title: str
    unit: float = 1
    ends: tuple = ()


def panel_of(metric: str, unit: str = "", ends: tuple = ()) -> Panel:
    """The Panel of a metric: its own column, and its title with `unit` behind it.

    >>> panel_of("entropy", " (nats a token)")[:2]
    ('predictor/entropy', 'Entropy (nats a token)')
    """
    return Panel(METRICS[metric].column, METRICS[metric].title + unit, ends=ends)


def checked(table: pd.DataFrame, name: str, columns: list[str]) -> pd.DataFrame:
    """The `armed` table, after refusing what would draw a wrong figure: no rows or column, mixed tiers, doubled runs.

    A row is one of a run and step, and where `columns` name them, of a task or pattern. Raises ValueError.

    >>> checked(pd.DataFrame({"run_id": ["a"]}), "training", [])
    Traceback (most recent call last):
    ValueError: training: 'objective' is not a column; it has ['run_id']; collect the runs again
    """
    if absent := [column for column in [*RUN, *columns] if column not in table]:
        raise ValueError(f"{name}: {absent[0]!r} is not a column; it has {sorted(table)}; collect the runs again")
    if table.empty:
        raise NothingToDraw(f"{name}: no rows; run notebook 04, then `python -m pzlib results`")
    if table["tier"].nunique() > 1:
        raise ValueError(f"{name}: rows of the tiers {', '.join(sorted(table['tier'].unique()))}; give those of one")
    table = armed(table)
    for (arm, seed), ids in table.groupby(["arm", "seed"])["run_id"].unique().items():
        if len(ids) > 1:
            raise ValueError(f"{name}: several runs of {arm}, seed {seed}: {', '.join(ids)}; give those of one study")
    if table.duplicated(["run_id", "step", *{"task", "pattern"}.intersection(columns)]).any():
        raise ValueError(f"{name}: a run has two rows for one step; collect the runs again")
    return table


def ends(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of each run's last step, and those of step 0."""
    last = table["step"] == table.groupby("run_id")["step"].transform("max")
    return table[last & (table["step"] > 0)], table[table["step"] == 0]


def evaluated(tinybench: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """`checked` rows of tinybench.csv."""
    return checked(tinybench, "tinybench", ["task", "group", "accuracy", *columns])


def by_arm(table: pd.DataFrame) -> list[tuple[pd.DataFrame, Mark]]:
    """The rows and the Mark of every arm, in the order in which the table first names them."""
    return [(table[table["arm"] == arm], mark) for arm, mark in marks_of(table["arm"]).items()]


def group_means(tinybench: pd.DataFrame, values: str | list = "accuracy", group: str = "group") -> pd.DataFrame:
    """Plain mean over the `comparable` tasks of a group, as the paper's averages: one row per run, step and group."""
    return comparable(tinybench).groupby(["arm", *RUN, group], as_index=False, sort=False)[values].mean()


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


def averaged(training: pd.DataFrame) -> tuple[int, str]:
    """Over how many rows of a run a curve is smoothed, and the caption's words for it.

    A row of training.csv is a mean over steps already and stays; of a run's own steps it is a twentieth of the run.

    >>> averaged(pd.DataFrame({"run_id": "a", "step": [10, 20]}))
    (1, 'Each point: mean over the 10 steps up to it.')
    >>> [averaged(pd.DataFrame({"run_id": "a", "step": steps})) for steps in (range(1, 201), [1])]
    [(10, 'Running mean over 10 steps.'), (1, '')]
    """
    gaps = training.sort_values("step").groupby("run_id")["step"].diff()
    if gaps.median() >= 2:
        return 1, f"Each point: mean over the {int(gaps.median())} steps up to it."
    window = max(1, int(training["step"].max()) // 20)
    return window, f"Running mean over {window} steps." if window > 1 else ""


def curve(ax, table: pd.DataFrame, mark: Mark, label: str, line: str = "") -> None:
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


def lines(ax, table: pd.DataFrame, panel: Panel, window: int = 1, roles: dict | None = None, x: str = "step") -> None:
    """The form of curves: one per arm of the panel's column, by step or by the mean over seeds of the column `x`.

    roles: {role: its dash}: the predictor's column and those of the other roles, each named in the legend. What an arm
    lacks is left out.
    """
    for rows, mark in by_arm(table):
        for role, dash in (roles or {"": ""}).items():
            column = panel.column.replace("predictor", role) if role else panel.column
            if column in rows and rows[column].notna().any():
                values = wide(rows, column, window) * panel.unit
                if x != "step":
                    values.index = wide(rows, x).mean(axis=1)
                curve(ax, values, mark, f"{mark.label}, {role}" if role else mark.label, dash)
    ax.set(title=panel.title)
    if x == "step":
        ax.set_xlabel("Step")
        ax.xaxis.get_major_locator().set_params(integer=True)
    if panel.ends:
        ax.set_ylim(*panel.ends)


def along(figure, table: pd.DataFrame, panels: list[Panel], roles: dict | None = None):
    """Rows of three `lines` along training, lettered, with one legend. Returns their axes."""
    axes = figure.subplots(len(panels) // 3, 3, squeeze=False).flatten()
    for ax, letter, panel in zip(axes, ascii_lowercase, panels, strict=False):
        lines(ax, table, panel._replace(title=f"({letter}) {panel.title}"), averaged(table)[0], roles)
    legend(figure, axes)
    return axes


def stacks(figure, table: pd.DataFrame, shares_of: Callable, colours_of: Callable, title: Callable, first: str, deep=1):
    """The form of shares: an arm's `shares_of` (a row per row of its table) as a stack by step, mean over the seeds.

    colours_of: names of the shares -> colours; title: label of an arm -> that of its panel; first: its letter; deep:
    rows of panels. Returns the axes, (deep, arms a row).
    """
    arms, letters = by_arm(table), ascii_lowercase[ascii_lowercase.index(first) :]
    axes = figure.subplots(deep, -(-len(arms) // deep), squeeze=False, sharey=True)
    for ax, letter, (rows, mark) in zip(axes.flat, letters, arms, strict=False):
        shares = shares_of(rows)
        means = [wide(rows.assign(share=shares[name]), "share", averaged(table)[0]).mean(axis=1) for name in shares]
        means = pd.concat(means, axis=1, keys=shares.columns).dropna(how="all")  # spans a step without masks
        look = {"colors": colours_of(list(shares)), "linewidth": 0.3, "edgecolor": "white"}
        ax.stackplot(means.index, means.to_numpy().T, labels=[str(name).replace("_", " ") for name in means], **look)
        start, end = means.index.min(), means.index.max()
        ax.set(title=f"({letter}) {title(mark.label)}", xlabel="Step", ylim=(0, 1), xlim=(start, max(end, start + 1)))
        ax.grid(visible=False)
    for ax in axes.flat[len(arms) :]:
        ax.set_axis_off()
    return axes


def bar(ax, place: float, shares: dict, colours: list[str], named: bool, **look) -> None:
    """Shares that add up to 1 as one bar from left to right; `named`: for the legend."""
    left = 0.0
    for (name, share), colour in zip(shares.items(), colours, strict=True):
        label = name.replace("_", " ") if named else None
        ax.barh(place, share, left=left, color=colour, label=label, **look)
        left += share


def reach(values: np.ndarray) -> np.ndarray:
    """How far the 95 % bootstrap interval over seeds goes below and above their mean, (2, 1)."""
    mean, (low, high) = values.mean(), bootstrap_ci(values)
    return np.maximum([[mean - low], [high - mean]], 0)  # rounding can leave equal values a hair apart


def dots(ax, rows: list[tuple[Mark, pd.Series]], title: str, *, compared: int = 0, before: list[float] = ()) -> None:
    """The form of seeds: a row per arm, from above to below, with the arms' names on the left; in it the mean with its
    interval, under it every seed as a small mark.

    compared: under so many of the first rows is the difference to the very first, paired by seed. before: a mean of
    each row that an open mark shows, with an arrow to the row's own.
    """
    rule = {"color": "#BFBFBF", "linewidth": 0.6}
    for place, (mark, values) in enumerate(rows):
        if own := [*values]:
            small = {"color": mark.colour, "markersize": 3.5, "alpha": 0.55, "linestyle": ""}
            ax.plot(own, [place + 0.05] * len(own), mark.marker, **small)
            look = {"fmt": mark.marker, "color": mark.colour, "markersize": 6, "capsize": 3}
            ax.errorbar(np.mean(own), place - 0.2, xerr=reach(np.array(own)), **look)
        if before:
            ax.plot(before[place], place - 0.2, mark.marker, color=mark.colour, markerfacecolor="white", markersize=6)
            ends = {"xy": (values.mean(), place - 0.2), "xytext": (before[place], place - 0.2)}
            ax.annotate("", **ends, arrowprops={"arrowstyle": "->", "color": mark.colour, "alpha": 0.5})
        if 0 < place < compared:
            at = {"transform": ax.get_yaxis_transform(), "fontsize": 8, "va": "center"}
            ax.text(0.02, place + 0.33, difference(values, rows[0][1]), **at)
        if place and before:
            ax.axhline(place - 0.5, **rule)
    ax.set(title=title, ylim=(len(rows) - 0.5, -0.5))
    ax.set_yticks(range(len(rows)), [folded(mark.label) for mark, _ in rows])
    ax.grid(axis="y", visible=False)
    for place in range(1, len(rows)) if compared and not before else ():
        ax.axhline(place - 0.5, **rule)


def upright(ax, at: float, values: np.ndarray, mark: Mark, bar: float, small: float) -> None:
    """The interval and the single seeds of a mean in a chart of columns, so far to its right; none where all agree."""
    if len(values) > 1 and np.ptp(values) > 0:
        ax.plot([at + bar] * 2, bootstrap_ci(values), color=mark.colour, linewidth=1.2)
        ax.plot([at + small] * len(values), values, mark.marker, color=mark.colour, markersize=2.5, alpha=0.55)


def columns(ax, names: list[str], reach: float = 0.5) -> None:
    """The names below a chart of columns."""
    ax.set_xticks(range(len(names)), names)
    ax.set_xlim(-reach, len(names) - 1 + reach)
    ax.grid(axis="x", visible=False)


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


def legend_of(figure, looks: dict[str, dict], columns: int) -> None:
    """A legend of single marks: label -> how it is drawn."""
    handles = [Line2D([], [], label=label, **{"linestyle": "", **look}) for label, look in looks.items()]
    figure.legend(handles=handles, loc="outside upper left", ncols=columns)


def explain(figure: Picture, table: pd.DataFrame, source: str, words: str = "", *, lines: bool = True) -> Picture:
    """The figure with how to read it written below, what degenerated of it, and last the table's name with its numbers
    of rows and of seeds.

    lines: whether it has `lines`, along training where the table knows no tasks.
    """
    seeds = table.groupby("arm", sort=False)["seed"].nunique()
    usual, marks = int(seeds.mode().iloc[0]), marks_of(seeds.index)
    others = ", ".join(f"{marks[arm].label} {count}" for arm, count in seeds.items() if count != usual)
    counts = f"{usual} an arm" if len(seeds) > 1 else str(usual)
    how = ALONE if seeds.max() == 1 else BAND if lines else ""
    how += f" {averaged(table)[1]}" if lines and "task" not in table else ""
    words = " ".join([words, *(f"{note}." for note in notes(table, label_of))])
    origin = f"{source}, tier {table['tier'].iloc[0]}: {len(table)} rows; seeds: {counts}"
    return caption(figure, " ".join(f"{how} {words}".split()), origin + (f", but {others}" if others else "") + ".")
