"""RLP's figures: what its thoughts are paid along training, its ablations (Fig. 2) beside ours, perplexity (S.8).
Left out: final results, which are `figures.main_result`; the math and science panels of Fig. 2, one mean here."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from pzlib.figures import forms
from pzlib.figures.forms import (
    GROUPS,
    MASKED_WORDS,
    SEEDS,
    TINYBENCH,
    TRAINING,
    armed,
    averaged,
    checked,
    explain,
    folded,
    legend,
    panel,
    smoothing,
)
from pzlib.figures.style import METHODS, WIDTH, Mark, Picture, caption, mark_of, marks_of, styled
from pzlib.stats import bootstrap_ci
from pzlib.studies.claims import CLAIMS
from pzlib.studies.metrics import ACCURACIES, SPLITS, values
from pzlib.studies.paper import reported
from pzlib.studies.powerlaw import WAYS, along_compute, laws, next_token_accuracy

LADDER = ("base", "continued_pretraining", "sft", "random_span", "pretrainzero")  # the rows of Tables 1 and 2, in order

SIZES = {"baselines_small": "tinybase\nsmall", "baselines": "tinybase\n(default)"}

MODELS = ("SmolLM3-3B-Base", "Qwen3-4B-Base", "Qwen3-8B-Base", "Qwen3-30B-A3B-Base")

# metric of `pzlib.studies.claims` -> where the paper prints its like, and which of the benchmarks there
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
    printed: the two tables as `pzlib.studies.paper.reported` gives them; read from data/paper if left out.
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

    ledger: of `pzlib.studies.claims.ledger`. Above, the baselines by size of the base; below, all other studies.
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


# arm of the study rlvr -> the same in the paper's tables after RLVR, and before it (half way: not printed)
RLVR_PRINTED = {
    "from the base": ("base + rlvr", "base"),
    "from random spans": ("random_span, 2000 steps + rlvr", "random_span"),
    "from PretrainZero, half way": ("pretrainzero, 1000 steps + rlvr", None),
    "from PretrainZero": ("pretrainzero, 2000 steps + rlvr", "pretrainzero"),
}

METRICS = {"overall": "Overall", "general": "General", "math": "Math"}  # of `pzlib.studies.claims`



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
            forms.seeds(ax, place, after.to_numpy(), mark)
            ax.plot(before.mean(), place - 0.2, mark.marker, color=mark.colour, markerfacecolor="white", markersize=6)
            ends_at = {"xy": (after.mean(), place - 0.2), "xytext": (before.mean(), place - 0.2)}
            ax.annotate("", **ends_at, arrowprops={"arrowstyle": "->", "color": mark.colour, "alpha": 0.5})
            if place:
                ax.text(
                    0.02, place + 0.33, forms.difference(after, first), transform=ax.get_yaxis_transform(), fontsize=8,
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
    marks = {arm: mark for arm, mark in marks_of(table["arm"]).items() if arm in RLVR_PRINTED}
    figure = Picture(WIDTH, 6.4, layout="constrained")
    axes = figure.subplots(len(METRICS), 2, sharex=True)
    for row, (metric, name) in enumerate(METRICS.items()):
        left, right = axes[row]
        for place, (arm, mark) in enumerate(marks.items()):
            after, before = (paper_value(metric, method) for method in RLVR_PRINTED[arm])
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


COLOURS = {"easy": ("#56B4E9", "o"), "medium": ("#0072B2", "s"), "hard": ("#332288", "^")}

BASE = "R1-Distill-Qwen-14B"

RPT_PRINTED = {  # (model, method) of Table 1 -> (whose mark, whether it reasons)
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
    for key, (whose, way) in RPT_PRINTED.items():
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
        Line2D([], [], label=f"{mark_of(whose).label}, {way}", **_rpt_look(mark_of(whose), way))
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



def _rpt_look(mark: Mark, way: str) -> dict:
    look = {"color": mark.colour, "marker": mark.marker, "markersize": 6}
    return look | ({"linestyle": ":", "markerfacecolor": "white"} if way == "outright" else {})



def _ladder(ax, values: np.ndarray, mark: Mark, way: str) -> None:
    """values (splits, seeds): means as marks on a line, with intervals and single seeds where there are several."""
    ax.plot(range(len(values)), np.nanmean(values, axis=1), **_rpt_look(mark, way))
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


PANELS = {
    "predictor/reward": ("(a) Gain (nats)", 1),
    "predictor/accuracy": ("(b) Thoughts that help (%)", 100),
    "predictor/length": ("(c) Thought length (tokens)", 1),
    "thought/empty": ("(d) Empty thoughts (%)", 100),
    "thought/naming": ("(e) Name the token (%)", 100),
    "predictor/parsed": ("(f) Closed (%)", 100),
}

CLASSES = {"text": "All tokens", "trivial": "Trivial", "reasoning": "Deducible", "irreducible": "Irreducible"}



@styled
def thoughts(training: pd.DataFrame, source: str = TRAINING) -> Picture:
    """Along training, for each arm: gain, share that helps, length, share empty, naming the token, closed.

    `training`: rows of training.csv of RLP runs (others, which have no thoughts, are left out); errors as in
    `figures.training_dynamics`.
    """
    table = checked(training, "training", list(PANELS))
    table = table[table["thought/empty"].notna()]
    figure = Picture(WIDTH, 4.6, layout="constrained")
    axes = figure.subplots(2, 3).flatten()
    for ax, (column, (title, unit)) in zip(axes, PANELS.items(), strict=True):
        panel(ax, table, column, title, smoothing(table), unit)
    axes[0].axhline(0, color="#595959", linewidth=0.6)
    axes[-1].set_ylim(0, 102)
    legend(figure, axes[:1])
    words = "(a) log-likelihood of the true token after a thought, minus that of the moving average without one. "
    words += "(b) gain above 0. (e) thoughts that hold the true token as a word."
    explain(figure, table, source, f"{averaged(table)} {words}")
    return figure



@styled
def ablation_beside(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """One ablation of RLP: left its mean accuracy as printed (Tables S.1 and S.6), right ours, overall, by setting.

    `tinybench`: rows of one of the studies rlp_rollouts, rlp_thoughts, rlp_kl, rlp_ema, whose arms are named as the
    paper's rows ("rlp, rollouts 4"). Errors as in `figures.tinybench_curves`.
    """
    table = checked(tinybench, "tinybench", ["task", "group", "accuracy"], ("task",))
    arms, mark = sorted(set(table["arm"]), key=lambda arm: float(_setting(arm))), mark_of("rlp")
    varied = arms[0].removeprefix("rlp, ").rpartition(" ")[0]
    printed = pd.concat([reported("rlp S.1"), reported("rlp S.6")])
    printed = printed[printed["method"].str.startswith(f"rlp, {varied} ")]
    printed = printed.sort_values("method", key=lambda names: names.map(_setting).astype(float))
    figure = Picture(WIDTH, 2.9, layout="constrained")
    left, right = figure.subplots(1, 2)
    names = [_setting(method) for method in printed["method"]]
    left.plot(range(len(names)), printed["value"], color=mark.colour, marker="o")  # its own mark has no clear middle
    left.set(title="(a) Paper: mean accuracy (%)", xlabel=varied)
    left.set_xticks(range(len(names)), names)
    for place, arm in enumerate(arms):
        ends = values(table[table["arm"] == arm], "overall")
        right.plot([place + 0.14] * len(ends), ends, "o", color=mark.colour, markersize=3.5, alpha=0.55)
        low, high = bootstrap_ci(ends) if len(ends) > 1 else (ends.mean(), ends.mean())
        reach = [[max(0, ends.mean() - low)], [max(0, high - ends.mean())]]
        right.errorbar(place, ends.mean(), yerr=reach, fmt="o", color=mark.colour, markersize=6, capsize=3)
    right.axhline(values(table, "overall", "base").mean(), color=mark_of("base").colour, linestyle="--", linewidth=1)
    right.set(title="(b) Ours: TinyBench, overall (%)", xlabel=varied, xlim=(-0.5, len(arms) - 0.5))
    right.set_xticks(range(len(arms)), [_setting(arm) for arm in arms])
    words = "Paper: Qwen3-1.7B-Base, one run each, as printed. Ours: plain mean of general and math after training. "
    words += f"{SEEDS} Dashed: the base. The vertical axes do not start at zero and share no scale: compare the order."
    explain(figure, table, f"data/paper/rlp.csv; {source}", words, lines=False)
    return figure



def _setting(name: str) -> str:
    """The value that the name of an arm ends with.

    >>> _setting("rlp, KL 1e-4")
    '1e-4'
    """
    return name.rpartition(" ")[2]



@styled
def perplexities(perplexity: pd.DataFrame, source: str = "data/results/perplexity.csv") -> Picture:
    """Perplexity of held-out text before and after each arm, seed by seed, for all tokens and each class of kind.

    `perplexity`: rows of `pzlib.evaluation.next_tokens.by_run` with a column `arm`; RLP's Table S.8 is named in the caption.
    """
    table = checked(perplexity, "perplexity", ["task", "perplexity"], ("task",))
    marks = {"base": mark_of("base")} | marks_of(table["arm"])
    figure = Picture(WIDTH, 1.6 + 0.42 * len(marks), layout="constrained")
    axes = figure.subplots(1, len(CLASSES), sharey=True)
    for ax, (task, title) in zip(axes, CLASSES.items(), strict=True):
        rows = table[table["task"] == task]
        for place, (arm, mark) in enumerate(marks.items()):
            own = rows[rows["step"] == 0] if arm == "base" else rows[(rows["arm"] == arm) & (rows["step"] > 0)]
            forms.seeds(ax, place, own.groupby("seed")["perplexity"].mean().to_numpy(), mark)
        ax.set(title=title, ylim=(len(marks) - 0.5, -0.5), xlabel="Perplexity")
        ax.set_yticks(range(len(marks)), [folded(mark.label) for mark in marks.values()])
        ax.grid(axis="y", visible=False)
        ax.locator_params(axis="x", nbins=3)
    printed = reported("rlp S.8").set_index(["method", "benchmark"])["value"]
    before, after = (printed[method, "Wikitext-103 perplexity"] for method in ("base", "rlp"))
    words = f"Text without a prompt, from the left. {SEEDS} Lower is better; the axes do not start at zero. RLP's own, "
    words += f"on Wikitext-103: {before} before, {after} after (Table S.8)."
    explain(figure, table, source, words, lines=False)
    return figure
