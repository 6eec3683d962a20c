"""The studies' figures: where masking collapses (Fig. 3a-b of PretrainZero), what is masked, when searching pays.
Left out: final results of any study, which are `figures.main_result`; the paper's curves, known only as images."""

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.patches import Rectangle

from pzlib import curves
from pzlib.curves import COSTS, GROUPS, MASKED_WORDS, TINYBENCH, TRAINING, by_arm, checked, explain, legend, panel
from pzlib.sidetables import seconds_used
from pzlib.studytables import (
    CLASSES,
    PAIRS,
    at_equal,
    class_accuracy,
    hits_shares,
    kind_shares,
    map_differences,
    tokens_used,
)
from pzlib.style import GREYS, WIDTH, Picture, colours_of_kinds, mark_of, styled
from pzlib.tinywiki import kind_class
from pzlib.worldfigures import CLASSES as CLASS_COLOURS

ORDER = ("spans", "general", "math")  # first where the game is played, then where it should carry over to
# The share of right predictions from dark to light; grey where all are equal, so that nothing is learned from them.
HITS = colormaps["viridis"].with_extremes(under=GREYS["irreducible"], over=GREYS["trivial"])


@styled
def collapse_curves(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """PretrainZero's Fig. 3a-b: accuracy by step for every masking strategy, on masked words and on questions.

    `tinybench` has one row a run, step and task, and may name its arms in a column `arm`; `source` is named below the
    figure. Errors as in `figures.training_dynamics`.
    """
    table = checked(tinybench, "tinybench", ["task", "group", "accuracy"], ("task",))
    figure, axes = _three()
    for ax, title, means in _by_group(axes, table):
        panel(ax, means, "accuracy", title, unit=100)
    legend(figure, axes)
    words = f"Step 0 is the base. The axes do not start at zero. {MASKED_WORDS}"
    explain(figure, table, source, words)
    return figure


@styled
def by_tokens(tinybench: pd.DataFrame, training: pd.DataFrame, source: str = f"{TINYBENCH}, {TRAINING}") -> Picture:
    """As `collapse_curves`, by what the runs have read and written: a generator's masks cost tokens, a rule's do not.

    `training` has the rows of the same runs, with tokens a step; errors as there and in `tokens_used`.
    """
    used = tokens_used(tinybench, training) / 1e6
    words = "Tokens: prompts and completions so far, of both roles, mean over seeds."
    return _by_cost(tinybench.assign(used=used), "Tokens (millions)", words, source, curves.armed(training))


@styled
def by_time(tinybench: pd.DataFrame, costs: pd.DataFrame, source: str = f"{TINYBENCH}, {COSTS}") -> Picture:
    """As `by_tokens`, by time: steps times what a step of the arm costs; errors as there and in `seconds_used`."""
    used = seconds_used(tinybench, costs) / 60
    words = f"Time: steps x seconds a step, measured method by method on one machine ({costs['device'].iloc[0]})."
    return _by_cost(tinybench.assign(used=used), "CPU minutes", words, source)


def _by_cost(tinybench: pd.DataFrame, label: str, words: str, source: str, *behind: pd.DataFrame) -> Picture:
    table = checked(tinybench, "tinybench", ["task", "group", "accuracy"], ("task",))
    budget = at_equal(table, "used")["budget"].iloc[0]
    figure, axes = _three()
    for ax, title, means in _by_group(axes, table, "used"):
        for rows, mark in by_arm(means):
            values = curves.wide(rows, "accuracy") * 100
            values.index = curves.wide(rows, "used").mean(axis=1)
            curves.curve(ax, values, mark, mark.label)
        ax.axvline(budget, color="#595959", linestyle="--", linewidth=0.8)
        ax.set(title=title, xlabel=label, xlim=(0, None))
    legend(figure, axes)
    words += " Dashed: what every run has used. The vertical axes do not start at zero. " + MASKED_WORDS
    explain(figure, pd.concat([table, *behind]), source, words)
    return figure


def _three():
    figure = Picture(WIDTH, 3.2, layout="constrained")
    return figure, figure.subplots(1, 3)


def _by_group(axes, table: pd.DataFrame, *values: str):
    """(axes, title, means of accuracy and `values` over tasks) of each group of TinyBench."""
    for ax, letter, group in zip(axes, "abc", ORDER, strict=True):
        rows = table[table["group"] == group]
        yield ax, f"({letter}) {GROUPS[group]}, accuracy (%)", curves.group_means(rows, ["accuracy", *values])


@styled
def collapse_anatomy(training: pd.DataFrame, source: str = TRAINING) -> Picture:
    """What collapse is: groups without signal and which way, the policy's entropy, accuracy and picks by class of kind.

    `training`, `source` and errors as in `figures.training_dynamics`; at most four arms.
    """
    needed = {"predictor/dead_wrong": "(a) Groups all wrong (share)"}
    needed |= {"predictor/dead_right": "(b) Groups all right (share)"}
    needed |= {"predictor/entropy": "(c) Entropy (nats a token)"}
    table = checked(training, "training", list(needed))
    right, window = class_accuracy(table), curves.smoothing(table)
    table = table.assign(**right)
    shares = kind_shares(table, kind_class)
    figure = Picture(WIDTH, 6.9, layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[2, 1])
    axes = upper.subplots(2, 3)
    titles = needed | {name: f"({letter}) Accuracy, {name}" for letter, name in zip("def", CLASSES, strict=True)}
    for ax, (column, title) in zip(axes.flat, titles.items(), strict=True):
        panel(ax, table, column, title, window)
        ax.set_ylim(0, None if column == "predictor/entropy" else 1.02)
    legend(upper, axes.flat)
    arms = by_arm(table[shares.notna().all(axis=1)])
    stacks = lower.subplots(1, len(arms), squeeze=False, sharey=True)[0]
    for ax, letter, (rows, mark) in zip(stacks, "ghijklm", arms, strict=False):
        curves.stacked(ax, rows, shares.loc[rows.index], [CLASS_COLOURS[name] for name in shares], window)
        ax.set_title(f"({letter}) {mark.label}")
    stacks[0].set_ylabel("Share of masks")
    lower.legend(*stacks[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    words = "(a, b) Groups whose G predictions are all wrong or right teach nothing. (d-f) On the masks of a class. "
    words += "Stacks: what was masked; set phrases, words that reasoning can deduce, words that can only be guessed."
    explain(figure, table, source, f"{curves.averaged(table)} {words}")
    return figure


def _hit_colour(share: float):
    return HITS(-1.0 if share == 0 else 2.0 if share == 1 else share)


@styled
def generator_profile(training: pd.DataFrame, source: str = TRAINING) -> Picture:
    """The generator along training: legal share, length and place of its masks, and how many predictions found them.

    The stacks ask whether it sits at the learnable border: groups in which some of the G predictions are right and
    some wrong. `training`, `source` and errors as in `figures.training_dynamics`, and ValueError where no arm has a
    generator; arms without one are left out.
    """
    table = checked(training, "training", ["generator/legal", "mask/words", "mask/position"])
    plays = table.groupby("arm")["generator/legal"].transform("count") > 0
    if not plays.any():
        raise ValueError("training: no arm has a generator, 'generator/legal' is empty; give arms of pretrainzero")
    table, window = table[plays], curves.smoothing(table)
    arms = by_arm(table)
    deep = -(-len(arms) // 3)
    figure = Picture(WIDTH, 3.0 + 1.75 * deep, layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[2.1, 1.75 * deep])
    axes = upper.subplots(1, 3)
    titles = {"generator/legal": "(a) Legal masks (share)", "mask/words": "(b) Length of a mask (words)"}
    titles |= {"mask/position": "(c) Place in the passage"}
    for ax, (column, title) in zip(axes, titles.items(), strict=True):
        panel(ax, table, column, title, window)
    axes[0].set_ylim(0, 1.02)
    axes[1].set_ylim(bottom=0)
    axes[2].set_ylim(0, 1)
    axes[2].set_yticks([0, 0.5, 1], ["start", "middle", "end"])
    legend(upper, axes)
    stacks = lower.subplots(deep, -(-len(arms) // deep), squeeze=False, sharey=True)
    for ax in stacks.flat[len(arms) :]:
        ax.set_axis_off()
    for ax, letter, (rows, mark) in zip(stacks.flat, "defghijklmno", arms, strict=False):
        shares = hits_shares(rows)
        curves.stacked(ax, rows, shares, [_hit_colour(share) for share in shares], window)
        ax.set_title(f"({letter}) {curves.folded(mark.label)}")
    for row in stacks:
        row[0].set_ylabel("Share of masks")
    bar = lower.colorbar(ScalarMappable(cmap=HITS), ax=stacks, extend="both", extendfrac=0.12, ticks=[0, 0.5, 1])
    bar.set_label("Right predictions\n(share)")
    words = "Stacks: legal masks by how many of their G predictions were right; grey, and nothing is learned: none "
    words += "(dark) or all (light)."
    explain(figure, table, source, f"{curves.averaged(table)} {words}")
    return figure


@styled
def masks_by_arm(training: pd.DataFrame, source: str = TRAINING) -> Picture:
    """What every arm ended up masking: kinds over the last quarter of training, and the irreducible share by seed.

    `training`, `source` and errors as in `figures.training_dynamics`; arms without masks are left out.
    """
    table = checked(training, "training", [])
    shares = kind_shares(table).dropna()
    late = table.loc[shares.index]
    late = late[late["step"] > 0.75 * late.groupby("run_id")["step"].transform("max")]
    shares = shares.loc[late.index]
    runs = shares.groupby([late["arm"], late["seed"]], sort=False).mean()
    colours = colours_of_kinds(list(shares))
    arms = by_arm(late)
    figure = Picture(WIDTH, 1.6 + 0.34 * len(arms), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[2, 1.2])
    for place, (rows, mark) in enumerate(arms):
        own = runs.loc[rows["arm"].iloc[0]]
        edge = 0.0
        for name, colour in zip(shares, colours, strict=True):
            label = name.replace("_", " ") if place == 0 else None
            look = {"height": 0.72, "color": colour, "edgecolor": "white", "linewidth": 0.5}
            left.barh(place, own[name].mean(), left=edge, label=label, **look)
            edge += own[name].mean()
        if "irreducible" in own:
            curves.seeds(right, place, own["irreducible"].to_numpy(), mark)
    left.set_yticks(range(len(arms)), [curves.folded(mark.label) for _, mark in arms])
    left.set(title="(a) Kinds of masks", xlabel="Share of legal masks", xlim=(0, 1), ylim=(len(arms) - 0.5, -0.5))
    right.set(title="(b) Irreducible masks", xlabel="Share of legal masks", xlim=(-0.02, 1.02))
    left.grid(visible=False)
    right.grid(axis="y", visible=False)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=6)
    words = "Means over the last quarter of training; (a) over seeds, each kind with its inverse. (b) "
    explain(figure, late, source, words + curves.SEEDS, lines=False)
    return figure


@styled
def searching_map(tinybench: pd.DataFrame, source: str = TINYBENCH, group: str = "spans") -> Picture:
    """When searching pays: what PretrainZero and entropy masking gain over random spans, by density and noise.

    `group`: of TinyBench. Errors as in `figures.training_dynamics` and `map_differences`; ValueError where no place has
    two arms to compare.
    """
    table = checked(tinybench, "tinybench", ["task", "group", "accuracy"], ("task",))
    cells = map_differences(table, group)
    if cells.empty:
        raise ValueError("tinybench: no place on the map has two arms with two seeds in common; run the study map")
    densities, noises = sorted(cells["density"].unique()), sorted(cells["noise"].unique())
    figure = Picture(WIDTH, 1.5 + 0.62 * len(densities), layout="constrained")
    axes = figure.subplots(1, len(PAIRS), sharey=True)
    reach = max(cells["difference"].abs().max(), 0.1)
    for ax, letter, (first, second) in zip(axes, "ab", PAIRS, strict=True):
        own = cells[(cells["first"] == first) & (cells["second"] == second)]
        grid = own.pivot(index="density", columns="noise", values="difference").reindex(densities, columns=noises)
        image = ax.imshow(grid, cmap="PuOr_r", vmin=-reach, vmax=reach, origin="lower", aspect="auto")
        for cell in own.itertuples():
            dark = np.dot(image.cmap(image.norm(cell.difference))[:3], (0.3, 0.6, 0.1)) < 0.45
            _cell(ax, noises.index(cell.noise), densities.index(cell.density), cell, "white" if dark else "black")
        ax.set_xticks(range(len(noises)), [f"{noise:g}" for noise in noises])
        ax.set_yticks(range(len(densities)), [f"{density:g}" for density in densities])
        ax.set(title=f"({letter}) {mark_of(first).label} − {mark_of(second).label}", xlabel="Noise (share)")
        ax.grid(visible=False)
    axes[0].set_ylabel("Density (share)")
    figure.colorbar(image, ax=axes, label="Difference (points)")
    words = f"{GROUPS[group]}, difference of final accuracies in points, paired by seed [95 % bootstrap interval]; "
    words += "framed: the interval leaves zero out. Density: sentences that state something deducible; noise: "
    words += f"names, codes and years among the others. {MASKED_WORDS * (group == 'spans')}"
    explain(figure, table, source, words, lines=False)
    return figure


def _cell(ax, x: int, y: int, cell, colour: str) -> None:
    clear = cell.low > 0 or cell.high < 0
    text = f"{cell.difference:+.1f}\n[{cell.low:+.1f}, {cell.high:+.1f}]".replace("-", "−")
    ax.text(x, y, text, ha="center", va="center", fontsize=8, color=colour)
    if clear:
        ax.add_patch(Rectangle((x - 0.485, y - 0.485), 0.97, 0.97, fill=False, edgecolor="black", linewidth=1.5))
