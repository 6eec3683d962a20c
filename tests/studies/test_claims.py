"""The printed tables against the papers' own arithmetic, so that a slip is caught; the ledger: claims that are
well formed, values and verdicts worked by hand."""

import itertools
import math
import re

import numpy as np
import pandas as pd
import pytest
from synthetic import bins, curve, judged_claims

from pzlib import studies
from pzlib.figures import paper
from pzlib.stats import holm, stratified_t
from pzlib.studies import claims, results, tables
from pzlib.studies.claims import errata, printed_tables, reported, verdicts
from pzlib.studies.metrics import MOMENTS

LEDGER = claims.load()
# RPT's tables -> what their rows are called, of our arms and moments
R1, RPT = "R1-Distill-Qwen-14B", "RPT-14B"
RPT_NAMES = {
    "Table 1": {
        "rpt, clean text": f"{RPT}, reasoning", "rpt, clean text@base": f"{R1}, reasoning",
        "rpt, clean text@direct": f"{R1}, next token", "direct": f"{R1}, next token",
    },
    "Table 2": {
        "continued_pretraining, reasoning base": f"{R1}, continual next-token training",
        "rpt, clean text": f"{RPT}, rpt", "base": f"{R1}, base", "from RPT": f"{RPT}, rpt",
        "from the base": f"{R1}, base", "from continued pretraining": f"{R1}, continual next-token training",
    },
    "Table 3": {"rpt, clean text": f"{RPT}, reasoning", "base": f"{R1}, reasoning"},
}  # fmt: skip
# RLP's, of our arms, by the claim: the text and the lengths of ours are other ones
RLP_NAMES = {
    "rlp-cpt": {"continued_pretraining": "cpt"},
    **dict.fromkeys(
        ("rlp-post-base", "rlp-post-cpt", "rlp-post-base-side", "rlp-post-cpt-side"),
        {"from RLP": "rlp + post", "from the base": "base + post", "from continued pretraining": "cpt + post"},
    ),
    "rlp-rpt-flops": {"rlp": "rlp, FLOP-matched", "rpt": "rpt, FLOP-matched"},
    "rlp-rpt-tokens": {"rlp": "rlp, token-matched", "rpt": "rpt, token-matched"},
    "rlp-cpt-base-math": {"continued_pretraining, mathematics": "cpt"},
    "rlp-math-text": {"rlp, mathematics": "rlp, Math-Text"},
    "rlp-both-domains": {"rlp, mathematics": "rlp, only math"},
    "rlp-both-general": {"rlp, general": "rlp, only science"},
    "rlp-few-tokens": {"rlp": "rlp, CrossThink", "continued_pretraining, equal tokens": "cpt, CrossThink 6B"},
}


# NCR's, of our arms: its "RLPT-style" stands by our random spans
NCR_NAMES = {"from mixed SFT": "mixed_sft + rlvr", "from RPT": "rpt + rlvr", "from random spans": "rlpt + rlvr"}


def test_the_printed_numbers_of_ncr():
    printed = reported("ncr text").set_index("method")["value"]
    for claim in LEDGER[LEDGER["paper"] == "ncr"].dropna(subset=["reported_a"]).to_dict("records"):
        assert [claim["reported_a"], claim["reported_b"]] == [printed[NCR_NAMES[claim[end]]] for end in "ab"]


def test_the_claims_hold_together():
    assert "verdict" not in LEDGER and len(LEDGER) > 50
    tested = LEDGER[LEDGER["study"] != ""]
    assert not tested.duplicated(["study", "metric", "a", "b"]).any()  # a test made twice would weigh twice in Holm's
    mirrored = tested.assign(a=tested["b"], b=tested["a"])
    assert not mirrored.merge(tested, on=["study", "metric", "a", "b"]).shape[0]
    assert {study.partition(claims.OF_SIZE)[0] for study in tested["study"]} <= set(studies.STUDIES)
    for claim in tested.to_dict("records"):
        for end in "ab":
            arm, moment = claims._side(claim, end)
            known = arm is None or moment in ("end", claims.EQUAL_TOKENS) or claim["metric"] in MOMENTS[moment]
            assert known, claim["id"]
    # what RLP claims is tested where a thought can pay, and nowhere else
    assert set(tested.loc[tested["needs"] == "", "id"]) & set(tested.loc[tested["paper"] == "rlp", "id"]) == {
        "rlp-cpt-base-math"
    }


