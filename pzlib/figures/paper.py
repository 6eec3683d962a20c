"""The papers' printed numbers beside ours: PretrainZero's Tables 1 to 4, RPT's Table 1 and Fig. 5, RLP's Fig. 2.
Left out: the math and science panels of RLP's Fig. 2, one mean here. Tables, `source` and errors as in `accuracy`."""

from string import ascii_lowercase

import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator, NullFormatter

from pzlib.errors import NothingToDraw
from pzlib.evaluation.benchmarks import BENCHMARKS
from pzlib.figures import forms, style
from pzlib.figures.forms import NOT_AT_ZERO, SEEDS, TINYBENCH, TRAINING, columns, evaluated, explain, folded, legend_of
from pzlib.figures.style import METHODS, Mark, Picture, caption, grid, marks_of, sheet, styled
from pzlib.stats import bootstrap_ci
from pzlib.studies import metrics
from pzlib.studies.claims import reported
from pzlib.studies.metrics import METRICS, SPLITS, armed, values

LADDER = ("base", "continued_pretraining", "sft", "random_span", "pretrainzero")  # the rows of Tables 1 and 2, in order
SIZES = {"baselines_small": "tinybase\nsmall", "baselines": "tinybase\n(default)"}
MODELS = ("SmolLM3-3B-Base", "Qwen3-4B-Base", "Qwen3-8B-Base", "Qwen3-30B-A3B-Base")
# metric -> columns of the paper's tables with general benchmarks whose mean is its like
PARTS = {"overall": ["Overall"], "general": ["SuperGPQA", "BBEH", "MMLU-Pro"], "math": ["MATH avg"]}
LIKE = ["Table 1: Overall", "Table 1: mean of three general", "Table 2: mean of six math"]


@styled
def baselines_beside(tinybench: dict[str, pd.DataFrame], source: str = TINYBENCH) -> Picture:
    """PretrainZero's Tables 1 and 2 on the left, the same methods on TinyBench by size of the base on the right.

    tinybench: study of `SIZES` -> its rows, of one tier. Errors: ValueError where no study has rows.
    """
    printed = reported("pretrainzero 1")
    ours = {name: armed(tinybench[name]) for name in SIZES if len(tinybench.get(name, ()))}
    if not ours:
        raise NothingToDraw("tinybench: no study has rows; run the baselines, then `python -m pzlib results`")
    ours_titles = [f"Ours: {' and '.join(METRICS[part].groups)}" for part in PARTS]
    figure, axes = _two_sides(7.2, [f"Paper, {where}" for where in LIKE], ours_titles)
    for (left, right), (metric, benchmarks) in zip(axes, PARTS.items(), strict=True):
        means = printed[printed["benchmark"].isin(benchmarks)].groupby(["model", "method"])["value"].mean()
        models = [model for model in MODELS if model in means]
        names = [model.removesuffix("-Base").replace("-", "\n", 1) for model in models]
        _ladders(left, names, [means[model] for model in models])
        found = [{arm: values(own, metric) for arm, own in rows.groupby("arm")} for rows in ours.values()]
        for methods, rows in zip(found, ours.values(), strict=True):
            methods["base"] = values(rows, metric, "base").iloc[:1]  # step 0 of all runs, which is one model
        _ladders(right, [SIZES[name] for name in ours], found)
    legend_of(figure, {METHODS[m].label: {"color": METHODS[m].colour, "marker": METHODS[m].marker} for m in LADDER}, 3)
    tiers = sorted({tier for rows in ours.values() for tier in rows["tier"]})
    words = "Left: as printed, without intervals. Right: small marks are seeds, large marks their mean with its 95 % "
    words += f"bootstrap interval over seeds; the base is one model. {NOT_AT_ZERO}, and the two sides "
    words += "share no scale: compare the order of the methods."
    count = sum(map(len, ours.values()))
    seeds = ", ".join(f"{rows['seed'].nunique()} ({name})" for name, rows in ours.items())
    origin = f"data/paper/pretrainzero.csv, Tables 1 and 2; {source}, tier {', '.join(tiers)}: {count} rows; "
    return caption(figure, words, f"{origin}seeds: {seeds}.")


