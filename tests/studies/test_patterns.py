"""Keywords and structural marks counted by hand; shares, intervals and paired tests against worked numbers."""

import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from readable import assert_readable

from pzlib.evaluation.cases import read_completions
from pzlib.figures import redraw
from pzlib.figures.accuracy import keyword_bars, structure_by_arm
from pzlib.run import Run
from pzlib.stats import wilson
from pzlib.studies import arms_of, patterns
from pzlib.studies.patterns import (
    KEYWORDS,
    PATTERNS,
    RULES,
    STRUCTURE,
    by_run,
    changes,
    chosen,
    compare,
    keyword_counts,
    keywords_in,
    means,
    measured,
    store,
    structure,
)

PASSAGE = "Ralph Hanover raced for years and he won seventeen additional [mask] events before he was retired to stud"


@pytest.mark.parametrize(
    "text, found",
    [
        ("WAIT. wait, Wait! (wait)", {"wait": 4}),
        ("waiting waits await wait_time wait2", {}),
        ("Neither, either; eithers", {"either": 1}),
        ("red, blue, etc. And (etc.) but not etc or etcetera", {"etc.": 2}),
        ("let us break down, break this down, breakdown, breaks down", {"break down": 1, "break this down": 1}),
        ("break\n  this\tdown", {"break this down": 1}),
        ("in conclusion we conclude; concluded, conclusions", {"conclusion": 1, "conclude": 1}),
        ("it is stakes or something like it", {"or something": 1, "something like": 1}),
        ("option, Options: optional", {"options": 1}),
        ("", {}),
    ],
)
def test_keywords_are_whole_words_of_any_case(text, found):
    assert keywords_in(text) == found


def test_the_groups_are_those_of_table_9():
    sizes = {"transition": 2, "reflection": 5, "breakdown": 2, "hypothesis": 2, "divergent thinking": 7, "deduction": 6}
    assert {group: len(words) for group, words in KEYWORDS.items()} == sizes
    for words in KEYWORDS.values():
        for word in words:
            assert keywords_in(f"So, {word.capitalize()} it is")[word] == 1


def test_the_case_of_figure_8_is_told_apart():
    """Its two answers as the paper describes them: the passage written anew, and five bold steps."""
    rewritten = PASSAGE.replace("[mask]", "\\boxed{stakes}")
    steps = ["Sentence", "The missing word", "Context", "Most fitting", "Conclusion"]
    reasoned = "\n".join(f"{n}. **{step}**: some words." for n, step in enumerate(steps, 1)) + "\n\\boxed{stakes}"
    first, second = structure(rewritten, PASSAGE), structure(reasoned, PASSAGE)
    assert first["restates"] and not first["bold steps"] and not first["numbered steps"]
    assert second["bold steps"] and second["numbered steps"] and not second["restates"]
    assert not first["direct guess"] and not second["direct guess"]  # nine words of the passage stand before the box


def test_restated_is_the_share_of_the_prompts_runs_of_five_words():
    prompt = "one two three four five six seven"  # runs: one.., two.., three..
    assert structure("So ONE, two three four five; then nothing", prompt)["restated"] == pytest.approx(1 / 3)
    assert structure("one two three four, five six", prompt)["restates"]  # two of three
    assert structure("five four three two one", prompt)["restated"] == 0
    assert structure("one two", "one two")["restated"] is None and structure("x")["restates"] is None


@pytest.mark.parametrize(
    "text, numbered, bold",
    [
        ("1. a\n2. b", True, False),
        ("1) a\n  2) b", True, False),
        ("Step 1: a\nSTEP 2: b", True, False),
        ("## Step 1\n**Step 2** b", True, False),
        ("**1.** a\n**2.** b", True, True),
        ("- **First** a\n- **Second** b", False, True),
        ("1. a\nb", False, False),  # one line is no sequence
        ("1.5 is\n2.5 is", False, False),
        ("in 2. a\nb 3. c", False, False),
        ("a **b** c\nd **e**", False, False),
        ("** a **\n****", False, False),
    ],
)
def test_steps_are_lines_that_begin_as_one(text, numbered, bold):
    marks = structure(text)
    assert (marks["numbered steps"], marks["bold steps"]) == (numbered, bold)


