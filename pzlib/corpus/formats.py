"""Formats to articles: every file, folder, hub data set or list of `load_passages`, with errors in words.
Left out: cleaning and cutting, done later. The paper reads one Wikipedia dump (PretrainZero sec. 4.1)."""

from __future__ import annotations

import bz2
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pzlib.corpus.cutting import blocks, lines
from pzlib.corpus.tex import latex
from pzlib.corpus.wiki import wikitext

FORMATS = (".jsonl", ".jsonl.gz", ".parquet")



def records(path: Path | str, field: str) -> list[dict]:
    """The rows of a file, in order; blank lines are none.

    field: the setting that named the file, with which every error begins. Errors: FileNotFoundError; ValueError for
    another format, a damaged file, text that is not UTF-8, a line that is no JSON object.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{field}: {str(path)!r} does not exist (looked in {Path.cwd()})")
    if path.suffix == ".parquet":
        from pyarrow import ArrowInvalid, parquet

        try:
            return parquet.ParquetFile(path).read().to_pylist()
        except ArrowInvalid as error:
            raise ValueError(f"{field}: {path} is not parquet ({error}); give the whole file") from error
    if not path.name.endswith(FORMATS):
        raise ValueError(f"{field}: {path} is of no known format; known are {', '.join(FORMATS)}")
    try:
        packed = path.read_bytes()
        text = (gzip.decompress(packed) if path.suffix == ".gz" else packed).decode("utf-8-sig")
    except (UnicodeDecodeError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{field}: {path} is damaged or not UTF-8 ({error}); fetch or convert it again") from error
    # Not splitlines(), which also splits at signs that a JSON string may hold, such as U+2028.
    lines = enumerate(text.split("\n"), 1)
    return [_object(line, f"{field}: line {n} of {path}") for n, line in lines if line.strip()]



def _object(line: str, where: str) -> dict:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is not JSON ({error}); give one object a line") from error
    if not isinstance(row, dict):
        raise ValueError(f"{where} is not an object with named columns but {type(row).__name__}")
    return row


SHUFFLE_BUFFER = 10_000  # rows of a hub stream that are mixed before the first is taken

_OPENERS = {".gz": gzip.open, ".bz2": bz2.open}



class Columns(NamedTuple):
    text: str
    title: str
    id: str



@dataclass(frozen=True)
class Article:
    """One record as read; `split` makes paragraphs of its text, later and only if the article is drawn."""

    id: str
    title: str
    text: str
    split: Callable[[str], list[str]]



def read(source, columns: Columns, split: str, config: str | None, seed: int) -> Iterator[Article | object]:
    """Articles of a source of `load_passages` in the order they lie (a hub stream: mixed by `seed`)."""
    if not isinstance(source, str | Path):
        return _items(source, columns)
    path = Path(source).expanduser()
    if path.is_dir():
        return _folder(path, columns, split)
    if path.is_file():
        return _file(path, columns)
    if is_hub(source):
        return _hub(source, columns, split, config, seed)
    raise FileNotFoundError(
        f"corpus: {str(source)!r} does not exist (looked in {Path.cwd()}); give a file, folder or hub name"
    )



def is_hub(source) -> bool:
    """Whether `source` can only be a hub data set: `name` or `owner/name`, maybe `:config`, and no path."""
    if not isinstance(source, str) or Path(source).expanduser().exists() or _format(Path(source)):
        return False
    return bool(re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?(:[\w.-]+)?", source))



def _items(items: Iterable, columns: Columns) -> Iterator:
    for n, item in enumerate(items):
        if isinstance(item, str):
            yield Article(str(n), "", item, lines)
        elif isinstance(item, dict):
            yield from _record(item, columns, n, f"item {n} of the list")
        elif hasattr(item, "kinds"):  # a Passage, ready
            yield item
        else:
            raise ValueError(
                f"corpus: item {n} of the list is {type(item).__name__}; give strings, dicts or passages"
            )



def _record(row: dict, columns: Columns, n: int, where: str) -> Iterator[Article]:
    _check_column(columns.text, list(row), where)
    text = row[columns.text]
    if text is None:
        return
    if not isinstance(text, str):
        kind = type(text).__name__
        raise ValueError(
            f"corpus_column: {columns.text!r} of {where} is {kind}, not text; name another column"
        )
    yield Article(str(row.get(columns.id, n)), str(row.get(columns.title) or ""), text, lines)



def _check_column(column: str, names: list[str], where: str) -> None:
    if column not in names:
        raise ValueError(f"corpus_column: {column!r} is not a column of {where}; it has {names}")



def _format(path: Path) -> Callable | None:
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] in _OPENERS:
        suffixes.pop()
        return _FORMATS.get(suffixes[-1]) if suffixes and suffixes[-1] != ".parquet" else None
    return _FORMATS.get(suffixes[-1]) if suffixes else None



def _file(path: Path, columns: Columns) -> Iterator[Article]:
    reader = _format(path)
    if reader is None:
        raise ValueError(
            f"corpus: {path} is of no known format; known are {', '.join(_FORMATS)} (text also .gz, .bz2)"
        )
    with _said_in_words(path):
        if path.stat().st_size == 0:
            raise ValueError(f"corpus: {path} is empty; give a file that holds text")
        yield from reader(path, columns)



@contextmanager
def _said_in_words(path: Path):
    from xml.etree.ElementTree import ParseError

    import pyarrow

    try:
        yield
    except (EOFError, zlib.error, OSError, ParseError, pyarrow.ArrowInvalid) as error:
        if isinstance(error, OSError) and error.errno:  # the system's own words, e.g. permission denied
            raise
        raise ValueError(
            f"corpus: {path} is damaged or cut short ({error}); fetch or pack it again"
        ) from error



def _text_lines(path: Path) -> Iterator[tuple[int, str]]:
    with _OPENERS.get(path.suffix.lower(), open)(path, "rb") as file:
        for n, line in enumerate(file, 1):
            try:
                yield n, line.decode("utf-8-sig" if n == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"corpus: line {n} of {path} is not UTF-8 ({error.reason}); convert the file, e.g. "
                    f"`iconv -f latin1 -t utf-8 {path.name}`"
                ) from error



def _jsonl(path: Path, columns: Columns) -> Iterator[Article]:
    for n, line in _text_lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"corpus: line {n} of {path} is not JSON ({error}); each line must be one object"
            ) from error
        if not isinstance(row, dict):
            raise ValueError(f"corpus: line {n} of {path} is not a JSON object but {type(row).__name__}")
        yield from _record(row, columns, n - 1, f"{path} (line {n})")



def _text(path: Path, columns: Columns) -> Iterator[Article]:
    text = "".join(line for _, line in _text_lines(path))
    name = path.name.split(".")[0]
    if text.strip():
        yield Article(name, name, text, latex if ".tex" in path.suffixes else blocks)



def _parquet(path: Path, columns: Columns) -> Iterator[Article]:
    from pyarrow import parquet

    file = parquet.ParquetFile(path)
    names = file.schema_arrow.names
    _check_column(columns.text, names, str(path))
    n = 0
    for batch in file.iter_batches(1000, columns=[name for name in dict.fromkeys(columns) if name in names]):
        for row in batch.to_pylist():
            yield from _record(row, columns, n, f"{path} (row {n})")
            n += 1



def _dump(path: Path, columns: Columns) -> Iterator[Article]:
    from xml.etree.ElementTree import iterparse

    with _OPENERS.get(path.suffix.lower(), open)(path, "rb") as file:
        events = iterparse(file, events=("start", "end"))
        _, root = next(events)
        namespace, _, name = root.tag.rpartition("mediawiki")
        if name or not root.tag.endswith("mediawiki"):
            raise ValueError(
                f"corpus: {path} is no MediaWiki dump; of XML, only the export of a wiki is read"
            )
        for event, page in events:
            if event == "end" and page.tag == f"{namespace}page":
                text = page.findtext(f"{namespace}revision/{namespace}text") or ""
                article = (
                    page.findtext(f"{namespace}ns", "0") == "0" and page.find(f"{namespace}redirect") is None
                )
                title = page.findtext(f"{namespace}title", "")
                # A page that is no article is read and counted, but has nothing to cut.
                yield Article(page.findtext(f"{namespace}id", ""), title, text if article else "", wikitext)
                root.clear()

_FORMATS = {".jsonl": _jsonl, ".parquet": _parquet, ".txt": _text, ".xml": _dump, ".tex": _text}



def _folder(path: Path, columns: Columns, split: str) -> Iterator[Article]:
    if (path / "state.json").exists() or (path / "dataset_dict.json").exists():
        import datasets

        saved = datasets.load_from_disk(str(path))
        if isinstance(saved, datasets.DatasetDict):
            if split not in saved:
                raise ValueError(f"split: {split!r} is not in {path}; it has {list(saved)}")
            saved = saved[split]
        for n, row in enumerate(saved):
            yield from _record(row, columns, n, str(path))
        return
    files = sorted(file for file in path.iterdir() if file.is_file() and _format(file))
    if not files:
        raise ValueError(
            f"corpus: folder {path} holds no saved data set and no file of {', '.join(_FORMATS)}"
        )
    for file in files:
        yield from _file(file, columns)



def _hub(name: str, columns: Columns, split: str, config: str | None, seed: int) -> Iterator[Article]:
    import datasets

    repository, _, inline = name.partition(":")
    try:
        stream = datasets.load_dataset(repository, config or inline or None, split=split, streaming=True)
        for n, row in enumerate(stream.shuffle(seed=seed, buffer_size=SHUFFLE_BUFFER)):
            yield from _record(row, columns, n, f"hub data set {name}")
    except (OSError, ValueError) as error:  # no network, no such name, a config or split to be chosen
        if str(error).startswith("corpus"):
            raise
        raise ValueError(
            f"corpus: {repository!r} is no file here, as a hub data set unreadable ({error}); check the "
            "name, the network, `split`, and the config, which can be given as name:config"
        ) from error
