"""Which runs a study names, from which base, which rows are its own; and what a notebook opens."""

import pandas as pd
import pytest
from synthetic import training

from pzlib import studies
from pzlib.engine.generation import order
from pzlib.figures.training import masks_by_arm
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.studies import STUDIES, Study, arms_of, select, sweeps
from pzlib.studies.results import folder_of
from pzlib.tiers import WORLDS
from pzlib.world.tinywiki import passages

BASES = WORLDS["mini"].bases


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("tier", ["paper", "mini"])
def test_arms_differ_in_what_is_named_and_nothing_else(name, tier):
    study = STUDIES[name]
    assert "base" not in study.arms  # what a figure calls the model before training
    runs = arms_of(name, tier)
    there = len(study.arms) - len(studies.left_out(name, tier))
    twice = len(studies.seeds_of(study, tier)) * (name == "rlp" and tier == "mini")  # two arms are one run
    assert len(runs) == there * len(studies.seeds_of(study, tier)) == len({run.run_id for _, run in runs}) + twice
    short = {"steps": study.steps} if study.steps and tier == "mini" else {}
    short |= {"eval_every": study.steps} if short and study.steps < Run(tier=tier).steps else {}
    for arm, run in runs:
        rest = Run(tier=tier, seed=run.seed, objective=run.objective, **short).to_dict()
        named = {"learning_rate", *studies.settings_of(study, arm, tier), *study.arms[arm]}
        named |= {"model"} if "start" in study.arms[arm] or tier == "mini" else set()
        assert {k for k, v in run.to_dict().items() if v != rest[k]} <= named


def test_a_start_may_be_an_arm_of_any_study():
    (rpt,) = [run for arm, run in arms_of("rpt", "paper", [2]) if arm == "rpt, clean text"]
    after = dict(arms_of("rlvr_after", "paper", [2]))
    assert after["from RPT"].model == rpt.run_id and rpt in studies.starts_of(["rlvr_after"], "paper", [2])
    assert studies.start_of("pretrainzero", "paper", 2) == studies.start_of("baselines:pretrainzero", "paper", 2)


@pytest.mark.parametrize(
    "name", ["rpt", "rpt_rewards", "rlvr_after", "rlp", "rlvr_after_rlp", "side", "side_new"]
)
def test_all_arms_of_a_study_of_methods_take_one_base_at_a_real_tier(name):
    for tier in ("gpu", "paper"):
        runs = [run for arm, run in arms_of(name, tier, [0]) if "start" not in STUDIES[name].arms[arm]]
        assert len({run.model for run in runs}) == 1
        assert len({(run.steps, run.max_prompt_tokens) for run in runs if not run.method.reads_problems}) < 2
    bases = {"rpt": "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B", "rlp": "Qwen/Qwen3-1.7B-Base"}
    assert runs[0].model == bases.get(STUDIES[name].base_of, "Qwen/Qwen3-4B-Base")


def test_an_arm_takes_its_texts_and_models_from_the_world_of_the_tier():
    def arm(study, name, tier="paper"):
        return dict(arms_of(study, tier, [0]))[name]

    assert arm("domain", "pretrainzero, TinyMath").corpus == "GAIR/MathPile"
    clean = arm("collapse_clean", "entropy_next_token")
    assert (clean.corpus, clean.corpus_column) == ("KbsdJames/Omni-MATH", "problem+solution")
    small = arm("baselines_small", "pretrainzero")
    assert (small.model, small.random_span_steps) == ("HuggingFaceTB/SmolLM3-3B-Base", 100)  # section 4.1
    assert [run.random_span_steps for _, run in arms_of("warmup", "paper", [0])] == [0, 100]
    assert arm("side", "rpt").entropy_model == "Qwen/Qwen3-0.6B-Base"  # not RPT's own, of another tokenizer
    for study in STUDIES:
        for tier in ("gpu", "paper"):
            for _, run in arms_of(study, tier, [0]):
                assert not any("tiny" in name for name in (run.model, run.corpus, run.entropy_model))