def test_the_printed_numbers_of_the_claims_are_those_of_the_tables_and_point_its_way():
    checked = 0
    for claim in LEDGER[LEDGER["paper"] != "ncr"].dropna(subset=["reported_a"]).to_dict("records"):
        names = [f"{claim['paper']} {number}" for number in re.findall(r"Table (\S+?)(?:,|$)", claim["section"])]
        table = pd.concat([reported(name) for name in names])
        model, _, what = claim["reported_on"].removesuffix(" (%)").rpartition(": ")
        benchmarks = what.removeprefix("mean of ").split(", ") if what.startswith("mean of") else [what]
        for end in ("a", "b"):
            own = table["method"] if model or claim["paper"] == "rlp" else table["model"] + ", " + table["method"]
            arm, _, moment = claim[end].partition("@")  # of RLVR's arms the paper has other names, before and after
            method = paper.RLVR[arm][moment == "base"] if arm in paper.RLVR else arm
            method = RLP_NAMES.get(claim["id"], {}).get(arm, method)
            if claim["paper"] == "rpt":
                method = RPT_NAMES.get(claim["section"], {}).get(claim[end], claim[end])
            rows = table[(own == method) & table["benchmark"].isin(benchmarks)]
            rows = rows[(rows["model"] == model) | (model == "")]
            assert len(rows) == len(benchmarks), claim["id"]
            assert claim[f"reported_{end}"] == pytest.approx(rows["value"].mean(), abs=0.0051), claim["id"]
        assert (claim["reported_a"] > claim["reported_b"]) == (claim["direction"] == ">"), claim["id"]
        checked += 1
    assert checked > 50


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("study", "", "4b-pz-random-overall: give a study, or say in why_not"),
        ("why_not", "no time", "4b-pz-random-overall: give a study, or say in why_not"),
        ("direction", "above", "4b-pz-random-overall: direction 'above' must be one of >, <, >=, <=, ="),
        ("needs", "gain > 0", "4b-pz-random-overall: needs 'gain > 0' must be as 'study:arm: metric@moment > number'"),
        ("metric", "generals", "metric: no metric 'generals'; did you mean general"),
        ("study", "baseline", "study: no study is called 'baseline'; did you mean baselines"),
        ("a", "pretrain_zero", "4b-pz-random-overall: 'pretrain_zero' is not an arm of baselines; did you mean"),
        ("id", "4b-sft-base-math", "id: '4b-sft-base-math' names two claims"),
    ],
)
def test_a_claim_that_cannot_be_judged_is_refused(tmp_path, column, value, words):
    LEDGER.assign(**{column: [value, *LEDGER[column][1:]]}).to_csv(tmp_path / "claims.csv", index=False)
    with pytest.raises(ValueError) as error:
        claims.load(tmp_path / "claims.csv")
    assert str(error.value).startswith(words)


def claim(id, a, b, direction=">", metric="general", study="baselines", **more):
    row = dict.fromkeys(LEDGER.columns, "") | {"id": id, "paper": "pretrainzero", "section": "Table 1", "claim": id}
    row |= {"study": study, "metric": metric, "a": a, "b": b, "direction": direction}
    return row | {"reported_a": math.nan, "reported_b": math.nan} | more


def judged(rows, *made, **tables):
    tables = {"tinybench": rows, "training": bins(), **tables}

    def select(table, study, tier):
        assert tier == "tiny"
        return table[table["arm"].str.startswith(study)].assign(arm=lambda t: t["arm"].str.split("/").str[1])

    return claims.ledger(pd.DataFrame(made), tables, "tiny", select).set_index("id")


def noisy(arm, level, noise):
    """Accuracies (level + seed's own noise) at the end, base 0.4; the seeds' own shift of `tinybench` is in both."""
    parts = [curve({0: 0.4, 20: level + extra}, f"baselines/{arm}", len(noise)).query("seed == @seed")
             for seed, extra in enumerate(noise)]  # fmt: skip
    return pd.concat(parts)


