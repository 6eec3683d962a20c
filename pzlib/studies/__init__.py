"""The studies: the runs of each plan in `pzlib.studies.records`, their learning rates and starts, and their stored rows.
Left out: how runs are made (`grid`), and everything that is drawn or concluded from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import pandas as pd

from pzlib.errors import near_names
from pzlib.paths import locate
from pzlib.run import Run
from pzlib.studies.metrics import GROUPS
from pzlib.studies.records import MASKING, METHODS, STUDIES as PLANS, Study as Plan

SWEEP = "data/results/sweep/tinybench.csv"

RATES = (3e-5, 1e-4, 3e-4, 1e-3)  # what every method's sweep tries, on SWEEP_SEEDS, which no study uses

SWEEP_SEEDS = (100, 101)





@dataclass(frozen=True)
class Study(Plan):
    """A plan of `pzlib.studies.records` that knows its runs."""

    def runs(self, tier: str, seeds=None) -> list[tuple[str, Run]]:
        """(arm, Run) of every arm and seed, seed by seed, so that an interrupted study has whole seeds first.

        seeds: None for the study's own, at `smoke` the first of them. Sweeps were made at `mini` and hold for `smoke`;
        at other tiers every run has the tier's rate.
        """
        short = {"steps": self.steps, "eval_every": self.steps} if self.steps and tier == "mini" else {}
        found = []
        for seed in seeds or (self.seeds[:1] if tier == "smoke" else self.seeds):
            for arm, own in self.arms.items():
                own = dict(own)
                if start := own.pop("start", None):
                    _, own["model"] = start_of(start, tier, seed)
                swept = self.rate_of or own.get("objective", "pretrainzero")
                rate = {"learning_rate": best_rate(swept)} if tier in ("mini", "smoke") else {}
                found.append((arm, Run(**{"tier": tier, "seed": seed, **rate, **short, **own})))
        return found

    def starts(self, tier: str, seeds=None) -> list[Run]:
        """The runs whose models the arms go on from."""
        named = dict.fromkeys(own["start"] for own in self.arms.values() if "start" in own)
        seeds = seeds or (self.seeds[:1] if tier == "smoke" else self.seeds)
        return list(dict.fromkeys(start_of(start, tier, seed)[0] for seed in seeds for start in named))

# Whose rate a method takes while its own sweep is not stored: its nearest relative.
NEAREST = {"rpt": "random_span", "rlp": "random_span", "mixed_sft": "sft"}

STUDIES = {name: Study(**vars(plan)) for name, plan in PLANS.items()}



def start_of(name: str, tier: str, seed: int) -> tuple[Run, str]:
    """The run that a start names (an arm of `baselines`, or "study:arm"), and its model as `Run.model` takes it.

    >>> run, model = start_of("pretrainzero@half", "paper", seed=0)
    >>> model == f"{run.run_id}@1000", start_of("rpt:rpt, clean text", "mini", seed=0)[0].corpus
    (True, 'tinywiki_clean')
    """
    study, _, arm = name.rpartition(":")
    arm, _, half = arm.partition("@")
    run = dict(study_of(study or "baselines").runs(tier, [seed]))[arm]
    return run, f"{run.run_id}@{run.steps // 2}" if half else run.run_id



def sweep() -> list[tuple[str, Run]]:
    """(objective, Run) of every method's learning-rate sweep at `mini`: half a run each, the same rates for all."""
    found = []
    for seed in SWEEP_SEEDS:
        for rate in RATES:
            for objective in dict.fromkeys((*MASKING, *METHODS, "rlvr", *NEAREST)):
                half = Run(objective=objective).steps // 2
                settings = {"learning_rate": rate, "steps": half, "eval_every": half // 2}
                found.append((objective, Run(objective=objective, seed=seed, **settings)))
    return found



@cache
def best_rate(objective: str) -> float:
    """The rate that a method's sweep was best at: mean over the three groups and the seeds, at the last step.

    A method of `NEAREST` without a sweep takes its relative's, so its sweep comes before its studies. Raises ValueError
    for another one that has no sweep in data/results/sweep.
    """
    table = pd.read_csv(locate(SWEEP))
    if objective not in set(table["objective"]):
        objective = NEAREST.get(objective, objective)
    rates = pd.read_csv(locate(SWEEP.replace("tinybench", "runs"))).set_index("run_id")["learning_rate"]
    rows = table[(table["objective"] == objective) & table["group"].isin(GROUPS)]
    rows = rows[rows["step"] == rows.groupby("run_id")["step"].transform("max")]
    if rows.empty:
        raise ValueError(f"objective: {objective} has no learning-rate sweep; `python -m pzlib sweep` makes it")
    means = rows.groupby(["run_id", "group"])["accuracy"].mean().groupby("run_id").mean()
    return float(means.groupby(rates).mean().idxmax())



def study_of(name: str) -> Study:
    """The Study of that name; ValueError with the near ones for another.

    >>> list(study_of("mask_rule").arms)
    ['all occurrences', 'one mask', 'whole words']
    """
    if name not in STUDIES:
        raise ValueError(f"study: no study is called {name!r}; {near_names(name, STUDIES)}")
    return STUDIES[name]



def runs_of(names, tier: str = "mini", seeds=None) -> list[Run]:
    """Every run of these studies once, first seeds first: stopped early, all studies have the same seeds.

    >>> len(runs_of(["mask_rule", "balance"], "paper"))  # the default run is in both
    15
    """
    runs = [run for name in names for _, run in study_of(name).runs(tier, seeds)]
    return sorted({run.run_id: run for run in runs}.values(), key=lambda run: run.seed)



def starts_of(names, tier: str = "mini", seeds=None) -> list[Run]:
    """Every run once whose model some arm of these studies goes on from."""
    return list(dict.fromkeys(run for name in names for run in study_of(name).starts(tier, seeds)))



def select(table: pd.DataFrame, name: str, tier: str = "mini", seeds=None) -> pd.DataFrame:
    """The rows of `table` (runs, training or tinybench) that are of the study's runs, with a first column `arm`.

    A run belongs to every study that names its settings, so one table serves all; arms come in the study's order.
    """
    arms = {run.run_id: arm for arm, run in study_of(name).runs(tier, seeds)}
    rows = table[table["run_id"].isin(arms)]
    rows = rows.assign(arm=rows["run_id"].map(arms))
    order = {arm: place for place, arm in enumerate(study_of(name).arms)}
    rows = rows.sort_values("arm", key=lambda names: names.map(order), kind="stable")
    return rows[["arm", *table.columns]]



def tally(names, found: dict[str, str], tier: str = "mini", seeds=None) -> pd.DataFrame:
    """What became of the runs of these studies: a row a study and arm, with how many were planned, finished, failed.

    found: what `grid.play` returned. A run that is in neither is counted as planned only.
    """
    rows = []
    for name in names:
        for arm, run in study_of(name).runs(tier, seeds):
            what = found.get(run.run_id, "")
            done, failed = what in ("stored", "complete"), what.startswith("failed")
            rows.append({"study": name, "arm": arm, "planned": 1, "finished": int(done), "failed": int(failed)})
    return pd.DataFrame(rows).groupby(["study", "arm"], sort=False).sum()