def test_an_arm_without_sense_at_a_tier_says_so_in_a_line_and_the_rest_goes_on(home, capsys):
    study = studies.open(["collapse_noise", "rlp_domains"], "gpu")
    said = capsys.readouterr().out.splitlines()
    assert "collapse_noise: every arm left out at gpu: its text is of the small world" in said
    assert "rlp_domains: rlp, both left out at gpu: texts of the hub are not mixed" in said
    assert said[-1] == "20 runs: 0 stored, 20 not run" and len(study.tally()) == 4
    assert study.rows("training").empty and "left out at gpu" in capsys.readouterr().out


def test_at_real_tiers_a_study_says_what_its_roles_are_and_what_a_given_text_does_not_reach(home, capsys):
    studies.open("rlvr", "paper", settings={"corpus": "my.jsonl"})
    said = capsys.readouterr().out
    assert "at paper: base is Qwen/Qwen3-4B-Base" in said and "TinyMath is GAIR/MathPile" in said
    assert "corpus: is the text; arms that answer problems keep TIGER-Lab/WebInstruct-verified" in said
    studies.open("rlvr", "mini")
    assert "at mini" not in capsys.readouterr().out


def test_a_run_that_nobody_has_scored_is_told_from_one_that_is_not_made(home, capsys):
    runs = dict(arms_of("mask_rule", "gpu"))  # where runs are scored afterwards
    study = opened(home, "gpu", runs=pd.DataFrame({"run_id": [runs["one mask"].run_id]}))
    capsys.readouterr()
    assert study.rows("tinybench", "mask_rule").empty and study.rows("tinybench", "occurrences").empty
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("scores of mask_rule: not asked yet: `pzlib evaluate mask_rule --along --tier gpu`")
    assert second == "tinybench of occurrences: not run yet: `pzlib study occurrences --tier gpu`"
    assert study.rows("probes", "mask_rule").empty
    assert capsys.readouterr().out == "probes of mask_rule: not run yet: `pzlib probe mask_rule --tier gpu`\n"


def test_the_command_that_is_named_has_the_settings_that_were_given(home, capsys):
    study = studies.open("mask_rule", "gpu", settings={"use_vllm": True, "lora_rank": 8})
    assert study.rows("training").empty
    command = "`pzlib study mask_rule --tier gpu -p use_vllm true -p lora_rank 8`"
    assert capsys.readouterr().out.splitlines()[-1] == f"training of mask_rule: not run yet: {command}"
    studies.open("mask_rule", "gpu", settings={"model": "my/model", "corpus": "my.jsonl"})
    assert "at gpu: base is my/model, " in (said := capsys.readouterr().out) and ", text is my.jsonl, " in said


def test_settings_are_given_to_all_runs_of_a_study_under_what_its_arms_name():
    runs = dict(arms_of("side", "paper", [0], {"model": "my/model", "corpus": "my.jsonl", "steps": 5}))
    assert {(run.model, run.corpus, run.steps) for run in runs.values()} == {("my/model", "my.jsonl", 5)}
    after = dict(arms_of("rlvr", "mini", [0], {"corpus": "my.jsonl", "lora_rank": 4}))
    start = studies.start_of("pretrainzero", "mini", 0, {"corpus": "my.jsonl", "lora_rank": 4})[0]
    assert after["from PretrainZero"].model == start.run_id and (start.corpus, start.lora_rank) == ("my.jsonl", 4)
    assert {(run.corpus, run.lora_rank) for run in after.values()} == {("tinybench", 4)}
    assert arms_of("mask_rule", "mini", [0], {"mask_rule": "one"}) == arms_of("mask_rule", "mini", [0])
    ids = [[run.run_id for _, run in arms_of("mask_rule", "mini", [0], how)] for how in ({"processes": 2}, {})]
    assert ids[0] == ids[1]
    for name, said in (("seed", "seed: is the study's own; give seeds"), ("lora", "lora: no such setting of a run")):
        with pytest.raises(ValueError, match=said):
            arms_of("mask_rule", "mini", [0], {name: 1})


