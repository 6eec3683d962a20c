"""The printed values beside ours: which rows a printed cell takes, and what stays empty where a part is not there."""

import pandas as pd
import pytest

from pzlib.paths import REPO
from pzlib.studies import arms_of, papers
from pzlib.studies.claims import printed_tables
from pzlib.studies.exhibits import EXHIBITS, PAGE, commands, markdown
from pzlib.studies.papers import EQUAL, base_of, beside, scored, sources, stops
from pzlib.tiers import NINE, TIERS

EIGHT = {"model": "Qwen/Qwen3-8B-Base"}


def exhibit(name):
    return next(one for one in EXHIBITS if one.name == name)


def rows(study, tier, scores, settings=None, seeds=(0, 1), step=2000, **more):
    """Rows of a study's runs: task -> accuracy at the end, seed 1 one point above; at step 0 it is half."""
    found = []
    for arm, run in arms_of(study, tier, seeds, settings):
        for task, accuracy in (scores[arm] if arm in scores else scores).items():
            key = {"run_id": run.run_id, "objective": run.objective, "tier": tier, "seed": run.seed, "task": task}
            key |= {"group": "math", "n": 100, "length": 40.0} | more
            found += [key | {"step": 0, "accuracy": accuracy / 2}]
            found += [key | {"step": step, "accuracy": accuracy + 0.01 * run.seed}]
    return pd.DataFrame(found)


def cells(table, *columns):
    """{(model, method, column): (printed, ours by seed)}, of all columns or of some."""
    of = {(r.model, r.method, r.column): (r.printed, r.ours.round(2).tolist()) for r in table.itertuples()}
    return {key: value for key, value in of.items() if not columns or key[2] in columns}


def test_a_printed_cell_takes_the_end_of_its_own_model_and_the_base_its_start():
    scores = dict.fromkeys(NINE, 0.4) | {"mmlu_pro": 0.6}
    four, eight = rows("baselines", "paper", scores), rows("baselines", "paper", scores | {"bbeh": 0.2}, EIGHT)
    table = beside(exhibit("pretrainzero_table_1"), {"tinybench": pd.concat([four, eight])}, "paper")
    found = cells(table)
    assert found["Qwen3-4B-Base", "pretrainzero", "MMLU-Pro"] == (60.37, [60, 61])
    assert found["Qwen3-4B-Base", "base", "MMLU-Pro"] == (51.94, [30, 30])
    assert found["Qwen3-4B-Base", "pretrainzero", "MATH avg"] == (53.13, [40, 41])
    assert found["Qwen3-4B-Base", "pretrainzero", "Overall"] == (39.61, [45, 46])  # of four columns, not of two groups
    assert found["Qwen3-8B-Base", "sft", "BBEH"] == (11.17, [20, 21])
    assert found["SmolLM3-3B-Base", "pretrainzero", "BBEH"] == (3.78, [])  # not run
    assert len(found) == 16 * 5


def test_a_mean_of_which_a_part_was_not_asked_is_not_run():
    own = rows("baselines", "paper", {"gsm8k": 0.5, "mmlu_pro": 0.5})
    table = beside(exhibit("pretrainzero_table_2"), {"tinybench": own}, "paper")
    assert cells(table)["Qwen3-4B-Base", "sft", "GSM8K"] == (27.4, [50, 51])
    assert cells(table)["Qwen3-4B-Base", "sft", "AVG"] == (15.55, [])


def test_another_model_has_rows_of_its_own_and_nothing_printed_beside():
    own = rows("rlvr", "gpu", dict.fromkeys(NINE, 0.5), step=400)
    found = cells(beside(exhibit("pretrainzero_table_3"), {"tinybench": own}, "gpu"), "Overall")
    assert found["Qwen3-4B-Base", "base + rlvr", "Overall"] == (37.9, [])
    printed, ours = found["Qwen3-0.6B-Base", "pretrainzero, 1000 steps + rlvr", "Overall"]
    assert printed != printed and ours == [50, 51]
    own = rows("rpt", "gpu", {"mmlu_pro": 0.5}, step=200)
    found = cells(beside(exhibit("rpt_table_3"), {"tinybench": own}, "gpu"), "MMLU-Pro")
    assert found["RPT-14B", "reasoning", "MMLU-Pro"] == (71.1, [])  # a model of another base is not RPT-14B
    assert found["Qwen3-0.6B-Base", "RPT-14B: reasoning", "MMLU-Pro"][1] == [50, 51]


def test_without_rows_every_printed_value_is_there():
    for one in EXHIBITS:
        if one.form == "table_beside":
            table = beside(one, {}, "paper")
            assert table["printed"].notna().all() and not table["ours"].map(len).any()


def test_categories_splits_and_moments_are_tasks_of_their_own():
    subjects = {"computer science": 0.2, "physics": 0.4, "philosophy": 0.3}
    scores = {f"mmlu_pro, {subject}": accuracy for subject, accuracy in subjects.items()}
    own = rows("rpt", "paper", scores | {"supergpqa, literature and arts": 0.6, "mmlu_pro": 0.9})
    found = cells(beside(exhibit("rpt_tables_6_7"), {"tinybench": own}, "paper"))
    assert found["RPT-14B", "reasoning", "MMLU-Pro: CS"] == (76, [20, 21])
    assert found["RPT-14B", "reasoning", "MMLU-Pro: Phys"] == (82.5, [40, 41])
    assert found["RPT-14B", "reasoning", "MMLU-Pro: Phil"] == (63.5, [30, 31])
    assert found["R1-Distill-Qwen-14B", "reasoning", "SuperGPQA: L&A"] == (29.5, [30, 30])
    assert found["R1-Distill-Qwen-14B", "next token", "MMLU-Pro: all"] == (48.4, [])
    asked = rows("rpt", "paper", {"next token, hard": 0.2, "next token, hard, direct": 0.4})
    found = cells(beside(exhibit("rpt_table_1"), {"tinybench": asked}, "paper"), "hard")
    assert found["RPT-14B", "reasoning", "hard"] == (23.75, [20, 21])
    assert found["R1-Distill-Qwen-14B", "next token", "hard"] == (20.43, [20, 20])  # outright, at step 0
    six = rows("rlvr_after", "paper", {papers.TASKS[name]: 0.4 for name in papers.SIX})
    found = cells(beside(exhibit("rpt_table_2"), {"tinybench": six}, "paper"))
    assert found["RPT-14B", "rpt", "Skywork-OR1, before RLVR"] == (56.3, [20, 20])
    assert found["RPT-14B", "rpt", "Skywork-OR1, after RLVR"] == (58.3, [40, 41])


