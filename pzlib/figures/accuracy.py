"""Figures of scores: PretrainZero's Figs. 3a-b and 7, before and after by seed, by tokens and time, when to search.
Left out: PretrainZero's Fig. 1, a summary of its others.

Each takes rows of the tables that its parameters name, with a column `arm` or else one objective an arm, and `source`,
which is named below it. Accuracies are shares, shown in per cent. Errors: as `forms.checked`."""

from string import ascii_lowercase

import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle

from pzlib.figures import forms
from pzlib.figures.forms import MASKED_WORDS, NOT_AT_ZERO, SEEDS, TINYBENCH, TRAINING, Panel, evaluated, explain, lines
from pzlib.figures.style import METHODS, Picture, grid, marks_of, sheet, styled
from pzlib.studies import metrics
from pzlib.studies.claims import reported
from pzlib.studies.metrics import GROUPS, METRICS
from pzlib.studies.patterns import STRUCTURE

ALWAYS = ("direct guess", "no answer", "words")  # of structural marks: shown even where no response has them
TITLES = {"words": "Length (words)", "right": "Right answers (%)", "thinks": "Announced reasoning (%)"}
PAIRED = "to the first row in points, paired by seed [95 % interval]."
SAME_QUESTIONS = f"All seeds answer one fixed set of questions. {NOT_AT_ZERO}."
BUDGET = f"Dashed: what every run has used. The vertical axes do not start at zero. {MASKED_WORDS}"


