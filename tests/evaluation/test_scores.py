"""Verdicts, scores and comparisons against numbers worked by hand; what is counted, and told."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pzlib.evaluation.benchmarks import Item
from pzlib.evaluation.scores import answer, compare, mark, notices, score
from pzlib.verify import Verdict


def item(n, gold="B", options=0, source=""):
    return Item(str(n), source, f"question {n}", options, gold)


def said(*completions, cut=False):
    return {"prompt": "?", "completions": list(completions), "cut": cut}


def record(n, right, source="", why=None, gold="B", answers=None, cut=False):
    why = why or ["right" if hit else "wrong" for hit in right]
    answers = answers or ["x"] * len(right)
    told = {"id": str(n), "key": f"key{n}", "source": source, "gold": gold, "cut": cut}
    return told | {"right": right, "why": why, "answers": answers}


class Grader:
    """As MathVerifier, by equality; keeps what it was asked."""

    def grade(self, golds, predictions):
        self.asked = list(zip(golds, predictions, strict=True))
        whys = ["no answer" if p is None else "right" if g == p else "wrong" for g, p in self.asked]
        return [Verdict(why == "right", why) for why in whys]


@pytest.mark.parametrize(
    ("task", "completion", "style", "options", "read"),
    [
        ("mmlu_pro", r"So \boxed{C}.", "boxed", 4, "C"),
        ("mmlu_pro", r"So \boxed{E}.", "boxed", 4, None),
        ("mmlu_pro", "The answer is (C).", "stock", 10, "C"),
        ("gsm8k", "So 3 + 4 = 7. The answer is 7.", "stock", 0, "7"),
        ("gsm8k", "The answer is $1,200.50.\n\nQ: ...", "stock", 0, "$1,200.50"),
        ("gsm8k", "The answer is 7. She keeps 7. The answer is 8.", "stock", 0, "7"),
        ("gsm8k", "The answer is 7 apples", "stock", 0, "7 apples"),
        ("gsm8k", "The answer is \n", "stock", 0, None),
        ("gsm8k", "It is 7.", "stock", 0, None),
        ("math500", r"Final Answer: The final answer is $\frac12$. I hope it is correct.", "stock", 0, r"$\frac12$"),
        ("math500", r"\boxed{1}, no, \boxed{\frac{1}{2}}", "boxed", 0, r"\frac{1}{2}"),
        ("math500", r"\boxed{\frac{1}{2", "boxed", 0, None),
        ("tinybench", r"Think : 1 . \boxed{ 52 }", "tiny", 0, "52"),
        ("tinybench", r"\boxed{ }", "tiny", 0, None),
    ],
)
def test_answers_are_read_as_the_prompt_asked(task, completion, style, options, read):
    assert answer(task, completion, style, options) == read


def test_a_megabyte_is_read_in_no_time():
    long = ("The answer is " * 80_000, "The answer is x" + " " * 1_000_000 + "y", ". " * 500_000, "\\boxed{" * 150_000)
    for text in long:
        for style in ("boxed", "stock"):
            started = time.monotonic()
            answer("gsm8k", text, style)
            assert time.monotonic() - started < 5


def test_letters_are_right_wrong_unread_or_without_a_gold():
    asked = [item(0, options=3), item(1, options=3), item(2, options=3, gold=None)]
    replies = [said(r"\boxed{B}", r"\boxed{A}"), said("Hm.", r"\boxed{D}"), said(r"\boxed{A}", "Hm.")]
    records = mark("mmlu_pro", asked, replies)
    assert [r["answers"] for r in records] == [["B", "A"], [None, None], ["A", None]]
    assert [r["why"] for r in records] == [["right", "wrong"], ["no answer"] * 2, ["unparsable gold", "no answer"]]
    assert [r["right"] for r in records] == [[True, False], [False, False], [False, False]]


def test_mathematics_goes_to_the_verifier_in_one_batch_with_its_golds():
    grader = Grader()
    records = mark("gsm8k", [item(0, "7"), item(1, "8")], [said(r"\boxed{7}", "Hm."), said(r"\boxed{9}", "")],
                   verifier=grader)  # fmt: skip
    assert grader.asked == [("7", "7"), ("7", None), ("8", "9"), ("8", None)]
    assert [r["why"] for r in records] == [["right", "no answer"], ["wrong", "no answer"]]


def test_bbeh_is_compared_its_own_way():
    (one,) = mark("bbeh", [item(0, "yes, no")], [said(r"\boxed{Yes,No}", r"\boxed{no, yes}")])
    assert one["right"] == [True, False]


def test_a_random_option_only_when_asked_for_seeded_and_counted():
    asked = [item(n, options=4, gold="A") for n in range(400)]
    replies = [said("Hm.") for _ in asked]
    assert not any(r["right"][0] for r in mark("mmlu_pro", asked, replies))
    drawn = mark("mmlu_pro", asked, replies, random_option=3)
    assert drawn == mark("mmlu_pro", asked, replies, random_option=3)
    assert drawn != mark("mmlu_pro", asked, replies, random_option=4)
    assert 0.18 < sum(r["right"][0] for r in drawn) / 400 < 0.32  # a quarter
    (row,) = score(drawn)
    assert (row["drawn"], row["unparsed"], row["unparsed_share"]) == (400, 400, 1.0)


def test_a_random_option_is_for_choices_only():
    (one,) = mark("bbeh", [item(0, "B")], [said("Hm.")], random_option=0)
    assert one["why"] == ["no answer"]


def test_scores_by_hand():
    records = [record(0, [True, True, False, False]), record(1, [False] * 4), record(2, [True] * 4)]
    mean, several = score(records)
    assert (mean["metric"], mean["n"], mean["k"], mean["score"], mean["sources"]) == ("mean@4", 3, 4, 0.5, None)
    assert (several["metric"], several["score"]) == ("pass@4", pytest.approx(2 / 3))
    records = [record(n, [n < 2] + [False] * 15) for n in range(4)]
    mean, eight, sixteen = score(records)
    assert mean["score"] == pytest.approx(2 / 64)
    assert (eight["metric"], eight["score"]) == ("pass@8", pytest.approx(2 / 4 * 8 / 16))  # half of the draws find it
    assert (sixteen["metric"], sixteen["score"]) == ("pass@16", 0.5)


def test_a_shared_source_widens_the_interval():
    right = [True, True, True, False, False, False, True, True]
    alone = score([record(n, [hit]) for n, hit in enumerate(right)])[0]
    shared = score([record(n, [hit], source="abcd"[n // 2]) for n, hit in enumerate(right)])[0]
    assert shared["sources"] == 4 and shared["score"] == alone["score"]
    assert shared["low"] < alone["low"] < alone["high"] < shared["high"]


def test_what_went_wrong_is_counted_by_completion_or_question():
    records = [
        record(0, [False, False], why=["timeout", "too long"]),
        record(1, [False, False], why=["unparsable answer", "no answer"], answers=["x", None], cut=True),
        record(2, [False, False], why=["unparsable gold"] * 2),
        record(3, [False, False], why=["crashed", "no answer"], answers=["x", None], gold=None),
    ]
    row = score(records)[0]
    assert (row["timeouts"], row["unparsed"], row["unparsable_golds"], row["prompts_cut"]) == (3, 3, 2, 1)
    assert notices("amc23", row | {"drawn": 0}) == [
        "amc23: 3 of 8 completions give no answer",
        "amc23: 3 answers went beyond the grader's limits of time or size and count as wrong",
        "amc23: 2 golds cannot be read; their questions count as wrong",
        "amc23: 1 prompts were longer than the model reads and lost their beginning",
    ]


def test_a_comparison_by_hand():
    ours = [record(n, [True]) for n in range(5)]
    theirs = [record(n, [n == 0, False]) for n in range(5)]  # 1/2 on one question, nothing on the others
    random.Random(0).shuffle(theirs)  # in any order
    found = compare(ours, theirs)
    assert found["difference"] == pytest.approx((0.5 + 4) / 5)
    assert (found["p"], found["n"], found["sources"]) == (2 / 32, 5, None)
    assert compare(theirs, ours)["difference"] == -found["difference"]


def test_questions_of_one_source_count_together():
    sources = "aaaab"
    ours = [record(n, [True], source=s) for n, s in enumerate(sources)]
    theirs = [record(n, [False], source=s) for n, s in enumerate(sources)]
    found = compare(ours, theirs)
    assert found["difference"] == pytest.approx(1.0)
    assert (found["p"], found["n"], found["sources"]) == (0.5, 5, 2)  # two sources have four patterns of signs


def test_a_question_that_is_asked_twice_counts_twice():
    ours = [record(0, [True]), record(0, [False]), record(1, [True])]
    theirs = [record(0, [False]), record(1, [False]), record(0, [False])]
    assert compare(ours, theirs)["difference"] == pytest.approx(2 / 3)


def test_other_questions_are_refused():
    with pytest.raises(ValueError, match="1 questions are common to the 2 of one and the 1 of the other"):
        compare([record(0, [True]), record(1, [True])], [record(0, [True])])


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=2, max_size=12), st.integers(1, 4))
def test_a_score_lies_in_its_interval_and_pass_at_k_above_the_mean(right, sources):
    records = [record(n, hits, source=str(n % sources)) for n, hits in enumerate(right)]
    mean, some = score(records)
    assert mean["low"] - 1e-9 <= mean["score"] <= mean["high"] + 1e-9
    assert some["score"] >= mean["score"]
    assert compare(records, records)["difference"] == 0