def test_verdicts_by_hand():
    rows = pd.concat([
        noisy("good", 0.60, [0.001, -0.001, 0.0, 0.002, -0.002]),
        noisy("poor", 0.50, [0.0, 0.0, 0.0, 0.0, 0.0]),
        noisy("wild", 0.55, [0.2, -0.2, 0.1, -0.1, 0.0]),
        noisy("alike", 0.505, [0.002, -0.001, 0.001, -0.002, 0.0]),
        noisy("short", 0.70, [0.0, 0.001]),
    ])  # fmt: skip
    table = judged(
        rows,
        claim("right", "good", "poor"),
        claim("right, told from below", "poor", "good", "<"),
        claim("wrong", "poor", "good"),
        claim("open", "wild", "poor"),
        claim("small", "alike", "poor"),
        claim("not below", "alike", "poor", ">="),
        claim("far above", "good", "poor", ">="),
        claim("not above, but it is", "good", "poor", "<="),
        claim("equal", "poor", "alike", "="),
        claim("equal, but it is not", "good", "alike", "="),
        claim("two pairs", "short", "poor"),
        claim("no rows", "good", "absent"),
        claim("no study", "good", "poor", study="", why_not="needs RLVR"),
        claim("against a number", "good", "61", direction="<="),
    )
    short = table["verdict"].str.removesuffix(" at tiny").to_dict()
    assert short == {
        "right": "reproduced", "right, told from below": "reproduced", "wrong": "contradicted", "open": "inconclusive",
        "small": "reproduced", "not below": "reproduced", "far above": "reproduced", "equal": "reproduced",
        "not above, but it is": "contradicted", "equal, but it is not": "contradicted",
        "two pairs": "not run at this tier", "no rows": "not run at this tier", "no study": "not run at this tier",
        "against a number": "inconclusive",
    }  # fmt: skip
    assert table["n"].tolist() == [5] * 10 + [2, 0, 0, 5]
    assert table.index[table["small"]].tolist() == ["small"]  # half a point, surely there, below the margin of two
    right = table.loc["right"]
    assert right["effect"] == pytest.approx(10.0) and right["unit"] == "points" and right["tier"] == "tiny"
    # paired, the seeds' shift of 0 to 4 points is gone: differences 10.1, 9.9, 10, 10.2, 9.8
    assert right["high"] - right["effect"] == pytest.approx(2.7764 * 0.158114 / math.sqrt(5), abs=1e-3)
    assert right["spread"] == pytest.approx(0.158114, abs=1e-5) and right["margin"] == 2
    assert table.loc["right, told from below", "effect"] == -right["effect"]
    assert table.loc["open", "low"] < 0 < table.loc["open", "high"] and table.loc["open", "seeds"] > 5
    # to find 5 points where runs differ by 15.8 at a level of 0.05 and 80 %: (1.96 + 0.84)² x (15.8 / 5)² and some
    alone = judged(rows, claim("open", "wild", "poor"))
    assert alone.loc["open", "seeds"] == pytest.approx(7.85 * (15.81 / 5) ** 2, abs=3)
    beside = judged(rows, claim("open", "wild", "poor"), claim("wider", "wild", "alike"))
    assert beside.loc["open", "seeds"] > alone.loc["open", "seeds"]  # at the level that Holm leaves in a family
    assert table.drop("open")["seeds"].drop("against a number").isna().all()
    tested = table["p"].dropna()
    assert table["p_holm"].dropna().tolist() == holm(tested) and len(tested) == 11
    untested = table.loc[["two pairs", "no rows", "no study"]]
    assert untested[["effect", "low", "high", "p", "p_holm", "margin", "seeds"]].isna().all(axis=None)


def test_no_difference_is_a_verdict_of_its_own():
    rows = pd.concat([noisy("even", 0.501, [0.004, -0.004, 0.003, -0.003, 0.0]), noisy("poor", 0.50, [0.0] * 5)])
    table = judged(rows, claim("above", "even", "poor"), claim("below", "poor", "even", "<"))
    assert table["verdict"].tolist() == ["no difference at tiny"] * 2
    assert table["p"].min() > 0.5 and table["p_margin"].max() < 0.001
    outlier = (rows["seed"] == 0) & rows["arm"].str.endswith("even")
    wide = judged(rows.assign(accuracy=rows["accuracy"].where(~outlier, 0.3)), claim("above", "even", "poor"))
    assert wide["verdict"].tolist() == ["inconclusive at tiny"]


