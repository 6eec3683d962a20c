"""What RLVR adds to each start: PretrainZero's Fig. 9 as before and after, and its Tables 3 and 4 beside ours.
Left out: Table 4's row of Random RLPT, which is a copy of a row from before RLVR (data/paper/errata.csv)."""

import pandas as pd

from pzlib import curves
from pzlib.claims import values
from pzlib.curves import GROUPS, MASKED_WORDS, SEEDS, TINYBENCH, checked, explain, folded
from pzlib.paper import reported
from pzlib.stats import bootstrap_ci
from pzlib.style import WIDTH, Mark, Picture, caption, marks_of, styled

# arm of the study rlvr -> the same in the paper's tables after RLVR, and before it (half way: not printed)
PRINTED = {
    "from the base": ("base + rlvr", "base"),
    "from random spans": ("random_span, 2000 steps + rlvr", "random_span"),
    "from PretrainZero, half way": ("pretrainzero, 1000 steps + rlvr", None),
    "from PretrainZero": ("pretrainzero, 2000 steps + rlvr", "pretrainzero"),
}
METRICS = {"overall": "Overall", "general": "General", "math": "Math"}  # of `pzlib.claims`


@styled
def follow_on(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """Before and after RLVR: accuracy of every arm on each group of TinyBench, seed by seed.

    Step 0 of an arm is the model that it starts from. Under each arm stands its difference, after RLVR, to the first.
    `tinybench`, `source` and errors as in `figures.tinybench_curves`.
    """
    table = checked(tinybench, "tinybench", ["task", "group", "n", "accuracy"], ("task",))
    marks = marks_of(table["arm"])
    groups = [group for group in GROUPS if group in set(table["group"])]
    figure = Picture(WIDTH, 1.7 + 0.5 * len(marks), layout="constrained")
    axes = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    for ax, group in zip(axes, groups, strict=True):
        rows = table[table["group"] == group]
        ends = {arm: (_values(rows, arm, "base"), _values(rows, arm, "end")) for arm in marks}
        first = next(iter(ends.values()))[1]
        for place, (mark, (before, after)) in enumerate(zip(marks.values(), ends.values(), strict=True)):
            curves.seeds(ax, place, after.to_numpy(), mark)
            ax.plot(before.mean(), place - 0.2, mark.marker, color=mark.colour, markerfacecolor="white", markersize=6)
            ends_at = {"xy": (after.mean(), place - 0.2), "xytext": (before.mean(), place - 0.2)}
            ax.annotate("", **ends_at, arrowprops={"arrowstyle": "->", "color": mark.colour, "alpha": 0.5})
            if place:
                ax.text(
                    0.02, place + 0.33, curves.difference(after, first), transform=ax.get_yaxis_transform(), fontsize=8,
                    va="center",
                )  # fmt: skip
                ax.axhline(place - 0.5, color="#BFBFBF", linewidth=0.6)
        ax.set(title=GROUPS[group], ylim=(len(marks) - 0.5, -0.5), xlabel="Mean accuracy (%)")
        ax.set_yticks(range(len(marks)), [folded(mark.label) for mark in marks.values()])
        ax.grid(axis="y", visible=False)
    words = f"Open marks: the mean before RLVR. {SEEDS} Under them: difference after RLVR to the first row in points, "
    words += "paired by seed [95 % interval]. All seeds answer one fixed set of questions. The axes do not start at "
    words += f"zero. {MASKED_WORDS * ('spans' in groups)}"
    explain(figure, table, source, words, lines=False)
    return figure


def _values(rows: pd.DataFrame, arm: str, moment: str) -> pd.Series:
    """Accuracy in % of one arm by seed, before ("base") or after ("end"), on the rows of one group."""
    return values(rows[rows["arm"] == arm], rows["group"].iloc[0], moment)


@styled
def rlvr_beside(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """PretrainZero's Tables 3 and 4 (Qwen3-4B-Base) on the left, the same starts on TinyBench on the right.

    `tinybench`: rows of the study rlvr, with a column `arm`; errors as in `follow_on`.
    """
    table = checked(tinybench, "tinybench", ["task", "group", "accuracy"], ("task",))
    marks = {arm: mark for arm, mark in marks_of(table["arm"]).items() if arm in PRINTED}
    figure = Picture(WIDTH, 6.4, layout="constrained")
    axes = figure.subplots(len(METRICS), 2, sharex=True)
    for row, (metric, name) in enumerate(METRICS.items()):
        left, right = axes[row]
        for place, (arm, mark) in enumerate(marks.items()):
            after, before = (paper_value(metric, method) for method in PRINTED[arm])
            _two(left, place, before, after, mark)
            own = table[table["arm"] == arm]
            ends = [values(own, metric, moment) for moment in ("base", "end")]
            _two(right, place, *(end.mean() for end in ends), mark)
            if len(ends[1]) > 1:
                low, high = bootstrap_ci(ends[1])
                right.plot([place + 0.12] * 2, [low, high], color=mark.colour, linewidth=1.2)
                right.plot([place + 0.2] * len(ends[1]), ends[1], mark.marker, color=mark.colour, ms=2.5, alpha=0.55)
        left.set(title=f"({'ace'[row]}) Paper: {name}", ylabel="Accuracy (%)")
        right.set_title(f"({'bdf'[row]}) Ours: {name}")
        for ax in (left, right):
            ax.set_xticks(range(len(marks)), [folded(mark.label, 12) for mark in marks.values()])
            ax.set_xlim(-0.5, len(marks) - 0.5)
            ax.grid(axis="x", visible=False)
    words = "Open marks: before RLVR, filled: after it. Left as printed for Qwen3-4B-Base (half way before RLVR: not "
    words += "printed; math of random spans: Table 3's mean, since Table 4 repeats the row from before). Right: means, "
    words += "bars: 95 % bootstrap interval over seeds after RLVR, small marks: single seeds. The axes do not start at "
    words += "zero and the two sides share no scale: compare the order."
    origin = f"data/paper/pretrainzero.csv, Tables 1 and 3; {source}, tier {table['tier'].iloc[0]}: {len(table)} rows, "
    caption(figure, words, f"{origin}{table['seed'].nunique()} seeds.")
    return figure


def paper_value(metric: str, method: str | None) -> float | None:
    """What Tables 1 (before RLVR) and 3 (after it) print for Qwen3-4B-Base, in %; None where they print nothing.

    >>> paper_value("overall", "base + rlvr"), paper_value("math", "pretrainzero"), paper_value("overall", None)
    (37.9, 53.13, None)
    """
    if method is None:
        return None
    rows = reported("pretrainzero 3" if "rlvr" in method else "pretrainzero 1")
    rows = rows[(rows["model"] == "Qwen3-4B-Base") & (rows["method"] == method)].set_index("benchmark")["value"]
    if metric == "general":
        return float(rows[["SuperGPQA", "BBEH", "MMLU-Pro"]].mean())
    return float(rows[{"overall": "Overall", "math": "MATH avg"}[metric]])


def _two(ax, place: int, before: float | None, after: float, mark: Mark) -> None:
    if before is not None:
        ax.plot([place, place], [before, after], color=mark.colour, linewidth=1, alpha=0.5)
        ax.plot(place, before, mark.marker, color=mark.colour, markerfacecolor="white", markersize=6)
    ax.plot(place, after, mark.marker, color=mark.colour, markersize=6)
