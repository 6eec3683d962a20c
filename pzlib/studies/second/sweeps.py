"""Learning-rate sweeps of the second world, on its validation questions: widened until the best rate is bracketed.
Left out: first-round sweeps, four fixed rates on the final questions (`pzlib.studies.sweeps`)."""

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass

from pzlib import studies
from pzlib.run import Run
from pzlib.studies import queue, results
from pzlib.studies.metrics import GROUPS
from pzlib.studies.sweeps import SWEPT, swept_as
from pzlib.tiers import WORLDS

LADDER = (1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
SEEDS = (100, 110)  # of no study; one from each base
DRAWS = 4  # of the answers after a run: a sweep is made to choose, not to test
FLAT = 1.0  # points: at an end of what was tried, a smaller difference to the next rate tells no direction
MIDDLE = 1e-4  # where a method without a first-round sweep begins


@dataclass(frozen=True)
class Sweep:
    """What is known of one method's rate: the best so far, its verdict as text, and the rates still to be tried."""

    best: float | None
    verdict: str
    wanted: tuple[float, ...]


def judge(scores: dict[float, float], start: float) -> Sweep:
    """What the scores (points) by rate of `LADDER` say: "bracketed" where both neighbours of the best are worse, "flat"
    where at an end the next rate inward is within `FLAT` points; else the neighbour that was not tried is wanted.

    start: the rate that is tried first, with its two neighbours.

    >>> judge({}, 1e-4).wanted
    (3e-05, 0.0001, 0.0003)
    >>> judge({3e-5: 50.0, 1e-4: 55.0, 3e-4: 52.0}, 1e-4).verdict
    'bracketed'
    >>> judge({3e-5: 57.0, 1e-4: 55.0, 3e-4: 52.0}, 1e-4)
    Sweep(best=3e-05, verdict='best at an end', wanted=(1e-05,))
    >>> judge({1e-5: 57.5, 3e-5: 57.0, 1e-4: 55.0, 3e-4: 52.0}, 1e-4).verdict
    'flat below 3e-05'
    """
    place = LADDER.index(start)
    first = [rate for rate in LADDER[max(place - 1, 0) : place + 2] if rate not in scores]
    if first:
        return Sweep(max(scores, key=scores.get, default=None), "not swept", tuple(first))
    best = max(scores, key=scores.get)
    at, words, wanted = LADDER.index(best), [], []
    for inward, where in ((1, "below"), (-1, "above")):
        beyond = at - inward
        if 0 <= beyond < len(LADDER) and LADDER[beyond] in scores:
            continue
        if scores[best] - scores[LADDER[at + inward]] < FLAT:
            words.append(f"flat {where} {LADDER[at + inward]:g}")
        elif 0 <= beyond < len(LADDER):
            wanted.append(LADDER[beyond])
        else:
            words.append("best at the end of the ladder")
    return Sweep(best, "best at an end" if wanted else ", ".join(words) or "bracketed", tuple(wanted))


@functools.cache
def runs_at(name: str, tier: str, rate: float) -> tuple[Run, ...]:
    """The runs of a name in `SWEPT` at a rate: half as long as in a study, of as many rows, from each base once."""
    world, own = WORLDS[tier], SWEPT[name] | studies.rows_a_step(SWEPT[name]["objective"], tier)
    half = Run(tier=tier, **SWEPT[name]).steps // 2
    own |= {"learning_rate": rate, "steps": half, "eval_every": half, "eval_draws": DRAWS, "eval_side": world.swept}
    return tuple(Run(tier=tier, seed=seed, model=world.base_of(seed), **own) for seed in SEEDS)


def scores_of(name: str, tier: str) -> dict[float, float]:
    """{rate: mean over `GROUPS` and both bases, in points, after training} of the rates whose runs are all stored."""
    path = folder(tier) / "tinybench.csv"
    return _scores(name, tier, path, path.stat().st_mtime_ns) if path.is_file() else {}


@functools.lru_cache(maxsize=4 * len(SWEPT))  # every run of a study asks for its rate
def _scores(name, tier, path, changed):
    scores, found = _read(path, changed), {}
    for rate in LADDER:
        own = [scores.get(run.run_id) for run in runs_at(name, tier, rate)]
        if None not in own:
            found[rate] = 100 * sum(own) / len(own)
    return found


@functools.lru_cache(maxsize=4)
def _read(path, changed):
    table = results.read(path)
    rows = table[table["group"].isin(GROUPS) & (table["step"] > 0)]
    return rows.groupby(["run_id", "group"])["accuracy"].mean().groupby("run_id").mean().to_dict()


def folder(tier: str):
    """Where the rows of a tier's sweeps are."""
    return results.folder_of(tier) / "sweep"


def start_of(name: str) -> float:
    """Where a method's sweep begins: at the best rate of the first round, where it has one."""
    try:
        return studies.best_rate(name)
    except ValueError:
        return MIDDLE


def sweep_of(name: str, tier: str) -> Sweep:
    """What the stored runs say of a method's rate."""
    return judge(scores_of(name, tier), start_of(name))


def swept_for(record: studies.Study) -> list[str]:
    """The names in `SWEPT` whose rates the arms of a study take."""
    return [record.rate_of or swept_as(own) for own in record.arms.values()]


def rate_of(name: str, tier: str) -> float:
    """The rate at which a method trains in the studies of a tier; until its sweep is there, where that begins, which
    `pzlib.studies.unswept` says wherever runs are planned or made."""
    return sweep_of(name, tier).best or start_of(name)


def widen(tier: str, jobs: int = 2, names=tuple(SWEPT), stream=None, play: Callable = queue.play) -> dict[str, str]:
    """Make the sweeps of these methods until none wants another rate; what became of each run, as `play` says it.

    Started again it goes on. A run that failed is not tried again in this call, and leaves its method's sweep undone.
    """
    found: dict[str, str] = {}
    while True:
        runs = [run for name in names for rate in sweep_of(name, tier).wanted for run in runs_at(name, tier, rate)]
        runs = [run for run in runs if run.run_id not in found]
        if not runs:
            break
        found |= play(runs, jobs, results=folder(tier), stream=stream)
    print(shown(tier, names), file=stream or sys.stdout)
    return found


def shown(tier: str, names=tuple(SWEPT)) -> str:
    """A line a method: its best rate, what is known of it, and the scores by rate."""
    lines = []
    for name in names:
        sweep = sweep_of(name, tier)
        points = ", ".join(f"{rate:g} {score:.1f}" for rate, score in scores_of(name, tier).items())
        lines.append(f"{name}: {sweep.best or start_of(name):g}, {sweep.verdict}{f' ({points})' if points else ''}")
    return "\n".join(lines)
