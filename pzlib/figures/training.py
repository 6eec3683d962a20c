"""Figures along training: PretrainZero's Fig. 6, what its generator masks, what collapses, and RLP's thoughts.
Left out: PretrainZero's own curves, which are known only as images.

Each takes rows of training.csv, or of a run's metrics.jsonl with the run's facts; else as in `accuracy`."""

import pandas as pd
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable

from pzlib.errors import NothingToDraw
from pzlib.figures import forms
from pzlib.figures.forms import TRAINING, Panel, along, by_arm, checked, explain, folded, panel_of, stacks
from pzlib.figures.style import CLASS_COLOURS, GREYS, Picture, colours_of_kinds, grid, sheet, styled
from pzlib.studies.metrics import CLASSES, class_accuracy, hits_shares, kind_columns, kind_shares
from pzlib.world.tinywiki import kind_class

# The share of right predictions from dark to light; grey where all are equal, so that nothing is learned from them.
HITS = colormaps["viridis"].with_extremes(under=GREYS["irreducible"], over=GREYS["trivial"])
SHARE = (0, 1.02)  # the ends of an axis of shares


@styled
def training_dynamics(training: pd.DataFrame, source: str = TRAINING) -> Picture:
    """PretrainZero's Fig. 6: output entropy, response length and reward by step, for each arm and role.

    The paper averages over all samples; here the roles are apart, since the common mean of two players says nothing.
    """
    panels = [panel_of("entropy", " (nats a token)"), panel_of("response length", " (tokens)"), panel_of("reward")]
    panels = [panel._replace(ends=(0, None)) for panel in panels]
    table = checked(training, "training", [panel.column for panel in panels])
    figure = sheet(3.1)
    along(figure, table, panels, {"predictor": "", "generator": "--"})
    return explain(figure, table, source)


@styled
def generator_dynamics(training: pd.DataFrame, source: str = TRAINING) -> Picture:
    """What becomes of the masks: accuracy on them, legal share, groups without signal, and kinds, by step.

    Needs columns `mask/<kind>`, the share of the legal masks that are of a kind. At most four arms.
    """
    table = checked(training, "training", ["predictor/accuracy", "predictor/dead_groups"])
    panels = [panel_of(name)._replace(ends=SHARE) for name in ("accuracy", "legal", "dead_groups")]
    if not kind_columns(table):
        figure = sheet(2.9)
        along(figure, table, panels)[0].set_ylabel("Share")
        return explain(figure, table, source, "(c) Groups whose rewards are all equal. No mask was legal at any step.")
    shares = kind_shares(table)
    figure = sheet(4.9)
    upper, lower = figure.subfigures(2, 1)
    along(upper, table, panels)[0].set_ylabel("Share")
    table_of_masks = table[shares.notna().all(axis=1)]
    few = table_of_masks["arm"].nunique() < 3
    axes = stacks(
        lower, table_of_masks, lambda rows: shares.loc[rows.index], colours_of_kinds,
        lambda label: f"Kinds of masks, {label}" if few else folded(label, 12), "d",
    )  # fmt: skip
    axes[0, 0].set_ylabel("Share of legal masks")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    lower.legend(handles[::-1], labels[::-1], loc="outside right center")
    words = "(c) Groups whose rewards are all equal. (d) Each kind with its inverse."
    return explain(figure, table, source, words)


@styled
def collapse_anatomy(training: pd.DataFrame, source: str = TRAINING) -> Picture:
    """What collapse is: groups without signal and which way, the policy's entropy, accuracy and picks by class of kind;
    of at most four arms.
    """
    panels = [panel_of(name, " (share)", ends=SHARE) for name in ("dead_wrong", "dead_right")]
    panels += [panel_of("entropy", " (nats a token)", ends=(0, None))]
    table = checked(training, "training", [panel.column for panel in panels])
    table = table.assign(**class_accuracy(table))
    shares = kind_shares(table, kind_class)
    figure = sheet(6.9)
    upper, lower = figure.subfigures(2, 1, height_ratios=[2, 1])
    along(upper, table, panels + [Panel(name, f"Accuracy, {name}", ends=SHARE) for name in CLASSES])
    axes = stacks(
        lower, table[shares.notna().all(axis=1)], lambda rows: shares.loc[rows.index],
        lambda names: [CLASS_COLOURS[name] for name in names], str, "g",
    )  # fmt: skip
    axes[0, 0].set_ylabel("Share of masks")
    lower.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    words = "(a, b) Groups whose G predictions are all wrong or right teach nothing. (d-f) On the masks of a class. "
    words += "Stacks: what was masked; set phrases, words that reasoning can deduce, words that can only be guessed."
    return explain(figure, table, source, words)


