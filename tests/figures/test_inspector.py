"""The mask inspector and the casebook: right numbers over the right words, every kind of run, every text shown and none
obeyed, and a real JupyterLab without scripts."""

import json
import os
import subprocess
import sys

import nbformat
import pandas as pd
import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st
from plainpage import Page
from synthetic import fill
from test_browser import driver, lab, wait_for  # noqa: F401  (fixtures)

from pzlib.evaluation.cases import tidy
from pzlib.figures.inspector import LONG, MANY, casebook, completion, first_and_last, inspector, labelled, over, passage
from pzlib.masking import Passage
from pzlib.prompts import TEMPLATES, next_token_prompt
from pzlib.run import Run
from pzlib.runs.episodes import masks_of
from pzlib.runs.folder import RunFolder
from pzlib.studies.patterns import RULES
from pzlib.train import train

TAGS = {"div", "p", "b", "i", "br", "mark", "details", "summary", "table", "tr", "th", "td", "span"}
WILD = ["<script>alert(1)</script>", "</div></td></table>", "$x_1$ and \\(y\\)", "<!-- ", "&lt;b&gt;", "\x00\x1b[31m"]
WILD += ["<img src=x onerror=alert(1)>", '" onclick="alert(1)', "\\boxed{</div>}", "</summary></details>"]


def written(path, rows, objective="pretrainzero", **settings):
    """A run folder with these episodes of one step."""
    folder = RunFolder(path).open(Run(tier="smoke", objective=objective, **settings))
    rows = rows.drop(columns="step").astype(object)
    folder.write_episodes(1, 0, rows.where(rows.notna(), None).to_dict("records"))
    return folder


def test_masks_stand_over_their_words_with_their_accuracy():
    html = over("one two three", [(0, 7, 1.0, 1), (4, 13, 0.5, 2)])
    page = Page(html)
    assert page.text == "one two1: 100% three2: 50%"
    # Three stretches: "one " under mask 1, "two" under both, at the mean of their shares, " three" under mask 2.
    colours = [part.partition(";")[0] for part in html.split("background-color:")[1:]]
    assert len(set(colours)) == 3 and page.tags.count("span") == 3
    assert over("none", []) == "none" and Page(over("<b>", [(0, 3, 0.0, 1)])).text == "<b>1: 0%"


def test_a_passage_with_its_masks_and_what_is_behind_them(tmp_path):
    page = Page(inspector({"Mine": fill(tmp_path / "run")}, steps=2, passages=1))
    assert "Mine · 3 steps stored, 2 shown" in page.text and "step 2" not in page.text
    assert "step 3 · 1 passage, 1 shown · 4 of 4 masks legal · 44% of predictions right" in page.text
    assert "held on Friday1: 50% , two days" in page.text and "speak Orvian4: 0% ." in page.text
    assert "1 · Friday · 2 of 4 right · weekday · reward of the mask 0.50" in page.text
    assert "generator · reward 0.500 · advantage +0.00\\mask{ Friday }" in page.text
    assert page.text.count("generator · reward") == 2 * 4  # each mask's own, in both steps
    assert "2 × ✗ wrong · advantage +0.00two days on is Monday \\boxed{ Monday }" in page.text  # equal ones once
    assert not {"script", "style", "input"} & set(page.tags)  # what an untrusted notebook would drop
    assert page.text.count("the3: 100%") == 2 * synthetic.TEXT.count("the")  # every occurrence, in both steps


def test_every_passage_of_a_step_has_its_generator(tmp_path):
    first = synthetic.episodes()
    second = first.assign(block=1, passage_id="other", row=first["row"] + 72)  # rows count over the whole step
    folder = RunFolder(tmp_path / "run").open(Run(tier="smoke"))
    both = pd.concat([first, second]).drop(columns="step")
    folder.write_episodes(1, 0, both.astype(object).where(both.notna(), None).to_dict("records"))
    page = Page(inspector({"Mine": folder}, steps=1, passages=2))
    assert page.text.count("generator · reward 0.500 · advantage +0.00\\mask{ Friday }") == 2
    assert page.text.count("generator · reward") == 2 * 4


