"""A whole evaluation through lm-evaluation-harness: every benchmark, repeats, resumes, comparisons, unfit models."""

import json
import shutil

import pytest
from benchmarkfiles import GOLDS, benchmark_files, oracle, tiny_bpe  # noqa: F401 - a fixture

from pzlib.evaluation import harness, stored
from pzlib.evaluation.benchmarks import PAPERS
from pzlib.evaluation.harness import Protocol

pytest.importorskip("lm_eval.tasks", reason="needs the extra eval")


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
        folder, table = stored.evaluate(
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
    assert list(means.loc[["mmlu_pro", "bbeh", "minerva"], "sources"]) == [1, 2, 2]
    assert table.loc[table["task"] == "aime24", "metric"].tolist() == ["mean@32", "pass@8", "pass@32"]
    records = stored.samples(folder / "gsm8k")
    assert [record["gold"] for record in records] == GOLDS["gsm8k"]
    assert records[0]["prompt"].startswith("Ann has 500 and 700?\nPlease reason step by step")
    assert (records[0]["completions"], records[0]["answers"]) == (["So it is \\boxed{1200}."], ["1200"])
    assert [record["why"] for record in records] == [["right"], ["wrong"]]
    row = table[table["task"] == "minerva"].iloc[0]
    assert (row["data"], len(row["data_sha256"]), row["lm_eval"]) == ("minerva_test.jsonl", 64, "0.4.13")
    assert (row["prompts"], row["temperature"], row["seed"], row["backend"]) == ("boxed", 0.0, 0, "hf")


def test_stock_prompts_are_the_harnesss_and_read_as_such(ask):
    def answer(prompt, i):
        if prompt.startswith("Q: "):
            return " They are 1,200. The answer is 1,200."
        return " The answer is (B)." if "Options" in prompt else " The final answer is $3$. I hope it is correct."

    folder, table, told = ask(["gsm8k", "math500", "mmlu_pro", "aime25"], answer, prompts="stock", samples=1)
    scores = table.set_index("task")
    assert scores["score"].to_dict() == {"gsm8k": 0.5, "math500": 0.5, "mmlu_pro": 0.5, "aime25": 0.0}
    assert scores["prompts"].to_dict() == {"gsm8k": "stock", "math500": "stock", "mmlu_pro": "stock", "aime25": "boxed"}
    assert "aime25: the harness has no stock prompt for it; asked boxed" in told
    shots = {task: stored.samples(folder / task)[1]["prompt"] for task in ("gsm8k", "math500", "mmlu_pro")}
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
    table = stored.compare(ours, theirs).set_index("task")
    assert table["difference"].to_dict() == {"mmlu_pro": 0.5, "bbeh": 0.5}
    assert table["p"].to_dict() == {"mmlu_pro": 1.0, "bbeh": 1.0}  # of two questions nothing can be said
    assert table["sources"].to_dict() == {"mmlu_pro": 1, "bbeh": 2}
    fewer, _, _ = ask(["bbeh"], right_of_the_first, output="fewer", limit=1)
    with pytest.raises(ValueError, match="1 questions are common to the 2 of one and the 1 of the other"):
        stored.compare(ours, fewer)
    stock, _, _ = ask(["mmlu_pro"], right_of_the_first, output="stock", prompts="stock")
    with pytest.raises(ValueError, match="mmlu_pro was asked with prompts boxed and stock"):
        stored.compare(ours, stock)
    with pytest.raises(FileNotFoundError, match="no finished evaluation in"):
        stored.compare(ours, tmp_path / "none")


def test_completions_are_picked_by_verdict(ask):
    folder, _, _ = ask(["bbeh"], right_of_the_first)
    picked = stored.picked(folder / "bbeh", each=1)
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
            said += [record["completions"] for record in stored.samples(folder / "bbeh")]
        assert said[0] == said[1] and len(set(said[0])) == samples


def test_a_chat_template_wraps_the_prompt_when_asked_for(ask, model, tmp_path):
    chatty = tmp_path / "chatty"
    shutil.copytree(model, chatty)
    (chatty / "chat_template.jinja").write_text("<user>{{ messages[0].content }}</user>")
    folder, table, _ = ask(["bbeh"], name=str(chatty), chat=True)
    prompt = stored.samples(folder / "bbeh")[0]["prompt"]
    assert prompt.startswith("<user>Sort b, a.\nPlease") and prompt.endswith("</user>")
    assert table["chat"].all()


@pytest.mark.slow
def test_all_ten_run_offline_from_real_files(real_data, tmp_path):
    model = tiny_bpe(tmp_path / "random", context=4096)
    told = []
    data = [str(real_data / "benchmarks")]
    folder, table = stored.evaluate(
        model, ["all"], Protocol(max_tokens=16, limit=5, batch=32), data, output=tmp_path / "out", say=told.append
    )
    means = table.drop_duplicates("task").set_index("task")
    assert list(means.index) == list(PAPERS) and set(means["n"]) == {5}
    assert not means[["timeouts", "unparsable_golds"]].to_numpy().any()
    for task in PAPERS:
        assert len(stored.samples(folder / task)) == 5
    assert stored.compare(folder, folder)["difference"].tolist() == [0.0] * 10
