"""Benchmarks as data: their files and columns, the golds and prompts made of them, and what is wrong said in words."""

import re

import pytest
from benchmarkfiles import CHOICES, GOLDS, MADE, benchmark_files  # noqa: F401 - a fixture

from pzlib.evaluation import benchmarks
from pzlib.evaluation.benchmarks import BENCHMARKS, LETTER_SUFFIX, PAPERS, chosen, items, prompt

OPEN = "Please reason step by step, and put your final answer within \\boxed{}."


def test_the_papers_nine_and_aime25():
    assert len(PAPERS) == 10 and set(PAPERS) == set(MADE)
    assert [name for name in PAPERS if BENCHMARKS[name].samples == 32] == ["aime24", "amc23", "aime25"]
    assert chosen(["all"]) == list(PAPERS)


@pytest.mark.parametrize("task", PAPERS)
def test_golds_are_read_from_the_published_columns(task):
    found = items(task, MADE[task])
    assert [item.gold for item in found] == GOLDS[task]
    assert len({item.key for item in found}) == 2


def test_hub_columns_are_read_as_well():
    hub = {"uuid": "u1", "question": "1 + 1?", "options": CHOICES, "answer": "two", "answer_letter": "B"}
    (item,) = items("supergpqa", [hub])
    assert (item.id, item.gold, item.options) == ("u1", "B", 3)
    assert items("minerva", [{"question": "How far?", "answer": "1.6"}])[0].gold == "1.6"
    assert items("bbeh", [{"question": "Sort b, a.", "answer": "a, b", "task": "sorting"}])[0].source == "sorting"


def test_what_shares_a_source_is_known():
    assert [item.source for item in items("mmlu_pro", MADE["mmlu_pro"])] == ["x-Sums"] * 2
    assert [item.source for item in items("minerva", MADE["minerva"])] == ["Astronomy", "Chemistry"]
    assert [item.source for item in items("math500", MADE["math500"])] == ["", ""]


def test_prompts_are_general_reasoners_words():
    asked = {task: prompt(task, items(task, MADE[task])[0]) for task in PAPERS}
    assert asked["mmlu_pro"] == "1 + 1?\nOptions are:\n(A): one\n(B): two\n(C): three\n\n\n" + LETTER_SUFFIX
    assert asked["supergpqa"] == MADE["supergpqa"][0]["question"] + "\n\n" + LETTER_SUFFIX
    assert LETTER_SUFFIX == (
        "Please reason step by step, and put your final answer option within \\boxed{}. "
        "Only put the option letter in the box, e.g. \\boxed{A}. There is only one correct answer."
    )
    for task in set(PAPERS) - {"mmlu_pro", "supergpqa"}:
        assert asked[task].endswith("\n" + OPEN), task
    assert prompt("olympiadbench", items("olympiadbench", MADE["olympiadbench"])[1]).startswith("Let n = 1.\nAnd?\n")


def test_a_gold_that_cannot_be_read_is_none_and_all_of_them_an_error():
    rows = MADE["mmlu_pro"] + [MADE["mmlu_pro"][0] | {"answer": "D"}]  # of three options
    assert [item.gold for item in items("mmlu_pro", rows)] == ["B", "C", None]
    with pytest.raises(ValueError, match="no gold of gsm8k can be read in the column 'answer' of the rows"):
        items("gsm8k", [{"question": "?", "answer": "12"}])


