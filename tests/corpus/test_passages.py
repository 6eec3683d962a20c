"""Any text to passages: equal samples for equal seeds, duplicates and markers counted, bad settings named."""

import re
import subprocess
import sys

import pytest
from prose import ARTICLE, SENTENCE, Bytes, load

from pzlib import corpus
from pzlib.corpus import Corpus, cutting, load_passages
from pzlib.masking import Passage


def test_sample_is_a_function_of_the_seed():
    source = ["\n".join(f"{SENTENCE.format(n=p)} It is of part {n}." for p in range(40)) for n in range(30)]
    a, b, c = load(source, limit=7, seed=1), load(source, limit=7, seed=1), load(source, limit=7, seed=2)
    assert len(a) == 7 and a == b and a.digest == b.digest
    assert a.digest != c.digest and [p.text for p in a] != [p.text for p in c]
    assert len({p.id.split(".")[0] for p in a}) > 1  # not the paragraphs of one article


def test_without_a_limit_all_is_kept_in_seeded_order():
    source = [SENTENCE.format(n=n) for n in range(20)]
    a, b = load(source, seed=1), load(source, seed=2)
    assert {p.text for p in a} == {p.text for p in b} == set(source)
    assert [p.text for p in a] != [p.text for p in b]


def test_order_does_not_depend_on_how_many_articles_fit_in_memory(monkeypatch):
    source = [SENTENCE.format(n=n) for n in range(50)]
    whole = load(source, seed=3)
    monkeypatch.setattr(corpus, "HELD_ARTICLES", 4)
    assert load(source, seed=3) == whole


def test_exact_duplicates_are_left_out_and_ids_stay_unique():
    corpus = load(
        [{"id": "a", "text": SENTENCE}, {"id": "a", "text": SENTENCE}, {"id": "a", "text": SENTENCE + " So."}]
    )
    assert corpus.report["duplicates"] == 1 and corpus.report["kept"] == 2 == len({p.id for p in corpus})


def test_markers_are_refused_and_counted():
    marked = [SENTENCE + " [mask]", SENTENCE + r" $\mask{a}$", SENTENCE + r" $\boxed{7}$", SENTENCE]
    refused = load(marked)
    assert [p.text for p in refused] == [SENTENCE] and refused.report["markers"] == 3


def test_report_accounts_for_every_piece():
    source = [SENTENCE.format(n=n) for n in range(9)] + [
        SENTENCE.format(n=0),
        "Too short.",
        SENTENCE + " [mask]",
    ]
    report = load(source, limit=4).report
    assert report["read"] == report["articles"] == 12
    assert report["too_short"] == report["duplicates"] == report["markers"] == 1
    assert report["kept"] == 4 and report["beyond_limit"] == 5


def test_corpus_is_a_sequence():
    corpus = load([ARTICLE])
    assert isinstance(corpus, Corpus) and isinstance(corpus[0], Passage) and len(list(corpus)) == len(corpus) == 4
    assert corpus[1:3] == corpus.items[1:3] and len(corpus.digest) == 64


def test_ready_passages_keep_their_kinds_and_are_only_checked():
    ready = [
        Passage("a", "t", "One two three 471 .", 5, ((14, 17, "irreducible"),)),
        Passage("b", "t", "Short .", 2),
    ]
    corpus = load(ready)
    assert corpus.items == (ready[0],) and corpus.report["too_short"] == 1


def test_a_world_is_made_on_demand():
    corpus = load("tinywiki", min_tokens=16, limit=5, seed=3)
    assert len(corpus) == 5 and all(p.kinds for p in corpus)
    with pytest.raises(ValueError, match="corpus_limit"):
        load("tinywiki")


def test_empty_folder_and_empty_list(tmp_path):
    with pytest.raises(ValueError, match="corpus: folder .* holds no"):
        load(tmp_path)
    with pytest.raises(ValueError, match="corpus: .* is empty"):
        load([])
    with pytest.raises(ValueError, match="corpus: item 1 .*int"):
        load(["text", 5])


