"""Cases as HTML: every text is shown and none is obeyed, masks and boxes are marked, right is told in words."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plainpage import Page

from pzlib.evaluation.cases import tidy
from pzlib.figures import inspector
from pzlib.figures.inspector import MANY, casebook
from pzlib.studies.patterns import RULES

TAGS = {"div", "p", "b", "br", "mark", "details", "summary", "table", "tr", "th", "td", "span"}
WILD = ["<script>alert(1)</script>", "</div></td></table>", "$x_1$ and \\(y\\)", "<!-- ", "&lt;b&gt;", "\x00\x1b[31m"]
WILD += ["<img src=x onerror=alert(1)>", '" onclick="alert(1)', "\\boxed{</div>}", "</summary></details>"]


def rows(said, prompt="Rome is in [mask] .", **columns):
    """One case answered by the sources of `said`: {source: [(completion, right), ...]}."""
    found = [{"source": source, "completion": text, "right": right, "prompt": prompt, "target": "Italy", **columns}
             for source, answers in said.items() for text, right in answers]  # fmt: skip
    return tidy(pd.DataFrame(found))


def shown(table, rule="random", **given):
    return Page(casebook(table, {rule: table["case"].unique().tolist()}, **given))


@pytest.mark.parametrize("text", WILD)
def test_what_a_model_says_is_shown_and_not_obeyed(text):
    table = rows({text: [(text, 1.0)] * 2}, prompt=f"{text} [mask]", kind=text)
    page = shown(table, rule=text)
    visible = text.replace("\x00", "\ufffd").replace("\x1b", "\ufffd")
    # The rule, the kind, the passage, the source and its two answers.
    assert page.text.count(visible) == 6 and set(page.tags) <= TAGS


@given(st.text(max_size=80), st.text(max_size=40))
def test_any_text_comes_back_as_it_was(said, before):
    page = Page(inspector.completion(said) + inspector.passage(before + "[mask]"))
    assert set(page.tags) <= {"div", "mark"}
    kept = "".join("\ufffd" if ord(c) < 32 and c not in "\t\n" or ord(c) == 127 else c for c in said)
    assert page.text.startswith(kept.replace("\r", "\ufffd")) and page.marked[-1] == "[mask]"


def test_the_box_that_counts_and_the_masks_are_marked():
    page = Page(inspector.completion("First \\boxed{1}, or \\boxed {\\frac{1}{2}} I think"))
    assert page.marked == ["\\boxed {\\frac{1}{2}}"]
    assert Page(inspector.completion("\\boxed{3")).marked == [] == Page(inspector.completion("3")).marked
    before, _, after = inspector.completion("<think>\\boxed{1}</think> \\boxed{1}").partition("/think")
    assert "<mark" in after and "<mark" not in before  # the answer, not the equal thought
    assert Page(inspector.passage("a [mask] b [mask]")).marked == ["[mask]", "[mask]"]


def test_long_texts_fold_with_both_ends_or_the_mask_in_sight():
    said = "Beginning " + "x" * 5000 + " end \\boxed{7}"
    html = inspector.completion(said)
    glimpse, _, whole = html.partition("<details>")
    assert "Beginning" in glimpse and "\\boxed{7}" in glimpse and len(glimpse) < 1000
    assert Page(html).text.count("x") > 5000 and "all 5,024 characters" in html and "<mark" in whole
    passage = inspector.passage("y" * 4000 + " the [mask] word " + "z" * 4000)
    seen = Page(passage.partition("<details>")[0])
    assert "the [mask] word" in seen.text and len(seen.text) < 1000 and seen.text.startswith("…")
    assert "<details>" not in inspector.completion("x" * inspector.LONG)


def test_sources_stand_side_by_side_with_what_was_right():
    right = ("\\boxed{Italy}", 1.0)
    table = rows({"base": [("no", 0.0), right], "trained": [right] * 2, "new": [("?", None)]})
    html = casebook(table, {"random": table["case"].unique().tolist()}, {"base": "Base"})
    page = Page(html)
    assert page.tags.count("th") == page.tags.count("td") == 3 and page.tags.count("table") == 1
    assert "Base1 of 2 right" in page.text and "trained2 of 2 right" in page.text and "new1 not judged" in page.text
    assert "✗ wrongno1 more1 × ✓ right\\boxed{Italy}" in page.text  # not told by colour alone
    assert "target Italy" in page.text


def test_equal_answers_stand_once_and_too_many_are_counted():
    answers = [("first", 1.0), *[("same", 0.0)] * 5, *[(f"other {i}", 0.0) for i in range(MANY + 2)]]
    page = shown(rows({"a": answers}))
    assert page.text.count("same") == 1 and "5 × ✗ wrongsame" in page.text
    assert page.text.count("other") == MANY - 1 and "and 3 more, each different" in page.text


def test_the_first_answer_of_the_lowest_seed_is_in_sight():
    table = rows({"a": [("late", 1.0), ("early", 0.0)]}).assign(seed=[1, 0], sample=0)
    page = shown(table)
    assert page.text.index("early") < page.text.index("1 more") < page.text.index("late") and "2 seeds" in page.text


def test_a_rule_without_a_case_says_so_and_a_foreign_case_is_refused():
    table = rows({"a": [("x", 1.0)]}, prompt=None, case="q7")
    page = Page(casebook(table, {rule: [] for rule in RULES[:2]} | {"random": ["q7"]}))
    assert page.text.count("no such case") == 2 and "the prompt is not stored" in page.text
    with pytest.raises(ValueError, match="case: 'q8' is not in the table"):
        casebook(table, {"random": ["q8"]})
