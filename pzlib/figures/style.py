"""How every picture of this project looks: fonts, colours and marks of the methods and roles, captions, files.
Left out of the papers: their colours and layouts; methods and roles keep one colour and marker everywhere."""

import functools
import io
import textwrap
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from PIL import Image

from pzlib.studies.metrics import label_of

WIDTH = 7.0  # inches: the text width of a paper, so that the font sizes below are those in print
CAPTION_COLUMNS = 116  # characters of 8 pt on that width


class Mark(NamedTuple):
    """How one method or role is drawn: its label, its colour, its marker, its line."""

    label: str
    colour: str
    marker: str
    line: str = "-"


# Okabe & Ito's palette: told apart by people with any of the common colour blindnesses.
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
}
METHODS = {name: Mark(label_of(name), *look) for name, look in _LOOKS.items()}
_NAMED = {words.lower(): name for name, mark in METHODS.items() for words in (name.replace("_", " "), mark.label)}
_NAMED["the base"] = "base"
ROLES = {"predictor": "", "generator": "--"}  # of a method: its own line, or this one with open marks
STORED = "#8C8C8C"  # stored runs behind a run's own curve

# Kinds of span: greys for what teaches nothing, colours in the order of the names for all others (the last three are
# of P. Tol's muted scheme).
GREYS = {"trivial": "#D9D9D9", "function": "#D9D9D9", "other": "#A6A6A6", "irreducible": "#404040"}
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#882255", "#332288", "#DDCC77")
CLASS_COLOURS = {"trivial": GREYS["trivial"], "reasoning": "#0072B2", "irreducible": GREYS["irreducible"]}
SPLIT_LOOKS = {"easy": ("#56B4E9", "o"), "medium": ("#0072B2", "s"), "hard": ("#332288", "^")}  # of next tokens
WAY_LOOKS = {"direct": ("#D55E00", "s"), "free": ("#595959", "D"), "reasoning": ("#0072B2", "o")}  # of answering
VERDICT_LOOKS = {
    "reproduced": ("#0072B2", "o"), "contradicted": ("#D55E00", "s"), "no difference": ("#009E73", "^"),
    "inconclusive": ("#8C8C8C", "D"), "precondition failed": ("#CC79A7", "X"),
}  # fmt: skip

LINES = tuple(colour for colour in COLOURS if colour not in ("#F0E442", "#DDCC77"))  # too pale for a line on white
MARKERS, DASHES = "os^vDPX*<>", ("-", "--", ":")
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

    def __init__(self, width: float, height: float, **kwargs) -> None:
        super().__init__(figsize=(width, height), dpi=110, **kwargs)

    def draw(self, renderer) -> None:
        # Ticks are made while drawing and take their sizes from the settings of then. A corpus may hold
        # any script: a letter that the font lacks is drawn as a box, without one warning for each.
        with matplotlib.rc_context(STYLE), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            super().draw(renderer)

    def png(self) -> bytes:
        """The picture as a PNG file's bytes; no date or version inside, so equal data give equal bytes.

        256 colours, which halves it: a notebook with ten pictures should stay under a megabyte.
        """
        full, small = io.BytesIO(), io.BytesIO()
        self.savefig(full, format="png")
        Image.open(full).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, "png", optimize=True)
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


def marks_of(arms: Iterable[str]) -> dict[str, Mark]:
    """A Mark for each arm of a study, in order: a method keeps its own, a variant gets the next free one.

    What goes on "from" a method has that method's look. A variant goes by its name, "sft, something" by the method's
    label. No two of 15 variants look alike.

    >>> {arm: mark[:2] for arm, mark in marks_of(["one mask", "from PretrainZero", "sft, late"]).items()}
    {'one mask': ('one mask', '#E69F00'), 'from PretrainZero': ('from PretrainZero', '#0072B2'),
     'sft, late': ('Supervised fine-tuning, late', '#009E73')}
    """
    arms = list(dict.fromkeys(arms))
    own = {arm: METHODS[arm] for arm in arms if arm in METHODS}
    started = {arm: _NAMED.get(arm.removeprefix("from ").lower()) for arm in arms if arm.startswith("from ")}
    own |= {arm: METHODS[name]._replace(label=arm) for arm, name in started.items() if name and name not in own}
    taken = {part for mark in own.values() for part in mark}
    colours, markers = ([part for part in cycle if part not in taken] for cycle in (LINES, MARKERS))
    marks, variants = dict.fromkeys(arms) | own, [arm for arm in arms if arm not in own]
    for place, arm in enumerate(variants):
        line = DASHES[place // len(colours) % len(DASHES)]
        marks[arm] = Mark(label_of(arm), colours[place % len(colours)], markers[place % len(markers)], line)
    return marks


def colours_of_kinds(kinds: list[str]) -> list[str]:
    """One colour for each kind of span; the same kinds always get the same colours.

    >>> colours_of_kinds(["trivial", "sum", "weekday"])
    ['#D9D9D9', '#0072B2', '#E69F00']
    """
    plain = sorted(kind for kind in kinds if kind not in GREYS)
    chosen = {kind: COLOURS[i % len(COLOURS)] for i, kind in enumerate(plain)}
    return [GREYS.get(kind) or chosen[kind] for kind in kinds]


def caption(figure: Figure, words: str, source: str) -> Figure:
    """The constrained-layout figure, with what the marks mean and then where the numbers come from written under it."""
    lines = textwrap.wrap(words.replace(" %", "\u00a0%"), CAPTION_COLUMNS)  # no line begins with a %
    text = "\n".join([*lines, *textwrap.wrap(source, CAPTION_COLUMNS)]).replace("\u00a0", " ")
    height = figure.get_figheight()
    share = (text.count("\n") + 1) * 8 * 1.25 / 72 / height + 0.06 / height
    figure.text(0.006, 0.04 / height, text, fontsize=8, va="bottom", color="#404040", linespacing=1.2)
    figure.get_layout_engine().set(rect=(0, share, 1, 1 - share))
    return figure


def save(figure: Figure, name: str, folder: str | Path = "figures") -> list[Path]:
    """Save `<folder>/<name>.png` (200 dpi) and `.pdf`; equal data give equal files. Returns both paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png", folder / f"{name}.pdf"]
    layout, dpi = figure.get_layout_engine(), figure.dpi
    # not by savefig, which draws everything once more beforehand, to measure what is measured already
    with matplotlib.rc_context(STYLE):
        figure.set_dpi(200)
        FigureCanvasAgg(figure).print_png(paths[0], metadata={"Software": None})
        figure.set_dpi(dpi)
        figure.set_layout_engine("none")  # laid out once for both files: it takes longer than the drawing
        FigureCanvasPdf(figure).print_pdf(paths[1], metadata={"CreationDate": None, "Creator": None, "Producer": None})
    figure.set_layout_engine(layout)
    return paths
