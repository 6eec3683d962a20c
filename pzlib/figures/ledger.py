"""The ledger of claims as a figure a paper: every tested claim's effect in margins, its verdict and the seeds it needs.
Left out: claims that are not run, which the notebook lists."""

import numpy as np
import pandas as pd

from pzlib.figures import style
from pzlib.figures.forms import TINYBENCH, legend_of, of_tier
from pzlib.figures.style import Picture, caption, sheet, styled
from pzlib.studies.claims import CLAIMS, NAMES, PLANNED, needed, verdicts

ROW = 0.168  # inches a claim
LEAST = 8  # rows of the smallest page
ALONE = 18  # so many claims are one column, more are two
FURTHEST = 60  # margins; what is further is at the edge


@styled
def ledger_figure(ledger: pd.DataFrame, paper: str, source: str = f"{CLAIMS} on {TINYBENCH}") -> Picture:
    """Effects of a paper's tested claims, in margins and in the direction of the claim, each with its 95 % t interval
    over seeds and bases. A verdict goes by p after Holm's correction over the paper's claims, so that a bar clear of
    zero can be inconclusive; the numbers on the right are the pairs of seeds that would settle it. The axis is straight
    within the margin and logarithmic beyond.

    ledger: of `pzlib.studies.claims.ledger`, of one tier. A margin is the smallest difference that matters, so that all
    metrics share an axis.
    """
    own, tier = ledger[ledger["paper"] == paper], ledger["tier"].iloc[0]
    tested = own[own["effect"].notna() & (own["margin"] > 0)]
    order = {word: place for place, word in enumerate(style.VERDICT_LOOKS)}
    words = tested["verdict"].map(verdicts.word_of)
    tested = tested.assign(order=words.map(order)).sort_values(["order", "p_holm"], kind="stable")
    half = len(tested) if len(tested) <= ALONE else -(-len(tested) // 2)
    parts = [tested[:half], tested[half:]] if len(tested) > half else [tested]
    figure = sheet(ROW * max(half, LEAST) + 1.3)
    for ax, rows in zip(figure.subplots(1, len(parts), squeeze=False, sharex=True)[0], parts, strict=True):
        forest(ax, rows.to_dict("records"), half)
    looks = {word: _look(word) for word in order if word in set(words)}
    legend_of(figure, looks | {"printed by the paper": {"color": "black", "marker": "|", "markersize": 9}}, 3)
    counts = ", ".join(f"{n} {word}" for word in order if (n := int((words == word).sum())))
    headline = f"{NAMES[paper]}: of {len(own)} claims {counts or 'none is tested'} at {tier}"
    how = "Right of zero: as claimed; 1: the margin, the least that matters. Bars: 95 % intervals. Right: seeds needed."
    early = int(tested["note"].str.endswith(PLANNED).sum())
    how += f" {early} of {len(tested)} are on a part of the planned seeds." * bool(early)
    return caption(figure, headline, how, f"{of_tier(source, tier)}, tier {tier}.")


def forest(ax, rows: list[dict], height: int) -> None:
    """The form of effects, from above to below: rows of the ledger, on axes as high as `height` of them."""
    for at, row in enumerate(rows):
        sign, look = verdicts.DIRECTIONS[row["direction"]] or 1, _look(verdicts.word_of(row["verdict"]))
        effect, low, high, printed = (
            np.clip(sign * value / row["margin"], -FURTHEST, FURTHEST)
            for value in (row["effect"], row["low"], row["high"], row["reported_a"] - row["reported_b"])
        )
        ax.plot([low, high], [at] * 2, color=look["color"], linewidth=1.3, zorder=1)
        ax.plot(effect, at, linestyle="", **look)
        if verdicts.kind_of(row["metric"]) == "accuracies":
            ax.plot(printed, at, "|", color="black", markersize=8)
        at_edge = {"transform": ax.get_yaxis_transform(), "va": "center", "fontsize": 8, "color": "#595959"}
        ax.text(1.02, at, needed(row).replace("over ", ">"), **at_edge)
    ax.axvspan(-1, 1, color="#EFEFEF", zorder=0, linewidth=0)
    ax.axvline(0, color="#404040", linewidth=0.8, zorder=0.9)
    ax.set_xscale("symlog", linthresh=1, linscale=0.8)
    ax.set_xlim(-FURTHEST * 1.15, FURTHEST * 1.15)
    ax.set_xticks([-30, -5, 0, 5, 30], ["−30", "", "0", "5", "30"])  # −5 would touch −30
    ax.minorticks_off()
    ax.set_yticks(range(len(rows)), [row["id"] for row in rows])
    for label, row in zip(ax.get_yticklabels(), rows, strict=True):
        label.set_color(_look(verdicts.word_of(row["verdict"]))["color"])
    ax.set_ylim(max(height, 1) - 0.4, -0.6)
    ax.set_xlabel("Effect (margins)")
    ax.set_title("seeds", loc="right", fontsize=8, color="#595959")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(axis="y", visible=False)


def _look(verdict: str) -> dict:
    colour, marker = style.VERDICT_LOOKS[verdict]
    face = "white" if verdict in ("inconclusive", "precondition failed") else colour
    return {"color": colour, "marker": marker, "markersize": 4.5, "markerfacecolor": face}
