"""How every picture of this project looks: fonts, colours and marks of the methods and roles, captions, files.
Left out of the papers: their colours and layouts; methods and roles keep one colour and marker everywhere."""

import functools
import io
import textwrap
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from PIL import Image

from pzlib.studies.metrics import label_of

WIDTH = 7.0  # inches: the text width of a paper, so that the font sizes below are those in print
CAPTION_COLUMNS, HEADLINE_COLUMNS = 116, 82  # characters of 8 pt, and of bold 9.5 pt, on that width
DPI = 160  # of the files: 1,120 pixels, for a page that shows 800


class Mark(NamedTuple):
    """How one method, variant or role is drawn: label, colour, marker, line; a variant's marks are open."""

    label: str
    colour: str
    marker: str
    line: str | tuple = "-"
    open: bool = False

    @property
    def look(self) -> dict:
        """As matplotlib takes it: colour, marker and what fills it.

        >>> Mark("Base", "#595959", "D").look
        {'color': '#595959', 'marker': 'D', 'markerfacecolor': '#595959'}
        """
        face = "white" if self.open else self.colour
        return {"color": self.colour, "marker": self.marker, "markerfacecolor": face}


# Okabe & Ito's palette and others like it: told apart by people with any of the common colour blindnesses.
_LOOKS = {
    "base": ("#595959", "D"),
    "pretrainzero": ("#0072B2", "o"),
    "random_span": ("#D55E00", "s"),
    "random_next_token": ("#009E73", "^"),
    "entropy_next_token": ("#CC79A7", "v"),
    "sft": ("#E69F00", "P"),
    "mixed_sft": ("#999933", "p"),
    "continued_pretraining": ("#56B4E9", "X"),
    "rlvr": ("#882255", "*"),
    "rpt": ("#332288", "<"),
    "rlp": ("#117733", ">"),
    "rlpt": ("#8C564B", "d"),
    "quiet_star": ("#17808C", "h"),
}
METHODS = {name: Mark(label_of(name), *look) for name, look in _LOOKS.items()}
_NAMED = {words.lower(): name for name, mark in METHODS.items() for words in (name.replace("_", " "), mark.label, name)}
_NAMED |= {"the base": "base", "cpt": "continued_pretraining"}
OTHERS = (("#7F3C8D", "H"), ("#A0522D", "8"), ("#4B5320", "h"), ("#708090", "d"))  # of methods that nobody listed
DASHES, SHADES = ("--", ":", "-.", (0, (6, 1, 1, 1, 1, 1))), (0.0, 0.3, 0.5)  # of a method's variants, in turn
ROLES = {"predictor": "", "generator": "--"}  # of a method: its own line, or this one
STORED = "#8C8C8C"  # stored runs behind a run's own curve

CLASS_COLOURS = {"trivial": "#D9D9D9", "reasoning": "#0072B2", "irreducible": "#404040"}  # greys teach nothing
SPLIT_LOOKS = {"easy": ("#56B4E9", "o"), "medium": ("#0072B2", "s"), "hard": ("#332288", "^")}  # of next tokens
WAY_LOOKS = {"direct": ("#D55E00", "s"), "free": ("#595959", "D"), "reasoning": ("#0072B2", "o")}  # of answering
VERDICT_LOOKS = {
    "reproduced": ("#0072B2", "o"), "contradicted": ("#D55E00", "s"), "no difference": ("#009E73", "^"),
    "inconclusive": ("#8C8C8C", "D"), "precondition failed": ("#CC79A7", "X"),
}  # fmt: skip
HATCHES = ("", "//", "..", "xx")  # bars are told apart without colour too

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 8),
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "pdf.fonttype": 42,  # real text in the PDF, not outlines
    "text.parse_math": False,  # a corpus may hold dollar signs
    "axes.unicode_minus": True,
}


class Picture(Figure):
    """A matplotlib Figure that a notebook shows as a PNG, without pyplot, its windows and its global state.

    >>> Picture(7, 2).get_size_inches().tolist()
    [7.0, 2.0]
    """

    headline, how, notes = "", "", ()  # what the gallery says of it

    def __init__(self, width: float, height: float, **kwargs) -> None:
        super().__init__(figsize=(width, height), dpi=110, **kwargs)

    def draw(self, renderer) -> None:
        # Ticks are made while drawing and take their sizes from the settings of then. A corpus may hold
        # any script: a letter that the font lacks is drawn as a box, without one warning for each.
        with matplotlib.rc_context(STYLE), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            super().draw(renderer)

    def png(self) -> bytes:
        """The picture as a PNG file's bytes, small: a notebook with ten should stay under a megabyte."""
        full, small = io.BytesIO(), io.BytesIO()
        self.savefig(full, format="png")
        _small(Image.open(full), small)
        return small.getvalue()

    _repr_png_ = png  # what a notebook asks for


def sheet(height: float) -> Picture:
    """An empty picture of the text's width whose parts find their own places."""
    return Picture(WIDTH, height, layout="constrained")


