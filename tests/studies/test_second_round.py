"""The second round: what it runs, in which order, from which base, at which rate; and that it keeps to its hours."""

import io

import pandas as pd
import pytest

from pzlib import studies
from pzlib.__main__ import main
from pzlib.engine.generation import order
from pzlib.studies import STUDIES, arms_of, second
from pzlib.studies.results import folder_of
from pzlib.studies.second import sweeps
from pzlib.studies.second.sweeps import judge
from pzlib.studies.sweeps import SWEPT
from pzlib.tiers import WORLDS
from pzlib.world.tinywiki import passages

BASES = WORLDS["mini2"].bases


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
        assert results == folder_of("mini2") / "sweep" and {run.model for run in runs} == {*BASES}
        assert all(run.eval_side == "validation" and run.eval_draws == 4 for run in runs)
        stored(runs, lambda run: 50 - 5 * abs(sweeps.LADDER.index(run.learning_rate)
                                              - sweeps.LADDER.index(peak[run.objective])), results)  # fmt: skip
        return {run.run_id: "complete" for run in runs}

    say = io.StringIO()
    sweeps.widen("mini2", 2, ("sft", "rlp"), say, play)
    assert asked[0] == {(name, rate) for name in peak for rate in (3e-5, 1e-4, 3e-4)}
    assert asked[1:] == [{("sft", 1e-5)}, {("sft", 3e-6)}]
    assert "sft: 1e-05, bracketed (3e-06 45.0, 1e-05 50.0" in say.getvalue()
    sweeps.widen("mini2", 2, ("sft", "rlp"), say, play)
    assert len(asked) == 3
    assert {run.learning_rate for _, run in arms_of("baselines", "mini2") if run.objective == "sft"} == {1e-5}
    assert {run.learning_rate for _, run in arms_of("baselines", "mini2") if run.objective == "random_span"} == {1e-4}


def test_a_run_that_fails_ends_the_sweep_and_not_the_others(home, monkeypatch):
    monkeypatch.setattr(sweeps, "start_of", lambda name: 1e-4)
    def play(runs, *_, **__):
        return {run.run_id: "failed: x" for run in runs}

    found = sweeps.widen("mini2", 2, ("sft",), io.StringIO(), play)
    assert len(found) == 6 and sweeps.sweep_of("sft", "mini2").verdict == "not swept"


def test_rates_are_tuned_at_the_rows_and_from_the_bases_of_the_studies_on_seeds_of_none():
    for name in SWEPT:
        own = {run.rows_per_step for run in sweeps.runs_at(name, "mini2", 1e-4)}
        used = {r.rows_per_step for part in ("side", "side_new", "collapse", "rlvr")
                for _, r in arms_of(part, "mini2", [0])
                if r.objective == SWEPT[name]["objective"]}  # fmt: skip
        assert used == own, name
    seeds = {seed for study in STUDIES.values() for seed in studies.seeds_of(study, "mini2")}
    assert not seeds & {*sweeps.SEEDS}


