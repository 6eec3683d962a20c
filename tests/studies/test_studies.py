"""Which runs a study names, which rows are its own, which rate a sweep chooses; and what a notebook opens."""

import pandas as pd
import pytest
from synthetic import training

from pzlib import studies
from pzlib.figures.training import masks_by_arm
from pzlib.paths import REPO
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.studies import STUDIES, Study, arms_of, best_rate, select, sweeps
from pzlib.studies.results import folder_of


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("tier", ["paper", "mini"])
def test_arms_differ_in_what_is_named_and_nothing_else(name, tier):
    study = STUDIES[name]
    assert "base" not in study.arms  # what a figure calls the model before training
    runs = arms_of(name, tier)
    there = len(study.arms) - len(studies.left_out(name, tier))
    assert len(runs) == there * len(study.seeds) == len({run.run_id for _, run in runs})
    short = {"steps": study.steps} if study.steps and tier == "mini" else {}
    short |= {"eval_every": study.steps} if short and study.steps < Run(tier=tier).steps else {}
    for arm, run in runs:
        rest = Run(tier=tier, seed=run.seed, objective=run.objective, **short).to_dict()
        named = {"learning_rate", *studies.settings_of(study, arm, tier), *study.arms[arm]}
        named |= {"model"} if "start" in study.arms[arm] else set()
        assert {k for k, v in run.to_dict().items() if v != rest[k]} <= named


def test_every_method_is_swept_alike_on_seeds_that_no_study_uses():
    swept = sweeps.sweep()
    cells = {name: [] for name, _ in swept}
    for name, run in swept:
        cells[name].append((run.seed, run.learning_rate, run.steps / Run(objective=run.objective).steps))
    arms = [run for name in STUDIES for _, run in arms_of(name, "paper")]
    assert set(cells) == {run.objective for run in arms} | {"random_span, logprob"}
    assert len({tuple(c) for c in cells.values()}) == 1
    rates = {run.learning_rate for _, run in arms_of("collapse", "mini")}
    assert rates == {best_rate("pretrainzero")}  # one for all; each its own in the other study
    own = {run.objective: run.learning_rate for _, run in arms_of("collapse_own_rate", "mini")}
    assert own == {objective: best_rate(objective) for objective in own}
    assert not set(sweeps.SWEEP_SEEDS) & {seed for study in STUDIES.values() for seed in study.seeds}


def test_the_best_rate_is_that_of_the_mean_over_groups_and_seeds(home):
    folder = home / "data/results/sweep"
    folder.mkdir(parents=True)
    rows, runs = [], []
    for rate, scores in {1e-4: (0.5, 0.1), 3e-4: (0.4, 0.4), 1e-3: (0.9, 0.0)}.items():
        for seed, score in enumerate(scores):
            key = {"run_id": f"{rate}-{seed}", "objective": "sft"}
            runs.append(key | {"learning_rate": rate})
            for step in (0, 100):  # the accuracy at the end counts, and "other spans" does not
                rows.append(key | {"step": step, "group": "math", "accuracy": score if step else 1 - score})
            rows.append(key | {"step": 100, "group": "other spans", "accuracy": 1 - rate * 100})
    pd.DataFrame(rows).to_csv(folder / "tinybench.csv", index=False)
    pd.DataFrame(runs).to_csv(folder / "runs.csv", index=False)
    best_rate.cache_clear()
    try:
        assert best_rate("sft") == 1e-3  # 0.45 against 0.4 and 0.3
        with pytest.raises(ValueError, match="objective: dreaming has no learning-rate sweep"):
            best_rate("dreaming")
    finally:
        best_rate.cache_clear()


def test_a_reward_by_likelihood_has_a_sweep_of_its_own(home):
    folder = home / "data/results/sweep"
    folder.mkdir(parents=True)
    runs, rows = [], []
    for reward, best in ((None, 1e-4), ("logprob", 3e-4)):  # the older rows have no reward
        for rate in (1e-4, 3e-4):
            key = {"run_id": f"{reward}-{rate}", "objective": "random_span"}
            runs.append(key | {"learning_rate": rate, "reward": reward})
            rows.append(key | {"step": 100, "group": "math", "accuracy": float(rate == best)})
    pd.DataFrame(rows).to_csv(folder / "tinybench.csv", index=False)
    pd.DataFrame(runs).to_csv(folder / "runs.csv", index=False)
    best_rate.cache_clear()
    try:
        assert best_rate("random_span") == 1e-4 and best_rate("random_span, logprob") == 3e-4
        rates = {arm: run.learning_rate for arm, run in arms_of("likelihood", "mini", [0])}
        assert rates == dict.fromkeys(STUDIES["likelihood"].arms, 3e-4) | {"exact": 1e-4}
    finally:
        best_rate.cache_clear()


