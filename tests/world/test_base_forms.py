"""The text of the bases: prompts as runs ask them, half reasoned, nothing held out."""

import random
import re
from collections import Counter

import pytest

from pzlib.engine.generation import Answer
from pzlib.masking import Passage, apply_mask
from pzlib.objectives import method
from pzlib.prompts import parse_boxed, parse_mask
from pzlib.run import Run
from pzlib.world import forms
from pzlib.world.facts import STATED, TASKS, side_of
from pzlib.world.tinybase import STAGES, tokenizer
from pzlib.world.tinywiki import OTHER_SUMS, PLAIN, WORLDS, exam, passages

TOK = tokenizer()
ASKED = ("mask", "prediction", "cut", "segment", "question")


def documents(form, count, seed=0):
    rng = random.Random(f"{form}/{seed}")
    return [forms.FORMS[form](rng, 5) for _ in range(count)]


@pytest.mark.parametrize("form", ASKED)
def test_half_of_the_answers_reason_and_all_parse_and_fit_the_tier(form):
    asked = documents(form, 600)
    answers = [own for _, learned in asked for own in learned.split(" <eos> Mask : ")]
    assert 0.45 < sum(own.startswith("Think :") for own in answers) / len(answers) < 0.55
    parse = parse_mask if form == "mask" else parse_boxed
    run = Run(tier="mini")
    assert all(parse(own) for own in answers)
    assert max(len(TOK(own + " <eos>")["input_ids"]) for own in answers) <= run.max_completion_tokens
    assert max(len(TOK(read)["input_ids"]) for read, _ in asked) <= run.max_prompt_tokens


def test_every_kind_of_span_is_asked_for_and_reasoned_about_in_half():
    rng, found = random.Random(1), Counter()
    for _ in range(4000):
        flat, at = forms._drawn(rng, 5, "train")
        found[flat[at][1]] += 1
    classes = Counter()
    for kind, count in found.items():
        classes[forms.class_of(kind)] += count / 4000
    assert classes == pytest.approx({"trivial": 1 / 3, "irreducible": 1 / 3, "left": 1 / 6, "right": 1 / 6}, abs=0.03)
    for task in STATED:
        depths = range(1, 5) if task == "chain" else [""]
        for kind in (f"{task}_{depth}".rstrip("_") for depth in depths):
            assert found[kind] > 25, kind
    reasoned = [own for _, own in documents("prediction", 1500) if own.startswith("Think :")]
    names = {"a plain word": "plain", "nothing tells": "nothing"}
    said = Counter(next((name for words, name in names.items() if words in own), "why") for own in reasoned)
    assert all(0.25 < count / len(reasoned) < 0.42 for count in said.values())


def test_masks_are_in_their_passage_and_follow_what_is_quoted_of_it():
    for read, learned in documents("mask", 200):
        text = read.removeprefix("Passage : ").removesuffix(" Mask :")
        for own in learned.split(" <eos> Mask : "):
            said = parse_mask(own)
            assert apply_mask(text, said) is not None
            quoted = own.partition(" . ")[2] if own.startswith("Think :") else own
            quoted = re.search(r"([^.]*)\\mask\{", quoted)[1].strip()
            assert f"{quoted} {said}".strip() in text


def test_cuts_are_where_their_knobs_say_and_reason_from_the_left_alone():
    asked = documents("cut", 800)
    before = [len(read.split()) - 5 for read, _ in asked]  # Passage : ... [mask] Answer :
    assert min(before) == forms.FIRST_CUT == Run(tier="mini").min_context
    why = [own for _, own in asked if own.startswith("Think :")]
    deduced = [own for own in why if "nothing tells" not in own and "a plain word" not in own]
    assert 0.28 < len(deduced) / len(why) < 0.42  # 30 % sought, and what the others meet
    for read, own in asked:
        words = set(read.split())
        if own in deduced and (sums := re.findall(r"(\d\d) (?:plus|minus) (\w+) is (\d\d)", own)):
            made = {c for *_, c in sums}
            assert all({a, b} <= words | made for a, b, _ in sums)


def asked_by(objective, text, monkeypatch, **settings):
    """The prompts that a method's rows ask of one passage of that text, with every answer wrong."""
    run = Run(tier="mini", objective=objective, group=4, **settings)
    kind = ((0, len(text), "trivial"),)
    item = Passage(id="p", title="t", text=text, length=len(text.split()), kinds=kind)
    game = method(objective)(run, [item], TOK)
    prompts = []

    def ask(texts):
        prompts.extend(texts)
        ids = TOK("\\boxed{ the }")["input_ids"]
        return [[Answer([0], ids, "\\boxed{ the }", False, None)] * 4 for _ in texts]

    def read(questions, *_, **__):
        return [[-1.0] * len(own[1]) for own in questions]

    game.fill([item], ask, random.Random(0), 1, read)
    return prompts


