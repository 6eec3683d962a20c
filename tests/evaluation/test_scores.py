"""Verdicts, scores and comparisons by hand; whole evaluations through lm-evaluation-harness, resumed and compared."""

import json
import random
import shutil
import time

import pytest
from benchmarkfiles import GOLDS, benchmark_files, oracle, tiny_bpe  # noqa: F401 - a fixture
from hypothesis import given
from hypothesis import strategies as st

from pzlib.evaluation import benchmarks, harness, scores, small_world
from pzlib.evaluation.benchmarks import PAPERS, Item
from pzlib.evaluation.harness import Protocol
from pzlib.evaluation.scores import answer, mark, notices, paired, score
from pzlib.runs.folder import EVAL_COLUMNS, RunFolder
from pzlib.verify import Verdict

pytest.importorskip("lm_eval.tasks", reason="needs the extra eval")


def item(n, gold="B", options=0, source=""):
    return Item(str(n), source, f"question {n}", options, gold)


def said(*completions, cut=False):
    return {"prompt": "?", "completions": list(completions), "cut": cut}


def record(n, right, source="", why=None, gold="B", answers=None, cut=False):
    why = why or ["right" if hit else "wrong" for hit in right]
    answers = answers or ["x"] * len(right)
    told = {"id": str(n), "key": f"key{n}", "source": source, "gold": gold, "cut": cut}
    return told | {"right": right, "why": why, "answers": answers}


class Grader:
    """As MathVerifier, by equality; keeps what it was asked."""

    def grade(self, golds, predictions):
        self.asked = list(zip(golds, predictions, strict=True))
        whys = ["no answer" if p is None else "right" if g == p else "wrong" for g, p in self.asked]
        return [Verdict(why) for why in whys]


@pytest.mark.parametrize(
    ("task", "completion", "style", "options", "read"),
    [
        ("mmlu_pro", r"So \boxed{C}.", "boxed", 4, "C"),
        ("mmlu_pro", r"So \boxed{E}.", "boxed", 4, None),
        ("mmlu_pro", "The answer is (C).", "stock", 10, "C"),
        ("gsm8k", "So 3 + 4 = 7. The answer is 7.", "stock", 0, "7"),
        ("gsm8k", "The answer is $1,200.50.\n\nQ: ...", "stock", 0, "$1,200.50"),
        ("gsm8k", "The answer is 7. She keeps 7. The answer is 8.", "stock", 0, "7"),
        ("gsm8k", "The answer is 7 apples", "stock", 0, "7 apples"),
        ("gsm8k", "The answer is \n", "stock", 0, None),
        ("gsm8k", "It is 7.", "stock", 0, None),
        ("math500", r"Final Answer: The final answer is $\frac12$. I hope it is correct.", "stock", 0, r"$\frac12$"),
        ("math500", r"\boxed{1}, no, \boxed{\frac{1}{2}}", "boxed", 0, r"\frac{1}{2}"),
        ("math500", r"\boxed{\frac{1}{2", "boxed", 0, None),
        ("tinybench", r"Think : 1 . \boxed{ 52 }", "tiny", 0, "52"),
        ("tinybench", r"\boxed{ }", "tiny", 0, None),
    ],
)
def test_answers_are_read_as_the_prompt_asked(task, completion, style, options, read):
    assert answer(task, completion, style, options) == read


def test_a_megabyte_is_read_in_no_time():
    long = ("The answer is " * 80_000, "The answer is x" + " " * 1_000_000 + "y", ". " * 500_000, "\\boxed{" * 150_000)
    for text in long:
        for style in ("boxed", "stock"):
            started = time.monotonic()
            answer("gsm8k", text, style)
            assert time.monotonic() - started < 5