@styled
def tinybench_curves(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """PretrainZero's Fig. 7 on TinyBench: mean accuracy of general and of math tasks, answer length, by step."""
    table = evaluated(tinybench, "n", "length")
    asked = table[table["group"].isin(metrics.QUESTIONS)].assign(asked="questions")
    figure, axes = grid(3.0, 1, 3)
    _by_group(axes[:2], asked, metrics.QUESTIONS, "mean accuracy")
    length = Panel("length", "(c) Answer length (tokens)", ends=(0, None))
    lines(axes[2], forms.group_means(asked, "length", "asked"), length)
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
    return _curves(tinybench, f"Step 0 is the base. {NOT_AT_ZERO}. {MASKED_WORDS}", source)


def _curves(tinybench: pd.DataFrame, words: str, source: str, x: str = "step", label: str = "", behind=()) -> Picture:
    """Masked words first, where the game is played, then the questions to which it should carry over."""
    table = evaluated(tinybench)
    figure, axes = grid(3.2, 1, 3)
    _by_group(axes, table, ("spans", "general", "math"), "accuracy", x)
    for ax in axes if label else ():
        ax.axvline(metrics.at_equal(table, x)["budget"].iloc[0], color="#595959", linestyle="--", linewidth=0.8)
        ax.set(xlabel=label, xlim=(0, None))
    forms.legend(figure, axes)
    return explain(figure, pd.concat([table, *behind]), source, words)


@styled
def by_tokens(tinybench: pd.DataFrame, training: pd.DataFrame, source: str = f"{TINYBENCH} and {TRAINING}") -> Picture:
    """As `collapse_curves`, by what the runs have read and written: a generator's masks cost tokens, a rule's none."""
    table = tinybench.assign(used=metrics.tokens_used(tinybench, training) / 1e6)
    words = f"Tokens: prompts and completions so far, of both roles, mean over seeds. {BUDGET}"
    return _curves(table, words, source, "used", "Tokens (millions)", [metrics.armed(training)])


@styled
def by_time(
    tinybench: pd.DataFrame, costs: pd.DataFrame, source: str = f"{TINYBENCH}, data/results/costs.csv"
) -> Picture:
    """As `by_tokens`, by time: steps times what a step of the arm costs."""
    table = tinybench.assign(used=metrics.seconds_used(tinybench, costs) / 60)
    words = f"Time: steps x seconds a step, measured method by method on one machine ({costs['device'].iloc[0]})."
    return _curves(table, f"{words} {BUDGET}", source, "used", "CPU minutes")


@styled
def main_result(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """Before and after: accuracy of the base (step 0) and of every arm's last models, seed by seed; under each arm its
    difference to the first, paired by seed.
    """
    table = evaluated(tinybench, "n")
    after, base = forms.ends(forms.group_means(table).assign(accuracy=lambda rows: rows["accuracy"] * 100))
    arms = list(after["arm"].unique())
    marks = [*marks_of(arms).values(), METHODS["base"]]
    figure = sheet(1.6 + 0.44 * len(marks))
    for ax, group in _groups(figure, table):
        own = {arm: rows.set_index("seed")["accuracy"] for arm, rows in after[after["group"] == group].groupby("arm")}
        before = base[base["group"] == group].groupby("seed")["accuracy"].mean()
        found = [*(own.get(arm, before[:0]) for arm in arms), before]
        tasks = table.loc[table["group"] == group, "task"].nunique()
        title = f"{METRICS[group].title} ({tasks} task{'s' * (tasks > 1)})"
        forms.dots(ax, [*zip(marks, found, strict=True)], title, compared=len(arms))
    steps = sorted(after["step"].unique())
    steps = f"{steps[0]} to {steps[-1]}" if len(steps) > 1 else f"{steps[0]}" if steps else "no"
    words = f"After {steps} steps. {SEEDS} {f'Under them: difference {PAIRED}' * (len(arms) > 1)} {SAME_QUESTIONS}"
    return explain(figure, table, source, f"{words} {_spans(table)}", lines=False)


def _groups(figure: Picture, table: pd.DataFrame) -> list:
    """An axis for each group of TinyBench that has rows: (axis, group)."""
    groups = [group for group in GROUPS if group in set(table["group"])]
    axes = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    for ax in axes:
        ax.set_xlabel("Mean accuracy (%)")
    return [*zip(axes, groups, strict=True)]


def _spans(table: pd.DataFrame) -> str:
    return MASKED_WORDS * ("spans" in set(table["group"]))


@styled
def result_at_equal_tokens(
    tinybench: pd.DataFrame, training: pd.DataFrame, source: str = f"{TINYBENCH} and {TRAINING}"
) -> Picture:
    """`main_result` at the last evaluation of every run within the tokens that all of them have used."""
    after = metrics.equal_tokens(tinybench, training)
    return main_result(pd.concat([tinybench[tinybench["step"] == 0], after]).drop_duplicates(), source)


@styled
def follow_on(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """Before and after RLVR, as `main_result`; step 0 of an arm is the model that it starts from."""
    table = evaluated(tinybench, "n")
    arms = forms.by_arm(table)
    figure = sheet(1.7 + 0.5 * len(arms))
    for ax, group in _groups(figure, table):
        after = [(mark, metrics.values(rows, group)) for rows, mark in arms]
        before = [metrics.values(rows, group, "base").mean() for rows, _ in arms]
        forms.dots(ax, after, METRICS[group].title, compared=len(arms), before=before)
    words = f"Open marks: the mean before RLVR. {SEEDS} Under them: difference after RLVR {PAIRED} {SAME_QUESTIONS}"
    return explain(figure, table, source, f"{words} {_spans(table)}", lines=False)


@styled
def perplexities(perplexity: pd.DataFrame, source: str = "data/results/perplexity.csv") -> Picture:
    """RLP's Table S.8: perplexity of held-out text before and after, for all tokens and each class of kind."""
    table = forms.checked(perplexity, "perplexity", ["task", "perplexity"])
    titles, marks = {"text": "All tokens", **metrics.CLASSES}, {"base": METHODS["base"]} | marks_of(table["arm"])
    figure = sheet(1.6 + 0.42 * len(marks))
    for ax, (task, title) in zip(figure.subplots(1, len(titles), sharey=True), titles.items(), strict=True):
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
    rows_of = {arm: after[after["arm"] == arm] for arm in after["arm"].unique()}
    rows_of["base"] = base.drop_duplicates(["seed", "pattern"])
    deep = -(-len(wanted) // 3)
    figure, axes = grid(0.9 + deep * (0.6 + 0.3 * len(rows_of)), deep, 3, squeeze=False, sharey=True)
    for ax, letter, name in zip(forms.some(axes, len(wanted)).flat, ascii_lowercase, wanted, strict=False):
        unit = 1 if name == "words" else 100
        own = [rows.loc[rows["pattern"] == name, "mean"] * unit for rows in rows_of.values()]
        title = f"({letter}) {TITLES.get(name, f'{name.capitalize()} (%)')}"
        forms.dots(ax, [*zip(marks_of(rows_of).values(), own, strict=True)], title)
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
        raise ValueError("tinybench: no place on the map has two arms with two seeds in common; run the study map")
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
                ax.add_patch(
                    Rectangle((x - 0.485, y - 0.485), 0.97, 0.97, fill=False, edgecolor="black", linewidth=1.5)
                )
        ax.set_xticks(range(len(noises)), [f"{noise:g}" for noise in noises])
        ax.set_yticks(range(len(densities)), [f"{density:g}" for density in densities])
        ax.set(title=f"({letter}) {METHODS[first].label} − {METHODS[second].label}", xlabel="Noise (share)")
        ax.grid(visible=False)
    axes[0].set_ylabel("Density (share)")
    figure.colorbar(image, ax=axes, label="Difference (points)")
    words = f"{METRICS['spans'].title}, difference of final accuracies in points, paired by seed [95 % bootstrap "
    words += (
        "interval]; framed: the interval leaves zero out. Density: sentences that state something deducible; noise: "
    )
    words += f"names, codes and years among the others. {MASKED_WORDS}"
    return explain(figure, rows, source, words, lines=False)
