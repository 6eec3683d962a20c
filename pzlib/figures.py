"""The papers' figures, each a function of a committed table: pandas in, matplotlib Figure out, no torch.
Left out of PretrainZero: Figs. 1, 3, 8, 9, 10 (no such runs yet); its curves, known only as images."""

from pathlib import Path

import numpy as np
import pandas as pd

from pzlib.curves import RUN, checked, curve, explain, legend, smoothed, smoothing, wide
from pzlib.stats import bootstrap_ci, paired_test
from pzlib.style import WIDTH, Mark, Picture, colours_of_kinds, mark_of, save, styled

TRAINING = "data/results/training.csv"
TINYBENCH = "data/results/tinybench.csv"


@styled
def training_dynamics(training: pd.DataFrame, source: str = TRAINING) -> Picture:
    """PretrainZero's Fig. 6: output entropy, response length and reward by step, for each method and role.

    `training` has one row a run and step, with the keys of metrics.jsonl as columns; `source` is named below
    the figure. The paper averages over all samples; here the roles are kept apart, since the common mean of
    two players says nothing.
    Raises ValueError for a missing column, rows of several tiers, or two runs of one method and seed.
    """
    panels = {"entropy": "(a) Entropy (nats a token)", "length": "(b) Response length (tokens)"}
    panels |= {"reward": "(c) Reward"}
    table = checked(training, "training", [f"predictor/{panel}" for panel in panels])
    figure = Picture(WIDTH, 3.1, layout="constrained")
    axes = figure.subplots(1, 3)
    window = smoothing(table["step"])
    for ax, (panel, title) in zip(axes, panels.items(), strict=True):
        for objective, rows in table.groupby("objective"):
            mark = mark_of(objective)
            for role, line in (("predictor", "-"), ("generator", "--")):
                column = f"{role}/{panel}"
                if column in rows and rows[column].notna().any():
                    curve(ax, wide(rows, column, window), mark, f"{mark.label}, {role}", line=line)
        ax.set(title=title, xlabel="Step", xlim=(0, table["step"].max()), ylim=(0, None))
        ax.xaxis.get_major_locator().set_params(integer=True)
    legend(figure, axes)
    explain(figure, table, source, smoothed(window))
    return figure


@styled
def generator_dynamics(training: pd.DataFrame, source: str = TRAINING) -> Picture:
    """What becomes of the masks: accuracy on them, legal share, groups without signal, and kinds, by step.

    `training`, `source` and errors as in `training_dynamics`; needs columns `mask/<kind>`, the share of the
    legal masks that are of a kind.
    """
    table = checked(training, "training", ["predictor/accuracy", "predictor/dead_groups"])
    kinds = [name for name in table if name.startswith("mask/") and name != "mask/words"]
    if not kinds:
        raise ValueError(f"training: 'mask/<kind>' is not a column; it has {sorted(table.columns)}")
    figure = Picture(WIDTH, 4.9, layout="constrained")
    upper, lower = figure.subfigures(2, 1)
    axes = upper.subplots(1, 3)
    window = smoothing(table["step"])
    panels = {"predictor/accuracy": "(a) Accuracy on the masks", "generator/legal": "(b) Legal masks"}
    panels |= {"predictor/dead_groups": "(c) Groups without signal"}
    for ax, (column, title) in zip(axes, panels.items(), strict=True):
        for objective, rows in table.groupby("objective"):
            if column in rows and rows[column].notna().any():
                mark = mark_of(objective)
                curve(ax, wide(rows, column, window), mark, mark.label)
        ax.set(title=title, xlabel="Step", ylim=(0, 1.02), xlim=(0, table["step"].max()))
        ax.xaxis.get_major_locator().set_params(integer=True)
    axes[0].set_ylabel("Share")
    legend(upper, axes)
    _kinds(lower, table, kinds, window)
    words = f"{smoothed(window)} (c) Groups whose rewards are all equal. (d) Each kind with its inverse."
    explain(figure, table, source, words)
    return figure


