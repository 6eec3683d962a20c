"""Any text to passages: every format, whole sentences, equal samples for equal seeds, bad input named."""

import bz2
import gzip
import json
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pzlib.corpus import cutting, formats, passages
from pzlib.corpus.passages import Corpus, load_passages
from pzlib.corpus.tex import latex
from pzlib.corpus.wiki import wikitext
from pzlib.masking import Passage

SENTENCE = "The river {n} runs from the hills to the sea and turns {n} mills along it."  # 16 words
ARTICLE = "\n".join(" ".join(SENTENCE.format(n=10 * p + s) for s in range(3)) for p in range(4))


def load(source, **named):
    return load_passages(source, **({"min_tokens": 4, "max_tokens": 100} | named))


def texts(source, **named):
    return sorted(p.text for p in load(source, **named))


class Bytes:
    """A tokenizer of bytes: many tokens a word, so that bounds in tokens differ from bounds in words."""

    def encode(self, text, **_):
        return list(text.encode())


# ---- cutting


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
    assert texts([f"{body}\n{hole} And it goes on, as ever, and on."]) == [body]
    apart = f"{body} He went , he said , far .".replace("it.", "it .")  # signs set apart everywhere are no holes
    assert len(texts([f"{apart}\n{apart} Then it was seen , by all ."])) == 2


def test_a_cut_needs_a_stop():
    text = f"They are used as they stand; Yuen {'and others ' * 8}are not. {SENTENCE.format(n=1)}"
    assert texts([text], max_tokens=22) == [SENTENCE.format(n=1)]


# ---- sampling, duplicates, markers


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
    monkeypatch.setattr(passages, "HELD_ARTICLES", 4)
    assert load(source, seed=3) == whole


def test_exact_duplicates_are_left_out_and_ids_stay_unique():
    corpus = load(
        [{"id": "a", "text": SENTENCE}, {"id": "a", "text": SENTENCE}, {"id": "a", "text": SENTENCE + " So."}]
    )
    assert corpus.report["duplicates"] == 1 and corpus.report["kept"] == 2 == len({p.id for p in corpus})


def test_markers_are_refused_or_escaped_and_counted():
    marked = [SENTENCE + " [mask]", SENTENCE + r" $\mask{a}$", SENTENCE + r" $\boxed{7}$", SENTENCE]
    refused = load(marked)
    assert [p.text for p in refused] == [SENTENCE] and refused.report["markers"] == 3
    escaped = load(marked, markers="escape")
    assert len(escaped) == 4 and escaped.report["markers"] == 3
    assert not re.search(r"\[mask\]|\\mask\{|\\boxed\{", " ".join(p.text for p in escaped))
    assert SENTENCE + " $7$" in {p.text for p in escaped} or SENTENCE + " ${7}$" in {p.text for p in escaped}


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


# ---- formats

ROWS = [{"id": f"a{n}", "title": f"T{n}", "text": SENTENCE.format(n=n)} for n in range(3)]
EXPECTED = sorted(row["text"] for row in ROWS)


def write(path, data):
    opened = {".gz": gzip.open, ".bz2": bz2.open}.get(path.suffix, open)
    with opened(path, "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())
    return path


def jsonl(rows):
    return "\n".join(json.dumps(row) for row in rows) + "\n"


def dump(*pages):
    body = "".join(
        f"<page><title>{title}</title><ns>{ns}</ns><id>{n}</id>{extra}<revision><id>9</id><text>{text}</text></revision></page>"
        for n, (title, ns, extra, text) in enumerate(pages)
    )
    return f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/">{body}</mediawiki>'


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.bz2"])
def test_jsonl(tmp_path, name):
    corpus = load(str(write(tmp_path / name, "\ufeff" + jsonl(ROWS) + "\n")))
    assert sorted(p.text for p in corpus) == EXPECTED
    assert {(p.id, p.title) for p in corpus} == {("a0.0", "T0"), ("a1.0", "T1"), ("a2.0", "T2")}


def test_parquet_and_other_columns(tmp_path):
    import pandas

    frame = pandas.DataFrame(ROWS).rename(columns={"text": "body", "id": "key", "title": "name"})
    frame.to_parquet(tmp_path / "a.parquet")
    corpus = load(tmp_path / "a.parquet", column="body", id_column="key", title_column="name")
    assert sorted(p.text for p in corpus) == EXPECTED and {p.title for p in corpus} == {"T0", "T1", "T2"}


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_txt_paragraphs_are_split_by_blank_lines_and_unwrapped(tmp_path, name):
    text = "\r\n\r\n".join(t.replace(" and ", "\r\nand ") for t in EXPECTED)
    assert texts(write(tmp_path / name, text)) == EXPECTED


@pytest.mark.parametrize("name", ["a.xml", "a.xml.bz2"])
def test_mediawiki_dump(tmp_path, name):
    pages = [
        ("A", 0, "", f"'''{EXPECTED[0]}'''&lt;ref&gt;Note.&lt;/ref&gt;"),
        ("B", 0, '<redirect title="A"/>', "#REDIRECT [[A]]\n\nThis page has moved to another place."),
        ("Talk:A", 1, "", EXPECTED[1]),
    ]
    corpus = load(write(tmp_path / name, dump(*pages)))
    assert [(p.id, p.title, p.text) for p in corpus] == [("0.0", "A", EXPECTED[0])]
    assert corpus.report["read"] == 3 and corpus.report["articles"] == 1


def test_saved_dataset_and_splits(tmp_path):
    import datasets

    rows = datasets.Dataset.from_list(ROWS)
    rows.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"test": rows}).save_to_disk(tmp_path / "many")
    assert texts(tmp_path / "one") == texts(tmp_path / "many", split="test") == EXPECTED
    assert texts(rows) == EXPECTED  # a data set in memory is an iterable of dicts
    with pytest.raises(ValueError, match=r"split: 'train' is not in .*'test'"):
        load(tmp_path / "many")


