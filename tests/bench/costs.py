"""What a step of each method costs at mini, one after the other: data/results/costs.csv, and RPT's and RLP's ratios.
Leaves out evaluation and checkpoints, which cost every method the same; `python -m tests.bench.steps` runs it."""

from dataclasses import replace
from statistics import median

import pandas as pd

from pzlib.run import Run
from pzlib.studies import arms_of
from tests.bench.stopwatch import WARM, Clock, Stopwatch, build, device


def costed():
    """{table: its arms as (name, Run)} of the studies that show costs."""
    return {"costs": arms_of("side", "mini", [0]), "costs_side_new": arms_of("side_new", "mini", [0])}


def methods(steps, home, arms):
    """One row an arm: CPU seconds of its median step (of a GPU: seconds), tokens of its mean step.

    Each arm is taken in turn, from the base, with the settings of its runs.
    """
    rows = []
    for arm, run in arms:
        run = replace(run, steps=steps + WARM, save_every=10_000, eval_every=0)
        trainer, folder = build(run, home)
        watch = Stopwatch()
        trainer.add_callback(watch)
        trainer.train()
        metrics = folder.metrics()
        tokens = (metrics["tokens_prompt"] + metrics["tokens_completion"]).mean()
        rows.append((arm, float(f"{median(watch.seconds[WARM:]):.3g}"), round(tokens)))
    return pd.DataFrame(rows, columns=["arm", "seconds", "tokens"]).assign(device=device())



def against_spans(run, home):
    """RPT's step over Random RLPT's on the same passages, with as many predictions; and what finding positions takes.

    First with every row trained, then as it is by default: there the rule that leaves more groups alive pays for them.
    A prediction costs by its tokens: RPT's prompts end at its positions, so they are shorter.
    """
    rows = []
    for setting, changes in (("every row trained", {"drop_rows": False, "filter": "none"}), ("by default", {})):
        same = {name: getattr(run, name) for name in ("tier", "model", "corpus", "steps", "save_every")} | changes
        seconds, clock = {}, Clock()
        for objective in ("rpt", "random_span"):
            trainer, _ = build(Run(objective=objective, **same), home)
            watch = Stopwatch()
            trainer.add_callback(watch)
            if objective == "rpt":  # random spans read nothing
                clock.watch(trainer.method, "read", objective)
            trainer.train()
            seconds[objective] = sum(watch.seconds)
        ratio = seconds["rpt"] / seconds["random_span"]
        rows.append(("RPT / random spans", f"step, {setting}", ratio, "" if rows else "<= 1.05"))
        rows.append(("share of an RPT step", f"entropies, {setting}", clock.seconds["rpt"] / seconds["rpt"], ""))
    return rows



def text_rate(run, home):
    """Tokens of text that Quiet-STaR reads, thinks on and learns a second: of the clock, so on a quiet machine."""
    same = {name: getattr(run, name) for name in ("tier", "model", "corpus", "steps", "save_every")}
    trainer, folder = build(Run(objective="quiet_star", **same), home)
    trainer.train()
    metrics = folder.metrics()[WARM:]
    rate = (metrics["tokens_prompt"] / metrics["seconds"]).median()
    return [("tokens of text a second", "Quiet-STaR, on the clock", rate, ">= 300")]



def thinking(run, home):
    """RLP's step over the same step without what GRPO has not: the likelihoods it reads, and its moving average.

    Thoughts, their tokens and the loss are the very same, so the ratio is at equal thought tokens.
    """
    same = {name: getattr(run, name) for name in ("tier", "model", "corpus", "steps", "save_every")}
    trainer, folder = build(Run(objective="rlp", **same), home)
    watch, clock = Stopwatch(), Clock()
    trainer.add_callback(watch)
    clock.watch(trainer.method, "read", "likelihoods")
    clock.watch(trainer.method.average, "on_optimizer_step", "moving average")
    trainer.train()
    total, extra = sum(watch.seconds), sum(clock.seconds.values())
    tokens = folder.metrics()["tokens_completion"].mean()
    setting = f"{tokens:.0f} thought tokens a step"
    rows = [("RLP / GRPO on the same thoughts", setting, total / (total - extra), "<= 1.3")]
    return rows + [("share of an RLP step", name, seconds / total, "") for name, seconds in clock.seconds.items()]