def base_rows(answers, arms=("a", "b"), at=(0.4, 0.5)):
    """Arms whose base was asked once, so many answers a task."""
    return pd.concat([curve({0: at[0], 20: at[1]}, f"baselines/{arm}", 5, n=answers) for arm in arms])


def test_the_base_is_a_measurement_too():
    # at every seed the end is 10 points above step 0, and step 0 is one model: its general task 0.4, of 25 answers
    rows = base_rows(25)
    rows.loc[rows["step"] == 0, "accuracy"] = 0.4  # as in real rows, without the shift of the seeds
    few = judged(rows, claim("it", "a", "base")).loc["it"]
    values = [10.0, 11.0, 12.0, 13.0, 14.0]
    expected = stratified_t(values, errors=[100 * math.sqrt(0.4 * 0.6 / 25)] * 5)
    assert [few["low"], few["high"]] == pytest.approx(expected["interval"]) and few["p"] == pytest.approx(expected["p"])
    assert few["verdict"] == "inconclusive at tiny" and few["shared"] == pytest.approx(96.0)
    assert few["seeds"] is None or np.isnan(few["seeds"])  # no number of seeds mends a base that was asked too little
    many = judged(rows.assign(n=10_000), claim("it", "a", "base")).loc["it"]
    assert many["verdict"] == "reproduced at tiny" and many["shared"] == pytest.approx(0.24)
    # a start that differs by seed is no base: its noise is in the spread of the differences already
    own = judged(base_rows(100), claim("it", "a", "b@base")).loc["it"]
    assert own["shared"] == 0 and own["low"] == own["high"] == pytest.approx(10.0)


def test_few_answers_along_training_are_an_error_that_all_runs_share():
    """Runs near their base erred alike in the second round, by up to two points, which no spread of seeds shows."""
    rows = curve({0: 0.4, 10: 0.5, 20: 0.5}, "baselines/a", 5, n=1600)
    rows.loc[rows["step"] == 0, "accuracy"], rows.loc[rows["step"] == 10, "n"] = 0.4, 100
    it = judged(rows, claim("it", "a", "base")).loc["it"]
    base, few, many = (100 * math.sqrt(p * (1 - p) / n) for p, n in ((0.4, 1600), (0.5, 100), (0.5, 1600)))
    expected = stratified_t([10.0, 11, 12, 13, 14], errors=[math.hypot(base, (few + many) / 2)] * 5)
    assert [it["low_along"], it["high_along"]] == pytest.approx(expected["interval"])
    assert it["high_along"] - it["low_along"] > it["high"] - it["low"] + 3
    wild = rows.assign(accuracy=rows["accuracy"] + rows["seed"].map([0.0, 0.2, 0.0, 0.0, 0.0].__getitem__))
    wild.loc[wild["step"] == 0, "accuracy"] = 0.4
    drawn = [wild.assign(n=wild["n"].where(wild["step"] != 10, n)) for n in (300, 1e9)]
    asked = [judged(own, claim("it", "a", "base")) for own in drawn]
    assert asked[0].loc["it", "p_along"] >= asked[1].loc["it", "p_along"]  # a bound gives no degrees of freedom
    between = pd.concat([rows, rows.assign(arm="baselines/b", accuracy=rows["accuracy"] + 0.1)])
    assert judged(between, claim("it", "b", "a")).loc["it", "high_along"] == pytest.approx(10)  # both are asked alike


def test_the_most_likely_token_is_not_drawn():
    rows = curve({0: 0.3, 20: 0.5}, "baselines/a", 5, n=100)
    rows = rows[rows["group"] == "general"].assign(group="next token", task="next token, hard")
    direct = rows[rows["step"] == 0].assign(group="next token, direct", task="next token, hard, direct", accuracy=0.4)
    table = judged(pd.concat([rows, direct]), claim("it", "a", "direct", metric="next token, hard"))
    assert table.loc["it", "shared"] == 0 and table.loc["it", "effect"] == pytest.approx(12)


