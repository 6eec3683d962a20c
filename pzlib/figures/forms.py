"""The forms of all figures: lines along training, stacks, bars, rows of seeds; what is checked and written below them.
Left out of the papers: nothing of theirs, since they show single runs; seeds and intervals are ours."""

import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from string import ascii_lowercase
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from pzlib import studies
from pzlib.errors import NothingToDraw
from pzlib.figures.style import Mark, Picture, caption, marks_of
from pzlib.studies.boxes.headlines import base_error
from pzlib.studies.claims.verdicts import sampling_variance
from pzlib.studies.metrics import GROUPS, LEAST, METRICS, armed, bases_of, comparable, label_of, over_seeds, values
from pzlib.studies.results import MARK, notes

TRAINING, TINYBENCH = "data/results/training.csv", "data/results/tinybench.csv"  # what a figure says it is made from
RUN = ["run_id", "objective", "tier", "seed", "step"]
BAND, ALONE = "Line: mean over seeds{}; thin: seeds.", "One seed, no interval."
SEEDS, INTERVAL = "Large marks: means{}; small: seeds.", ", with 95 % intervals"
BASE = "Dotted: each base."
BASE_LOOK = {"color": "#595959", "linestyle": ":", "linewidth": 1.1, "zorder": 1}


class Panel(NamedTuple):
    """One panel of lines: a column, its title, what it is multiplied by, and the ends of its axis."""

    column: str
    title: str
    unit: float = 1
    ends: tuple = ()


def panel_of(metric: str, unit: str = "", ends: tuple = ()) -> Panel:
    """The Panel of a metric: its own column, and its title with `unit` behind it.

    >>> panel_of("entropy", " (nats per token)")[:2]
    ('predictor/entropy', 'Entropy (nats per token)')
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
    if table.duplicated(["arm", "run_id", "step", *{"task", "pattern"}.intersection(columns)]).any():
        raise ValueError(f"{name}: a run has two rows for one step; collect the runs again")
    return table


def of_tier(source: str, tier: str) -> str:
    """What a figure says it is made from, at a tier, whose tables are in a folder of its name (those of mini are not).

    >>> of_tier("data/results/tinybench.csv, study rlvr", "gpu"), of_tier("data/results/tinybench.csv", "mini")
    ('data/results/gpu/tinybench.csv, study rlvr', 'data/results/tinybench.csv')
    """
    return source if tier == "mini" else source.replace("data/results/", f"data/results/{tier}/")


def few_draws(tinybench: pd.DataFrame, groups: Sequence[str] = GROUPS) -> str:
    """The caption's words where fewer answers are drawn along training than at its ends: by how much a point may err
    in some of the groups (1.96 standard errors). All runs share the random numbers, so that no spread of seeds shows
    it; "" where as many are drawn, or it is not known.
    """
    own = tinybench[tinybench["run_id"] == tinybench["run_id"].iloc[0]]
    between = own[(own["step"] > 0) & (own["step"] < own["step"].max())]
    if "n" not in own or between.empty or between["n"].median() >= own.loc[own["step"] == 0, "n"].median():
        return ""
    first = between[between["step"] == between["step"].min()]
    found = [sampling_variance(first, group) for group in groups if group in {*first["group"]}]
    return f"Points between the ends: few draws, up to ±{1.96 * max(found) ** 0.5:.0f} points, alike in all runs."


def ends(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of each run's last step, and those of step 0."""
    last = table["step"] == table.groupby("run_id")["step"].transform("max")
    return table[last & (table["step"] > 0)], table[table["step"] == 0]


