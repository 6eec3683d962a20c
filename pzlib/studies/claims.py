"""The claims ledger: what the papers claim (data/paper/claims.csv), tested on the stored results, a verdict each.
Left out: claims of "no difference", which such a test cannot show, and any verdict that is not computed here."""

from collections.abc import Callable
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
NAMES = {"pretrainzero": "PretrainZero", "rpt": "RPT", "rlp": "RLP", "ncr": "NCR"}  # NCR: arXiv:2608.23256
EQUAL_TOKENS = "equal tokens"  # after "arm@": a and that arm, both at the tokens that the cheaper of them has used


def load(path: str | Path = CLAIMS) -> pd.DataFrame:
    """The claims, checked: id, paper, section, claim, study, metric, a, b, direction, reported_a, reported_b,
    reported_on, why_not.

    A claim says that the metric of `a` lies above (">") or below ("<") that of `b`; both are arms of the study, or b is
    a moment of a's own runs: "base" (step 0), "halfway" (the last evaluation in the first half), "start" (the first
    fifth of training), "direct" (step 0, next tokens predicted outright); of another arm's it is written "arm@base".
    "arm@equal tokens" is that arm, and a with it, after as many tokens as both have used. No study: mini cannot test
    it, and `why_not` says why. Errors: ValueError naming the claim.
    """
    table = pd.read_csv(locate(str(path)))
    words = table.columns.difference(["reported_a", "reported_b"])
    table[words] = table[words].fillna("")
    if table["id"].duplicated().any():
        raise ValueError(f"id: {table.loc[table['id'].duplicated(), 'id'].iloc[0]!r} names two claims; rename one")
    for claim in table.to_dict("records"):
        if bool(claim["study"]) == bool(claim["why_not"]):
            raise ValueError(f"{claim['id']}: give a study, or say in why_not why there is none")
        if claim["study"] and claim["direction"] not in (">", "<"):
            raise ValueError(f"{claim['id']}: direction {claim['direction']!r} must be > or <")
        if claim["study"]:
            metric_of(claim["metric"])
            arms = studies.study_of(claim["study"]).arms
            for name in {claim["a"], claim["b"].partition("@")[0]} - {*MOMENTS}:
                if name not in arms:
                    raise ValueError(f"{claim['id']}: {name!r} is no arm of {claim['study']}; {near_names(name, arms)}")
    return table


def ledger(
    claims: pd.DataFrame, tables: dict[str, pd.DataFrame], tier: str = "mini", select: Callable = studies.select
) -> pd.DataFrame:
    """The claims with what was measured: further columns tier, unit, n, effect, low, high, p, p_holm, verdict.

    tables: {"tinybench": ..., "training": ..., "perplexity": ...}, those that there are; select(table, study, tier)
    gives a study's rows with their `arm`.
    The rule: a and b are paired by seed; effect is the mean of a - b in `unit`, low and high its 95 % t interval, p of
    the two-sided paired t test; p_holm is adjusted (Holm) over a family, the claims that one study tests. Below 0.05
    the claim is reproduced if the effect has its direction, contradicted if the other one; else it is inconclusive.
    With fewer than three pairs, or without a study, it is not run. A verdict is never typed: claims.csv has no column
    for it.
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
    table["verdict"] = [_verdict(row) for row in table.to_dict("records")]
    return table


def _pairs(claim: dict, rows_of: Callable) -> pd.DataFrame:
    """The claim's metric of a and of b, a row a seed that both have."""
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


def _verdict(row: dict) -> str:
    if pd.isna(row["p"]):
        return "not run at this tier"
    if row["p_holm"] >= ALPHA:
        word = "inconclusive"
    else:
        word = "reproduced" if (row["effect"] > 0) == (row["direction"] == ">") else "contradicted"
    return f"{word} at {row['tier']}"


def summary(ledger: pd.DataFrame) -> str:
    """Markdown: how many claims of each paper have which verdict.

    >>> rows = {"paper": ["rlp", "rlp"], "verdict": ["not run at this tier", "reproduced at mini"]}
    >>> print(summary(pd.DataFrame(rows)))
    | claims of | reproduced | contradicted | inconclusive | not run | all |
    |---|---|---|---|---|---|
    | RLP | 1 | 0 | 0 | 1 | 2 |
    | all | 1 | 0 | 0 | 1 | 2 |
    """
    lines = ["| claims of | " + " | ".join(VERDICTS) + " | all |", "|---" * (2 + len(VERDICTS)) + "|"]
    for paper in [*dict.fromkeys(ledger["paper"]), "all"]:
        rows = ledger if paper == "all" else ledger[ledger["paper"] == paper]
        counts = [rows["verdict"].str.startswith(verdict).sum() for verdict in VERDICTS]
        lines.append(f"| {NAMES.get(paper, paper)} | " + " | ".join(map(str, [*counts, len(rows)])) + " |")
    return "\n".join(lines)


def markdown(ledger: pd.DataFrame) -> str:
    """The ledger as a markdown table: what is claimed, what the paper printed, what was measured, the verdict."""
    lines = ["| claim | where | printed, a − b | measured, a − b | n | p (Holm) | verdict |", "|---" * 7 + "|"]
    for row in ledger.to_dict("records"):
        printed = row["reported_a"] - row["reported_b"]
        cells = [row["claim"], f"{NAMES[row['paper']]}, {row['section']}"]
        cells.append("" if pd.isna(printed) else f"{printed:+.2f}, {row['reported_on']}")
        if pd.isna(row["p"]):
            cells += [row["why_not"] or "too few runs", str(row["n"]), ""]
        else:
            digits = 1 if row["unit"] in ("points", "tokens") else 2
            effect, low, high = (f"{row[end]:+.{digits}f}" for end in ("effect", "low", "high"))
            cells.append(f"{row['metric']}: {effect} [{low}, {high}] {row['unit']}")
            cells += [str(row["n"]), f"{row['p_holm']:.2g}"]
        lines.append("| " + " | ".join([*cells, row["verdict"]]).replace("\n", " ") + " |")
    return "\n".join(lines)
