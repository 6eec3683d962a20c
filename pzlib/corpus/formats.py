"""Rows of any source: files of every format, folders, hub data sets and lists, by one loader with clear errors.
Left out: cleaning and cutting, done later. The paper reads one Wikipedia dump (PretrainZero sec. 4.1)."""

import bz2
import codecs
import csv
import difflib
import gzip
import json
import lzma
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from pzlib.corpus import tex, wiki
from pzlib.corpus.cutting import blocks, lines, whole
from pzlib.errors import near_names
from pzlib.hub import hub_answers, misspelt

SHUFFLE_BUFFER = 10_000  # rows of a hub stream that are mixed before the first is taken
_OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_DAMAGED = (EOFError, OSError, SyntaxError, zlib.error, lzma.LZMAError, csv.Error)  # of XML, a SyntaxError


@dataclass(frozen=True)
class Article:
    """A text with its paragraphs unmade: `split` makes them later, and only if the article is drawn."""

    id: str
    title: str
    text: str
    split: Callable[[str], list[str]] = lines


class Row(NamedTuple):
    """What a source holds at one place: columns, an Article of a text file, or an item of a list as it is."""

    item: dict | Article | object
    number: int
    where: str


class Column:
    """A named column of rows. `of` gives its value in a row, None where that row has no such column.

    name: "a.b" is the column of that very name or else the field b of the column a; "a+b" is the text of both columns,
    a blank line between them.

    >>> Column("gold.value", "answer_column").of(Row({"gold": {"value": 5}}, 0, "the list"))
    5
    >>> Column("ask+tell", "corpus_column").of(Row({"ask": "1 + 1?", "tell": "It is 2."}, 0, "the list"))
    '1 + 1?\\n\\nIt is 2.'
    """

    def __init__(self, name: str, setting: str):
        self.name, self.setting, self.found, self.missing = name, setting, False, ""

    def of(self, row: Row):
        if not isinstance(row.item, dict):
            raise ValueError(f"corpus: {row.where} is {type(row.item).__name__}, not a row with named columns")
        try:
            value = _value(row.item, self.name)
        except KeyError as error:
            self.missing = self.missing or f"{self.setting}: {row.where} has no column {self.name!r}; {error.args[0]}"
            return None
        self.found = True
        return value

    def check(self) -> None:
        """ValueError where rows were asked and none of them had the column."""
        if self.missing and not self.found:
            raise ValueError(self.missing)


def _value(row: dict, name: str):
    if name in row:
        return row[name]
    if "+" in name:
        parts = [_value(row, part) for part in name.split("+")]
        return None if None in parts else "\n\n".join(map(str, parts))
    for dot in re.finditer(r"\.", name):
        if isinstance(row.get(name[: dot.start()]), dict):
            return _value(row[name[: dot.start()]], name[dot.end() :])
    raise KeyError(near_names(name, list(row)))


def rows(
    source, field: str, split: str = "train", config: str | None = None, seed: int | None = None, worlds=()
) -> Iterator[Row]:
    """The rows of a list, a file, a folder of files or of a saved data set, or a hub data set, in their order.

    field: the setting that named the source, with which every error begins. seed: a hub data set is streamed and
    mixed by it; None: it is loaded whole and in order. worlds: names that are read elsewhere, for a misspelt one.
    Errors: FileNotFoundError; ValueError for another format or encoding, a damaged file, a line that is not an object.
    """
    if not isinstance(source, str | Path):
        return (Row(item, n, f"item {n} of the list") for n, item in enumerate(source))
    path = Path(source).expanduser()
    if path.is_dir():
        return _folder(path, field, split)
    if path.is_file():
        return _file(path, field)
    if not is_hub(source):
        raise FileNotFoundError(f"{field}: {str(source)!r} does not exist (looked in {Path.cwd()})")
    near = difflib.get_close_matches(source.partition(":")[0], worlds, cutoff=0.8)
    if why := f"did you mean {' or '.join(near)}?" if near else misspelt(source):  # before the hub takes its time
        raise FileNotFoundError(f"{field}: {source!r} is not a world, a file or a folder; {why}")
    return _hub(source, field, split, config, seed)


