"""Learning-rate sweeps: widened until they bracket the best rate, from both bases, at the rows of the studies."""

import io

import pandas as pd
import pytest

from pzlib import studies
from pzlib.__main__ import main
from pzlib.studies import STUDIES, arms_of, sweeps
from pzlib.studies.results import folder_of
from pzlib.studies.sweeps import SWEPT, judge
from pzlib.tiers import WORLDS


@pytest.fixture(autouse=True)
def nothing_is_stored(home, monkeypatch):
    monkeypatch.setattr("pzlib.paths.REPO", home)
    monkeypatch.chdir(home)


@pytest.mark.parametrize(
    ("scores", "best", "verdict", "wanted"),
    [
        ({}, None, "not swept", (3e-5, 1e-4, 3e-4)),
        ({1e-4: 5.0}, 1e-4, "not swept", (3e-5, 3e-4)),
        ({3e-5: 5.0, 1e-4: 9.0, 3e-4: 5.0}, 1e-4, "bracketed", ()),
        ({3e-5: 8.9, 1e-4: 9.0, 3e-4: 8.9}, 1e-4, "bracketed", ()),
        ({3e-5: 1.0, 1e-4: 5.0, 3e-4: 9.0}, 3e-4, "best at an end", (1e-3,)),
        ({3e-5: 1.0, 1e-4: 8.1, 3e-4: 9.0}, 3e-4, "flat above 0.0001", ()),  # within a point of the next one inward
        ({1e-6: 9.0, 3e-6: 7.0, 1e-5: 1.0, 3e-5: 1.0, 1e-4: 1.0, 3e-4: 1.0}, 1e-6, "best at the end of the ladder", ()),
    ],
)
def test_a_sweep_is_widened_until_both_neighbours_are_worse_or_it_is_flat(scores, best, verdict, wanted):
    assert judge(scores, 1e-4) == sweeps.Sweep(best, verdict, wanted)


def stored(runs, score, folder):
    """Add rows of tinybench.csv as finished runs leave them; score(run): its accuracy in points."""
    folder.mkdir(parents=True, exist_ok=True)
    path, rows = folder / "tinybench.csv", []
    for run in runs:
        for group, step in (("general", 0), ("math", run.steps), ("general", run.steps), ("spans", run.steps)):
            key = {"run_id": run.run_id, "tier": run.tier, "seed": run.seed, "step": step, "group": group}
            rows.append(key | {"accuracy": score(run) / 100 if step else 0.99})
    old = [pd.read_csv(path)] if path.exists() else []
    pd.concat([*old, pd.DataFrame(rows)]).to_csv(path, index=False)


def test_the_sweep_adds_arms_itself_goes_on_where_it_ended_and_then_gives_the_rate(home, monkeypatch):
    monkeypatch.setattr(sweeps, "start_of", lambda name: 1e-4)
    peak, asked = {"sft": 1e-5, "rlp": 1e-4}, []

    def play(runs, jobs, results, stream):
        asked.append({(run.objective, run.learning_rate) for run in runs})
        assert results == folder_of("mini") / "sweep" and {run.model for run in runs} == {*WORLDS["mini"].bases}
        assert all(run.eval_side == "validation" and run.eval_draws == 4 for run in runs)
        stored(runs, lambda run: 50 - 5 * abs(sweeps.LADDER.index(run.learning_rate)
                                              - sweeps.LADDER.index(peak[run.objective])), results)  # fmt: skip
        return {run.run_id: "complete" for run in runs}

    say = io.StringIO()
    sweeps.widen(2, ("sft", "rlp"), say, play)
    assert asked[0] == {(name, rate) for name in peak for rate in (3e-5, 1e-4, 3e-4)}
    assert asked[1:] == [{("sft", 1e-5)}, {("sft", 3e-6)}]
    assert "sft: 1e-05, bracketed (3e-06 45.0, 1e-05 50.0" in say.getvalue()
    sweeps.widen(2, ("sft", "rlp"), say, play)
    assert len(asked) == 3
    assert {run.learning_rate for _, run in arms_of("baselines", "mini") if run.objective == "sft"} == {1e-5}
    assert {run.learning_rate for _, run in arms_of("baselines", "mini") if run.objective == "random_span"} == {1e-4}


