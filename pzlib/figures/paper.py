"""The papers' printed numbers beside ours: PretrainZero's Tables 1 to 4, RPT's Table 1 and Fig. 5, RLP's Fig. 2; and
PretrainZero's Fig. 8 with a passage of ours, since our notes have a part of the paper's. Left out: the math and science
panels of RLP's Fig. 2, one mean here. Tables, `source` and errors as in `accuracy`."""

import textwrap
from string import ascii_lowercase

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.ticker import LogLocator, NullFormatter

from pzlib.errors import NothingToDraw
from pzlib.figures import forms, style
from pzlib.figures.forms import BASE, TINYBENCH, columns, evaluated, explain, joined, legend_of, marked
from pzlib.figures.inspector import mask_places
from pzlib.figures.run_view import ACCURACY, ADVANCE, LEADING, MONO, passage_heat, text_grid
from pzlib.figures.style import METHODS, WIDTH, Mark, Picture, caption, grid, sheet, styled
from pzlib.masking import MASK
from pzlib.studies import metrics
from pzlib.studies.boxes import headlines
from pzlib.studies.claims import reported
from pzlib.studies.metrics import METRICS, SPLITS, over_seeds, values
from pzlib.tiers import WORLDS

SIZES = {"baselines_small": "tinybase\nsmall", "baselines": "tinybase\n(default)"}
ROLES = {"baselines_small": "smaller base", "baselines": "base"}  # at a real tier, where any model can be given
OTHERS = ("Qwen3-1.7B-Base", "R1-Distill-Qwen-14B")  # RPT-14B is trained from the second
MODELS = ("SmolLM3-3B-Base", "Qwen3-4B-Base", "Qwen3-8B-Base", "Qwen3-30B-A3B-Base")
# {metric: (table and columns whose mean is its like, the same before)}, {arm: (printed method after, before)}
TABLES_1_2 = {metric: (("pretrainzero 1", columns), ()) for metric, columns in {
    "overall": ("Overall",), "general": ("SuperGPQA", "BBEH", "MMLU-Pro"), "math": ("MATH avg",)}.items()}  # fmt: skip
LADDER = {arm: (arm, "") for arm in ("base", "continued_pretraining", "sft", "random_span", "pretrainzero")}
TABLES_3_4 = {metric: (("pretrainzero 3", before[1]), before) for metric, (before, _) in TABLES_1_2.items()}
RLVR = {  # half way before RLVR is not printed; before it, Table 4 repeats Table 2's row of random spans
    "from the base": ("base + rlvr", "base"),
    "from random spans": ("random_span, 2000 steps + rlvr", "random_span"),
    "from PretrainZero, half way": ("pretrainzero, 1000 steps + rlvr", ""),
    "from PretrainZero": ("pretrainzero, 2000 steps + rlvr", "pretrainzero"),
}
RPT_2 = {"math": tuple(("rpt 2", (f"Skywork-OR1, {when} RLVR",)) for when in ("after", "before"))}
RPT_ARMS = {"from the base": ("base",) * 2, "from continued pretraining": ("continual next-token training",) * 2,
            "from RPT": ("rpt",) * 2}  # fmt: skip
RLP_1 = {metric: (("rlp 1", (name,)),) * 2 for metric, name in {"overall": "Overall", "math": "Math Avg"}.items()}
RLP_ARMS = {f"from {name}": (f"{method} + post", method) for name, method in
            {"the base": "base", "continued pretraining": "cpt", "RLP": "rlp"}.items()}  # fmt: skip


def printed(part: tuple, methods: tuple[str, str]) -> dict[str, tuple[float, float]]:
    """{model: (value after, value before or NaN)} of a part of a printed table, in %.

    >>> printed(TABLES_3_4["overall"], RLVR["from the base"])
    {'Qwen3-4B-Base': (37.9, 32.36)}
    """
    found = []
    for where, method in zip(part, methods, strict=True):
        rows = reported(where[0]) if where and method else reported("rpt 1")[:0]
        rows = rows[(rows["method"] == method) & rows["benchmark"].isin(where[1] if where else ())]
        found.append(rows.groupby("model", sort=False)["value"].mean().round(6))
    return {model: (float(after), float(found[1].get(model, np.nan))) for model, after in found[0].items()}