def records(path: Path | str, field: str) -> list[dict]:
    """The rows of a file with named columns, in order; blank lines are none. Errors as those of `rows`."""
    found = [row.item for row in rows(Path(path), field)]
    if any(isinstance(item, Article) for item in found):
        raise ValueError(f"{field}: {path} is of no known format with columns; give .jsonl, .json, .csv or .parquet")
    return found


def is_hub(source) -> bool:
    """Whether `source` can only be a hub data set: `name` or `owner/name`, maybe `:config`, and no path."""
    if not isinstance(source, str) or Path(source).expanduser().exists() or _reader(Path(source)):
        return False
    return bool(re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?(:[\w.-]+)?", source))


def _reader(path: Path) -> Callable | None:
    *_, packed, last = "", "", *path.name.lower().split(".")[1:]
    if f".{last}" in _OPENERS:
        return _READERS.get(f".{packed}") if packed != "parquet" else None
    return _READERS.get(f".{last}")


def _file(path: Path, field: str) -> Iterator[Row]:
    from pyarrow import ArrowInvalid

    if (reader := _reader(path)) is None:
        packed = ", ".join(_OPENERS)
        raise ValueError(f"{field}: {path} is of no known format; known are {', '.join(_READERS)} (text also {packed})")
    try:
        yield from reader(path, field)
    except (*_DAMAGED, ArrowInvalid) as error:
        if isinstance(error, OSError) and error.errno:  # the system's own words, e.g. permission denied
            raise
        foreign = "is not parquet" if isinstance(error, ArrowInvalid) else "cut short"
        raise ValueError(f"{field}: {path} is damaged or {foreign} ({error}); fetch or pack it again") from error


def _open(path: Path):
    return _OPENERS.get(path.suffix.lower(), open)(path, "rb")


def _lines(path: Path, field: str) -> Iterator[tuple[int, str]]:
    with _open(path) as file:
        for n, line in enumerate(file, 1):
            if n == 1 and (line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in line):
                raise ValueError(f"{field}: {path} is UTF-16; convert it: `iconv -f utf-16 -t utf-8 {path.name}`")
            try:
                yield n, line.decode("utf-8-sig" if n == 1 else "utf-8")
            except UnicodeDecodeError as error:
                remedy = f"convert the file, e.g. `iconv -f latin1 -t utf-8 {path.name}`"
                raise ValueError(f"{field}: line {n} of {path} is not UTF-8 ({error.reason}); {remedy}") from error


def _loads(text: str):
    value = json.loads(text)
    halves = re.search(r"\\u[dD][89a-fA-F]", text)
    return json.loads(whole(json.dumps(value, ensure_ascii=False))) if halves else value


def _jsonl(path: Path, field: str) -> Iterator[Row]:
    for n, line in _lines(path, field):
        if not line.strip():
            continue
        where = f"line {n} of {path}"
        try:
            row = _loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{field}: {where} is not JSON ({error}); give one object a line") from error
        if not isinstance(row, dict):
            raise ValueError(f"{field}: {where} is not an object with named columns but {type(row).__name__}")
        yield Row(row, n - 1, where)


def _json(path: Path, field: str) -> Iterator[Row]:
    try:
        found = _loads("".join(line for _, line in _lines(path, field)))
    except json.JSONDecodeError as error:
        raise ValueError(f"{field}: {path} is not JSON ({error}); give the whole file") from error
    found = found.get("examples") if isinstance(found, dict) else found  # BBEH's files hold {"examples": [...]}
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise ValueError(f"{field}: {path} does not hold a list of objects")
    return _numbered(found, path)


def _csv(path: Path, field: str) -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)
    return _numbered(csv.DictReader(line for _, line in _lines(path, field)), path)


