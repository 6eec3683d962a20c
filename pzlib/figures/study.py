"""Reasoning patterns as figures: keyword groups by source (as RPT's Fig. 6), structural marks by method and seed.
Left out: RPT's own bars, whose heights are not printed; PretrainZero counts no patterns at all."""

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.patches import Rectangle

from pzlib.figures import forms
from pzlib.figures.forms import (
    COSTS,
    GROUPS,
    MASKED_WORDS,
    TINYBENCH,
    TRAINING,
    by_arm,
    checked,
    explain,
    legend,
    panel,
)
from pzlib.figures.style import GREYS, WIDTH, Picture, caption, colours_of_kinds, mark_of, marks_of, styled
from pzlib.studies.metrics import (
    CLASSES,
    PAIRS,
    at_equal,
    class_accuracy,
    hits_shares,
    kind_shares,
    map_differences,
    seconds_used,
    tokens_used,
)
from pzlib.studies.patterns import KEYWORDS, STRUCTURE
from pzlib.world.tinywiki import kind_class

CLASS_COLOURS = {"trivial": GREYS["trivial"], "reasoning": "#0072B2", "irreducible": GREYS["irreducible"]}

WAYS = {"direct": ("#D55E00", "s"), "free": ("#595959", "D"), "reasoning": ("#0072B2", "o")}



