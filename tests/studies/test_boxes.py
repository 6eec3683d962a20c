"""Result boxes: every sentence has rows, what has none is named with its command."""

import re

import nbformat
import pandas as pd
import pytest
import synthetic

from pzlib import studies
from pzlib.headless import read_parameters
from pzlib.paths import REPO
from pzlib.studies import STUDIES, boxes
from pzlib.studies.boxes import BOXES, box, findings, headlines
from pzlib.studies.boxes.findings import against, level, meeting
from pzlib.studies.metrics import label_of


def rows_of(**arms):
    """A `Rows` of general questions: {arm: (accuracy of the base, then one a seed at the end)}."""
    rows = [{"arm": arm, "run_id": f"{arm}{seed}", "seed": seed, "step": step, "task": "sum", "group": "general",
             "accuracy": x}
            for arm, (base, *ends) in arms.items()
            for seed, end in enumerate(ends) for step, x in ((0, base), (9, end))]  # fmt: skip
    return lambda table, study: pd.DataFrame(rows)


GOOD, BAD = (0.5, 0.7, 0.72, 0.71, 0.7, 0.69), (0.5, 0.4, 0.42, 0.41, 0.4, 0.39)
ASKED = ("general",)


def test_a_comparison_takes_its_words_from_the_interval():
    rows = rows_of(pretrainzero=GOOD, sft=BAD, random_span=(0.5, 0.6, 0.8, 0.6, 0.8, 0.7))
    sentence = against("baselines", "pretrainzero", "base", ASKED)(rows)
    assert sentence.startswith("**PretrainZero** against its base: above on general questions (+20.4 [+19.")
    assert "below on general questions (−9.6 [" in against("baselines", "sft", "base", ASKED)(rows)
    unclear = against("baselines", "random_span", "pretrainzero", ASKED, where="on clean text")(rows)
    assert "PretrainZero, on clean text: not clearly different on general questions (−0.4 [−" in unclear
    assert against("baselines", "rpt", "base", ASKED)(rows) == ""


def test_under_five_seeds_there_is_no_interval_but_whether_all_agree():
    rows = rows_of(pretrainzero=GOOD[:4], sft=BAD[:4], random_span=(0.5, 0.6, 0.8, 0.71))
    assert "above in all 3 seeds on general questions (+30.0)." in against("x", "pretrainzero", "sft", ASKED)(rows)
    unclear = against("x", "random_span", "pretrainzero", ASKED)(rows)
    assert "not clearly different on general questions (−0.7)." in unclear
    assert "[" not in level("baselines", "general", ("sft",))(rows)


def test_a_difference_that_is_clear_but_tiny_is_not_printed_as_nothing():
    tiny = tuple(score + 0.0003 + 0.00001 * i for i, score in enumerate(GOOD))
    found = against("x", "sft", "pretrainzero", ASKED)(rows_of(pretrainzero=GOOD, sft=tiny))
    # 0.033 ± 0.002: +0.0 [+0.0, +0.0] before
    assert ": above on general questions (+0.03 [+0.03, +0.03])." in found


def on_two_bases(seeds, **arms):
    """`rows_of` with these seeds, of which those from 10 on are from a second base."""
    table = rows_of(**arms)("", "")
    table = table[table["seed"] < len(seeds)]
    return lambda *names: table.assign(seed=table["seed"].map(dict(enumerate(seeds))))


def test_what_the_bases_do_not_agree_on_is_no_finding():
    """As of a claim: clear of 0 on the mean is not enough."""
    seeds = (0, 1, 2, 10, 11)
    apart = on_two_bases(seeds, sft=(0.5, 0.7, 0.7, 0.7, 0.49, 0.49))
    sentence = against("x", "sft", "base", ASKED)(apart)
    assert "of another sign on each base, and so not clearly different, on general questions (+9.5 [+" in sentence
    alike = on_two_bases(seeds, sft=(0.5, 0.7, 0.7, 0.7, 0.51, 0.51))
    assert sentence.endswith("; by base +20.0 and −1.0).")  # of both alone, which the interval of their mean leaves out
    assert ": above on general questions (+10.5 [+" in against("x", "sft", "base", ASKED)(alike)
    near = on_two_bases(seeds, sft=(0.5, 0.6, 0.7, 0.65, 0.6, 0.69))
    assert "by base" not in against("x", "sft", "base", ASKED)(near)
    heads = [headlines.against_base(rows("", ""), ASKED) for rows in (apart, alike)]
    assert ["above" in head for head in heads] == [False, True]