def test_a_guess_has_fewer_than_five_words_before_its_box():
    assert structure("\\boxed{7}")["direct guess"] and structure("so it must be \\boxed{7}")["direct guess"]
    assert not structure("so now it must be \\boxed{7}")["direct guess"]
    assert not structure("I cannot say")["direct guess"] and structure("I cannot say")["no answer"]
    assert structure("\\boxed{7")["no answer"]  # cut in mid-brace
    other = structure("The answer is (J).", answer="answer is")
    assert other["direct guess"] and not other["no answer"]
    assert structure("Think : 3 plus 4 is 7 . \\boxed{ 7 }")["thinks"] and structure("<think>\nHm")["thinks"]


@given(st.text(alphabet="1.)*#- \tab\n\\{}boxed", max_size=60))
def test_marks_are_found_in_any_text(text):
    marks = structure(text, text)
    assert set(marks) == {*STRUCTURE, "restated", "words"}
    assert marks["restated"] in (None, 1.0) and marks["words"] == len(text.split())


@pytest.mark.parametrize("piece", ["#", "**", "*a", "1", "break ", "think \n", "\\boxed{", "- ", "1. **", "\t"])
def test_a_megabyte_takes_no_longer_than_reading_it(piece):
    text = piece * (1_000_000 // len(piece))
    start = time.perf_counter()
    keywords_in(text), structure(text, "one two three four five")
    assert time.perf_counter() - start < 5


def table(rows):
    return pd.DataFrame(rows, columns=["source", "case", "seed", "completion"])


def test_the_interval_of_independent_responses_is_wilsons():
    said = ["wait"] * 3 + ["no"] * 7
    rows = measured(table([("a", f"c{i}", 0, text) for i, text in enumerate(said)]))
    (row,) = means(rows, ["source"], ("reflection",)).to_dict("records")
    assert (row["n"], row["cases"], row["mean"]) == (10, 10, pytest.approx(0.3))
    # The variance between cases is that of a share with 9 degrees of freedom, so it is Wilson's at 9 responses.
    assert (row["low"], row["high"]) == pytest.approx(wilson(2.7, 9))


def test_responses_that_repeat_a_case_do_not_narrow_its_interval():
    rows = [("a", f"c{i}", 0, "wait" if i < 3 else "no") for i in range(10)]
    once, often = (means(measured(table(rows * times)), ["source"], ("reflection",)) for times in (1, 8))
    assert often["n"].item() == 80 and often["mean"].item() == pytest.approx(0.3)
    assert often[["low", "high"]].to_numpy() == pytest.approx(once[["low", "high"]].to_numpy())
    alike = measured(table([("a", f"c{i}", 0, text) for i in range(10) for text in ("wait", "no")]))
    (low, high) = means(alike, ["source"], ("reflection",))[["low", "high"]].to_numpy()[0]
    assert (low, high) == pytest.approx(wilson(10, 20))  # every case has one of two: no variance, all 20 count


def test_none_of_ten_cases_is_told_from_none_of_ten_thousand():
    rows = measured(table([("a", f"c{i}", 0, "no") for i in range(10)] * 5))
    (row,) = means(rows, ["source"], ("reflection",)).to_dict("records")
    assert (row["mean"], row["low"], row["high"]) == (0, *wilson(0, 10))


def test_what_is_unknown_is_left_out_of_n():
    rows = table([("a", "p", 0, "x"), ("a", "q", 0, "y")]).assign(prompt=["one two three four five", None])
    found = means(measured(rows), ["source"], ("restates", "thinks")).set_index("pattern")
    assert found["n"].to_dict() == {"restates": 1, "thinks": 2}


def test_keywords_are_counted_once_a_response():
    rows = table([("a", "p", 0, "wait wait"), ("a", "q", 0, "wait, either"), ("b", "p", 0, "no")])
    found = keyword_counts(rows)
    assert found.loc[("reflection", "wait")].to_dict() == {"a": 2, "b": 0}
    assert found.loc[("divergent thinking", "either"), "a"] == 1 and found.to_numpy().sum() == 3 and len(found) == 24


def test_paired_tests_over_cases_and_over_seeds_by_hand():
    said = {"a": {"p": ["wait", "no"], "q": ["no", "no"], "r": ["no", "no"]}}
    said["b"] = {"p": ["wait", "wait"], "q": ["wait", "no"], "r": ["wait", "wait"]}
    rows = [(source, case, seed, text) for source, own in said.items() for case, texts in own.items()
            for seed, text in enumerate(texts)]  # fmt: skip
    rows = measured(table([*rows, ("b", "only b", 0, "no")]))
    found = compare(rows, "a", "b", ("reflection", "thinks"))
    test = found.loc["reflection"]
    # Differences 1/2, 1/2, 1: of 8 sign patterns +++ and --- are as extreme; one mark differs, so Holm leaves p.
    assert (test["a"], test["b"], test["difference"]) == pytest.approx((1 / 6, 5 / 6, 2 / 3))
    assert (test["n"], test["p"], test["p (Holm)"]) == (3, 0.25, 0.25)
    assert found.loc["thinks"].drop("n").dropna().to_dict() == {"a": 0, "b": 0}  # equal everywhere: no test
    seeds = compare(rows[rows["case"] != "only b"], "a", "b", ("reflection",), over="seed").loc["reflection"]
    assert (seeds["difference"], seeds["n"], seeds["p"]) == (pytest.approx(2 / 3), 2, 0.5)
    with pytest.raises(ValueError, match="case: 'a' and 'c' have no case in common"):
        compare(rows, "a", "c")


def test_a_table_without_completions_is_refused():
    with pytest.raises(ValueError, match="'completion' is not a column; it has \\['said'\\]"):
        measured(pd.DataFrame({"said": ["x"]}))


def answers_of(rows):
    rows = pd.DataFrame(rows, columns=["source", "case", "right", "completion"])
    return measured(rows.assign(prompt=None, seed=0, sample=0))


def test_changes_by_hand():
    steps = "1. one\n2. two\nso it is \\boxed{x}"  # eight words in numbered steps
    rows = [("a", "p", 0.0, "\\boxed{x}"), ("a", "p", 1.0, "\\boxed{x}"), *[("b", "p", 1.0, steps)] * 2]
    found = changes(answers_of(rows), "a", "b").loc["p"]
    assert found["accuracy"] == 0.5
    # Numbered steps 0 -> 1, direct guess 1 -> 0, length 1 -> 8 words; bold, thinks and no answer stay; no prompt.
    assert found["structure"] == pytest.approx((1 + 1 + 7 / 8) / 6)
    with pytest.raises(ValueError, match="'a' and 'c' have no case in common"):
        changes(answers_of(rows), "a", "c")


def test_empty_answers_are_alike():
    assert changes(answers_of([("a", "p", 0.0, ""), ("b", "p", 0.0, "")]), "a", "b")["structure"].item() == 0


CHANGED = st.lists(
    st.tuples(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), st.sampled_from([0.0, 0.1, 0.5])), min_size=1, max_size=12
)


