"""The ledger of claims as a forest: each effect with its interval, right of zero as claimed, and the paper's own.
Left out: claims on other metrics than accuracy, which share no axis; they are in the table."""

import textwrap

import pandas as pd

from pzlib.figures.forms import TINYBENCH, legend_of
from pzlib.figures.paper import SIZES
from pzlib.figures.style import VERDICT_LOOKS, Picture, caption, sheet, styled
from pzlib.studies.claims import CLAIMS
from pzlib.studies.metrics import ACCURACIES, LABELS

SHORT = {"continued_pretraining": "CPT", "sft": "SFT"}
HEADS = {"rlvr": "RLVR", "rpt": "RPT", "rlp": "RLP", "side": "side by side", "map": "map of worlds"}


@styled
def ledger_figure(ledger: pd.DataFrame, source: str = f"{CLAIMS} on {TINYBENCH}") -> Picture:
    """Effects of the tested claims on accuracy, in points and in the direction of the claim, each with its interval.

    ledger: of `pzlib.studies.claims.ledger`. Above, the baselines by size of the base; below, all other studies.
    """
    accuracy = ledger[ledger["metric"].isin(ACCURACIES)]
    tested = accuracy[accuracy["p"].notna()]
    tested = tested.assign(label=[_label(row) for row in tested.to_dict("records")])
    by_size = tested["study"].isin(SIZES) & (tested["b"] != "halfway")
    sizes = [name for name in SIZES if (by_size & (tested["study"] == name)).any()]
    compared = list(dict.fromkeys(tested.loc[by_size, "label"]))
    others = []
    for study, own in tested[~by_size].groupby("study", sort=False):
        head = " ".join(HEADS.get(word, word) for word in study.split("_"))
        others += [(head, None), *zip(own["label"], own.to_dict("records"), strict=True)]
    heights = [max(lines, 1) for lines in (len(compared), sum(label.count("\n") + 1 for label, _ in others))]
    figure = sheet(0.165 * sum(heights) + 2.5)
    grid = figure.add_gridspec(2, max(len(sizes), 1), height_ratios=heights)
    first = None
    for column, name in enumerate(sizes):
        first = ax = figure.add_subplot(grid[0, column], sharex=first, sharey=first)
        rows = tested[by_size & (tested["study"] == name)].set_index("label").to_dict("index")
        forest(ax, [(label, rows.get(label, {})) for label in compared], "Points")
        ax.set_title(SIZES[name].replace("\n", " "))
        ax.tick_params(labelleft=column == 0)
    if others:
        where = "Difference in accuracy (points), in the direction of the claim"
        forest(figure.add_subplot(grid[1, :]), others, where)
    printed = {"printed by the paper": {"color": "black", "marker": "|", "markersize": 9}}
    legend_of(figure, {word: _look(word) for word in VERDICT_LOOKS} | printed, 4)
    words = "Right of zero: as claimed. Marks: mean difference, paired by seed; bars: its 95 % t interval over seeds. "
    words += "A verdict goes by p after Holm's correction over the claims of its study: a bar clear of zero can be "
    words += "inconclusive. The printed differences are of other models and benchmarks. "
    words += "CPT: continued pretraining; SFT: supervised fine-tuning; overall: mean of general and math."
    origin = f"{source}, tier {ledger['tier'].iloc[0]}: {len(tested)} of {len(accuracy)} claims "
    return caption(figure, words, origin + "on accuracy were run. Claims on other metrics are in the ledger only.")


def _label(row: dict) -> str:
    """The comparison in words; what the names of both arms share is behind them, once.

    >>> _label({"a": "rpt, clean text", "b": "sft, clean text", "direction": ">", "metric": "math"})
    'RPT > SFT: clean text, math'
    """
    a, b = row["a"].split(", "), row["b"].replace("@base", " (step 0)").split(", ")
    shared = [part for part in a if part in b]
    if shared in (a, b):
        shared = []
    names = [", ".join(SHORT.get(part, _words(part)) for part in end if part not in shared) for end in (a, b)]
    behind = ", ".join([*map(_words, shared), row["metric"]])
    return textwrap.fill(f"{names[0]} {row['direction']} {names[1]}: {behind}", 50)


def _words(part: str) -> str:
    """An arm's part as it is drawn, with the moment that a claim names.

    >>> _words("rpt@equal tokens"), _words("one mask")
    ('RPT at equal tokens', 'one mask')
    """
    name, _, moment = part.partition("@")
    name = LABELS.get(name, name)
    return f"{name} at {moment}" if moment else name


def forest(ax, rows: list[tuple[str, dict | None]], what: str) -> None:
    """The form of effects, from above to below, right of zero as claimed: (label, row of the ledger).

    A row is None under a heading, empty where the claim was not tested.
    """
    at, places = 0.0, []
    for label, row in rows:
        at += label.count("\n") / 2
        places.append(at)
        if row:
            sign, look = 1 if row["direction"] == ">" else -1, _look(row["verdict"].split()[0])
            ax.plot([sign * row["low"], sign * row["high"]], [at, at], color=look["color"], linewidth=1.3, zorder=1)
            ax.plot(sign * row["effect"], at, linestyle="", **look)
            ax.plot(sign * (row["reported_a"] - row["reported_b"]), at, "|", color="black", markersize=8)
        at += label.count("\n") / 2 + 1
    ax.axvline(0, color="#404040", linewidth=0.8, zorder=0.9)
    ax.spines["left"].set_visible(False)
    ax.set_yticks(places, [label for label, _ in rows])
    for text, (_, row) in zip(ax.get_yticklabels(), rows, strict=True):
        text.set_fontweight("bold" if row is None else "normal")
    ax.set_ylim(at - 0.4, -0.6)
    ax.set_xlabel(what)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)


def _look(verdict: str) -> dict:
    colour, marker = VERDICT_LOOKS[verdict]
    face = "white" if verdict == "inconclusive" else colour
    return {"color": colour, "marker": marker, "markersize": 4.5, "markerfacecolor": face}