def test_two_bases_are_a_factor_and_both_must_agree():
    up, down = base_rows(100, ("a",), (0.4, 0.6)), base_rows(100, ("b",), (0.4, 0.5))
    one = pd.concat([up, down]).assign(run_id=lambda rows: rows["arm"] + rows["seed"].astype(str) + "/one")
    two = one.assign(run_id=one["run_id"].str.replace("one", "two"))
    two.loc[two["arm"].str.endswith("/a"), "accuracy"] -= 0.12  # on the second base a is below b
    rows = pd.concat([one, two])
    rows = pd.concat([rows, rows[rows["step"] == 20].assign(step=10)])
    runs = pd.DataFrame({"run_id": rows["run_id"].unique()})
    runs["model"] = runs["run_id"].str.rpartition("/")[2]
    table = judged(rows, claim("it", "a", "b"), claim("also", "b", "a@base"), runs=runs)
    assert table["n"].tolist() == [10, 10]
    assert not table.loc["it", "signs"] and table.loc["it", "verdict"] == "inconclusive at tiny"
    assert table.loc["it", "effect"] == pytest.approx(4.0) and table.loc["it", "note"] == "the bases differ in sign"
    assert table.loc["also", "signs"]
    # more seeds of bases that differ settle nothing, at the end or along training
    assert pd.isna(table.loc["it", "seeds"]) and claims.needed(table.loc["it"].to_dict()) == "the bases differ"
    assert table.loc["it", "p_along_holm"] < 0.05 and table.loc["it", "along"] == ""
    # nor may the curves differ in sign, which are apart here along training and meet at the end
    two.loc[two["arm"].str.endswith("/a"), "accuracy"] += 0.12
    some = {"on both": (0.1, 0.1), "on one": (0.2, -0.05)}
    for name, gaps in some.items():
        between = [own[own["step"] == 0].assign(step=10) for own in (one, two)]
        for own, gap in zip(between, gaps, strict=True):
            own["accuracy"] += gap * own["arm"].str.endswith("/a")
        meet = pd.concat([own.assign(accuracy=own["accuracy"].where(own["step"] == 0, 0.6)) for own in (one, two)])
        curves = pd.concat([meet, *between])
        some[name] = judged(curves, claim("it", "a", "b"), runs=runs).loc["it", "along"]
    assert some == {"on both": "as claimed", "on one": ""}
    # a run that goes on from a run is of that run's base
    later = pd.DataFrame({"run_id": ["latest", "later", "first"], "model": ["later", "first@100", "data/base"]})
    assert claims._bases(later) == dict.fromkeys(["latest", "later", "first"], "data/base")
    assert table.loc["it", "spread"] == pytest.approx(0, abs=1e-9)  # within bases, not between them


def test_curves_that_meet_are_told_apart_by_their_area():
    early = pd.concat([curve({0: 0.4, 10: 0.6, 20: 0.7}, "baselines/early", 5), curve({0: 0.4, 10: 0.5, 20: 0.7},
                      "baselines/late", 5)], ignore_index=True)  # fmt: skip
    shake = np.tile([0.004, -0.004, 0.003, -0.003, 0.0], 2)
    for step in (10, 20):
        at = (early["step"] == step) & (early["task"] == "east")
        early.loc[at, "accuracy"] += shake if step == 20 else shake / 4
    early.loc[early["arm"].str.endswith("late"), "accuracy"] -= 0.0005 * (early["seed"] - 2)
    it = judged(early, claim("it", "early", "late")).loc["it"]
    assert it["verdict"] == "no difference at tiny" and it["along"] == "as claimed"
    assert it["effect_along"] == pytest.approx(5.0)  # 10 points at step 10, none at 20
    assert judged(early, claim("it", "late", "early")).loc["it", "along"] == "the other way"


def test_a_claim_whose_precondition_fails_is_not_tested():
    rows = pd.concat([noisy("good", 0.6, [0.0, 0.001, 0.002]), noisy("poor", 0.5, [0.0] * 3)])
    training = pd.concat([bins(**{"predictor/reward": level}).assign(arm="baselines/good", seed=seed)
                          for seed, level in enumerate((-0.6, -0.7, -0.65))])  # fmt: skip
    needs = "baselines:good: gain@start > -0.1"
    made = [claim("it", "good", "poor", needs=needs), claim("other", "good", "poor@base")]
    table = judged(rows, *made, training=training)
    assert table.loc["it", "verdict"] == "precondition failed at tiny" and "is -0.65" in table.loc["it", "note"]
    assert table.loc["it", "effect"] == pytest.approx(10.1) and np.isnan(table.loc["it", "p_holm"])
    assert table.loc["other", "p_holm"] == table.loc["other", "p"]  # it is not of the family
    holds = judged(rows, *made, training=training.assign(**{"predictor/reward": 0.05}))
    assert holds.loc["it", "verdict"] == "reproduced at tiny"