def test_a_table_gives_each_study_its_own_rows_under_its_own_names():
    runs = {arm: run for arm, run in arms_of("mask_rule", "paper") if run.seed == 1}
    other = Run(tier="paper", seed=9)
    table = pd.DataFrame({"run_id": [*(r.run_id for r in runs.values())][::-1] + [other.run_id], "step": 1})
    rows = select(table, "mask_rule", "paper")
    assert rows["arm"].tolist() == ["all occurrences", "one mask", "whole words"]
    assert rows["run_id"].tolist() == [run.run_id for run in runs.values()]
    assert select(table, "occurrences", "paper")["arm"].tolist() == ["fewer than 8"]
    with pytest.raises(ValueError, match="study: no study is called 'colapse'; did you mean collapse"):
        select(table, "colapse")


def test_names_are_kept_when_a_setting_is_at_its_default_for_all_tiers():
    assert Run().run_id == Run(temperature=1.0, generator_reward="zero_rule").run_id
    assert len({Run().run_id, Run(temperature=0.9).run_id, Run(steps=201).run_id}) == 3


def test_rlvr_starts_from_the_models_of_the_same_seed_that_the_baselines_ended_with():
    own = {(arm, run.seed): run for arm, run in arms_of("baselines", "mini")}
    for arm, run in arms_of("rlvr", "mini"):
        start, _, step = run.model.partition("@")
        of = {"from the base": None, "from random spans": "random_span"}.get(arm, "pretrainzero")
        assert (start == own[of, run.seed].run_id) if of else (run.model == BASES[run.seed // 10])
        assert step == ("100" if "half" in arm else "")
    starts = studies.starts_of(["rlvr", "baselines"], "mini")
    assert len(starts) == 20 and {run.objective for run in starts} == {"pretrainzero", "random_span"}


def test_a_shorter_study_is_shorter_at_mini_only():
    study = Study("?", {"a": {}}, seeds=(0,), steps=100)
    assert arms_of(study, "paper")[0][1].steps == 2000 and arms_of(study, "mini")[0][1].steps == 100


def opened(tmp_path, tier="smoke", **tables):
    """The studies mask_rule and occurrences at a tier, opened over these stored rows; nothing is run."""
    folder_of(tier).mkdir(parents=True)
    for name, table in tables.items():
        table.to_csv(folder_of(tier) / f"{name}.csv", index=False)
    return studies.open(["mask_rule", "occurrences"], tier)


def test_a_notebook_opens_studies_and_sees_rows_and_what_was_not_run(home, capsys):
    runs = dict(arms_of("mask_rule", "smoke"))
    table = pd.DataFrame({"run_id": [run.run_id for run in runs.values()], "step": 1})
    costs = pd.DataFrame({"arm": ["one mask", "sft"], "seconds": 1.0})
    study = opened(home, tinybench=table, runs=table[:2], costs=costs)
    said = capsys.readouterr().out
    assert said.startswith("mask_rule: Fig. 10b: which occurrences should a mask hide?\noccurrences: And if only")
    assert said.endswith("4 runs: 2 stored, 2 not run\n")
    assert study.rows("tinybench")["arm"].tolist() == study.rows("tinybench", "mask_rule")["arm"].tolist() == list(runs)
    assert study.rows("tinybench", "mask_rule", ["one mask"])["run_id"].tolist() == [runs["one mask"].run_id]
    assert len(study.rows("costs", "mask_rule")) == 2 and capsys.readouterr().out == ""
    assert study.rows("training", "occurrences").empty
    assert capsys.readouterr().out == "training of occurrences: not run yet: `pzlib study occurrences --tier smoke`\n"
    tally = study.tally()
    assert tally.loc["mask_rule"].to_numpy().tolist() == [[1, 1, 0], [1, 1, 0], [1, 0, 0]]
    assert tally["planned"].sum() == 5 and tally.loc[("occurrences", "fewer than 8"), "finished"] == 1
    with pytest.raises(ValueError, match="study: no study is called 'mask_rules'; did you mean mask_rule"):
        studies.open("mask_rules")


def test_a_form_is_drawn_with_the_tables_that_its_parameters_name(home, capsys, monkeypatch):
    shown, (run, *_) = [], [run for _, run in arms_of("mask_rule", "smoke")]
    monkeypatch.setattr("IPython.display.display", shown.append)
    table = pd.DataFrame({"run_id": [run.run_id], "step": 1})
    study = opened(home, tinybench=table, runs=table)

    def form(runs, tinybench, source="of the form"):
        return [*runs["arm"], *tinybench["arm"], source]

    study.draw(form, "mask_rule")
    assert shown == [["all occurrences", "all occurrences", "of the form"]]
    study.draw(lambda training, tinybench: shown.append("drawn"), "mask_rule")
    assert len(shown) == 1 and "training of mask_rule: not run yet" in capsys.readouterr().out


def test_a_papers_experiment_that_is_not_part_of_mini_is_run_at_real_tiers_alone(home, capsys):
    assert [run.ema for _, run in arms_of("rlp_ema", "paper", [0])] == [0.99, 0.995, 0.999, 0.9995]
    assert arms_of("rlp_ema", "mini") == [] == studies.runs_of(["rlp_corpora"], "smoke")
    study = studies.open("rlp_ema", "mini")
    assert study.rows("tinybench").empty
    line = "rlp_ema: every arm left out at mini: only at real tiers: these runs part by rounding alone\n"
    assert capsys.readouterr().out.count(line) == 2 and studies.leaving_out(["rlp_ema"], "smoke")
    named = [name for name, study in STUDIES.items() if study.real]
    assert not any(STUDIES[name].core for name in named) and not studies.runs_of(named, "mini")
    assert all(studies.runs_of([name], "mini") for name in STUDIES if name not in named)


def test_a_run_that_is_two_arms_has_rows_of_both():
    runs = dict(arms_of("rlp", "mini", [0]))
    plain, equal = runs["continued_pretraining"], runs["continued_pretraining, equal tokens"]
    assert plain == equal  # the same passages, as often as their rows need
    rows = select(pd.DataFrame({"run_id": [equal.run_id, runs["rlp"].run_id, "other"]}), "rlp", "mini", [0])
    assert rows["arm"].tolist() == [*runs] and rows.index.is_unique


def test_studies_are_made_one_after_the_other_in_the_order_of_their_list():
    first, second = ([run for _, run in arms_of(name, "mini")] for name in ("mask_rule", "baselines"))
    made = studies.runs_of(["mask_rule", "baselines"])
    assert made == [*first, *(run for run in second if run not in first)]
    assert list(STUDIES)[:2] == ["baselines", "side"]  # what others start from and the README shows


def test_the_base_is_a_factor():
    for name, each in (("collapse", [6, 5]), ("baselines", [5, 5]), ("rlvr", [5, 5]), ("domain", [3, 2])):
        runs = [run for arm, run in arms_of(name, "mini") if "start" not in STUDIES[name].arms[arm]]
        by_base = {base: {run.seed for run in runs if run.model == base} for base in BASES}
        assert all(by_base.values()) and {*by_base[BASES[0]]} == {run.seed for run in runs if run.seed < 10}
        assert [len(by_base[base]) for base in BASES] == each
    for arm, run in arms_of("rlvr", "mini"):  # what goes on from a run starts from that run's base
        if start := STUDIES["rlvr"].arms[arm].get("start"):
            before = studies.start_of(start, "mini", run.seed)[0]
            assert run.model.startswith(before.run_id) and before.model == BASES[run.seed // 10]
    assert {run.model for _, run in arms_of("baselines_small", "mini")} == {WORLDS["mini"].smaller}


def test_an_early_checkpoint_is_a_role_of_its_own(home):
    runs, world = [run for _, run in arms_of("rlp_early", "mini")], WORLDS["mini"]
    assert {run.model for run in runs} == {world.early} and not {world.early} & {*BASES, world.smaller}
    assert [run.objective for run in runs] == ["rlp", "continued_pretraining"] * 3
    assert {(run.seed, run.steps, run.corpus) for run in runs} == {(seed, 100, "tinymath") for seed in (0, 1, 2)}
    for tier in ("gpu", "paper"):
        assert arms_of("rlp_early", tier) == []
        assert set(studies.left_out("rlp_early", tier).values()) == {"the tier names no early checkpoint of its base"}


def test_where_a_thought_may_pay_rlp_trains_at_a_rate_that_moves_it_and_others_at_their_own():
    """RLP's own sweep, on text where a thought can tell little, prefers the rate that moves the base least."""
    rates = {
        (run.objective, run.learning_rate)
        for study in ("left", "rlp_domains") for _, run in arms_of(study, "mini")
    }  # fmt: skip
    assert rates == {
        ("rlp", sweeps.rate_of("rpt")), ("rpt", sweeps.rate_of("rpt")),
        ("continued_pretraining", sweeps.rate_of("continued_pretraining")),
    }  # fmt: skip
    assert {run.learning_rate for _, run in arms_of("rlp_early", "mini")} == {sweeps.rate_of("rpt")}
    assert sweeps.rate_of("rpt") > 10 * sweeps.rate_of("rlp")
    assert sweeps.swept_for(["rlp_domains"]) == ["rpt", "continued_pretraining"]


def test_all_read_the_same_passages():
    """What continued pretraining reads more of, it reads again: no other passage than those that RL reads."""
    runs = dict(arms_of("side", "mini", [0]))
    texts = {(run.corpus, run.corpus_limit, run.seed) for run in runs.values()}
    assert len(texts) == 1
    items = passages(runs["pretrainzero"].corpus, runs["pretrainzero"].corpus_limit, 0)
    read = {arm: {*order(items, 0, run.steps * run.passages)} for arm, run in runs.items()}
    assert read["pretrainzero"] == read["continued_pretraining"] == read["rlp"] and len(read["rlp"]) == 800


def test_collapse_is_followed_along_300_steps_with_arms_that_drop_nothing():
    runs = arms_of("collapse_noise", "mini")
    assert len(runs) == 8 * 10 and {(run.steps, run.eval_every) for _, run in runs} == {(300, 50)}
    assert {run.learning_rate for _, run in runs} == {sweeps.rate_of("pretrainzero")}
    whole = {arm for arm, run in runs if run.filter == "none"}
    assert whole == {f"entropy_next_token, {n} values, no filter" for n in (2, 4)}
    assert {run.corpus for _, run in runs} == {"tinywiki:values=2", "tinywiki:values=4"}
    assert len(studies.left_out("collapse_noise", "paper")) == 8


def test_a_studys_finished_runs_are_those_that_are_evaluated(home, capsys):
    runs = dict(arms_of("mask_rule", "gpu", [0, 1]))
    assert studies.finished("any/model", "gpu") == ["any/model"]
    with pytest.raises(
        ValueError, match="no run of the study mask_rule is complete at tier gpu; `pzlib study mask_rule"
    ):
        studies.finished("mask_rule", "gpu")
    for state, run in (("complete", runs["one mask"]), ("running", runs["whole words"])):
        RunFolder(run.folder).open(run).set_status(state, step=1, steps=1)
    assert studies.finished("mask_rule", "gpu") == [runs["one mask"].run_id]
    assert "mask_rule: 1 of 15 runs are complete" in capsys.readouterr().out


def test_a_form_that_its_rows_do_not_suffice_for_says_so_and_the_rest_goes_on(home, capsys):
    (run, *_) = [run for _, run in arms_of("mask_rule", "smoke")]
    rows = training(seeds=1).drop(columns=[name for name in training(seeds=1) if name.startswith("mask/")])
    study = opened(home, training=rows[rows["run_id"] == "pretrainzero-0"].assign(run_id=run.run_id))
    study.draw(masks_by_arm, "mask_rule")
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == "masks_by_arm of mask_rule is not drawn: training: 'mask/<kind>' is not a column with shares"


def test_what_else_a_form_refuses_is_an_error_and_not_a_missing_figure(home):
    (run, *_) = [run for _, run in arms_of("mask_rule", "smoke")]
    rows = training(seeds=1)
    rows = rows[rows["run_id"] == "pretrainzero-0"].assign(run_id=run.run_id)
    study = opened(home, training=pd.concat([rows, rows]))
    with pytest.raises(ValueError, match="a run has two rows for one step"):
        study.draw(masks_by_arm, "mask_rule")