def test_sweeps_side_by_side_are_those_at_their_best_rates_on_the_seeds_that_all_have():
    names = ("rlpt", "random_span", "random_span, logprob")
    rows = sweeps.swept("tinybench", names)
    runs = {run.run_id: (name, run) for name, run in sweeps.sweep()}
    assert list(dict.fromkeys(rows["arm"])) == list(names)
    for arm, own in rows.groupby("arm"):
        found = [runs[run_id] for run_id in own["run_id"].unique()]
        assert {(name, run.learning_rate) for name, run in found} == {(arm, best_rate(arm))}
    assert len({frozenset(own["seed"]) for _, own in rows.groupby("arm")}) == 1
    assert sweeps.swept("gate", names).empty  # a table that no sweep has


def test_a_start_may_be_an_arm_of_any_study():
    (rpt,) = [run for arm, run in arms_of("rpt", "paper", [2]) if arm == "rpt, clean text"]
    after = dict(arms_of("rlvr_after", "paper", [2]))
    assert after["from RPT"].model == rpt.run_id and rpt in studies.starts_of(["rlvr_after"], "paper", [2])
    assert studies.start_of("pretrainzero", "paper", 2) == studies.start_of("baselines:pretrainzero", "paper", 2)


@pytest.mark.parametrize(
    "name", ["rpt", "rpt_rewards", "rpt_filter", "rlvr_after", "rlp", "rlvr_after_rlp", "side", "side_new"]
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
    assert [run.random_span_steps for _, run in arms_of("warmup", "mini", [0])] == [0, 10]
    assert arm("entropy_model", "by a proxy").entropy_model == "Qwen/Qwen3-0.6B-Base"
    assert arm("side", "rpt").entropy_model == "Qwen/Qwen3-0.6B-Base"  # not RPT's own, of another tokenizer
    assert {run.passages * run.group**2 for _, run in arms_of("group", "paper", [0])} == {2048}
    for study in STUDIES:
        for tier in ("gpu", "paper"):
            for _, run in arms_of(study, tier, [0]):
                assert not any("tiny" in name for name in (run.model, run.corpus, run.entropy_model))


def test_an_arm_without_sense_at_a_tier_says_so_in_a_line_and_the_rest_goes_on(home, capsys):
    study = studies.open(["guessable_noise", "entropy_model"], "gpu")
    said = capsys.readouterr().out.splitlines()
    assert "guessable_noise: every arm left out at gpu: its text is of the small world" in said
    assert any(line.startswith("entropy_model: by a proxy left out at gpu: no smaller model") for line in said)
    assert said[-1] == "6 runs: 0 stored, 6 not run" and len(study.tally()) == 2
    assert study.rows("training").empty and "left out at gpu" in capsys.readouterr().out
    others = [name for name in STUDIES if name != "left"]  # whose knob is of the second world
    assert studies.leaving_out(others, "mini") == studies.leaving_out(others, "smoke") == ""


def test_at_real_tiers_a_study_says_what_its_roles_are_and_what_a_given_text_does_not_reach(home, capsys):
    studies.open("rlvr", "paper", settings={"corpus": "my.jsonl"})
    said = capsys.readouterr().out
    assert "at paper: base is Qwen/Qwen3-4B-Base" in said and "TinyMath is GAIR/MathPile" in said
    assert "corpus: is the text; arms that answer problems keep TIGER-Lab/WebInstruct-verified" in said
    studies.open("rlvr", "mini")
    assert "at mini" not in capsys.readouterr().out


def test_a_run_that_nobody_has_scored_is_told_from_one_that_is_not_made(home, capsys):
    runs = dict(arms_of("mask_rule", "smoke"))
    study = opened(home, runs=pd.DataFrame({"run_id": [runs["one mask"].run_id]}))
    capsys.readouterr()
    assert study.rows("tinybench", "mask_rule").empty and study.rows("tinybench", "balance").empty
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("scores of mask_rule: not asked yet: `pzlib evaluate mask_rule --along --tier smoke`")
    assert second == "tinybench of balance: not run yet: `pzlib study balance --tier smoke`"


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
    assert select(table, "balance", "paper")["arm"].tolist() == ["every step"]
    with pytest.raises(ValueError, match="study: no study is called 'colapse'; did you mean collapse"):
        select(table, "colapse")


def test_stored_rows_are_of_the_shipped_base_models():
    """A remade base model makes stored results another model's: they must go, and `make mini-all` makes them anew."""
    from pzlib.engine.models import fingerprint
    from pzlib.engine.models import load as load_model

    runs = pd.read_csv(REPO / "data/results/runs.csv")
    for model, rows in runs[runs["model"].str.startswith("data/")].groupby("model"):  # others are models of runs
        assert set(rows["model_fingerprint"]) == {fingerprint(load_model(Run(model=model))[0])}


def test_names_are_kept_when_a_setting_is_at_its_default_for_all_tiers():
    assert Run().run_id == Run(temperature=1.0, generator_reward="zero_rule").run_id
    assert len({Run().run_id, Run(temperature=0.9).run_id, Run(steps=201).run_id}) == 3


def test_rlvr_starts_from_the_models_of_the_same_seed_that_the_baselines_ended_with():
    own = {(arm, run.seed): run for arm, run in arms_of("baselines", "mini")}
    for arm, run in arms_of("rlvr", "mini"):
        start, _, step = run.model.partition("@")
        of = {"from the base": None, "from random spans": "random_span"}.get(arm, "pretrainzero")
        assert (start == own[of, run.seed].run_id) if of else (run.model == "data/tinybase")
        assert step == ("100" if "half" in arm else "")
    starts = studies.starts_of(["rlvr", "baselines"], "mini")
    assert len(starts) == 10 and {run.objective for run in starts} == {"pretrainzero", "random_span"}


def test_a_shorter_study_is_shorter_at_mini_only():
    study = Study("?", {"a": {}}, seeds=(0,), steps=100)
    assert arms_of(study, "paper")[0][1].steps == 2000 and arms_of(study, "mini")[0][1].steps == 100


def opened(tmp_path, **tables):
    """The studies mask_rule and balance at tier smoke, opened over these stored rows; nothing is run."""
    folder_of("smoke").mkdir(parents=True)
    for name, table in tables.items():
        table.to_csv(folder_of("smoke") / f"{name}.csv", index=False)
    return studies.open(["mask_rule", "balance"], "smoke")


def test_a_notebook_opens_studies_and_sees_rows_and_what_was_not_run(home, capsys):
    runs = dict(arms_of("mask_rule", "smoke"))
    table = pd.DataFrame({"run_id": [run.run_id for run in runs.values()], "step": 1})
    costs = pd.DataFrame({"arm": ["one mask", "sft"], "seconds": 1.0})
    study = opened(home, tinybench=table, runs=table[:2], costs=costs)
    said = capsys.readouterr().out
    assert said.startswith("mask_rule: Fig. 10b: which occurrences should a mask hide?\nbalance: How often")
    assert said.endswith("5 runs: 2 stored, 3 not run\n")
    assert study.rows("tinybench")["arm"].tolist() == study.rows("tinybench", "mask_rule")["arm"].tolist() == list(runs)
    assert study.rows("tinybench", "mask_rule", ["one mask"])["run_id"].tolist() == [runs["one mask"].run_id]
    assert len(study.rows("costs", "mask_rule")) == 2 and capsys.readouterr().out == ""
    assert study.rows("training", "balance").empty
    assert capsys.readouterr().out == "training of balance: not run yet: `pzlib study balance --tier smoke`\n"
    tally = study.tally()
    assert tally.loc["mask_rule"].to_numpy().tolist() == [[1, 1, 0], [1, 1, 0], [1, 0, 0]]
    assert tally["planned"].sum() == 6 and tally.loc[("balance", "every step"), "finished"] == 1
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


def test_arms_of_real_tiers_are_not_run_at_small_ones_and_the_other_way_round():
    small, real = (dict(arms_of("rlp_ema", tier, [0])) for tier in ("mini", "paper"))
    assert [run.ema for run in small.values()] == [0.9, 0.99, 0.999]
    assert [run.ema for run in real.values()] == [0.99, 0.995, 0.999, 0.9995]
    assert studies.left_out("rlp_ema", "paper") == {"rlp, tau 0.9": "its size is of the small world"}
    assert "rlp, tau 0.9 left out at paper" in studies.leaving_out(["rlp_ema"], "paper")
    assert arms_of("rlp_context", "mini") == [] == studies.runs_of(["rlp_corpora"], "mini")
    at_mini = {run.run_id for _, run in arms_of("side", "mini")}
    assert {run.run_id for _, run in arms_of("rlp_rpt", "mini")} <= at_mini  # nothing new to run there


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
    assert "mask_rule: 1 of 9 runs are complete" in capsys.readouterr().out


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