def test_a_paper_is_a_family():
    rows = pd.concat([noisy("good", 0.44, [0.015, -0.015, 0.005]), noisy("poor", 0.40, [0, 0, 0])])
    alone = judged(rows, claim("it", "good", "poor"))
    p = alone.loc["it", "p"]
    assert 0.025 < p < 0.05 and alone.loc["it", "p_holm"] == p and alone.loc["it", "verdict"] == "reproduced at tiny"
    many = judged(rows, claim("it", "good", "poor"), claim("idle", "poor", "poor@base"), claim("no", "good", "absent"))
    assert many.loc["it", "p_holm"] == 2 * p  # two were tested, the third was not
    assert many.loc["it", "verdict"] == "inconclusive at tiny"
    both = pd.concat([rows, rows.assign(arm=rows["arm"].str.replace("baselines", "another"))])
    elsewhere = judged(both, claim("it", "good", "poor"), claim("idle", "poor", "poor@base", study="another"))
    assert elsewhere.loc["it", "p_holm"] == 2 * p  # another study of the paper is no other family
    papers = judged(rows, claim("it", "good", "poor"), claim("idle", "poor", "poor@base", paper="rlp"))
    assert papers["p"].notna().all()
    assert papers["p_holm"].tolist() == papers["p"].tolist()  # another paper's claims are


def test_a_comparison_of_the_same_runs_is_made_once():
    rows = pd.concat([noisy("good", 0.6, [0.0, 0.1, 0.2, 0.3]), noisy("poor", 0.5, [0.0] * 4)])
    rows["run_id"] = rows["arm"] + rows["seed"].astype(str)
    again = rows[rows["arm"] == "baselines/poor"].assign(arm="baselines/poor too")  # a run that is two arms
    both = claim("it", "good", "poor"), claim("same", "good", "poor too"), claim("other", "poor", "good")
    table = judged(pd.concat([rows, again]), *both, claim("base", "good", "poor too@base"))
    assert table["twin"].to_dict() == {"it": "", "same": "it", "other": "", "base": ""}
    assert table.loc["same", "verdict"].startswith("not run") and "runs are those of it" in table.loc["same", "note"]
    assert table["p"].notna().tolist() == [True, False, True, True]


def test_pairs_are_the_seeds_that_both_have():
    good, poor = noisy("good", 0.6, [0.0, 0.1, 0.2, 0.3]), noisy("poor", 0.5, [0.0] * 5)
    table = judged(pd.concat([good[good["seed"] > 0], poor]), claim("it", "good", "poor"))
    assert table.loc["it", "n"] == 3 and table.loc["it", "effect"] == pytest.approx(30)


def test_training_metrics_are_tested_on_their_own_table():
    parts = [bins(**{"predictor/length": np.linspace(8, 8 + grown, 20)}).assign(arm="baselines/a", seed=seed)
             for seed, grown in enumerate((4.0, 4.1, 4.2))]  # fmt: skip
    made = claim("grows", "a", "start", metric="response length")
    table = judged(curve({0: 0.4}), made, training=pd.concat(parts))
    # 16 of 19 equal steps lie between the middles of the first and the last fifth
    assert table.loc["grows", "effect"] == pytest.approx(4.1 * 16 / 19) and table.loc["grows", "unit"] == "tokens"
    assert table.loc["grows", "verdict"] == "reproduced at tiny" and table.loc["grows", "margin"] > 0


