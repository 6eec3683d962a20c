"""Paragraphs to pieces: whole sentences, even parts, and all that is dropped counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prose import ARTICLE, SENTENCE, Bytes, load, texts

from pzlib.corpus.cutting import normal_form


def test_paragraph_within_bounds_is_a_passage_as_it_stands():
    corpus = load([ARTICLE], max_tokens=48)
    assert texts([ARTICLE], max_tokens=48) == sorted(ARTICLE.split("\n"))
    assert {p.length for p in corpus} == {48}
    assert {p.id for p in corpus} == {"0.0", "0.1", "0.2", "0.3"}


def test_long_paragraph_is_cut_at_sentence_ends_into_even_parts():
    paragraph = " ".join(SENTENCE.format(n=n) for n in range(4))
    corpus = load([paragraph], max_tokens=40)
    assert sorted(p.length for p in corpus) == [32, 32]
    assert corpus.report["cut"] == 1
    assert " ".join(p.text for p in sorted(corpus, key=lambda p: p.id)) == paragraph


def test_short_paragraphs_are_merged_forwards_and_the_last_one_backwards():
    lines = [SENTENCE.format(n=n) for n in range(3)]
    assert texts(["\n".join(lines)], min_tokens=20) == [" ".join(lines)]


def test_an_overlong_sentence_is_dropped_counted_and_never_bridged():
    first, last = SENTENCE.format(n=1), SENTENCE.format(n=2)
    corpus = load([f"{first} And {'on and ' * 60}on. {last}"], max_tokens=20)
    assert sorted(p.text for p in corpus) == [first, last]
    assert corpus.report["too_long"] == 1


def test_headings_lists_and_open_sentences_are_not_prose():
    body = SENTENCE.format(n=1)
    article = f"Early life and work.\n{body} It has three parts:\nApples\nPears\nReferences"
    corpus = load([article])
    assert [p.text for p in corpus] == [body]
    assert corpus.report["not_prose"] == 5


@pytest.mark.parametrize(
    "text",
    [
        "Dr. J. R. Smith of the U.S. paid $3.5 million, e.g. in Fig. 5, to St. John's Inc. in May.",
        "He said that $f(x) = 0. Then$ is a formula and that $$x = 1. \\text{ So } y.$$ is one too.",
    ],
)
def test_abbreviations_numbers_and_formulas_do_not_end_a_sentence(text):
    other = SENTENCE.format(n=1)
    assert texts([f"{text} {other}"], max_tokens=25) == sorted([text, other])
    assert texts([f"{text} {other}"], max_tokens=16) == [other]  # no part of a sentence that is too long


def test_lengths_are_tokens_of_the_tokenizer():
    corpus = load([ARTICLE], tokenizer=Bytes(), min_tokens=50, max_tokens=160)
    assert all(p.length == len(p.text.encode()) and 50 <= p.length <= 160 for p in corpus)
    assert corpus.report["cut"] == 4


words = st.text("abcdefgh", min_size=1, max_size=8)
sentences = st.lists(words, min_size=1, max_size=12).map(lambda w: " ".join(w).capitalize() + ".")
paragraphs = st.lists(sentences, min_size=1, max_size=12).map(" ".join)


@given(st.lists(paragraphs, min_size=1, max_size=5).map("\n".join), st.integers(1, 10), st.integers(0, 30))
def test_whatever_the_text_passages_keep_the_bounds_and_end_with_a_sentence(article, low, width):
    try:
        corpus = load([article], min_tokens=low, max_tokens=low + width)
    except ValueError as error:
        assert str(error).startswith(("min_tokens:", "max_tokens:", "corpus:"))
        return
    assert len({p.text for p in corpus}) == len({p.id for p in corpus}) == len(corpus)
    for passage in corpus:
        assert low <= passage.length == len(passage.text.split()) <= low + width
        assert passage.text.endswith(".") and passage.text in article.replace("\n", " ")


@pytest.mark.parametrize("hole", ["Cats ( ; felis) purr.", "It is , so they say.", "Cats.<ref name=x> Dogs."])
def test_paragraphs_with_a_hole_are_left_out_of_articles(hole):
    body = SENTENCE.format(n=1)
    corpus = load([f"{body}\n{hole} And it goes on, as ever, and on."])
    assert [p.text for p in corpus] == [body] and corpus.report["torn"] == 1
    apart = f"{body} He went , he said , far .".replace("it.", "it .")  # signs set apart everywhere are no holes
    assert len(texts([f"{apart}\n{apart} Then it was seen , by all ."])) == 2


def test_a_cut_needs_a_stop():
    text = f"They are used as they stand; Yuen {'and others ' * 8}are not. {SENTENCE.format(n=1)}"
    assert texts([text], max_tokens=22) == [SENTENCE.format(n=1)]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("cafe\u0301 and A\u030angstro\u0308m", "café and Ångström"),
        ("10\u00a0km, 5\u202f000, a\u2009b", "10 km, 5 000, a b"),
        ("soft\u00adly \u200bso\ufeff and \u2060here\u200e", "softly so and here"),
        ("e\u200cn\u200dd", "end"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # Persian is spelt with it
        ("👩\u200d🔬 is one", "👩\u200d🔬 is one"),
        ("plain text, as it is", "plain text, as it is"),
    ],
)
def test_equal_words_have_one_form(text, read):
    assert normal_form(text) == read == normal_form(read)
    body = SENTENCE.format(n=1)
    corpus = load([f"{body} It is {text} here."])
    assert [p.text for p in corpus] == [f"{body} It is {read} here."]
    assert corpus.report["normalised"] == (text != read)


def test_paragraphs_that_hold_an_unknown_object_are_counted():
    body = SENTENCE.format(n=1)
    corpus = load([f"{body}\nIt is \ufffc and so on, as it was."])
    assert [p.text for p in corpus] == [body] and corpus.report["unrendered"] == 1


def test_pieces_of_a_script_without_blanks_are_joined_as_they_are_written():
    assert texts(["貓坐在墊子上。\n牠睡著了。"], tokenizer=Bytes(), min_tokens=30) == ["貓坐在墊子上。牠睡著了。"]
