"""The papers' tables and curves beside ours, of whatever a tier asks: printed values always, ours where there are rows.
Left out: the papers' layouts; what `pzlib.figures.paper` draws of the small world in forms of its own."""

import contextlib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from string import ascii_lowercase

import numpy as np
import pandas as pd

from pzlib.errors import NothingToDraw
from pzlib.evaluation.benchmarks import BENCHMARKS
from pzlib.figures import form_of, forms, tables_of
from pzlib.figures.forms import BAND, INTERVAL, SEEDS, TINYBENCH, TRAINING, folded
from pzlib.figures.paper import ablations
from pzlib.figures.style import METHODS, Picture, caption, grid, marks_of, save, sheet, styled
from pzlib.paths import root
from pzlib.runs.folder import write_atomic
from pzlib.studies import metrics, select, study_of
from pzlib.studies.exhibits import EXHIBITS, PAGE, commands, markdown, title
from pzlib.studies.papers import Curve, Exhibit, beside, printed_end, sources, stops
from pzlib.studies.results import folder_of, read, stored
from pzlib.tiers import WORLDS, named_at

ABREAST, ROW, HEAD = 5, 0.33, 0.62  # panels in a row; inches of a row of a panel, and of what is above and below them
NOT_RUN, GREY = "not run", "#737373"
PRINTED = {"linestyle": "", "marker": "|", "color": "black", "markersize": 9, "markeredgewidth": 1.4}
ELSEWHERE = ("keyword_bars", "casebook")  # forms of completions, which are in no table of results


def draw_all(tier: str, folder: str | Path, results: str | Path | None = None, settings: dict | None = None) -> None:
    """Draw every exhibit from the tables of a tier into `folder`; print what each shows, its files, and the commands
    that make its rows. Write docs/papers_figures.md, where there are docs.

    results: as `pzlib.studies.results.folder_of`; settings: as of `draw`.
    """
    tables = {path.stem: read(path) for path in folder_of(tier, results).glob("*.csv")} if results else stored(tier)
    jobs = [(exhibit, tables, tier, settings, folder) for exhibit in EXHIBITS]
    with ProcessPoolExecutor(2) as pool:
        for exhibit, files in zip(EXHIBITS, pool.map(_drawn, jobs), strict=True):
            print(f"{title(exhibit)}: {exhibit.what}")
            found = files or [exhibit.note or f"not drawn: no rows at {tier}"]
            print("".join(f"    {line}\n" for line in [*found, *commands(exhibit, tier)]), end="", flush=True)
    if results is None and (root() / "docs").is_dir():
        write_atomic(root() / PAGE, markdown())


def _drawn(job: tuple) -> list[str]:
    *given, folder = job
    pictures = draw(*given)
    return [str(save(picture, name, folder)[0]) for name, picture in pictures.items()]


def draw(exhibit: Exhibit, tables: dict[str, pd.DataFrame], tier: str, settings: dict | None = None) -> dict:
    """{file name: Picture} of an exhibit from the tables of a tier: those of printed values always, others where there
    are rows. settings: given to the runs beyond their tier's, as `pzlib study -p` takes them."""
    made = f"data/results, tier {tier}"
    if exhibit.form == "curves_beside":
        return {exhibit.name: curves_beside(exhibit, tables, tier, settings)}
    found, form = {}, None if exhibit.form in ("table_beside", *ELSEWHERE) else form_of(exhibit.form)
    for study, own in sources(exhibit, tier, settings) if form else ():
        arms = next((figure.arms for figure in study_of(study).figures if figure.form == exhibit.form), ())
        rows = [select(tables[name], study, tier, settings=own) for name in tables_of(form) if name in tables]
        rows = [own[own["arm"].isin(arms)] if arms else own for own in rows]
        if len(rows) == len(tables_of(form)) and not any(own.empty for own in rows):
            name = f"{exhibit.name}_{study}" if len(exhibit.studies) > 1 else exhibit.name
            with contextlib.suppress(NothingToDraw):  # such as rows of benchmarks alone, where next tokens are shown
                found[name] = form(*([{study: own} for own in rows] if form is ablations else rows))
    if exhibit.printed and not found:
        table = beside(exhibit, tables, tier, settings)
        found[exhibit.name] = table_beside(table, f"data/paper/{exhibit.paper}.csv; {made}", exhibit.note)
    return found


