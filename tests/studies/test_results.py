"""Run folders become tables: complete runs only, each once, nothing of other runs lost."""

import subprocess
import sys
import warnings
from dataclasses import fields, replace

import pandas as pd
import pytest
from skilled import passages as nine_words
from skilled import write_corpus

from pzlib.paths import REPO
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.studies.measured import collect_perplexity, collect_probes, probe_all, thoughts_and_points
from pzlib.studies.metrics import values
from pzlib.studies.results import (
    KEY,
    TABLES,
    collect,
    load,
    other_seeds,
    read,
    stored,
)
from pzlib.tiers import WORLDS
from pzlib.train import train


@pytest.fixture
def make_run(home):
    """make_run(**settings, state=, reward=) -> RunFolder of three steps, with metrics and evaluations."""

    def make(state="complete", reward=1 / 3, tier="mini", **settings):
        run = Run(tier=tier, steps=3, **settings)
        folder = RunFolder(run.folder).open(run, {"corpus_digest": "abc"})
        for step in (1, 2, 3):
            folder.append_metrics({"step": step, "seconds": 1200.0, "rows": 40, "predictor/reward": reward})
        row = {"group": "math", "n": 3, "correct": 1, "accuracy": 1 / 3}
        for step in (0, 3):
            folder.append_eval([row | {"step": step, "task": task} for task in ("sum", "count")])
        folder.set_status(state, step=3, steps=3)
        return folder

    return make


def collected(home):
    return collect(home / "data/runs", home / "data/results")


def test_tables_are_tidy_and_rounded(make_run, home):
    ids = {make_run(seed=seed).params()["run_id"]: "complete" for seed in (1, 0)}
    assert collected(home) == ids
    runs, training, tinybench = map(load, TABLES)
    assert list(runs["seed"]) == [0, 1]
    assert set(runs["run_id"]) == set(ids)
    assert list(runs["hours"]) == [1.0, 1.0]
    assert (runs["corpus_digest"] == "abc").all()
    assert runs["learning_rate"][0] == Run(tier="mini").learning_rate
    assert list(training["step"]) == [1, 2, 3, 1, 2, 3]
    assert list(zip(tinybench["step"][:4], tinybench["task"][:4], strict=True)) == [
        (0, "count"), (0, "sum"), (3, "count"), (3, "sum")]  # fmt: skip
    for table in (runs, training, tinybench):
        assert list(table.columns)[:4] == KEY
    line = (home / "data/results/training.csv").read_text().splitlines()[1]
    assert line.endswith(",mini,0,1,1200,40,0.333333")


def test_runs_of_another_tier_leave_the_tables_of_mini_alone(make_run, home):
    for seed, tier in enumerate(("mini", "smoke", "mini")):
        make_run(tier=tier, seed=seed)
    collected(home)
    assert load("runs")["seed"].tolist() == [0, 2] and load("runs", "smoke")["seed"].tolist() == [1]


def test_collecting_again_changes_nothing(make_run, home):
    make_run(seed=0)
    make_run(seed=1, objective="random_span")
    collected(home)
    before = {p: p.read_bytes() for p in (home / "data/results").iterdir()}
    collected(home)
    assert {p: p.read_bytes() for p in (home / "data/results").iterdir()} == before


