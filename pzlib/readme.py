"""The numbers in the README: printed from data/results between two marks, and nowhere typed by hand.
Left out: prose. What the numbers mean is said by a person, beside them."""

from pathlib import Path

from pzlib import claims, sidetables
from pzlib.folder import write_atomic
from pzlib.report import follow_on_table, main_table
from pzlib.results import stored
from pzlib.studies import select

START, END = "<!-- {}: python -m pzlib figures writes this -->", "<!-- end of {} -->"


def readme_tables() -> dict[str, str]:
    """Markdown of every table in the README, by the name between its marks, from data/results at `mini`."""
    tables = stored()
    baselines, rlvr, side, after = (
        select(tables["tinybench"], study) for study in ("baselines", "rlvr", "side", "side_rlvr")
    )
    spent = select(tables["training"], "side")
    methods = sidetables.side_by_side(side, spent, sidetables.costs_of(spent), after)
    return {
        "results": main_table(baselines),
        "side": sidetables.side_table(methods),
        "rlvr": follow_on_table(rlvr),
        "claims": claims.summary(claims.ledger(claims.load(), tables)),
    }


def refresh(readme: str | Path, tables: dict[str, str]) -> None:
    """Write each markdown table between the marks of its name in the README; the rest of it stays.

    Raises ValueError, and writes nothing, where the marks of a name are not there once each.
    """
    text = Path(readme).read_text()
    for name, table in tables.items():
        start, end = START.format(name), END.format(name)
        if text.count(start) != 1 or text.count(end) != 1 or text.index(end) < text.index(start):
            raise ValueError(f"{readme}: needs the lines {start!r} and {end!r} once each, for the table {name!r}")
        head, rest = text.split(start)
        text = f"{head}{start}\n{table}\n{end}{rest.split(end)[1]}"
    write_atomic(readme, text)
