"""Which masks are legal under which rule, what they leave of a passage, and what kind of word they hide."""

import json
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pzlib.masking import MASK, MAX_OCCURRENCES, RULES, apply_mask, random_span
from pzlib.prompts import parse_boxed
from pzlib.rewards import predictor_reward
from pzlib.words import kind_of, words

TEXT = "The ten men went on to Athens ; ten days later the men came to Tenedos ."


def masked_text(text, span, **rule):
    masked = apply_mask(text, span, **rule)
    return masked and masked.text


def test_default_rule_masks_every_occurrence_inside_words_too():
    masked = apply_mask("Ann likes bananas and Anna .", "an")
    assert masked.text == "Ann likes b[mask][mask]as [mask]d Anna ."
    assert (masked.target, masked.count, masked.span_starts) == ("an", 3, (11, 13, 18))


def test_words_rule_sees_complete_words_only():
    assert masked_text(TEXT, "men", rule="all").count(MASK) == 2
    assert masked_text(TEXT, "ten", rule="all") == TEXT.replace("ten", MASK)
    assert apply_mask("the catalogue", "cat", rule="words") is None
    masked = apply_mask("cat catalogue concat cat-flap cat's cat", "cat", rule="words")
    assert masked.text == "[mask] catalogue concat [mask]-flap [mask]'s [mask]"
    assert (masked.count, masked.span_starts) == (4, (0, 21, 30, 36))
    assert masked_text("a aa a a", "a a", rule="words") == "a aa [mask]"  # the first "a a" ends inside a word
    assert apply_mask("x_1 x_12", "x_1", rule="words").span_starts == (0,)
    assert apply_mask("3.14 and 3.1", "3.1", rule="words").span_starts == (9,)
    assert masked_text("f(x) = y", "(x) =", rule="words") == "f[mask] y"  # signs are no part of a word


def test_words_rule_and_combining_marks():
    assert apply_mask("cafe\u0301", "cafe", rule="words") is None  # the accent belongs to the word
    assert apply_mask("cafe\u0301 cafe", "cafe", rule="words").span_starts == (6,)
    assert apply_mask("東京都", "東京", rule="words").text == "[mask]都"  # no blanks: Unicode breaks at each ideograph
    assert apply_mask("नमस्ते", "नमस", rule="words") is None


def test_the_most_occurrences_are_a_setting():
    assert apply_mask("a b a", "a", most=1) is None and apply_mask("a b a", "a", most=2).count == 2
    spans = {random_span("Rome and Rome and Oslo", random.Random(seed), 1, most=1) for seed in range(60)}
    assert spans == {"Oslo"} or spans == {"Oslo", None}


def test_one_rule_masks_one_of_the_occurrences():
    drawn = Counter(apply_mask(TEXT, "men", "one", random.Random(seed)).span_starts for seed in range(200))
    assert set(drawn) == {(8,), (51,)} and min(drawn.values()) > 60
    masked = apply_mask(TEXT, "men", "one", random.Random(0))
    assert masked.count == 2 and masked.text.count(MASK) == 1
    assert apply_mask(TEXT, "men", "one", random.Random(0)) == masked


def test_one_rule_without_a_generator_is_a_function_of_passage_and_span():
    assert apply_mask(TEXT, "men", "one") == apply_mask(TEXT, "men", "one")
    starts = {apply_mask(f"{n} : ten or ten or ten", "ten", "one").span_starts for n in range(10, 60)}
    assert starts == {(5,), (12,), (19,)}  # other passages, other draws
    assert apply_mask("\ud800 a \ud800", "\ud800", "one").count == 2


@pytest.mark.parametrize("rule", RULES)
def test_seven_occurrences_are_legal_and_eight_are_not(rule):
    assert MAX_OCCURRENCES == 7  # fewer than 8
    assert apply_mask("to " * 7, "to", rule).count == 7
    assert apply_mask("to " * 8, "to", rule) is None
    assert apply_mask("to " * 1000, "to", rule) is None


