"""Chosen cases as one HTML page: the passage with its mask, and beside each other what every source answered.
Left out: any judgement. Which cases are shown is decided by rule in `pzlib.cases`."""

from __future__ import annotations

import pandas as pd

from pzlib.markup import FRAME, TEXT, completion, escaped, judged, passage

MANY = 8  # different answers of one source that are listed; more are counted
CELL = "text-align:left;vertical-align:top;padding:4px 8px;border:1px solid #8c8c8c"


def casebook(table: pd.DataFrame, chosen: dict[str, list[str]], labels: dict[str, str] | None = None) -> str:
    """HTML of the `chosen` cases (rule -> case ids, as `pzlib.cases.chosen` gives) of a table of completions.

    A column a source, in the table's order, headed by its label and its share of right answers; its first answer (of
    the lowest seed) in full, the others below it to unfold, equal ones once with their number. Everything is escaped.
    Errors: ValueError for a case that the table lacks.
    """
    parts = []
    for rule, cases in chosen.items():
        if not cases:
            parts.append(f"<p><b>{escaped(rule)}</b>: no such case</p>")
        for case in cases:
            rows = table[table["case"] == case]
            if rows.empty:
                raise ValueError(f"case: {case!r} is not in the table; choose from the same one")
            parts.append(_case(rows, rule, labels or {}))
    return FRAME.format("".join(parts))


def _case(rows: pd.DataFrame, rule: str, labels: dict[str, str]) -> str:
    one = rows.iloc[0]
    facts = [f"<b>{escaped(rule)}</b>", f"case {escaped(str(one['case']))}"]
    facts += [f"{name} <b>{escaped(str(one[name]))}</b>" for name in ("kind", "target") if pd.notna(one[name])]
    asked = passage(one["prompt"]) if isinstance(one["prompt"], str) else "(the prompt is not stored)"
    sources = [(labels.get(name, name), own) for name, own in rows.groupby("source", sort=False)]
    heads = "".join(f'<th style="{CELL}">{escaped(str(label))}<br>{_score(own)}</th>' for label, own in sources)
    cells = "".join(f'<td style="{CELL};{TEXT}">{_answers(own)}</td>' for _, own in sources)
    table = f'<table style="width:100%;table-layout:fixed"><tr>{heads}</tr><tr>{cells}</tr></table>'
    head = f'<p style="margin:4px 0px">{" · ".join(facts)}</p><div style="{TEXT}">{asked}</div>'
    return f'<div style="margin:16px 0px">{head}{table}</div>'


def _score(rows: pd.DataFrame) -> str:
    known = rows["right"].dropna()
    counted = f"{int((known > 0).sum())} of {len(known)} right" if len(known) else f"{len(rows)} not judged"
    seeds = rows["seed"].nunique()
    return f'<span style="font-weight:normal">{counted}{f", {seeds} seeds" if seeds > 1 else ""}</span>'


def _answers(rows: pd.DataFrame) -> str:
    rows = rows.sort_values(["seed", "sample"], kind="stable")
    first, others = rows.iloc[0], rows.iloc[1:]
    html = f"<b>{judged(first['right'])}</b>{completion(first['completion'])}"
    if others.empty:
        return html
    counted = others.groupby(["completion", "right"], sort=False, dropna=False).size().sort_values(ascending=False)
    listed = [f"{times} × {judged(right)}{completion(said)}" for (said, right), times in counted.items()]
    rest = f"and {len(listed) - MANY} more, each different" if len(listed) > MANY else ""
    return f"{html}<details><summary>{len(others)} more</summary>{''.join(listed[:MANY])}{rest}</details>"
