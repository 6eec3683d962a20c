"""The papers' figures, each a function of a committed table: pandas in, matplotlib Figure out, no torch.
Left out of PretrainZero: Fig. 1, a summary of the others; its curves, known only as images."""

import gc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from pzlib import studies
from pzlib.figures import forms, paper, study
from pzlib.figures.forms import GROUPS, averaged, by_arm, checked, explain, group_means, legend, panel, smoothing, wide
from pzlib.figures.style import WIDTH, Picture, colours_of_kinds, mark_of, marks_of, save, styled
from pzlib.studies import claims
from pzlib.studies.metrics import equal_tokens, kind_shares
from pzlib.studies.results import read

TRAINING, TINYBENCH = forms.TRAINING, forms.TINYBENCH



@styled
def training_dynamics(training: pd.DataFrame, source: str = TRAINING) -> Picture:
    """PretrainZero's Fig. 6: output entropy, response length and reward by step, for each arm and role.

    `training` has rows of training.csv, or of a run's metrics.jsonl with the run's facts; an arm is a column `arm` or
    else the objective; `source` is named below the figure. The paper averages over all samples; here the roles are
    kept apart, since the common mean of two players says nothing.
    Raises ValueError for a missing column, rows of several tiers, or two runs of one arm and seed.
    """
    panels = {"entropy": "(a) Entropy (nats a token)", "length": "(b) Response length (tokens)"}
    panels |= {"reward": "(c) Reward"}
    table = checked(training, "training", [f"predictor/{name}" for name in panels])
    figure = Picture(WIDTH, 3.1, layout="constrained")
    axes = figure.subplots(1, 3)
    for ax, (name, title) in zip(axes, panels.items(), strict=True):
        for rows, mark in by_arm(table):
            for role, line in (("predictor", ""), ("generator", "--")):
                column = f"{role}/{name}"
                if column in rows and rows[column].notna().any():
                    values = wide(rows, column, smoothing(table))
                    forms.curve(ax, values, mark, f"{mark.label}, {role}", line=line)
        ax.set(title=title, xlabel="Step", ylim=(0, None))
        ax.xaxis.get_major_locator().set_params(integer=True)
    legend(figure, axes)
    explain(figure, table, source, averaged(table))
    return figure



@styled
def generator_dynamics(training: pd.DataFrame, source: str = TRAINING) -> Picture:
    """What becomes of the masks: accuracy on them, legal share, groups without signal, and kinds, by step.

    `training`, `source` and errors as in `training_dynamics`; needs columns `mask/<kind>`, the share of the
    legal masks that are of a kind. At most four arms.
    """
    table = checked(training, "training", ["predictor/accuracy", "predictor/dead_groups"])
    shares = kind_shares(table)
    figure = Picture(WIDTH, 4.9, layout="constrained")
    upper, lower = figure.subfigures(2, 1)
    axes = upper.subplots(1, 3)
    panels = {"predictor/accuracy": "(a) Accuracy on the masks", "generator/legal": "(b) Legal masks"}
    panels |= {"predictor/dead_groups": "(c) Groups without signal"}
    for ax, (column, title) in zip(axes, panels.items(), strict=True):
        panel(ax, table, column, title, smoothing(table))
        ax.set_ylim(0, 1.02)
    axes[0].set_ylabel("Share")
    legend(upper, axes)
    arms = by_arm(table[shares.notna().all(axis=1)])
    stacks = lower.subplots(1, len(arms), squeeze=False, sharey=True)[0]
    for ax, letter, (rows, mark) in zip(stacks, "defghij", arms, strict=False):
        forms.stacked(ax, rows, shares.loc[rows.index], colours_of_kinds(list(shares)), smoothing(table))
        title = f"Kinds of masks, {mark.label}" if len(arms) < 3 else forms.folded(mark.label, 12)
        ax.set_title(f"({letter}) {title}")
    stacks[0].set_ylabel("Share of legal masks")
    handles, labels = stacks[0].get_legend_handles_labels()
    lower.legend(handles[::-1], labels[::-1], loc="outside right center")
    words = "(c) Groups whose rewards are all equal. (d) Each kind with its inverse."
    explain(figure, table, source, f"{averaged(table)} {words}")
    return figure