def text_of(read):
    return read.removeprefix("Passage : ").split(" [mask] Answer :")[0]


@pytest.mark.parametrize("objective, form", [
    ("random_span", "prediction"), ("random_next_token", "cut"), ("rlpt", "segment"), ("pretrainzero", "mask"),
])  # fmt: skip
def test_prompts_are_those_that_runs_ask(objective, form, monkeypatch):
    text = passages("tinywiki", 1, seed=3)[0].text
    settings = {"rlpt": {"reward": "exact"}, "random_span": {"span_words": 1}}.get(objective, {})
    prompts = asked_by(objective, text, monkeypatch, **settings)
    monkeypatch.setattr(forms, "words", lambda *_: [(word, "trivial", "") for word in text.split()])
    monkeypatch.setattr(forms, "CLASSES", {"trivial": 1})
    monkeypatch.setattr(forms, "DEDUCIBLE_CUTS", 0)
    rng = random.Random(0)
    made = {forms.FORMS[form](rng, 5)[0] for _ in range(3000)}
    assert prompts and set(prompts) <= made


def test_rpt_rlp_and_questions_ask_in_the_same_words():
    from pzlib.objectives.rlp import FORMS
    from pzlib.objectives.rpt import rpt_prompt

    for read, own in documents("cut", 20):
        context = text_of(read)
        assert read == rpt_prompt(context, "tiny") == FORMS["tiny"].prompt(f"{context} ")
        thought, opened, rest = own.partition(FORMS["tiny"].closing)
        assert opened and len(rest.split()) == 2 and (not thought or thought.startswith("Think :"))
    problem = exam("sum", 1, side="train")[0]
    run = Run(tier="mini", objective="rlvr")
    asked = run.method.prompts(run, problem)
    assert asked == [f"Question : {problem.question} Answer :"]
    assert documents("question", 1)[0][0].startswith("Question : ")


def sentences(text):
    return set(re.findall(r"\S.*? \.(?= |$)", text))


def test_no_sentence_and_no_instance_of_another_side_is_in_the_text():
    rng = random.Random(5)
    shares = {form: share for form, share in STAGES[1].shares.items() if form != "laws"}
    pairs = [forms.document(rng, shares, 5) for _ in range(6000)]
    told = " ".join(f"{read} {learned}" for read, learned in pairs)
    said = set()
    for read, learned in pairs:
        said |= sentences(read.removeprefix("Passage : ")) | sentences(learned)
    for side in ("validation", "test"):
        other = {s for name in WORLDS for p in passages(f"{name}:left=0.3", 150, -1, side) for s in sentences(p.text)}
        assert said & other <= {*PLAIN, "This is a short account ."}
        for task in TASKS:
            assert not any(f"Question : {fact.question} Answer :" in told for fact in exam(task, 60, 0, side))
    laws = re.findall(r"(\d\d) (plus|minus) (\d\d) is", told)
    assert len(laws) > 3000
    for a, op, b in laws:
        assert side_of("add", *sorted((int(b), int(a) - int(b) * (op == "minus")))) == "train"


def test_the_sums_that_are_asked_are_told_as_laws_and_in_nothing_else():
    for read, learned in documents("laws", 100):
        lines = [f"{line} ." for line in learned.removesuffix(" .").split(" . ")]
        assert not read and len(lines) == 8 and set(lines) <= set(OTHER_SUMS)
    for line in OTHER_SUMS:
        a, op, b, _, c, _ = line.split()
        assert int(c) == int(a) + int(b) * (1 if op == "plus" else -1)
        assert side_of("add", *sorted((int(b), int(a) - int(b) * (op == "minus")))) != "train"
    assert all("laws" not in stage.shares for stage in STAGES[:1])


def test_every_word_is_known():
    for form in forms.FORMS:
        for read, learned in documents(form, 100):
            known = [word for word in f"{read} {learned}".split() if "[mask]" not in word]  # a masked "a" cuts words
            assert TOK.unk_token_id not in TOK(" ".join(known))["input_ids"]


def test_a_passage_has_at_most_as_many_words_as_a_run_reads():
    run = Run(tier="mini")
    for name in WORLDS:
        lengths = [p.length for p in passages(f"{name}:left=1", 200, seed=1)]
        assert run.min_tokens <= min(lengths) and max(lengths) <= run.max_tokens
