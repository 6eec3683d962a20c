"""The first round's learning-rate sweep: which settings are swept, its runs, the best rate of each, their rows.
The second round's, which widens until it brackets the best, is in `pzlib.studies.second.sweeps`."""

import itertools
from functools import cache
from pathlib import Path

import pandas as pd

from pzlib.paths import locate
from pzlib.run import Run
from pzlib.studies import results
from pzlib.studies.metrics import GROUPS
from pzlib.studies.records import BASELINES, MASKING

SWEEP = "data/results/sweep"
RATES = (3e-5, 1e-4, 3e-4, 1e-3)  # what every method's sweep tries, on SWEEP_SEEDS, which no study uses
SWEEP_SEEDS = (100, 101)
# What is swept: every method, and what one asks for where the reward is another number: of any likelihood, one serves
# for all, since advantages divide by its std.
SWEPT = {
    **{name: {"objective": name} for name in (*MASKING, *BASELINES, "rlvr", "rpt", "rlp", "mixed_sft")},
    **{name: {"objective": name} for name in ("rlpt", "quiet_star")},
    "random_span, logprob": {"objective": "random_span", "reward": "logprob"},
}
# Sweeps whose rows notebook 15 shows side by side
BESIDE = ("continued_pretraining", "random_span", "rlpt", "quiet_star", "random_span, logprob")


def swept_as(own: dict) -> str:
    """The name in SWEPT of the sweep whose rate a run of these settings takes: that of its kind of reward, if any.

    >>> [swept_as({"objective": name, "reward": "logprob"}) for name in ("random_span", "random_next_token")]
    ['random_span, logprob', 'random_next_token']
    """
    objective = own.get("objective", "pretrainzero")
    likely = f"{objective}, logprob"
    return likely if likely in SWEPT and own.get("reward", "exact") != "exact" else objective


def sweep() -> list[tuple[str, Run]]:
    """(name in SWEPT, Run) of every learning-rate sweep at `mini`: half a run each, the same rates for all."""
    found = []
    for (seed, rate), (name, own) in itertools.product(itertools.product(SWEEP_SEEDS, RATES), SWEPT.items()):
        half = Run(**own).steps // 2
        settings = {"seed": seed, "learning_rate": rate, "steps": half, "eval_every": half // 2}
        found.append((name, Run(**own, **settings)))
    return found


@cache
def best_rate(name: str) -> float:
    """The rate that a sweep (of SWEPT) was best at: mean over the three groups and the seeds, at the last step.

    Raises ValueError for a method that has no sweep in data/results/sweep.
    """
    if name not in SWEPT:
        raise ValueError(f"objective: {name} has no learning-rate sweep; name it in SWEPT, or give the study a rate_of")
    table, runs = (pd.read_csv(locate(f"{SWEEP}/{stem}.csv")) for stem in ("tinybench", "runs"))
    rewards = runs.reindex(columns=["reward"])["reward"].astype(object).fillna("exact")  # older rows lack the column
    rates = runs[rewards == Run(**SWEPT[name]).reward].set_index("run_id")["learning_rate"]
    rows = table[(table["objective"] == SWEPT[name]["objective"]) & table["group"].isin(GROUPS)]
    rows = rows[rows["run_id"].isin(rates.index)]
    rows = rows[rows["step"] == rows.groupby("run_id")["step"].transform("max")]
    if rows.empty:
        raise ValueError(f"objective: {name} has no learning-rate sweep; `python -m pzlib sweep` makes it")
    means = rows.groupby(["run_id", "group"])["accuracy"].mean().groupby("run_id").mean()
    return float(means.groupby(rates).mean().idxmax())


def swept(table: str, names) -> pd.DataFrame:
    """Rows of a table of data/results/sweep: of each of these sweeps the runs at its best rate, on the seeds that all
    have, with a first column `arm`, the sweep's name. Empty where there is no such table."""
    path = Path(locate(f"{SWEEP}/{table}.csv"))
    if not path.is_file():
        return results.blank(table).assign(arm=[])
    best = {r.run_id: name for name, r in sweep() if name in names and r.learning_rate == best_rate(name)}
    rows = results.read(path)
    rows = rows[rows["run_id"].isin(best)]
    rows.insert(0, "arm", rows["run_id"].map(best))
    seeds = [set(own["seed"]) for _, own in rows.groupby("arm")]
    rows = rows[rows["seed"].isin(set.intersection(*seeds) if seeds else ())]
    return rows.sort_values("arm", key=lambda arms: arms.map(list(names).index), kind="stable")
