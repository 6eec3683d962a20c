"""Figures of scores: PretrainZero's Figs. 3a-b and 7, before and after by seed, by tokens and time, when to search; of
the small world and its base; RPT's Fig. 6. Left out: PretrainZero's Fig. 1, a summary; RPT's bars, never printed.

Each takes rows of the tables that its parameters name, with a column `arm` or else one objective an arm, and `source`,
which is named below it. Accuracies are shares, shown in per cent. Errors: as `forms.checked`."""

from itertools import cycle
from string import ascii_lowercase

import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle

from pzlib.errors import NothingToDraw
from pzlib.figures import forms, style
from pzlib.figures.forms import MASKED_WORDS, NOT_AT_ZERO, SEEDS, TINYBENCH, TRAINING, Panel, evaluated, explain, lines
from pzlib.figures.style import METHODS, Picture, grid, marks_of, sheet, styled
from pzlib.studies import metrics, tables
from pzlib.studies.claims import reported
from pzlib.studies.metrics import GROUPS, METRICS
from pzlib.studies.patterns import KEYWORDS, STRUCTURE

COSTS, BOTH = "data/results/costs.csv", f"{TINYBENCH} and {TRAINING}"
ALWAYS = ("direct guess", "no answer", "words")  # of structural marks: shown even where no response has them
TITLES = {"words": "Length (words)", "right": "Right answers (%)", "thinks": "Announced reasoning (%)"}
PAIRED = "to the first row in points, paired by seed [95 % interval]."
BUDGET = f"Dashed: what every run has used. The vertical axes do not start at zero. {MASKED_WORDS}"


