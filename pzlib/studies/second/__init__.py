"""The second round of studies, at `mini2`: which, in which order, and what they cost; what is dropped, and why.
Left out: committing. Its rows go to data/results/mini2 as they come; every call goes on where the last one ended."""

import sys

import pandas as pd

from pzlib import studies
from pzlib.engine.plan import UNSEEN_HOURS
from pzlib.paths import root
from pzlib.run import Run
from pzlib.studies import queue
from pzlib.studies.records import STUDIES
from pzlib.studies.results import folder_of
from pzlib.studies.second import sweeps
from pzlib.tiers import LIKE, WORLDS

TIER = "mini2"
RATES_EACH = 4  # that a sweep is reckoned to try: three, and one beyond
# In this order, after the sweeps: what others go on from, and what the README shows, first.
PARTS = {
    "baselines": ("baselines",),
    "side by side": ("side", "side_new"),
    "the generator's reward and its words": ("spice", "occurrences"),
    "RLVR after each": ("side_rlvr", "rlvr"),
    "collapse and guessable noise": ("collapse_noise", "collapse", "collapse_clean"),
    "RPT and RLP": ("rpt", "rlp", "left", "rlp_domains"),
    "domain, mask rules, generator's rewards, depth": ("domain", "mask_rule", "generator_reward", "depth"),
    "a smaller base, RPT's continual training": ("baselines_small", "rpt_continual"),
}
# Studies that this round leaves out whole, rather than seeds of others; single arms are in the records (`dropped`).
DROPPED = {
    "map": "27 arms; the texts of `collapse_noise` and `left` are places on its two axes",
    "collapse_own_rate": "its rules would need sweeps of their own; the collapse is shown at one rate",
    "collapse_filter": "`collapse_noise` has arms without a filter",
    "warmup": "it asks of a base whose masks are seldom legal, and those of the second world's bases are legal",
    "rpt_rewards": "an ablation; the first round had no clear difference",
    "rpt_filter": "an ablation; the first round had no clear difference",
    **dict.fromkeys(("rlp_rollouts", "rlp_thoughts", "rlp_kl"), "an ablation, for what it costs"),
    "rlp_ema": "these runs part by rounding alone",
    **dict.fromkeys(("group", "balance", "entropy_model"), "an ablation of ours"),
    "guessable_noise": "`collapse_noise` trains on such noise, with more seeds",
    "likelihood": "six arms without a claim; `side_new` has one of them",
    "rlvr_after": "side_rlvr has RLVR after both", "rlvr_after_rlp": "side_rlvr has RLVR after both",
    "rlp_rpt": "its runs are in side", "rlp_corpora": "its text is of the hub", "rlp_context": "its text is of the hub",
}


def dropped(study: str, tier: str) -> str:
    """Why a study is not run at a tier of two bases; "" for one that is."""
    return f"dropped from the round: {DROPPED[study]}" if study in DROPPED and WORLDS[tier].bases else ""


def parts() -> dict[str, list[str]]:
    """{title: names of its studies}; last, those of the list of studies that no part names and nobody dropped."""
    named = {name for names in PARTS.values() for name in names}
    rest = [name for name in STUDIES if name not in named and name not in DROPPED]
    return {title: list(names) for title, names in PARTS.items()} | ({"all others": rest} if rest else {})


def swept_for() -> tuple[str, ...]:
    """The names in `pzlib.studies.sweeps.SWEPT` whose rates these studies take."""
    records = [studies.study_of(name) for names in parts().values() for name in names]
    return tuple(dict.fromkeys(name for record in records for name in sweeps.swept_for(record)))


def runs_of(names, tier: str = TIER) -> list[Run]:
    """Every run of these studies and of what they start from, once."""
    return list({run.run_id: run for run in [*studies.runs_of(names, tier), *studies.starts_of(names, tier)]}.values())


def hours_of(run: Run, stored: pd.DataFrame) -> float:
    """What a run is reckoned to take: as long a step as the stored ones of its method at its tier or, where there are
    none, at the tier whose place it takes; of as many passages per step, where there are such."""
    own = stored[stored["objective"] == run.objective]
    for column, value in (("tier", run.tier), ("passages", run.passages)):
        same = own[own[column] == value]
        own = same if len(same) else own
    return float((own["hours"] / own["steps"]).median() * run.steps) if len(own) else UNSEEN_HOURS


def _known(tier: str) -> pd.DataFrame:
    """What is known of stored runs: run_id, and what `hours_of` asks."""
    columns = ["run_id", "objective", "tier", "passages", "hours", "steps"]
    tables = [queue._stored(folder_of(name)) for name in (tier, LIKE.get(tier, tier))]
    return pd.concat([table.reindex(columns=columns) for table in tables], ignore_index=True).dropna(subset="hours")


def reckoned(tier: str = TIER) -> list[tuple[str, list[Run], int, float]]:
    """(title, runs that no part before has, how many are stored, run-hours) of the sweeps and of each part, in order.
    Hours are those of `hours_of` for stored runs as well: a run's own clock ran on beside whatever else was at work."""
    known, found, seen = _known(tier), [], set()
    swept = [run for name in swept_for() for rate in _rates(name, tier) for run in sweeps.runs_at(name, tier, rate)]
    each = [("sweeps", swept, queue._stored(sweeps.folder(tier)))]
    for title, runs, stored in each + [(title, runs_of(names, tier), known) for title, names in parts().items()]:
        own = [run for run in runs if run.run_id not in seen]
        seen |= {run.run_id for run in own}
        done = len({run.run_id for run in own} & {*stored["run_id"]})
        found.append((title, own, done, sum(hours_of(run, known) for run in own)))
    return found


def _rates(name: str, tier: str) -> list[float]:
    """The rates of a sweep: those tried and wanted, and while it is not done as many more as it is reckoned to take."""
    sweep = sweeps.sweep_of(name, tier)
    rates = [*sweeps.scores_of(name, tier), *sweep.wanted]
    more = [rate for rate in sweeps.LADDER if rate not in rates] if sweep.wanted else []
    return rates + more[: max(0, RATES_EACH - len(rates))]


def plan(tier: str = TIER) -> str:
    """As text: of the sweeps and each part how many runs are stored and to be made, their run-hours; what is dropped.

    Two runs share the cores, so that the clock shows half of the hours.
    """
    lines, total = [], 0.0
    for title, runs, stored, hours in reckoned(tier):
        total += hours
        lines.append(f"{title}: {len(runs)} runs, {stored} stored, {hours:.1f} run-hours")
    lines.append(f"all: {total:.1f} run-hours")
    left = studies.leaving_out([name for names in parts().values() for name in names], tier)
    dropped = [f"{name}: dropped: {why}" for name, why in DROPPED.items()]
    return "\n".join([*lines, *left.splitlines(), *dropped])


def play(jobs: int = 2, tier: str = TIER, stream=None) -> dict[str, str]:
    """Make all that is not stored, in order; what became of each run. What was killed goes on from its checkpoint."""
    stream = stream or sys.stdout
    print("sweeps", file=stream, flush=True)
    found = sweeps.widen(tier, jobs, swept_for(), stream)
    for title, names in parts().items():
        print(f"\n{title}: {', '.join(names)}", file=stream, flush=True)
        print(studies.unswept(names, tier), end="", file=stream, flush=True)  # a run of its sweep failed
        starts = studies.starts_of(names, tier)
        found |= queue.play(studies.runs_of(names, tier), jobs, starts=starts, stream=stream)
    print(f"rows: {folder_of(tier).relative_to(root())}", file=stream)
    return found
