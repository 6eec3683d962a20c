"""What is drawn, from committed tables: each study's record names its figures, a figure's form the tables it takes.
Left out: what a form looks like, which is in the module that has it; no picture library loads until one is drawn."""

import gc
import inspect
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from pzlib import studies
from pzlib.errors import NothingToDraw
from pzlib.runs.folder import write_atomic
from pzlib.studies import claims
from pzlib.studies.metrics import LEAST
from pzlib.studies.records import LEDGER
from pzlib.studies.results import read, with_marks
from pzlib.studies.tables import costs_of
from pzlib.tiers import WORLDS, named_at


def form_of(name: str) -> Callable:
    """The function that draws a figure of a study, by the name in the study's record.

    >>> form_of("main_result").__module__
    'pzlib.figures.accuracy'
    """
    modules = (import_module(f"pzlib.figures.{part}") for part in ("training", "accuracy", "paper", "ledger"))
    return next(getattr(module, name) for module in modules if hasattr(module, name))


def tables_of(form: Callable) -> list[str]:
    """The tables of data/results that a form takes: its parameters without a default.

    >>> tables_of(form_of("by_tokens"))
    ['tinybench', 'training']
    """
    return [one.name for one in inspect.signature(form).parameters.values() if one.default is one.empty]


def redraw(results_dir: str | Path, out_dir: str | Path, tier: str = "mini", settings=None) -> list[Path]:
    """Draw the ledger of each paper's claims, and every figure whose arms all have rows of `tier` in `results_dir`, of
    equal seeds, and the two galleries that show them; print what the others lack. Of the further studies that a figure
    shows, those without any rows are left out of it.

    settings: that the tier's runs were given, as of `studies.arms_of`. Main figures go to `out_dir`, all others to its
    folder `appendix`, without a PDF. Two processes draw. Returns the files of the figures. Raises FileNotFoundError if
    there is no such folder.
    """
    results_dir, out_dir = Path(results_dir), Path(out_dir)
    if not results_dir.is_dir():
        raise FileNotFoundError(f"results: no folder {results_dir}; run `python -m pzlib results` first")
    stored = {path.stem: with_marks(read(path), results_dir) for path in sorted(results_dir.glob("*.csv"))}
    jobs, missing = [], {}
    if {"training", "tinybench"} <= set(stored):  # first, since it takes longest
        jobs.append((_ledger, [stored, tier, settings], {}, LEDGER, out_dir))
    for study, figure in [(name, figure) for name, record in studies.STUDIES.items() for figure in record.figures]:
        form = form_of(figure.form)
        names = tables_of(form)
        at_hand = _timed(stored, study, tier, results_dir, settings) if "costs" in names else stored
        if lacking := [f"{name}.csv" for name in names if name not in at_hand]:
            missing.setdefault(f"{results_dir} has no {' and no '.join(lacking)}", []).append(figure.name)
            continue
        shown = {one: _shown(one, figure.arms, tier) for one in (study, *figure.others)}
        if not shown[study]:
            missing.setdefault(studies.leaving_out([study], tier).strip(), []).append(figure.name)
            continue
        found = {
            one: [_rows(at_hand[name], one, arms, tier, settings) for name in names] for one, arms in shown.items()
        }
        found = {study: found[study]} | {one: rows for one, rows in found.items() if any(map(len, rows))}
        if lacking := [words for one in found if (words := _lacking(found[one], one, shown[one]))]:
            missing.setdefault(f"{' and '.join(lacking)} lack runs at tier {tier}", []).append(figure.name)
            continue
        found = {one: [named_at(table, tier) for table in own] for one, own in found.items()}
        tables, source = found[study], {}
        if figure.others:
            tables = [dict(zip(found, tables, strict=True)) for tables in zip(*found.values(), strict=True)]
        else:
            source["source"] = f"{inspect.signature(form).parameters['source'].default}, study {study}"
        jobs.append((form, tables, source, figure, out_dir))
    for why, names in missing.items():
        print(f"{', '.join(names)}: not drawn, {why}")
    # without the collector, which would look again and again through what is gone with the processes anyway
    with ProcessPoolExecutor(2, initializer=gc.disable) as pool:
        done = [*pool.map(_drawn, jobs)]
    print("".join(f"{words}\n" for words in done if isinstance(words, str)), end="")
    drawn = [one for found in done if not isinstance(found, str) for one in found]
    drawn.sort(key=lambda one: one.paths[0].stem.startswith(LEDGER.name.format("")))  # the claims last
    for main, folder in ((True, out_dir), (False, out_dir / "appendix")):
        own = [one for one in drawn if one.main == main]
        if own:
            write_atomic(folder / "README.md", gallery(own, tier, main))
    return [path for one in drawn for path in one.paths]


