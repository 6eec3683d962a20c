"""RLP's figures: what its thoughts are paid along training, its ablations (Fig. 2) beside ours, perplexity (S.8).
Left out: final results, which are `figures.main_result`; the math and science panels of Fig. 2, one mean here."""

import pandas as pd

from pzlib import curves
from pzlib.claims import values
from pzlib.curves import SEEDS, TINYBENCH, TRAINING, averaged, checked, explain, folded, legend, panel, smoothing
from pzlib.paper import reported
from pzlib.stats import bootstrap_ci
from pzlib.style import WIDTH, Picture, mark_of, marks_of, styled

PANELS = {
    "predictor/reward": ("(a) Gain (nats)", 1),
    "predictor/accuracy": ("(b) Thoughts that help (%)", 100),
    "predictor/length": ("(c) Thought length (tokens)", 1),
    "thought/empty": ("(d) Empty thoughts (%)", 100),
    "thought/naming": ("(e) Name the token (%)", 100),
    "predictor/parsed": ("(f) Closed (%)", 100),
}
CLASSES = {"text": "All tokens", "trivial": "Trivial", "reasoning": "Deducible", "irreducible": "Irreducible"}


@styled
def thoughts(training: pd.DataFrame, source: str = TRAINING) -> Picture:
    """Along training, for each arm: gain, share that helps, length, share empty, naming the token, closed.

    `training`: rows of training.csv of RLP runs (others, which have no thoughts, are left out); errors as in
    `figures.training_dynamics`.
    """
    table = checked(training, "training", list(PANELS))
    table = table[table["thought/empty"].notna()]
    figure = Picture(WIDTH, 4.6, layout="constrained")
    axes = figure.subplots(2, 3).flatten()
    for ax, (column, (title, unit)) in zip(axes, PANELS.items(), strict=True):
        panel(ax, table, column, title, smoothing(table), unit)
    axes[0].axhline(0, color="#595959", linewidth=0.6)
    axes[-1].set_ylim(0, 102)
    legend(figure, axes[:1])
    words = "(a) log-likelihood of the true token after a thought, minus that of the moving average without one. "
    words += "(b) gain above 0. (e) thoughts that hold the true token as a word."
    explain(figure, table, source, f"{averaged(table)} {words}")
    return figure


@styled
def ablation_beside(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """One ablation of RLP: left its mean accuracy as printed (Tables S.1 and S.6), right ours, overall, by setting.

    `tinybench`: rows of one of the studies rlp_rollouts, rlp_thoughts, rlp_kl, rlp_ema, whose arms are named as the
    paper's rows ("rlp, rollouts 4"). Errors as in `figures.tinybench_curves`.
    """
    table = checked(tinybench, "tinybench", ["task", "group", "accuracy"], ("task",))
    arms, mark = sorted(set(table["arm"]), key=lambda arm: float(_setting(arm))), mark_of("rlp")
    varied = arms[0].removeprefix("rlp, ").rpartition(" ")[0]
    printed = pd.concat([reported("rlp S.1"), reported("rlp S.6")])
    printed = printed[printed["method"].str.startswith(f"rlp, {varied} ")]
    printed = printed.sort_values("method", key=lambda names: names.map(_setting).astype(float))
    figure = Picture(WIDTH, 2.9, layout="constrained")
    left, right = figure.subplots(1, 2)
    names = [_setting(method) for method in printed["method"]]
    left.plot(range(len(names)), printed["value"], color=mark.colour, marker="o")  # its own mark has no clear middle
    left.set(title="(a) Paper: mean accuracy (%)", xlabel=varied)
    left.set_xticks(range(len(names)), names)
    for place, arm in enumerate(arms):
        ends = values(table[table["arm"] == arm], "overall")
        right.plot([place + 0.14] * len(ends), ends, "o", color=mark.colour, markersize=3.5, alpha=0.55)
        low, high = bootstrap_ci(ends) if len(ends) > 1 else (ends.mean(), ends.mean())
        reach = [[max(0, ends.mean() - low)], [max(0, high - ends.mean())]]
        right.errorbar(place, ends.mean(), yerr=reach, fmt="o", color=mark.colour, markersize=6, capsize=3)
    right.axhline(values(table, "overall", "base").mean(), color=mark_of("base").colour, linestyle="--", linewidth=1)
    right.set(title="(b) Ours: TinyBench, overall (%)", xlabel=varied, xlim=(-0.5, len(arms) - 0.5))
    right.set_xticks(range(len(arms)), [_setting(arm) for arm in arms])
    words = "Paper: Qwen3-1.7B-Base, one run each, as printed. Ours: plain mean of general and math after training. "
    words += f"{SEEDS} Dashed: the base. The vertical axes do not start at zero and share no scale: compare the order."
    explain(figure, table, f"data/paper/rlp.csv; {source}", words, lines=False)
    return figure


def _setting(name: str) -> str:
    """The value that the name of an arm ends with.

    >>> _setting("rlp, KL 1e-4")
    '1e-4'
    """
    return name.rpartition(" ")[2]


@styled
def perplexities(perplexity: pd.DataFrame, source: str = "data/results/perplexity.csv") -> Picture:
    """Perplexity of held-out text before and after each arm, seed by seed, for all tokens and each class of kind.

    `perplexity`: rows of `pzlib.perplexity.by_run` with a column `arm`; RLP's Table S.8 is named in the caption.
    """
    table = checked(perplexity, "perplexity", ["task", "perplexity"], ("task",))
    marks = {"base": mark_of("base")} | marks_of(table["arm"])
    figure = Picture(WIDTH, 1.6 + 0.42 * len(marks), layout="constrained")
    axes = figure.subplots(1, len(CLASSES), sharey=True)
    for ax, (task, title) in zip(axes, CLASSES.items(), strict=True):
        rows = table[table["task"] == task]
        for place, (arm, mark) in enumerate(marks.items()):
            own = rows[rows["step"] == 0] if arm == "base" else rows[(rows["arm"] == arm) & (rows["step"] > 0)]
            curves.seeds(ax, place, own.groupby("seed")["perplexity"].mean().to_numpy(), mark)
        ax.set(title=title, ylim=(len(marks) - 0.5, -0.5), xlabel="Perplexity")
        ax.set_yticks(range(len(marks)), [folded(mark.label) for mark in marks.values()])
        ax.grid(axis="y", visible=False)
        ax.locator_params(axis="x", nbins=3)
    printed = reported("rlp S.8").set_index(["method", "benchmark"])["value"]
    before, after = (printed[method, "Wikitext-103 perplexity"] for method in ("base", "rlp"))
    words = f"Text without a prompt, from the left. {SEEDS} Lower is better; the axes do not start at zero. RLP's own, "
    words += f"on Wikitext-103: {before} before, {after} after (Table S.8)."
    explain(figure, table, source, words, lines=False)
    return figure
