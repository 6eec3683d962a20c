"""The reported tables against the papers' own arithmetic, so that a slip of the pen is caught; and their figure."""

import numpy as np
import pandas as pd
import pytest
from readable import assert_readable

from pzlib.figures.paper import baselines_beside
from pzlib.figures.style import METHODS
from pzlib.studies.claims import errata, reported, tables

Q4, Q8, SMOL, MOE = "Qwen3-4B-Base", "Qwen3-8B-Base", "SmolLM3-3B-Base", "Qwen3-30B-A3B-Base"
GENERAL, MATH = ["SuperGPQA", "BBEH", "MMLU-Pro"], ["MATH-500", "Olympiad", "Minerva", "GSM8K", "AMC23", "AIME24"]
COPIED = (Q4, "random_span, 2000 steps + rlvr")


def wide(table):
    """(model, method) x benchmark; pivot refuses a cell that is told twice."""
    return reported(table).pivot(index=["model", "method"], columns="benchmark", values="value")


def close(left, right, within=0.0101):  # two roundings of 0.005
    assert len(left) and (left - right).abs().max() <= within, (left - right)[lambda d: d.abs() > within]


def test_every_value_of_every_table_is_there():
    counts = {name: len(reported(name)) for name in tables()}
    assert counts == {
        "pretrainzero 1": 16 * 5, "pretrainzero 2": 16 * 7, "pretrainzero 3": 4 * 5, "pretrainzero 4": 4 * 7,
        "rpt 1": 4 * 3, "rpt 2": 3 * 2, "rpt 3": 4 * 2, "rpt 6-7": 4 * (15 + 14), "rpt 8": 7 * 2,
        "rlp 1": 15 * 6, "rlp 2": 4 * 4 + 2 * 7, "rlp 3": 5 * 3, "rlp 4": 11 * 4, "rlp S.1": 4 + 7 + 3 + 1,
        "rlp S.2": 3, "rlp S.3": 2, "rlp S.4": 4, "rlp S.5": 2, "rlp S.6": 4, "rlp S.8": 4,
        "ncr text": 4,
    }  # fmt: skip
    for name in tables():
        wide(name)


@pytest.mark.parametrize("number", [1, 3])
def test_overall_is_the_mean_of_four(number):
    table = wide(f"pretrainzero {number}")
    assert len(table) == {1: 16, 3: 4}[number]
    close(table[["MATH avg", *GENERAL]].mean(axis=1), table["Overall"])


@pytest.mark.parametrize("number", [2, 4])
def test_the_math_average_is_the_mean_of_six_and_that_of_the_general_table(number):
    table = wide(f"pretrainzero {number}")
    close(table[MATH].mean(axis=1), table["AVG"])
    general = wide(f"pretrainzero {number - 1}")["MATH avg"]
    rows = table.index.difference([COPIED])
    pd.testing.assert_series_equal(table["AVG"][rows], general[rows], check_names=False)


def test_the_copied_row_of_table_4_is_marked_as_such():
    rows = reported("pretrainzero 4")
    marked = rows[rows["note"] != ""]
    assert set(zip(marked["model"], marked["method"], strict=True)) == {COPIED} and len(marked) == 7
    table, before = wide("pretrainzero 4"), wide("pretrainzero 2")
    assert table.loc[COPIED].to_dict() == before.loc[(Q4, "random_span")].to_dict()
    assert wide("pretrainzero 3").loc[COPIED, "MATH avg"] == 51.49 != table.loc[COPIED, "AVG"]