def _two_sides(height: float, left: list[str], right: list[str], **shared):
    """A figure with a row for each of `PARTS`: the paper on the left, ours on the right, lettered."""
    figure, axes = grid(height, len(PARTS), 2, **shared)
    titles = [title for row in zip(left, right, strict=True) for title in row]
    for ax, letter, title in zip(axes.flat, ascii_lowercase, titles, strict=False):
        ax.set_title(f"({letter}) {title}")
    for ax in axes[:, 0]:
        ax.set_ylabel("Accuracy (%)")
    return figure, axes


def _ladders(ax, names: list[str], groups: list[dict]) -> None:
    """For each model its methods side by side: seeds small, their mean large, from two seeds on with an interval."""
    for place, group in enumerate(groups):
        for step, method in enumerate(LADDER):
            x, mark, seeds = place + 0.16 * (step - 2), METHODS[method], np.atleast_1d(group.get(method, []))
            if len(seeds) > 1:
                ax.errorbar(x, seeds.mean(), yerr=forms.reach(seeds), color=mark.colour, capsize=2.5, linewidth=1.2)
                ax.plot([x + 0.075] * len(seeds), seeds, mark.marker, color=mark.colour, ms=2.5, alpha=0.55)
            if len(seeds):
                ax.plot(x, seeds.mean(), mark.marker, color=mark.colour, markersize=5)
    columns(ax, names)


# arm of the study rlvr -> the same in the paper's tables after RLVR, and before it (half way: not printed)
RLVR_PRINTED = {
    "from the base": ("base + rlvr", "base"),
    "from random spans": ("random_span, 2000 steps + rlvr", "random_span"),
    "from PretrainZero, half way": ("pretrainzero, 1000 steps + rlvr", None),
    "from PretrainZero": ("pretrainzero, 2000 steps + rlvr", "pretrainzero"),
}