def test_folder_of_tex(tmp_path):
    write(tmp_path / "b.tex", EXPECTED[1])
    write(tmp_path / "a.tex", EXPECTED[0])
    corpus = load(tmp_path)
    assert sorted((p.id, p.title) for p in corpus) == [("a.0", "a"), ("b.0", "b")]


def test_hub_is_streamed_and_read_only_as_far_as_needed(monkeypatch):
    import datasets

    asked, read = [], []

    def rows():
        for n in range(100_000):
            read.append(n)
            yield {"text": SENTENCE.format(n=n), "title": "t"}

    def load_dataset(*args, **named):
        asked.append((args, named))
        return datasets.IterableDataset.from_generator(rows)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(formats, "SHUFFLE_BUFFER", 50)
    a = load("owner/name:20231101.en", limit=3, seed=1)
    assert asked == [(("owner/name", "20231101.en"), {"split": "train", "streaming": True})]
    assert len(a) == 3 and len(read) < 1000
    assert a.digest == load("owner/name", config="20231101.en", limit=3, seed=1).digest
    assert a.digest != load("owner/name", limit=3, seed=2).digest


# ---- markup


@pytest.mark.parametrize(
    ("markup", "prose"),
    [
        (
            "'''Bold''' and ''italic'' [[link|text]]s, [[plain]] & [http://x.y site].",
            "Bold and italic texts, plain & site.",
        ),
        ("A word{{citation needed|date=May 2015}} ({{IPA|x}}; {{lang-la|albus}}).", "A word (albus)."),
        ("It is {{convert|10|km|mi}} or {{convert|2|to|3|ft}} away.", "It is 10 km or 2 to 3 ft away."),
        ("In {{lang|fr|''Le Mot''}} H<sub>2</sub>O is 10<sup>8</sup>&nbsp;m.", "In Le Mot H2O is 10^8 m."),
        ("[[File:A.jpg|thumb|A [[cat]].]]A cat.[[Category:Cats]][[fr:Chat]]<!-- no -->", "A cat."),
        ("{|\n|a||b\n|}\nAfter the table.", "After the table."),
        ("Energy is <math>E = mc^2</math> here.", "Energy is $E = mc^2$ here."),
        ("The value is {{some unknown|thing}} today.", None),
        ("A {{broken template.", None),
        ("* item one\n# item two\n: indented\n; term", None),
    ],
)
def test_wikitext(markup, prose):
    assert [p for p in wikitext(markup) if p] == ([prose] if prose else [])


def test_wikitext_sections_break():
    assert wikitext("One.\n\n== Two ==\n{{main|X}}\nThree\nfour.") == ["One.", "", "Three four."]


@pytest.mark.parametrize(
    ("source", "prose"),
    [
        (r"\emph{Real \textbf{numbers}}\index{real} are {\it here}. % remark", "Real numbers are here."),
        (
            r"Erd\H{o}s, G\"odel, \'Etale, na\"{\i}ve \& 5\% of \$3---so ``quoted''~x.",
            "Erdős, Gödel, Étale, naïve & 5% of $3—so “quoted” x.",
        ),
        (
            r"See \cite{B} and \thmref{t}, Lemma \ref{l}, Theorem \ref{t}.",
            "See [1] and Theorem 2, Lemma 3, Theorem 2.",
        ),
        (
            "Take $x \\in\n \\R$ and\n\\begin{equation*}\nx = 1 . % c\n\\end{equation*}",
            r"Take $x \in \R$ and $$x = 1 .$$",
        ),
        (
            "\\begin{align}\\label{a}\na &= b \\\\\nc &= d\n\\end{align}",
            r"$$\begin{aligned} a &= b \\ c &= d \end{aligned}$$",
        ),
        (
            r"We ask: \begin{enumerate}[(i)] \item first, \item second. \end{enumerate}",
            "We ask: (1) first, (2) second.",
        ),
        ("A.\\footnote{With {nested} braces.} B.", "A. B."),
        (r"Unbalanced \emph{brace stays.", "Unbalanced brace stays."),
        (r"\begin{figure}\caption{No.}\end{figure}Text.", "Text."),
    ],
)
def test_latex(source, prose):
    assert [p for p in latex(source) if p] == [prose]


