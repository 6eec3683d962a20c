"""Figures of the small world and its base, and of the words of a reasoning (RPT's Fig. 6).
Left out: RPT's own bars, whose heights are not printed."""

import numpy as np
import pandas as pd

from pzlib.figures.forms import bar
from pzlib.figures.style import CLASS_COLOURS, HATCHES, WAY_LOOKS, Picture, caption, grid, marks_of, sheet, styled
from pzlib.studies.patterns import KEYWORDS


@styled
def entropy_of_worlds(tables: dict[str, pd.DataFrame]) -> Picture:
    """What an entropy rule would pick: for each world the kinds of all its positions and of its high-entropy fifth.

    tables: world -> `small_world.next_token_entropy` of it.
    """
    figure = sheet(0.75 + 0.55 * len(tables))
    ax, rows = figure.subplots(), {}
    for world, table in tables.items():
        rows |= {f"{world}, all positions": table, f"{world}, highest fifth": table[table.top_fifth]}
    places = [number + 0.4 * (number // 2) for number in range(len(rows))]
    for place, table in zip(places, rows.values(), strict=True):
        shares = table.from_left.value_counts(normalize=True).reindex(list(CLASS_COLOURS), fill_value=0.0)
        bar(ax, place, shares, CLASS_COLOURS.values(), place == 0, height=0.7)
        for kind, end in shares.cumsum().items():
            if (share := shares[kind]) > 0.06:
                look = {"ha": "center", "va": "center", "color": "black" if kind == "trivial" else "white"}
                ax.text(end - share / 2, place, f"{share:.0%}", **look)
    words = "Share of positions, by what can be said of them from the left"
    ax.set(yticks=places, yticklabels=list(rows), xlim=(0, 1), xlabel=words)
    ax.invert_yaxis()
    ax.grid(False)
    figure.legend(loc="outside upper center", ncols=3)
    return figure


@styled
def spans_by_kind(table: pd.DataFrame) -> Picture:
    """Base accuracy on masked spans by kind: answered directly, as it likes, and with a reasoning (`base_spans`)."""
    kinds = table[table.way == "free"].sort_values(["class", "pass@1"])["kind"].tolist()
    figure, axes = grid(1.2 + 0.24 * len(kinds), 1, 2, sharey=True)
    for ax, score in zip(axes, ("pass@1", "pass@8"), strict=True):
        for way, (colour, marker) in WAY_LOOKS.items():
            scores = table[table.way == way].set_index("kind").loc[kinds, score]
            ax.plot(scores, range(len(kinds)), marker, color=colour, ms=5, label=way if ax is axes[0] else None)
        ax.set(title=f"{score} at temperature 1", xlim=(-0.03, 1.03), xlabel="Share right")
    axes[0].set_yticks(range(len(kinds)), kinds)
    figure.legend(loc="outside upper center", ncols=3)
    return figure


@styled
def keyword_bars(table: pd.DataFrame, source: str) -> Picture:
    """RPT's Fig. 6: for each of its six keyword groups the share of responses with a keyword of it, a bar a source.

    table: of `pzlib.studies.patterns.means` by a column `source`, one row a source and group, else ValueError.
    """
    rows = table[table["pattern"].isin(list(KEYWORDS))]
    if rows.duplicated(["source", "pattern"]).any():
        raise ValueError("table: a source has two rows of one keyword group; take the means by source alone")
    marks = marks_of(rows["source"])
    figure = sheet(3.2)
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
    return caption(figure, words, f"{source}: {told}.")