@given(CHANGED, st.integers(1, 4), st.integers(0, 3))
def test_cases_are_chosen_by_rule(rows, n, seed):
    frame = pd.DataFrame(rows, columns=["accuracy", "structure"], index=[f"c{i}" for i in range(len(rows))])
    found = chosen(frame, n, seed)
    assert found == chosen(frame, n, seed) and tuple(found) == RULES
    flat = [case for cases in found.values() for case in cases]
    assert len(flat) == len(set(flat)) and all(len(cases) <= n for cases in found.values())
    best, worst = frame["accuracy"].max(), frame["accuracy"].min()
    assert [frame.loc[case, "accuracy"] for case in found["largest gain"][:1]] == ([best] if best > 0 else [])
    assert [frame.loc[case, "accuracy"] for case in found["largest loss"][:1]] == ([worst] if worst < 0 else [])
    assert all(frame.loc[case, "structure"] > 0 for case in found["largest change in structure"])
    assert found["random"] or len(flat) == len(rows)


def test_ties_and_random_cases_go_by_the_seed():
    frame = pd.DataFrame({"accuracy": 0.5, "structure": 0.1}, index=[f"c{i}" for i in range(30)])
    assert len({str(chosen(frame, 1, seed)) for seed in range(5)}) > 1
    assert chosen(frame, 1, 0)["largest gain"] != ["c0"] or chosen(frame, 1, 1)["largest gain"] != ["c0"]


def answered(seeds=3, marks=0.0):
    """Made-up answers of the arms of `baselines` and the base, as notebook 07 has them. No number is a result."""
    arms, rows, rng = arms_of("baselines", "mini", range(seeds)), [], np.random.default_rng(0)
    said = {True: "Think : one two three four . \\boxed{ x }", False: "\\boxed{ y }"}
    for seed in range(seeds):
        for place, source in enumerate(["base", "pretrainzero", "random_span", "sft", "continued_pretraining"]):
            for case in range(12):
                text = said[bool(rng.random() < place / 5)] + "\n1. a\n2. b" * bool(rng.random() < marks)
                rows.append((source, f"c{case}", seed, 0 if source == "base" else 200, text, float(case < 3)))
    rows = pd.DataFrame(rows, columns=["source", "case", "seed", "step", "completion", "right"])
    return measured(rows.assign(arm=rows["source"])), arms