def test_words_rule_counts_words_where_the_default_counts_characters():
    text = "at cat bat rat hat mat sat fat"
    assert apply_mask(text, "at", "all") is None
    assert apply_mask(text, "at", "words").count == 1


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("span", ["", " ", "\n\t", "men went to", "MEN", "the  men", "Sparta", TEXT + " "])
def test_illegal_spans_give_none(rule, span):
    assert apply_mask(TEXT, span, rule) is None


def test_matching_is_exact():
    assert apply_mask("café", "cafe\u0301") is None  # another Unicode form is another string
    assert masked_text("The the", "The") == "[mask] the"
    assert masked_text("in Paris now", " Paris") == "in[mask] now"  # a token with its leading space
    assert masked_text("aaa", "aa") == "[mask]a"  # not overlapping, as str.count
    assert masked_text("line one\nline two", "one\nline") == "line [mask] two"
    assert masked_text("a+b (c|d) .*", ".*") == "a+b (c|d) [mask]"  # no pattern, plain characters
    assert masked_text("all of it", "all of it") == MASK


def test_an_unknown_rule_is_refused_in_words():
    with pytest.raises(ValueError, match="rule: 'any' is not a mask rule; choose one of all, one, words"):
        apply_mask("a b", "a", "any")


texts = st.text(alphabet="aab \n.é\u0301\ud800[", max_size=40)


@given(texts, st.text(alphabet="aab \n.é\u0301\ud800", max_size=3), st.sampled_from(RULES))
def test_filling_the_mask_gives_the_passage_back(text, span, rule):
    masked = apply_mask(text, span, rule)
    legal = span.strip() != "" and 1 <= text.count(span) < 8
    if rule == "words":
        assert legal or masked is None or text.count(span) >= 8
    else:
        assert (masked is not None) == legal
    if masked is None:
        return
    assert masked.target == span
    assert masked.count == text.count(span) or rule == "words"
    assert len(masked.span_starts) == (1 if rule == "one" else masked.count)
    rebuilt, shift = masked.text, 0
    for start in masked.span_starts:
        assert text[start : start + len(span)] == span
        at = start + shift
        assert rebuilt[at : at + len(MASK)] == MASK
        shift += len(MASK) - len(span)
    if MASK not in text.replace(span, ""):
        assert masked.text.replace(MASK, span) == text
    if rule == "all":
        assert masked.text == text.replace(span, MASK)


@given(st.text(alphabet="ab. ,(\u0301\ud800", max_size=60), st.integers(0, 99), st.integers(1, 5))
def test_random_spans_are_whole_words_and_legal_under_every_rule(text, seed, max_words):
    span = random_span(text, random.Random(seed), max_words)
    if span is None:
        return
    assert 1 <= len(span.split()) and span == span.strip()
    assert all(apply_mask(text, span, rule, random.Random(0)) for rule in RULES)
    assert random_span(text, random.Random(seed), max_words) == span


def test_random_spans_have_uniform_lengths_and_places():
    text = " ".join(f"w{i:02d}" for i in range(30))
    spans = [random_span(text, random.Random(seed), 3) for seed in range(3000)]
    lengths = Counter(len(span.split()) for span in spans)
    assert set(lengths) == {1, 2, 3} and all(900 < count < 1100 for count in lengths.values())
    firsts = Counter(span.split()[0] for span in spans if len(span.split()) == 1)
    assert len(firsts) == 30 and max(firsts.values()) < 65


def test_random_spans_leave_outer_punctuation_and_frequent_words_alone():
    rng = random.Random(0)
    assert {random_span('"Well-known" (1,200): $x^2$ .', rng, 1) for _ in range(50)} == {
        "Well-known",
        "1,200",
        "x^2",
    }
    assert {random_span("so so so so so so so so rare", rng, 1) for _ in range(50)} <= {"rare", None}
    assert random_span("so " * 20, rng, 1) is None
    assert random_span("one two", rng, 9) in {"one", "two", "one two"}
    assert random_span(" . -- ! ", rng, 2) is None and random_span("", rng, 2) is None
    with pytest.raises(ValueError, match="max_words"):
        random_span("a b", rng, 0)