def test_with_no_results_nothing_is_run_and_no_verdict_is_made():
    empty = {"tinybench": curve({0: 0.4})[:0], "training": bins()[:0]}
    table = claims.ledger(LEDGER, empty, select=lambda rows, study, tier: rows)
    assert table.equals(claims.ledger(LEDGER, {}))
    assert (table["verdict"] == "not run at this tier").all() and (table["n"] == 0).all()
    assert f"| all | 0 | 0 | 0 | 0 | 0 | {len(LEDGER)} | {len(LEDGER)} |" in claims.summary(table)
    notes = table.set_index("id")["note"]
    assert notes["4b-pz-random-overall"] == "0 of 3 pairs: `pzlib study baselines --tier mini`"
    assert notes["8b-pz-random-overall"] == "the tier names no base of this size"
    assert notes["rpt-general-mmlu-pro"] == "the small world does not ask MMLU-Pro"
    assert notes["guesses-less"].startswith("0 of 3 pairs: `pzlib run notebooks/07") and "mini" in notes["guesses-less"]
    some = {"study": "baselines", "verdict": "reproduced at mini", "n": 3, "failed": "", "signs": True}
    both = some | {"bases": 2}
    assert claims._note(some, "mini") == "from one base; 3 of 10 planned pairs"
    assert claims._note(both, "mini") == "3 of 10 planned pairs" and claims._note(both | {"n": 10}, "mini") == ""
    late = {**some, "n": 10, "written": claims.LATE}  # at real tiers there were no rows, and there is one base
    assert claims._note(late, "mini") == "written after its rows; from one base" and claims._note(late, "paper") == ""
    assert notes["rpt-after-rlvr"] == "from RPT: only at real tiers: side_rlvr has RLVR after both"
    real = claims.ledger(LEDGER, {}, "paper").set_index("id")["note"]
    assert real["8b-pz-random-overall"] == (
        "0 of 3 pairs: `pzlib study baselines --tier paper -p model Qwen/Qwen3-8B-Base`"
    )
    assert real["rlp-left"].endswith("its text is of the small world") and "not mixed" in real["rlp-both-domains"]


def test_claims_that_were_written_after_their_rows_say_so_in_the_ledger_and_in_the_count():
    assert set(LEDGER["written"]) == {"", claims.LATE}
    table = claims.ledger(LEDGER, results.stored())
    late = table["note"].str.contains(claims.LATE)
    assert table.loc[late, "id"].tolist() == LEDGER.loc[LEDGER["written"] == claims.LATE, "id"].tolist()
    assert f"Of these, {late.sum()} written after their rows, " in claims.counted(table)


def test_equal_tokens_compare_both_arms_at_what_the_cheaper_has_used():
    # a uses 10 tokens a step, b 40: at a's end, after 300, b stands where it was at step 7.5
    curves = {"a": {0: 0.4, 10: 0.5, 30: 0.7}, "b": {0: 0.4, 7: 0.65, 10: 0.9, 30: 0.9}}
    rows = pd.concat([curve(shares, f"baselines/{arm}") for arm, shares in curves.items()], ignore_index=True)
    rows["run_id"] = rows["arm"] + rows["seed"].astype(str)
    each = {arm: bins(tokens_prompt=use - 1, tokens_completion=1)[:3] for arm, use in (("a", 10), ("b", 40))}
    names = [(f"baselines/{arm}", seed) for arm in each for seed in range(3)]
    used = [each[arm[-1]].assign(arm=arm, run_id=f"{arm}{seed}") for arm, seed in names]
    table = judged(rows, claim("equal", "a", "b@equal tokens"), claim("end", "a", "b"), training=pd.concat(used))
    assert table["effect"].to_dict() == pytest.approx({"equal": 5, "end": -20})
    assert table["n"].tolist() == [3, 3] and table["verdict"]["equal"].startswith("reproduced")


def test_the_ledger_in_words():
    table = judged_claims(LEDGER)
    lines = claims.markdown(table).split("\n")
    assert len(lines) == len(LEDGER) + 2 and {line.count("|") for line in lines} == {9}
    first = next(line for line in lines if "4b-pz-random-overall" in line).strip("| ").split(" | ")
    assert first[0].startswith("**4b-pz-random-overall**: PretrainZero ends above")
    assert first[1:3] == ["PretrainZero, Table 1", "+4.20, Qwen3-4B-Base: Overall (%)"]
    effect, low, high = table.loc[0, ["effect", "low", "high"]]
    assert first[3:7] == [f"overall: {effect:+.1f} [{low:+.1f}, {high:+.1f}] points", "5", "0.04", "reproduced at mini"]
    assert any(line.endswith("| inconclusive at mini | 12 |") for line in lines)
    words = ("contradicted at", "| reproduced at", "| inconclusive at", "not run at")  # in this order
    places = [[i for i, line in enumerate(lines) if word in line] for word in words]
    assert all(max(a) < min(b) for a, b in itertools.pairwise(filter(None, places))) and sum(map(bool, places)) > 2
    untested = [line for line in lines if "| 0 |  | not run at this tier |" in line]
    assert [line for line in untested if "tested once, as rlp-base" in line]
    counts = claims.summary(table).split("\n")[-1].strip("| ").split(" | ")
    assert [int(count) for count in counts[1:]] == [
        *(int(table["verdict"].str.startswith(word).sum()) for word in verdicts.VERDICTS), len(LEDGER)
    ]  # fmt: skip