@pytest.mark.parametrize(
    ("text", "named", "message"),
    [
        (SENTENCE, {"min_tokens": 50}, "min_tokens: .*50.*16.*lower"),
        ("And " + "on and " * 60 + "on.", {}, "max_tokens: .*100.*raise"),
        (SENTENCE + " [mask]", {}, r"corpus: all 1 passages hold \[mask\]"),
    ],
)
def test_no_passage_left(text, named, message):
    with pytest.raises(ValueError, match=message):
        load([text], **named)


@pytest.mark.parametrize(
    "named",
    [{"min_tokens": 0}, {"min_tokens": 10, "max_tokens": 9}, {"limit": 0}],
)
def test_bad_settings(named):
    with pytest.raises(ValueError, match=next(iter(named)).replace("limit", "corpus_limit")):
        load([SENTENCE], **named)


def test_import_is_light():
    code = "import sys, pzlib.corpus; assert not {'torch', 'transformers', 'datasets'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "name, said", [("tinywki", "did you mean tinywiki"), ("notebooks/wiki", "there is no notebooks/wiki")]
)
def test_a_misspelt_name_is_refused_before_the_hub_is_asked(name, said, monkeypatch):
    monkeypatch.setattr("pzlib.corpus.formats._hub", lambda *_: pytest.fail("the hub was asked"))
    with pytest.raises(FileNotFoundError, match=f"corpus: '{name}' is not a world, a file or a folder; {said}"):
        load_passages(name, limit=3)


ENDS = re.compile(r"""[.!?…]["'”’»)\]}]*(\s*\\end\{\w+\})?\$*$""")
MARKUP = re.compile(r"\{\{|\}\}|\[\[[A-Z]|'{3}|</?(ref|br|div|span)|\b(thumb\||File:)|\ufffc|[\ue000-\ue003]")
HOLES = re.compile(r"\(\s*[;,)]|\(\s| [,;](\s|$)")


WIKIPEDIA = ["wikipedia/articles.jsonl", "wikipedia/pages-articles-excerpt.xml.bz2"]


@pytest.mark.parametrize(
    ("source", "limit"),
    [
        *((source, 50) for source in WIKIPEDIA),
        ("math_text", None),
        *(pytest.param(source, None, marks=pytest.mark.slow) for source in WIKIPEDIA),
    ],
)
def test_real_text_is_clean_prose(real_data, source, limit):
    corpus = load_passages(real_data / source, min_tokens=32, max_tokens=200, limit=limit, progress=False)
    assert len(corpus) == limit or len(corpus) > 800
    for passage in corpus:
        assert 32 <= passage.length == len(passage.text.split()) <= 200
        assert ENDS.search(passage.text), passage
        prose = cutting._FORMULA.sub("F", passage.text)
        assert not MARKUP.search(prose) and not HOLES.search(prose), passage
        if source == "math_text":
            assert not re.search(r"\\[a-zA-Z]|[{}$]", prose), passage


def test_real_text_with_a_byte_level_tokenizer(real_data):
    corpus = load(real_data / "wikipedia/articles.jsonl", tokenizer=Bytes(), min_tokens=200, max_tokens=600, limit=50)
    assert len(corpus) == 50 and all(200 <= len(p.text.encode()) == p.length <= 600 for p in corpus)


def test_columns_are_joined_and_a_row_that_lacks_one_is_left_out(tmp_path):
    rows = [
        {"problem": "How much is one and one?", "solution": "It is two, as anyone knows who has two hands."},
        {"problem": "And two and two?"},
    ]
    corpus = load_passages(rows, column="problem+solution", min_tokens=3)
    text = " ".join(p.text for p in corpus)
    assert "one and one" in text and "as anyone knows" in text and "two and two" not in text
