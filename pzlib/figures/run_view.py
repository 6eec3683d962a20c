"""What one run looks like: curves of both roles, masks as a heat map over their passage, sample episodes.
Left out: runs side by side (`training`), a run's files (`live`), scripts the font lacks, such as Chinese."""

import textwrap
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle

from pzlib.figures.style import ROLES, Picture, styled
from pzlib.masking import MASK
from pzlib.prompts import Template

# Light enough for black text on every colour; falling in lightness, so it can be read without colour vision.
ACCURACY = LinearSegmentedColormap.from_list("accuracy", ["#FFF3C4", "#F5C26B", "#7FC4B8", "#4A9BC7"])
WIDE = 10.0  # inches, of a screen
SIZE = 8.5  # pt of the monospace text
ADVANCE, LEADING = 0.602, 1.55  # width of one character of that font and distance of two lines, in font sizes
MONO = {"family": "DejaVu Sans Mono", "parse_math": False, "va": "center", "ha": "left", "fontsize": SIZE}
PANELS = {
    "reward": "Reward",
    "dead_groups": "Groups without signal (share)",
    "length": "Length (tokens)",
    "entropy": "Entropy (nats a token)",
}


class Heat(NamedTuple):
    """A passage and the masks tried on it: (start, end, share of right predictions), by characters."""

    passage_id: str
    text: str
    masks: list[tuple[int, int, float]]


def heat_of(episodes: pd.DataFrame, template: Template) -> Heat | None:
    """The first passage of the latest step and its masks, read back from the predictor's prompts; None where no mask
    was legal. The prompts themselves say where the masks are, so this holds for every rule of `pzlib.masking`.

    >>> rows = {"role": "predictor", "passage_id": "p", "mask": "two", "block": 0, "group_index": 0}
    >>> rows |= {"step": 1, "prompt": "Passage : one [mask] . Answer :", "reward": [1.0, 0.0]}
    >>> heat_of(pd.DataFrame(rows), Template("{text}", "Passage : {text} Answer :", "{text}"))
    Heat(passage_id='p', text='one two .', masks=[(4, 7, 0.5)])
    """
    rows = episodes[(episodes["role"] == "predictor") & episodes["mask"].notna() & episodes["reward"].notna()]
    if rows.empty:
        return None
    rows = rows[rows["step"] == rows["step"].max()]
    chosen = rows["passage_id"].iloc[0]
    before, after = template.predictor.split("{text}")
    text, masks = "", []
    groups = rows[rows["passage_id"] == chosen].groupby(["block", "group_index", "mask"], sort=False)
    for (_, _, mask), group in groups:
        pieces = group["prompt"].iloc[0].removeprefix(before).removesuffix(after).split(MASK)
        text = mask.join(pieces)
        starts = np.cumsum([len(piece) for piece in pieces[:-1]]) + len(mask) * np.arange(len(pieces) - 1)
        masks += [(int(start), int(start) + len(mask), float(group["reward"].mean())) for start in starts]
    return Heat(str(chosen), text, masks)


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


def _room(width: float, height: float) -> tuple[int, int]:
    """Columns and lines of monospace text that fit into so many inches."""
    return int(width * 72 / (ADVANCE * SIZE)), int(height * 72 / (LEADING * SIZE) + 1e-6)


def _height(text: str, width: float, most: int) -> float:
    """Inches that `text` needs on so many inches of width, of at most so many lines."""
    return min(most, len(_lines(text, _room(width, 1)[0]))) * LEADING * SIZE / 72


def _grid(ax) -> tuple[int, int]:
    """Make `ax`, whose place in the figure is fixed, a grid of characters. Returns its columns and lines."""
    width, height = ax.get_position().size * ax.figure.get_size_inches()
    ax.set(xlim=(0, width * 72 / (ADVANCE * SIZE)), ylim=(height * 72 / (LEADING * SIZE), 0))
    ax.set_axis_off()
    return _room(width, height)


@styled
def passage_heat(ax, text: str, masks: list[tuple[int, int, float]]) -> tuple[int, int, int]:
    """Lay `text` out in `ax`, its characters coloured by the mean accuracy on the masks that covered them.

    White was never masked; a dashed edge marks accuracy 0 or 1, where no prediction teaches anything. Of a text too
    long for `ax` the part with most masks is shown. Returns (first line shown, lines shown, lines in all).
    """
    columns, room = _grid(ax)
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


def _heat_panel(figure: Picture, place: tuple, heat: Heat | None) -> None:
    """Heat map with its title and colour bar at a place in inches; a line of words while there is nothing to show."""
    size = figure.get_size_inches()
    ax = figure.add_axes(np.divide(place, [*size, *size]))
    if heat is None:
        ax.set_axis_off()
        ax.set_title("No legal mask in the latest step", y=1, pad=5)
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


