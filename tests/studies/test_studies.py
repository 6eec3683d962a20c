"""Which runs a study names, which rows are its own, which rate a sweep chooses; and that a grid makes them once."""

import subprocess
import sys
import time

import pandas as pd
import pytest

from pzlib import studies
from pzlib.paths import REPO
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.studies import STUDIES, Study, best_rate, queue, runs_of, select, study_of
from pzlib.studies.results import folder_of, load

SMOKE = {"tier": "smoke", "steps": 2, "passages": 1, "group": 2, "eval_items": 4, "learning_rate": 1e-3}


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("tier", ["paper", "mini"])
def test_arms_differ_in_what_is_named_and_nothing_else(name, tier):
    study = STUDIES[name]
    assert "base" not in study.arms  # what a figure calls the model before training
    runs = study.runs(tier)
    assert len(runs) == len(study.arms) * len(study.seeds) == len({run.run_id for _, run in runs})
    short = {"steps": study.steps, "eval_every": study.steps} if study.steps and tier == "mini" else {}
    for arm, run in runs:
        rest = Run(tier=tier, seed=run.seed, objective=run.objective, **short).to_dict()
        named = {"learning_rate", *study.arms[arm], *(["model"] if "start" in study.arms[arm] else [])}
        assert {k for k, v in run.to_dict().items() if v != rest[k]} <= named


def test_every_method_is_swept_alike_on_seeds_that_no_study_uses():
    swept = studies.sweep()
    cells = {objective: [] for objective, _ in swept}
    for objective, run in swept:
        cells[objective].append((run.seed, run.learning_rate, run.steps / Run(objective=objective).steps))
    assert set(cells) == {o for s in STUDIES.values() for _, r in s.runs("paper") for o in [r.objective]}
    assert len({tuple(c) for c in cells.values()}) == 1
    rates = {run.learning_rate for _, run in STUDIES["collapse"].runs("mini")}
    assert rates == {best_rate("pretrainzero")}  # one for all; each its own in the other study
    own = {run.objective: run.learning_rate for _, run in STUDIES["collapse_own_rate"].runs("mini")}
    assert own == {objective: best_rate(objective) for objective in own}
    assert not set(studies.SWEEP_SEEDS) & {seed for study in STUDIES.values() for seed in study.seeds}


def test_the_best_rate_is_that_of_the_mean_over_groups_and_seeds(home, monkeypatch):
    folder = home / "data/results/sweep"
    folder.mkdir(parents=True)
    rows, runs = [], []
    for rate, scores in {1e-4: (0.5, 0.1), 3e-4: (0.4, 0.4), 1e-3: (0.9, 0.0)}.items():
        for seed, score in enumerate(scores):
            key = {"run_id": f"{rate}-{seed}", "objective": "sft"}
            runs.append(key | {"learning_rate": rate})
            for step in (0, 100):  # the accuracy at the end counts, and "other spans" does not
                rows.append(key | {"step": step, "group": "math", "accuracy": score if step else 1 - score})
            rows.append(key | {"step": 100, "group": "other spans", "accuracy": 1 - rate * 100})
    pd.DataFrame(rows).to_csv(folder / "tinybench.csv", index=False)
    pd.DataFrame(runs).to_csv(folder / "runs.csv", index=False)
    best_rate.cache_clear()
    try:
        assert best_rate("sft") == 1e-3  # 0.45 against 0.4 and 0.3
        monkeypatch.setitem(studies.NEAREST, "kin", "sft")
        assert best_rate("kin") == 1e-3  # while it has no sweep of its own
        with pytest.raises(ValueError, match="objective: dreaming has no learning-rate sweep"):
            best_rate("dreaming")
    finally:
        best_rate.cache_clear()


def test_a_start_may_be_an_arm_of_any_study():
    (rpt,) = [run for arm, run in study_of("rpt").runs("paper", [2]) if arm == "rpt, clean text"]
    after = dict(study_of("rlvr_after").runs("paper", [2]))
    assert after["from RPT"].model == rpt.run_id and rpt in studies.starts_of(["rlvr_after"], "paper", [2])
    assert studies.start_of("pretrainzero", "paper", 2) == studies.start_of("baselines:pretrainzero", "paper", 2)