def _beside(studies: dict, parts: dict, arms: dict, source: str, printed_in: str, headline: str) -> Picture:
    """A row for each metric of `parts`: on the left what the paper prints, on the right ours, method by method.

    studies: {what its models are called: rows}. A tick is the value before, of methods that have one.
    """
    studies = {name: evaluated(rows) for name, rows in studies.items()}
    table = joined(studies)
    shown = [arm for arm in arms if arm == "base" or arm in set(table["arm"])]
    marks = {arm: METHODS["base"] for arm in shown if arm == "base"} | marked(table)
    figure, axes = grid(0.5 + 1.75 * len(parts), len(parts), 2, squeeze=False)
    letters, wide = iter(ascii_lowercase), 0.64 / max(len(shown) - 1, 1)
    risen = any(before for _, before in arms.values())
    for (left, right), (metric, part) in zip(axes, parts.items(), strict=True):
        asked = {model for methods in arms.values() for model in printed(part, methods)}
        models = [model for model in (*MODELS, *OTHERS) if model in asked]
        for place, arm in enumerate(shown):
            at = wide * (place - (len(shown) - 1) / 2)
            for model, (after, before) in printed(part, arms[arm]).items():
                x = models.index(model) if model in models else 0
                _rise(left, x + at, [after], before, marks[arm])
            for x, rows in enumerate(studies.values()):
                own = rows if arm == "base" else rows[rows["arm"] == arm]
                start = values(own, metric, "base")
                found = start.drop_duplicates() if arm == "base" else values(own, metric)
                _rise(right, x + at, found, over_seeds(start)[0] if risen else np.nan, marks[arm])
        names = [model.removesuffix("-Base").replace("-", "\n", 1) for model in models]
        for ax, whose, below in ((left, "Paper", names), (right, "Ours", [*studies])):
            ax.set_title(f"({next(letters)}) {whose}: {' and '.join(METRICS[metric].groups)} (%)")
            columns(ax, below)
    legend_of(figure, {marks[arm].label: {**marks[arm].look} for arm in shown}, 4)
    words = f"{'Tick: before RLVR. ' * risen}No shared scale: compare the order. Paper: {printed_in}, one run each."
    return explain(figure, table, source, headline, words, lines=False)


def _rise(ax, place: float, after, before: float, mark: Mark) -> None:
    if len(after) and not np.isnan(before):
        ax.plot([place, place], [before, over_seeds(pd.Series(after))[0]], color=mark.colour, linewidth=1, alpha=0.5)
        ax.plot(place, before, "_", color=mark.colour, markersize=8)
    forms.seeds(ax, place, after, mark, 0.05, upright=True, size=5)


@styled
def baselines_beside(tinybench: dict[str, pd.DataFrame], source: str = TINYBENCH) -> Picture:
    """PretrainZero's Tables 1 and 2 beside the same methods on TinyBench, by base model.

    tinybench: study of `SIZES` -> its rows, of one tier. Errors: ValueError where no study has rows.
    """
    there = {name: rows for name in SIZES if len(rows := tinybench.get(name, ()))}
    small = all(WORLDS[tier].small for rows in there.values() for tier in rows["tier"].unique())
    ours = {SIZES[name] if small else ROLES[name]: rows for name, rows in there.items()}
    if not ours:
        raise NothingToDraw("tinybench: no study has rows; run the baselines, then `python -m pzlib results`")
    headline = headlines.against_base(metrics.armed([*ours.values()][-1]), ("overall",))
    return _beside(ours, TABLES_1_2, LADDER, source, "Tables 1 and 2", headline)


