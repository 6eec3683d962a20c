"""Figures along training: PretrainZero's Fig. 6, what its generator masks, what collapses, and RLP's thoughts.
Left out: PretrainZero's own curves, which are known only as images.

Each takes rows of training.csv, or of a run's metrics.jsonl with the run's facts; else as in `accuracy`."""

import pandas as pd

from pzlib.errors import NothingToDraw
from pzlib.figures import forms
from pzlib.figures.forms import TRAINING, Panel, along, by_study, checked, explain, folded, panel_of, stacks
from pzlib.figures.style import CLASS_COLOURS, Picture, grid, sheet, styled
from pzlib.studies.boxes import headlines
from pzlib.studies.metrics import CLASSES, all_samples, class_accuracy, kind_columns, kind_shares, over_seeds

SHARE = (0, 1.02)  # the ends of an axis of shares
STACKED = "Stacks: what masks hide; irreducible: found by a guess only."


@styled
def training_dynamics(training: pd.DataFrame, source: str = TRAINING) -> Picture:
    """PretrainZero's Fig. 6: output entropy, response length and reward by step, over all samples and by role.

    The paper shows the mean over all samples; since the common mean of two players says little, each role is there too.
    """
    panels = [panel_of("entropy", " (nats per token)"), panel_of("response length", " (tokens)"), panel_of("reward")]
    table = all_samples(checked(training, "training", [panel.column for panel in panels]))
    figure = sheet(2.8)
    panels = [panel._replace(ends=(0, None)) for panel in panels]
    along(figure, table, panels, {"all samples": "", "predictor": ":", "generator": "--"})
    headline = headlines.moving(training, ("entropy", "response length"))
    return explain(figure, table, source, headline)


def _classes(figure, table: pd.DataFrame, first: str) -> None:
    """Under a figure's panels a stack for each arm: what was masked, by class."""
    shares = kind_shares(table)
    axes = stacks(
        figure, table[shares.notna().all(axis=1)], lambda rows: shares.loc[rows.index],
        lambda names: [CLASS_COLOURS[name] for name in names], lambda label: folded(label, 20), first,
    )  # fmt: skip
    axes[0, 0].set_ylabel("Share of masks")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, [CLASSES[label] for label in labels], loc="outside upper left", ncols=3)


@styled
def generator_dynamics(training: pd.DataFrame, source: str = TRAINING) -> Picture:
    """What becomes of the masks: accuracy on them, legal share, groups without signal, and what they hide, by step.

    At most four arms.
    """
    table = checked(training, "training", ["predictor/accuracy", "predictor/dead_groups"])
    panels = [panel_of(name)._replace(ends=SHARE) for name in ("accuracy", "legal", "dead_groups")]
    if not kind_columns(table):
        figure = sheet(2.6)
        along(figure, table, panels)[0].set_ylabel("Share")
        return explain(figure, table, source, "No mask was legal at any step")
    figure = sheet(4.3)
    upper, lower = figure.subfigures(2, 1)
    along(upper, table, panels)[0].set_ylabel("Share")
    _classes(lower, table, "d")
    return explain(figure, table, source, headlines.moving(table, ("noise masks", "accuracy")), STACKED)


@styled
def collapse_anatomy(training: pd.DataFrame, source: str = TRAINING) -> Picture:
    """What collapse is: groups without signal and which way, the policy's entropy, accuracy and picks by class of mask;
    of at most four arms. Groups whose predictions are all wrong or all right teach nothing.
    """
    panels = [panel_of(name, " (share)", ends=SHARE) for name in ("dead_wrong", "dead_right")]
    panels += [panel_of("entropy", " (nats per token)", ends=(0, None))]
    table = checked(training, "training", [panel.column for panel in panels])
    table = table.assign(**class_accuracy(table))
    found = [Panel(name, f"Accuracy, {title.lower()}", ends=SHARE) for name, title in CLASSES.items()]
    figure = sheet(6.2)
    upper, lower = figure.subfigures(2, 1, height_ratios=[2, 1])
    along(upper, table, panels + [panel for panel in found if table[panel.column].notna().any()])
    _classes(lower, table, "g")
    return explain(figure, table, source, headlines.moving(table, ("dead_wrong",)), STACKED)


@styled
def masks_by_arm(training: pd.DataFrame | dict, source: str = TRAINING) -> Picture:
    """What every arm ended up masking, by class, over the last fifth of training, mean over bases; of one study or
    several."""
    rows, studies = [], {study: checked(own, "training", []) for study, own in by_study(training).items()}
    for study, table in studies.items():
        shares = kind_shares(table).dropna().reindex(columns=list(CLASSES), fill_value=0.0)
        late = table.loc[shares.index].assign(study=study)
        late = late[late["step"] > 0.8 * late.groupby("run_id")["step"].transform("max")]
        runs = shares.loc[late.index].groupby([late["arm"], late["seed"]], sort=False).mean()
        rows += [(forms.title_of(study), None, late)] * (len(studies) > 1)
        rows += [(mark.label, runs.loc[own["arm"].iloc[0]], own) for own, mark in forms.by_arm(late)]
    figure, ax = grid(1.05 + 0.3 * len(rows), 1, 1)
    for place, (_, own, _) in enumerate(rows):
        if own is None:
            continue
        look = {"height": 0.72, "edgecolor": "white", "linewidth": 0.5}
        mean = own.apply(lambda shares: over_seeds(shares)[0]).rename(CLASSES)
        forms.bar(ax, place, mean, CLASS_COLOURS.values(), False, **look)
        for end, share, ink in zip(mean.cumsum(), mean, ("black", "white", "white"), strict=True):
            if share > 0.07:
                ax.text(end - share / 2, place, f"{100 * share:.0f} %", ha="center", va="center", color=ink)
        ax.plot(1 - own["irreducible"], [place + 0.36] * len(own), "|", color="black", markersize=4)
    ax.set(xlabel="Share of legal masks", xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6))
    ax.set_yticks(range(len(rows)), [folded(label, 34) for label, *_ in rows])
    for label, (_, own, _) in zip(ax.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if own is None else "normal")
    ax.grid(visible=False)
    looks = {CLASSES[name]: {"color": colour, "marker": "s"} for name, colour in CLASS_COLOURS.items()}
    forms.legend_of(figure, looks, 3)
    table = pd.concat([late for _, own, late in rows if own is not None])
    words = "Trivial: set phrases; irreducible: found by a guess only; ticks: seeds."
    headline = headlines.shares({forms.title_of(study): own for study, own in studies.items()})
    return explain(figure, table, source, headline, words, lines=None)


@styled
def thoughts(training: pd.DataFrame, source: str = TRAINING) -> Picture:
    """RLP's thoughts along training: gain (log-likelihood of the true token after a thought, minus that of the moving
    average without one), share that gains, length, share empty, share that holds the true token as a word.

    Runs that have no thoughts are left out.
    """
    panels = [
        Panel("predictor/reward", "Gain (nats)"),
        Panel("predictor/accuracy", "Thoughts that help (%)", 100),
        Panel("predictor/length", "Thought length (tokens)", ends=(0, None)),
        Panel("thought/empty", "Empty thoughts (%)", 100),
        Panel("thought/naming", "Thoughts that hold the token (%)", 100),
    ]
    table = checked(training, "training", [panel.column for panel in panels])
    table = table[table["thought/empty"].notna()]
    if table.empty:
        raise NothingToDraw("training: no run of these has thoughts")
    figure = sheet(4.2)
    along(figure, table, panels)[0].axhline(0, color="#595959", linewidth=0.6)
    return explain(figure, table, source, headlines.moving(table, ("gain", "response length")))
