"""The figure of a paper's claims can be read, is turned the claims' way, and shows what an inconclusive claim needs."""

import math

import pytest
from readable import assert_readable
from synthetic import judged_claims

from pzlib.figures.ledger import FURTHEST, ledger_figure
from pzlib.studies import claims

LEDGER = claims.load()


def marks(figure):
    """{claim: (effect, printed size or None)}, in margins."""
    found = {}
    for ax in figure.axes:
        for tick, label in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True):
            points = [line for line in ax.get_lines() if len(line.get_xdata()) == 1 and line.get_ydata()[0] == tick]
            found[label.get_text()] = [line.get_xdata()[0] for line in points]
    return found


@pytest.mark.parametrize("paper", claims.PAPERS)
def test_every_paper_has_a_page_of_its_claims(paper):
    table = judged_claims(LEDGER)
    figure = ledger_figure(table, paper)
    assert_readable(figure)
    assert figure.get_figheight() < 11
    own = table[(table["paper"] == paper) & table["effect"].notna()]
    assert set(marks(figure)) == set(own["id"])
    needed = [text.get_text() for ax in figure.axes for text in ax.texts if text.get_text()]
    assert needed == ["12"] * own["verdict"].str.startswith("inconclusive").sum()


def test_effects_are_in_margins_and_turned_the_claims_way():
    table = judged_claims(LEDGER)
    found, row = marks(ledger_figure(table, "pretrainzero")), table.set_index("id").loc["4b-cpt-base-overall"]
    assert found["4b-cpt-base-overall"] == pytest.approx([-row["effect"] / 2, (32.36 - 15.89) / 2])
    row = table.set_index("id").loc["next-token-above-span"]
    effect, printed = found["next-token-above-span"]
    assert effect == row["effect"] / 2 and math.isnan(printed)
    assert len(found["entropy-holds"]) == 1  # not an accuracy: the printed sizes have another unit
    far = ledger_figure(table.assign(effect=1e6), "pretrainzero")
    assert marks(far)["next-token-above-span"][0] == FURTHEST


def test_a_ledger_of_few_seeds_says_so():
    table = judged_claims(LEDGER)
    made = [ledger_figure(some, "ncr") for some in (table, table.assign(note=f"3 of 10 {claims.PLANNED}"))]
    words = [" ".join(figure.texts[-1].get_text().split()) for figure in made]
    assert_readable(made[1])
    n = ((table["paper"] == "ncr") & table["effect"].notna() & (table["margin"] > 0)).sum()
    assert "planned" not in words[0] and f"{n} of {n} are on a part of the planned seeds." in words[1]


def test_a_ledger_without_runs_is_an_empty_page():
    assert_readable(ledger_figure(claims.ledger(LEDGER, {}), "ncr"))