@styled
def dead_along(training: pd.DataFrame, source: str = TRAINING) -> Picture:
    """Which groups are dead along training: all wrong, all right, and both; entropy, accuracy and irreducible masks.

    What comes alive has fewer of both kinds; what then dies has more again.
    """
    panels = [panel_of(name, ends=SHARE) for name in ("dead_wrong", "dead_right", "dead_groups")]
    panels += [panel_of("entropy", " (nats a token)", ends=(0, None))]
    panels += [panel_of(name, ends=SHARE) for name in ("accuracy", "noise masks")]
    table = checked(training, "training", [panel.column for panel in panels])
    figure = sheet(4.9)
    along(figure, table, panels)
    words = "(a, b) Groups whose G predictions are all wrong or right teach nothing; (c) both together. "
    words += "All but (d) are shares."
    return explain(figure, table, source, words)


@styled
def generator_profile(training: pd.DataFrame, source: str = TRAINING) -> Picture:
    """The generator along training: legal share, length and place of its masks, and how many predictions found them.

    The stacks ask whether it sits at the learnable border: groups in which some of the G predictions are right and some
    wrong. Arms without a generator are left out; ValueError where none has one.
    """
    panels = [panel_of("legal", " (share)", ends=SHARE), panel_of("mask words", " (words)", ends=(0, None))]
    panels += [panel_of("mask position", ends=(0, 1))]
    table = checked(training, "training", [panel.column for panel in panels])
    plays = table.groupby("arm")["generator/legal"].transform("count") > 0
    if not plays.any():
        raise NothingToDraw("training: no arm has a generator, 'generator/legal' is empty; give arms of pretrainzero")
    table = table[plays]
    deep = -(-table["arm"].nunique() // 3)
    figure = sheet(3.0 + 1.75 * deep)
    upper, lower = figure.subfigures(2, 1, height_ratios=[2.1, 1.75 * deep])
    along(upper, table, panels)[2].set_yticks([0, 0.5, 1], ["start", "middle", "end"])
    axes = stacks(
        lower, table, hits_shares, lambda shares: [HITS({0: -1.0, 1: 2.0}.get(share, share)) for share in shares],
        folded, "d", deep,
    )  # fmt: skip
    for row in axes:
        row[0].set_ylabel("Share of masks")
    bar = lower.colorbar(ScalarMappable(cmap=HITS), ax=axes, extend="both", extendfrac=0.12, ticks=[0, 0.5, 1])
    bar.set_label("Right predictions\n(share)")
    words = "Stacks: legal masks by how many of their G predictions were right; grey, and nothing is learned: none "
    words += "(dark) or all (light)."
    return explain(figure, table, source, words)


@styled
def masks_by_arm(training: pd.DataFrame, source: str = TRAINING) -> Picture:
    """What every arm ended up masking: kinds over the last quarter of training, and the irreducible share by seed."""
    table = checked(training, "training", [])
    shares = kind_shares(table).dropna()
    late = table.loc[shares.index]
    late = late[late["step"] > 0.75 * late.groupby("run_id")["step"].transform("max")]
    runs = shares.loc[late.index].groupby([late["arm"], late["seed"]], sort=False).mean()
    arms = by_arm(late)
    figure, (left, right) = grid(1.6 + 0.34 * len(arms), 1, 2, sharey=True, width_ratios=[2, 1.2])
    noise = []
    for place, (rows, mark) in enumerate(arms):
        own, look = runs.loc[rows["arm"].iloc[0]], {"height": 0.72, "edgecolor": "white", "linewidth": 0.5}
        forms.bar(left, place, own.mean(), colours_of_kinds(list(shares)), place == 0, **look)
        noise.append((mark, own.get("irreducible", [])))
    left.set(title="(a) Kinds of masks", xlabel="Share of legal masks", xlim=(0, 1))
    left.grid(visible=False)
    forms.dots(right, noise, "(b) Irreducible masks")
    right.set(xlabel="Share of legal masks", xlim=(-0.02, 1.02))
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=6)
    words = "Means over the last quarter of training; (a) over seeds, each kind with its inverse. (b) "
    return explain(figure, late, source, words + forms.SEEDS, lines=False)


@styled
def thoughts(training: pd.DataFrame, source: str = TRAINING) -> Picture:
    """RLP's thoughts along training: gain, share that helps, length, share empty, naming the token, closed.

    Runs that have no thoughts are left out.
    """
    panels = [
        Panel("predictor/reward", "Gain (nats)"),
        Panel("predictor/accuracy", "Thoughts that help (%)", 100),
        Panel("predictor/length", "Thought length (tokens)"),
        Panel("thought/empty", "Empty thoughts (%)", 100),
        Panel("thought/naming", "Name the token (%)", 100),
        Panel("predictor/parsed", "Closed (%)", 100, (0, 102)),
    ]
    table = checked(training, "training", [panel.column for panel in panels])
    table = table[table["thought/empty"].notna()]
    figure = sheet(4.6)
    along(figure, table, panels)[0].axhline(0, color="#595959", linewidth=0.6)
    words = "(a) log-likelihood of the true token after a thought, minus that of the moving average without one. "
    words += "(b) gain above 0. (e) thoughts that hold the true token as a word."
    return explain(figure, table, source, words)
