"""The second world: sides that share no instance and no sentence, a ladder of depth, words known from the left."""

import random
import re

import pytest

from pzlib.world.facts import SIDES, side_of
from pzlib.world.tinywiki import (
    KNOWLEDGE_2,
    PLAIN,
    SECOND,
    STATED,
    TASKS_2,
    deducible,
    exam,
    kind_class,
    passages,
    vocabulary,
    world,
)


def sentences(name, limit, seed, side):
    return {s for p in passages(name, limit, seed, side) for s in re.findall(r"\S.*? \.(?= |$)", p.text)}


def sums(text):
    """Every unordered pair of two-digit numbers that a reasoning or a law adds or takes apart."""
    found = re.findall(r"(\d\d) (plus|minus) (\d\d)", text)
    return {tuple(sorted((int(b), int(a) - int(b) * (op == "minus")))) for a, op, b in found}


@pytest.mark.parametrize("name", SECOND)
def test_sides_share_no_sentence_but_set_phrases(name):
    train = sentences(name, 1500, 1, "train")
    for side in ("validation", "test"):
        both = train & sentences(name, 200, -1, side)
        assert both <= {*PLAIN, "This is a short account ."}


@pytest.mark.parametrize("task", STATED)
def test_reasonings_are_right_and_each_kind_names_the_depth(task):
    rng = random.Random(2)
    for _ in range(300):
        fact = STATED[task](rng, "train")
        for word, kind, reason in fact.slots.values():
            assert (kind == "irreducible") == (not reason) and (not reason or word in reason.split())
            steps = re.findall(r"(\d+) (plus|minus) (\w+) is (\d+)", reason)
            for a, op, b, c in steps:
                b = int(b) if b.isdigit() else "two three four five six seven".split().index(b) + 2
                assert int(a) + (b if op == "plus" else -b) == int(c)
            if kind.startswith("chain"):
                assert len(steps) == int(kind[6]) == len(fact.instance.split()) - 2


def test_no_held_out_sum_is_in_any_text_of_training():
    rng = random.Random(3)
    said = " | ".join(KNOWLEDGE_2["sums"])
    for make in STATED.values():
        for _ in range(500):
            fact = make(rng, "train")
            said += " | " + " | ".join([fact.reason, *(reason for _, _, reason in fact.slots.values())])
    assert len(sums(said)) > 250 and all(side_of("add", *pair) == "train" for pair in sums(said))
    held = {pair for f in exam("sum", 64) + exam("difference", 64) for pair in sums(f.reason)}
    assert len(held) >= 60 and all(side_of("add", *pair) == "test" for pair in held)


def test_every_task_asks_sixty_instances_and_validation_others():
    for task in TASKS_2:
        asked = {side: exam(task, 64, 0, side) for side in SIDES}
        own = {side: {fact.instance for fact in facts} for side, facts in asked.items()}
        assert len(own["test"]) >= 60 and len(own["validation"]) >= 20, (task, {s: len(i) for s, i in own.items()})
        assert not (own["test"] & own["validation"] or (own["test"] | own["validation"]) & own["train"]), task
        assert len({fact.question for fact in asked["test"]}) == len(asked["test"])


def test_more_follows_from_the_left_where_its_knob_is_turned_up():
    shares = [deducible(f"tinywiki2:left={left}")["from the left"] for left in (0, 0.5, 1)]
    assert shares[0] < shares[1] < shares[2] and shares[2] > 1.5 * shares[0]
    for passage in passages("tinymath2:left=1", 50, seed=1):
        words = [passage.text[start:end] for start, end, _ in passage.kinds]
        assert all(words.count(w) == 1 for w, (*_, k) in zip(words, passage.kinds, strict=True)
                   if kind_class(k) == "reasoning")  # fmt: skip


def test_the_second_vocabulary_holds_every_word_of_every_side():
    known = set(vocabulary(2))
    for name in SECOND:
        for side in SIDES:
            assert {word for p in passages(f"{name}:left=0.3", 100, 1, side) for word in p.text.split()} <= known
    for task in TASKS_2:
        for side in SIDES:
            assert {w for f in exam(task, 40, 1, side) for w in f"{f.question} {f.reason}".split()} <= known


@pytest.mark.parametrize(
    "ask, why",
    [(lambda: world("tinywiki:left=0.5"), "corpus: tinywiki has no knob 'left'"),
     (lambda: passages("tinywiki", 1, 0, "test"), "side: tinywiki has no side 'test'"),
     (lambda: passages("tinywiki2", 1, 0, "tests"), "side: tinywiki2 has no side 'tests'")],
)  # fmt: skip
def test_what_a_world_does_not_have_is_refused(ask, why):
    with pytest.raises(ValueError, match=why):
        ask()