def _kinds(figure, table: pd.DataFrame, kinds: list[str], window: int) -> None:
    """For each method the shares of the kinds of masks as a stack, from trivial up to irreducible."""
    names = _plain_kinds(kinds)
    look = {"colors": colours_of_kinds(names), "linewidth": 0.3, "edgecolor": "white"}
    objectives = sorted(table["objective"].unique())
    axes = figure.subplots(1, len(objectives), squeeze=False, sharey=True)[0]
    for ax, letter, objective in zip(axes, "defg", objectives, strict=False):
        shares = kind_shares(table[table["objective"] == objective], kinds, window)
        labels = [name.replace("_", " ") for name in names]
        ax.stackplot(shares.index, shares.to_numpy().T, labels=labels, **look)
        first, last = shares.index.min(), shares.index.max()
        ax.set(title=f"({letter}) Kinds of masks, {mark_of(objective).label}", xlabel="Step")
        ax.set(ylim=(0, 1), xlim=(first, max(last, first + 1)))
        ax.grid(visible=False)
    axes[0].set_ylabel("Share of legal masks")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right center")


def kind_shares(training: pd.DataFrame, kinds: list[str], window: int = 1) -> pd.DataFrame:
    """(steps, kinds): the share of the legal masks of each kind, mean over runs, smoothed; each row sums to 1.

    `training` has columns `kinds` ("mask/<kind>"), empty where a step had no mask of that kind. A kind `x_inverse` (the
    same fact, asked from its other end) is counted with `x`; columns go from trivial to irreducible.
    """
    some = training[kinds].notna().any(axis=1)  # a step without a legal mask has no shares: the stack spans it
    rows = training[some].fillna(dict.fromkeys(kinds, 0.0))
    shares = pd.concat([wide(rows, kind, window).mean(axis=1) for kind in kinds], axis=1, keys=kinds)
    return shares.T.groupby(_plain_kind).sum().T[_plain_kinds(kinds)]


def _plain_kind(column: str) -> str:
    return column.removeprefix("mask/").removesuffix("_inverse")


def _plain_kinds(kinds: list[str]) -> list[str]:
    place = {"trivial": 0, "irreducible": 2}
    return sorted(set(map(_plain_kind, kinds)), key=lambda name: (place.get(name, 1), name))


def _group_means(tinybench: pd.DataFrame, value: str = "accuracy", group: str = "group") -> pd.DataFrame:
    """Plain mean over the tasks of a group, as the paper's averages: one row a run, step and group."""
    return tinybench.groupby([*RUN, group], as_index=False)[value].mean()


