"""Tables in files, row by row: .jsonl (also .gz) and .parquet to dicts, with errors in words.
Leaves out text to be cut into passages (`pzlib.readers`) and data sets of the hub."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

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
