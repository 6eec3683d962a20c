"""The papers' tables and curves show printed values always, ours where there are rows, "not run" where none are."""

import pandas as pd
import pytest
import synthetic
from readable import assert_readable, texts

from pzlib.figures import beside
from pzlib.figures.beside import curves_beside, draw, draw_all, table_beside
from pzlib.paths import REPO
from pzlib.studies import arms_of, papers
from pzlib.studies.exhibits import EXHIBITS, PAGE
from pzlib.tiers import NINE


def exhibit(name):
    return next(one for one in EXHIBITS if one.name == name)


def tables_of(studies, tier, tasks, steps=(0, 100, 200), seeds=(0, 1), dead=0.5):
    """Made-up tables of studies' runs: accuracy of task n at step s of arm a, seed r is .2 + .01 n + s / 1000 + .02 a
    + .01 r; length is 100 + s."""
    scores, training = [], []
    for study in studies:
        for number, (arm, run) in enumerate(arms_of(study, tier, seeds)):
            key = {"run_id": run.run_id, "objective": run.objective, "tier": tier, "seed": run.seed}
            place = number % (len(arms_of(study, tier, seeds)) // len(seeds))
            for step in steps:
                for n, (task, group) in enumerate(tasks.items()):
                    accuracy = 0.2 + 0.01 * n + step / 1000 + 0.02 * place + 0.01 * run.seed
                    row = {"step": step, "task": task, "group": group, "n": 64, "accuracy": accuracy}
                    scores.append(key | row | {"length": 100.0 + step})
                if step:
                    gone = 1.0 if step == max(steps) and arm == "entropy_next_token" else dead
                    training.append(key | {"step": step, "predictor/dead_groups": gone})
    return {"tinybench": pd.DataFrame(scores).drop_duplicates(), "training": pd.DataFrame(training)}


REAL = dict.fromkeys(NINE, "math") | dict.fromkeys(NINE[:3], "general") | {"mmlu_pro_tenth": "general"}
SMALL = {"east": "general", "sum": "math", "reasoning": "spans"}


def words(ax):
    return [text.get_text() for text in ax.texts]


def test_a_table_without_rows_shows_what_is_printed_and_not_run():
    (figure,) = draw(exhibit("pretrainzero_table_3"), {}, "paper").values()
    assert_readable(figure)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["Overall", "MATH avg", "SuperGPQA", "BBEH", "MMLU-Pro"]
    overall = figure.axes[0]
    assert words(overall) == [part for value in ("37.9", "38.43", "39.15", "40.46") for part in (value, "not run")]
    assert [line.get_xdata()[0] for line in overall.lines] == [37.9, 38.43, 39.15, 40.46]
    assert figure.headline == "20 printed values, 0 of ours"


def test_a_table_shows_ours_with_seeds_beside_what_is_printed():
    tables = tables_of(["rlvr"], "paper", REAL)
    (figure,) = draw(exhibit("pretrainzero_table_3"), tables, "paper").values()
    assert_readable(figure)
    mmlu = figure.axes[4]
    ours = [20 + 20 + 2 * place + 0.5 for place in (0, 1, 2, 3)]  # step 200, the mean of seeds 0 and 1
    printed = ("58.8", "58.62", "60.03", "61.15")
    assert words(mmlu) == [text for pair in zip(printed, map("{:.1f}".format, ours), strict=True) for text in pair]
    seeds = [line.get_xdata() for line in mmlu.lines if line.get_markersize() == 2.25]
    assert [[round(x, 6) for x in own] for own in seeds] == [[o - 0.5, o + 0.5] for o in ours]
    assert [label.get_text().replace("\n", " ") for label in figure.axes[0].get_yticklabels()] == [
        "base + RLVR".capitalize().replace("rlvr", "RLVR"), "Random spans, 2000 steps + RLVR",
        "PretrainZero, 1000 steps + RLVR", "PretrainZero, 2000 steps + RLVR",
    ]  # fmt: skip


def test_a_table_of_many_columns_is_turned():
    (figure,) = draw(exhibit("rpt_tables_6_7"), {}, "paper").values()
    assert_readable(figure)
    assert [ax.get_title(loc="left").split("\n")[-1] for ax in figure.axes] == ["reasoning", "next token"] * 2
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == 29 and labels[0] == "MMLU-Pro: Bio"
    assert words(figure.axes[2])[0] == "84.5"


TABLES = [pytest.param(one, id=one.name, marks=[pytest.mark.slow] * (one.number != "Table S.1"))
          for one in EXHIBITS if one.form == "table_beside"]  # fmt: skip


@pytest.mark.parametrize("one", TABLES)
def test_every_table_is_readable(one):
    (figure,) = draw(one, {}, "paper").values()
    assert_readable(figure)
    shown = [text.get_text() for text, _ in texts(figure)]
    for value in papers.beside(one, {}, "paper")["printed"]:
        assert f"{value:g}" in shown


def test_curves_are_of_what_the_tier_asks():
    one = exhibit("pretrainzero_fig_7")
    for tier, tasks in (("paper", REAL), ("mini", SMALL)):
        figure = curves_beside(one, tables_of(["baselines"], tier, tasks), tier)
        assert_readable(figure)
        general, math, length = figure.axes
        place = {"pretrainzero": 0, "random_span": 1}  # of the study's arms
        first = {"paper": 0.01, "mini": 0.0}[tier]  # mean over the three general tasks
        thick = {line.get_label(): line for line in general.lines if not line.get_label().startswith("_")}
        for name, arm in (("PretrainZero", "pretrainzero"), ("Random spans", "random_span")):
            start = 20 + 100 * first + 2 * place[arm] + 0.5
            assert thick[name].get_ydata() == pytest.approx([start, start + 10, start + 20])
        assert [line.get_ydata().tolist() for line in length.lines if line.get_label() == "PretrainZero"] == [
            [100, 200, 300]
        ]
        ends = [line.get_ydata()[0] for line in general.lines + math.lines if line.get_label() == "as printed"]
        wanted = [(29.1 + 9.45 + 55.21) / 3, (32.28 + 12.68 + 60.37) / 3, 47.87, 53.13]
        assert ends == pytest.approx(wanted if tier == "paper" else [])  # only there of the same model
        ends = "Random spans 31.25; PretrainZero 35.11; Random spans 47.87; PretrainZero 53.13"
        assert ends in figure.headline


def test_the_curve_is_the_tiers_own_task_and_not_another():
    table = tables_of(["collapse"], "gpu", {"supergpqa": "general", "mmlu_pro_tenth": "general"})["tinybench"]
    table = table.assign(arm=table["objective"])
    own = beside.asked(table, "curve", "gpu")
    assert own["value"].min() == pytest.approx(0.21)
    whole = table[table["task"] == "supergpqa"].assign(task="mmlu_pro")
    assert beside.asked(whole, "curve", "gpu")["value"].min() == pytest.approx(0.2)
    assert beside.asked(table[table["task"] == "supergpqa"], "curve", "gpu").empty


def test_the_step_is_marked_from_which_nothing_is_left_to_learn():
    figure = curves_beside(exhibit("pretrainzero_fig_3"), tables_of(["collapse"], "gpu", REAL), "gpu")
    assert_readable(figure)
    stops = [[line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == ":"] for ax in figure.axes]
    assert stops == [[], [], [200, 200]]  # of both seeds of entropy masking; these rows have no reward
    assert "hardly a group has signal (2 of 4 runs)" in " ".join(figure.texts[-1].get_text().split())


def test_an_arm_goes_by_the_text_of_the_tier():
    figure = curves_beside(exhibit("pretrainzero_fig_10"), tables_of(["domain"], "paper", REAL), "paper")
    assert_readable(figure)
    assert "PretrainZero, MathPile" in figure.axes[0].get_legend_handles_labels()[1]
    assert (
        "one mask" not in figure.axes[1].get_legend_handles_labels()[1]
    )  # of that study's other arms there are no rows
    figure = curves_beside(exhibit("pretrainzero_fig_10"), {}, "paper")
    assert [words(ax) for ax in figure.axes] == [["not run"]] * 2 and "tier paper: not run" in figure.texts[
        -1
    ].get_text()


def test_a_method_has_one_look_in_all_panels():
    figure = curves_beside(exhibit("pretrainzero_fig_9"), tables_of(["rlvr"], "mini", SMALL), "mini")
    assert_readable(figure)
    looks = {}
    for ax in figure.axes:
        for line in ax.lines:
            if not line.get_label().startswith("_"):
                looks.setdefault(line.get_label(), set()).add((line.get_color(), line.get_marker()))
    assert len(looks) == 4 and all(len(own) == 1 for own in looks.values())


def test_other_forms_are_drawn_from_rows_and_without_them_the_table():
    fig_2 = exhibit("rlp_fig_2")
    assert [*draw(fig_2, {}, "paper")] == ["rlp_fig_2"]
    tables = tables_of(["rlp_kl"], "gpu", {"gsm8k": "math", "mmlu_pro": "general"})
    figure = draw(fig_2, tables, "gpu")["rlp_fig_2_rlp_kl"]
    assert [ax.get_title() or ax.get_title(loc="left") for ax in figure.axes][:1] == ["Weight of KL"]
    (figure,) = draw(exhibit("rlp_table_s_8"), {"perplexity": real_perplexity()}, "gpu").values()
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["All tokens", "RLP's paper"]  # no kinds
    assert draw(exhibit("pretrainzero_fig_8"), {}, "paper") == draw(exhibit("rpt_fig_6"), {}, "paper") == {}
    assert draw(exhibit("pretrainzero_fig_6"), {}, "paper") == {}


def test_what_the_rows_of_an_exhibit_do_not_hold_stops_no_other(home, capsys, monkeypatch):
    """RPT's Fig. 4 needs next tokens: rows of benchmarks alone are no reason to draw nothing at all."""
    monkeypatch.setattr(beside, "EXHIBITS", tuple(map(exhibit, ("rpt_fig_4", "rpt_fig_5", "rpt_table_3"))))
    folder = home / "data/results/paper"
    folder.mkdir(parents=True)
    tables = tables_of(["rpt"], "paper", {"mmlu_pro": "general"})
    for name, rows in (tables | {"runs": tables["training"].drop_duplicates("run_id")}).items():
        rows.to_csv(folder / f"{name}.csv", index=False)
    draw_all("paper", home / "out", home / "data/results")
    names = {path.stem for path in (home / "out").iterdir()}
    assert names == {"rpt_fig_4", "rpt_table_3"}  # of the first what is printed
    assert "RPT Fig. 5" in capsys.readouterr().out


def real_perplexity():
    table = synthetic.perplexity(("rlp", "continued_pretraining"), seeds=1)
    runs = {arm: run.run_id for arm, run in arms_of("rlp", "gpu", [0])}
    table = table[(table["task"] == "text") & table["arm"].isin(runs)].assign(tier="gpu")
    return table.assign(run_id=table["arm"].map(runs)).drop(columns="arm")


def test_the_command_draws_prints_and_writes_the_page(home, capsys, monkeypatch):
    few = tuple(exhibit(name) for name in ("pretrainzero_fig_8", "rlp_table_s_5"))
    monkeypatch.setattr(beside, "EXHIBITS", few)
    (home / "docs").mkdir()
    draw_all("paper", home / "out")
    said = capsys.readouterr().out
    assert "PretrainZero Fig. 8: one passage and what models answer to it\n    any passage" in said
    assert (
        f"RLP Table S.5: continued pretraining on longer rows\n    {home}/out/rlp_table_s_5.png\n    pzlib study"
        in said
    )
    assert (home / PAGE).read_text() == (REPO / PAGE).read_text()
    assert sorted(path.name for path in (home / "out").iterdir()) == ["rlp_table_s_5.pdf", "rlp_table_s_5.png"]


def test_numbers_of_a_cell():
    table = pd.DataFrame({"model": "", "method": ["rlp", "base"], "column": "Avg", "printed": [float("nan"), 1.25]})
    figure = table_beside(table.assign(ours=[pd.Series([40.0, 42.0]), pd.Series(dtype=float)]), "made up", "a note")
    assert words(figure.axes[0]) == ["–", "41.0", "1.25", "not run"]
    assert figure.notes == ["A note"]