def test_a_table_gives_each_study_its_own_rows_under_its_own_names():
    runs = {arm: run for arm, run in study_of("mask_rule").runs("paper") if run.seed == 1}
    other = Run(tier="paper", seed=9)
    table = pd.DataFrame({"run_id": [*(r.run_id for r in runs.values())][::-1] + [other.run_id], "step": 1})
    rows = select(table, "mask_rule", "paper")
    assert rows["arm"].tolist() == ["all occurrences", "one mask", "whole words"]
    assert rows["run_id"].tolist() == [run.run_id for run in runs.values()]
    assert select(table, "balance", "paper")["arm"].tolist() == ["every step"]
    with pytest.raises(ValueError, match="study: no study is called 'colapse'; did you mean collapse"):
        select(table, "colapse")


def test_stored_rows_are_of_the_shipped_base_models():
    """A remade base model makes stored results another model's: they must go, and `make mini-all` makes them anew."""
    from pzlib.engine.models import fingerprint
    from pzlib.engine.models import load as load_model

    runs = pd.read_csv(REPO / "data/results/runs.csv")
    for model, rows in runs[runs["model"].str.startswith("data/")].groupby("model"):  # others are models of runs
        assert set(rows["model_fingerprint"]) == {fingerprint(load_model(Run(model=model))[0])}


def test_names_are_kept_when_a_setting_is_at_its_default_for_all_tiers():
    assert Run().run_id == Run(temperature=1.0, generator_reward="zero_rule").run_id
    assert len({Run().run_id, Run(temperature=0.9).run_id, Run(steps=201).run_id}) == 3


def test_a_grid_without_jobs_runs_nothing_and_says_so(home):
    run, said = Run(**SMOKE), []
    assert queue.play([run], jobs=0, say=said.append) == {run.run_id: "not run"}
    assert said == ["1 runs: 0 stored, 1 not run"] and not run.folder.exists()