def test_latex_sections_and_theorems_are_paragraphs():
    source = "\\section{One}\nText\n%comment\nwraps.\n\n"
    source += "\\begin{lemma}[Zorn] \\label{l}\nA lemma.\n\\end{lemma}\nAfter."
    assert [p for p in latex(source) if p] == ["Text wraps.", "A lemma.", "After."]


# ---- bad input


@pytest.mark.parametrize("source", ["no/such/file.jsonl", "./nothing", "/no/such", "missing.parquet", "a/b/c"])
def test_missing_path(source):
    with pytest.raises(FileNotFoundError, match=r"corpus: .*does not exist"):
        load(source)


def test_hub_name_that_cannot_be_opened(monkeypatch):
    import datasets

    def load_dataset(*args, **named):
        raise ConnectionError("offline")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(ValueError, match=r"corpus: 'owner/name' .*offline.*name:config"):
        load("owner/name")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.txt", "", "corpus: .*a.txt is empty"),
        ("a.jsonl", "\n", "corpus: .*a.jsonl is empty"),
        ("a.jsonl.gz", "", "corpus: .* is empty"),
        ("a.txt", "caf\xe9 ".encode("latin-1") * 50, "corpus: .*a.txt is not UTF-8 .*iconv"),
        ("a.jsonl", b'{"text": "ok"}\n{"text": "\xff"}\n', "corpus: line 2 of .*not UTF-8"),
        ("a.jsonl", '{"text": "ok"}\n{"text": \n', "corpus: line 2 of .* is not JSON"),
        ("a.jsonl", '["ok"]\n', "corpus: line 1 of .* is not an object with named columns"),
        ("a.jsonl", '{"text": 5}\n', "corpus_column: 'text' of .*line 1.* is int, not text"),
        (
            "a.jsonl",
            '{"body": "x", "id": 1}\n',
            "corpus_column: .*a.jsonl.* has no column 'text'; known: body, id",
        ),
        ("a.docx", "x", r"corpus: .*a.docx is of no known format.*\.jsonl"),
        ("a.xml", "<rss></rss>", "corpus: .*a.xml is no MediaWiki dump"),
        ("a.xml", "<mediawiki><page><title>A", "corpus: .*a.xml is damaged"),
        ("a.parquet", b"PAR1 nonsense", "corpus: .*a.parquet is damaged"),
        ("a.jsonl.gz", b"", "corpus: .* is empty"),
    ],
)
def test_bad_files(tmp_path, name, data, message):
    with pytest.raises(ValueError, match=message):
        load(write(tmp_path / name, data))


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.bz2", "a.xml.bz2", "a.txt.gz"])
def test_truncated_and_foreign_compression(tmp_path, name):
    import random

    noise = random.Random(0).randbytes(20_000).hex()
    path = write(tmp_path / name, dump(("A", 0, "", noise)) if ".xml" in name else jsonl([{"text": noise}] * 20))
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"not compressed at all"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"corpus: .*{name} is damaged or cut short.*again"):
            load(path)


def test_parquet_without_the_column(tmp_path):
    import pandas

    pandas.DataFrame({"body": ["x"]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="corpus_column: .*a.parquet.* has no column 'text'; known: body"):
        load(tmp_path / "a.parquet")


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
        (SENTENCE + " [mask]", {}, "markers: .*escape"),
    ],
)
def test_no_passage_left(text, named, message):
    with pytest.raises(ValueError, match=message):
        load([text], **named)


@pytest.mark.parametrize(
    "named",
    [{"min_tokens": 0}, {"min_tokens": 10, "max_tokens": 9}, {"limit": 0}, {"markers": "keep"}],
)
def test_bad_settings(named):
    with pytest.raises(ValueError, match=next(iter(named)).replace("limit", "corpus_limit")):
        load([SENTENCE], **named)


def test_import_is_light():
    code = "import sys, pzlib.corpus.passages; assert not {'torch', 'transformers', 'datasets'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- real text

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


@pytest.mark.parametrize(
    "name, said", [("tinywki", "did you mean tinywiki"), ("notebooks/wiki", "there is no notebooks/wiki")]
)
def test_a_misspelt_name_is_refused_before_the_hub_is_asked(name, said, monkeypatch):
    monkeypatch.setattr("pzlib.corpus.formats._hub", lambda *_: pytest.fail("the hub was asked"))
    with pytest.raises(FileNotFoundError, match=f"corpus: '{name}' is no world, file or folder; {said}"):
        load_passages(name, limit=3)