@styled
def tinybench_curves(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """PretrainZero's Fig. 7 on TinyBench: mean accuracy of general and of math tasks, answer length, by step.

    `tinybench` has one row a run, step and task; accuracy is a share, shown in per cent, averaged over tasks.
    Arms and errors as in `training_dynamics`.
    """
    table = checked(tinybench, "tinybench", ["task", "group", "n", "accuracy", "length"], ("task",))
    asked = table[table["group"].isin(["general", "math"])].assign(asked="questions")
    figure = Picture(WIDTH, 3.0, layout="constrained")
    axes = figure.subplots(1, 3)
    for ax, letter, group in zip(axes, "ab", ("general", "math"), strict=False):
        title = f"({letter}) {GROUPS[group]}, mean accuracy (%)"
        panel(ax, group_means(asked[asked["group"] == group]), "accuracy", title, unit=100)
    panel(axes[2], group_means(asked, "length", "asked"), "length", "(c) Answer length (tokens)")
    axes[2].set_ylim(bottom=0)
    legend(figure, axes)
    items, tasks = int(asked.drop_duplicates("task")["n"].sum()), asked["task"].nunique()
    words = f"{items} answers in {tasks} tasks. The accuracy axes do not start at zero."
    explain(figure, table, source, words)
    return figure



@styled
def main_result(tinybench: pd.DataFrame, source: str = TINYBENCH, order: list[str] | None = None) -> Picture:
    """Before and after: accuracy of the base and of every arm on each group of TinyBench, seed by seed.

    Step 0 is the base; a run's last row is its "after". Under each arm stands its difference to the first of `order`
    (else of the table), paired by seed. `tinybench`, `source` and errors as in `tinybench_curves`.
    """
    table = checked(tinybench, "tinybench", ["task", "group", "n", "accuracy"], ("task",))
    means = group_means(table).assign(accuracy=lambda rows: rows["accuracy"] * 100)
    last = means.groupby("run_id")["step"].transform("max")
    after = means[(means["step"] == last) & (means["step"] > 0)]
    base = means[means["step"] == 0].groupby(["seed", "group"], as_index=False)["accuracy"].mean()
    arms = list(order or after["arm"].unique())
    marks = [*marks_of(arms).values(), mark_of("base")]
    groups = [group for group in GROUPS if group in set(means["group"])]
    figure = Picture(WIDTH, 1.6 + 0.44 * len(marks), layout="constrained")
    axes = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    for ax, group in zip(axes, groups, strict=True):
        rows = after[after["group"] == group].pivot(index="seed", columns="arm", values="accuracy")
        for place, (arm, mark) in enumerate(zip(arms, marks, strict=False)):
            if arm in rows:
                forms.seeds(ax, place, rows[arm].dropna().to_numpy(), mark)
            if place and {arm, arms[0]} <= set(rows):
                text = forms.difference(rows[arm], rows[arms[0]])
                ax.text(0.02, place + 0.33, text, transform=ax.get_yaxis_transform(), fontsize=8, va="center")
        forms.seeds(ax, len(arms), base.loc[base["group"] == group, "accuracy"].dropna().to_numpy(), marks[-1])
        tasks = table.loc[table["group"] == group, "task"].nunique()
        ax.set(title=f"{GROUPS[group]} ({tasks} task{'s' * (tasks > 1)})", ylim=(len(marks) - 0.5, -0.5))
        ax.set_yticks(range(len(marks)), [forms.folded(mark.label) for mark in marks])
        ax.grid(axis="y", visible=False)
        for place in range(1, len(marks)):
            ax.axhline(place - 0.5, color="#BFBFBF", linewidth=0.6)
        ax.set_xlabel("Mean accuracy (%)")
    steps = sorted(after["step"].unique())
    steps = f"{steps[0]} to {steps[-1]}" if len(steps) > 1 else f"{steps[0]}" if steps else "no"
    words = f"After {steps} steps. {forms.SEEDS} "
    words += "Under them: difference to the first row in points, paired by seed [95 % interval]. " * (len(arms) > 1)
    words += "All seeds answer one fixed set of questions. The axes do not start at zero. "
    explain(figure, table, source, words + forms.MASKED_WORDS * ("spans" in groups), lines=False)
    return figure



@styled
def result_at_equal_tokens(tinybench: pd.DataFrame, training: pd.DataFrame, source: str) -> Picture:
    """`main_result` at the last evaluation of every run within the tokens that all of them have used."""
    after = equal_tokens(tinybench, training)
    return main_result(pd.concat([tinybench[tinybench["step"] == 0], after]).drop_duplicates(), source)



class Drawing(NamedTuple):
    """One file of `figures/`: what draws it, from which tables and from which arms of which study (else all)."""

    figure: Callable[..., Picture]
    study: str
    tables: tuple[str, ...]
    arms: tuple[str, ...] = ()

MAIN = ("pretrainzero", "random_span")

RESULTS = [name for name in studies.STUDIES if name not in ("baselines", "map") and "rlvr" not in name]

PLAN = {
    "training_dynamics": Drawing(training_dynamics, "baselines", ("training",), MAIN),
    "generator_dynamics": Drawing(generator_dynamics, "baselines", ("training",), MAIN),
    "tinybench_curves": Drawing(tinybench_curves, "baselines", ("tinybench",)),
    "main_result": Drawing(main_result, "baselines", ("tinybench",)),
    "baselines_generator_profile": Drawing(study.generator_profile, "baselines", ("training",), MAIN[:1]),
}

for name in ("collapse", "collapse_clean", "collapse_own_rate"):
    PLAN[f"{name}_curves"] = Drawing(study.collapse_curves, name, ("tinybench",))

for name in ("collapse", "collapse_clean"):
    PLAN[f"{name}_by_tokens"] = Drawing(study.by_tokens, name, ("tinybench", "training"))
    PLAN[f"{name}_at_equal_tokens"] = Drawing(result_at_equal_tokens, name, ("tinybench", "training"))
    PLAN[f"{name}_anatomy"] = Drawing(study.collapse_anatomy, name, ("training",))

PLAN |= {f"{name}_result": Drawing(main_result, name, ("tinybench",)) for name in RESULTS}

for name in ("mask_rule", "generator_reward", "guessable_noise", "balance"):
    PLAN[f"{name}_masks"] = Drawing(study.masks_by_arm, name, ("training",))

for name in ("generator_reward", "guessable_noise", "group"):
    PLAN[f"{name}_generator_profile"] = Drawing(study.generator_profile, name, ("training",))

PLAN["baselines_patterns"] = Drawing(study.structure_by_arm, "baselines", ("patterns",))

PLAN["side_by_tokens"] = Drawing(study.by_tokens, "side", ("tinybench", "training"))

PLAN["side_rlvr_result"] = Drawing(paper.follow_on, "side_rlvr", ("tinybench",))

PLAN["rlvr_curves"] = Drawing(tinybench_curves, "rlvr", ("tinybench",))

PLAN["rlvr_result"] = Drawing(paper.follow_on, "rlvr", ("tinybench",))

PLAN["rlvr_beside_the_paper"] = Drawing(paper.rlvr_beside, "rlvr", ("tinybench",))

RPT = ("rpt", "rpt, clean text")

PLAN["rpt_next_tokens"] = Drawing(paper.next_tokens_beside, "rpt", ("tinybench",), RPT)

PLAN["rpt_scaling"] = Drawing(paper.scaling, "rpt", ("tinybench", "training", "runs"), RPT)

PLAN["rlvr_after_result"] = Drawing(paper.follow_on, "rlvr_after", ("tinybench",))

PLAN["rlp_thoughts_along"] = Drawing(paper.thoughts, "rlp", ("training",), ("rlp",))

PLAN["rlp_perplexity"] = Drawing(paper.perplexities, "rlp", ("perplexity",))

for name in ("rlp_rollouts", "rlp_thoughts", "rlp_kl", "rlp_ema"):
    PLAN[f"{name}_beside_the_paper"] = Drawing(paper.ablation_beside, name, ("tinybench",))

PLAN["rlvr_after_rlp_result"] = Drawing(paper.follow_on, "rlvr_after_rlp", ("tinybench",))

PLAN["map_searching"] = Drawing(study.searching_map, "map", ("tinybench",))



def redraw(results_dir: str | Path, out_dir: str | Path, tier: str = "mini") -> list[Path]:
    """Draw every figure of `PLAN` whose arms all have rows of `tier` in `results_dir`, and of the same seeds, and print
    what the others lack; then what stands beside the papers' own numbers.

    Two processes draw, since a figure takes about a second. Returns the files written: a PNG and a PDF for each
    figure. Raises FileNotFoundError if there is no such folder.
    """
    results_dir = Path(results_dir)
    if not results_dir.is_dir():
        raise FileNotFoundError(f"results: no folder {results_dir}; run `python -m pzlib results` first")
    names = ("runs", "training", "tinybench", "patterns", "perplexity", "costs")
    paths = {name: results_dir / f"{name}.csv" for name in names}
    stored = {name: read(path) for name, path in paths.items() if path.is_file()}
    jobs = []
    for file, (figure, about, names, arms) in PLAN.items():
        if lacking := [f"{name}.csv" for name in names if name not in stored]:
            print(f"{file}: not drawn, {results_dir} has no {' and no '.join(lacking)}")
            continue
        found = [studies.select(stored[name], about, tier) for name in names]
        found = [rows[rows["arm"].isin(arms)] if arms else rows for rows in found]
        wanted = arms or tuple(studies.study_of(about).arms)
        seeds = {seed for rows in found for seed in rows["seed"]}
        own = {arm: [set(rows.loc[rows["arm"] == arm, "seed"]) for rows in found] for arm in wanted}
        absent = [arm for arm, parts in own.items() if not all(part and part == seeds for part in parts)]
        if absent:
            print(f"{file}: not drawn, {len(absent)} of {len(wanted)} arms of {about} lack runs at tier {tier}")
            continue
        source = " and ".join(f"data/results/{name}.csv" for name in names)
        jobs.append((figure, found, f"{source}, study {about}", file, out_dir))
        if file == "side_by_tokens" and "costs" in stored:
            source = f"{TINYBENCH}, {forms.COSTS}, study side"
            jobs.append((study.by_time, [found[0], stored["costs"]], source, "side_by_time", out_dir))
    if {"training", "tinybench"} <= set(stored):
        source = "data/results/tinybench.csv"
        sizes = {name: studies.select(stored["tinybench"], name, tier) for name in paper.SIZES}
        if any(len(rows) for rows in sizes.values()):
            jobs.append((paper.baselines_beside, [sizes], source, "baselines_beside_the_paper", out_dir))
        jobs.insert(0, (_ledger, [stored, tier], f"{claims.CLAIMS} on {source}", "claims", out_dir))  # the longest
    # without the collector, which would look again and again through what is gone with the processes anyway
    with ProcessPoolExecutor(2, initializer=gc.disable) as pool:
        return [path for paths in pool.map(_drawn, jobs) for path in paths]



def _ledger(tables, tier, source):
    return paper.ledger_figure(claims.ledger(claims.load(), tables, tier), source)



def _drawn(job) -> list[Path]:
    figure, tables, source, file, folder = job
    return save(figure(*tables, source=source), file, folder)
