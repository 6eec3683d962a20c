"""What the papers printed (data/paper), and the ledger: what they claim, tested on the stored results, a verdict each.
Left out: values that are only drawn; claims of "no difference", which such a test cannot show."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pandas as pd

from pzlib import studies
from pzlib.errors import near_names
from pzlib.paths import locate
from pzlib.stats import holm, paired_t
from pzlib.studies.metrics import METRICS, MOMENTS, equal_tokens, metric_of, values

CLAIMS = "data/paper/claims.csv"
ALPHA, LEAST_PAIRS = 0.05, 3
VERDICTS = ("reproduced", "contradicted", "inconclusive", "not run")  # how the verdicts begin
NAMES = {"pretrainzero": "PretrainZero", "rpt": "RPT", "rlp": "RLP", "ncr": "NCR"}
PAPERS = {"pretrainzero": "2512.03442", "rpt": "2506.08007", "rlp": "2510.01265", "ncr": "2608.23256"}  # on arXiv
COLUMNS = ["paper", "table", "model", "method", "benchmark", "value", "note"]
EQUAL_TOKENS = "equal tokens"  # after "arm@": a and that arm, both at the tokens that the cheaper of them has used


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


def load(path: str | Path = CLAIMS) -> pd.DataFrame:
    """The claims, checked: id, paper, section, claim, study, metric, a, b, direction, reported_a, reported_b,
    reported_on, why_not.

    A claim says that the metric of `a` is above (">") or below ("<") that of `b`. Both are arms of the study, or b is
    one of `MOMENTS` of a's own runs; of another arm's it is written "arm@base". "arm@equal tokens" is that arm, and a
    with it, after as many tokens as both have used. No study: mini cannot test it, and `why_not` says why.
    Errors: ValueError naming the claim.
    """
    table = pd.read_csv(locate(str(path)))
    words = table.columns.difference(["reported_a", "reported_b"])
    table[words] = table[words].fillna("")
    if table["id"].duplicated().any():
        raise ValueError(f"id: {table.loc[table['id'].duplicated(), 'id'].iloc[0]!r} names two claims; rename one")
    for claim in table.to_dict("records"):
        if bool(claim["study"]) == bool(claim["why_not"]):
            raise ValueError(f"{claim['id']}: give a study, or say in why_not why there is none")
        if not claim["study"]:
            continue
        if claim["direction"] not in (">", "<"):
            raise ValueError(f"{claim['id']}: direction {claim['direction']!r} must be > or <")
        metric_of(claim["metric"])
        arms = studies.study_of(claim["study"]).arms
        for name in {claim["a"], claim["b"].partition("@")[0]} - {*MOMENTS, *arms}:
            raise ValueError(f"{claim['id']}: {name!r} is not an arm of {claim['study']}; {near_names(name, arms)}")
    return table


def ledger(
    claims: pd.DataFrame, tables: dict[str, pd.DataFrame], tier: str = "mini", select: Callable = studies.select
) -> pd.DataFrame:
    """The claims with what was measured: further columns tier, unit, n, effect, low, high, p, p_holm, verdict.

    tables: {"tinybench": ..., "training": ..., "perplexity": ...}, those that there are; select(table, study, tier)
    gives a study's rows with their `arm`.
    The rule: a and b are paired by seed; effect is the mean of a - b in `unit`, low and high its 95 % t interval, p of
    the two-sided paired t test; p_holm is adjusted (Holm) over a family, the claims that one study tests. Below 0.05
    the claim is reproduced if the effect has its direction, else contradicted; above it is inconclusive. With fewer
    than three pairs, or without a study, it is not run.
    """

    @cache
    def rows_of(study, table):
        return select(tables[table], study, tier) if table in tables else pd.DataFrame(columns=["arm", "seed", "step"])

    rows = []
    for claim in claims.to_dict("records"):
        row = claim | {"tier": tier, "n": 0}
        if claim["study"]:
            pairs = _pairs(claim, rows_of)
            row |= {"unit": METRICS[claim["metric"]].unit, "n": len(pairs)}
            if len(pairs) >= LEAST_PAIRS:
                test = paired_t(pairs[0], pairs[1])
                low, high = test["interval"]
                row |= {"effect": test["difference"], "low": low, "high": high, "p": test["p"]}
        rows.append(row)
    table = pd.DataFrame(rows, columns=[*claims.columns, "tier", "unit", "n", "effect", "low", "high", "p"])
    table["p_holm"] = float("nan")
    for _, family in table[table["p"].notna()].groupby("study"):
        table.loc[family.index, "p_holm"] = holm(family["p"])
    agrees = (table["effect"] > 0) == (table["direction"] == ">")
    word = agrees.map({True: "reproduced", False: "contradicted"}).where(table["p_holm"] < ALPHA, "inconclusive")
    table["verdict"] = (word + f" at {tier}").where(table["p"].notna(), "not run at this tier")
    return table


def _pairs(claim: dict, rows_of: Callable) -> pd.DataFrame:
    """The claim's metric of a and of b, a row per seed that both have."""
    study, metric, a, b = (claim[name] for name in ("study", "metric", "a", "b"))
    rows = rows_of(study, METRICS[metric].table)
    other, _, moment = (a, "@", b) if b in MOMENTS else b.partition("@")
    if moment == EQUAL_TOKENS:
        rows, training, moment = rows[rows["arm"].isin([a, other])], rows_of(study, "training"), "end"
        if rows["arm"].nunique() < 2 or training.empty:
            return pd.DataFrame()
        rows = equal_tokens(rows, training)
    both = [values(rows[rows["arm"] == arm], metric, at) for arm, at in ((a, "end"), (other, moment or "end"))]
    return pd.concat(both, axis=1, join="inner")