@styled
def rlvr_beside(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """PretrainZero's Tables 3 and 4 (Qwen3-4B-Base) on the left, the same starts on TinyBench on the right."""
    table = evaluated(tinybench)
    marks = {arm: mark for arm, mark in marks_of(table["arm"]).items() if arm in RLVR_PRINTED}
    titles = [METRICS[part].title for part in PARTS]
    figure, axes = _two_sides(6.4, [f"Paper: {t}" for t in titles], [f"Ours: {t}" for t in titles], sharex=True)
    for (left, right), metric in zip(axes, PARTS, strict=True):
        for place, (arm, mark) in enumerate(marks.items()):
            _rise(left, place, *(paper_value(metric, method) for method in RLVR_PRINTED[arm]), mark)
            after, before = (values(table[table["arm"] == arm], metric, moment) for moment in ("end", "base"))
            _rise(right, place, after.mean(), before.mean(), mark)
            forms.upright(right, place, after, mark, 0.12, 0.2)
        for ax in (left, right):
            columns(ax, [folded(mark.label, 12) for mark in marks.values()])
    words = "Open marks: before RLVR, filled: after it. Left as printed for Qwen3-4B-Base (half way before RLVR: not "
    words += "printed; math of random spans: Table 3's mean, since Table 4 repeats the row from before). Right: means, "
    words += f"bars: 95 % bootstrap interval over seeds after RLVR, small marks: single seeds. {NOT_AT_ZERO} and "
    words += "the two sides share no scale: compare the order."
    origin = f"data/paper/pretrainzero.csv, Tables 1 and 3; {source}, tier {table['tier'].iloc[0]}: {len(table)} rows, "
    return caption(figure, words, f"{origin}{table['seed'].nunique()} seeds.")


def paper_value(metric: str, method: str | None) -> float | None:
    """What Tables 1 (before RLVR) and 3 (after it) print for Qwen3-4B-Base, in %; None where they print nothing.

    >>> paper_value("overall", "base + rlvr"), paper_value("math", "pretrainzero"), paper_value("overall", None)
    (37.9, 53.13, None)
    """
    if method is None:
        return None
    rows = reported("pretrainzero 3" if "rlvr" in method else "pretrainzero 1")
    rows = rows[(rows["model"] == "Qwen3-4B-Base") & (rows["method"] == method)].set_index("benchmark")["value"]
    return float(rows[PARTS[metric]].mean())


def _rise(ax, place: int, after: float, before: float | None, mark: Mark) -> None:
    if before is not None:
        ax.plot([place, place], [before, after], color=mark.colour, linewidth=1, alpha=0.5)
        ax.plot(place, before, mark.marker, color=mark.colour, markerfacecolor="white", markersize=6)
    ax.plot(place, after, mark.marker, color=mark.colour, markersize=6)


ALL = f"{TINYBENCH} and {TRAINING} and data/results/runs.csv"
RPT_PRINTED = {  # (model, method) of Table 1 -> (whose mark, whether it reasons)
    ("R1-Distill-Qwen-14B", "next token"): ("base", "outright"),
    ("R1-Distill-Qwen-14B", "reasoning"): ("base", "reasoning"),
    ("RPT-14B", "reasoning"): ("rpt", "reasoning"),
}


@styled
def next_tokens_beside(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """RPT's Table 1 on the left; on the right the same for every arm that was asked: before and after, both ways.

    Errors: ValueError also where no arm was asked for next tokens.
    """
    table = _asked(tinybench)
    asked, marks = metrics.next_token_accuracy(table), marks_of(table["arm"])
    figure, axes = grid(3.4, 1, 1 + len(marks))
    printed = reported("rpt 1").pivot(index=["model", "method"], columns="benchmark", values="value")
    for key, (whose, way) in RPT_PRINTED.items():
        _splits(axes[0], printed.loc[key, list(SPLITS)].to_numpy(float)[:, None], whose, way)
    axes[0].set(title="(a) Paper, Table 1", ylabel="Next-token accuracy (%)")
    for ax, letter, (arm, mark) in zip(axes[1:], ascii_lowercase[1:], marks.items(), strict=False):
        own = asked[asked["arm"] == arm]
        after, base = forms.ends(own)
        for whose, rows in (("base", base), ("rpt", after)):
            for way in ("outright", "reasoning"):
                wide = rows[rows["way"] == way].pivot(index="split", columns="seed", values="accuracy")
                _splits(ax, wide.reindex(list(SPLITS)).to_numpy(float), whose, way)
        ax.set_title(f"({letter}) {folded(mark.label)}")
    for ax in axes:
        columns(ax, [name.capitalize() for name in SPLITS], 0.4)
        ax.margins(y=0.1)
        ax.set_ylim(0, None)
    both = [(whose, way) for whose in ("base", "rpt") for way in ("outright", "reasoning")]
    legend_of(figure, {f"{METHODS[whose].label}, {way}": _way_look(whose, way) for whose, way in both}, 4)
    words = "Open marks, dotted: the most likely next token; filled: predicted after a reasoning. Nested splits: the "
    words += f"base has an entropy of 0.5, 1.0, 1.5 nats or more over its 16 likeliest tokens. {SEEDS} The paper has "
    words += "one run and does not print RPT outright. Panels share no scale."
    return explain(figure, table, f"data/paper/rpt.csv, Table 1; {source}", words, lines=False)


def _asked(tinybench: pd.DataFrame) -> pd.DataFrame:
    """The checked rows on next tokens."""
    table = evaluated(tinybench, "n")
    table = table[table["group"].isin(list(metrics.WAYS))]
    if table.empty:
        raise NothingToDraw("tinybench: no run was asked for next tokens, which only runs of objective rpt are")
    return table


def _way_look(whose: str, way: str) -> dict:
    look = {"color": METHODS[whose].colour, "marker": METHODS[whose].marker, "markersize": 6, "linestyle": "-"}
    return look | ({"linestyle": ":", "markerfacecolor": "white"} if way == "outright" else {})


def _splits(ax, table: np.ndarray, whose: str, way: str) -> None:
    """table (splits, seeds): means as marks on a line, with intervals and single seeds where there are several."""
    ax.plot(range(len(table)), np.nanmean(table, axis=1), **_way_look(whose, way))
    for place, row in enumerate(table):
        forms.upright(ax, place, row[~np.isnan(row)], METHODS[whose], 0, 0.12)


@styled
def scaling(tinybench: pd.DataFrame, training: pd.DataFrame, runs: pd.DataFrame, source: str = ALL) -> Picture:
    """RPT's Fig. 5: next-token accuracy after a reasoning by RL compute and split, with the law fitted to the means.

    A panel an arm that was asked for next tokens; errors also as in `next_tokens_beside`.
    """
    table = _asked(tinybench)
    asked, marks = metrics.along_compute(table, training, runs), marks_of(table["arm"])
    found = metrics.laws(asked)
    figure = sheet(3.6)
    axes = figure.subplots(1, len(marks), squeeze=False)[0]
    for ax, letter, (arm, mark) in zip(axes, ascii_lowercase, marks.items(), strict=False):
        for split, (colour, marker) in style.SPLIT_LOOKS.items():
            own = asked[(asked["arm"] == arm) & (asked["split"] == split)]
            rows = own[(own["way"] == "reasoning") & (own["step"] > 0)]
            _law(ax, rows, Mark(METRICS[f"next token, {split}"].title, colour, marker), found.get((arm, split)))
            outright = own.loc[(own["way"] == "outright") & (own["step"] == 0), "accuracy"]
            ax.axhline(outright.mean(), color=colour, linestyle=":", linewidth=0.9)
        ax.set(title=f"({letter}) {mark.label}", xlabel="RL compute (FLOPs)", xscale="log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(lambda at, _: f"{at:.0e}".replace("e+", "e"))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.legend(loc="best", frameon=True, framealpha=0.9, edgecolor="none")  # over dotted lines
    axes[0].set_ylabel("Next-token accuracy (%)")
    words = "Marks: means over seeds at evaluations, bars: 95 % bootstrap interval. Lines: P(C) = A / C^alpha + P*, "
    words += f"fitted to the means. Dotted: the base outright, without reasoning. {NOT_AT_ZERO}. A few "
    words += "points over so short a range fit many curves: R² says nothing of what lies beyond."
    return explain(figure, table, source, words, lines=False)


def _law(ax, rows: pd.DataFrame, mark: Mark, law) -> None:
    look = {"color": mark.colour, "markersize": 4, "linestyle": "" if law else "-"}
    label = f"{mark.label} (R² = {law.r2:.2f})" if law else mark.label
    points = rows.groupby("step")[["flops", "accuracy"]].mean()
    ax.plot(points["flops"], points["accuracy"], mark.marker, **look, label=label)
    for step, own in rows.groupby("step")["accuracy"]:
        if len(own) > 1:
            ax.plot([points["flops"][step]] * 2, bootstrap_ci(own.to_numpy()), color=mark.colour, linewidth=1)
    if law:
        at = np.geomspace(min(law.computes), max(law.computes), 60)
        ax.plot(at, law.predict(at), color=mark.colour)


@styled
def ablation_beside(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """One ablation of RLP: left its mean accuracy as printed (Tables S.1 and S.6), right ours, overall, by setting.

    The arms are named as the paper's rows ("rlp, rollouts 4").
    """
    table, mark = evaluated(tinybench), METHODS["rlp"]
    arms = sorted(set(table["arm"]), key=lambda arm: float(_setting(arm)))
    varied = arms[0].removeprefix("rlp, ").rpartition(" ")[0]
    printed = pd.concat([reported("rlp S.1"), reported("rlp S.6")]).set_index("method")["value"]
    printed = printed[printed.index.str.startswith(f"rlp, {varied} ")]
    printed = printed.sort_index(key=lambda names: names.map(_setting).astype(float))
    figure, (left, right) = grid(2.9, 1, 2)
    left.plot(range(len(printed)), printed, color=mark.colour, marker="o")  # its own mark has no clear middle
    left.set(title="(a) Paper: mean accuracy (%)", xlabel=varied)
    left.set_xticks(range(len(printed)), [*map(_setting, printed.index)])
    for place, arm in enumerate(arms):
        ends = values(table[table["arm"] == arm], "overall")
        right.plot([place + 0.14] * len(ends), ends, "o", color=mark.colour, markersize=3.5, alpha=0.55)
        look = {"fmt": "o", "color": mark.colour, "markersize": 6, "capsize": 3}
        right.errorbar(place, ends.mean(), yerr=forms.reach(ends), **look)
    right.axhline(values(table, "overall", "base").mean(), color=METHODS["base"].colour, linestyle="--", linewidth=1)
    what = "TinyBench, overall" if set(table["task"]).isdisjoint(BENCHMARKS) else "overall"
    right.set(title=f"(b) Ours: {what} (%)", xlabel=varied, xlim=(-0.5, len(arms) - 0.5))
    right.set_xticks(range(len(arms)), [*map(_setting, arms)])
    words = "Paper: Qwen3-1.7B-Base, one run each, as printed. Ours: plain mean of general and math after training. "
    words += f"{SEEDS} Dashed: the base. The vertical axes do not start at zero and share no scale: compare the order."
    return explain(figure, table, f"data/paper/rlp.csv; {source}", words, lines=False)


def _setting(name: str) -> str:
    """The value that the name of an arm ends with.

    >>> _setting("rlp, KL 1e-4")
    '1e-4'
    """
    return name.rpartition(" ")[2]