@styled
def tinybench_curves(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """PretrainZero's Fig. 7 on TinyBench: mean accuracy of general and of math tasks, answer length, by step."""
    table = evaluated(tinybench, "n", "length")
    asked = table[table["group"].isin(metrics.QUESTIONS)].assign(asked="questions")
    groups = [group for group in metrics.QUESTIONS if group in set(asked["group"])]
    figure, axes = grid(3.0, 1, len(groups) + 1)
    _by_group(axes[:-1], asked, groups, "mean accuracy")
    length = Panel("length", f"({ascii_lowercase[len(groups)]}) Answer length (tokens)", ends=(0, None))
    lines(axes[-1], forms.group_means(asked, "length", "asked"), length)
    forms.legend(figure, axes)
    items, tasks = int(asked.drop_duplicates("task")["n"].sum()), asked["task"].nunique()
    words = f"{items} answers in {tasks} tasks. The accuracy axes do not start at zero."
    return explain(figure, table, source, words)


def _by_group(axes, table: pd.DataFrame, groups: tuple, what: str, x: str = "step") -> None:
    """Accuracy of each group of TinyBench by step, or by the column `x`."""
    means = forms.group_means(table, ["accuracy"] if x == "step" else ["accuracy", x])
    for ax, letter, group in zip(axes, ascii_lowercase, groups, strict=False):
        panel = Panel("accuracy", f"({letter}) {METRICS[group].title}, {what} (%)", 100)
        lines(ax, means[means["group"] == group], panel, x=x)


@styled
def collapse_curves(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """PretrainZero's Fig. 3a-b: accuracy by step for every masking strategy, on masked words and on questions."""
    words = MASKED_WORDS * ("spans" in set(tinybench["group"]))
    return _curves(tinybench, f"Step 0 is the base. {NOT_AT_ZERO}. {words}", source)


def _curves(tinybench: pd.DataFrame, words: str, source: str, x: str = "step", label: str = "", behind=()) -> Picture:
    """Masked words first, where the game is played, then the questions to which it should carry over."""
    table = evaluated(tinybench)
    groups = [group for group in ("spans", "general", "math") if group in set(table["group"])]
    figure, axes = grid(3.2, 1, len(groups), squeeze=False)
    axes = axes[0]
    _by_group(axes, table, groups, "accuracy", x)
    for ax in axes if label else ():
        ax.axvline(metrics.at_equal(table, x)["budget"].iloc[0], color="#595959", linestyle="--", linewidth=0.8)
        ax.set(xlabel=label, xlim=(0, None))
    forms.legend(figure, axes)
    return explain(figure, pd.concat([table, *behind]), source, words)


@styled
def by_tokens(tinybench: pd.DataFrame, training: pd.DataFrame, source: str = BOTH) -> Picture:
    """As `collapse_curves`, by what the runs have read and written: a generator's masks cost tokens, a rule's none."""
    table = tinybench.assign(used=metrics.tokens_used(tinybench, training) / 1e6)
    words = f"Tokens: prompts and completions so far, of both roles, mean over seeds. {BUDGET}"
    return _curves(table, words, source, "used", "Tokens (millions)", [metrics.armed(training)])


@styled
def by_time(tinybench: pd.DataFrame, costs: pd.DataFrame, source: str = f"{TINYBENCH}, {COSTS}") -> Picture:
    """As `by_tokens`, by time: steps times what a step of the arm costs."""
    table = tinybench.assign(used=tables.seconds_used(tinybench, costs) / 60)
    words = f"Time: steps x seconds a step, measured method by method on one machine ({costs['device'].iloc[0]})."
    return _curves(table, f"{words} {BUDGET}", source, "used", "CPU minutes")


@styled
def main_result(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """Before and after: accuracy of the base (step 0) and of every arm's last models, seed by seed; under each arm its
    difference to the first, paired by seed.
    """
    table = evaluated(tinybench, "n")
    steps = sorted(forms.ends(table)[0]["step"].unique())
    steps = f"{steps[0]} to {steps[-1]}" if len(steps) > 1 else f"{steps[0]}" if steps else "no"
    paired = f"Under them: difference {PAIRED}" * (table[table["step"] > 0]["arm"].nunique() > 1)
    return _result(table, source, f"After {steps} steps. {SEEDS} {paired}")


@styled
def follow_on(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """Before and after RLVR, as `main_result`; step 0 of an arm is the model that it starts from."""
    words = f"Open marks: the mean before RLVR. {SEEDS} Under them: difference after RLVR {PAIRED}"
    return _result(evaluated(tinybench, "n"), source, words, starts=True)


def _result(table: pd.DataFrame, source: str, words: str, starts: bool = False) -> Picture:
    """An axis a group, a row per arm; `starts`: each arm has a base of its own, shown by an open mark in its row."""
    arms = forms.by_arm(table if starts else table[table["step"] > 0])
    groups = [group for group in GROUPS if group in set(table["group"])]
    figure = sheet(1.7 + 0.5 * len(arms) if starts else 1.6 + 0.44 * (len(arms) + 1))
    for ax, group in zip(figure.subplots(1, len(groups), squeeze=False, sharey=True)[0], groups, strict=True):
        rows, title = [(mark, metrics.values(own, group)) for own, mark in arms], METRICS[group].title
        before = [metrics.values(own, group, "base").mean() for own, _ in arms] if starts else ()
        if not starts:
            rows.append((METHODS["base"], metrics.values(table, group, "base")))
            tasks = table.loc[table["group"] == group, "task"].nunique()
            title += f" ({tasks} task{'s' * (tasks > 1)})"
        forms.dots(ax, rows, title, compared=len(arms), before=before)
        ax.set_xlabel("Mean accuracy (%)")
    words += f" All seeds answer one fixed set of questions. {NOT_AT_ZERO}. {MASKED_WORDS * ('spans' in groups)}"
    return explain(figure, table, source, words, lines=False)


@styled
def result_at_equal_tokens(tinybench: pd.DataFrame, training: pd.DataFrame, source: str = BOTH) -> Picture:
    """`main_result` at the last evaluation of every run within the tokens that all of them have used."""
    after = metrics.equal_tokens(tinybench, training)
    return main_result(pd.concat([tinybench[tinybench["step"] == 0], after]).drop_duplicates(), source)


@styled
def perplexities(perplexity: pd.DataFrame, source: str = "data/results/perplexity.csv") -> Picture:
    """RLP's Table S.8: perplexity of held-out text before and after, for all tokens and each class of kind."""
    table = forms.checked(perplexity, "perplexity", ["task", "perplexity"])
    titles = {"text": "All tokens"} | {n: title for n, title in metrics.CLASSES.items() if n in set(table["task"])}
    marks = {"base": METHODS["base"]} | marks_of(table["arm"])
    figure = sheet(1.6 + 0.42 * len(marks))
    axes = figure.subplots(1, len(titles), squeeze=False, sharey=True)[0]
    for ax, (task, title) in zip(axes, titles.items(), strict=True):
        rows = table[table["task"] == task]
        rows = rows.assign(arm=rows["arm"].where(rows["step"] > 0, "base"))
        means = rows.groupby(["arm", "seed"])["perplexity"].mean()
        forms.dots(ax, [(mark, means.get(arm, means[:0])) for arm, mark in marks.items()], title)
        ax.set_xlabel("Perplexity")
        ax.locator_params(axis="x", nbins=3)
    printed = reported("rlp S.8").set_index(["method", "benchmark"])["value"]
    before, after = (printed[method, "Wikitext-103 perplexity"] for method in ("base", "rlp"))
    words = f"Text without a prompt, from the left. {SEEDS} Lower is better; the axes do not start at zero. RLP's own, "
    words += f"on Wikitext-103: {before} before, {after} after (Table S.8)."
    return explain(figure, table, source, words, lines=False)


@styled
def structure_by_arm(patterns: pd.DataFrame, source: str = "data/results/patterns.csv") -> Picture:
    """Structural marks of the answers of the base (step 0) and of every arm's last models, seed by seed.

    A panel a mark that any response has, and always those of `ALWAYS`.
    """
    table = forms.checked(patterns, "patterns", ["pattern", "mean", "n", "cases"])
    some = table.groupby("pattern")["mean"].max() > 0
    wanted = [name for name in (*STRUCTURE, "words", "right") if name in some and (some[name] or name in ALWAYS)]
    after, base = forms.ends(table)
    rows_of = dict([*after.groupby("arm", sort=False)]) | {"base": base.drop_duplicates(["seed", "pattern"])}
    deep = -(-len(wanted) // 3)
    figure, axes = grid(0.9 + deep * (0.6 + 0.3 * len(rows_of)), deep, 3, squeeze=False, sharey=True)
    for ax, letter, name in zip(axes.flat, ascii_lowercase, wanted, strict=False):
        unit = 1 if name == "words" else 100
        own = [rows.loc[rows["pattern"] == name, "mean"] * unit for rows in rows_of.values()]
        title = f"({letter}) {TITLES.get(name, f'{name.capitalize()} (%)')}"
        forms.dots(ax, [*zip(marks_of(rows_of).values(), own, strict=True)], title)
    for ax in axes.flat[len(wanted) :]:
        ax.set_axis_off()
    n = f"{int(after['n'].max())} answers of each run to {int(after['cases'].max())} masked passages"
    words = f"{n}. {SEEDS} The base is asked with every seed. {NOT_AT_ZERO}."
    return explain(figure, table, source, words, lines=False)


@styled
def searching_map(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """When searching pays: what PretrainZero and entropy masking gain over random spans, by density and noise.

    ValueError where no place has two arms to compare.
    """
    rows = evaluated(tinybench)
    cells = metrics.map_differences(rows)
    if cells.empty:
        raise NothingToDraw("tinybench: no place on the map has two arms with two seeds in common; run the study map")
    densities, noises = sorted(cells["density"].unique()), sorted(cells["noise"].unique())
    figure, axes = grid(1.5 + 0.62 * len(densities), 1, len(metrics.PAIRS), sharey=True)
    reach = max(cells["difference"].abs().max(), 0.1)
    for ax, letter, (first, second) in zip(axes, ascii_lowercase, metrics.PAIRS, strict=False):
        own = cells[(cells["first"] == first) & (cells["second"] == second)]
        table = own.pivot(index="density", columns="noise", values="difference").reindex(densities, columns=noises)
        image = ax.imshow(table, cmap="PuOr_r", vmin=-reach, vmax=reach, origin="lower", aspect="auto")
        for cell in own.itertuples():
            x, y = noises.index(cell.noise), densities.index(cell.density)
            dark = np.dot(image.cmap(image.norm(cell.difference))[:3], (0.3, 0.6, 0.1)) < 0.45
            text = f"{cell.difference:+.1f}\n[{cell.low:+.1f}, {cell.high:+.1f}]".replace("-", "−")
            ax.text(x, y, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
            if cell.low > 0 or cell.high < 0:
                frame = {"fill": False, "edgecolor": "black", "linewidth": 1.5}
                ax.add_patch(Rectangle((x - 0.485, y - 0.485), 0.97, 0.97, **frame))
        ax.set_xticks(range(len(noises)), [f"{noise:g}" for noise in noises])
        ax.set_yticks(range(len(densities)), [f"{density:g}" for density in densities])
        ax.set(title=f"({letter}) {METHODS[first].label} − {METHODS[second].label}", xlabel="Noise (share)")
        ax.grid(visible=False)
    axes[0].set_ylabel("Density (share)")
    figure.colorbar(image, ax=axes, label="Difference (points)")
    words = f"{METRICS['spans'].title}, difference of final accuracies in points, paired by seed [95 % bootstrap "
    words += "interval]; framed: the interval leaves zero out. Density: sentences that state something deducible; "
    words += f"noise: names, codes and years among the others. {MASKED_WORDS}"
    return explain(figure, rows, source, words, lines=False)


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
        shares = table.from_left.value_counts(normalize=True).reindex(list(style.CLASS_COLOURS), fill_value=0.0)
        forms.bar(ax, place, shares, style.CLASS_COLOURS.values(), place == 0, height=0.7)
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
        for way, (colour, marker) in style.WAY_LOOKS.items():
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
    for place, ((name, mark), hatch) in enumerate(zip(marks.items(), cycle(style.HATCHES), strict=False)):
        own = rows[rows["source"] == name].set_index("pattern").reindex(list(KEYWORDS))
        mean, low, high = own[["mean", "low", "high"]].to_numpy(float).T * 100
        at = np.arange(len(KEYWORDS)) + (place - (len(marks) - 1) / 2) * width
        reach = np.maximum([mean - low, high - mean], 0)
        look = {"color": mark.colour, "label": mark.label, "edgecolor": "white", "hatch": hatch}
        ax.bar(at, mean, width, yerr=reach, capsize=2, error_kw={"linewidth": 0.9}, **look)
    ax.set_xticks(range(len(KEYWORDS)), [name.replace(" ", "\n").capitalize() for name in KEYWORDS])
    ax.set(ylabel="Responses with a keyword (%)", ylim=(0, None))
    ax.grid(axis="x", visible=False)
    figure.legend(loc="outside upper left", ncols=4)
    words = "Whole words of RPT's Table 9, case ignored. Bars: share of responses; whiskers: 95 % interval over cases."
    counts = rows.groupby("source", sort=False)[["n", "cases"]].max()
    told = "; ".join(f"{marks[name].label} {row.n} responses to {row.cases} cases" for name, row in counts.iterrows())
    return style.caption(figure, words, f"{source}: {told}.")
