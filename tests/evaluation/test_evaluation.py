"""What a run is asked along training goes by a name, and reads nothing that a run reads."""

import copy
import dataclasses
import subprocess
import sys

import pytest
import torch

from pzlib import evaluation
from pzlib.corpus import load_passages
from pzlib.engine.models import to_ask
from pzlib.evaluation import EVALUATIONS, Evaluation, evaluation_of, named, next_tokens, small_world
from pzlib.objectives import METHODS
from pzlib.run import Run
from pzlib.studies import STUDIES, arms_of
from pzlib.world import tinybase, tinywiki
from pzlib.world.facts import TASKS


@pytest.fixture(scope="module")
def base():
    return to_ask(Run())


def test_every_method_has_an_evaluation_that_knows_its_own_name():
    assert {method.evaluation for method in METHODS} | {"held_out"} == set(EVALUATIONS)
    run = Run(tier="smoke", eval_items=2)
    assert {name: named(name, run).name for name in EVALUATIONS} == {name: name for name in EVALUATIONS}
    assert small_world.small_world(2).name == evaluation_of(run).name == "small_world"
    assert evaluation_of(Run(tier="smoke", objective="rpt", eval_items=2)).name == "next_tokens"
    assert evaluation_of(Run(tier="paper", objective="rpt")) is None


def test_only_rpt_is_asked_for_next_tokens_and_the_rest_is_as_before(base, monkeypatch):
    monkeypatch.setattr(small_world, "spans", lambda *_, **__: [("sum", "Rome is [mask]", "old")])
    both = evaluation_of(Run(tier="smoke", objective="rpt", eval_items=2))(*base, 0)
    common = evaluation_of(Run(tier="smoke", eval_items=2))(*base, 0)
    assert both[: len(common)] == common == small_world.small_world(2)(*base, 0)
    assert {row["group"] for row in both[len(common) :]} == {next_tokens.REASONING, next_tokens.DIRECT}
    assert len({row["task"] for row in both}) == len(both)  # a task has one row a step


@pytest.mark.parametrize("corpus", ["tinywiki", "tinywiki_clean"])
def test_no_text_that_is_asked_about_is_in_what_any_run_reads(corpus, monkeypatch):
    """Neither one that is masked nor one that is cut before a token, for any seed that a study runs."""
    masked, cut = [], []
    monkeypatch.setattr(small_world, "spans", lambda passages, *_, **__: masked.extend(passages) or [])
    monkeypatch.setattr(next_tokens, "next_tokens", lambda scorer, tokenizer, texts, *_, **__: cut.extend(texts))
    evaluation_of(Run(tier="mini", corpus=corpus, objective="rpt"))
    asked = {*cut, *(passage.text for passage in masked)}
    assert len(masked) == 800 and len(cut) == 64 and len(asked) >= 800  # of the test's side, and of training's
    for seed in range(5):
        read = load_passages(corpus, limit=Run(tier="mini").corpus_limit, seed=seed)
        assert len(read) > 780 and not asked & {passage.text for passage in read}


def test_names_are_known_without_torch():
    code = "import sys; from pzlib.evaluation import EVALUATIONS, named; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


@pytest.fixture(scope="module")
def raw():
    """A model of the small world that has learned nothing, and its tokenizer."""
    words = tinybase.tokenizer()
    torch.manual_seed(0)
    return tinybase.new_model(96, words).eval(), words


def counted(rows=()):
    """An Evaluation that counts how often it asks, and its counts."""
    times = []
    return Evaluation("counted", lambda model, tokenizer, step: times.append(step) or list(rows), "this", (0, 9)), times


def test_a_model_is_asked_once_before_and_after_and_each_time_in_between(raw, home):
    ask, times = counted([{"task": "sum", "accuracy": 0.5}])
    assert [ask(*raw, step) for step in (0, 0, 9, 4, 4)] == [[{"task": "sum", "accuracy": 0.5}]] * 5
    assert times == [0, 4, 4]
    assert len([*home.glob("data/evaluations/.kept/*.json")]) == 1
    again, more = counted()  # another process, or another run from the same base
    assert again(*raw, 0) == [{"task": "sum", "accuracy": 0.5}] and more == []


