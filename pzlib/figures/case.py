"""One passage with its masks, and what models answer to one of them: PretrainZero's Fig. 8 as a picture.
Left out: the paper's own passage, of which our notes have a part; `results.collect_case` chooses one of ours."""

import textwrap

import pandas as pd
from matplotlib.cm import ScalarMappable

from pzlib.figures.forms import marked
from pzlib.figures.inspector import mask_places
from pzlib.figures.run_view import ACCURACY, ADVANCE, LEADING, MONO, passage_heat, text_grid
from pzlib.figures.style import METHODS, WIDTH, Picture, caption, styled
from pzlib.masking import MASK
from pzlib.studies.boxes import headlines

INNER = WIDTH - 0.3  # inches
MOST, LONGEST = 4, 14  # lines of an answer, and of the passage


@styled
def case(case: pd.DataFrame, source: str = "data/results/case.csv") -> Picture:
    """PretrainZero's Fig. 8, of a small model: a passage with the masks that the generator chose at the end of
    training, coloured by how many of their predictions were right, and what base and trained models answer to one of
    them. The mask is the one of its step on which training gained most; the answer shown is a model's first right one
    where at least half are right, else its first wrong one."""
    masks, answers = case[case["completion"].isna()], case[case["completion"].notna()]
    target, kind = answers[["target", "kind"]].fillna("").iloc[0]
    text = masks["masked"].iloc[0].replace(MASK, masks["target"].iloc[0])
    places = [(*place, row.right) for row in masks.itertuples() for place in mask_places(row.masked, row.target)]
    columns = int(INNER / ADVANCE)
    marks, lines = marked(answers), []
    for row in answers.itertuples():
        mark = METHODS["base"] if row.step == 0 else marks[row.arm]
        verdict = f"{round(row.right * row.n)} of {row.n} answers right"
        said = textwrap.wrap(" ".join(row.completion.split()), columns - 2)
        said = said if len(said) <= MOST else [*said[: MOST - 1], "…" + said[-1]]
        lines.append((f"{mark.label}: {verdict}", mark.colour, "bold"))
        lines += [(f"  {line}", "#202020", "normal") for line in said]
    high = (min(len(textwrap.wrap(text, columns)), LONGEST) + 0.2) * LEADING
    low = (len(lines) + 1.3) * LEADING
    height = high + low + 0.38
    figure = Picture(WIDTH, height)
    upper = figure.add_axes((0.15 / WIDTH, (low + 0.08) / height, INNER / WIDTH, high / height))
    passage_heat(upper, text, places)
    upper.set_title("Masks that the generator chose", y=1, pad=4)
    bar = upper.inset_axes([0.7, 1 + 0.08 / high, 0.16, 0.1 / high])
    figure.colorbar(ScalarMappable(cmap=ACCURACY), cax=bar, orientation="horizontal", ticks=[])
    for at, words, side in ((0, "right: none ", "right"), (1, " all", "left")):
        bar.text(at, 0.5, words, ha=side, va="center", fontsize=8, transform=bar.transAxes)
    lower = figure.add_axes((0.15 / WIDTH, 0.02 / height, INNER / WIDTH, low / height))
    text_grid(lower)
    lower.text(
        0, 0.5, f"Asked: the mask “{target}”" + f" ({kind})".replace("_", " ") * bool(kind), fontsize=9, va="center"
    )
    for place, (words, colour, weight) in enumerate(lines):
        lower.text(0, place + 1.7, words, color=colour, weight=weight, **MONO)
    seed, tier = case[["seed", "tier"]].iloc[0]
    words = (
        "Dashed: all predictions right, or all wrong: nothing is learned. Of its step the mask with the largest gain."
    )
    return caption(figure, headlines.case(answers), words, f"{source}, tier {tier}, seed {seed}.")