def test_equal_compute_is_equal_tokens():
    table, training = [], []
    for arm, run in arms_of("rlp_rpt", "gpu", [0]):
        key = {"run_id": run.run_id, "objective": run.objective, "tier": "gpu", "seed": 0, "group": "math"}
        table += [key | {"step": step, "task": "sum", "accuracy": step / 100} for step in (0, 10, 20)]
        table += [
            key | {"step": step, "task": "east", "accuracy": step / 100, "group": "general"} for step in (0, 10, 20)
        ]
        own = {"step": 20, "tokens_prompt": 10.0, "tokens_completion": 10.0 if arm == "rlp" else 0.0}
        training.append(key | own)
    tables = {"tinybench": pd.DataFrame(table), "training": pd.DataFrame(training)}
    found = cells(beside(exhibit("rlp_table_3"), tables, "gpu"), "Avg")
    assert found["Qwen3-0.6B-Base", "rlp, token-matched", "Avg"][1] == [20]
    assert found["Qwen3-0.6B-Base", "rlp, FLOP-matched", "Avg"][1] == [10]  # by then as much as rpt by its end
    assert found["Qwen3-0.6B-Base", "rpt, FLOP-matched", "Avg"][1] == [20]


def test_what_stops_is_dead_to_the_end():
    table = pd.DataFrame({"arm": "a", "seed": 0, "step": [10, 20, 30], "predictor/dead_groups": [0.5, 1.0, 0.99]})
    assert stops(table) == {("a", 0): 20}
    assert stops(table.assign(**{"predictor/dead_groups": [1.0, 1.0, 0.5]})) == {}


def test_the_list_names_every_printed_table_and_what_there_is():
    printed = {name for one in EXHIBITS for name in one.printed}
    known = {name for name in printed_tables() if not name.startswith("ncr")}
    assert printed == known - {"rpt 8"}  # of the templates: notebook 09 prints it
    assert len({one.name for one in EXHIBITS}) == len(EXHIBITS) == 29
    for one in EXHIBITS:
        arms = {arm: study for study, _ in one.studies for arm in papers.study_of(study).arms}
        assert {place.partition("@")[0] for place in one.arms.values()} <= set(arms), one.name
        assert {place.partition("@")[2] for place in one.arms.values()} <= {"", "base", "outright", EQUAL}
        for curve in one.curves:
            assert curve.study in dict(one.studies) and {*curve.printed, *curve.arms} <= set(arms)
            assert all(papers.printed_end(*where) > 0 for where in curve.printed.values())
        assert set(one.tiers) <= set(TIERS) and (one.tiers or one.note)


def test_a_tier_has_the_studies_whose_arms_it_has():
    table = exhibit("pretrainzero_table_1")
    assert [name for name, _ in sources(table, "mini")] == ["baselines", "baselines_small"]
    assert sources(table, "paper", {"lora_rank": 8})[1] == ("baselines", EIGHT | {"lora_rank": 8})
    assert [base_of(*one[:1], "paper", one[1]) for one in sources(table, "paper")] == [
        "Qwen3-4B-Base", "Qwen3-8B-Base", "SmolLM3-3B-Base", "Qwen3-30B-A3B-Base"
    ]  # fmt: skip
    assert commands(exhibit("rlp_table_s_5"), "mini") == [] == commands(exhibit("rlp_table_s_4"))
    assert commands(exhibit("rlp_table_s_3")) == [
        "pzlib study rlp --tier paper -p model Qwen/Qwen3-14B-Base",
        "pzlib evaluate rlp --along --tier paper -p model Qwen/Qwen3-14B-Base --tasks math500 gsm8k amc23 minerva mmlu "
        "mmlu_pro gpqa mmlu_1of4 mmlu_pro_1of4 gpqa_1of4",
    ]


def test_the_page_is_written_by_the_list():
    assert (REPO / PAGE).read_text() == markdown(), "run `python -m pzlib figures --papers`"


def test_a_score_is_of_the_last_step_at_which_its_task_was_asked():
    table = pd.DataFrame({"seed": 0, "step": [0, 10, 20], "task": "gsm8k", "accuracy": [0.1, 0.2, 0.3]})
    assert scored(table, "GSM8K").tolist() == [30] and scored(table, "GSM8K", "base").tolist() == [10]
    assert scored(table, "Unknown").empty and scored(table[:1], "GSM8K").empty


@pytest.mark.parametrize("tier", ["gpu", "paper"])
def test_arms_of_real_sizes_are_those_that_the_papers_print(tier):
    for name, printed in (("rlp_thoughts", "completion"), ("rlp_rollouts", "rollouts"), ("rlp_ema", "tau")):
        table = pd.concat(map(papers.reported, ("rlp S.1", "rlp S.6")))
        methods = table.loc[table["method"].str.contains(printed), "method"]
        assert [arm for arm, _ in arms_of(name, tier, [0])] == methods.tolist()