def test_a_run_without_a_generator_is_shown_too(tmp_path):
    page = Page(inspector({"Random": fill(tmp_path / "run", "random_span")}))
    assert "1 · Friday · 2 of 4 right" in page.text
    assert "generator" not in page.text and "legal" not in page.text


def test_illegal_masks_are_listed_apart(tmp_path):
    rows = synthetic.episodes()
    rows.loc[rows["mask"] == "Orvian", "legal"] = False
    rows = rows[~((rows["mask"] == "Orvian") & (rows["role"] == "predictor"))]
    page = Page(inspector({"a": written(tmp_path / "run", rows)}))
    assert "3 of 4 masks legal" in page.text and "1 not legal: nobody was asked\\mask{ Orvian }" in page.text
    assert "3 masks that were predicted" in page.text
    none = synthetic.episodes().query("role == 'generator'").assign(legal=False)
    page = Page(inspector({"a": written(tmp_path / "none", none)}))
    assert "0 masks that were predicted" in page.text and "4 not legal" in page.text


def test_masks_that_overlap_and_a_passage_cut_off_before_its_target(tmp_path):
    text = "the old mill had 12 wheels"
    masks = ["old mill", "mill had", "had"]
    rows = synthetic.episodes(objective="random_span").head(3).assign(mask=masks, group_index=[0, 1, 2], reward=1.0)
    rows["prompt"] = [f"Passage : {text.replace(mask, '[mask]')} Answer :" for mask in masks]
    page = Page(inspector({"a": written(tmp_path / "over", rows, "random_span")}))
    assert "the old mill1: 100% had2: 100%, 3: 100% 12 wheels" in page.text
    targets = ["old", "mill", "12"]
    rows["prompt"] = [next_token_prompt(text.partition(f" {target}")[0], TEMPLATES["tiny"]) for target in targets]
    page = Page(inspector({"a": written(tmp_path / "cut", rows.assign(mask=targets), "random_next_token")}))
    assert "the old1: 100% mill2: 100% had 123: 100%" in page.text  # as far as the longest prompt tells


def test_questions_that_are_no_masked_passage_are_shown_with_their_prompts(tmp_path):
    rows = synthetic.episodes(objective="random_span").head(4).assign(prompt=next_token_prompt("The old"))
    folder = written(tmp_path / "next", rows, "random_next_token", template="paper", max_prompt_tokens=512)
    page = Page(inspector({"a": folder}))
    assert "1 · Friday · 2 of 4 right" in page.text and page.text.count("The old") == 1

    gains = rows.assign(reward=[0.25, 0.5, -2.0, 1.0], verdict=["helped", "helped", "hurt", "helped"])
    page = Page(inspector({"a": written(tmp_path / "gain", gains, "rlp")}))
    assert "1 · Friday · 3 of 4 right" in page.text and "100% of" not in page.text
    assert "✗ wrong · reward -2.000" in page.text and "✓ right · reward 0.250" in page.text


@pytest.mark.parametrize("objective", ["rpt", "rlp", "rlvr"])
def test_real_runs_of_every_kind_are_shown(home, objective):
    folder = train(Run(tier="smoke", objective=objective, steps=1))
    page = Page(inspector({"a": folder}, passages=1))
    assert "1 step stored" in page.text and "1 · " in page.text and "right" in page.text


def test_a_run_without_episodes_is_refused_in_words(tmp_path):
    with pytest.raises(ValueError, match="run sft: has no episodes; supervised runs store none"):
        inspector({"a": RunFolder(tmp_path / "sft").open(Run(tier="smoke", objective="sft"))})