def test_kind_by_the_labels_of_a_world():
    #       0        9   13 16        26 29
    text = "Orrin is 120 m ; Tarn is 85 m ; 35 m less than Orrin"
    kinds = [
        (32, 34, "sum"),
        (0, 5, "irreducible"),
        (6, 8, "trivial"),
        (47, 52, "lookup"),
        (17, 21, "irreducible"),
    ]

    def kind(span, rule="all", rng=None):
        return kind_of(text, kinds, apply_mask(text, span, rule, rng))

    assert kind("35") == "sum"
    assert kind("35 m less") == "sum"
    assert kind("5 m le") == "sum"  # a part of a labelled word counts
    assert kind("is") == "trivial"
    assert kind("less than") == "trivial"  # unlabelled
    assert kind("35 m less than Orrin") == "sum"  # the first of two reasoning labels
    assert kind("Orrin") == "irreducible"  # every occurrence is hidden, the first mention too
    by_start = {0: "irreducible", 47: "lookup"}
    for seed in range(10):
        masked = apply_mask(text, "Orrin", "one", random.Random(seed))
        assert kind_of(text, kinds, masked) == by_start[masked.span_starts[0]]
    assert kind_of(text, kinds, apply_mask(text, " ; Tarn")) == "irreducible"
    both = [(0, 1, "sum"), (2, 4, "irreducible")]
    assert kind_of("5 K7", both, apply_mask("5 K7", "5 K7")) == "irreducible"
    # Touching ends is not overlapping.
    assert kind_of("ab", [(0, 1, "sum")], apply_mask("ab", "b")) == "trivial"
    assert kind_of("ab", [(1, 2, "sum")], apply_mask("ab", "a")) == "trivial"


@pytest.mark.parametrize(
    ("span", "kind"),
    [
        ("1912", "number"),
        ("March 1912", "number"),
        ("3rd", "number"),
        ("Marie Curie", "name"),
        ("the Rhine", "name"),
        ("The", "function"),
        ("of the", "function"),
        (",", "function"),
        ("stakes", "other"),
        ("the stakes", "other"),
        ("élan", "other"),
        ("Élan", "name"),
        ("東京", "other"),
    ],
)
def test_kind_of_real_words(span, kind):
    text = f"Then came {span} at last"
    assert kind_of(text, (), apply_mask(text, span)) == kind


def test_masks_on_real_articles(real_data):
    lines = (real_data / "wikipedia/articles.jsonl").read_text(encoding="utf-8").splitlines()
    rng, kinds = random.Random(0), Counter()
    for line in lines:
        text = json.loads(line)["text"]
        span = random_span(text, rng, 5)
        if span is None:
            continue
        for rule in RULES:
            masked = apply_mask(text, span, rule, rng)
            assert masked.text.replace(MASK, masked.target) == text
        kinds[kind_of(text, (), masked)] += 1
    assert set(kinds) == {"number", "name", "function", "other"} and kinds.total() > 300


@pytest.mark.parametrize(
    "text",
    [
        r"The set $\mathcal{C}_{k}$ is open.",
        r"Let $\frac{a}{b} \in F$ be it.",
        r"We write \emph{x} for {y z} and a} b {c.",
        r"A path C:\ and \{ a set \} here.",
    ],
)
def test_every_random_span_can_be_answered_in_a_box(text):
    rng = random.Random(0)
    spans = {random_span(text, rng, 3) for _ in range(300)} - {None}
    assert len(spans) > 3
    for span in spans:
        assert predictor_reward(parse_boxed(f"\\boxed{{{span}}}"), span) == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "貓坐在墊子上。然後牠睡著了，狗走了。", "これはペンです。あれは本です。",
        "ภาษาไทยเขียนติดกันไม่มีช่องว่างระหว่างคำ", "ខ្ញុំសរសេរភាសាខ្មែរ",
    ],  # fmt: skip
)
def test_a_script_without_blanks_has_words(text):
    rng = random.Random(0)
    spans = {random_span(text, rng, 3) for _ in range(200)}
    assert all(0 < len(span) <= len(text) / 2 for span in spans) and len(spans) > 8
    first, last = words(text)[1]
    assert apply_mask(text, text[first:last], "words") is not None