@styled
def table_beside(table: pd.DataFrame, source: str, note: str = "") -> Picture:
    """A printed table with ours: a panel a column and a row per model and method, or the other way round where columns
    are many. Printed values are black ticks, ours marks with seeds and interval; the numbers are above them.

    table: of `pzlib.studies.papers.beside`. source: names what it is made from. note: what to mind.
    """
    cells = {((row["model"], row["method"]), row["column"]): row for row in table.to_dict("records")}
    models = list(dict.fromkeys(table["model"]))
    rows = sorted(dict.fromkeys(row for row, _ in cells), key=lambda row: models.index(row[0]))
    columns = list(dict.fromkeys(table["column"]))
    panels, places, turned = columns, _headed(rows), len(columns) > len(rows)
    if turned := turned and _height(len(rows), len(columns)) < _height(len(columns), len(places)):
        panels, places = rows, columns
    deep = -(-len(panels) // ABREAST)
    figure = sheet(_height(len(panels), len(places)) + 0.55)
    axes = figure.subplots(deep, -(-len(panels) // deep), squeeze=False, sharey=True)
    for ax, panel in zip(axes.flat, panels, strict=False):
        for place, key in enumerate(places):
            cell = cells.get((panel, key) if turned else (key, panel))
            if cell:
                _cell(ax, place, cell)
        title = "\n".join(map(_name, panel[len(models) == 1 :])) if turned else panel
        ax.set(title=title, ylim=(len(places) - 0.5, -0.8))
        ax.grid(axis="y", visible=False)
        ax.margins(x=0.15)
        ax.locator_params(axis="x", nbins=3)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for ax in axes[:, 0]:
        ax.set_yticks(range(len(places)), [key if turned else _name(key[1] or key[0]) for key in places])
        for label, key in zip(ax.get_yticklabels(), places, strict=True):
            label.set_fontweight("normal" if turned or key[1] else "bold")
    ours = int((table["ours"].map(len) > 0).sum())
    some = table["ours"].map(len).max() >= metrics.LEAST
    words = "Left and black tick: as printed. Right and coloured: ours, mean over seeds in %."
    words += f" {SEEDS.format(INTERVAL * bool(some))}" * (ours > 0)
    counts = f"{int(table['printed'].notna().sum())} printed values, {ours} of ours"
    return caption(figure, counts, words, f"{source}.", [f"{note[0].upper()}{note[1:]}"] if note else [])


def _height(panels: int, places: int) -> float:
    return -(-panels // ABREAST) * (ROW * places + HEAD)


def _headed(rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The rows with a heading above those of each model, (model, ""), where there are several models."""
    models = list(dict.fromkeys(model for model, _ in rows))
    if len(models) == 1:
        return rows
    return [one for model in models for one in [(model, ""), *(row for row in rows if row[0] == model)]]


def _name(text: str) -> str:
    """A model or a method of a printed table as text.

    >>> _name("rlp + post")
    'RLP + post'
    """
    head, *rest = text.replace("cpt", "CPT").replace("rlvr", "RLVR").split(" + ")
    return folded(" + ".join([metrics.label_of(head), *rest]), 26)


def _cell(ax, place: int, row: dict) -> None:
    """One cell: the numbers, and under them the marks."""
    head = row["method"].replace("cpt", "continued_pretraining").split(", ")[0].split(" + ")[0]
    mark, ours = METHODS.get(head, METHODS["base"]), row["ours"].to_numpy(float)
    at = {"transform": ax.get_yaxis_transform(), "fontsize": 8, "va": "center", "y": place - 0.22}
    at["in_layout"] = False  # inside its axes anyway, and many: the layout would measure each
    ax.text(x=0.02, s="–" if np.isnan(row["printed"]) else f"{row['printed']:g}", **at)
    look = {"color": mark.colour} if len(ours) else {"color": GREY}
    ax.text(x=0.98, s=f"{ours.mean():.1f}" if len(ours) else NOT_RUN, ha="right", **at, **look)
    if not np.isnan(row["printed"]):
        ax.plot(row["printed"], place + 0.2, **PRINTED)
    forms.seeds(ax, place + 0.16, ours, mark, 0.16, size=4.5)


@styled
def curves_beside(exhibit: Exhibit, tables: dict[str, pd.DataFrame], tier: str, settings=None) -> Picture:
    """The curves of a figure (PretrainZero's 3, 7, 9, 10): what the tier asks along training, by step.

    A panel of `stop` marks the step from which no group has signal, seed by seed. Where the paper prints
    what a curve ends at, the caption has it, and at the paper's tier a black bar at the curve's end.
    """
    figure, axes = grid(2.7, 1, len(exhibit.curves), squeeze=False)
    printed, seen, marked, world = [], [], "", WORLDS[tier]
    marks = marks_of(named_at(arm, tier) for curve in exhibit.curves for arm in curve.arms)
    for ax, letter, curve in zip(axes[0], ascii_lowercase, exhibit.curves, strict=False):
        own = dict(sources(exhibit, tier, settings)).get(curve.study, {})
        rows = {name: _of(tables, name, curve, tier, own) for name in ("tinybench", "training")}
        length = curve.what in ("length", "reward")  # no share
        table = rewards(rows["training"]) if curve.what == "reward" else asked(rows["tinybench"], curve.what, tier)
        unit = {"length": " (tokens)", "reward": ""}.get(curve.what, " (%)")
        title = f"({letter}) {curve.title}{unit}"
        ax.set(title=title, xlabel="Step")
        ends = {
            marks[named_at(arm, tier)].label: printed_end(*curve.printed[arm])
            for arm in curve.arms
            if arm in curve.printed
        }
        printed += [f"{label} {end:.2f}" for label, end in ends.items()]
        if table.empty:
            ax.text(0.5, 0.5, NOT_RUN, transform=ax.transAxes, ha="center", color=GREY)
            continue
        for arm, runs in table.groupby("arm", sort=False):
            forms.curve(ax, forms.wide(runs, "value") * (1 if length else 100), marks[arm], marks[arm].label)
        for end in ends.values() if tier == "paper" else ():
            ax.plot(table["step"].max(), end, **PRINTED | {"marker": "_", "label": "as printed"})
        if curve.stop:
            marked = _stops(ax, rows["training"], marks)
        seen.append(table)
    forms.legend(figure, axes[0])
    what = "general questions" if world.small else f"the task {world.curve}"
    words = f"On {what}. {marked}".strip()
    ends = f"Printed at the end: {'; '.join(dict.fromkeys(printed))}" if printed else "No printed values"
    notes = [f"{exhibit.note[0].upper()}{exhibit.note[1:]}"] if exhibit.note else []
    origin = forms.of_tier(f"{TINYBENCH}{f' and {TRAINING}' * bool(marked)}, tier {tier}: ", tier)
    if not seen:
        return caption(figure, ends, words, f"{origin}not run.", notes)
    table = pd.concat(seen).drop_duplicates(["run_id", "step"])
    seeds = table.groupby("arm")["seed"].nunique()
    few, most = seeds.min(), seeds.max()
    how = BAND.format("; band: 95 % interval" * bool(most >= metrics.LEAST)) if most > 1 else forms.ALONE
    counts = f"{few if few == most else f'{few} to {most}'} seed{'s' * int(most > 1)} per arm"
    return caption(figure, ends, f"{how} {words}", f"{origin}{counts}.", notes)


def _of(tables: dict, name: str, curve: Curve, tier: str, settings: dict) -> pd.DataFrame:
    """The rows of a panel's arms, by their names at the tier."""
    if name not in tables or tables[name].empty:
        return pd.DataFrame(columns=["arm", "step"])
    rows = select(tables[name], curve.study, tier, settings=settings)
    rows = rows[rows["arm"].isin(curve.arms)]
    return rows.assign(arm=[named_at(arm, tier) for arm in rows["arm"]])


def asked(tinybench: pd.DataFrame, what: str, tier: str) -> pd.DataFrame:
    """One row per run and step with a column `value`: of what a Curve names, what the tier asks.

    what: "curve" and "length" are of the tier's curve (its whole benchmark where that was asked instead), in the small
    world of the general tasks, and of all questions; "general" and "math" are means over tasks.
    """
    if tinybench.empty:
        return tinybench
    world, rows = WORLDS[tier], tinybench
    if what in ("curve", "length") and not world.small:
        own = rows[rows["task"] == world.curve]
        rows = own if len(own) else rows[rows["task"] == BENCHMARKS[world.curve].part_of]
    else:
        groups = {"curve": ["general"], "length": list(metrics.QUESTIONS)}.get(what, [what])
        rows = metrics.comparable(rows[rows["group"].isin(groups)])
    keys = ["arm", "run_id", "objective", "tier", "seed", "step"]
    column = "length" if what == "length" else "accuracy"
    return rows.groupby(keys, as_index=False, sort=False)[column].mean().rename(columns={column: "value"})


def rewards(training: pd.DataFrame) -> pd.DataFrame:
    """The rows of training with the predictor's reward as their `value`."""
    return training.assign(value=training["predictor/reward"]) if "predictor/reward" in training else training[:0]


def _stops(ax, training: pd.DataFrame, marks: dict) -> str:
    """Mark the `stops` of the runs; what the marks are, as text."""
    found = stops(training) if len(training) else {}
    for (arm, _), step in found.items():
        ax.axvline(step, color=marks[arm].colour, linestyle=":", linewidth=1)
    runs = training["run_id"].nunique() if len(training) else 0
    return f"Dotted: the step from which on hardly a group has signal ({len(found)} of {runs} runs)."