def test_the_gains_that_the_text_quotes_follow_from_the_tables():
    one, two, three = wide("pretrainzero 1"), wide("pretrainzero 2"), wide("pretrainzero 3")

    def gain(table, benchmark, a, b, model=Q4):
        return round(table.loc[(model, a), benchmark] - table.loc[(model, b), benchmark], 2)

    assert gain(one, "MMLU-Pro", "pretrainzero", "base") == 8.43
    assert gain(one, "SuperGPQA", "pretrainzero", "base") == 5.96
    assert gain(two, "AVG", "pretrainzero", "base") == 10.60
    after = ("pretrainzero, 2000 steps + rlvr", "base + rlvr")
    assert [gain(three, name, *after) for name in ("MMLU-Pro", "SuperGPQA", "MATH avg")] == [2.35, 3.04, 2.81]
    over = {Q4: 4.20, Q8: 1.82, MOE: 3.17, SMOL: 3.16}
    assert {m: gain(one, "Overall", "pretrainzero", "random_span", m) for m in over} == over
    drops = {"continued_pretraining": (-16.47, -24.75), "sft": (-8.09, -10.27)}
    assert {arm: tuple(gain(one, "Overall", arm, "base", m) for m in (Q4, Q8)) for arm in drops} == drops
    worse = one["BBEH"].unstack("method").query("random_span > pretrainzero").index
    assert list(worse) == [SMOL]  # the one general cell


def test_rpts_means_over_categories_and_splits():
    table = wide("rpt 6-7")
    for name, most in (("MMLU-Pro", 14), ("SuperGPQA", 13)):
        parts = [column for column in table if column.startswith(f"{name}: ") and not column.endswith(": all")]
        assert len(parts) == most
        off = (table[parts].mean(axis=1) - table[f"{name}: all"]).abs()
        odd = [("R1-Distill-Qwen-14B", "next token")] if name == "SuperGPQA" else []
        assert off.drop(odd).max() < 0.08 and (off[odd] > 0.3).all()
        printed = wide("rpt 3")[name]
        pd.testing.assert_series_equal(table[f"{name}: all"], printed, check_names=False)
    means = wide("rpt 1").mean(axis=1).round(2)
    assert means["R1-Distill-Qwen-14B", "next token"] == 30.50 and means["RPT-14B", "reasoning"] == 34.14  # its Fig. 4


def test_rlps_averages_and_where_they_slip():
    one, two = wide("rlp 1"), wide("rlp 2")
    five = ["AIME25", "MATH500", "GSM8K", "AMC23", "Minerva"]
    close(one[five].sum(axis=1) / 6, one["Math Avg"])
    assert one[five].mean(axis=1).round(2)["Qwen3-1.7B-Base"][["base", "cpt", "rlp"]].tolist() == [29.22, 36.92, 38.08]
    close(one[["MMLU@1[4]", "MMLU-Pro@1[4]", "GPQA@1[4]"]].mean(axis=1), one["Science@1[4]"])
    close(two[["MATH500", "GSM8K", "AMC23", "Minerva"]].dropna().mean(axis=1), two["Math Avg"][:2])
    for table in (one, two.dropna()):
        close(table[["MMLU", "MMLU-Pro", "GPQA"]].mean(axis=1), table["Science Avg"])
    for table in (one, two):
        close(table[["Math Avg", "Science Avg", "Science@1[4]"]].mean(axis=1), table["Overall"])
    four = wide("rlp 4")
    close(four[["Math", "Science", "Science@1[4]"]].mean(axis=1), four["Avg"])
    three = wide("rlp 3")
    off = (three[["Math", "Science"]].mean(axis=1) - three["Avg"]).abs()
    marked = reported("rlp 3").query("note != ''").set_index(["model", "method"]).index
    assert (off[marked] > 0.1).all() and len(marked) == 2
    close(off.drop(marked), 0)


def test_rlps_ablations_have_the_values_that_other_tables_repeat():
    averages = reported("rlp S.1").set_index("method")["value"]
    assert averages["base"] == wide("rlp 3").loc[("Qwen3-1.7B-Base", "base"), "Avg"]
    # the chosen settings: 16 rollouts, 2048 tokens and no KL are one run; no other KL or number of rollouts beats it
    chosen = averages[["rlp, rollouts 16", "rlp, completion tokens 2048", "rlp, KL 0"]]
    assert set(chosen) == {42.17} and averages.drop("rlp, completion tokens 4096").max() == 42.17
    both = reported("rlp S.2").set_index("method").loc["rlp, both", "value"]
    assert both == wide("rlp 4").loc[("Qwen3-1.7B-Base", "rlp, CrossThink"), "Avg"]
    decays = reported("rlp S.6").set_index("method")["value"]
    assert decays.idxmax() == "rlp, tau 0.999"
    quoted = {"CrossThink perplexity": [2.91, 2.36], "Wikitext-103 perplexity": [5.83, 4.48]}
    assert wide("rlp S.8").loc[""].loc[["base", "rlp"]].to_dict("list") == quoted


