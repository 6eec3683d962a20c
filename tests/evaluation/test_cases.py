"""Completions read from runs and files, the same passages put to models, and cases chosen by rule."""

import gzip
import json
from dataclasses import replace

import pandas as pd
import pytest
from skilled import write_corpus
from synthetic import fill
from transformers import AutoTokenizer

from pzlib.corpus import load_passages
from pzlib.evaluation import cases
from pzlib.evaluation.cases import (
    COLUMNS,
    answers,
    case_of,
    from_episodes,
    held_out_cases,
    held_out_passages,
    lined_up,
    masked_cases,
    models_of,
    read_completions,
)
from pzlib.evaluation.small_world import spans
from pzlib.figures.inspector import casebook
from pzlib.run import Run
from pzlib.studies.patterns import measured
from pzlib.world import tinywiki


def lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_what_is_held_out_is_of_the_runs_text_and_read_by_none_of_them(tiny_model, home):
    corpus = write_corpus(home / "corpus.jsonl", 120)
    settings = {"tier": "smoke", "model": str(tiny_model), "corpus": str(corpus), "corpus_limit": 20, "min_tokens": 4}
    runs = [Run(**settings, seed=seed) for seed in (0, 1)]
    held = {passage.text for passage in held_out_passages(runs, 30)}
    read = {passage.text for run in runs for passage in load_passages(corpus, limit=20, seed=run.seed, min_tokens=4)}
    whole = {passage.text for passage in load_passages(corpus, min_tokens=4)}
    assert len(held) == 30 and held < whole - read
    with pytest.raises(ValueError, match="corpus: the runs read all of .* give a larger text"):
        held_out_passages([replace(runs[0], corpus_limit=200)], 30)
    asked = held_out_cases(runs, per_kind=3)
    assert 0 < len(asked) <= 3 * 4 and asked["kind"].value_counts().max() <= 3
    assert set(asked["kind"]) <= {"function", "name", "number", "other"}
    assert asked["prompt"].str.contains("[mask]", regex=False).all()
    for row in asked.itertuples():  # what is masked is in the held-out text
        assert any(row.prompt.count("[mask]") == text.count(row.target) for text in whole - read)


def test_a_document_of_which_a_run_reads_a_passage_is_not_held_out(tiny_model, home):
    articles = [{"text": " ".join(f"W{n}.{i} is a word ." for i in range(8))} for n in range(40)]
    corpus = lines(home / "long.jsonl", *articles)
    run = Run(tier="smoke", model=str(tiny_model), corpus=str(corpus), corpus_limit=12, min_tokens=4, max_tokens=16)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    read = run.method.load_items(run, tokenizer)
    known, held = ({passage.text.split(".")[0] for passage in own} for own in (read, held_out_passages([run], 8)))
    assert len(read) > len(known) and held and not held & known  # several passages are of one document


def test_a_world_of_ours_is_made_anew_by_a_seed_that_no_run_has():
    asked = held_out_cases([Run(tier="smoke")], per_kind=2)
    wanted = masked_cases(spans(tinywiki.held_out("tinywiki", 400), 2, seed=-1))
    assert asked.equals(wanted) and "sum" in set(asked["kind"])


def test_a_runs_predictions_are_read_and_its_masks_are_not(tmp_path):
    table = from_episodes(fill(tmp_path / "run"), "mine", steps=[2, 3])
    assert table.columns.tolist() == list(COLUMNS) and len(table) == 2 * 4 * 4
    assert set(table["source"]) == {"mine"} and set(table["seed"]) == {3} and set(table["step"]) == {2, 3}
    first = table[table["case"] == case_of(table["prompt"][0])]
    assert first["target"].unique().tolist() == ["Friday"]
    assert first[first["step"] == 2]["sample"].tolist() == [0, 1, 2, 3]
    assert first["right"].mean() == 0.5 and "Passage" in first["prompt"].iloc[0]
    assert table["case"].nunique() == 4  # the same four prompts in both steps: equal prompts are one case