def test_the_slider_is_the_one_script_and_without_it_all_steps_unfold(tmp_path):
    folder = fill(tmp_path / "run")
    html = inspector({"Mine": folder}, steps=3, slider=True)
    plain, script = html.split("<script>")
    page = Page(plain.replace(' max="2" value="0" style="width:60%">', "></input>"))
    assert page.tags.count("input") == 1 and 'max="2"' in plain and "<div hidden>" in plain
    assert all(f"step {step} · 1 passage," in page.text for step in (1, 2, 3))
    assert "fetch" not in script and "http" not in script
    assert "<script>" not in inspector({"Mine": folder}, steps=3)
    assert "range" not in inspector({"Mine": folder}, steps=1, slider=True)  # one step needs none


def test_samples_of_the_first_and_last_step_are_side_by_side(tmp_path):
    page = Page(first_and_last(fill(tmp_path / "run")))
    assert page.tags.count("th") == page.tags.count("td") == 2 and "step 1" in page.text and "step 3" in page.text
    assert page.text.count("generator · mask 'Friday', weekday · reward 0.50") == 2
    assert page.text.count("✓ right") == page.text.count("✗ wrong") == 2
    assert page.text.count("held on [mask] , two days") == 2
    one = Page(first_and_last(fill(tmp_path / "one", "random_span", steps=1)))
    assert one.tags.count("td") == 1 and "✓ right" in one.text
    with pytest.raises(ValueError, match="run sft: has no episodes"):
        first_and_last(RunFolder(tmp_path / "sft").open(Run(tier="smoke", objective="sft")))


def test_its_size_is_bounded(tmp_path):
    rows = synthetic.episodes()
    many = [rows.assign(block=n, passage_id=f"p{n}") for n in range(9)]
    said = rows[rows["role"] == "predictor"].iloc[[0] * (MANY + 3)].assign(passage_id="p0", group_index=7)
    many.append(said.assign(completion=[f"guess {i}" for i in range(MANY + 3)]))
    page = Page(inspector({"a": written(tmp_path / "run", pd.concat(many))}, passages=2))
    assert "9 passages, 2 shown" in page.text and page.text.count("passage p") == 2
    assert "and 3 more, each different" in page.text and page.text.count("guess") == MANY


def answered(said, prompt="Rome is in [mask] .", **columns):
    """One case answered by the sources of `said`: {source: [(completion, right), ...]}."""
    found = [{"source": source, "completion": text, "right": right, "prompt": prompt, "target": "Italy", **columns}
             for source, answers in said.items() for text, right in answers]  # fmt: skip
    return tidy(pd.DataFrame(found))


def shown(table, rule="random", **given):
    return Page(casebook(table, {rule: table["case"].unique().tolist()}, **given))


@pytest.mark.parametrize("text", WILD)
def test_what_a_model_says_is_shown_and_not_obeyed(text):
    table = answered({text: [(text, 1.0)] * 2}, prompt=f"{text} [mask]", kind=text)
    page = shown(table, rule=text)
    visible = text.replace("\x00", "\ufffd").replace("\x1b", "\ufffd")
    # The rule, the kind, the passage, the source and its two answers.
    assert page.text.count(visible) == 6 and set(page.tags) <= TAGS


@given(st.text(max_size=80), st.text(max_size=40))
def test_any_text_comes_back_as_it_was(said, before):
    page = Page(completion(said) + passage(before + "[mask]"))
    assert set(page.tags) <= {"div", "mark"}
    kept = "".join("\ufffd" if ord(c) < 32 and c not in "\t\n" or ord(c) == 127 else c for c in said)
    assert page.text.startswith(kept.replace("\r", "\ufffd")) and page.marked[-1] == "[mask]"


def test_the_box_that_counts_and_the_masks_are_marked():
    page = Page(completion("First \\boxed{1}, or \\boxed {\\frac{1}{2}} I think"))
    assert page.marked == ["\\boxed {\\frac{1}{2}}"]
    assert Page(completion("\\boxed{3")).marked == [] == Page(completion("3")).marked
    before, _, after = completion("<think>\\boxed{1}</think> \\boxed{1}").partition("/think")
    assert "<mark" in after and "<mark" not in before  # the answer, not the equal thought
    assert Page(passage("a [mask] b [mask]")).marked == ["[mask]", "[mask]"]