def test_patterns_csv_has_each_runs_answers_and_the_bases_of_its_seed():
    rows, arms = answered(2)
    extra = rows[rows["source"] == "sft"].assign(source="sft, step 100", step=100)
    kept = by_run(pd.concat([rows[rows["source"] != "random_span"], extra]), arms)
    assert not kept["run_id"].str.startswith("random_span").any()  # it gave no answers
    sft = kept[kept["run_id"] == dict(arms)["sft"].run_id]  # dict: the last seed's
    assert set(sft["step"]) == {0, 100, 200} and set(sft["seed"]) == {1}
    base = rows[(rows["source"] == "base") & (rows["seed"] == 1)]["thinks"].mean()
    assert sft[(sft["step"] == 0) & (sft["pattern"] == "thinks")]["mean"].item() == pytest.approx(base)
    assert kept.columns.tolist()[:5] == ["run_id", "objective", "tier", "seed", "step"]


def test_answers_of_few_models_do_not_replace_those_of_all(home):
    rows, arms = answered(2)
    store(by_run(rows, arms), "mini")
    store(by_run(rows[rows["seed"] == 0].assign(right=1.0), arms), "mini")
    kept = pd.read_csv(home / "data/results/patterns.csv")
    assert set(kept["run_id"]) == {run.run_id for _, run in arms}
    right = kept[kept["pattern"] == "right"].groupby("seed")["mean"].mean()
    assert right[0] == 1 and right[1] == 0.25 and not kept.duplicated(["run_id", "step", "pattern"]).any()


@pytest.mark.parametrize("seeds, marks", [(3, 0.0), (1, 0.5)])
def test_the_marks_by_arm_are_readable_and_say_what_the_table_says(seeds, marks):
    rows, arms = answered(seeds, marks)
    half = rows[rows["source"] == "sft"].assign(source="sft, step 100", step=100, **{"direct guess": 1.0})
    kept = by_run(pd.concat([rows, half]), arms)  # models kept on the way are in the table, but not drawn
    figure = structure_by_arm(kept)
    assert_readable(figure)
    titles = [ax.get_title(loc="left") for ax in figure.axes if ax.get_title(loc="left")]
    assert ("(a) Numbered steps (%)" in titles) == bool(marks)  # a mark that nobody has takes no panel
    guess = next(ax for ax in figure.axes if ax.get_title(loc="left").endswith("Direct guess (%)"))
    means_drawn = [bar.lines[0].get_xdata()[0] for bar in guess.containers]
    shares = rows.groupby("source", sort=False)["direct guess"].mean() * 100
    arms_in_order = ["pretrainzero", "random_span", "sft", "continued_pretraining", "base"]
    assert means_drawn == pytest.approx(shares[arms_in_order].tolist())


def test_keyword_bars_are_readable_and_as_high_as_the_shares():
    texts = ["wait", "probably", "finally, in conclusion", "no"]
    rows = [(source, f"c{i}", 0, texts[(i * k) % 4]) for k, source in ((1, "base"), (2, "Model B")) for i in range(40)]
    told = means(measured(table(rows)), ["source"])
    figure = keyword_bars(told, "made up")
    assert_readable(figure)
    heights = [[patch.get_height() for patch in bars] for bars in figure.axes[0].containers if hasattr(bars, "patches")]
    first = told[told["source"] == "base"].set_index("pattern").loc[list(KEYWORDS), "mean"] * 100
    assert heights[0] == pytest.approx(first.tolist()) and len(heights) == 2
    with pytest.raises(ValueError, match="two rows of one keyword group"):
        keyword_bars(pd.concat([told, told]), "made up")


def test_the_figure_is_drawn_from_the_committed_table_and_missed_in_words(tmp_path, capsys):
    assert redraw(tmp_path, tmp_path / "out") == []
    said = [line for line in capsys.readouterr().out.splitlines() if ": not drawn, " in line]
    assert "baselines_patterns" in " ".join(said)
    by_run(*answered(5)).to_csv(tmp_path / "patterns.csv", index=False)
    assert [path.name for path in redraw(tmp_path, tmp_path / "out")][0] == "baselines_patterns.png"