def evaluated(tinybench: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """`checked` rows of tinybench.csv."""
    return checked(tinybench, "tinybench", ["task", "group", "accuracy", *columns])


def marked(table: pd.DataFrame) -> dict[str, Mark]:
    """{arm: its Mark}, in the order in which the table first names them; an arm is a variant of its rows' objective."""
    methods = dict(zip(table["arm"], table["objective"], strict=True)) if "objective" in table else {}
    return marks_of(table["arm"], methods)


def by_arm(table: pd.DataFrame) -> list[tuple[pd.DataFrame, Mark]]:
    """The rows and the Mark of every arm."""
    return [(table[table["arm"] == arm], mark) for arm, mark in marked(table).items()]


def by_study(table: pd.DataFrame | dict, other: pd.DataFrame | dict | None = None) -> dict:
    """{study: its rows}, of two tables a pair; of a lone table the study is ""."""
    tables = table if isinstance(table, dict) else {"": table}
    others = other if isinstance(other, dict) else {"": other}
    return {name: rows if other is None else (rows, others[name]) for name, rows in tables.items()}


def group_means(tinybench: pd.DataFrame, values: str | list = "accuracy", group: str = "group") -> pd.DataFrame:
    """Plain mean over the `comparable` tasks of a group, as the paper's averages: one row per run, step and group."""
    return comparable(tinybench).groupby(["arm", *RUN, group], as_index=False, sort=False)[values].mean()


def title_of(study: str) -> str:
    """What a figure of several studies calls one of them.

    >>> title_of("collapse_clean"), title_of("")
    ('clean text', '')
    """
    return studies.STUDIES[study].title or study.replace("_", " ") if study else ""


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
    """Draw `wide` values: thin lines for the seeds, a thick one for their mean, a band from `LEAST` seeds on.

    `line` is a dash other than the mark's own, as a role has it, and has no markers.
    """
    table = table.dropna(how="all")
    if table.empty:
        return
    if table.shape[1] > 1:
        ax.plot(table.index, table, color=mark.colour, linewidth=0.5, alpha=0.3, linestyle=line or mark.line)
    if table.shape[1] >= LEAST:
        thinned = table.iloc[:: max(1, len(table) // 20)]
        ends = np.array([over_seeds(row.dropna())[1:] for _, row in thinned.iterrows()])  # (steps, 2)
        ax.fill_between(thinned.index, ends[:, 0], ends[:, 1], color=mark.colour, alpha=0.18, linewidth=0)
    few = 1 if len(table) < 10 else len(table) // 5  # enough markers to tell the lines apart
    look = {"color": mark.colour, "linestyle": line} if line else mark.look | {"linestyle": mark.line}
    mean = table.T  # of one run its only column, whatever that is called
    mean = (mean.groupby(bases_of(mean.index)).mean() if len(mean) > 1 else mean).mean()  # as in `over_seeds`
    ax.plot(table.index, mean, **look, markersize=4, markevery=few, label=label)


def base_line(ax, table: pd.DataFrame, metric: str, upright: bool = False) -> None:
    """Dotted lines at what each base scores, step 0 of its runs, in bands as wide as the 95 % interval of its answers;
    none where every run has a start of its own."""
    scores, errors = values(table, metric, "base"), base_error(table, metric).fillna(0)
    if scores.round(9).nunique() > 2:
        return
    for score in dict.fromkeys(scores.round(9)):
        half = 1.96 * errors[scores.index][scores.round(9) == score].max()
        (ax.axvline if upright else ax.axhline)(score, **BASE_LOOK)
        (ax.axvspan if upright else ax.axhspan)(score - half, score + half, color="#595959", alpha=0.1, linewidth=0)


def lines(
    ax, table: pd.DataFrame, panel: Panel, window: int = 1, roles: dict | None = None, x: str = "step", marks=None
) -> None:
    """The form of curves: one per arm of the panel's column, by step or by the mean over seeds of the column `x`.

    roles: {role: its dash}: the predictor's column and those of the other roles, each named in the legend. What an arm
    lacks is left out. marks: of the arms, where the table has not all of them.
    """
    for arm, mark in (marks or marked(table)).items():
        rows = table[table["arm"] == arm]
        for role, dash in (roles or {"": ""}).items():
            column = panel.column.replace("predictor", role) if role else panel.column
            if column in rows and rows[column].notna().any():
                found = wide(rows, column, window) * panel.unit
                if x != "step":
                    found.index = wide(rows, x).mean(axis=1)
                curve(ax, found, mark, f"{mark.label}, {role}" if role else mark.label, dash)
    ax.set(title=panel.title)
    if x == "step":
        ax.set_xlabel("Step")
        ax.xaxis.get_major_locator().set_params(integer=True)
    if panel.ends:
        low, high = panel.ends
        ax.set_ylim(low, 1.05 * ax.get_ylim()[1] if high is None else high)  # a flat line is in sight too


def along(figure, table: pd.DataFrame, panels: list[Panel], roles: dict | None = None):
    """Rows of at most three `lines` along training, lettered, with one legend. Returns their axes."""
    deep = -(-len(panels) // 3)
    axes = figure.subplots(deep, min(3, len(panels)), squeeze=False).flatten()
    for ax, letter, panel in zip(axes, ascii_lowercase, panels, strict=False):
        lines(ax, table, panel._replace(title=f"({letter}) {panel.title}"), averaged(table)[0], roles)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
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


def seeds(ax, place: float, found: pd.Series, mark: Mark, small: float, upright=False, size: float = 6) -> None:
    """The mean of some seeds as a large mark at a place, with its interval (`over_seeds`) from `LEAST` seeds on, and
    each of them as a small one `small` beside it."""
    found = pd.Series(found, dtype=float).dropna()
    if found.empty:
        return
    mean, low, high = over_seeds(found)
    look, swap = mark.look | {"linestyle": ""}, (lambda x, y: (y, x)) if upright else (lambda x, y: (x, y))
    if len(found) > 1:
        at = [place + small] * len(found)
        ax.plot(*swap(found, at), **look, markersize=size / 2, alpha=0.55)
    bar = {"yerr" if upright else "xerr": [[mean - low], [high - mean]]} if len(found) >= LEAST else {}
    ax.errorbar(*swap(mean, place), **bar, **look, markersize=size, capsize=3)


def dots(ax, rows: list[tuple[Mark, pd.Series]], title: str, *, before: list[float] = ()) -> None:
    """The form of seeds: a row per arm, from above to below, with the arms' names on the left and its `seeds`.

    before: a value of each row that a tick shows, with an arrow to the row's own mean.
    """
    for place, (mark, found) in enumerate(rows):
        seeds(ax, place - 0.2, found, mark, 0.3)
        if len(before) and len(found) and not np.isnan(before[place]):
            ax.plot(before[place], place - 0.2, "|", color=mark.colour, markersize=8)
            ends = {"xy": (over_seeds(found)[0], place - 0.2), "xytext": (before[place], place - 0.2)}
            ax.annotate("", **ends, arrowprops={"arrowstyle": "->", "color": mark.colour, "alpha": 0.5})
        if place:
            ax.axhline(place - 0.5, color="#E6E6E6", linewidth=0.6)
    ax.set(title=title, ylim=(len(rows) - 0.5, -0.6))
    ax.set_yticks(range(len(rows)), [folded(mark.label) for mark, _ in rows])
    ax.grid(axis="y", visible=False)


def columns(ax, names: list[str], reach: float = 0.5) -> None:
    """The names below a chart of columns."""
    ax.set_xticks(range(len(names)), names)
    ax.set_xlim(-reach, len(names) - 1 + reach)
    ax.grid(axis="x", visible=False)


def folded(label: str, width: int = 18) -> str:
    """A name of an arm in lines of so many characters, the first break after a comma unless that makes four lines; for
    an axis or a title.

    >>> folded("negative accuracy, zero rule")
    'negative accuracy,\\nzero rule'
    """
    if len(label) <= width:
        return label
    fill = partial(textwrap.wrap, width=width, break_on_hyphens=False, break_long_words=False)
    lines = [line for part in label.replace(", ", ",\n", 1).split("\n") for line in fill(part)]
    return "\n".join(lines if len(lines) < 4 else fill(label))


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


def joined(studies: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows of several studies in one table, with a column `study`, as `explain` counts their seeds."""
    return pd.concat([rows.assign(study=name) for name, rows in studies.items()])


def explain(
    figure: Picture, table: pd.DataFrame, source: str, headline: str, words: str = "", *, lines: bool | None = True
) -> Picture:
    """The figure with its headline, and below it in two lines how to read it, what degenerated, and the table's name
    with its number of seeds; what degenerated is in the gallery run by run.

    lines: whether it has `lines`, along training where the table knows no tasks, or `seeds`; None: neither.
    """
    several = "study" in table and table["study"].nunique() > 1  # whose arms can share a name
    by = ["study", "arm"] if several else ["arm"]
    count = table.groupby(by, sort=False)["seed"].nunique()
    usual, marks = int(count.mode().iloc[0]), marked(table)
    others = ", ".join(f"{marks[arm].label} {own}" for arm, own in count.droplevel(by[:-1]).items() if own != usual)
    how = "" if lines is None else ALONE if count.max() == 1 else BAND if lines else SEEDS
    how = how.format(("; band: 95 % interval" if lines else INTERVAL) * bool(count.max() >= LEAST))
    found = notes(table, label_of)
    sick = table[table["degenerate"].fillna("") != ""] if found else table[:0]
    sick = sick.groupby("arm", sort=False)["seed"].nunique()
    runs = ", ".join(f"{label_of(arm)} {own}" for arm, own in sick.items())
    runs = f"{sick.sum()} runs of {len(sick)} arms" if len(sick) > 3 else runs
    words += f" {MARK} degenerated: {runs}." * bool(found)
    each = averaged(table)[1] if lines and "task" not in table else ""
    short = len(others) < (1 if several else 40)
    few, number = f", but {others}" * bool(others and short), usual if short else f"{count.min()} to {count.max()}"
    tier = table["tier"].iloc[0]
    origin = f"{of_tier(source, tier)}, tier {tier}, {number} seed{'s' * (number != 1)} per arm{few}."
    return caption(figure, headline, " ".join(f"{how} {words}".split()), origin, [each, *found] if each else found)
