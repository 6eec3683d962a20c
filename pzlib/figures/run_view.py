"""What one run looks like: curves of both roles, masks as a heat map over their passage, sample episodes.
Left out: runs side by side (`training`), a run's files (`live`), scripts the font lacks, such as Chinese."""

import textwrap
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle

from pzlib.figures.forms import curve, panel_of
from pzlib.figures.inspector import Heat, heat_of, sample_episodes
from pzlib.figures.style import ROLES, STORED, Mark, Picture, marks_of, styled
from pzlib.prompts import Template
from pzlib.studies.metrics import GROUPS, comparable
from pzlib.studies.tables import TITLES

# Light enough for black text on every colour; falling in lightness, so it can be read without colour vision.
ACCURACY = LinearSegmentedColormap.from_list("accuracy", ["#FFF3C4", "#F5C26B", "#7FC4B8", "#4A9BC7"])
WIDE = 10.0  # inches, of a screen
SIZE = 8.5  # pt of the monospace text
ADVANCE, LEADING = 0.602 * SIZE / 72, 1.55 * SIZE / 72  # inches: one character of that font, and one line
MONO = {"family": "DejaVu Sans Mono", "parse_math": False, "va": "center", "ha": "left", "fontsize": SIZE}
PANELS = {"reward": "", "dead_groups": " (share)", "response length": " (tokens)", "entropy": " (nats per token)"}


def _lines(text: str, columns: int) -> list[tuple[int, int]]:
    """Character ranges of the lines of `text`, broken at blanks (inside a word only if it fills a line)."""
    lines, start = [], 0
    while start < len(text):
        end = min(len(text), start + columns)
        if end < len(text):
            blank = text.rfind(" ", start, end + 1)
            end = blank if blank > start else end
        lines.append((start, end))
        start = end + (end < len(text) and text[end] == " ")
    return lines


def _height(text: str, width: float, most: int) -> float:
    """Inches that `text` needs on so many inches of width, of at most so many lines."""
    return min(most, len(_lines(text, int(width / ADVANCE)))) * LEADING


def text_grid(ax) -> tuple[int, int]:
    """Make `ax`, whose place in the figure is fixed, a grid of characters. Returns its columns and lines."""
    width, height = ax.get_position().size * ax.figure.get_size_inches()
    ax.set(xlim=(0, width / ADVANCE), ylim=(height / LEADING, 0))
    ax.set_axis_off()
    return int(width / ADVANCE), int(height / LEADING + 1e-6)