@styled
def tinybench_curves(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """PretrainZero's Fig. 7 on TinyBench: mean accuracy of general and of math tasks, answer length, by step.

    `tinybench` has one row a run, step and task; accuracy is a share, shown in per cent, averaged over tasks.
    Errors as in `training_dynamics`.
    """
    table = checked(tinybench, "tinybench", ["task", "group", "n", "accuracy", "length"], ("task",))
    asked = table[table["group"].isin(["general", "math"])].assign(asked="questions")
    general, math = (_group_means(asked[asked["group"] == group]) for group in ("general", "math"))
    panels = [("(a) General, mean accuracy (%)", general, "accuracy", 100)]
    panels += [("(b) Math, mean accuracy (%)", math, "accuracy", 100)]
    panels += [("(c) Answer length (tokens)", _group_means(asked, "length", "asked"), "length", 1)]
    figure = Picture(WIDTH, 3.0, layout="constrained")
    axes = figure.subplots(1, 3)
    for ax, (title, means, value, unit) in zip(axes, panels, strict=True):
        for objective, rows in means.groupby("objective"):
            mark = mark_of(objective)
            curve(ax, wide(rows, value) * unit, mark, mark.label, marker=mark.marker)
        ax.set(title=title, xlabel="Step")
    axes[2].set_ylim(bottom=0)
    legend(figure, axes)
    items, tasks = int(asked.drop_duplicates("task")["n"].sum()), asked["task"].nunique()
    words = f"{items} answers in {tasks} tasks. The accuracy axes do not start at zero."
    explain(figure, table, source, words)
    return figure


@styled
def main_result(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """Before and after: accuracy of the base and of every method on each group of TinyBench, seed by seed.

    Step 0 is the base; a run's last row is its "after". Below a panel: the difference of the two methods,
    paired by seed. `tinybench`, `source` and errors as in `tinybench_curves`.
    """
    table = checked(tinybench, "tinybench", ["task", "group", "n", "accuracy"], ("task",))
    means = _group_means(table)
    last = means.groupby("run_id")["step"].transform("max")
    after = means[(means["step"] == last) & (means["step"] > 0)]
    base = means[means["step"] == 0].groupby(["seed", "group"], as_index=False)["accuracy"].mean()
    both = pd.concat([base.assign(objective="base"), after]).sort_values("seed")
    order = ["base", *sorted(after["objective"].unique(), reverse=True)]  # from below
    groups = [group for group in ("general", "math", "spans") if group in set(means["group"])]
    figure = Picture(WIDTH, 2.9, layout="constrained")
    axes = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    for ax, group in zip(axes, groups, strict=True):
        for place, objective in enumerate(order):
            rows = both[(both["group"] == group) & (both["objective"] == objective)]
            _seeds(ax, place, rows["accuracy"].dropna().to_numpy() * 100, mark_of(objective))
        tasks = table.loc[table["group"] == group, "task"].nunique()
        ax.set(title=f"{group.capitalize()} ({tasks} task{'s' * (tasks > 1)})", ylim=(-0.6, len(order) - 0.4))
        ax.set_yticks(range(len(order)), [mark_of(objective).label for objective in order])
        ax.grid(axis="y", visible=False)
        ax.set_xlabel("Mean accuracy (%)" + _difference(after[after["group"] == group]))
    steps = ", ".join(str(step) for step in sorted(after["step"].unique()))
    words = f"After {steps} steps. Large marks: mean; bars: 95 % bootstrap interval over seeds; small marks: "
    words += "single seeds. Below: difference in points, paired by seed, its 95 % interval, p by sign flips. "
    words += "All seeds answer one fixed set of questions. The axes do not start at zero."
    explain(figure, table, source, words, lines=False)
    return figure


def _seeds(ax, place: int, values: np.ndarray, mark: Mark) -> None:
    """One method on one group: every seed as a small mark, above them the mean with its interval."""
    if len(values) == 0:
        return
    small = {"color": mark.colour, "markersize": 3.5, "alpha": 0.55, "linestyle": ""}
    ax.plot(values, np.full(len(values), place - 0.18), mark.marker, **small)
    mean, (low, high) = values.mean(), bootstrap_ci(values)
    reach = np.maximum([[mean - low], [high - mean]], 0)  # rounding can leave equal values a hair apart
    ax.errorbar(mean, place + 0.12, xerr=reach, fmt=mark.marker, color=mark.colour, markersize=6, capsize=3)


def _difference(after: pd.DataFrame) -> str:
    """PretrainZero minus random spans in points, over the seeds that both have; empty below two of them."""
    pairs = after.pivot(index="seed", columns="objective", values="accuracy") * 100
    if not {"pretrainzero", "random_span"} <= set(pairs):
        return ""
    pairs = pairs[["pretrainzero", "random_span"]].dropna()
    if len(pairs) < 2:
        return ""
    test = paired_test(pairs["pretrainzero"], pairs["random_span"])
    low, high = test["interval"]
    numbers = f"{test['difference']:+.1f} [{low:+.1f}, {high:+.1f}], p = {test['p']:.2g}"
    return f"\nPretrainZero − Random spans:\n{numbers}"


def redraw(results_dir: str | Path, out_dir: str | Path, tier: str = "mini") -> list[Path]:
    """Draw every figure for which the tables in `results_dir` hold rows of `tier`, and print which lack rows.

    Returns the files written: a PNG and a PDF for each figure. Raises FileNotFoundError if there is no such
    folder.
    """
    results_dir = Path(results_dir)
    if not results_dir.is_dir():
        raise FileNotFoundError(f"results: no folder {results_dir}; run `python -m pzlib results` first")
    plan = {training_dynamics: "training", generator_dynamics: "training"}
    plan |= {tinybench_curves: "tinybench", main_result: "tinybench"}
    written = []
    for figure, name in plan.items():
        path = results_dir / f"{name}.csv"
        table = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=RUN)
        rows = table[table["tier"] == tier]
        if rows.empty:
            print(f"{figure.__name__}: not drawn, {path} has no rows of tier {tier}")
            continue
        written += save(figure(rows), figure.__name__, out_dir)
    return written
