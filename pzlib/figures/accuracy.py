"""Figures of scores: PretrainZero's Figs. 3a-b and 7, before and after by seed, by tokens and by time, when searching pays.
Left out: PretrainZero's Fig. 1, a summary of its others."""

from string import ascii_lowercase

import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle

from pzlib.figures.forms import (
    MASKED_WORDS,
    NOT_AT_ZERO,
    SEEDS,
    TINYBENCH,
    TRAINING,
    Panel,
    by_arm,
    checked,
    dots,
    evaluated,
    explain,
    group_means,
    legend,
    lines,
)
from pzlib.figures.style import METHODS, Picture, marks_of, sheet, styled
from pzlib.studies.metrics import (
    CLASSES,
    GROUPS,
    METRICS,
    PAIRS,
    armed,
    at_equal,
    equal_tokens,
    map_differences,
    seconds_used,
    tokens_used,
    values,
)
from pzlib.studies.paper import reported
from pzlib.studies.patterns import STRUCTURE

COSTS = "data/results/costs.csv"
ALWAYS = ("direct guess", "no answer", "words")  # of structural marks: shown even where no response has them
TITLES = {"words": "Length (words)", "right": "Right answers (%)", "thinks": "Announced reasoning (%)"}
PAIRED = "difference to the first row in points, paired by seed [95 % interval]."
SAME_QUESTIONS = f"All seeds answer one fixed set of questions. {NOT_AT_ZERO}"


