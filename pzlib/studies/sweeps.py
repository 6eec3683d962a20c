"""Learning-rate sweeps, on validation questions: which settings are swept, at which rates, and the best of each.
A sweep widens until its best rate is bracketed. Its runs are of half a study's length, on seeds that no study uses."""

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pzlib import studies
from pzlib.paths import locate
from pzlib.run import Run
from pzlib.studies import queue, results
from pzlib.studies.metrics import GROUPS
from pzlib.studies.records import BASELINES
from pzlib.tiers import WORLDS

SWEEP = "data/results/sweep"
LADDER = (1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
SEEDS = (100, 110)  # of no study; one from each base
DRAWS = 4  # of the answers after a run: a sweep is made to choose, not to test
FLAT = 1.0  # points: at an end of what was tried, a smaller difference to the next rate tells no direction
# What is swept: every method that has a rate of its own in a study, and what one asks for where the reward is another
# number: of any likelihood, one serves for all, since advantages divide by its std.
SWEPT = {
    **{name: {"objective": name} for name in (*BASELINES, "rlvr", "rpt", "rlp", "mixed_sft", "rlpt", "quiet_star")},
    "random_span, logprob": {"objective": "random_span", "reward": "logprob"},
}
# Where a sweep begins, with both neighbours: near what was best in an earlier world.
START, HIGHER, HIGHER_FOR = 3e-5, 3e-4, ("pretrainzero", "random_span", "rlvr", "rpt", "mixed_sft")


@dataclass(frozen=True)
class Sweep:
    """What is known of one method's rate: the best so far, its verdict as text, and the rates still to be tried."""

    best: float | None
    verdict: str
    wanted: tuple[float, ...]


def swept_as(own: dict, rate_of: str | dict[str, str] | None = None) -> str:
    """The name in SWEPT of the sweep whose rate a run of these settings takes: that of its kind of reward, if any.

    rate_of: its study's (`pzlib.studies.records.Study`).

    >>> [swept_as({"objective": name, "reward": "logprob"}) for name in ("random_span", "random_next_token")]
    ['random_span, logprob', 'random_next_token']
    >>> [swept_as({"objective": name}, given) for name in ("rlp", "sft") for given in ({"rlp": "rpt"}, "rpt")]
    ['rpt', 'rpt', 'sft', 'rpt']
    """
    objective = own.get("objective", "pretrainzero")
    given = rate_of.get(objective) if isinstance(rate_of, dict) else rate_of
    if given:
        return given
    likely = f"{objective}, logprob"
    return likely if likely in SWEPT and own.get("reward", "exact") != "exact" else objective


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
def runs_at(name: str, rate: float) -> tuple[Run, ...]:
    """The runs of a name in `SWEPT` at a rate: half as long as in a study, of as many rows, from each base once."""
    own = SWEPT[name] | studies.rows_a_step(SWEPT[name]["objective"], "mini")
    half = Run(**SWEPT[name]).steps // 2
    own |= {"learning_rate": rate, "steps": half, "eval_every": half, "eval_draws": DRAWS, "eval_side": "validation"}
    return tuple(Run(seed=seed, model=WORLDS["mini"].base_of(seed), **own) for seed in SEEDS)


def scores_of(name: str) -> dict[float, float]:
    """{rate: mean over `GROUPS` and both bases, in points, after training} of the rates whose runs are all stored."""
    return {rate: sum(own) / len(own) for rate, own in by_base(name).items()}


def by_base(name: str, trained: bool = True) -> dict[float, list[float]]:
    """As `scores_of`, the score of the run from each base of the world in turn; or, not trained, of the base itself."""
    path = Path(locate(f"{SWEEP}/tinybench.csv"))
    return _scores(name, path, path.stat().st_mtime_ns, trained) if path.is_file() else {}


@functools.lru_cache(maxsize=4 * len(SWEPT))  # every run of a study asks for its rate
def _scores(name, path, changed, trained):
    scores, found = _read(path, changed, trained), {}
    for rate in LADDER:
        own = [scores.get(run.run_id) for run in runs_at(name, rate)]
        if None not in own:
            found[rate] = [100 * score for score in own]
    return found


@functools.lru_cache(maxsize=4)
def _read(path, changed, trained):
    table = results.read(path)
    rows = table[table["group"].isin(GROUPS) & ((table["step"] > 0) == trained)]
    return rows.groupby(["run_id", "group"])["accuracy"].mean().groupby("run_id").mean().to_dict()


def start_of(name: str) -> float:
    """Where a method's sweep begins. ValueError for a name that is not in SWEPT."""
    if name not in SWEPT:
        raise ValueError(f"objective: {name} has no learning-rate sweep; name it in SWEPT, or give the study a rate_of")
    return HIGHER if name in HIGHER_FOR else START


def sweep_of(name: str) -> Sweep:
    """What the stored runs say of a method's rate."""
    return judge(scores_of(name), start_of(name))


def rate_of(name: str) -> float:
    """The rate at which a method trains in the studies; until its sweep is there, where that begins, which `unswept`
    says wherever runs are planned or made."""
    return sweep_of(name).best or start_of(name)


def swept_for(names) -> list[str]:
    """The names in `SWEPT` whose rates the arms of these studies take, each once."""
    records = [studies.study_of(name) for name in names]
    return list(dict.fromkeys(swept_as(own, one.rate_of) for one in records for own in one.arms.values()))


def unswept(names, tier: str) -> str:
    """A line per learning rate that the studies take at `mini` from a sweep that is not finished; "" for none."""
    lines = []
    for name in swept_for(names) if tier == "mini" else ():
        if (found := sweep_of(name)).wanted:
            of = "the best so far" if found.best else "the one that its sweep begins with"
            lines.append(f"{name}: its learning rate is {of}, {rate_of(name):g}, as its sweep is not finished")
    return "".join(f"{line}; `pzlib sweep` finishes it\n" for line in lines)


def refuse_unswept(names, tier: str) -> None:
    """ValueError where runs of these studies would train at a rate that a sweep may still change."""
    if lines := unswept(names, tier):
        raise ValueError(f"learning_rate: {lines.strip()}")


def widen(jobs: int = 2, names=tuple(SWEPT), stream=None, play: Callable = queue.play) -> dict[str, str]:
    """Make the sweeps of these methods until none wants another rate; what became of each run, as `play` says it.

    Started again it goes on. A run that failed is not tried again in this call, and leaves its method's sweep undone.
    """
    found: dict[str, str] = {}
    while True:
        runs = [run for name in names for rate in sweep_of(name).wanted for run in runs_at(name, rate)]
        runs = [run for run in runs if run.run_id not in found]
        if not runs:
            break
        found |= play(runs, jobs, results=results.folder_of("mini") / "sweep", stream=stream)
    print(shown(names), file=stream or sys.stdout)
    return found


def without_gain(names) -> list[str]:
    """Those of the names, as far as they are in `SWEPT`, that are above their bases at none of the rates tried."""
    names = [name for name in names if name in SWEPT]
    before = {name: [sum(own) / len(own) for own in by_base(name, trained=False).values()] for name in names}
    return [name for name in names if before[name] and max(scores_of(name).values()) <= max(before[name])]


def shown(names=tuple(SWEPT)) -> str:
    """A line a method: its best rate, what is known of it, the scores by rate, and where one base would have another
    rate, by `FLAT` points or more. Each score is of one run from each base."""
    lines = []
    for name in names:
        sweep, rates = sweep_of(name), by_base(name)
        points = ", ".join(f"{rate:g} {score:.1f}" for rate, score in scores_of(name).items())
        line = f"{name}: {rate_of(name):g}, {sweep.verdict}{f' ({points})' if points else ''}"
        for i, base in enumerate(WORLDS["mini"].bases if rates else ()):
            own = max(rates, key=lambda rate: rates[rate][i])
            if (more := rates[own][i] - rates[sweep.best][i]) >= FLAT:
                line += f"; from {Path(base).name} {own:g} is {more:.1f} points above it"
        lines.append(line + "; not above the bases at any rate" * bool(without_gain([name])))
    return "\n".join(lines)