@styled
def entropy_of_worlds(tables: dict[str, pd.DataFrame]) -> Picture:
    """What an entropy rule would pick: for each world the kinds of all its positions and of its high-entropy fifth.

    tables: world -> `calibration.next_token_entropy` of it.
    """
    figure = Picture(WIDTH, 0.75 + 0.55 * len(tables), layout="constrained")
    ax = figure.subplots()
    labels, place = [], 0
    for world, table in tables.items():
        for name, rows in (
            (f"{world}, all positions", table),
            (f"{world}, highest fifth", table[table.top_fifth]),
        ):
            shares, left = rows.from_left.value_counts(normalize=True), 0.0
            for kind, colour in CLASS_COLOURS.items():
                share = shares.get(kind, 0.0)
                ax.barh(place, share, left=left, color=colour, height=0.7, label=kind if not labels else None)
                if share > 0.06:
                    dark = kind != "trivial"
                    ax.text(
                        left + share / 2,
                        place,
                        f"{share:.0%}",
                        ha="center",
                        va="center",
                        color="white" if dark else "black",
                    )
                left += share
            labels.append(name)
            place += 1
        place += 0.4
    ticks = [n + 0.4 * (n // 2) for n in range(len(labels))]
    ax.set(
        yticks=ticks,
        yticklabels=labels,
        xlim=(0, 1),
        xlabel="Share of positions, by what can be said of them from the left",
    )
    ax.invert_yaxis()
    ax.grid(False)
    figure.legend(loc="outside upper center", ncols=3)
    return figure



@styled
def spans_by_kind(table: pd.DataFrame) -> Picture:
    """Base accuracy on masked spans by kind: answered directly, as it likes, and with a reasoning (`base_spans`)."""
    kinds = table[table.way == "free"].sort_values(["class", "pass@1"])["kind"].tolist()
    figure = Picture(WIDTH, 1.2 + 0.24 * len(kinds), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for ax, score in zip(axes, ("pass@1", "pass@8"), strict=True):
        for way, (colour, marker) in WAYS.items():
            rows = table[table.way == way].set_index("kind").loc[kinds]
            ax.plot(
                rows[score],
                range(len(kinds)),
                marker,
                color=colour,
                ms=5,
                label=way if ax is axes[0] else None,
            )
        ax.set(title=f"{score} at temperature 1", xlim=(-0.03, 1.03), xlabel="Share right")
    axes[0].set_yticks(range(len(kinds)), kinds)
    figure.legend(loc="outside upper center", ncols=3)
    return figure


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
    return _by_cost(tinybench.assign(used=used), "Tokens (millions)", words, source, forms.armed(training))



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
            values = forms.wide(rows, "accuracy") * 100
            values.index = forms.wide(rows, "used").mean(axis=1)
            forms.curve(ax, values, mark, mark.label)
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
        yield ax, f"({letter}) {GROUPS[group]}, accuracy (%)", forms.group_means(rows, ["accuracy", *values])



@styled
def collapse_anatomy(training: pd.DataFrame, source: str = TRAINING) -> Picture:
    """What collapse is: groups without signal and which way, the policy's entropy, accuracy and picks by class of kind.

    `training`, `source` and errors as in `figures.training_dynamics`; at most four arms.
    """
    needed = {"predictor/dead_wrong": "(a) Groups all wrong (share)"}
    needed |= {"predictor/dead_right": "(b) Groups all right (share)"}
    needed |= {"predictor/entropy": "(c) Entropy (nats a token)"}
    table = checked(training, "training", list(needed))
    right, window = class_accuracy(table), forms.smoothing(table)
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
        forms.stacked(ax, rows, shares.loc[rows.index], [CLASS_COLOURS[name] for name in shares], window)
        ax.set_title(f"({letter}) {mark.label}")
    stacks[0].set_ylabel("Share of masks")
    lower.legend(*stacks[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    words = "(a, b) Groups whose G predictions are all wrong or right teach nothing. (d-f) On the masks of a class. "
    words += "Stacks: what was masked; set phrases, words that reasoning can deduce, words that can only be guessed."
    explain(figure, table, source, f"{forms.averaged(table)} {words}")
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
    table, window = table[plays], forms.smoothing(table)
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
        forms.stacked(ax, rows, shares, [_hit_colour(share) for share in shares], window)
        ax.set_title(f"({letter}) {forms.folded(mark.label)}")
    for row in stacks:
        row[0].set_ylabel("Share of masks")
    bar = lower.colorbar(ScalarMappable(cmap=HITS), ax=stacks, extend="both", extendfrac=0.12, ticks=[0, 0.5, 1])
    bar.set_label("Right predictions\n(share)")
    words = "Stacks: legal masks by how many of their G predictions were right; grey, and nothing is learned: none "
    words += "(dark) or all (light)."
    explain(figure, table, source, f"{forms.averaged(table)} {words}")
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
            forms.seeds(right, place, own["irreducible"].to_numpy(), mark)
    left.set_yticks(range(len(arms)), [forms.folded(mark.label) for _, mark in arms])
    left.set(title="(a) Kinds of masks", xlabel="Share of legal masks", xlim=(0, 1), ylim=(len(arms) - 0.5, -0.5))
    right.set(title="(b) Irreducible masks", xlabel="Share of legal masks", xlim=(-0.02, 1.02))
    left.grid(visible=False)
    right.grid(axis="y", visible=False)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=6)
    words = "Means over the last quarter of training; (a) over seeds, each kind with its inverse. (b) "
    explain(figure, late, source, words + forms.SEEDS, lines=False)
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


TABLE = "data/results/patterns.csv"

ALWAYS = ("direct guess", "no answer", "words")  # shown even where no response has them

HATCHES = ("", "//", "..", "xx")  # bars are told apart without colour too

TITLES = {"words": "Length (words)", "right": "Right answers (%)", "thinks": "Announced reasoning (%)"}



@styled
def keyword_bars(table: pd.DataFrame, source: str) -> Picture:
    """RPT's Fig. 6: for each of its six keyword groups the share of responses with a keyword of it, a bar a source.

    table: rows of `pzlib.studies.patterns.means` by a column `source`, one a source and group. Bars carry their intervals.
    Raises ValueError where a source has two rows of one group.
    """
    rows = table[table["pattern"].isin(list(KEYWORDS))]
    if rows.duplicated(["source", "pattern"]).any():
        raise ValueError("table: a source has two rows of one keyword group; take the means by source alone")
    marks = marks_of(rows["source"])
    figure = Picture(WIDTH, 3.2, layout="constrained")
    ax, width = figure.subplots(), 0.8 / len(marks)
    for place, (name, mark) in enumerate(marks.items()):
        own = rows[rows["source"] == name].set_index("pattern").reindex(list(KEYWORDS))
        mean, low, high = own[["mean", "low", "high"]].to_numpy(float).T * 100
        at = np.arange(len(KEYWORDS)) + (place - (len(marks) - 1) / 2) * width
        reach = np.maximum([mean - low, high - mean], 0)
        look = {"color": mark.colour, "label": mark.label, "edgecolor": "white", "hatch": HATCHES[place % len(HATCHES)]}
        ax.bar(at, mean, width, yerr=reach, capsize=2, error_kw={"linewidth": 0.9}, **look)
    ax.set_xticks(range(len(KEYWORDS)), [name.replace(" ", "\n").capitalize() for name in KEYWORDS])
    ax.set(ylabel="Responses with a keyword (%)", ylim=(0, None))
    ax.grid(axis="x", visible=False)
    figure.legend(loc="outside upper left", ncols=4)
    words = "Whole words of RPT's Table 9, case ignored. Bars: share of responses; whiskers: 95 % interval over cases."
    counts = rows.groupby("source", sort=False)[["n", "cases"]].max()
    told = "; ".join(f"{marks[name].label} {row.n} responses to {row.cases} cases" for name, row in counts.iterrows())
    caption(figure, words, f"{source}: {told}.")
    return figure



@styled
def structure_by_arm(patterns: pd.DataFrame, source: str = TABLE) -> Picture:
    """Structural marks of the answers of the base (step 0) and of every arm's last models, seed by seed.

    patterns: rows of patterns.csv, or of `pzlib.studies.patterns.by_run`. A panel a mark that any response has, and always
    those of `ALWAYS`. Errors as in `pzlib.figures.training_dynamics`.
    """
    table = checked(patterns, "patterns", ["pattern", "mean", "n", "cases"], ("pattern",))
    some = table.groupby("pattern")["mean"].max() > 0
    wanted = [name for name in (*STRUCTURE, "words", "right") if name in some and (some[name] or name in ALWAYS)]
    last = table.groupby("run_id")["step"].transform("max")
    after = table[(table["step"] == last) & (table["step"] > 0)]
    base = table[table["step"] == 0].drop_duplicates(["seed", "pattern"])
    marks = [*marks_of(after["arm"]).items(), ("base", mark_of("base"))]
    deep = -(-len(wanted) // 3)
    figure = Picture(WIDTH, 0.9 + deep * (0.6 + 0.3 * len(marks)), layout="constrained")
    axes = figure.subplots(deep, 3, squeeze=False, sharey=True)
    for ax in axes.flat[len(wanted) :]:
        ax.set_axis_off()
    for ax, letter, name in zip(axes.flat, "abcdefghi", wanted, strict=False):
        for place, (arm, mark) in enumerate(marks):
            rows = (base if arm == "base" else after[after["arm"] == arm]).query("pattern == @name")
            forms.seeds(ax, place, rows["mean"].to_numpy() * (1 if name == "words" else 100), mark)
        ax.set(title=f"({letter}) {TITLES.get(name, f'{name.capitalize()} (%)')}", ylim=(len(marks) - 0.5, -0.5))
        ax.set_yticks(range(len(marks)), [forms.folded(mark.label) for _, mark in marks])
        ax.grid(axis="y", visible=False)
    n = f"{int(after['n'].max())} answers of each run to {int(after['cases'].max())} masked passages"
    words = f"{n}. {forms.SEEDS} The base is asked with every seed. The axes do not start at zero."
    explain(figure, table, source, words, lines=False)
    return figure