@pytest.mark.parametrize(
    ("task", "rows", "said"),
    [
        ("math500", [{"problem": "?", "gold": "1"}], "has no column answer, which math500 needs; it has problem, gold"),
        ("bbeh", [{"prompt": "?", "target": "1"}], "has no column input or question, which bbeh needs"),
        ("aime24", [], "holds no question of aime24"),
        ("aime24", [{"problem": " ", "answer": "1"}], "row 0 of F has no text in 'problem'"),
    ],
)
def test_wrong_columns_are_named(task, rows, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        items(task, rows, "F")


def test_files_are_found_by_their_names(benchmark_files):  # noqa: F811
    found = benchmarks.sources(PAPERS, [str(benchmark_files)])
    assert {task: path.name for task, path in found.items()} == {
        task: {"bbeh": "mini.json", "aime25": "aime25.parquet"}.get(task, f"{task}_test.jsonl") for task in PAPERS
    }
    for task, path in found.items():
        rows, digest = benchmarks.rows(task, path)
        assert items(task, rows) == items(task, MADE[task]) and len(digest) == 64
    named = benchmarks.sources(["gsm8k"], [f"gsm8k={found['gsm8k']}"])
    assert named == {"gsm8k": found["gsm8k"]}
    assert benchmarks.sources(["gsm8k"]) == {"gsm8k": None}


def test_a_folder_must_say_which_file(tmp_path):
    for name in ("gsm8k_a.jsonl", "gsm8k_b.jsonl"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match="files of gsm8k: gsm8k_a.jsonl, gsm8k_b.jsonl; give one as gsm8k=PATH"):
        benchmarks.sources(["gsm8k"], [str(tmp_path)])
    with pytest.raises(ValueError, match=r"no file of aime24 in .*; it is called aime24\*.jsonl"):
        benchmarks.sources(["aime24"], [str(tmp_path)])
    with pytest.raises(ValueError, match="amc23 is not among the tasks aime24"):
        benchmarks.sources(["aime24"], [f"amc23={tmp_path}"])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", '{"problem": "?"}\n{"prob', "is not JSON"),
        ("a.jsonl", "[1]\n", "line 1 of .* is not an object"),
        ("a.json", '{"questions": []}', "does not hold a list of objects"),
        ("a.parquet", "PAR", "is not parquet"),
        ("a.docx", "problem", "is of no known format"),
    ],
)
def test_a_broken_file_is_said_in_words(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=said):
        benchmarks.rows("math500", tmp_path / name)


def test_tinybench_asks_its_tasks_in_turn():
    rows, digest = benchmarks.rows("tinybench")
    assert len({row["task"] for row in rows[:10]}) == 10
    assert digest == benchmarks.rows("tinybench")[1]


def test_real_files_are_read_whole(real_data):
    counts = {}
    for task, path in benchmarks.sources(PAPERS, [str(real_data / "benchmarks")]).items():
        found = items(task, benchmarks.rows(task, path)[0], str(path))
        counts[task] = len(found)
        assert all(item.gold for item in found), task
    assert counts == {
        "mmlu_pro": 1000, "supergpqa": 300, "bbeh": 460, "math500": 500, "gsm8k": 1319, "aime24": 30, "amc23": 40,
        "minerva": 272, "olympiadbench": 675, "aime25": 30,
    }  # fmt: skip


def test_rlps_sets_are_choices_in_an_order_that_no_model_knows():
    (item,) = items("mmlu", [{"question": "Which?", "subject": "law", "choices": ["this", "that"], "answer": 1}])
    assert (item.gold, item.options) == ("B", 2) and "(B): that" in item.question
    wrong = {f"Incorrect Answer {n}": text for n, text in enumerate(("two", "three", "four"), 1)}
    rows = [{"Question": f"{n}?", "Correct Answer": "one ", **wrong} for n in range(40)]
    found = items("gpqa", rows)
    assert found == items("gpqa", rows) and {item.gold for item in found} == set("ABCD")
    assert all(f"({item.gold}): one\n" in item.question for item in found)
    assert [BENCHMARKS[name].samples for name in ("mmlu_1of4", "mmlu_pro_1of4", "gpqa_1of4", "mmlu")] == [4, 4, 4, 1]


def test_the_files_of_mmlu_pro_are_not_those_of_mmlu(tmp_path):
    for name in ("mmlu_test.jsonl", "mmlu_pro_test.jsonl"):
        (tmp_path / name).touch()
    found = benchmarks.sources(["mmlu", "mmlu_1of4", "mmlu_pro", "mmlu_pro_1of4"], [str(tmp_path)])
    assert [path.name for path in found.values()] == ["mmlu_test.jsonl"] * 2 + ["mmlu_pro_test.jsonl"] * 2


def test_a_question_has_the_subject_of_its_row():
    row = {"question": "Which?", "options": ["this", "that"], "answer": "B"}
    assert items("mmlu_pro", [row | {"category": "law"}])[0].category == "law"
    assert items("supergpqa", [row | {"discipline": "Law", "answer_letter": "B"}])[0].category == "Law"
    assert items("mmlu_pro_1of4", [row | {"category": "law"}])[0].category == ""