def test_rows_of_runs_found_are_replaced_and_of_others_kept(make_run, home):
    old = make_run(seed=0)
    kept = make_run(seed=1, reward=0.5)
    collected(home)
    for path in sorted(kept.path.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    kept.path.rmdir()
    (old.path / "metrics.jsonl").unlink()
    old.append_metrics({"step": 1, "predictor/reward": 0.75, "generator/legal": 1.0})
    collected(home)
    training = load("training")
    assert list(training["predictor/reward"]) == [0.75, 0.5, 0.5, 0.5]
    assert list(training["generator/legal"].notna()) == [True, False, False, False]
    assert len(load("runs")) == 2


def test_a_run_that_is_not_complete_is_left_out_and_named(make_run, home):
    run_id = make_run(seed=0, state="failed").params()["run_id"]
    assert collected(home) == {run_id: "failed"}
    assert not (home / "data/results").exists()
    make_run(seed=1)
    collected(home)
    assert list(load("training")["seed"].unique()) == [1]


def test_a_model_that_does_not_reason_is_kept_as_asked(make_run, home, monkeypatch, capsys):
    """Its rows count no question: without them a table would say of it *not run*."""
    from pzlib.evaluation import probes
    from pzlib.studies.tables import probe_table

    run_id = make_run(seed=0).params()["run_id"]

    def probe(run, model, items, samples):
        if model == run_id:
            raise probes.NothingToReplace("completions: none says anything before its box")
        return probes.no_effects().assign(about="all", n=9, change=-0.25, low=-0.5, high=0.0)

    monkeypatch.setattr(probes, "probe", probe)
    rows = collect_probes(run_id)
    stored = pd.read_csv(home / "data/results/probes.csv")
    assert len(rows) == len(stored) == 12 and stored[stored["step"] > 0]["n"].eq(0).all()
    assert stored[stored["step"] > 0]["change"].isna().all() and stored[stored["step"] == 0]["change"].eq(-0.25).all()
    lines = probe_table(stored).splitlines()
    assert lines[2].endswith("| 9 | -0.25 [-0.50, +0.00] nats |") and lines[-1].endswith("| 0 | no answer reasons |")
    assert "none says anything" in capsys.readouterr().out


def test_a_study_is_probed_run_by_run_and_what_is_stored_is_not_probed_again(make_run, home, monkeypatch, capsys):
    from pzlib import studies
    from pzlib.evaluation import probes
    from pzlib.studies.tables import probe_table

    asked = []

    def probe(run, model, items, samples):
        asked.append(model)
        return probes.no_effects().assign(about="all", n=items, change=0.0, low=0.0, high=0.0)

    monkeypatch.setattr(probes, "probe", probe)
    run = dict(studies.arms_of("side_new", "mini", [1]))["rlpt"]
    make_run(name="alone")
    folder = RunFolder(run.folder).open(run)
    folder.set_status("complete", step=run.steps, steps=run.steps)
    rows = probe_all("side_new", items=7)
    assert set(rows["run_id"]) == {run.run_id} and asked == [run.model, run.run_id]
    assert "side_new: 1 of 25 runs are complete" in capsys.readouterr().out
    assert probe_table(probe_all("side_new")) == "not run" and len(asked) == 2, "its rows are stored"
    assert set(probe_all("alone", items=7)["run_id"]) == {"alone"} and len(asked) == 4


def test_a_run_without_evaluations_is_no_error(make_run, home):
    folder = make_run(seed=0)
    (folder.path / "eval.csv").unlink()
    collected(home)
    assert len(load("tinybench")) == 0
    assert len(load("runs")) == 1


def test_what_is_missing_is_told(home, monkeypatch):
    with pytest.raises(FileNotFoundError, match="runs: no run in .*; `python -m pzlib run"):
        collected(home)
    with pytest.raises(ValueError, match="trainings: no such table of results; did you mean training"):
        load("trainings")
    monkeypatch.setattr("pzlib.paths.REPO", home)
    monkeypatch.chdir(home)
    with pytest.raises(FileNotFoundError, match="training.csv: not there yet; `python -m pzlib results`"):
        load("training")


def test_tables_need_no_torch():
    code = "import pzlib.studies.results, sys; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_undefined_metrics_stay_empty(make_run, home):
    folder = make_run(seed=0)
    folder.append_metrics({"step": 4, "predictor/reward": float("nan")})
    collected(home)
    assert pd.isna(load("training")["predictor/reward"].iloc[-1])


def test_a_tier_without_tables_has_none_stored(home, monkeypatch):
    monkeypatch.setattr("pzlib.paths.REPO", home / "shipped")  # a checkout in use may have rows at smoke
    monkeypatch.chdir(home)
    assert stored("smoke") == {}


def test_a_table_of_many_columns_takes_one_more_without_a_warning(tmp_path):
    names, row = ",".join(f"share/{n}" for n in range(120)), ",".join(["0.5"] * 120)
    (tmp_path / "wide.csv").write_text(f"{names}\n{row}\n{row}\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(tmp_path / "wide.csv").assign(more=1)["more"].tolist() == [1, 1]


def test_perplexity_is_measured_before_and_after_on_text_that_no_run_reads_and_stored_once(tiny_model, home, capsys):
    settings = dict(tier="smoke", model=str(tiny_model), corpus=str(write_corpus(home / "corpus.jsonl", 90)), steps=3)
    settings |= dict(objective="continued_pretraining", min_tokens=4, learning_rate=1e-2)
    run, missing = Run(**settings), Run(**settings, seed=1)
    train(run)
    whole = Run(**settings, corpus_limit=200)
    whole.folder.joinpath("model").mkdir(parents=True)
    collect_perplexity([whole], "smoke")
    assert "perplexity.csv: not measured: corpus: the runs read all of" in capsys.readouterr().out
    collect_perplexity([run, missing, run], "smoke")  # a run can be two arms of a study
    assert "1 runs measured" in capsys.readouterr().out
    table = load("perplexity", "smoke")
    assert table["step"].tolist() == [0, 3] and set(table["run_id"]) == {run.run_id}
    assert table["perplexity"][1] < table["perplexity"][0]  # it has learned what such text looks like
    rows = table.assign(arm="a")
    assert values(rows, "perplexity")[0] == table["perplexity"][1]
    assert values(rows, "perplexity", "base")[0] == table["perplexity"][0]
    before = table.to_csv()
    collect_perplexity([missing], "smoke")
    assert "0 runs measured" in capsys.readouterr().out
    collect_perplexity([run], "smoke")
    assert load("perplexity", "smoke").to_csv() == before


def test_at_a_real_tier_perplexity_is_of_text_that_the_run_does_not_read(skilled, home, monkeypatch):
    settings = {"tier": "smoke", "steps": 2, "min_tokens": 4, "corpus_limit": 10, "max_completion_tokens": 8}
    run = Run(model=str(skilled / "model"), corpus=str(skilled / "corpus.jsonl"), passages=1, **settings)
    train(run)
    monkeypatch.setitem(WORLDS, "smoke", replace(WORLDS["smoke"], small=False))
    collect_perplexity([run], "smoke")
    table = load("perplexity", "smoke")
    assert table["task"].tolist() == ["text"] * 2 and table["step"].tolist() == [0, 2]  # it has no kinds
    collect_perplexity([run], "smoke", texts=nine_words(5, seed=9))
    assert load("perplexity", "smoke")["tokens"].tolist() == [45, 45]


def test_the_stored_rows_of_other_seeds_are_those_of_equal_settings(home):
    runs = [*(Run(tier="mini", seed=seed) for seed in (0, 1, 12)), Run(tier="mini", seed=5, passages=3)]
    rows = pd.DataFrame([{name: getattr(run, name) for name in KEY} | {"step": 10} for run in runs])
    (home / "data/results").mkdir(parents=True)
    for name in ("training", "tinybench"):
        rows.to_csv(home / f"data/results/{name}.csv", index=False)
    other_seeds.cache_clear()
    found = other_seeds(Run(tier="mini", seed=7))
    assert {name: table["seed"].tolist() for name, table in found.items()} == {
        "training": [0, 1, 12], "tinybench": [0, 1, 12]
    }  # fmt: skip
    assert other_seeds(Run(tier="mini", seed=1))["training"]["seed"].tolist() == [0, 12]
    assert other_seeds(Run(tier="mini", seed=7, passages=2))["training"].empty
    assert other_seeds(Run(tier="paper")) == {}
    other_seeds.cache_clear()


STORED = sorted(REPO.glob("data/results/**/runs.csv"))


def run_of(row):
    """The Run of a stored row, whose cells are text."""
    kinds = {field.name: field.type for field in fields(Run) if field.name in row and field.name != "name"}
    made = {"bool": "True".__eq__, "int": lambda text: int(float(text)), "float": float, "str": str}
    return Run(**{name: made[kind.__name__](row[name]) for name, kind in kinds.items() if row[name] or kind is str})


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.parent.name)
def test_the_id_of_a_stored_row_is_that_of_its_settings(path):
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert len(rows) and [run_of(row).run_id for row in rows.to_dict("records")] == rows["run_id"].tolist()


@pytest.mark.slow
def test_stored_rows_are_of_the_shipped_bases_and_of_the_text_as_it_is_made():
    """A remade base makes stored results another model's: they must go, and `make mini-all` makes them anew."""
    from pzlib.engine.models import fingerprint
    from pzlib.engine.models import load as load_model

    rows = pd.concat(pd.read_csv(path) for path in STORED if (path.parent / "training.csv").is_file())
    rows = rows[rows["tier"] == "mini"]
    assert len(rows)
    for model, own in rows[rows["model"].str.startswith("data/")].groupby("model"):  # others are models of runs
        assert set(own["model_fingerprint"]) == {fingerprint(load_model(Run(model=model))[0])}
    for corpus, own in rows[rows["objective"] != "mixed_sft"].groupby("corpus"):
        run = Run(objective=own["objective"].iloc[0], corpus=corpus, seed=int(own["seed"].iloc[0]))
        items = run.method.load_items(run, load_model(run)[1])
        assert items.digest == own["corpus_digest"].iloc[0]


def test_what_thoughts_could_earn_is_beside_what_rlp_did_by_base_and_text(monkeypatch):
    runs = [
        Run(tier="mini", objective="rlp", seed=seed, model=WORLDS["mini"].base_of(seed), corpus=text)
        for seed in (0, 1, 10) for text in ("tinywiki", "tinymath")
    ]  # fmt: skip
    rows = pd.DataFrame([
        {"run_id": run.run_id, "seed": run.seed, "step": step, "group": group, "task": group, "accuracy": accuracy}
        for run in runs if run.corpus == "tinymath"
        for step, accuracy in ((0, 0.5), (200, 0.6 + run.seed / 100)) for group in ("general", "math")
    ])  # fmt: skip
    asked = []

    def pays(model, tokenizer, texts, limit):
        asked.append((texts, limit))
        return pd.DataFrame({"at most": 0.1}, index=pd.Index(texts, name="text"))

    monkeypatch.setattr("pzlib.engine.models.to_ask", lambda run: (run.model, None))
    monkeypatch.setattr("pzlib.evaluation.bases.where_a_thought_pays", pays)
    table = thoughts_and_points(rows, runs, limit=7)
    assert asked == [(["tinywiki", "tinymath"], 7)] * 2
    assert table["points"].to_dict() == {
        (base, text): points if text == "tinymath" else ""
        for base, points in zip(WORLDS["mini"].bases, ("+10.0, +11.0", "+20.0"), strict=True)
        for text in ("tinywiki", "tinymath")
    }  # fmt: skip