def test_a_level_says_of_how_few_seeds_and_bases_it_is():
    rows = on_two_bases((0, 1, 2, 10, 11), sft=GOOD, random_span=BAD[:4])
    words = level("baselines", "general", ("sft", "random_span"))(rows)
    assert words.startswith("General questions: Supervised fine-tuning 70.2 % [68.")
    assert words.endswith("], Random spans 41.0 % (3 seeds and one base).")
    few = level("baselines", "general", ("sft", "random_span"))(rows_of(sft=GOOD[:4], random_span=BAD[:4]))
    assert few.endswith(": Supervised fine-tuning 71.0 %, Random spans 41.0 % (3 seeds each).")


def test_an_interval_of_a_share_stays_within_its_limits():
    rows = rows_of(sft=(0.5, 0.9, 1.0, 1.0, 1.0, 1.0), random_span=(0.5, 0.1, 0.0, 0.0, 0.0, 0.0))
    words = level("baselines", "general")(rows)
    assert "Supervised fine-tuning 98.0 % [92.4, 100.0]" in words and "Random spans 2.0 % [0.0, 7.6]" in words


def test_levels_and_how_far_starts_are_apart():
    rows = rows_of(pretrainzero=GOOD, sft=BAD)
    words = level("baselines", "general", ("sft",), words="After")(rows)
    assert words.startswith("After: Supervised fine-tuning 40.4 % [39.") and words.endswith("].")
    apart = meeting("rlvr", "general")(rows)
    assert apart == "2 starts are 0.0 points apart before RLVR and 30.0 after it (means on general questions)."
    assert meeting("rlvr", "spans")(rows) == ""  # which these rows were not asked
    few = rows_of(pretrainzero=GOOD, sft=BAD[:3])  # a mean over other seeds, and perhaps other bases, is no distance
    both = rows_of(pretrainzero=GOOD[:3], sft=BAD[:3])
    assert meeting("rlvr", "general")(few) == meeting("rlvr", "general")(both)


@pytest.mark.parametrize("notebook", BOXES)
def test_every_sentence_has_rows_at_mini_or_its_study_is_named(notebook):
    rows, text, asked = findings.rows_at("mini"), box(notebook), set()
    whole = {}
    for name in BOXES[notebook].studies:
        arms, there = {arm for arm, _ in studies.arms_of(name, "mini")}, set(rows("tinybench", name)["arm"])
        absent = "; ".join(label_of(arm) for arm in studies.study_of(name).arms if arm in arms - there)
        made = {(arm, run.run_id) for arm, run in studies.arms_of(name, "mini")}
        stored = rows("tinybench", name)[["arm", "run_id"]].drop_duplicates()
        part = f"{len(stored)} of {len(made)} runs are stored"
        which = f"not run yet: {absent}; {part}" if there & arms and absent else "not run yet" if absent else part
        line = f"* `{name}`: {which}: `pzlib study {name} --tier mini`"
        lacks = len(stored) < len(made)
        named = lacks or not arms  # a study that is left out says why
        assert (line in text) == lacks and (f"* `{name}`" in text) == bool(named)
        whole[name] = not absent
    absent = {table for table in BOXES[notebook].tables if rows(table, BOXES[notebook].studies[0]).empty}
    assert {*re.findall(r"`(\w+).csv`: not run yet: `pzlib run", text)} == absent

    def noted(table, study):
        asked.update((table, study))
        return rows(table, study)

    for finding in BOXES[notebook].found:
        asked.clear()
        assert finding(noted) or asked & absent or not all(whole.get(name, True) for name in asked)


def made_up(tier, settings=None):
    def rows(table, study):
        if table not in ("training", "tinybench"):
            return pd.DataFrame()
        make = synthetic.training if table == "training" else synthetic.tinybench
        found = make(tuple(STUDIES[study].arms), seeds=5)
        return found.assign(arm=found["objective"])

    return rows