def as_markdown(head: Sequence, rows: Sequence[Sequence]) -> str:
    """A markdown table of the texts of these cells."""
    lines = ["| " + " | ".join(map(str, cells)).replace("\n", " ") + " |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def summary(ledger: pd.DataFrame) -> str:
    """Markdown: how many claims of each paper have which verdict.

    >>> rows = {"paper": ["rlp", "rlp"], "verdict": ["not run at this tier", "reproduced at mini"]}
    >>> print(summary(pd.DataFrame(rows)))
    | claims of | reproduced | contradicted | inconclusive | not run | all |
    |---|---|---|---|---|---|
    | RLP | 1 | 0 | 0 | 1 | 2 |
    | all | 1 | 0 | 0 | 1 | 2 |
    """
    lines = []
    for paper in [*dict.fromkeys(ledger["paper"]), "all"]:
        verdicts = ledger.loc[(ledger["paper"] == paper) | (paper == "all"), "verdict"]
        counts = [verdicts.str.startswith(verdict).sum() for verdict in VERDICTS]
        lines.append([NAMES.get(paper, paper), *counts, len(verdicts)])
    return as_markdown(["claims of", *VERDICTS, "all"], lines)


def markdown(ledger: pd.DataFrame) -> str:
    """The ledger as a markdown table: what is claimed, what the paper printed, what was measured, the verdict."""
    lines = []
    for row in ledger.to_dict("records"):
        printed, measured, p = row["reported_a"] - row["reported_b"], row["why_not"] or "too few runs", ""
        if not pd.isna(row["p"]):
            digits = 1 if row["unit"] in ("points", "tokens") else 2
            effect, low, high = (f"{row[end]:+.{digits}f}" for end in ("effect", "low", "high"))
            measured, p = f"{row['metric']}: {effect} [{low}, {high}] {row['unit']}", f"{row['p_holm']:.2g}"
        printed = "" if pd.isna(printed) else f"{printed:+.2f}, {row['reported_on']}"
        where = f"{NAMES[row['paper']]}, {row['section']}"
        lines.append([row["claim"], where, printed, measured, row["n"], p, row["verdict"]])
    return as_markdown(["claim", "where", "printed, a − b", "measured, a − b", "n", "p (Holm)", "verdict"], lines)
