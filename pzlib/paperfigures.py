"""The papers' printed numbers beside ours: Tables 1 and 2 by size of the base model, and the ledger of claims.
Left out: what the papers only draw, and a common scale: their benchmarks and ours differ, so orders are compared."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from pzlib.claims import ACCURACIES, CLAIMS, values
from pzlib.curves import TINYBENCH, armed
from pzlib.paper import reported
from pzlib.stats import bootstrap_ci
from pzlib.style import METHODS, WIDTH, Picture, caption, mark_of, styled

LADDER = ("base", "continued_pretraining", "sft", "random_span", "pretrainzero")  # the rows of Tables 1 and 2, in order
SIZES = {"baselines_small": "tinybase\nsmall", "baselines": "tinybase\n(default)"}
MODELS = ("SmolLM3-3B-Base", "Qwen3-4B-Base", "Qwen3-8B-Base", "Qwen3-30B-A3B-Base")
# metric of `pzlib.claims` -> where the paper prints its like, and which of the benchmarks there
LIKE = {
    "overall": ("Table 1: Overall", ["Overall"]),
    "general": ("Table 1: mean of three general", ["SuperGPQA", "BBEH", "MMLU-Pro"]),
    "math": ("Table 2: mean of six math", ["AVG"]),
}
SHORT = {"continued_pretraining": "CPT", "sft": "SFT"}
LOOKS = {  # of a verdict
    "reproduced": ("#0072B2", "o"),
    "contradicted": ("#D55E00", "s"),
    "inconclusive": ("#8C8C8C", "D"),
}


@styled
def baselines_beside(
    ours: dict[str, pd.DataFrame], printed: pd.DataFrame | None = None, source: str = TINYBENCH
) -> Picture:
    """PretrainZero's Tables 1 and 2 on the left, the same methods on TinyBench by size of the base on the right.

    ours: study -> its rows of tinybench.csv, of one tier; small, middle and large base in this order, others after.
    printed: the two tables as `pzlib.paper.reported` gives them; read from data/paper if left out.
    Errors: ValueError where no study has rows.
    """
    if printed is None:
        printed = pd.concat([reported("pretrainzero 1"), reported("pretrainzero 2")])
    ours = {name: armed(ours[name]) for name in [*SIZES, *ours] if name in ours and len(ours[name])}
    if not ours:
        raise ValueError("ours: no study has rows; run the baselines, then `python -m pzlib results`")
    figure = Picture(WIDTH, 7.2, layout="constrained")
    axes = figure.subplots(len(LIKE), 2)
    for row, (metric, (where, benchmarks)) in enumerate(LIKE.items()):
        left, right = axes[row]
        means = printed[printed["benchmark"].isin(benchmarks)].groupby(["model", "method"])["value"].mean()
        models = [model for model in MODELS if model in means]
        _ladders(left, [{method: means[model][[method]] for method in means[model].index} for model in models])
        left.set_xticks(range(len(models)), [model.removesuffix("-Base").replace("-", "\n", 1) for model in models])
        left.set(title=f"({'ace'[row]}) Paper, {where}", ylabel="Accuracy (%)")
        _ladders(right, [_accuracies(rows, metric) for rows in ours.values()])
        right.set_xticks(range(len(ours)), [SIZES.get(name, name) for name in ours])
        right.set_title(f"({'bdf'[row]}) Ours: {'general and math' if metric == 'overall' else metric}")
    marks = [(mark.label, {"color": mark.colour, "marker": mark.marker}) for mark in map(mark_of, LADDER)]
    _legend(figure, marks, 3)
    tiers = sorted({tier for rows in ours.values() for tier in rows["tier"]})
    words = "Left: as printed, without intervals. Right: small marks are seeds, large marks their mean with its 95 % "
    words += "bootstrap interval over seeds; the base is one model. The axes do not start at zero, and the two sides "
    words += "share no scale: compare the order of the methods."
    count = sum(map(len, ours.values()))
    seeds = ", ".join(f"{rows['seed'].nunique()} ({name})" for name, rows in ours.items())
    origin = f"data/paper/pretrainzero.csv, Tables 1 and 2; {source}, tier {', '.join(tiers)}: {count} rows; "
    caption(figure, words, f"{origin}seeds: {seeds}.")
    return figure


def _accuracies(rows: pd.DataFrame, metric: str) -> dict[str, pd.Series]:
    """Method -> accuracy by seed after training, in %; the base is step 0 of all runs, which is one model."""
    found = {arm: values(own, metric) for arm, own in rows.groupby("arm") if arm in LADDER}
    return {"base": values(rows, metric, "base").iloc[:1]} | found


def _ladders(ax, groups: list[dict[str, pd.Series]]) -> None:
    """For each model its methods side by side: seeds small, their mean large, from two seeds on with an interval."""
    for place, group in enumerate(groups):
        for step, method in enumerate(LADDER):
            seeds = np.asarray(group.get(method, []), dtype=float)
            if not len(seeds):
                continue
            x, mark, mean = place + 0.16 * (step - 2), mark_of(method), seeds.mean()
            if len(seeds) > 1:
                low, high = bootstrap_ci(seeds)
                reach = np.maximum([[mean - low], [high - mean]], 0)  # rounding can leave equal values a hair apart
                ax.errorbar(x, mean, yerr=reach, color=mark.colour, capsize=2.5, linewidth=1.2)
                ax.plot(np.full(len(seeds), x + 0.075), seeds, mark.marker, color=mark.colour, ms=2.5, alpha=0.55)
            ax.plot(x, mean, mark.marker, color=mark.colour, markersize=5)
    ax.set_xlim(-0.5, len(groups) - 0.5)
    ax.grid(axis="x", visible=False)


@styled
def ledger_figure(ledger: pd.DataFrame, source: str = f"{CLAIMS} on {TINYBENCH}") -> Picture:
    """Effects of the tested claims on accuracy, in points and in the direction of the claim, each with its interval.

    ledger: of `pzlib.claims.ledger`. Above, the baselines by size of the base; below, all other studies.
    """
    accuracy = ledger[ledger["metric"].isin(ACCURACIES)]
    tested = accuracy[accuracy["p"].notna()]
    tested = tested.assign(label=[_label(row) for row in tested.to_dict("records")])
    by_size = tested["study"].isin(SIZES) & (tested["b"] != "halfway")
    sizes = [name for name in SIZES if (by_size & (tested["study"] == name)).any()]
    compared = list(dict.fromkeys(tested.loc[by_size, "label"]))
    others = _headed(tested[~by_size])
    heights = [max(lines, 1) for lines in (len(compared), sum(label.count("\n") + 1 for label, _ in others))]
    figure = Picture(WIDTH, 0.165 * sum(heights) + 2.5, layout="constrained")
    grid = figure.add_gridspec(2, max(len(sizes), 1), height_ratios=heights)
    first = None
    for column, name in enumerate(sizes):
        first = ax = figure.add_subplot(grid[0, column], sharex=first, sharey=first)
        rows = tested[by_size & (tested["study"] == name)].set_index("label").to_dict("index")
        _forest(ax, [(label, rows.get(label, {})) for label in compared])
        ax.set_title(SIZES[name].replace("\n", " "))
        ax.tick_params(labelleft=column == 0)
        ax.set_xlabel("Points")
    if others:
        ax = figure.add_subplot(grid[1, :])
        _forest(ax, others)
        ax.set_xlabel("Difference in accuracy (points), in the direction of the claim")
    marks = [(word, _look(word)) for word in LOOKS]
    _legend(figure, [*marks, ("printed by the paper", {"color": "black", "marker": "|", "markersize": 9})], 4)
    words = "Right of zero: as claimed. Marks: mean difference, paired by seed; bars: its 95 % t interval over seeds. "
    words += "A verdict goes by p after Holm's correction over the claims of its study: a bar clear of zero can be "
    words += "inconclusive. The printed differences are of other models and benchmarks. "
    words += "CPT: continued pretraining; SFT: supervised fine-tuning; overall: mean of general and math."
    origin = f"{source}, tier {ledger['tier'].iloc[0]}: {len(tested)} of {len(accuracy)} claims "
    caption(figure, words, origin + "on accuracy were run. Claims on other metrics are in the ledger only.")
    return figure


def _label(row: dict) -> str:
    """The comparison in words; what the names of both arms share is said once, behind."""
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
    name = METHODS[name].label if name in METHODS else name
    return f"{name} at {moment}" if moment else name


HEADS = {"rlvr": "RLVR", "rpt": "RPT", "rlp": "RLP", "side": "side by side", "map": "map of worlds"}


def _headed(tested: pd.DataFrame) -> list:
    """(label, row) of each claim, study by study, each study under its name: (name, None)."""
    rows = []
    for study, own in tested.groupby("study", sort=False):
        head = " ".join(HEADS.get(word, word) for word in study.split("_"))
        rows += [(head, None), *zip(own["label"], own.to_dict("records"), strict=True)]
    return rows


def _forest(ax, rows: list) -> None:
    """Effects from above to below, right of zero as claimed. A row is None under a heading, empty where not tested."""
    at, places = 0.0, []
    for label, row in rows:
        at += label.count("\n") / 2
        places.append(at)
        if row:
            sign = 1 if row["direction"] == ">" else -1
            look = _look(row["verdict"].split()[0])
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
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)


def _legend(figure: Picture, marks: list, columns: int) -> None:
    handles = [Line2D([], [], linestyle="", label=label, **look) for label, look in marks]
    figure.legend(handles=handles, loc="outside upper left", ncols=columns)


def _look(verdict: str) -> dict:
    colour, marker = LOOKS[verdict]
    face = "white" if verdict == "inconclusive" else colour
    return {"color": colour, "marker": marker, "markersize": 4.5, "markerfacecolor": face}