def sample_episodes(episodes: pd.DataFrame) -> pd.DataFrame:
    """A generator's mask of the latest step, a right and a wrong prediction of it, where there are any.

    The first mask on which predictions differ, since only there something is learnt; else the first of all.
    """
    latest = episodes[episodes["step"] == episodes["step"].max()]
    predictions = latest[(latest["role"] == "predictor") & latest["reward"].notna()]
    if predictions.empty:
        return latest.head(1)
    keys = ["passage_id", "block", "group_index"]
    mixed = predictions.groupby(keys)["reward"].transform("nunique") > 1
    first = (predictions[mixed] if mixed.any() else predictions).iloc[0]
    group = predictions[(predictions[keys] == first[keys]).all(axis=1)].sort_values("reward", ascending=False)
    masks = latest[(latest["role"] == "generator") & (latest[keys[:2]] == first[keys[:2]]).all(axis=1)]
    chosen = [masks[masks["mask"] == first["mask"]].head(1), group.drop_duplicates("reward")]
    return pd.concat([part for part in chosen if len(part)])


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
    columns, room = _grid(ax)
    samples, line = sample_episodes(episodes), 0
    for row in samples.itertuples():
        for number, text in enumerate(_episode(row, columns, max(1, room // len(samples) - 1))):
            look = {"weight": "bold"} if number == 0 else {"color": "#333333"}
            ax.text(0, line + 0.5, text, **MONO, **look)
            line += 1
    ax.set_title("Sample episodes of the latest step (completions: their end)" if line else "No episode yet")


def _curves(figure: Picture, places: list, metrics: pd.DataFrame) -> None:
    """One small panel for each of `PANELS`, a line for each role that the run has."""
    for place, (panel, title) in zip(places, PANELS.items(), strict=True):
        ax = figure.add_axes(place)
        for role, mark in ROLES.items():
            column = f"{role}/{panel}"
            if column not in metrics or metrics[column].isna().all():
                continue
            values = metrics[column].astype(float)
            window = max(1, len(values) // 15)
            smooth = values.rolling(window, min_periods=1).mean()
            look = {"color": mark.colour, "marker": mark.marker if len(values) < 20 else "", "markersize": 3}
            if window > 1:
                ax.plot(metrics["step"], values, color=mark.colour, linewidth=0.5, alpha=0.35)
            ax.plot(metrics["step"], smooth, mark.line, **look, label=mark.label)
        lowest, highest = ax.dataLim.intervaly
        if panel == "dead_groups" or panel == "reward" and lowest >= 0 and highest <= 1:  # RLP's rewards are no shares
            ax.set_ylim(-0.02, 1.02)
        elif panel != "reward":
            ax.set_ylim(0, None)
        ax.set(title=title, xlabel="Step")
        ax.xaxis.get_major_locator().set_params(integer=True, nbins=4)
        if len(metrics) == 1:
            ax.set_xlim(0, 2 * metrics["step"].iloc[0])
        if panel == "reward" and ax.has_data():
            place = {"loc": "upper right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.6, "ncols": 2}
            figure.legend(*ax.get_legend_handles_labels(), **place)


@styled
def run_view(metrics: pd.DataFrame, episodes: pd.DataFrame, *, title: str, template: Template) -> Picture:
    """The picture of one run: reward, groups without signal, length and entropy of each role by step; the masks of the
    latest step over their passage; sample episodes.

    `metrics` and `episodes` as a run folder has them (the latest step's episodes are enough); both may be empty. A run
    without a generator simply lacks its lines. Raises ValueError where `metrics` has rows but no "step".
    """
    if len(metrics) and "step" not in metrics:
        raise ValueError(f"metrics: 'step' is not a column; it has {sorted(metrics.columns)}")
    width, height = WIDE, 5.6
    figure = Picture(width, height)
    figure.text(0.2 / width, 1 - 0.1 / height, title, fontsize=11, weight="bold", va="top")
    across = (width - 0.75) / 4
    places = [((0.55 + i * across) / width, 3.6 / height, (across - 0.42) / width, 1.4 / height) for i in range(4)]
    _curves(figure, places, metrics)
    heat = heat_of(episodes, template) if len(episodes) else None
    inner = width - 0.4
    high = _height(heat.text, inner, 6) if heat else 0  # the heat map takes what its text needs, the episodes the rest
    _heat_panel(figure, (0.2, 2.8 - high, inner, high or 0.01), heat)
    _episode_panel(figure.add_axes((0.2 / width, 0.05 / height, inner / width, (2.35 - high) / height)), episodes)
    return figure