def _text(path: Path, field: str) -> Iterator[Row]:
    text = "".join(line for _, line in _lines(path, field))
    name = path.name.split(".")[0]
    if text.strip():
        yield Row(Article(name, name, text, tex.paragraphs if ".tex" in path.name.lower() else blocks), 0, str(path))


def _parquet(path: Path, field: str) -> Iterator[Row]:
    from pyarrow import parquet

    batches = parquet.ParquetFile(path).iter_batches(1000)
    return _numbered((row for batch in batches for row in batch.to_pylist()), path)


def _dump(path: Path, field: str) -> Iterator[Row]:
    from xml.etree.ElementTree import iterparse

    with _open(path) as file:
        events = iterparse(file, events=("start", "end"))
        _, root = next(events)
        namespace, _, name = root.tag.rpartition("mediawiki")
        if name or not root.tag.endswith("mediawiki"):
            raise ValueError(f"{field}: {path} is not a MediaWiki dump; of XML, only the export of a wiki is read")
        names, newest, n = set(wiki.NAMES), ((), ""), 0
        for event, node in events:
            kind, text = node.tag.removeprefix(namespace), partial(node.findtext, default="")
            if event == "start":
                continue
            if kind == "namespace" and node.get("key") in {"-2", "6", "14"}:  # media, files, categories
                names.add((node.text or "").lower())
            elif kind == "revision":
                age = (text(f"{namespace}timestamp"), len(text(f"{namespace}id")), text(f"{namespace}id"))
                newest = max(newest, (age, text(f"{namespace}text")), key=itemgetter(0))
                node.clear()  # of a history, most is never needed
            elif kind == "page":
                article = text(f"{namespace}ns") in {"0", ""} and node.find(f"{namespace}redirect") is None
                shown = newest[1] if article else ""  # another page is read and counted, but has nothing to cut
                split = partial(wiki.paragraphs, names=frozenset(names))
                made = Article(text(f"{namespace}id"), text(f"{namespace}title"), shown, split)
                yield Row(made, n, f"{path} (page {n})")
                newest, n = ((), ""), n + 1
                root.clear()


_READERS = {
    ".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".parquet": _parquet, ".txt": _text, ".tex": _text, ".xml": _dump,
}  # fmt: skip


def _folder(path: Path, field: str, split: str) -> Iterator[Row]:
    if (path / "state.json").exists() or (path / "dataset_dict.json").exists():
        import datasets

        saved = datasets.load_from_disk(str(path))
        if isinstance(saved, datasets.DatasetDict):
            if split not in saved:
                raise ValueError(f"split: {split!r} is not in {path}; it has {list(saved)}")
            saved = saved[split]
        yield from _numbered(saved, path)
        return
    files = sorted(file for file in path.iterdir() if file.is_file() and _reader(file) and file.name[0] != ".")
    if not files:
        raise ValueError(f"{field}: folder {path} holds no saved data set and no file of {', '.join(_READERS)}")
    for file in files:
        yield from _file(file, field)


def _hub(name: str, field: str, split: str, config: str | None, seed: int | None) -> Iterator[Row]:
    import datasets

    repository, _, inline = name.partition(":")
    hub_answers()
    try:
        found = datasets.load_dataset(repository, config or inline or None, split=split, streaming=seed is not None)
        if seed is not None:
            found = found.shuffle(seed=seed, buffer_size=SHUFFLE_BUFFER)
        yield from _numbered(found, f"hub data set {name}")
    except (OSError, ValueError) as error:  # no network, no such name, a config or split to be chosen
        why = f"{field}: {repository!r} is not a file here, and cannot be read as a data set of the hub ({error})"
        raise ValueError(f"{why}; check name, network, `split` and the config, as in name:config") from error


def _numbered(items: Iterable, where: str | Path) -> Iterator[Row]:
    return (Row(item, n, f"row {n} of {where}") for n, item in enumerate(items))