@styled
def rlvr_beside(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """PretrainZero's Tables 3 and 4 beside the same starts of RLVR on TinyBench."""
    headline = headlines.meeting(tinybench, ("general", "math"))
    return _beside({"ours": tinybench}, TABLES_3_4, RLVR, source, "Tables 3 and 4", headline)


@styled
def rlvr_after_beside(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """RPT's Table 2 beside the same starts of RLVR on TinyBench."""
    return _beside({"ours": tinybench}, RPT_2, RPT_ARMS, source, "Table 2", headlines.meeting(tinybench, ("math",)))


@styled
def rlp_beside(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """RLP's Table 1 beside ours: before and after the same post-training, which is RLVR here, SFT and RLVR there."""
    headline = headlines.meeting(tinybench, ("overall", "math"))
    return _beside({"ours": tinybench}, RLP_1, RLP_ARMS, source, "Table 1", headline)


ALL = f"{TINYBENCH}, training.csv, runs.csv"
RPT_PRINTED = {  # (model, method) of Table 1 -> (whose mark, whether it reasons)
    ("R1-Distill-Qwen-14B", "next token"): ("base", "outright"),
    ("R1-Distill-Qwen-14B", "reasoning"): ("base", "reasoning"),
    ("RPT-14B", "reasoning"): ("rpt", "reasoning"),
}


@styled
def next_tokens_beside(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """RPT's Table 1 beside ours: next-token accuracy before and after, without and with a reasoning. Splits are nested:
    the base has an entropy of 0.5, 1.0, 1.5 nats or more over its 16 likeliest tokens.

    Errors: ValueError also where no arm was asked for next tokens.
    """
    table = _asked(tinybench)
    asked, marks = metrics.next_token_accuracy(table), marked(table)
    figure, axes = grid(2.8, 1, 1 + len(marks))
    rows = reported("rpt 1").pivot(index=["model", "method"], columns="benchmark", values="value")
    for key, (whose, way) in RPT_PRINTED.items():
        _splits(axes[0], rows.loc[key, list(SPLITS)].to_frame(0), whose, way)
    axes[0].set(title="(a) Paper (RPT-14B)", ylabel="Next-token accuracy (%)")
    for ax, letter, (arm, mark) in zip(axes[1:], ascii_lowercase[1:], marks.items(), strict=False):
        own = asked[asked["arm"] == arm]
        after, base = forms.ends(own)
        for whose, part in (("base", base), ("rpt", after)):
            for way in ("outright", "reasoning"):
                found = part[part["way"] == way].pivot(index="split", columns="seed", values="accuracy")
                _splits(ax, found.reindex(list(SPLITS)), whose, way)
        ax.set_title(f"({letter}) {mark.label}")
    for ax in axes:
        columns(ax, [name.capitalize() for name in SPLITS], 0.4)
        ax.margins(y=0.1)
        ax.set_ylim(0, None)
    both = [(whose, way) for whose in ("base", "rpt") for way in ("outright", "reasoning")]
    legend_of(figure, {f"{METHODS[whose].label}, {way}": _way_look(whose, way) for whose, way in both}, 4)
    words = "Outright: the most likely token. Paper: Table 1, one run. Panels share no scale."
    return explain(figure, table, source, headlines.against_base(table, ("next token",)), words, lines=False)


def _asked(tinybench: pd.DataFrame) -> pd.DataFrame:
    """The checked rows on next tokens."""
    table = evaluated(tinybench, "n")
    table = table[table["group"].isin(list(metrics.WAYS))]
    if table.empty:
        raise NothingToDraw("tinybench: no run was asked for next tokens, which only runs of objective rpt are")
    return table


def _way_look(whose: str, way: str) -> dict:
    outright = way == "outright"
    return METHODS[whose].look | {"markersize": 3 if outright else 6, "linestyle": ":" if outright else "-"}


def _splits(ax, table: pd.DataFrame, whose: str, way: str) -> None:
    """table (splits, seeds): means as marks on a line, with intervals and single seeds where there are several."""
    ax.plot(range(len(table)), [over_seeds(row.dropna())[0] for _, row in table.iterrows()], **_way_look(whose, way))
    for place, (_, row) in enumerate(table.iterrows()):
        if row.nunique() > 1:
            forms.seeds(ax, place, row, METHODS[whose], 0.12, upright=True)


@styled
def scaling(tinybench: pd.DataFrame, training: pd.DataFrame, runs: pd.DataFrame, source: str = ALL) -> Picture:
    """RPT's Fig. 5: next-token accuracy after a reasoning by RL compute and split, with the law P(C) = A / C^alpha + P*
    fitted to the means. A few points over so short a range fit many curves: R² says nothing of what is beyond.

    A panel an arm that was asked for next tokens; errors also as in `next_tokens_beside`.
    """
    table = _asked(tinybench)
    asked, marks = metrics.along_compute(table, training, runs), marked(table)
    found = metrics.laws(asked)
    figure = sheet(3.1)
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
        low, high = ax.get_ylim()
        ax.set_ylim(low, high + 0.45 * (high - low))  # room for the names
        ax.legend(loc="upper left", labelspacing=0.2, borderaxespad=0.1)
    axes[0].set_ylabel("Next-token accuracy (%)")
    words = "Lines: the law. Dotted: the base without reasoning."
    return explain(figure, table, source, headlines.laws(found), words, lines=False)


def _law(ax, rows: pd.DataFrame, mark: Mark, law) -> None:
    look = {"color": mark.colour, "markersize": 4, "linestyle": "" if law else "-"}
    label = f"{mark.label} (R² = {law.r2:.2f})" if law else mark.label
    points = rows.groupby("step")[["flops", "accuracy"]].mean()
    ax.plot(points["flops"], points["accuracy"], mark.marker, **look, label=label)
    for step, own in rows.set_index("seed").groupby("step")["accuracy"]:
        if len(own) >= metrics.LEAST:
            ax.plot([points["flops"][step]] * 2, over_seeds(own)[1:], color=mark.colour, linewidth=1)
    if law:
        at = np.geomspace(min(law.computes), max(law.computes), 60)
        ax.plot(at, law.predict(at), color=mark.colour)


VARIED = {"completion tokens": "Thought length (tokens)", "KL": "Weight of KL", "tau": "EMA rate"}


@styled
def ablations(tinybench: dict[str, pd.DataFrame], source: str = TINYBENCH) -> Picture:
    """RLP's Fig. 2: mean accuracy as printed (Tables S.1 and S.6) above ours, overall, by setting. The paper's tau from
    another base (39.5 at 0.999, where the others have 42.2).

    The arms are named as the paper's rows ("rlp, rollouts 4").
    """
    studies, mark = {name: evaluated(rows) for name, rows in tinybench.items()}, METHODS["rlp"]
    every = pd.concat([reported("rlp S.1"), reported("rlp S.6")]).set_index("method")["value"]
    figure, axes = grid(3.4, 2, len(studies), squeeze=False)
    for (top, low), table in zip(axes.T, studies.values(), strict=True):
        arms = sorted(set(table["arm"]), key=lambda arm: float(_setting(arm)))
        varied = arms[0].removeprefix("rlp, ").rpartition(" ")[0]
        shown = every[every.index.str.startswith(f"rlp, {varied} ")]
        shown = shown.sort_index(key=lambda names: names.map(_setting).astype(float))
        top.plot(range(len(shown)), shown, **mark.look, linestyle="")
        top.set_title(VARIED.get(varied, varied.capitalize()))
        for place, arm in enumerate(arms):
            forms.seeds(low, place, values(table[table["arm"] == arm], "overall"), mark, 0.14, upright=True)
        forms.base_line(low, table, "overall")
        for ax, names in ((top, [*map(_setting, shown.index)]), (low, [*map(_setting, arms)])):
            columns(ax, names)
            ax.tick_params(axis="x", rotation=90 if len("".join(names)) > 14 else 0)
            ax.margins(y=0.2)
    axes[0, 0].set_ylabel("Paper (%)")
    axes[1, 0].set_ylabel("Ours, overall (%)")
    table = joined(studies)
    words = f"{BASE} Paper: Qwen3-1.7B-Base, one run each. No panel shares a scale."
    return explain(figure, table, source, headlines.above_base(studies), words, lines=False)


def _setting(name: str) -> str:
    """The value that the name of an arm ends with.

    >>> _setting("rlp, KL 1e-4")
    '1e-4'
    """
    return name.rpartition(" ")[2]


@styled
def case(case: pd.DataFrame, source: str = "data/results/case.csv") -> Picture:
    """PretrainZero's Fig. 8, of a small model: a passage with the masks that the generator chose at the end of
    training, coloured by how many of their predictions were right, and what base and trained models answer to one of
    them. The mask is the one of its step on which training gained most; the answer shown is a model's first right one
    where at least half are right, else its first wrong one."""
    masks, answers = case[case["completion"].isna()], case[case["completion"].notna()]
    target, kind = answers[["target", "kind"]].fillna("").iloc[0]
    text = masks["masked"].iloc[0].replace(MASK, masks["target"].iloc[0])
    places = [(*place, row.right) for row in masks.itertuples() for place in mask_places(row.masked, row.target)]
    inner = WIDTH - 0.3  # inches
    columns = int(inner / ADVANCE)
    marks, lines = marked(answers), []
    for row in answers.itertuples():
        mark = METHODS["base"] if row.step == 0 else marks[row.arm]
        verdict = f"{round(row.right * row.n)} of {row.n} answers right"
        said = textwrap.wrap(" ".join(row.completion.split()), columns - 2)
        said = said if len(said) <= 4 else [*said[:3], "…" + said[-1]]  # lines
        lines.append((f"{mark.label}: {verdict}", mark.colour, "bold"))
        lines += [(f"  {line}", "#202020", "normal") for line in said]
    high = (min(len(textwrap.wrap(text, columns)), 14) + 0.2) * LEADING  # at most 14 lines
    low = (len(lines) + 1.3) * LEADING
    height = high + low + 0.38
    figure = Picture(WIDTH, height)
    upper = figure.add_axes((0.15 / WIDTH, (low + 0.08) / height, inner / WIDTH, high / height))
    passage_heat(upper, text, places)
    upper.set_title("Masks that the generator chose", y=1, pad=4)
    bar = upper.inset_axes([0.7, 1 + 0.08 / high, 0.16, 0.1 / high])
    figure.colorbar(ScalarMappable(cmap=ACCURACY), cax=bar, orientation="horizontal", ticks=[])
    for at, words, side in ((0, "right: none ", "right"), (1, " all", "left")):
        bar.text(at, 0.5, words, ha=side, va="center", fontsize=8, transform=bar.transAxes)
    lower = figure.add_axes((0.15 / WIDTH, 0.02 / height, inner / WIDTH, low / height))
    text_grid(lower)
    asked = f"Asked: the mask “{target}”" + f" ({kind})".replace("_", " ") * bool(kind)
    lower.text(0, 0.5, asked, fontsize=9, va="center")
    for place, (words, colour, weight) in enumerate(lines):
        lower.text(0, place + 1.7, words, color=colour, weight=weight, **MONO)
    seed, tier = case[["seed", "tier"]].iloc[0]
    how = "Dashed: all predictions right, or all wrong: nothing is learned. Asked: of its step's masks, first of those "
    how += "that take reasoning, the one with the largest gain."
    return caption(figure, headlines.case(answers), how, f"{source}, tier {tier}, seed {seed}.")
