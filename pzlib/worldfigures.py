"""Pictures of the small world and of its base model, for notebook 01: tables of `pzlib.calibration` in, Figures out.
Left out: methods and their results, which are in `pzlib.figures`."""

import pandas as pd

from pzlib.style import GREYS, WIDTH, Picture, styled

CLASSES = {"trivial": GREYS["trivial"], "reasoning": "#0072B2", "irreducible": GREYS["irreducible"]}
WAYS = {"direct": ("#D55E00", "s"), "free": ("#595959", "D"), "reasoning": ("#0072B2", "o")}


@styled
def entropy_of_worlds(tables: dict[str, pd.DataFrame]) -> Picture:
    """What an entropy rule would pick: for each world the kinds of all its positions and of its high-entropy fifth.

    tables: world -> `calibration.next_token_entropy` of it.
    """
    figure = Picture(WIDTH, 0.75 + 0.55 * len(tables), layout="constrained")
    ax = figure.subplots()
    labels, place = [], 0
    for world, table in tables.items():
        for name, rows in (
            (f"{world}, all positions", table),
            (f"{world}, highest fifth", table[table.top_fifth]),
        ):
            shares, left = rows.from_left.value_counts(normalize=True), 0.0
            for kind, colour in CLASSES.items():
                share = shares.get(kind, 0.0)
                ax.barh(place, share, left=left, color=colour, height=0.7, label=kind if not labels else None)
                if share > 0.06:
                    dark = kind != "trivial"
                    ax.text(
                        left + share / 2,
                        place,
                        f"{share:.0%}",
                        ha="center",
                        va="center",
                        color="white" if dark else "black",
                    )
                left += share
            labels.append(name)
            place += 1
        place += 0.4
    ticks = [n + 0.4 * (n // 2) for n in range(len(labels))]
    ax.set(
        yticks=ticks,
        yticklabels=labels,
        xlim=(0, 1),
        xlabel="Share of positions, by what can be said of them from the left",
    )
    ax.invert_yaxis()
    ax.grid(False)
    figure.legend(loc="outside upper center", ncols=3)
    return figure


@styled
def spans_by_kind(table: pd.DataFrame) -> Picture:
    """Base accuracy on masked spans by kind: answered directly, as it likes, and with a reasoning (`base_spans`)."""
    kinds = table[table.way == "free"].sort_values(["class", "pass@1"])["kind"].tolist()
    figure = Picture(WIDTH, 1.2 + 0.24 * len(kinds), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for ax, score in zip(axes, ("pass@1", "pass@8"), strict=True):
        for way, (colour, marker) in WAYS.items():
            rows = table[table.way == way].set_index("kind").loc[kinds]
            ax.plot(
                rows[score],
                range(len(kinds)),
                marker,
                color=colour,
                ms=5,
                label=way if ax is axes[0] else None,
            )
        ax.set(title=f"{score} at temperature 1", xlim=(-0.03, 1.03), xlabel="Share right")
    axes[0].set_yticks(range(len(kinds)), kinds)
    figure.legend(loc="outside upper center", ncols=3)
    return figure
