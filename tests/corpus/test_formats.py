"""One loader of rows: every format alike, and what cannot be read named by file and line."""

import json

import pytest
from prose import SENTENCE, dump, jsonl, load, texts, write

from pzlib.corpus import formats, load_problems
from pzlib.corpus.formats import records

ROWS = [{"id": f"a{n}", "title": f"T{n}", "text": SENTENCE.format(n=n)} for n in range(3)]
EXPECTED = sorted(row["text"] for row in ROWS)


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
        ("a.xml", "<rss></rss>", "corpus: .*a.xml is not a MediaWiki dump"),
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


# ---- reported elsewhere

FULL = "The cat sat on the mat for a long day and slept."
HALF = "The cat \\ud83d sat on \\ude00 the mat for a \\ud83d\\ude00 day."


@pytest.mark.parametrize("name", ["a.JSONL", "a.Jsonl.GZ", "a.json.bz2", "a.csv.xz", "a.TXT.bz2"])
def test_every_kind_of_file_is_read_in_every_packing(tmp_path, name):
    data = {"json": json.dumps([{"text": FULL}]), "csv": f"text,id\n{FULL},1\n", "txt": FULL}
    kind = name.lower().split(".")[1]
    packed = write(tmp_path / name.lower(), data.get(kind, jsonl([{"text": FULL}]))).rename(tmp_path / name)
    assert texts(packed) == [FULL]


@pytest.mark.parametrize("name", ["p.jsonl.bz2", "p.JSONL", "p.csv.gz", "p.json.xz"])
def test_problems_are_read_from_the_same_files(tmp_path, name):
    rows = [{"question": "What is 2 + 3?", "answer": "5"}]
    kind = name.lower().split(".")[1]
    data = {"csv": "question,answer\nWhat is 2 + 3?,5\n", "json": json.dumps(rows)}.get(kind, jsonl(rows))
    path = write(tmp_path / name.lower(), data).rename(tmp_path / name)
    assert [(p.question, p.answer) for p in load_problems(path)] == [("What is 2 + 3?", "5")]
    assert records(path, "data") == rows
    (tmp_path / "._p.jsonl").write_bytes(b"\0\5\x16\7junk")
    assert len(load_problems(tmp_path)) == 1  # a folder of files, but for those of macOS


def test_half_surrogates_are_replaced(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": "{HALF}", "id": "a\\udc00"}}\n')
    whole = "The cat \ufffd sat on \ufffd the mat for a 😀 day."
    assert [(p.text, p.id) for p in load(path)] == [(whole, "a\ufffd.0")]
    assert texts([json.loads(f'"{HALF}"')]) == [whole]
    assert records(path, "data")[0]["text"] == whole
    rows = [{"question": "Which \ud83d?", "answer": "\udc00"}]
    assert [(p.question, p.answer) for p in load_problems(rows)] == [("Which \ufffd?", "\ufffd")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv.gz"])
def test_utf_16_is_named(tmp_path, encoding, name):
    path = write(tmp_path / name, jsonl([{"text": FULL}]).encode(encoding))
    with pytest.raises(ValueError, match=f"corpus: .*{name} is UTF-16; convert it: `iconv -f utf-16"):
        load(path)
    if name != "a.txt":
        with pytest.raises(ValueError, match="data: .* is UTF-16"):
            records(path, "data")


def test_rows_without_the_column_are_left_out_and_counted(tmp_path):
    rows = [{"text": FULL}, {"body": "x"}, {"text": None}, {"text": f"{FULL} So."}]
    for source in (rows, write(tmp_path / "a.jsonl", jsonl(rows))):
        report = load(source).report
        assert (report["read"], report["no_text"], report["kept"]) == (4, 2, 2)
    with pytest.raises(ValueError, match="corpus_column: item 0 of the list has no column 'text'; known: body"):
        load([{"body": "x"}] * 5000)


def test_columns_with_dots_and_fields_of_columns():
    rows = [{"meta.text": FULL}, {"meta": {"text": f"{FULL} So."}}, {"meta": {"a.b": 1}}]
    corpus = load(rows, column="meta.text")
    assert sorted(p.text for p in corpus) == [FULL, f"{FULL} So."] and corpus.report["no_text"] == 1


def test_wrapped_lines_of_scripts_without_blanks(tmp_path):
    assert texts(write(tmp_path / "a.txt", "貓坐在墊\n子上。然後\n牠睡著了。"), min_tokens=1) == [
        "貓坐在墊子上。然後牠睡著了。"
    ]
    assert texts(write(tmp_path / "b.txt", "แมว\nนั่ง."), min_tokens=1) == ["แมวนั่ง."]
    assert texts(write(tmp_path / "c.txt", "고양이가\n앉았다."), min_tokens=1) == ["고양이가 앉았다."]
    mixed = write(tmp_path / "d.txt", "我用\nPython 寫\n程式。")
    assert texts(mixed, min_tokens=1) == ["我用 Python 寫程式。"]


def test_reported_cases(cases):
    assert texts(cases / "surrogate.jsonl") == [
        "The cat \ufffd sat on the mat for a long day and it slept well there for a while."
    ]
    assert texts(cases / "wrapped_cjk.txt", min_tokens=1) == ["貓坐在墊子上。然後牠睡著了。"]
    assert texts(cases / "hidden") == ["The cat sat on the mat for a long day."]
    with pytest.raises(ValueError, match="utf16.txt is UTF-16"):
        load(cases / "utf16.txt")