@pytest.mark.parametrize("what", ["a weight", "a setting of a layer", "what is asked", "the tokenizer", "the source"])
def test_nothing_old_is_taken_once_something_has_changed(raw, home, what, monkeypatch):
    (model, words), (ask, times) = (copy.deepcopy(raw[0]), tinybase.tokenizer()), counted()
    ask(model, words, 0)
    if what == "a weight":  # by the least that a float can change, where `fingerprint` does not look
        weight = model.get_input_embeddings().weight
        with torch.no_grad():
            weight[1, 1] = torch.nextafter(weight[1, 1], torch.tensor(9.0))
    elif what == "a setting of a layer":
        model.config.rms_norm_eps *= 2
    elif what == "what is asked":
        ask = dataclasses.replace(ask, asked="that")
    elif what == "the tokenizer":
        words.add_tokens(["unheard"])
    else:
        monkeypatch.setattr(evaluation, "_source", lambda: "other files")
    ask(model, words, 0)
    assert times == [0, 0]


def test_a_run_is_asked_more_at_the_ends_and_each_question_is_of_an_instance(raw, monkeypatch, home):
    run = Run(tier="mini", steps=60, eval_items=4, eval_draws=2)
    ask, seen = evaluation_of(run), []
    monkeypatch.setattr(small_world, "clustered_ci", lambda *given: seen.append(given) or (0.0, 1.0))
    at = {step: {row["task"]: row for row in ask(*raw, step)} for step in (0, 50, 60)}
    assert {row["k"] for row in at[0].values()} == {8} == {row["k"] for row in at[60].values()}
    assert {row["k"] for row in at[50].values()} == {4}
    assert {*at[0]} - {*at[50]} == {small_world.TRAINING_SIDE}
    assert sum(row["n"] for row in at[0].values() if row["group"] == "depth") == at[0]["chain"]["n"] == 4 * 8
    assert all(len(values) == len(own) >= 1 for values, own in seen)
    assert all(1 < len({*own}) for values, own in seen if len(values) > 1)


TEXTS = sorted({run.corpus for name in STUDIES for _, run in arms_of(name, "mini") if not run.method.reads_problems})


@pytest.fixture(scope="module")
def asked():
    """{side: the sentences that masked words of evaluation are in}."""
    return {
        side: {s.strip() for p in small_world.held_out("tinywiki", 400, side) for s in p.text.split(" .") if s.strip()}
        for side in ("test", "validation", "train")
    }


@pytest.mark.parametrize("text", TEXTS)
def test_no_sentence_that_is_asked_about_is_in_a_text_of_training_but_set_phrases(text, asked):
    """Of masked words neither on the side of the test nor of validation; some of the training side. Of every text that
    a study reads."""
    seeds = range(3) if text == "tinywiki" else range(1)
    read = [p.text for seed in seeds for p in tinywiki.passages(text, 800, seed)]
    read = {sentence.strip() for text in read for sentence in text.split(" .")}
    phrases = {phrase.removesuffix(" .") for phrase in tinywiki.PLAIN}
    for side in ("test", "validation"):
        assert len(asked[side] - phrases) > 500 and asked[side] & read <= phrases
    if text == "tinywiki":
        assert len(asked["train"] & read - phrases) > 100


def test_no_question_is_of_an_instance_of_training():
    sides = ("train", "validation", "test")
    instances = {s: {f.instance for t in TASKS for f in small_world.exam(t, 64, side=s)} for s in sides}
    assert not (instances["test"] & instances["validation"]) and not (instances["test"] & instances["train"])


def test_the_validation_side_is_of_the_small_world_and_names_another_run():
    with pytest.raises(ValueError, match="eval_side: the world of paper has no validation questions"):
        Run(tier="paper", eval_side="validation")
    both = [Run(tier="mini", eval_side=side, eval_items=4) for side in ("test", "validation")]
    assert both[0].run_id != both[1].run_id and evaluation_of(both[0]).asked != evaluation_of(both[1]).asked