def test_the_verdicts_of_every_tier_beside_each_other():
    both = {"mini": judged_claims(LEDGER), "paper": claims.ledger(LEDGER, {}, "paper")}
    lines = tables.tiers_table(both).split("\n")
    assert lines[0] == "| paper | claim | mini | paper |" and len(lines) == len(LEDGER) + 2
    assert lines[2].startswith("| PretrainZero | 4b-pz-random-overall | reproduced: ") and lines[2].endswith(
        "| not run |"
    )


Q4, Q8, SMOL, MOE = "Qwen3-4B-Base", "Qwen3-8B-Base", "SmolLM3-3B-Base", "Qwen3-30B-A3B-Base"
GENERAL, MATH = ["SuperGPQA", "BBEH", "MMLU-Pro"], ["MATH-500", "Olympiad", "Minerva", "GSM8K", "AMC23", "AIME24"]
COPIED = (Q4, "random_span, 2000 steps + rlvr")


def wide(table):
    """(model, method) x benchmark; pivot refuses a cell that is told twice."""
    return reported(table).pivot(index=["model", "method"], columns="benchmark", values="value")


def close(left, right, within=0.0101):  # two roundings of 0.005
    assert len(left) and (left - right).abs().max() <= within, (left - right)[lambda d: d.abs() > within]


def test_every_value_of_every_table_is_there():
    counts = {name: len(reported(name)) for name in printed_tables()}
    assert counts == {
        "pretrainzero 1": 16 * 5, "pretrainzero 2": 16 * 7, "pretrainzero 3": 4 * 5, "pretrainzero 4": 4 * 7,
        "rpt 1": 4 * 3, "rpt 2": 3 * 2, "rpt 3": 4 * 2, "rpt 6-7": 4 * (15 + 14), "rpt 8": 7 * 2,
        "rlp 1": 15 * 6, "rlp 2": 4 * 4 + 2 * 7, "rlp 3": 5 * 3, "rlp 4": 11 * 4, "rlp S.1": 4 + 7 + 3 + 1,
        "rlp S.2": 3, "rlp S.3": 2, "rlp S.4": 4, "rlp S.5": 2, "rlp S.6": 4, "rlp S.8": 4,
        "ncr text": 4,
    }  # fmt: skip
    for name in printed_tables():
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


def test_the_gains_that_the_text_quotes_follow_from_the_printed_tables():
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
    assert set(table["paper"]) <= {name.split()[0] for name in printed_tables()}
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


def test_a_claim_that_stored_runs_do_not_tell_says_so():
    """A power law, of runs whose accuracy hardly moves beyond the drawing of its answers."""
    claim = claims.load().query("id == 'rpt-scaling'")
    rows = [
        {"run_id": f"r{seed}", "seed": seed, "step": step, "group": f"next token, {split}", "task": split, "n": 100,
         "accuracy": 0.3 + step / 1e5, "arm": claim["a"].iloc[0], "model": "m", "parameters": 1e6,
         "tokens_prompt": 10, "tokens_completion": 10}
        for seed in range(3) for step in (0, 50, 100, 150, 200) for split in ("easy", "hard")
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    tables = {"tinybench": table, "training": table, "runs": table.drop_duplicates("run_id")}
    row = claims.ledger(claim, tables, select=lambda rows, *_, **__: rows).iloc[0]
    assert row["note"] == "0 of 3 pairs; of 3 stored runs 0 tell it: `pzlib study rpt --tier mini`"


def test_a_base_with_one_run_so_far_is_tested_with_the_spread_of_all_runs():
    stored = results.stored()  # of a study that is run in part:
    some = {name: stored[name][stored[name]["seed"].isin([0, 1, 2, 10])] for name in ("runs", "tinybench")}
    table = claims.ledger(LEDGER[LEDGER["id"] == "length-grows"], some)
    assert table.loc[0, "n"] == 4 and np.isfinite(table.loc[0, ["effect", "low", "high", "shared"]].astype(float)).all()