@styled
def tinybench_curves(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """PretrainZero's Fig. 7 on TinyBench: mean accuracy of general and of math tasks, answer length, by step.

    `tinybench` has one row a run, step and task; accuracy is a share, shown in per cent, averaged over tasks.
    Arms and errors as in `pzlib.figures.training.training_dynamics`.
    """
    table = evaluated(tinybench, "n", "length")
    asked = table[table["group"].isin(["general", "math"])].assign(asked="questions")
    figure = sheet(3.0)
    axes = figure.subplots(1, 3)
    _by_group(axes[:2], asked, ("general", "math"), "mean accuracy")
    length = Panel("length", "(c) Answer length (tokens)", ends=(0, None))
    lines(axes[2], group_means(asked, "length", "asked"), length)
    legend(figure, axes)
    items, tasks = int(asked.drop_duplicates("task")["n"].sum()), asked["task"].nunique()
    words = f"{items} answers in {tasks} tasks. The accuracy axes do not start at zero."
    explain(figure, table, source, words)
    return figure


def _by_group(axes, table: pd.DataFrame, groups: tuple, what: str, x: str = "step") -> None:
    """Accuracy of each group of TinyBench by step, or by the column `x`."""
    means = group_means(table, ["accuracy"] if x == "step" else ["accuracy", x])
    for ax, letter, group in zip(axes, ascii_lowercase, groups, strict=False):
        panel = Panel("accuracy", f"({letter}) {METRICS[group].title}, {what} (%)", 100)
        lines(ax, means[means["group"] == group], panel, x=x)


@styled
def collapse_curves(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """PretrainZero's Fig. 3a-b: accuracy by step for every masking strategy, on masked words and on questions.

    `tinybench`, `source` and errors as in `tinybench_curves`.
    """
    return _curves(tinybench, f"Step 0 is the base. {NOT_AT_ZERO} {MASKED_WORDS}", source)


def _curves(tinybench: pd.DataFrame, words: str, source: str, x: str = "step", label: str = "", behind=()) -> Picture:
    """Masked words first, where the game is played, then the questions to which it should carry over."""
    table = evaluated(tinybench)
    figure = sheet(3.2)
    axes = figure.subplots(1, 3)
    _by_group(axes, table, ("spans", "general", "math"), "accuracy", x)
    for ax in axes if label else ():
        ax.axvline(at_equal(table, x)["budget"].iloc[0], color="#595959", linestyle="--", linewidth=0.8)
        ax.set(xlabel=label, xlim=(0, None))
    legend(figure, axes)
    explain(figure, pd.concat([table, *behind]), source, words)
    return figure


BUDGET = f"Dashed: what every run has used. The vertical axes do not start at zero. {MASKED_WORDS}"


@styled
def by_tokens(tinybench: pd.DataFrame, training: pd.DataFrame, source: str = f"{TINYBENCH} and {TRAINING}") -> Picture:
    """As `collapse_curves`, by what the runs have read and written: a generator's masks cost tokens, a rule's do not.

    `training` has the rows of the same runs, with tokens a step; errors as there and in `tokens_used`.
    """
    table = tinybench.assign(used=tokens_used(tinybench, training) / 1e6)
    words = f"Tokens: prompts and completions so far, of both roles, mean over seeds. {BUDGET}"
    return _curves(table, words, source, "used", "Tokens (millions)", [armed(training)])


@styled
def by_time(tinybench: pd.DataFrame, costs: pd.DataFrame, source: str = f"{TINYBENCH}, {COSTS}") -> Picture:
    """As `by_tokens`, by time: steps times what a step of the arm costs; errors as there and in `seconds_used`."""
    table = tinybench.assign(used=seconds_used(tinybench, costs) / 60)
    words = (
        f"Time: steps x seconds a step, measured method by method on one machine ({costs['device'].iloc[0]}). {BUDGET}"
    )
    return _curves(table, words, source, "used", "CPU minutes")


@styled
def main_result(tinybench: pd.DataFrame, source: str = TINYBENCH, order: list[str] | None = None) -> Picture:
    """Before and after: accuracy of the base and of every arm on each group of TinyBench, seed by seed.

    Step 0 is the base; a run's last row is its "after". Under each arm stands its difference to the first of `order`
    (else of the table), paired by seed. `tinybench`, `source` and errors as in `tinybench_curves`.
    """
    table = evaluated(tinybench, "n")
    means = group_means(table).assign(accuracy=lambda rows: rows["accuracy"] * 100)
    after, base = _ends(means)
    base = base.groupby(["seed", "group"], as_index=False)["accuracy"].mean()
    arms = list(order or after["arm"].unique())
    marks = [*marks_of(arms).values(), METHODS["base"]]
    figure = sheet(1.6 + 0.44 * len(marks))
    for ax, group in _groups(figure, table):
        own = [rows[rows["group"] == group].set_index("seed")["accuracy"] for rows in
               (*(after[after["arm"] == arm] for arm in arms), base)]  # fmt: skip
        tasks = table.loc[table["group"] == group, "task"].nunique()
        title = f"{METRICS[group].title} ({tasks} task{'s' * (tasks > 1)})"
        dots(ax, [*zip(marks, own, strict=True)], title, compared=len(arms))
    steps = sorted(after["step"].unique())
    steps = f"{steps[0]} to {steps[-1]}" if len(steps) > 1 else f"{steps[0]}" if steps else "no"
    words = f"After {steps} steps. {SEEDS} {f'Under them: {PAIRED}' * (len(arms) > 1)} {SAME_QUESTIONS}"
    explain(figure, table, source, f"{words} {_spans(table)}", lines=False)
    return figure


def _ends(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of each run's last step, and those of step 0."""
    last = table["step"] == table.groupby("run_id")["step"].transform("max")
    return table[last & (table["step"] > 0)], table[table["step"] == 0]


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
    after = equal_tokens(tinybench, training)
    return main_result(pd.concat([tinybench[tinybench["step"] == 0], after]).drop_duplicates(), source)


@styled
def follow_on(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """Before and after RLVR: accuracy of every arm on each group of TinyBench, seed by seed.

    Step 0 of an arm is the model that it starts from. Under each arm stands its difference, after RLVR, to the first.
    `tinybench`, `source` and errors as in `tinybench_curves`.
    """
    table = evaluated(tinybench, "n")
    arms = by_arm(table)
    figure = sheet(1.7 + 0.5 * len(arms))
    for ax, group in _groups(figure, table):
        after = [(mark, values(rows, group)) for rows, mark in arms]
        before = [values(rows, group, "base").mean() for rows, _ in arms]
        dots(ax, after, METRICS[group].title, compared=len(arms), before=before)
    words = f"Open marks: the mean before RLVR. {SEEDS} Under them: "
    words += f"{PAIRED.replace('to', 'after RLVR to', 1)} {SAME_QUESTIONS} {_spans(table)}"
    explain(figure, table, source, words, lines=False)
    return figure


@styled
def perplexities(perplexity: pd.DataFrame, source: str = "data/results/perplexity.csv") -> Picture:
    """Perplexity of held-out text before and after each arm, seed by seed, for all tokens and each class of kind.

    `perplexity`: rows of `pzlib.evaluation.next_tokens.by_run` with a column `arm`; RLP's Table S.8 is named in the caption.
    """
    table = checked(perplexity, "perplexity", ["task", "perplexity"])
    titles = {"text": "All tokens", **CLASSES}
    marks = {"base": METHODS["base"]} | marks_of(table["arm"])
    figure = sheet(1.6 + 0.42 * len(marks))
    for ax, (task, title) in zip(figure.subplots(1, len(titles), sharey=True), titles.items(), strict=True):
        rows = table[table["task"] == task]
        own = [rows[rows["step"] == 0] if arm == "base" else rows[(rows["arm"] == arm) & (rows["step"] > 0)]
               for arm in marks]  # fmt: skip
        means = [part.groupby("seed")["perplexity"].mean() for part in own]
        dots(ax, [*zip(marks.values(), means, strict=True)], title)
        ax.set_xlabel("Perplexity")
        ax.locator_params(axis="x", nbins=3)
    printed = reported("rlp S.8").set_index(["method", "benchmark"])["value"]
    before, after = (printed[method, "Wikitext-103 perplexity"] for method in ("base", "rlp"))
    words = f"Text without a prompt, from the left. {SEEDS} Lower is better; the axes do not start at zero. RLP's own, "
    words += f"on Wikitext-103: {before} before, {after} after (Table S.8)."
    explain(figure, table, source, words, lines=False)
    return figure


@styled
def structure_by_arm(patterns: pd.DataFrame, source: str = "data/results/patterns.csv") -> Picture:
    """Structural marks of the answers of the base (step 0) and of every arm's last models, seed by seed.

    patterns: rows of patterns.csv, or of `pzlib.studies.patterns.by_run`. A panel a mark that any response has, and always
    those of `ALWAYS`. Errors as in `tinybench_curves`.
    """
    table = checked(patterns, "patterns", ["pattern", "mean", "n", "cases"])
    some = table.groupby("pattern")["mean"].max() > 0
    wanted = [name for name in (*STRUCTURE, "words", "right") if name in some and (some[name] or name in ALWAYS)]
    after, base = _ends(table)
    rows_of = {arm: after[after["arm"] == arm] for arm in after["arm"].unique()}
    rows_of["base"] = base.drop_duplicates(["seed", "pattern"])
    deep = -(-len(wanted) // 3)
    figure = sheet(0.9 + deep * (0.6 + 0.3 * len(rows_of)))
    axes = figure.subplots(deep, 3, squeeze=False, sharey=True)
    for ax in axes.flat[len(wanted) :]:
        ax.set_axis_off()
    for ax, letter, name in zip(axes.flat, ascii_lowercase, wanted, strict=False):
        unit = 1 if name == "words" else 100
        own = [rows.loc[rows["pattern"] == name, "mean"] * unit for rows in rows_of.values()]
        title = f"({letter}) {TITLES.get(name, f'{name.capitalize()} (%)')}"
        dots(ax, [*zip(marks_of(rows_of).values(), own, strict=True)], title)
    n = f"{int(after['n'].max())} answers of each run to {int(after['cases'].max())} masked passages"
    words = f"{n}. {SEEDS} The base is asked with every seed. {NOT_AT_ZERO}"
    explain(figure, table, source, words, lines=False)
    return figure


@styled
def searching_map(tinybench: pd.DataFrame, source: str = TINYBENCH, group: str = "spans") -> Picture:
    """When searching pays: what PretrainZero and entropy masking gain over random spans, by density and noise.

    `group`: of TinyBench. Errors as in `tinybench_curves` and `map_differences`; ValueError where no place has two arms
    to compare.
    """
    table = evaluated(tinybench)
    cells = map_differences(table, group)
    if cells.empty:
        raise ValueError("tinybench: no place on the map has two arms with two seeds in common; run the study map")
    densities, noises = sorted(cells["density"].unique()), sorted(cells["noise"].unique())
    figure = sheet(1.5 + 0.62 * len(densities))
    axes = figure.subplots(1, len(PAIRS), sharey=True)
    reach = max(cells["difference"].abs().max(), 0.1)
    for ax, letter, (first, second) in zip(axes, ascii_lowercase, PAIRS, strict=False):
        own = cells[(cells["first"] == first) & (cells["second"] == second)]
        grid = own.pivot(index="density", columns="noise", values="difference").reindex(densities, columns=noises)
        image = ax.imshow(grid, cmap="PuOr_r", vmin=-reach, vmax=reach, origin="lower", aspect="auto")
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
    words = f"{METRICS[group].title}, difference of final accuracies in points, paired by seed [95 % bootstrap "
    words += (
        "interval]; framed: the interval leaves zero out. Density: sentences that state something deducible; noise: "
    )
    words += f"names, codes and years among the others. {MASKED_WORDS * (group == 'spans')}"
    explain(figure, table, source, words, lines=False)
    return figure