@styled
def passage_heat(ax, text: str, masks: list[tuple[int, int, float]]) -> tuple[int, int, int]:
    """Set `text` in `ax`, its characters coloured by the mean accuracy on the masks that covered them.

    White was never masked; a dashed edge marks accuracy 0 or 1, where no prediction teaches anything. Of a text too
    long for `ax` the part with most masks is shown. Returns (first line shown, lines shown, lines in all).
    """
    columns, room = text_grid(ax)
    text = "".join(" " if character.isspace() else character for character in text)
    over = [[accuracy for start, end, accuracy in masks if start <= place < end] for place in range(len(text))]
    heat = np.array([sum(found) / len(found) if found else np.nan for found in over])
    lines = _lines(text, columns)
    masked = np.array([(~np.isnan(heat[start:end])).sum() for start, end in lines])
    covered = np.array([masked[line : line + room].sum() for line in range(max(1, len(lines) - room + 1))])
    best = np.flatnonzero(covered == covered.max())
    first = int(best[len(best) // 2])  # of equal places the middle one, with context on both sides
    for row, (start, end) in enumerate(lines[first : first + room]):
        edges = [start, *(np.flatnonzero(np.diff(np.nan_to_num(heat[start:end], nan=-1.0))) + start + 1), end]
        for left, right in pairwise(edges):
            if np.isnan(heat[left]):
                continue
            dead = heat[left] in (0.0, 1.0)
            edge = {"edgecolor": "#404040", "linestyle": (0, (2, 2)), "linewidth": 0.8} if dead else {}
            cell = (left - start - 0.1, row + 0.08), right - left + 0.2, 0.84
            ax.add_patch(Rectangle(*cell, facecolor=ACCURACY(heat[left]), **edge))
        column = start
        for word in text[start:end].split(" "):  # word by word, so that rounded letter widths do not add up
            if word:
                ax.text(column - start, row + 0.5, word, **MONO)
            column += len(word) + 1
    return first, min(room, len(lines)), len(lines)


def _heat_panel(figure: Picture, place: tuple, heat: Heat | None, nothing: str = "") -> None:
    """Heat map with its title and colour bar at a place in inches; `nothing` while there is nothing to show."""
    size = figure.get_size_inches()
    ax = figure.add_axes(np.divide(place, [*size, *size]))
    if heat is None:
        ax.set_axis_off()
        ax.set_title(nothing, y=1, pad=5)
        return
    first, shown, lines = passage_heat(ax, heat.text, heat.masks)
    part = f", lines {first + 1}–{first + shown} of {lines}" if shown < lines else ""
    passage = textwrap.shorten(heat.passage_id, 40, placeholder="…")
    ax.set_title(f"Masks on passage {passage}{part} (dashed: all right or all wrong)", y=1, pad=5)
    width, height = place[2:]
    bar = ax.inset_axes([1 - 1.4 / width, 1 + 0.08 / height, 1.2 / width, 0.1 / height])
    figure.colorbar(ScalarMappable(cmap=ACCURACY), cax=bar, orientation="horizontal", ticks=[])
    for at, words, side in ((0, "accuracy 0 ", "right"), (1, " 1", "left")):
        bar.text(at, 0.5, words, ha=side, va="center", fontsize=8, transform=bar.transAxes)


@styled
def heat_map(heat: Heat) -> Picture:
    """One passage with its masks as a figure of its own, as high as the text needs (at most 20 lines)."""
    height = _height(heat.text, WIDE - 0.4, 20)
    figure = Picture(WIDE, height + 0.4)
    _heat_panel(figure, (0.2, 0.08, WIDE - 0.4, height), heat)
    return figure


def _episode(row, columns: int, room: int) -> list[str]:
    """One episode as lines of monospace text: what was decided, then the end of the completion."""
    if row.role == "generator":
        reward = "none" if pd.isna(row.reward) else f"{row.reward:.3f}"
        kind = f" ({row.kind})" if isinstance(row.kind, str) else ""
        head = f"generator  reward {reward}  mask {row.mask!r}{kind}"
    else:
        said = repr(row.prediction.strip()) if isinstance(row.prediction, str) else "nothing in a box"
        head = f"predictor  reward {row.reward:g}  target {row.mask!r}  predicted {said}"
    body = textwrap.wrap(row.completion, columns - 2) or ["(nothing)"]
    if len(body) > room:
        body = ["…" + body[-room][1:], *body[len(body) - room + 1 :]]
    return [head[:columns], *("  " + line for line in body)]


def _episode_panel(ax, episodes: pd.DataFrame) -> None:
    (columns, room), samples, line = text_grid(ax), sample_episodes(episodes), 0
    for row in samples.itertuples():
        look = {"weight": "bold"}
        for text in _episode(row, columns, max(1, room // len(samples) - 1)):
            ax.text(0, line + 0.5, text, **MONO, **look)
            line, look = line + 1, {"color": "#333333"}
    ax.set_title("Sample episodes of the latest step (completions: their end)" if line else "No episode yet")


def _scores(ax, evals: pd.DataFrame, mark: Mark, others: pd.DataFrame | None) -> None:
    """Mean accuracy of each group by step, the latest score beside its name; behind it the stored runs' range."""
    means = comparable(evals).groupby(["group", "step"])["accuracy"].mean().mul(100)
    top = means.max()
    for group, name, dash in zip(GROUPS, TITLES, ("-", "--", ":"), strict=True):
        if group not in means:
            continue
        if others is not None and len(own := others[others["group"] == group]):
            known = 100 * comparable(own).groupby(["step", "seed"])["accuracy"].mean().unstack()
            top = max(top, _band(ax, known, dash))
        curve = means[group]
        look = {"color": mark.colour, "linestyle": dash, "marker": ".", "linewidth": 1}
        ax.plot(curve, label=f"{name} {curve.iloc[-1]:.0f}", **look)
    ax.set(title="Accuracy (%)", xlabel="Step")
    ax.xaxis.get_major_locator().set_params(integer=True, nbins=4)
    ax.set_ylim(0, 1.6 * max(top, 1))  # room for the names
    ax.legend(fontsize=8, loc="upper left", borderaxespad=0.1, handlelength=1.8, labelspacing=0.1, frameon=False)


def _band(ax, known: pd.DataFrame, dash: str, label: str = "") -> float:
    """Draw the range of stored runs, (steps, seeds), in grey with their mean; returns its highest value."""
    known = known.dropna(how="all")
    if known.empty:
        return 0.0
    look = {"color": STORED, "alpha": 0.3, "linewidth": 0, "label": label}
    ax.fill_between(known.index, known.min(axis=1), known.max(axis=1), **look)
    ax.plot(known.mean(axis=1), color=STORED, linewidth=0.8, linestyle=dash or "-")
    return float(known.max().max())


def _curves(figure: Picture, places: list, metrics: pd.DataFrame, mark: Mark, others: pd.DataFrame | None) -> None:
    """One small panel for each of `PANELS`, a line for each role that the run has, before the range of stored runs."""
    label = f"range of {others['seed'].nunique()} stored seeds" if others is not None and len(others) else ""
    for place, (name, unit) in zip(places, PANELS.items(), strict=True):
        ax, panel = figure.add_axes(place), panel_of(name, unit)
        for role, dash in ROLES.items():
            column = panel.column.replace("predictor", role)
            values = metrics.get(column, pd.Series(dtype=float)).astype(float)
            if label and column in others:
                known = others.pivot(index="step", columns="seed", values=column).astype(float)
                _band(ax, known, dash, label if role == "predictor" else "")
            if values.notna().any():
                values.index = metrics["step"]
                ax.plot(values, color=mark.colour, linewidth=0.5, alpha=0.35)
                smooth = values.rolling(max(1, len(values) // 15), min_periods=1).mean()
                curve(ax, smooth.to_frame(), mark, role, dash)
        if name == "dead_groups" or name == "reward" and 0 <= ax.dataLim.y0 <= ax.dataLim.y1 <= 1:
            ax.set_ylim(-0.02, 1.02)
        elif name != "reward":  # RLP's rewards are no shares
            ax.set_ylim(0, 1.08 * ax.dataLim.y1 if ax.dataLim.y1 > 0 else None)  # whole marks
        ax.set(title=panel.title, xlabel="Step")
        ax.xaxis.get_major_locator().set_params(integer=True, nbins=4)
        if len(metrics) == 1 and not label:
            ax.set_xlim(0, 2 * metrics["step"].iloc[0])
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if labels:
        below = 1 - 0.28 / figure.get_size_inches()[1]  # the title has a line of its own
        figure.legend(handles, labels, loc="upper right", bbox_to_anchor=(1, below), borderaxespad=0.4, ncols=3)


@styled
def run_view(
    metrics: pd.DataFrame,
    episodes: pd.DataFrame,
    *,
    title: str,
    template: Template,
    evals: pd.DataFrame | None = None,
    objective: str = "pretrainzero",
    others: dict[str, pd.DataFrame] | None = None,
) -> Picture:
    """The picture of one run: reward, groups without signal, length and entropy of each role by step; scores by step,
    where it was evaluated (evals: rows of its eval.csv); the masks of the latest step over their passage; episodes.

    objective: whose colour it has. others: rows of stored runs with other seeds (`results.other_seeds`), drawn in grey
    behind the curves.
    `metrics` and `episodes` as a run folder has them (the latest step's episodes are enough); both may be empty. A run
    without a generator simply lacks its lines. Raises ValueError where `metrics` has rows but no "step".
    """
    if len(metrics) and "step" not in metrics:
        raise ValueError(f"metrics: 'step' is not a column; it has {sorted(metrics.columns)}")
    width, height, inner = WIDE, 5.8, WIDE - 0.4
    figure = Picture(width, height)
    figure.text(0.2 / width, 1 - 0.1 / height, title, fontsize=11, weight="bold", va="top")
    asked = evals is not None and bool(set(GROUPS) & set(evals["group"]))
    panels = len(PANELS) + asked
    across = (width - 0.75) / panels
    places = [((0.55 + i * across) / width, 3.6 / height, (across - 0.42) / width, 1.4 / height) for i in range(panels)]
    mark, others = marks_of([objective])[objective], others or {}
    _curves(figure, places[: len(PANELS)], metrics, mark, others.get("training"))
    if asked:
        _scores(figure.add_axes(places[-1]), evals.assign(seed=0), mark, others.get("tinybench"))
        for ax in figure.axes:  # five are closer to each other than four
            ax.set_title(ax.get_title("left"), fontsize=8.5)
    heat = heat_of(episodes, template) if len(episodes) else None
    high = _height(heat.text, inner, 6) if heat else 0  # the heat map takes what its text needs, the episodes the rest
    nothing = "No legal mask in the latest step" if len(episodes) else "No step yet"
    _heat_panel(figure, (0.2, 2.8 - high, inner, high or 0.01), heat, nothing)
    _episode_panel(figure.add_axes((0.2 / width, 0.05 / height, inner / width, (2.35 - high) / height)), episodes)
    return figure