def test_a_box_says_what_was_asked_found_and_not_shown_and_folds_the_rest(monkeypatch):
    monkeypatch.setattr(findings, "rows_at", made_up)
    monkeypatch.setattr(findings, "verdicts", lambda names, tier, settings: "3 reproduced, 1 not run")
    text = box("03", "smoke")  # as at mini: a look has no result
    assert "(stored runs at mini)" in text and "not run yet" not in text
    head, rest = text.split("<details>")
    assert [head.count(part) for part in ("**Asked.**", "**Found.**", "**Not shown.**")] == [1, 1, 1]
    assert head.count("    * ") == boxes.FIRST + 1 and rest.count("\n* ") == len(BOXES["03"].found) - boxes.FIRST
    assert "3 reproduced, " in head and "(notebook 12)" in head


def test_a_study_without_rows_is_named_with_its_command_at_any_tier(home):
    text = box("03", "gpu")
    assert "* `collapse`: not run yet: `pzlib study collapse --tier gpu`" in text
    assert "* `collapse_noise`: left out at gpu: its text is of the small world" in text
    assert "**Found.**" not in text and "**Not shown.**" not in text


def test_of_a_study_that_is_run_in_part_the_rest_is_named(home, monkeypatch):
    """Its other arms may be another study's runs: one arm compares nothing."""

    def only(tier, settings):
        return lambda table, study: made_up(tier)(table, study).query("arm == 'eq. 9, zero rule'")

    monkeypatch.setattr(findings, "rows_at", only)
    text = box("08")
    rest = "eq. 9, no zero rule; min(p, 1 - p); generator untrained; Random spans"
    part = f"{rest}; 5 of 50 runs are stored"
    assert f"* `generator_reward`: not run yet: {part}: `pzlib study generator_reward --tier mini`" in text
    assert "* `collapse_noise`: not run yet" in text and "Masks that hide" not in text


def test_the_candidates_for_the_readme_name_their_evidence(monkeypatch):
    monkeypatch.setattr(findings, "rows_at", made_up)
    lines = boxes.candidates().splitlines()
    assert len(lines) > 20 and all(re.fullmatch(r"\* .+ \(notebook \d\d\)", line) for line in lines)
    assert any("[" in line and "**PretrainZero** against its base" in line for line in lines)


def test_what_a_thought_pays_is_in_nats_from_first_to_last():
    rows = {"arm": "rlp", "seed": [0, 1] * 2, "step": [1, 1, 9, 9], "predictor/reward": [-0.03, -0.05, 0.1, 0.12]}
    sentence = findings.gains("left", ("rlp", "rlp, running counts"))(lambda table, study: pd.DataFrame(rows))
    assert sentence.endswith("from the first to the last fifth of training: RLP −0.04 → +0.11 (2 seeds).")
    assert findings.gains("left", ("rlp, running counts",))(lambda table, study: pd.DataFrame(rows)) == ""
    one = pd.DataFrame(rows).query("seed == 0")
    assert findings.gains("left", ("rlp",))(lambda table, study: one).endswith("RLP −0.03 → +0.10 (1 seed).")


def test_a_notebook_without_a_box_is_refused():
    with pytest.raises(ValueError, match="notebook: '02' has no result box"):
        box("02")


@pytest.mark.parametrize("number", BOXES)
def test_the_box_opens_its_notebook(number):
    (path,) = (REPO / "notebooks").glob(f"{number}_*.ipynb")
    code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    given = ", settings" * ("settings" in read_parameters(path) and number != "04")  # of its studies; 04's: of one run
    call = f'result("{number}", tier{given})'
    assert code[0].metadata.get("tags") == ["parameters"] and code[1].source.partition("  #")[0].endswith(call)


def test_every_study_of_figures_is_behind_a_box():
    numbers = sorted({path.name[:2] for path in (REPO / "notebooks").glob("*.ipynb")})
    assert list(BOXES) == [number for number in numbers if number >= "03" and number != "14"]  # which has no study