def test_letters_are_right_wrong_unread_or_without_a_gold():
    asked = [item(0, options=3), item(1, options=3), item(2, options=3, gold=None)]
    replies = [said(r"\boxed{B}", r"\boxed{A}"), said("Hm.", r"\boxed{D}"), said(r"\boxed{A}", "Hm.")]
    records = mark("mmlu_pro", asked, replies)
    assert [r["answers"] for r in records] == [["B", "A"], [None, None], ["A", None]]
    assert [r["why"] for r in records] == [["right", "wrong"], ["no answer"] * 2, ["unparsable gold", "no answer"]]
    assert [r["right"] for r in records] == [[True, False], [False, False], [False, False]]


def test_mathematics_goes_to_the_verifier_in_one_batch_with_its_golds():
    grader = Grader()
    records = mark("gsm8k", [item(0, "7"), item(1, "8")], [said(r"\boxed{7}", "Hm."), said(r"\boxed{9}", "")],
                   verifier=grader)  # fmt: skip
    assert grader.asked == [("7", "7"), ("7", None), ("8", "9"), ("8", None)]
    assert [r["why"] for r in records] == [["right", "no answer"], ["wrong", "no answer"]]


def test_bbeh_is_compared_its_own_way():
    (one,) = mark("bbeh", [item(0, "yes, no")], [said(r"\boxed{Yes,No}", r"\boxed{no, yes}")])
    assert one["right"] == [True, False]


def test_a_random_option_only_when_asked_for_seeded_and_counted():
    asked = [item(n, options=4, gold="A") for n in range(400)]
    replies = [said("Hm.") for _ in asked]
    assert not any(r["right"][0] for r in mark("mmlu_pro", asked, replies))
    drawn = mark("mmlu_pro", asked, replies, random_option=3)
    assert drawn == mark("mmlu_pro", asked, replies, random_option=3)
    assert drawn != mark("mmlu_pro", asked, replies, random_option=4)
    assert 0.18 < sum(r["right"][0] for r in drawn) / 400 < 0.32  # a quarter
    (row,) = score(drawn)
    assert (row["drawn"], row["unparsed"], row["unparsed_share"]) == (400, 400, 1.0)


def test_a_random_option_is_for_choices_only():
    (one,) = mark("bbeh", [item(0, "B")], [said("Hm.")], random_option=0)
    assert one["why"] == ["no answer"]


def test_scores_by_hand():
    records = [record(0, [True, True, False, False]), record(1, [False] * 4), record(2, [True] * 4)]
    mean, several = score(records)
    assert (mean["metric"], mean["n"], mean["k"], mean["score"], mean["sources"]) == ("mean@4", 3, 4, 0.5, None)
    assert (several["metric"], several["score"]) == ("pass@4", pytest.approx(2 / 3))
    records = [record(n, [n < 2] + [False] * 15) for n in range(4)]
    mean, eight, sixteen = score(records)
    assert mean["score"] == pytest.approx(2 / 64)
    assert (eight["metric"], eight["score"]) == ("pass@8", pytest.approx(2 / 4 * 8 / 16))  # half of the draws find it
    assert (sixteen["metric"], sixteen["score"]) == ("pass@16", 0.5)