def test_a_sweep_says_where_the_bases_disagree_and_what_gains_nothing(home):
    """RLPT in the second round: the best rate of one base breaks the other, and the mean hides it."""
    rates = dict(zip((1e-5, 3e-5, 1e-4), ((58, 48), (62, 51), (79, 33)), strict=True))
    for rate, scores in rates.items():
        own = dict(zip(WORLDS["mini"].bases, scores, strict=True))
        stored(sweeps.runs_at("rlpt", rate), lambda run, own=own: own[run.model], folder_of("mini") / "sweep")
    low = "; not above the bases at any rate"  # which have 99
    line = "rlpt: 3e-05, bracketed (1e-05 53.0, 3e-05 56.5, 0.0001 56.0)"
    line += "; from tinybase_a 0.0001 is 17.0 points above it"
    assert sweeps.shown(["rlpt"]) == line + low and sweeps.without_gain(["rlpt", "sft"]) == ["rlpt"]
    path = folder_of("mini") / "sweep/tinybench.csv"
    table = pd.read_csv(path)
    table.assign(accuracy=table["accuracy"].where(table["step"] > 0, 0.56)).to_csv(path, index=False)
    sweeps._read.cache_clear(), sweeps._scores.cache_clear()
    assert sweeps.shown(["rlpt"]) == line


def test_a_run_that_fails_ends_the_sweep_and_not_the_others(home, monkeypatch):
    monkeypatch.setattr(sweeps, "start_of", lambda name: 1e-4)
    def play(runs, *_, **__):
        return {run.run_id: "failed: x" for run in runs}

    found = sweeps.widen(2, ("sft",), io.StringIO(), play)
    assert len(found) == 6 and sweeps.sweep_of("sft").verdict == "not swept"


def test_rates_are_tuned_at_the_rows_and_from_the_bases_of_the_studies_on_seeds_of_none():
    for name in SWEPT:
        own = {run.rows_per_step for run in sweeps.runs_at(name, 1e-4)}
        used = {r.rows_per_step for part in ("side", "side_new", "collapse", "rlvr")
                for _, r in arms_of(part, "mini", [0])
                if r.objective == SWEPT[name]["objective"]}  # fmt: skip
        assert used == own, name
    assert {*sweeps.swept_for(STUDIES)} == {*SWEPT}
    seeds = {seed for study in STUDIES.values() for seed in studies.seeds_of(study, "mini")}
    assert not seeds & {*sweeps.SEEDS}


def test_no_run_is_made_at_a_rate_that_its_sweep_may_still_change(home, monkeypatch, capsys):
    monkeypatch.setattr(studies.queue, "play", lambda *_, **__: {})
    line = "pretrainzero: its learning rate is the one that its sweep begins with, 0.0003, as its sweep is not finished"
    with pytest.raises(ValueError, match=f"learning_rate: {line}; `pzlib sweep` finishes it"):
        studies.open("mask_rule", "mini", jobs=1)
    capsys.readouterr()
    assert main(["study", "mask_rule", "--tier", "mini"]) == 2 and line in capsys.readouterr().err
    assert main(["study", "mask_rule", "--tier", "mini", "--plan"]) == 0 and line in capsys.readouterr().out
    best = {rate: 50.0 - abs(i - 4) for i, rate in enumerate(sweeps.LADDER)}
    monkeypatch.setattr(sweeps, "scores_of", lambda name: {rate: best[rate] for rate in sweeps.LADDER[3:7]})
    assert sweeps.unswept(["mask_rule"], "mini") == ""