class Drawn(NamedTuple):
    """One figure as the gallery shows it."""

    paths: list[Path]
    main: bool
    headline: str
    what: str
    notes: list[str]


GALLERY = """# {title}

`make figures` draws these from the tables in `data/results` (tier {tier}) and writes this page. {more}

How to read them. A headline is computed from the rows: *above* and *below* are what a paired t test and Holm's
correction over that headline's comparisons tell apart at 5 %; *within the margin* is a difference shown to be under 2
points (notebook 12 has all margins); *no clear difference* is neither. Under {least} seeds *above* and *below* say that
all of at least three agree. Arrows from the first to the last fifth of training (↑, ↓, ≈) follow the same rule. One
method has one colour and one mark everywhere; a variant has its method's colour and an open mark. Bars and bands are
95 % t intervals over seeds and bases, drawn from {least} seeds on. Axes of accuracy do not start at zero. *Masked
words* are words of unseen passages that reasoning can deduce; *all questions* is the mean of general and mathematical
ones. Irreducible masks hide what nothing can tell. All seeds answer one fixed set of questions.
"""


def gallery(drawn: list[Drawn], tier: str, main: bool) -> str:
    """Markdown: each figure with its finding, what it shows, how to read it, and what degenerated."""
    title, more = "Figures", "The rest are in [the appendix](appendix/README.md)."
    if not main:
        title, more = "Figures: the appendix", "The main ones are in [figures](../README.md)."
    lines = [GALLERY.format(title=title, tier=tier, more=more, least=LEAST)]
    for one in drawn:
        name = one.paths[0].stem
        pdf = f" ([PDF]({name}.pdf))" if len(one.paths) > 1 else ""
        lines.append(f"## {name.replace('_', ' ')}\n\n![{one.headline or name}]({name}.png)\n")
        notes = " ".join(f"{note.rstrip('.')}." for note in one.notes)
        what = one.what if WORLDS[tier].small else one.what.replace("TinyBench", "benchmarks")
        lines.append(f"{what}{pdf} {notes}".rstrip() + "\n")
    return "\n".join(line for line in lines if line).rstrip() + "\n"


def _shown(study: str, arms: tuple, tier: str) -> tuple:
    """Those of the arms (by default all) that a study has at the tier."""
    out = studies.left_out(study, tier)
    return tuple(arm for arm in arms or studies.STUDIES[study].arms if arm not in out)


def _timed(stored: dict, study: str, tier: str, folder: Path, settings=None) -> dict[str, pd.DataFrame]:
    """The tables with the study's own costs: of another study than `side` they are in another file, or in none."""
    if "training" not in stored:
        return stored
    training = studies.select(stored["training"], study, tier, settings=settings)
    return stored | {"costs": costs_of(training, tier, study, folder)}


def _rows(table: pd.DataFrame, study: str, arms: tuple, tier: str, settings) -> pd.DataFrame:
    """The rows of these arms of the study; a table that is not of runs as it is."""
    rows = studies.select(table, study, tier, settings=settings) if "run_id" in table else table
    return rows[rows["arm"].isin(arms)]


def _lacking(tables: list[pd.DataFrame], study: str, arms: tuple) -> str:
    """How many arms of a study lack a seed that another has, or all seeds, as text; "" if none does."""
    own = [rows.groupby("arm")["seed"].agg(set) for rows in tables if "seed" in rows]
    seeds = set().union(*(one for table in own for one in table))
    absent = [arm for arm in arms if not seeds or any(table.get(arm) != seeds for table in own)]
    return f"{len(absent)} of {len(arms)} arms of {study}" if absent else ""


def _ledger(tables: dict[str, pd.DataFrame], tier: str, settings=None) -> dict:
    """{file: figure} of every paper's claims, judged once."""
    ledger = claims.ledger(claims.load(), tables, tier, settings=settings)
    return {LEDGER.name.format(paper): form_of(LEDGER.form)(ledger, paper) for paper in claims.PAPERS}


def _drawn(job: tuple) -> list[Drawn] | str:
    """What a job drew, or why it drew nothing."""
    from pzlib.figures.style import save

    form, tables, source, figure, folder = job
    try:
        made = form(*tables, **source)
    except NothingToDraw as error:  # rows are there, and hold nothing of what is shown
        return f"{figure.name}: not drawn, {str(error).partition(';')[0]}"
    folder = folder if figure.main else folder / "appendix"
    what = " ".join(inspect.getdoc(form_of(figure.form)).split("\n\n")[0].split())
    return [
        Drawn(save(one, name, folder, pdf=figure.main), figure.main, one.headline, what, one.notes)
        for name, one in (made if isinstance(made, dict) else {figure.name: made}).items()
    ]
