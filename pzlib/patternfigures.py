"""Reasoning patterns as figures: keyword groups by source (as RPT's Fig. 6), structural marks by method and seed.
Left out: RPT's own bars, whose heights are not printed; PretrainZero counts no patterns at all."""

import numpy as np
import pandas as pd

from pzlib import curves
from pzlib.curves import checked, explain
from pzlib.patterns import KEYWORDS, STRUCTURE
from pzlib.style import WIDTH, Picture, caption, mark_of, marks_of, styled

TABLE = "data/results/patterns.csv"
ALWAYS = ("direct guess", "no answer", "words")  # shown even where no response has them
HATCHES = ("", "//", "..", "xx")  # bars are told apart without colour too
TITLES = {"words": "Length (words)", "right": "Right answers (%)", "thinks": "Announced reasoning (%)"}


@styled
def keyword_bars(table: pd.DataFrame, source: str) -> Picture:
    """RPT's Fig. 6: for each of its six keyword groups the share of responses with a keyword of it, a bar a source.

    table: rows of `pzlib.patterntables.means` by a column `source`, one a source and group. Bars carry their intervals.
    Raises ValueError where a source has two rows of one group.
    """
    rows = table[table["pattern"].isin(list(KEYWORDS))]
    if rows.duplicated(["source", "pattern"]).any():
        raise ValueError("table: a source has two rows of one keyword group; take the means by source alone")
    marks = marks_of(rows["source"])
    figure = Picture(WIDTH, 3.2, layout="constrained")
    ax, width = figure.subplots(), 0.8 / len(marks)
    for place, (name, mark) in enumerate(marks.items()):
        own = rows[rows["source"] == name].set_index("pattern").reindex(list(KEYWORDS))
        mean, low, high = own[["mean", "low", "high"]].to_numpy(float).T * 100
        at = np.arange(len(KEYWORDS)) + (place - (len(marks) - 1) / 2) * width
        reach = np.maximum([mean - low, high - mean], 0)
        look = {"color": mark.colour, "label": mark.label, "edgecolor": "white", "hatch": HATCHES[place % len(HATCHES)]}
        ax.bar(at, mean, width, yerr=reach, capsize=2, error_kw={"linewidth": 0.9}, **look)
    ax.set_xticks(range(len(KEYWORDS)), [name.replace(" ", "\n").capitalize() for name in KEYWORDS])
    ax.set(ylabel="Responses with a keyword (%)", ylim=(0, None))
    ax.grid(axis="x", visible=False)
    figure.legend(loc="outside upper left", ncols=4)
    words = "Whole words of RPT's Table 9, case ignored. Bars: share of responses; whiskers: 95 % interval over cases."
    counts = rows.groupby("source", sort=False)[["n", "cases"]].max()
    told = "; ".join(f"{marks[name].label} {row.n} responses to {row.cases} cases" for name, row in counts.iterrows())
    caption(figure, words, f"{source}: {told}.")
    return figure


@styled
def structure_by_arm(patterns: pd.DataFrame, source: str = TABLE) -> Picture:
    """Structural marks of the answers of the base (step 0) and of every arm's last models, seed by seed.

    patterns: rows of patterns.csv, or of `pzlib.patterntables.by_run`. A panel a mark that any response has, and always
    those of `ALWAYS`. Errors as in `pzlib.figures.training_dynamics`.
    """
    table = checked(patterns, "patterns", ["pattern", "mean", "n", "cases"], ("pattern",))
    some = table.groupby("pattern")["mean"].max() > 0
    wanted = [name for name in (*STRUCTURE, "words", "right") if name in some and (some[name] or name in ALWAYS)]
    last = table.groupby("run_id")["step"].transform("max")
    after = table[(table["step"] == last) & (table["step"] > 0)]
    base = table[table["step"] == 0].drop_duplicates(["seed", "pattern"])
    marks = [*marks_of(after["arm"]).items(), ("base", mark_of("base"))]
    deep = -(-len(wanted) // 3)
    figure = Picture(WIDTH, 0.9 + deep * (0.6 + 0.3 * len(marks)), layout="constrained")
    axes = figure.subplots(deep, 3, squeeze=False, sharey=True)
    for ax in axes.flat[len(wanted) :]:
        ax.set_axis_off()
    for ax, letter, name in zip(axes.flat, "abcdefghi", wanted, strict=False):
        for place, (arm, mark) in enumerate(marks):
            rows = (base if arm == "base" else after[after["arm"] == arm]).query("pattern == @name")
            curves.seeds(ax, place, rows["mean"].to_numpy() * (1 if name == "words" else 100), mark)
        ax.set(title=f"({letter}) {TITLES.get(name, f'{name.capitalize()} (%)')}", ylim=(len(marks) - 0.5, -0.5))
        ax.set_yticks(range(len(marks)), [curves.folded(mark.label) for _, mark in marks])
        ax.grid(axis="y", visible=False)
    n = f"{int(after['n'].max())} answers of each run to {int(after['cases'].max())} masked passages"
    words = f"{n}. {curves.SEEDS} The base is asked with every seed. The axes do not start at zero."
    explain(figure, table, source, words, lines=False)
    return figure