def test_errata_say_where_and_from_which_notes():
    table = errata()
    assert list(table) == ["paper", "where", "what"] and (table != "").all(axis=None)
    assert set(table["paper"]) <= {name.split()[0] for name in tables()}
    assert not table.duplicated(["paper", "where"]).any()
    for words in ("copy of the row before RLVR", "divided by 6", "2.18"):
        assert table["what"].str.contains(words, regex=False).sum() == 1, words


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("table 1", "names no paper; write it as 'pretrainzero 1'"),
        ("pretrainzer 1", "did you mean pretrainzero"),
        ("rpt 4", "rpt has no table '4' here; known: 1, 2, 3, 6-7, 8"),
        ("rlp", "rlp has no table ''"),
    ],
)
def test_an_unknown_table_is_refused_with_what_there_is(name, words):
    with pytest.raises(ValueError, match="^table: ") as error:
        reported(name)
    assert words in str(error.value)


def ours(arms=("pretrainzero", "random_span", "sft", "continued_pretraining"), seeds=3, up=0.1):
    """A study's rows: base 0.4 general and 0.2 math; an arm gains `up` times its place and 0.01 times the seed."""
    rows = []
    for place, arm in enumerate(arms):
        for seed in range(seeds):
            for step, gain in ((0, 0), (20, up * place + 0.01 * seed)):
                for group, share in (("general", 0.4), ("math", 0.2)):
                    row = {"arm": arm, "run_id": f"{arm}-{seed}", "tier": "mini", "seed": seed, "step": step}
                    rows.append(row | {"task": group, "group": group, "accuracy": share + gain})
    return pd.DataFrame(rows)


def marks(ax, method, size):
    """(x, y) of the marks of one method: the large ones (size 5) or the seeds (2.5)."""
    lines = [line for line in ax.get_lines() if line.get_color() == METHODS[method].colour]
    lines = [line for line in lines if line.get_markersize() == size and line.get_marker() == METHODS[method].marker]
    return [tuple(point) for line in lines for point in line.get_xydata()]


def test_the_papers_tables_stand_beside_ours():
    figure = baselines_beside({"baselines": ours(), "baselines_small": ours(seeds=1)})
    assert_readable(figure)
    axes = figure.axes
    assert [text.get_text() for text in axes[0].get_xticklabels()] == [
        "SmolLM3\n3B", "Qwen3\n4B", "Qwen3\n8B", "Qwen3\n30B-A3B"
    ]  # fmt: skip
    assert [text.get_text() for text in axes[1].get_xticklabels()] == ["tinybase\nsmall", "tinybase\n(default)"]
    assert [y for _, y in marks(axes[0], "pretrainzero", 5)] == [23.41, 39.61, 42.78, 43.55]
    assert [y for _, y in marks(axes[0], "sft", 5)] == [24.27, 26.80]
    np.testing.assert_allclose(marks(axes[2], "base", 5)[1][1], (26.32 + 8.67 + 51.94) / 3)
    assert [y for _, y in marks(axes[4], "base", 5)] == [32.31, 42.53, 47.48, 52.49]
    np.testing.assert_allclose([y for _, y in marks(axes[3], "random_span", 5)], [50, 51])  # 40 + 10, + mean seed
    np.testing.assert_allclose([y for _, y in marks(axes[5], "base", 5)], [20, 20])
    assert marks(axes[5], "base", 2.5) == []  # one model, not a mark a seed
    np.testing.assert_allclose([y for _, y in marks(axes[1], "sft", 2.5)], [50, 51, 52])  # 30 + 20, a mark a seed
    words = " ".join(text.get_text() for text in figure.texts).replace("\n", " ")
    assert "data/results/tinybench.csv, tier mini: 64 rows; seeds: 1 (baselines_small), 3 (baselines)." in words


def test_a_figure_without_runs_is_refused():
    with pytest.raises(ValueError, match="^tinybench: no study has rows"):
        baselines_beside({"baselines": ours()[:0]})