def test_a_file_goes_by_its_own_names_of_columns(tmp_path):
    rows = [{"output": "So \\boxed{A}", "id": 7, "gold": "A"}, {"output": "\\boxed{B}", "id": 8, "gold": "C"}]
    named = {"completion": "output", "case": "id", "target": "gold"}
    table = read_completions(lines(tmp_path / "model_a.jsonl", *rows), **named)
    assert table["source"].tolist() == ["model_a"] * 2 and table["case"].tolist() == ["7", "8"]
    assert table["prediction"].tolist() == ["A", "B"] and table["right"].tolist() == [1, 0]
    with gzip.open(tmp_path / "b.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    assert read_completions(tmp_path / "b.jsonl.gz", label="mine", **named)["source"].tolist() == ["mine"] * 2
    pd.DataFrame(rows).to_parquet(tmp_path / "c.parquet")
    other = read_completions(tmp_path / "c.parquet", **named)
    pd.testing.assert_frame_equal(other.drop(columns="source"), table.drop(columns="source"))


def test_a_list_of_completions_is_one_row_each(tmp_path):
    row = {"question": "1 + 1 ?", "code": ["two", "\\boxed{2}"], "score": [False, True], "gt": "2"}
    named = {"completion": "code", "prompt": "question", "right": "score", "target": "gt"}
    table = read_completions(lines(tmp_path / "a.jsonl", row), **named)
    assert table["sample"].tolist() == [0, 1] and table["case"].nunique() == 1
    assert table["right"].tolist() == [0, 1] and table["prediction"].isna().tolist() == [True, False]
    with pytest.raises(ValueError, match="row 1: 'score' has 1 values for 2 completions"):
        read_completions(lines(tmp_path / "b.jsonl", row | {"score": [True]}), **named)


def test_what_nobody_judged_stays_unknown_and_what_ran_on_is_cut(tmp_path):
    path = lines(tmp_path / "a.jsonl", {"completion": "It is \\boxed{3}\nQuestion: and \\boxed{4}"})
    table = read_completions(path, stop="\nQuestion:")
    assert table["prediction"].tolist() == ["3"] and table["right"].isna().all() and table["target"].isna().all()
    assert read_completions(path)["prediction"].tolist() == ["4"]
    assert read_completions(path)["case"].tolist() == ["1"]  # nothing says what was asked: a row is a case


@pytest.mark.parametrize(
    "text, columns, words",
    [
        ('{"output": "x"}\n', {}, "'completion' is not a column, so there is no completion; name it: completion='...'"),
        ('{"output": "x"}\n', {"completion": "outputs"}, "did you mean output?"),
        ('{"completion": "x"}\n', {"right": "score"}, "'score' is not a column, so there is no right"),
        ('{"completion": "x"}\n', {"gold": "x"}, "gold: no such column of completions"),
        ('{"completion": null}\n', {}, "row 1: completion is NoneType, not text"),
        ('{"completion": "x", "right": "yes"}\n', {}, "right must be true or false, or a number"),
        ('{"completion": "x", "target": ["a", "b"]}\n', {}, "row 1: 'target' holds 2 targets"),
        ('{"completion": "x"}\n{"comp', {}, "a.jsonl is not JSON"),
        ('["x"]\n', {}, "a.jsonl is not an object with named columns but list"),
        ("\n", {}, "holds no rows"),
    ],
)
def test_bad_files_are_told_in_words(tmp_path, text, columns, words):
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        read_completions(path, **columns)
    assert words in str(error.value)


def test_half_a_character_is_replaced(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"completion": "cut \\ud83d"}\n')
    assert read_completions(tmp_path / "a.jsonl")["completion"].tolist() == ["cut \ufffd"]


def asked():
    items = [("name", "Anna lives in [mask] .", "Rome"), ("name", "[mask] has two cats .", "Bela")]
    return masked_cases([*items, items[0]])


def test_a_model_is_asked_once_and_its_answers_are_read_again_without_it(tiny_model, tmp_path, monkeypatch):
    run, path = Run(tier="smoke", model=str(tiny_model), seed=5), tmp_path / "kept/answers.jsonl"
    first = answers(run, asked(), path, source="mine", step=3, samples=2)
    assert first.columns.tolist() == list(COLUMNS) and len(first) == 4  # two cases: a passage asked twice is one
    assert first["sample"].tolist() == [0, 1, 0, 1] and first["length"].between(1, run.max_completion_tokens).all()
    gone = replace(run, model=str(tmp_path / "gone"))
    again = answers(gone, asked(), path, source="other", step=4, samples=2)
    for name in ("case", "completion", "right", "kind", "target"):
        assert again[name].tolist() == first[name].tolist()
    assert set(again["source"]) == {"other"} and set(again["step"]) == {4}
    other = answers(replace(run, seed=6), asked(), tmp_path / "other.jsonl", source="mine", samples=2)
    assert other["completion"].tolist() != first["completion"].tolist()
    with pytest.raises(FileNotFoundError, match="cannot load"):  # other samples are wanted: it would have to be asked
        answers(gone, asked(), path, source="mine", samples=3)
    calls = []
    monkeypatch.setattr(cases, "_asked", lambda *given: calls.append(given) or first)
    answers(run, asked()[:1], path, source="mine", samples=2)
    assert len(calls) == 1  # other passages: the file is of no use


def test_a_runs_models_by_step(home):
    run = Run(tier="smoke", steps=20)
    for name in ("checkpoints/checkpoint-15", "checkpoints/checkpoint-20", "model-10", "model-5.part", "model"):
        (run.folder / name).mkdir(parents=True)
    found = models_of(run)
    assert list(found) == [10, 15, 20] and found[20].model == run.run_id
    assert found[10].model == str(run.folder / "model-10") and found[20].model_source == str(run.folder / "model")


def table(rows):
    rows = pd.DataFrame(rows, columns=["source", "case", "right", "completion"])
    return measured(rows.assign(prompt=None, seed=0, sample=0))


def test_only_cases_that_all_have_answered_are_lined_up():
    rows = table([(source, case, 1.0, "x") for source, case in ("ap", "aq", "bq", "br", "cq", "cp")])
    assert set(lined_up(rows)["case"]) == {"q"} and len(lined_up(rows)) == 3
    assert set(lined_up(rows, ["a", "c"])["case"]) == {"p", "q"}
    assert lined_up(rows[rows["case"] != "q"]).empty


def test_one_passage_is_put_to_several_models(skilled, tmp_path):
    text = "Rome Oslo Lima Kyiv seven five two three nine ."
    run = Run(tier="smoke", model=str(skilled / "model"), max_completion_tokens=8)
    models = {"a": run, "b": replace(run, seed=1)}
    table = cases.of_passage(models, text, "Kyiv", tmp_path, samples=3)
    assert table["source"].tolist() == ["a"] * 3 + ["b"] * 3 and set(table["target"]) == {"Kyiv"}
    assert table["case"].nunique() == 1 and "Lima [mask] seven" in table["prompt"][0]
    page = casebook(table, {"the passage": [table["case"][0]]})
    assert "target <b>Kyiv</b>" in page and page.count("<th ") == 2
    assert cases.of_passage(dict.fromkeys(models, None) | models, text, "Kyiv", tmp_path, samples=3).equals(table)
    with pytest.raises(ValueError, match="target: 'Paris' cannot be masked in the passage; give words that are in it"):
        cases.of_passage(models, text, "Paris", tmp_path)