def test_long_texts_fold_with_both_ends_or_the_mask_in_sight():
    said = "Beginning " + "x" * 5000 + " end \\boxed{7}"
    html = completion(said)
    glimpse, _, whole = html.partition("<details>")
    assert "Beginning" in glimpse and "\\boxed{7}" in glimpse and len(glimpse) < 1000
    assert Page(html).text.count("x") > 5000 and "all 5,024 characters" in html and "<mark" in whole
    folded = passage("y" * 4000 + " the [mask] word " + "z" * 4000)
    seen = Page(folded.partition("<details>")[0])
    assert "the [mask] word" in seen.text and len(seen.text) < 1000 and seen.text.startswith("…")
    assert "<details>" not in completion("x" * LONG)


def test_sources_stand_side_by_side_with_what_was_right():
    right = ("\\boxed{Italy}", 1.0)
    table = answered({"base": [("no", 0.0), right], "trained": [right] * 2, "new": [("?", None)]})
    html = casebook(table, {"random": table["case"].unique().tolist()}, {"base": "Base"})
    page = Page(html)
    assert page.tags.count("th") == page.tags.count("td") == 3 and page.tags.count("table") == 1
    assert "Base1 of 2 right" in page.text and "trained2 of 2 right" in page.text and "new1 not judged" in page.text
    assert "✗ wrongno1 more1 × ✓ right\\boxed{Italy}" in page.text  # not told by colour alone
    assert "target Italy" in page.text


def test_equal_answers_stand_once_and_too_many_are_counted():
    answers = [("first", 1.0), *[("same", 0.0)] * 5, *[(f"other {i}", 0.0) for i in range(MANY + 2)]]
    page = shown(answered({"a": answers}))
    assert page.text.count("same") == 1 and "5 × ✗ wrongsame" in page.text
    assert page.text.count("other") == MANY - 1 and "and 3 more, each different" in page.text


def test_the_first_answer_of_the_lowest_seed_is_in_sight():
    table = answered({"a": [("late", 1.0), ("early", 0.0)]}).assign(seed=[1, 0], sample=0)
    page = shown(table)
    assert page.text.index("early") < page.text.index("1 more") < page.text.index("late") and "2 seeds" in page.text


def test_a_rule_without_a_case_says_so_and_a_foreign_case_is_refused():
    table = answered({"a": [("x", 1.0)]}, prompt=None, case="q7")
    page = Page(casebook(table, {rule: [] for rule in RULES[:2]} | {"random": ["q7"]}))
    assert page.text.count("no such case") == 2 and "the prompt is not stored" in page.text
    with pytest.raises(ValueError, match="case: 'q8' is not in the table"):
        casebook(table, {"random": ["q8"]})


def notebook(path, *pages):
    """A stored notebook with these HTML outputs, as an executed copy has them."""
    outputs = [nbformat.v4.new_output("display_data", {"text/html": page, "text/plain": "HTML"}) for page in pages]
    cells = [nbformat.v4.new_code_cell("...", outputs=[output]) for output in outputs]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)


@pytest.mark.browser
def test_the_slider_shows_one_step_at_a_time(driver, tmp_path):  # noqa: F811
    page = tmp_path / "slider.html"
    page.write_text('<meta charset="utf-8">' + inspector({"Mine": fill(tmp_path / "run")}, steps=3, slider=True))
    driver.get(page.as_uri())
    seen = """
    const box = document.querySelector("[data-pzlib-steps]"), input = box.querySelector("input");
    if (arguments[0]) { input.value = arguments[0]; input.dispatchEvent(new Event("input")); }
    return [...box.children].slice(1).filter(e => e.getBoundingClientRect().height > 50)
        .map(e => e.innerText.slice(0, 6)).concat(input.getBoundingClientRect().width > 100);"""
    assert driver.execute_script(seen, None) == ["step 1", True]
    assert driver.execute_script(seen, "2") == ["step 3", True]
    driver.save_screenshot(str(tmp_path / "slider.png"))


