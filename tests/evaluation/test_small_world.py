"""Scores on the small world: the questions asked, what counts as right, and that asking changes nothing."""

from dataclasses import replace

import pytest
import torch

from pzlib.corpus import load_passages
from pzlib.engine.models import to_ask
from pzlib.evaluation import small_world
from pzlib.prompts import TINY, predictor_prompt
from pzlib.run import Run
from pzlib.runs.folder import EVAL_COLUMNS
from pzlib.world import tinywiki
from pzlib.world.facts import GENERAL, MATH, TASKS, Fact


@pytest.fixture(scope="module")
def base():
    return to_ask(Run())


def test_questions_depend_on_their_seed_alone_and_differ():
    for task in TASKS:
        asked = small_world.exam(task, 20, seed=1)
        assert asked == small_world.exam(task, 20, seed=1)
        assert len({fact.question for fact in asked}) == len(asked) >= 10


def test_every_task_has_a_group():
    assert sorted((*GENERAL, *MATH)) == sorted(TASKS)


def test_answers_are_scored_by_their_last_box(monkeypatch):
    said = {"right": "\\boxed{ 12 }", "wrong": "Think : 12 . \\boxed{ 13 }", "none": "12"}
    facts = [Fact("", "", {}, name, "12", "", "chain 10 two") for name in said]
    monkeypatch.setattr(small_world, "exam", lambda task, *_: [replace(fact, task=task) for fact in facts])

    def complete(model, tokenizer, prompts, repeats, **_):
        return [said[p.split()[2]] for p in prompts for _ in range(repeats)], [7] * len(prompts) * repeats

    monkeypatch.setattr(small_world, "complete", complete)
    rows = small_world.tinybench(None, None, items=3, samples=2)
    assert [row["task"] for row in rows] == [*GENERAL, *MATH, "chain, 1 steps"]
    for row in rows:
        assert (row["n"], row["correct"], row["length"]) == (6, 2, 7)
        assert row["accuracy"] == row["reasoned"] == pytest.approx(1 / 3, abs=1e-6)


def test_spans_are_one_word_masks_of_every_kind():
    found = small_world.spans(tinywiki.passages("tinywiki", 200, 3), per_kind=5, seed=3)
    kinds = [kind for kind, _, _ in found]
    assert {"trivial", "irreducible", "two_step", "weekday_inverse"} <= set(kinds)
    assert all(kinds.count(kind) <= 5 for kind in kinds)
    assert all("[mask]" in masked and " " not in target for _, masked, target in found)


def test_the_masked_words_are_those_of_passages_that_no_run_reads(monkeypatch):
    asked = []

    def complete(model, tokenizer, prompts, repeats, **_):
        asked.extend(prompts)
        return ["no box"] * len(prompts) * repeats, [2] * len(prompts) * repeats

    monkeypatch.setattr(small_world, "complete", complete)
    small_world.small_world(items=16).ask(None, None, 0)
    before, after = predictor_prompt("|", TINY).split("|")
    parts = [prompt.removeprefix(before).removesuffix(after).split("[mask]") for prompt in asked if "[mask]" in prompt]
    assert len(parts) > 20

    def read(texts):
        return [any(all(part in text for part in own) for text in texts) for own in parts]

    kept = [p.text for side in ("test", "train") for p in small_world.held_out("tinywiki", 400, side)]
    assert all(read(kept))  # those of the training side are of passages that no run reads either
    for seed in range(3):
        assert not any(read([p.text for p in load_passages("tinywiki", limit=400, seed=seed)]))


def test_asking_is_repeatable_and_leaves_the_random_state_alone(base):
    ask = small_world.small_world(items=4, steps=5)
    torch.manual_seed(1)
    first = ask(*base, 0)
    drawn = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), drawn)
    assert first == ask(*base, 5)
    assert all({"step", *row} == set(EVAL_COLUMNS) for row in first)
    assert {row["group"] for row in ask(*base, 3)} == {"general", "math", "depth", "spans", "other spans"}
    assert {row["group"] for row in first} == {"general", "math", "depth", "spans", "other spans", "training side"}


def test_a_span_can_be_answered_in_a_given_way(base):
    items = small_world.spans(tinywiki.passages("tinywiki", 100, 3), per_kind=3)
    for start in ("", small_world.THINK, small_world.DIRECT):
        hits = small_world.span_accuracy(*base, items, repeats=2, start=start)
        assert [kind for kind, _ in hits] == [kind for kind, _, _ in items]
        assert all(0 <= n <= 2 for _, n in hits)


def test_a_row_tells_the_length_of_reasoned_answers_apart():
    scored = [(1.0, 16, True), (0.0, 4, False), (1.0, 18, True), (0.0, 4, False)]
    found = small_world.row("sum", "math", scored, 2, "digest")
    assert found["length"] == 10.5 and found["reasoned"] == 0.5 and found["length_reasoned"] == 17
    assert small_world.row("sum", "math", scored[1::2], 2, "digest")["length_reasoned"] is None