def test_the_base_is_a_factor():
    for name, each in (("collapse", 5), ("baselines", 5), ("rlvr", None), ("domain", None)):
        runs = [run for arm, run in arms_of(name, "mini2") if "start" not in STUDIES[name].arms[arm]]
        by_base = {base: {run.seed for run in runs if run.model == base} for base in BASES}
        assert all(by_base.values()) and {*by_base[BASES[0]]} == {run.seed for run in runs if run.seed < 10}
        assert each is None or {len(seeds) for seeds in by_base.values()} == {each}
    for arm, run in arms_of("rlvr", "mini2"):  # what goes on from a run starts from that run's base
        if start := STUDIES["rlvr"].arms[arm].get("start"):
            before = studies.start_of(start, "mini2", run.seed)[0]
            assert run.model.startswith(before.run_id) and before.model == BASES[run.seed // 10]
    assert {run.model for _, run in arms_of("baselines_small", "mini2")} == {WORLDS["mini2"].smaller}


def test_a_run_that_is_two_arms_has_rows_of_both():
    runs = dict(arms_of("rlp", "mini2", [0]))
    plain, equal = runs["continued_pretraining"], runs["continued_pretraining, equal tokens"]
    assert plain == equal  # the same passages, as often as their rows need
    rows = studies.select(pd.DataFrame({"run_id": [equal.run_id, runs["rlp"].run_id, "other"]}), "rlp", "mini2", [0])
    assert rows["arm"].tolist() == [*runs] and rows.index.is_unique


def test_all_read_the_same_passages():
    """What continued pretraining reads more of, it reads again: no other passage than those that RL reads."""
    runs = dict(arms_of("side", "mini2", [0]))
    texts = {(run.corpus, run.corpus_limit, run.seed) for run in runs.values()}
    assert len(texts) == 1
    items = passages(runs["pretrainzero"].corpus, runs["pretrainzero"].corpus_limit, 0)
    read = {arm: {*order(items, 0, run.steps * run.passages)} for arm, run in runs.items()}
    assert read["pretrainzero"] == read["continued_pretraining"] == read["rlp"] and len(read["rlp"]) == 800


def test_collapse_is_followed_along_300_steps_with_arms_that_drop_nothing():
    runs = arms_of("collapse_noise", "mini2")
    assert len(runs) == 8 * 5 and {(run.steps, run.eval_every) for _, run in runs} == {(300, 50)}
    assert {run.learning_rate for _, run in runs} == {studies.rate_of("pretrainzero", "mini2")}
    whole = {arm for arm, run in runs if run.filter == "none"}
    assert whole == {f"entropy_next_token, {n} values, no filter" for n in (2, 4)}
    assert {run.corpus for _, run in runs} == {"tinywiki2:values=2", "tinywiki2:values=4"}
    assert len(studies.left_out("collapse_noise", "paper")) == 8


def test_every_study_is_in_one_part_or_dropped_in_words(monkeypatch):
    named = [name for names in second.parts().values() for name in names]
    assert {*STUDIES} == {*named, *second.DROPPED} and len(named) == len({*named}) and not {*named} & {*second.DROPPED}
    monkeypatch.setitem(STUDIES, "of one's own", STUDIES["mask_rule"])  # one record, and it is in the round
    assert second.parts()["all others"] == ["of one's own"]
    assert all(arm in study.arms for study in STUDIES.values() for arm in study.dropped)
    assert all(second.DROPPED.values())


def test_the_plan_of_the_round_counts_each_run_once():
    rows = second.reckoned()
    assert rows[0][0] == "sweeps" and [title for title, *_ in rows[1:]] == [*second.parts()]
    runs = [run.run_id for _, own, *_ in rows for run in own]
    assert len(runs) == len({*runs}) > 300
    assert sum(hours for *_, hours in rows) < 25  # a decision in LOG; who adds a study drops another


def test_the_round_is_made_in_order(home, monkeypatch):
    made = []
    monkeypatch.setattr(sweeps, "widen", lambda *_, **__: made.append("sweeps") or {})
    monkeypatch.setattr(studies, "best_rate", lambda name: 1e-4)
    monkeypatch.setattr(second.queue, "play", lambda runs, jobs, starts, stream: made.append(runs[0].tier) or {})
    said = io.StringIO()
    second.play(2, stream=said)
    assert made == ["sweeps", *["mini2"] * len(second.parts())]
    titles = [line.partition(":")[0] for line in said.getvalue().splitlines() if ": " in line]
    assert [title for title in titles if title in second.parts()] == [*second.parts()]


def test_no_run_is_made_at_a_rate_that_its_sweep_may_still_change(home, monkeypatch, capsys):
    monkeypatch.setattr(studies, "best_rate", lambda name: 1e-4)
    monkeypatch.setattr(studies.queue, "play", lambda *_, **__: {})
    line = "pretrainzero: its learning rate is the first round's, 0.0001, as its sweep is not finished; `pzlib sweep"
    with pytest.raises(ValueError, match=f"learning_rate: {line} --tier mini2` finishes it"):
        studies.open("mask_rule", "mini2", jobs=1)
    capsys.readouterr()
    assert main(["study", "mask_rule", "--tier", "mini2"]) == 2 and line in capsys.readouterr().err
    assert main(["study", "mask_rule", "--tier", "mini2", "--plan"]) == 0 and line in capsys.readouterr().out
    best = {rate: 50.0 - abs(i - 4) for i, rate in enumerate(sweeps.LADDER)}
    monkeypatch.setattr(sweeps, "scores_of", lambda name, tier: {rate: best[rate] for rate in sweeps.LADDER[3:6]})
    assert studies.unswept(["mask_rule"], "mini2") == "" == studies.unswept(["mask_rule"], "mini")
