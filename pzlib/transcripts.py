r"""Completions as one tidy table, from a run's stored episodes or from any jsonl or parquet file with named columns.
Left out: grading. What is right is read where the file says so, or is an exact match (PretrainZero eq. 8)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd

from pzlib.gamestats import is_right
from pzlib.prompts import parse_boxed
from pzlib.records import records
from pzlib.refusals import near_names, refuse_unknown
from pzlib.rewards import predictor_reward

# source: who answered (a method, a model); step: its checkpoint; case: what was asked; sample: which of its answers;
# right: 1, 0, or null where nobody judged; length in tokens. Only the completion is never null.
COLUMNS = ("source", "seed", "step", "case", "sample", "kind", "prompt", "completion", "target", "prediction", "right",
           "length")  # fmt: skip


def case_of(prompt: str) -> str:
    """The id of a prompt: equal prompts, equal ids, in every run and file.

    >>> case_of("Passage : Rome is [mask] . Answer :")
    '9da3d10206'
    """
    return hashlib.blake2b(prompt.encode(), digest_size=5).hexdigest()


def tidy(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with exactly `COLUMNS`; a case without an id goes by its prompt, samples are numbered as they come."""
    table = rows.reindex(columns=COLUMNS)
    unnamed = table["case"].isna()
    table["case"] = table["case"].where(~unnamed, table["prompt"].map(case_of, na_action="ignore")).astype("string")
    if table["sample"].isna().any():
        keys = ["source", "seed", "step", "case"]
        table["sample"] = table.groupby(keys, dropna=False).cumcount()
    return table.reset_index(drop=True)


def from_episodes(folder, source: str, steps=None) -> pd.DataFrame:
    """The predictions that a run stored: `folder` a RunFolder, `steps` as in its `episodes` (None: all)."""
    rows = folder.episodes(steps)
    rows = rows[(rows["role"] == "predictor") & rows["completion"].notna()]
    # The reward says it only where it is 1 or 0; a verifier's verdict goes before.
    right = [None if row["reward"] != row["reward"] else float(is_right(row)) for row in rows.to_dict("records")]
    rows = rows.rename(columns={"mask": "target"})
    return tidy(rows.assign(source=source, seed=folder.params()["seed"], right=right))


def read_completions(path, label: str | None = None, stop: str | None = None, **columns: str) -> pd.DataFrame:
    r"""The completions of a `.jsonl`, `.jsonl.gz` or `.parquet` file.

    columns: for a name of `COLUMNS` the file's own, as `completion="output", case="question_id"`; one that is not given
    goes by its own name, and may be missing, but for completion. label: the source, where no column
    says it; default: the file's name. stop: a text at which a completion ends, for answers that ran on into
    a next question. A cell may hold a list of completions: then cells of the row that are lists go with it one by one.
    Where the file has no column for it, the prediction is what is in the last box, and right (if there is a target)
    is whether it equals the target exactly.
    Errors: ValueError or FileNotFoundError naming the file and the column, with the near ones or the line.

    `read_completions("answers.jsonl", completion="output", prompt="question")`
    """
    path = Path(path)
    refuse_unknown(columns, COLUMNS, "column of completions")
    rows = records(path, "transcripts")
    if not rows:
        raise ValueError(f"{path}: holds no rows; give a file with a completion a row")
    known = list(dict.fromkeys(name for row in rows for name in row))
    for name, column in {"completion": "completion", **columns}.items():
        if column not in known:
            remedy = f"name it: {name}='...'; {near_names(column, known)}"
            raise ValueError(f"{path}: {column!r} is not a column, so there is no {name}; {remedy}")
    own = {name: columns.get(name, name) for name in COLUMNS}
    flat = [one for n, row in enumerate(rows, 1) for one in _one_by_one(row, own, f"{path}, row {n}")]
    table = pd.DataFrame(flat, columns=[*COLUMNS, "row"])
    table["source"] = table["source"].fillna(label or path.name.split(".")[0])
    if stop:
        table["completion"] = table["completion"].str.partition(stop)[0]
    if own["prediction"] not in known:
        table["prediction"] = [parse_boxed(said) for said in table["completion"]]
    table["right"] = _judged(table, own["right"] in known, path)
    if own["prompt"] not in known and own["case"] not in known:
        table["case"] = table["row"]  # nothing says what was asked: a row is a case
    return tidy(table)


def _one_by_one(row: dict, own: dict[str, str], where: str):
    """One dict by `COLUMNS` for each completion of a row of the file."""
    cells = {name: row.get(column) for name, column in own.items()}
    said = cells["completion"]
    texts = said if isinstance(said, list) else [said]
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"{where}: completion is {type(text).__name__}, not text; leave such rows out first")
        one = {}
        for name, cell in cells.items():
            if isinstance(said, list) and isinstance(cell, list):
                if len(cell) != len(said):
                    raise ValueError(f"{where}: {own[name]!r} has {len(cell)} values for {len(said)} completions")
                cell = cell[i]
            elif name == "target" and isinstance(cell, list):
                if len(cell) != 1:
                    raise ValueError(f"{where}: {own[name]!r} holds {len(cell)} targets; give one, or none and right")
                cell = cell[0]
            # Half a character, where a text was cut within one, is no UTF-8 and fits in no table.
            one[name] = cell.encode(errors="replace").decode() if isinstance(cell, str) else cell
        yield one | {"row": where.rpartition(" ")[2]}


def _judged(table: pd.DataFrame, given: bool, path: Path) -> pd.Series:
    if given:
        try:
            return table["right"].astype(float)
        except (TypeError, ValueError):
            raise ValueError(f"{path}: right must be true or false, or a number; name another column") from None
    pairs = zip(table["prediction"], table["target"], strict=True)
    scores = [predictor_reward(_text(said), str(target)) if _text(target) else None for said, target in pairs]
    return pd.Series(scores, index=table.index, dtype=float)


def _text(cell) -> str | None:
    return None if cell is None or cell != cell else str(cell)  # NaN is unequal to itself