def test_counting_needs_neither_torch_nor_a_picture_library():
    code = "import sys, pzlib.studies.patterns, pzlib.evaluation.cases, pzlib.figures.inspector\n"
    code += "assert not {'torch', 'matplotlib', 'IPython'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_real_transcripts_are_counted(real_data):
    folder, start = real_data / "graded", time.perf_counter()
    maths = {"completion": "code", "prompt": "question", "target": "gt", "prediction": "pred", "right": "score"}
    qwen = measured(read_completions(folder / "qwen_math_outputs.jsonl", **maths))
    (path,) = folder.glob("mmlu_pro_outputs_*.jsonl")
    choice = {"completion": "output", "case": "question_id", "target": "answer", "prediction": "pred"}
    ran_on = measured(read_completions(path, **choice), answer="answer is")
    cut = measured(read_completions(path, stop="\n\nQuestion:", **choice), answer="answer is")
    print(f"counted in {time.perf_counter() - start:.1f} s")
    assert (len(qwen), qwen["case"].nunique(), len(cut)) == (400, 50, 1500)
    assert qwen["numbered steps"].mean() > 0.3 and qwen["bold steps"].mean() > 0.1 and qwen["no answer"].mean() < 0.05
    assert qwen["direct guess"].mean() == 0 and qwen["restated"].notna().mean() > 0.9  # some ask in under five words
    assert ran_on["divergent thinking"].mean() > 0.5  # the next question's "Options:" is no thought
    assert cut["divergent thinking"].mean() < 0.05 and cut["restated"].isna().all()
    assert set(PATTERNS) <= set(cut)


def test_what_can_answer_is_asked_once_and_what_is_gone_is_made_again(home, monkeypatch, capsys):
    arms = [(f"{arm}, step 9", run) for arm, run in arms_of("baselines", "smoke", [0])]  # a name tells no step
    (first, kept), (_, gone), *_ = arms
    (kept.folder / "model").mkdir(parents=True)
    (kept.folder / f"model-{kept.steps // 2}").mkdir()
    models = patterns.models_asked(arms, [first], "smoke")
    assert list(models) == [("base", 0), (f"{first}, step {kept.steps // 2}", 0), (first, 0)]
    made, asked = [], []
    monkeypatch.setattr(patterns.queue, "play", lambda runs, jobs, results: made.extend(runs))
    patterns.remade(arms, "smoke", 0)
    assert not made
    patterns.remade(arms, "smoke", 2)
    assert made == [run for _, run in arms if run != kept] and gone in made

    def answers(model, cases, path, **given):
        asked.append((path.name, given["source"], given["step"]))
        if given["source"] == "base":
            raise FileNotFoundError("no such model\nand more")
        return pd.DataFrame({"completion": ["\\boxed{a}"], "prompt": ["p"], "source": given["source"], "right": [1.0]})

    monkeypatch.setattr(patterns, "answers", answers)
    monkeypatch.setattr(patterns, "held_out_cases", lambda runs, per_kind: None)
    table = patterns.answered(models, arms, "smoke", 1, 1)
    names = ["base-s0", f"{kept.run_id}-{kept.steps // 2}", kept.run_id]
    assert [name for name, *_ in asked] == [f"{name}.jsonl" for name in names]
    assert [step for *_, step in asked] == [0, kept.steps // 2, kept.steps]
    assert table[["arm", "source"]].values.tolist() == [[first, f"{first}, step {kept.steps // 2}"], [first, first]]
    assert capsys.readouterr().out == "base, seed 0, is not asked: no such model\n"
    assert patterns.answered({}, arms, "smoke", 1, 1).empty and patterns.along(arms).empty


def test_along_training_the_length_of_answers_that_reason_is_apart_from_how_many_do(monkeypatch):
    """At step 1 one of two answers reasons, at step 9 both, at the same length: all answers grow, reasonings do not."""
    guess, reasoned = "\\boxed{ a }", "Think : two plus two is four . \\boxed{ a }"
    said = {1: [guess, reasoned], 9: [reasoned, reasoned]}

    def episodes(folder, arm, steps):
        rows = [{"step": step, "completion": each} for step in steps for each in said[step]]
        return pd.DataFrame(rows).assign(source=arm, seed=0, prompt="p", case="c", target="a", right=1.0)

    monkeypatch.setattr(patterns.RunFolder, "episode_steps", lambda folder: [1, 9])
    monkeypatch.setattr(patterns, "from_episodes", episodes)
    table = patterns.along([("pretrainzero", Run(tier="smoke"))])
    assert table["thinks"].tolist() == [0.5, 1.0] and table["words"].is_monotonic_increasing
    assert table["words, reasoned"].tolist() == [len(reasoned.split())] * 2 and table["words"].iloc[0] < 11
