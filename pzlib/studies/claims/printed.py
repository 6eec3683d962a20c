"""What the papers printed: their tables as numbers (data/paper), and what is wrong or odd in them.
Left out: values that are only drawn."""

import pandas as pd

from pzlib.errors import near_names
from pzlib.paths import locate

PAPERS = {"pretrainzero": "2512.03442", "rpt": "2506.08007", "rlp": "2510.01265", "ncr": "2608.23256"}  # on arXiv
COLUMNS = ["paper", "table", "model", "method", "benchmark", "value", "note"]


def reported(table: str) -> pd.DataFrame:
    """One printed table, a row a value: paper, table, model, method, benchmark, value, note (what to mind, or "").

    `table` is "<paper> <number>". Values are in % unless the benchmark says otherwise; methods that are ours too go by
    the names of `pzlib.run.Run`; "+ rlvr" is after RLVR. The model is "" where our notes do not name it.
    Errors: ValueError for an unknown paper or table, with what there is.

    >>> table = reported("pretrainzero 1").pivot(index=["model", "method"], columns="benchmark", values="value")
    >>> table.loc[("Qwen3-4B-Base", "pretrainzero"), "Overall"]
    np.float64(39.61)
    >>> reported("rlp 9")
    Traceback (most recent call last):
    ValueError: table: rlp has no table '9' here; known: 1, 2, 3, 4, S.1, S.2, S.3, S.4, S.5, S.6, S.8
    """
    paper, _, number = table.partition(" ")
    if paper not in PAPERS:
        raise ValueError(f"table: {table!r} names no paper; write it as 'pretrainzero 1'; {near_names(paper, PAPERS)}")
    rows = _printed(paper)
    if number not in (known := list(rows["table"].unique())):
        raise ValueError(f"table: {paper} has no table {number!r} here; known: {', '.join(known)}")
    return rows.loc[rows["table"] == number, COLUMNS].reset_index(drop=True)


def printed_tables() -> list[str]:
    """The names of all tables that `reported` knows.

    >>> printed_tables()[:5]
    ['pretrainzero 1', 'pretrainzero 2', 'pretrainzero 3', 'pretrainzero 4', 'rpt 1']
    """
    return [f"{paper} {number}" for paper in PAPERS for number in _printed(paper)["table"].unique()]


def errata() -> pd.DataFrame:
    """What is wrong or odd in the papers: paper, where in it, and what.

    >>> "copy" in errata().set_index("where").loc["Table 4, row Random RLPT", "what"]
    True
    """
    return _printed("errata")


def _printed(name: str) -> pd.DataFrame:
    return pd.read_csv(locate(f"data/paper/{name}.csv"), keep_default_na=False, dtype={"table": str})
