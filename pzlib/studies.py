"""The studies: which runs each one compares, under which names, and how to find their rows in the stored results.
Left out: how runs are made (`grid`), and everything that is drawn or concluded from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import pandas as pd

from pzlib.run import Run, locate, near_names

SWEEP = "data/results/sweep/tinybench.csv"
RATES = (3e-5, 1e-4, 3e-4, 1e-3)  # what every method's sweep tries, on SWEEP_SEEDS, which no study uses
SWEEP_SEEDS = (100, 101)
GROUPS = ("general", "math", "spans")  # of tinybench.csv: what a sweep goes by is their plain mean


@dataclass(frozen=True)
class Study:
    """Named arms, each the settings in which it differs, run over the same seeds; all else is the tier's.

    An arm may name a `start`: an arm of `baselines`, or "study:arm", whose model of the same seed and tier it goes on
    from ("@half": the one kept at half of the steps).
    question: what it asks, in one line. core: whether `make mini` runs it. steps: of shorter runs at `mini`, where a
    study says so; they are asked before and after only. rate_of: the method whose learning rate all arms take, where
    arms should differ in nothing else; None: each method that of its own sweep.
    """

    question: str
    arms: dict[str, dict]
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    core: bool = False
    steps: int | None = None
    rate_of: str | None = None

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


def _objectives(*names, **settings):
    return {name: {"objective": name, **settings} for name in names}


THREE = (0, 1, 2)  # seeds of ablations
# Whose rate a method takes while its own sweep is not stored: its nearest relative.
NEAREST = {"rpt": "random_span", "rlp": "random_span"}
MASKING = ("pretrainzero", "random_span", "random_next_token", "entropy_next_token")
METHODS = ("pretrainzero", "random_span", "sft", "continued_pretraining")
REWARDS = {
    "eq. 9, zero rule": "zero_rule",
    "eq. 9, no zero rule": "no_zero_rule",
    "negative accuracy, zero rule": "negative_accuracy",
    "min(p, 1 - p)": "learnability",
}
RPT_CLEAN = {"objective": "rpt", "corpus": "tinywiki_clean"}  # most like RPT's own text, worked problems
# Of continued pretraining, x 8 whole passages a step: about as many tokens as RLP's 256 prompts and thoughts at mini.
PLAIN_PASSAGES = 21
# Passages a step are set so that every group size draws the same number of predictions: passages x G x G.
GROUP_PASSAGES = {4: 16, 8: 4, 16: 1}

STUDIES = {
    # At one rate, as in the paper, which names one: a rule's own sweep can prefer a rate at which nothing moves.
    "collapse": Study(
        "Does entropy masking collapse on noisy text, and do random next tokens beat random spans?",
        _objectives(*MASKING),
        core=True,
        rate_of="pretrainzero",
    ),
    "collapse_clean": Study(
        "And on clean text, where high entropy is no noise?",
        _objectives(*MASKING, corpus="tinywiki_clean"),
        core=True,
        rate_of="pretrainzero",
    ),
    "collapse_own_rate": Study(
        "And if each rule has the learning rate that its own sweep found best?",
        _objectives(*MASKING),
        seeds=THREE,
        core=True,
    ),
    "baselines": Study(
        "Tables 1 and 2: what does each way of learning from text do?", _objectives(*METHODS), core=True
    ),
    "baselines_small": Study(
        "The same from a smaller base model", _objectives(*METHODS, model="data/tinybase_small"), core=True
    ),
    "warmup": Study(
        "Do random spans first help a base whose masks are seldom legal (the paper's SmolLM3 recipe)?",
        {
            "pretrainzero": {"model": "data/tinybase_small"},
            "random spans first": {"model": "data/tinybase_small", "random_span_steps": 10},
        },
        seeds=THREE,
        core=True,
    ),
    "rlvr": Study(
        "Fig. 9, Tables 3 and 4: from which start does RLVR get furthest?",
        {
            "from the base": {"objective": "rlvr"},
            "from random spans": {"objective": "rlvr", "start": "random_span"},
            "from PretrainZero, half way": {"objective": "rlvr", "start": "pretrainzero@half"},
            "from PretrainZero": {"objective": "rlvr", "start": "pretrainzero"},
        },
        core=True,
    ),
    "rpt": Study(
        "RPT's Tables 1 and 3: is the next token better predicted after a reasoning, and does learning it carry over?",
        {
            "rpt": {"objective": "rpt"},
            "random_span": {"objective": "random_span"},
            "rpt, clean text": RPT_CLEAN,
            "random_span, clean text": {**RPT_CLEAN, "objective": "random_span"},
            "continued_pretraining, clean text": {**RPT_CLEAN, "objective": "continued_pretraining"},
        },
        core=True,
    ),
    "rpt_rewards": Study(
        "RPT's App. A: do its four rewards teach alike?",
        {
            "prefix matching": RPT_CLEAN,
            "first token": {**RPT_CLEAN, "rpt_reward": "first_token"},
            "dense": {**RPT_CLEAN, "rpt_reward": "dense"},
            "dense where one is right": {**RPT_CLEAN, "rpt_reward": "conditional_dense"},
        },
        seeds=THREE,
    ),
    "rpt_filter": Study(
        "Which positions should RPT ask for, and whose entropy should say so?",
        {
            "0.5 nats, by the base": {"objective": "rpt"},
            "every position": {"objective": "rpt", "entropy_threshold": 0.0},
            "2 nats": {"objective": "rpt", "entropy_threshold": 2.0},
            "by the policy": {"objective": "rpt", "entropy_model": "policy"},
            "by a proxy": {"objective": "rpt", "entropy_model": "data/tinybase_small"},
            "dynamic sampling": {"objective": "rpt", "dynamic_from": 1},
        },
        seeds=THREE,
    ),
    "rlvr_after": Study(
        "RPT's Table 2: is RPT a better start for RLVR than next-token training on the same (clean) text?",
        {
            "from the base": {"objective": "rlvr"},
            "from continued pretraining": {"objective": "rlvr", "start": "rpt:continued_pretraining, clean text"},
            "from RPT": {"objective": "rlvr", "start": "rpt:rpt, clean text"},
        },
        core=True,
    ),
    "rlp": Study(
        "RLP's Table 1: does a thought before the next token teach more than the text, at equal text and equal tokens?",
        {
            "rlp": {"objective": "rlp"},
            "continued_pretraining": {"objective": "continued_pretraining"},  # as many passages a step as RLP's
            "continued_pretraining, equal tokens": {"objective": "continued_pretraining", "passages": PLAIN_PASSAGES},
        },
        core=True,
    ),
    "rlvr_after_rlp": Study(
        "RLP's Table 1, + Post: does its gain survive the same RLVR?",
        {
            "from the base": {"objective": "rlvr"},
            "from continued pretraining": {"objective": "rlvr", "start": "rlp:continued_pretraining, equal tokens"},
            "from RLP": {"objective": "rlvr", "start": "rlp:rlp"},
        },
        core=True,
    ),
    "rlp_rollouts": Study(
        "RLP's Fig. 2 and Table S.1: how many thoughts a token?",
        {f"rlp, rollouts {g}": {"objective": "rlp", "group": g} for g in (4, 8, 16)},
        seeds=THREE,
    ),
    "rlp_thoughts": Study(
        "RLP's Fig. 2 and Table S.1: how long may a thought be?",
        {f"rlp, completion tokens {n}": {"objective": "rlp", "max_completion_tokens": n} for n in (4, 8, 16, 24)},
        seeds=THREE,
    ),
    "rlp_kl": Study(
        "RLP's Fig. 2 and Table S.1: does a KL term help?",
        {f"rlp, KL {kl}": {"objective": "rlp", "kl": float(kl)} for kl in ("0", "1e-4", "1e-3")},
        seeds=THREE,
    ),
    # What all thoughts of a group share cancels in their advantages, the average's likelihood too: these runs part by
    # rounding alone, and how far they do tells what chance makes of one and the same run.
    "rlp_ema": Study(
        "RLP's Table S.6: how slow a baseline?",
        {f"rlp, tau {tau:g}": {"objective": "rlp", "ema": tau} for tau in (0.9, 0.99, 0.999)},
        seeds=THREE,
    ),
    "entropy_model": Study(
        "Whose entropy should choose: the policy's, the base's, a proxy's?",
        {
            "by the policy": {"objective": "entropy_next_token"},
            "by the base": {"objective": "entropy_next_token", "entropy_model": "base"},
            "by a proxy": {"objective": "entropy_next_token", "entropy_model": "data/tinybase_small"},
        },
        seeds=THREE,
        core=True,
        rate_of="pretrainzero",
    ),
    "domain": Study(
        "Fig. 10a: encyclopaedia or mathematics as RL corpus?",
        {
            "pretrainzero": {},
            "pretrainzero, TinyMath": {"corpus": "tinymath"},
            "random_span": {"objective": "random_span"},
            "random spans, TinyMath": {"objective": "random_span", "corpus": "tinymath"},
        },
        seeds=THREE,
    ),
    "mask_rule": Study(
        "Fig. 10b: which occurrences should a mask hide?",
        {"all occurrences": {}, "one mask": {"mask_rule": "one"}, "whole words": {"mask_rule": "words"}},
        seeds=THREE,
    ),
    "generator_reward": Study(
        "What does each reward make the generator mask?",
        {arm: {"generator_reward": rule} for arm, rule in REWARDS.items()},
        seeds=THREE,
    ),
    "guessable_noise": Study(
        "How far does the generator fall for noise that can be guessed?",
        {
            f"{values} values, {arm.removeprefix('eq. 9, ')}": {
                "corpus": "tinywiki" if values == 120 else f"tinywiki:values={values}",
                "generator_reward": REWARDS[arm],
            }
            for values in (2, 8, 120)
            for arm in ("eq. 9, zero rule", "min(p, 1 - p)")
        },
        seeds=THREE,
    ),
    "group": Study(
        "Group size at equal predictions a step: many passages or many tries?",
        {f"G = {g}": {"group": g, "passages": passages} for g, passages in GROUP_PASSAGES.items()},
        seeds=THREE,
    ),
    "balance": Study(
        "How often must the generator be trained?",
        {"every step": {}, "every 4th step": {"generator_every": 4}, "never": {"generator_every": 0}},
        seeds=THREE,
    ),
    "map": Study(
        "When does searching pay? Density of what can be deduced against noise among what is uncertain.",
        {
            f"{objective}, density {density}, noise {noise}": {
                "objective": objective,
                "corpus": f"tinywiki:density={density},noise={noise}",
            }
            for density in (0.1, 0.25, 0.5)
            for noise in (0.2, 0.6, 1.0)
            for objective in ("pretrainzero", "random_span", "entropy_next_token")
        },
        seeds=THREE,
        steps=100,
        rate_of="pretrainzero",
    ),
}


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