@pytest.mark.browser
@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "untrusted"])
def test_an_executed_copy_unfolds_in_jupyterlab(driver, lab, tmp_path, trusted):  # noqa: F811
    folder, address = lab
    said = ["Is it $a_1$ or \\(b\\)? \\boxed{7}", "<script>document.title = 'obeyed'</script>"]
    table = tidy(pd.DataFrame({"source": ["a", "b"], "completion": said, "right": [1.0, 0.0], "prompt": "2 is [mask]"}))
    name = f"inspected_{trusted}.ipynb"
    pages = casebook(table, {"random": table["case"].unique().tolist()}), inspector({"Mine": fill(tmp_path / "run")})
    probe = "<style>.probe {color: rgb(1, 2, 3)}</style><p class='probe'>a style sheet</p>"
    notebook(folder / name, *pages, probe)
    if trusted:
        own = os.environ | {"JUPYTER_DATA_DIR": str(folder.parent / "data")}  # the server's signatures, not the user's
        subprocess.run([sys.executable, "-m", "jupyter", "trust", folder / name], check=True, env=own)
    driver.get(address(name))
    area = ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea-output"
    wait_for(lambda: driver.find_elements("css selector", f"{area} .probe"), 90)
    look = f"""
    const all = (what) => [...document.querySelectorAll({json.dumps(area)} + ' ' + what)];
    const mask = all('summary').find(e => e.innerText.startsWith('1 · Friday'));
    const box = (e) => e.getBoundingClientRect();
    return {{probe: getComputedStyle(all('.probe')[0]).color, title: document.title,
             text: all('td')[0].innerText, formulas: all('mjx-container').length,
             cells: all('td').map(e => [box(e).left, box(e).top]), height: box(mask.parentElement).height,
             mark: getComputedStyle(all('mark')[0]).backgroundColor}};"""
    seen = driver.execute_script(look)
    driver.execute_script(look.split("const box")[0] + "mask.click();")
    unfolded = driver.execute_script(look)
    driver.save_screenshot(str(tmp_path / "inspector.png"))
    print(f"screenshot: {tmp_path / 'inspector.png'}")
    assert (seen["probe"] == "rgb(1, 2, 3)") == trusted  # an untrusted notebook loses its style sheets
    assert unfolded["height"] > seen["height"] + 50  # the mask's episodes came into sight
    assert "obeyed" not in seen["title"] and seen["formulas"] == 0 and "$a_1$ or \\(b\\)" in seen["text"]
    (left, top), (right, level) = seen["cells"]
    assert right > left + 100 and top == level  # side by side
    assert seen["mark"] == "rgb(255, 224, 138)"


def test_a_labelled_passage_says_what_can_be_deduced_by_colour_and_by_tag():
    text = "the 7 Orvian <b>"
    kinds = ((0, 3, "trivial"), (4, 5, "sum"), (6, 12, "irreducible"), (13, 16, "east_inverse"))
    page = Page(labelled(Passage("p", "", text, 4, kinds)))
    assert page.text.split() == text.split() and [tag for tag in page.tags if tag in "bismall"] == ["b", "small", "i"]


def test_masks_of_a_step_with_how_often_they_were_found():
    table = masks_of(synthetic.episodes()).set_index("mask")
    assert table["found by"].to_dict() == {"Friday": 0.5, "7": 0.25, "the": 1.0, "Orvian": 0.0}
    assert table["reward"].to_dict() == {"Friday": 0.5, "7": 0.75, "the": 0.0, "Orvian": 0.0}
    alone = masks_of(synthetic.episodes(objective="random_span"))
    assert alone.columns.tolist() == ["mask", "found by"] and len(alone) == 4