def test_a_run_that_a_signal_ended_is_told_with_the_signals_name(home, monkeypatch):
    def start(run, jobs):
        run.folder.mkdir(parents=True)
        (run.folder / "log.txt").write_text("step 3 of 4\n")
        return subprocess.Popen([sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"])

    monkeypatch.setattr(queue, "_start", start)
    found = queue.play([Run(**SMOKE)], say=lambda _: None)
    assert list(found.values()) == [f"failed: ended by SIGSEGV; see {Run(**SMOKE).folder / 'log.txt'}"]


@pytest.mark.slow
def test_the_runs_of_a_grid_that_is_killed_end_with_it(home):
    run = Run(**SMOKE | {"steps": 5000})
    play = f"from pzlib import grid; from pzlib.run import Run; grid.play([Run(**{run.to_dict()})], 1)"
    process = subprocess.Popen([sys.executable, "-c", play], stdout=subprocess.DEVNULL)
    folder, end = RunFolder(run.folder), time.monotonic() + 100
    while folder.state() != "running":
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.1)
    process.kill()
    process.wait()
    while folder.state() == "running":
        assert time.monotonic() < end, "it goes on alone"
        time.sleep(0.1)
    assert folder.state() == "resumable"


@pytest.mark.slow
def test_a_grid_makes_what_is_missing_tells_what_failed_and_repeats_nothing(home):
    good, bad = Run(**SMOKE), Run(**SMOKE, seed=1, model="data/nowhere")
    said = []
    bad.folder.mkdir(parents=True)
    RunFolder(bad.folder).set_status("failed", error="KeyboardInterrupt: ")  # an earlier try's
    found = queue.play([good, bad, good], say=said.append)
    assert found[good.run_id] == "complete" and len(found) == 2
    assert found[bad.run_id].startswith("failed: FileNotFoundError: model: cannot load 'data/nowhere'")
    assert said[0] == "2 runs: 0 stored, 2 to make, about 3 min 0 s at 2 at a time" and len(said) == 3
    assert "cannot load 'data/nowhere'" in (bad.folder / "log.txt").read_text()
    assert load("runs", "smoke")["run_id"].tolist() == [good.run_id]
    assert set(load("tinybench", "smoke")["run_id"]) == set(load("training", "smoke")["run_id"]) == {good.run_id}
    before = (folder_of("smoke") / "runs.csv").read_bytes()
    RunFolder(good.folder).path.rename(home / "gone")  # another machine that has only the tables
    assert queue.play([good], say=said.append) == {good.run_id: "stored"}
    assert said[-1] == "1 runs: 1 stored, 0 to make" and not good.folder.exists()
    assert (folder_of("smoke") / "runs.csv").read_bytes() == before


def test_rlvr_starts_from_the_models_of_the_same_seed_that_the_baselines_ended_with():
    own = {(arm, run.seed): run for arm, run in study_of("baselines").runs("mini")}
    for arm, run in study_of("rlvr").runs("mini"):
        start, _, step = run.model.partition("@")
        of = {"from the base": None, "from random spans": "random_span"}.get(arm, "pretrainzero")
        assert (start == own[of, run.seed].run_id) if of else (run.model == "data/tinybase")
        assert step == ("100" if "half" in arm else "")
    starts = studies.starts_of(["rlvr", "baselines"], "mini")
    assert len(starts) == 10 and {run.objective for run in starts} == {"pretrainzero", "random_span"}


@pytest.mark.slow
def test_a_grid_makes_starts_first_and_goes_on_from_their_models(home):
    live = SMOKE | {"group": 8, "passages": 4}  # so many answers that some group is right and wrong: the weights move
    start, said = Run(**live), []
    after = live | {"objective": "rlvr"}
    half, full = (Run(**after, model=start.run_id + at) for at in ("@1", ""))
    found = queue.play([half, full], say=said.append, starts=[start])
    assert found == dict.fromkeys([run.run_id for run in (half, full, start)], "complete")
    assert said[0] == "2 runs: 0 stored, 2 to make, and 1 that they start from, about 4 min 30 s at 2 at a time"
    assert said[1].startswith(start.run_id) and set(load("runs", "smoke")["run_id"]) == set(found)
    prints = {run: RunFolder(run.folder).params()["model_fingerprint"] for run in (start, half, full)}
    assert len(set(prints.values())) == 3  # the base, the start at half of its steps, the start
    RunFolder(half.folder).path.rename(home / "gone")
    (start.folder / "model-1").rename(home / "lost")  # a start that kept its last model only
    (folder_of("smoke") / "runs.csv").unlink()
    found = queue.play([half], say=said.append, starts=[start])
    assert "left no model to start from: delete" in found[half.run_id] and RunFolder(start.folder).state() == "complete"


def test_a_plan_goes_by_the_time_of_stored_runs_alike(home):
    run = Run(tier="mini", seed=7, learning_rate=1e-3)
    assert queue.plan([run, run], jobs=1) == "1 runs: 0 stored, 1 to make, about 3 min 0 s at 1 at a time"
    folder_of("mini").mkdir(parents=True)
    like = {"objective": "pretrainzero", "model": run.model, "tier": "mini", "corpus": "another"}
    rows = [{"run_id": "a", **like, "hours": 0.2, "steps": 400}]
    rows += [{**rows[0], "run_id": "b", "objective": "random_span", "hours": 9.0}]
    pd.DataFrame(rows).to_csv(folder_of("mini") / "runs.csv", index=False)
    assert queue.plan([run], jobs=2).endswith("about 3 min 0 s at 2 at a time")  # 0.1 h for its 200 steps, halved
    rows += [{**rows[0], "run_id": "c", "corpus": "tinywiki_clean", "hours": 0.4}]  # twice as dear, on another text
    rows[0] |= {"corpus": run.corpus}
    pd.DataFrame(rows).to_csv(folder_of("mini") / "runs.csv", index=False)
    clean = Run(tier="mini", seed=7, corpus="tinywiki_clean")
    for each, said in ((run, "6 min 0 s"), (clean, "12 min 0 s"), (Run(corpus="tinymath"), "9 min 0 s")):
        assert queue.plan([each], jobs=1).endswith(f"about {said} at 1 at a time")
    seeds = [run.seed for run in runs_of(["collapse", "mask_rule"], "paper")]
    assert seeds == [0] * 6 + [1] * 6 + [2] * 6 + [3] * 4 + [4] * 4


def test_a_shorter_study_is_shorter_at_mini_only():
    study = Study("?", {"a": {}}, seeds=(0,), steps=100)
    assert study.runs("paper")[0][1].steps == 2000 and study.runs("mini")[0][1].steps == 100
