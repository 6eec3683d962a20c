"""RPT's figures from tables: next tokens by split beside the paper's Table 1 (its Fig. 4), and along compute (Fig. 5).
Left out: Fig. 5's own curves, known only as an image, and Fig. 6, which `pzlib.patternfigures` draws."""

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from pzlib.curves import SEEDS, TINYBENCH, TRAINING, checked, explain, folded
from pzlib.paper import reported
from pzlib.rpttables import SPLITS, WAYS, along_compute, laws, next_token_accuracy
from pzlib.stats import bootstrap_ci
from pzlib.style import WIDTH, Mark, Picture, mark_of, marks_of, styled

COLOURS = {"easy": ("#56B4E9", "o"), "medium": ("#0072B2", "s"), "hard": ("#332288", "^")}
BASE = "R1-Distill-Qwen-14B"
PRINTED = {  # (model, method) of Table 1 -> (whose mark, whether it reasons)
    (BASE, "next token"): ("base", "outright"),
    (BASE, "reasoning"): ("base", "reasoning"),
    ("RPT-14B", "reasoning"): ("rpt", "reasoning"),
}


@styled
def next_tokens_beside(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """RPT's Table 1 on the left; on the right the same for every arm that was asked: before and after, both ways.

    `tinybench`: rows of one tier with a column `arm`; step 0 is the base. Raises ValueError where no arm was asked for
    next tokens, and as `figures.training_dynamics`.
    """
    table = _asked(tinybench)
    asked, marks = next_token_accuracy(table), marks_of(table["arm"])
    figure = Picture(WIDTH, 3.4, layout="constrained")
    axes = figure.subplots(1, 1 + len(marks))
    printed = reported("rpt 1").pivot(index=["model", "method"], columns="benchmark", values="value")
    for key, (whose, way) in PRINTED.items():
        _ladder(axes[0], printed.loc[key, list(SPLITS)].to_numpy(float)[:, None], mark_of(whose), way)
    axes[0].set(title="(a) Paper, Table 1", ylabel="Next-token accuracy (%)")
    for ax, letter, (arm, mark) in zip(axes[1:], "bcdef", marks.items(), strict=False):
        own = asked[asked["arm"] == arm]
        last = own["step"] == own.groupby("run_id")["step"].transform("max")
        for whose, rows in (("base", own[own["step"] == 0]), ("rpt", own[last])):
            for way in ("outright", "reasoning"):
                wide = rows[rows["way"] == way].pivot(index="split", columns="seed", values="accuracy")
                _ladder(ax, wide.reindex(list(SPLITS)).to_numpy(float), mark_of(whose), way)
        ax.set_title(f"({letter}) {folded(mark.label)}")
    for ax in axes:
        ax.set_xticks(range(len(SPLITS)), [name.capitalize() for name in SPLITS])
        ax.set_xlim(-0.4, len(SPLITS) - 0.6)
        ax.margins(y=0.1)
        ax.set_ylim(0, None)
        ax.grid(axis="x", visible=False)
    handles = [
        Line2D([], [], label=f"{mark_of(whose).label}, {way}", **_look(mark_of(whose), way))
        for whose in ("base", "rpt")
        for way in ("outright", "reasoning")
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=4)
    words = "Open marks, dotted: the most likely next token; filled: predicted after a reasoning. Nested splits: the "
    words += f"base has an entropy of 0.5, 1.0, 1.5 nats or more over its 16 likeliest tokens. {SEEDS} The paper has "
    words += "one run and does not print RPT outright. Panels share no scale."
    explain(figure, table, f"data/paper/rpt.csv, Table 1; {source}", words, lines=False)
    return figure


def _asked(tinybench: pd.DataFrame) -> pd.DataFrame:
    """The checked rows on next tokens."""
    table = checked(tinybench, "tinybench", ["task", "group", "n", "accuracy"], ("task",))
    table = table[table["group"].isin(list(WAYS))]
    if table.empty:
        raise ValueError("tinybench: no run was asked for next tokens, which only runs of objective rpt are")
    return table


def _look(mark: Mark, way: str) -> dict:
    look = {"color": mark.colour, "marker": mark.marker, "markersize": 6}
    return look | ({"linestyle": ":", "markerfacecolor": "white"} if way == "outright" else {})


def _ladder(ax, values: np.ndarray, mark: Mark, way: str) -> None:
    """values (splits, seeds): means as marks on a line, with intervals and single seeds where there are several."""
    ax.plot(range(len(values)), np.nanmean(values, axis=1), **_look(mark, way))
    for place, row in enumerate(values):
        row = row[~np.isnan(row)]
        if len(row) > 1 and np.ptp(row) > 0:
            ax.plot([place] * 2, bootstrap_ci(row), color=mark.colour, linewidth=1.2)
            ax.plot([place + 0.12] * len(row), row, mark.marker, color=mark.colour, markersize=2.5, alpha=0.55)


@styled
def scaling(
    tinybench: pd.DataFrame, training: pd.DataFrame, runs: pd.DataFrame, source: str = f"{TINYBENCH}, {TRAINING}"
) -> Picture:
    """RPT's Fig. 5: next-token accuracy after a reasoning by RL compute and split, with the law fitted to the means.

    A panel an arm that was asked for next tokens. Tables of one tier and study, with a column `arm` in the first;
    errors as in `next_tokens_beside`, and ValueError for a run whose tokens `training` lacks.
    """
    table = _asked(tinybench)
    asked, marks = along_compute(table, training, runs), marks_of(table["arm"])
    found = laws(asked)
    figure = Picture(WIDTH, 3.6, layout="constrained")
    axes = figure.subplots(1, len(marks), squeeze=False)[0]
    for ax, letter, (arm, mark) in zip(axes, "abcdef", marks.items(), strict=False):
        own = asked[asked["arm"] == arm]
        for split, (colour, marker) in COLOURS.items():
            rows = own[(own["split"] == split) & (own["way"] == "reasoning") & (own["step"] > 0)]
            _curve(ax, rows, Mark(split.capitalize(), colour, marker), found.get((arm, split)))
            outright = own.loc[(own["split"] == split) & (own["way"] == "outright") & (own["step"] == 0), "accuracy"]
            ax.axhline(outright.mean(), color=colour, linestyle=":", linewidth=0.9)
        ax.set(title=f"({letter}) {mark.label}", xlabel="RL compute (FLOPs)", xscale="log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(lambda at, _: f"{at:.0e}".replace("e+", "e"))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.legend(loc="best", frameon=True, framealpha=0.9, edgecolor="none")  # over dotted lines
    axes[0].set_ylabel("Next-token accuracy (%)")
    words = "Marks: means over seeds at evaluations, bars: 95 % bootstrap interval. Lines: P(C) = A / C^alpha + P*, "
    words += "fitted to the means. Dotted: the base outright, without reasoning. The axes do not start at zero. A few "
    words += "points over so short a range fit many curves: R² says nothing of what lies beyond."
    explain(figure, table, source, words, lines=False)
    return figure


def _curve(ax, rows: pd.DataFrame, mark: Mark, law) -> None:
    label = mark.label if law is None else f"{mark.label} (R² = {law.r2:.2f})"
    look = {"color": mark.colour, "label": label, "markersize": 4}
    points = rows.groupby("step")[["flops", "accuracy"]].mean()
    ax.plot(points["flops"], points["accuracy"], mark.marker, **look, linestyle="-" if law is None else "")
    for step, at in points["flops"].items():
        seeds = rows.loc[rows["step"] == step, "accuracy"].to_numpy()
        if len(seeds) > 1:
            ax.plot([at, at], bootstrap_ci(seeds), color=mark.colour, linewidth=1)
    if law is not None:
        at = np.geomspace(min(law.computes), max(law.computes), 60)
        ax.plot(at, law.predict(at), color=mark.colour)