def grid(height: float, rows: int, columns: int, **shared) -> tuple:
    """Such a picture with its axes; `shared` as matplotlib's `subplots` takes it."""
    figure = sheet(height)
    return figure, figure.subplots(rows, columns, **shared)


def styled(function):
    """Decorator: draw under `STYLE`, and leave the caller's matplotlib settings as they were."""

    @functools.wraps(function)
    def drawn(*args, **kwargs):
        with matplotlib.rc_context(STYLE):
            return function(*args, **kwargs)

    return drawn


def marks_of(arms: Iterable[str], methods: Mapping[str, str] | None = None) -> dict[str, Mark]:
    """A Mark for each arm: a method's own; that of the method which it goes on "from"; or a variant's, which has its
    method's hue and marker, open, and a line of its own.

    methods: {arm: objective}, for arms whose names do not begin with their method's.

    >>> marks = marks_of(["pretrainzero", "one mask", "from PretrainZero, half way"], {"one mask": "pretrainzero"})
    >>> [(mark.colour, mark.marker, mark.open) for mark in marks.values()]
    [('#0072B2', 'o', False), ('#0072B2', 'o', True), ('#4c9cc9', 'o', True)]
    """
    marks, variants, others = {}, Counter(), iter(cycle(OTHERS))
    for arm in dict.fromkeys(arms):
        whole = arm.removeprefix("from ").lower()
        name = _NAMED.get(whole.split(", ")[0]) or (methods or {}).get(arm)
        if _NAMED.get(whole) == name is not None:
            marks[arm] = METHODS[name]._replace(label=arm if arm != name and arm.startswith("from ") else label_of(arm))
        elif name in METHODS:
            place, (_, hue, marker, *_) = variants[name], METHODS[name]
            variants[name] += 1
            white = SHADES[place % len(SHADES)]
            mixed = to_hex([white + (1 - white) * part for part in to_rgb(hue)]) if white else hue
            marks[arm] = Mark(label_of(arm), mixed, marker, DASHES[place % len(DASHES)], True)
        else:
            marks[arm] = Mark(label_of(arm), *next(others))
    return marks


def caption(figure: Figure, headline: str, words: str, source: str, notes: Sequence[str] = ()) -> Figure:
    """The constrained-layout figure with its finding above it, and what the marks mean and where the numbers come from
    in two lines below it.

    notes: further sentences, for the gallery. The figure grows by what is written.
    """
    figure.headline, figure.notes, figure.how = headline, list(notes), words
    above, below = (  # no line begins with a %
        "\n".join(textwrap.wrap(text.replace(" %", "\u00a0%"), columns)).replace("\u00a0", " ")
        for text, columns in ((headline, HEADLINE_COLUMNS), (f"{words} {source}".strip(), CAPTION_COLUMNS))
    )
    top, bottom = (above.count("\n") + 1) * 0.175 + 0.06 if above else 0, (below.count("\n") + 1) * 0.139 + 0.06
    layout, own = figure.get_layout_engine(), figure.get_figheight()
    height = own + top + bottom * (not layout)
    figure.set_figheight(height)
    figure.text(0.006, 1 - 0.05 / height, above, fontsize=9.5, weight="bold", va="top", linespacing=1.2)
    figure.text(0.006, 0.04 / height, below, fontsize=8, va="bottom", color="#404040", linespacing=1.2)
    for legend in figure.legends:  # under the headline; the layout leaves room for a legend at the very edge only
        legend.set_bbox_to_anchor((0, 0, 1, 1 - top / height))
        top += 0.09 + 0.165 * -(-len(legend.get_texts()) // legend._ncols)
    if layout:
        layout.set(rect=(0, bottom / height, 1, 1 - (bottom + top) / height))
        return figure
    for ax in figure.axes:  # of fixed places, which keep their sizes
        x, y, wide, high = ax.get_position().bounds
        ax.set_position((x, (y * own + bottom) / height, wide, high * own / height))
    return figure


def save(figure: Figure, name: str, folder: str | Path = "figures", pdf: bool = True) -> list[Path]:
    """Save `<folder>/<name>.png`, and `.pdf` if wanted; equal data give equal files. Returns the paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path, layout, dpi = folder / f"{name}.png", figure.get_layout_engine(), figure.dpi
    with matplotlib.rc_context(STYLE):
        figure.set_dpi(DPI)
        canvas = FigureCanvasAgg(figure)  # not savefig, which draws everything once more beforehand
        canvas.draw()
        _small(Image.fromarray(np.asarray(canvas.buffer_rgba())), path)
        figure.set_dpi(dpi)
        if pdf:
            figure.set_layout_engine("none")  # laid out once for both files: it takes longer than the drawing
            nothing = {"CreationDate": None, "Creator": None, "Producer": None}
            FigureCanvasPdf(figure).print_pdf(path.with_suffix(".pdf"), metadata=nothing)
            figure.set_layout_engine(layout)
    return [path, path.with_suffix(".pdf")] if pdf else [path]


def _small(image: Image.Image, file) -> None:
    """Write a PNG of 256 colours, which halves it, without a date or a version: equal pixels give equal bytes."""
    image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, "png", optimize=True)