def test_a_shared_source_widens_the_interval():
    right = [True, True, True, False, False, False, True, True]
    alone = score([record(n, [hit]) for n, hit in enumerate(right)])[0]
    shared = score([record(n, [hit], source="abcd"[n // 2]) for n, hit in enumerate(right)])[0]
    assert shared["sources"] == 4 and shared["score"] == alone["score"]
    assert shared["low"] < alone["low"] < alone["high"] < shared["high"]


def test_what_went_wrong_is_counted_by_completion_or_question():
    records = [
        record(0, [False, False], why=["timeout", "too long"]),
        record(1, [False, False], why=["unparsable answer", "no answer"], answers=["x", None], cut=True),
        record(2, [False, False], why=["unparsable gold"] * 2),
        record(3, [False, False], why=["crashed", "no answer"], answers=["x", None], gold=None),
    ]
    row = score(records)[0]
    assert (row["timeouts"], row["unparsed"], row["unparsable_golds"], row["prompts_cut"]) == (3, 3, 2, 1)
    assert notices("amc23", row | {"drawn": 0}) == [
        "amc23: 3 of 8 completions give no answer",
        "amc23: 3 answers went beyond the grader's limits of time or size and count as wrong",
        "amc23: 2 golds cannot be read; their questions count as wrong",
        "amc23: 1 prompts were longer than the model reads and lost their beginning",
    ]


def test_a_comparison_by_hand():
    ours = [record(n, [True]) for n in range(5)]
    theirs = [record(n, [n == 0, False]) for n in range(5)]  # 1/2 on one question, nothing on the others
    random.Random(0).shuffle(theirs)  # in any order
    found = paired(ours, theirs)
    assert found["difference"] == pytest.approx((0.5 + 4) / 5)
    assert (found["p"], found["n"], found["sources"]) == (2 / 32, 5, None)
    assert paired(theirs, ours)["difference"] == -found["difference"]


def test_questions_of_one_source_count_together():
    sources = "aaaab"
    ours = [record(n, [True], source=s) for n, s in enumerate(sources)]
    theirs = [record(n, [False], source=s) for n, s in enumerate(sources)]
    found = paired(ours, theirs)
    assert found["difference"] == pytest.approx(1.0)
    assert (found["p"], found["n"], found["sources"]) == (0.5, 5, 2)  # two sources have four patterns of signs


def test_a_question_that_is_asked_twice_counts_twice():
    ours = [record(0, [True]), record(0, [False]), record(1, [True])]
    theirs = [record(0, [False]), record(1, [False]), record(0, [False])]
    assert paired(ours, theirs)["difference"] == pytest.approx(2 / 3)


def test_other_questions_are_refused():
    with pytest.raises(ValueError, match="1 questions are common to the 2 of one and the 1 of the other"):
        paired([record(0, [True]), record(1, [True])], [record(0, [True])])


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=2, max_size=12), st.integers(1, 4))
def test_a_score_lies_in_its_interval_and_pass_at_k_above_the_mean(right, sources):
    records = [record(n, hits, source=str(n % sources)) for n, hits in enumerate(right)]
    mean, some = score(records)
    assert mean["low"] - 1e-9 <= mean["score"] <= mean["high"] + 1e-9
    assert some["score"] >= mean["score"]
    assert paired(records, records)["difference"] == 0


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_bpe(tmp_path_factory.mktemp("models") / "random")


@pytest.fixture
def ask(model, benchmark_files, tmp_path, monkeypatch):  # noqa: F811
    """evaluate() on the made-up files: of the random model, or of one that answers as told."""

    def evaluate(tasks, answer=None, name=model, output="out", random_option=False, **settings):
        if answer is not None:
            monkeypatch.setattr(harness, "load", lambda *_: oracle(answer))
        protocol = Protocol(**{"max_tokens": 8, "batch": 8} | settings)
        told = []
        folder, table = scores.evaluate(
            name, tasks, protocol, [str(benchmark_files)], random_option, tmp_path / output, told.append
        )
        return folder, table, told

    return evaluate


def right_of_the_first(prompt, i):
    """The gold of each benchmark's first question, in a box; of the second, something else."""
    firsts = {"1 + 1?": "B", "Half of 1?\nPlease": r"\frac12", "500 and 700?": "1200", "Fifth of": "25", "3 x 9?": "27",
              "How far?": "1.6", "How many?": "2", "7 x 10?": "70", "Sort b, a.": "a, b"}  # fmt: skip
    found = [gold for words, gold in firsts.items() if words in prompt]
    return rf"So it is \boxed{{{found[0]}}}." if found else r"\boxed{J}" if "option" in prompt else r"\boxed{-7}"


def test_every_benchmark_from_its_file_to_its_score(ask):
    folder, table, told = ask(["all"], right_of_the_first)
    means = table[table["metric"].isin(["accuracy", "mean@32"])].set_index("task")
    # AMC's "Half of 1?" is followed by the request as MATH-500's is, and 1/2 is its gold too.
    assert means["score"].to_dict() == {task: 1.0 if task == "amc23" else 0.5 for task in PAPERS}
    assert means["k"].to_dict() == {t: 32 if t in ("aime24", "amc23", "aime25") else 1 for t in PAPERS}
    assert set(means["n"]) == {2} and not means[["timeouts", "unparsable_golds", "prompts_cut"]].to_numpy().any()
    # J is no option of three, and no more is said: one unparsed answer of two, as is told.
    assert means.loc["mmlu_pro", "unparsed"] == 1
    assert "mmlu_pro: 1 of 2 completions give no answer" in told
    assert "mmlu_pro: 2 of 12032 questions, 1 answers to each" in told and "olympiadbench: 2 questions, " in str(told)
    assert list(means.loc[["mmlu_pro", "bbeh", "minerva"], "sources"]) == [1, 2, 2]
    assert table.loc[table["task"] == "aime24", "metric"].tolist() == ["mean@32", "pass@8", "pass@32"]
    records = scores.samples(folder / "gsm8k")
    assert [record["gold"] for record in records] == GOLDS["gsm8k"]
    assert records[0]["prompt"].startswith("Ann has 500 and 700?\nPlease reason step by step")
    assert (records[0]["completions"], records[0]["answers"]) == (["So it is \\boxed{1200}."], ["1200"])
    assert [record["why"] for record in records] == [["right"], ["wrong"]]
    row = table[table["task"] == "minerva"].iloc[0]
    assert (row["data"], len(row["data_sha256"]), row["lm_eval"]) == ("minerva_test.jsonl", 64, "0.4.13")
    assert (row["prompts"], row["temperature"], row["seed"], row["backend"]) == ("boxed", 0.0, 0, "hf")


def test_benchmarks_and_the_small_world_are_rows_of_one_table(ask, home):
    folder, table, _ = ask(["math500", "amc23", "mmlu_pro"], right_of_the_first)
    rows = scores.rows_of(folder, ["math500", "amc23", "mmlu_pro"])
    small = small_world.row("sum", "math", [(1.0, 7, True), (0.0, 5, False)], 2, "abc")
    assert [set(row) for row in rows] == [set(small)] * 5 == [set(EVAL_COLUMNS) - {"step"}] * 5
    one, many, letters, *categories = rows
    assert [(row["task"], row["group"], row["n"], row["accuracy"]) for row in categories] == [
        ("mmlu_pro, health", "mmlu_pro by category", 1, 0.0), ("mmlu_pro, math", "mmlu_pro by category", 1, 1.0)
    ]  # fmt: skip
    assert (one["group"], one["n"], one["k"], one["correct"], one["accuracy"]) == ("math", 2, 1, 1, 0.5)
    assert (many["group"], many["n"], many["k"], many["correct"]) == ("math", 64, 32, 64)
    assert (letters["group"], letters["low"], letters["high"]) == ("general", 0.0, 1.0)  # one source: nothing is known
    said = [record["completions"][0] for record in scores.samples(folder / "math500")]
    assert one["length"] == sum(map(len, said)) / 2  # this model's tokens are letters
    again = scores.rows_of(ask(["math500"], lambda *_: "Hm.", output="other")[0], ["math500"])[0]
    assert again["prompts"] == one["prompts"] != many["prompts"]  # the same questions, whoever was asked
    run = RunFolder(home / "data/runs/mixed")
    run.path.mkdir(parents=True)
    run.append_eval([{"step": 0, **row} for row in (*rows, small)])
    assert tuple(run.evals().columns) == EVAL_COLUMNS and len(run.evals()) == 6


def test_a_fixed_tenth_of_mmlu_pro_is_a_benchmark_of_its_own(ask, tmp_path):
    rows = [{"question": f"{n}?", "options": ["a", "b"], "answer": "A", "category": "law" if n < 20 else "math"}
            for n in range(60)]  # fmt: skip
    files = [tmp_path / "mmlu_pro.jsonl", tmp_path / "turned.jsonl"]
    for path, own in zip(files, (rows, rows[::-1]), strict=True):
        path.write_text("".join(json.dumps(row) + "\n" for row in own))
    found, digest = benchmarks.rows("mmlu_pro_tenth", files[0])
    assert [row["category"] for row in found] == ["law"] * 2 + ["math"] * 4
    assert benchmarks.rows("mmlu_pro_tenth", files[1])[0] == found[::-1]
    assert digest != benchmarks.rows("mmlu_pro", files[0])[1]
    assert benchmarks.sources(["mmlu_pro_tenth"], [str(tmp_path)]) == {"mmlu_pro_tenth": files[0]}
    folder, table, _ = ask(["mmlu_pro_tenth"], right_of_the_first)
    settings = json.loads((folder / "mmlu_pro_tenth/settings.json").read_text())
    assert table["n"].tolist() == [2] and len(settings["data_sha256"]) == 64  # of each category at least one
    stock = ask(["mmlu_pro_tenth"], lambda *_: " The answer is (B).", prompts="stock", output="stock")[1]
    assert stock["prompts"].tolist() == ["stock"] and stock["score"].tolist() == [0.5]


def test_stock_prompts_are_the_harnesss_and_read_as_such(ask):
    def answer(prompt, i):
        if prompt.startswith("Q: "):
            return " They are 1,200. The answer is 1,200."
        return " The answer is (B)." if "Options" in prompt else " The final answer is $3$. I hope it is correct."

    folder, table, told = ask(["gsm8k", "math500", "mmlu_pro", "aime25"], answer, prompts="stock", samples=1)
    found = table.set_index("task")
    assert found["score"].to_dict() == {"gsm8k": 0.5, "math500": 0.5, "mmlu_pro": 0.5, "aime25": 0.0}
    assert found["prompts"].to_dict() == {"gsm8k": "stock", "math500": "stock", "mmlu_pro": "stock", "aime25": "boxed"}
    assert "aime25: the harness has no stock prompt for it; asked boxed" in told
    shots = {task: scores.samples(folder / task)[1]["prompt"] for task in ("gsm8k", "math500", "mmlu_pro")}
    assert shots["gsm8k"].count("The answer is") == 8 and shots["gsm8k"].endswith("Q: Ann loses 3?\nA:")
    assert shots["math500"].count("I hope it is correct.") == 4
    assert shots["mmlu_pro"].count("The answer is (B).") == 5 and "about health." in shots["mmlu_pro"]


def test_an_equal_evaluation_is_equal_to_the_bit_and_another_seed_is_not(ask):
    def said(output, tasks=("amc23",), **settings):
        folder, *_ = ask(tasks, output=output, samples=3, **settings)
        return (folder / "amc23/samples.jsonl").read_bytes()

    first = said("a")
    assert said("b", tasks=("gsm8k", "amc23")) == first  # whatever was asked before
    assert said("c", seed=1) != first
    completions = [record["completions"] for record in map(json.loads, first.splitlines())]
    assert all(len(set(texts)) == 3 for texts in completions)


def test_what_is_stored_is_not_asked_again(ask, monkeypatch):
    folder, table, _ = ask(["bbeh"], right_of_the_first)

    def fail(*_):
        raise AssertionError("the model is loaded again")

    monkeypatch.setattr(harness, "load", fail)
    assert ask(["bbeh"])[1].equals(table)
    (folder / "bbeh/scores.csv").unlink()  # killed between asking and grading
    assert ask(["bbeh"])[1].equals(table)
    with pytest.raises(ValueError, match="made with limit None, now asked with limit 1; give another --output"):
        ask(["bbeh"], limit=1)


def test_a_model_that_says_nothing_readable_is_told_loudly(ask):
    _, table, told = ask(["gsm8k", "mmlu_pro"])  # random letters
    assert [line for line in told if "NOTHING COULD BE PARSED" in line and line.startswith("gsm8k")]
    assert set(table["unparsed_share"]) == {1.0} and set(table["score"]) == {0.0}
    _, table, told = ask(["mmlu_pro"], random_option=True, output="drawn", limit=1)
    assert table["drawn"].tolist() == [1]
    assert "mmlu_pro: 1 completions without an answer were given a random option" in told


def test_a_prompt_that_does_not_fit_is_counted(ask):
    _, table, told = ask(["bbeh"], right_of_the_first, max_tokens=3950)
    assert table["prompts_cut"].tolist() == [2]
    assert "bbeh: 2 prompts were longer than the model reads and lost their beginning" in told


def test_two_models_are_compared_on_the_same_questions(ask, tmp_path, model):
    ours, _, _ = ask(["mmlu_pro", "bbeh"], right_of_the_first, output="ours")
    theirs, _, _ = ask(["bbeh", "mmlu_pro"], lambda prompt, i: "Hm.", output="theirs")
    table = scores.compare(ours, theirs).set_index("task")
    assert table["difference"].to_dict() == {"mmlu_pro": 0.5, "bbeh": 0.5}
    assert table["p"].to_dict() == {"mmlu_pro": 1.0, "bbeh": 1.0}  # of two questions nothing can be said
    assert table["sources"].to_dict() == {"mmlu_pro": 1, "bbeh": 2}
    fewer, _, _ = ask(["bbeh"], right_of_the_first, output="fewer", limit=1)
    with pytest.raises(ValueError, match="1 questions are common to the 2 of one and the 1 of the other"):
        scores.compare(ours, fewer)
    stock, _, _ = ask(["mmlu_pro"], right_of_the_first, output="stock", prompts="stock")
    with pytest.raises(ValueError, match="mmlu_pro was asked with prompts boxed and stock"):
        scores.compare(ours, stock)
    with pytest.raises(FileNotFoundError, match="no finished evaluation in"):
        scores.compare(ours, tmp_path / "none")


def test_completions_are_picked_by_verdict(ask):
    folder, _, _ = ask(["bbeh"], right_of_the_first)
    picked = scores.picked(folder / "bbeh", each=1)
    assert picked["why"].tolist() == ["right", "wrong"]
    assert picked["answer"].tolist() == ["a, b", "-7"]


def test_only_the_temperature_decides_a_draw(ask, model, tmp_path):
    opinionated = tmp_path / "opinionated"
    shutil.copytree(model, opinionated)
    own = {"do_sample": True, "top_k": 1, "repetition_penalty": 9.0, "eos_token_id": 0}
    (opinionated / "generation_config.json").write_text(json.dumps(own))
    for samples in (1, 4):
        said = []
        for name in (model, str(opinionated)):
            folder, *_ = ask(["bbeh"], name=name, samples=samples, output=str(samples), limit=1)
            said += [record["completions"] for record in scores.samples(folder / "bbeh")]
        assert said[0] == said[1] and len(set(said[0])) == samples


def test_a_chat_template_wraps_the_prompt_when_asked_for(ask, model, tmp_path):
    chatty = tmp_path / "chatty"
    shutil.copytree(model, chatty)
    (chatty / "chat_template.jinja").write_text("<user>{{ messages[0].content }}</user>")
    folder, table, _ = ask(["bbeh"], name=str(chatty), chat=True)
    prompt = scores.samples(folder / "bbeh")[0]["prompt"]
    assert prompt.startswith("<user>Sort b, a.\nPlease") and prompt.endswith("</user>")
    assert table["chat"].all()


@pytest.mark.slow
def test_all_ten_run_offline_from_real_files(real_data, tmp_path):
    model = tiny_bpe(tmp_path / "random", context=4096)
    told = []
    data = [str(real_data / "benchmarks")]
    folder, table = scores.evaluate(
        model, ["all"], Protocol(max_tokens=16, limit=5, batch=32), data, output=tmp_path / "out", say=told.append
    )
    means = table.drop_duplicates("task").set_index("task")
    assert list(means.index) == list(PAPERS) and set(means["n"]) == {5}
    assert not means[["timeouts", "unparsable_golds"]].to_numpy().any()
    for task in PAPERS:
        assert len(scores.samples(folder / task)) == 5
    assert scores.compare(folder, folder)["difference"].tolist() == [0.0] * 10
