"""Problem sets: columns by name, nested ones too, nothing asked that TinyBench asks, and errors in words."""

import json

import datasets
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pzlib.corpus import Problem, load_problems
from pzlib.evaluation.small_world import exam
from pzlib.world.facts import TASKS

ROWS = [
    {"problem": "What is 2 + 3?", "gold": {"value": 5.0, "note": "n"}},
    {"problem": "Half of one?", "gold": {"value": "\\frac{1}{2}", "note": None}},
    {"problem": "What is 2 + 3?", "gold": {"value": "five", "note": None}},  # asked already
    {"problem": " ", "gold": {"value": "7", "note": None}},
    {"problem": "Who knows?", "gold": {"value": None, "note": None}},
]
COLUMNS = {"question_column": "problem", "answer_column": "gold.value"}


@pytest.fixture(params=["list", "jsonl", "json", "parquet", "saved"])
def source(request, tmp_path):
    rows = [row | {"gold": row["gold"] | {"value": str(row["gold"]["value"] or "")}} for row in ROWS]
    if request.param == "jsonl":
        (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, ROWS)) + "\n\n")
        return tmp_path / "p.jsonl"
    if request.param == "json":
        (tmp_path / "p.json").write_text(json.dumps(ROWS, indent=1))
        return tmp_path / "p.json"
    if request.param == "parquet":
        pd.DataFrame(rows).to_parquet(tmp_path / "p.parquet")
        return str(tmp_path / "p.parquet")
    if request.param == "saved":
        datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "saved")
        return tmp_path / "saved"
    return ROWS


def test_every_format_gives_the_same_problems(source):
    found = load_problems(source, **COLUMNS)
    assert sorted((p.question, p.answer.removesuffix(".0")) for p in found) == [
        ("Half of one?", "\\frac{1}{2}"),
        ("What is 2 + 3?", "5"),
    ]
    assert found.report == {
        "read": 5, "no_question": 1, "no_answer": 1, "duplicates": 1, "beyond_limit": 0, "kept": 2,
    }  # fmt: skip


def test_csv_rows_are_problems(tmp_path):
    (tmp_path / "p.csv").write_text('question,answer\n"Two, or\nthree?",2\n"' + "long " * 40_000 + '?",3\n')
    assert [p.answer for p in load_problems(tmp_path / "p.csv", seed=1)] in (["2", "3"], ["3", "2"])


def test_text_has_no_columns(tmp_path):
    (tmp_path / "a.txt").write_text("Running text.")
    with pytest.raises(ValueError, match="corpus: .*a.txt is Article, not a row with named columns"):
        load_problems(tmp_path / "a.txt")


def test_golds_as_benchmarks_store_them():
    rows = [{"question": str(i), "answer": gold} for i, gold in enumerate((27.0, 5, ["x"], ["a", "b"], True))]
    assert sorted(p.answer for p in load_problems(rows)) == ["27", "5", "x"]  # of two answers none is the answer


@given(st.integers(1, 60), st.integers(0, 9))
def test_equal_seeds_draw_equal_problems(limit, seed):
    rows = [{"question": f"q{i}", "answer": i} for i in range(40)]
    first, again = (load_problems(rows, limit=limit, seed=seed) for _ in range(2))
    assert first == again and len(first) == min(limit, 40)
    assert len({p.id for p in first}) == len(first)


def test_the_small_world_asks_nothing_that_tinybench_asks():
    problems = load_problems("tinybench", limit=2000)
    asked = {fact.question for task in TASKS for fact in exam(task, 64)}
    assert len(asked) > 500 and not asked & {p.question for p in problems}
    assert {p.kind for p in problems} == set(TASKS)
    assert problems.digest == load_problems("tinybench", limit=2000).digest
    assert problems.digest != load_problems("tinybench", limit=2000, seed=1).digest


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"question_column": "problm"}, "question_column: .*'problm'; did you mean problem"),
        ({"answer_column": "gold.val"}, "answer_column: .*'gold.val'; did you mean value"),
        ({"answer_column": "problem.value"}, "answer_column: .* has no column 'problem.value'"),
        ({"limit": 0}, "corpus_limit: 0"),
        ({"source": []}, "corpus: no problem is left"),
        ({"source": [{"problem": "?", "gold": {"value": []}}]}, "corpus: no problem is left .*1 no_answer"),
        ({"source": "tinybench"}, "corpus_limit: tinybench is made without end"),
    ],
)
def test_what_is_wrong_is_said(changes, words):
    changes = {"source": ROWS, **COLUMNS} | changes
    with pytest.raises(ValueError, match=words):
        load_problems(changes.pop("source"), **changes)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.jsonl"):
        load_problems(tmp_path / "nowhere.jsonl")
    (tmp_path / "a.docx").write_text("question,answer\n")
    with pytest.raises(ValueError, match="a.docx is of no known format; known are .jsonl, .json, .csv, .parquet"):
        load_problems(tmp_path / "a.docx")
    (tmp_path / "b.jsonl").write_text('{"question": "?", "answer": "1"}\n{"question"\n')
    with pytest.raises(ValueError, match="line 2 of .*b.jsonl is not JSON"):
        load_problems(tmp_path / "b.jsonl")
    (tmp_path / "d.jsonl").write_text('{"question": "a\u2028b", "answer": "1"}', encoding="utf-8")
    assert load_problems(tmp_path / "d.jsonl")[0].question == "a\u2028b"  # one line, though Python would split it
    (tmp_path / "e.jsonl").write_bytes(b'{"question": "\xe9"}')
    with pytest.raises(ValueError, match="line 1 of .*e.jsonl is not UTF-8"):
        load_problems(tmp_path / "e.jsonl")
    (tmp_path / "c.parquet").write_bytes(b"no parquet")
    with pytest.raises(ValueError, match="c.parquet is damaged or is not parquet"):
        load_problems(tmp_path / "c.parquet")


def test_what_pandas_writes_for_nothing_is_no_answer():
    found = load_problems([{"question": "a", "answer": float("nan")}, {"question": "b", "answer": 0.5}])
    assert [p.answer for p in found] == ["0.5"] and found.report["no_answer"] == 1


def test_a_hub_name_may_hold_a_dot(monkeypatch):
    asked = []
    rows = [{"question": "q", "answer": 1}]
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **_: asked.append(args) or rows)
    assert len(load_problems("AI-MO/NuminaMath-1.5:small")) == 1 and asked == [("AI-MO/NuminaMath-1.5", "small")]


def test_a_real_training_set(real_data):
    path = real_data / "rlvr_train/math_train.parquet"
    columns = {"question_column": "reward_model.ground_truth.question"}
    found = load_problems(path, **columns, answer_column="reward_model.ground_truth.target", limit=100)
    assert len(found) == 100 and found.report["read"] == 7500
    assert isinstance(found[0], Problem) and all(p.answer for p in found)


CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2 + 3?"}]


@pytest.mark.parametrize(
    ("prompt", "question"),
    [
        (CHAT, "What is 2 + 3?"),
        (CHAT[1:], "What is 2 + 3?"),
        ([{"from": "human", "value": "What is 2 + 3?"}, {"from": "gpt", "value": "5"}], "What is 2 + 3?"),
        (
            [{"role": "user", "content": [{"type": "text", "text": "What is "}, {"type": "text", "text": "2 + 3?"}]}],
            "What is 2 + 3?",
        ),
        ([{"role": "user", "content": [{"type": "image", "image": "x.png"}]}], None),
        ([*CHAT, *CHAT], None),  # which of two is the question?
        ([{"role": "assistant", "content": "5"}], None),
        ([], None),
    ],
)
def test_a_chat_is_read_as_its_question(prompt, question, tmp_path):
    rows = [
        {"prompt": prompt, "gold": {"value": "5"}},
        {"prompt": CHAT[:1] + [CHAT[1] | {"content": "Who?"}], "gold": {"value": "I"}},
    ]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for source in (rows, tmp_path / "p.jsonl"):
        found = load_problems(source, question_column="prompt", answer_column="gold.value")
        assert {p.question for p in found} == {"Who?"} | ({question} if question else set())
        assert found.report["no_question"] == (question is None)


def test_a_parquet_file_of_chats(tmp_path):
    pd.DataFrame({"prompt": [CHAT], "reward_model": [{"ground_truth": "5"}]}).to_parquet(tmp_path / "p.parquet")
    found = load_problems(tmp_path, question_column="prompt", answer_column="reward_model.ground_truth")
    assert [(p.question, p.answer) for p in found] == [("What is 2 + 3?", "5")]


def test_rows_without_a_column_are_counted():
    rows = [{"question": "a", "answer": "5"}, {"question": "b"}, {"answer": "7"}]
    found = load_problems(rows)
    assert len(found) == 1 and (found.report["no_question"], found.report["no_answer"]) == (1, 1)


def test_a_column_may_have_a_dot_in_its_name():
    rows = [{"question": "a", "final.answer": "5", "final": {"answer": "6"}}, {"question": "b", "x.y": {"z": "7"}}]
    assert [p.answer for p in load_problems(rows[:1], answer_column="final.answer")] == ["5"]
    assert [p.answer for p in load_problems(rows[1:], answer_column="x.y.z")] == ["7"]


def test_questions_and_answers_have_one_form():
    found = load_problems([{"question": "Ou\u0300 est-il\u00a0?", "answer": "a\u0300\u200b Rome"}])
    assert (found[0].question, found[0].answer) == ("Où est-il ?", "à Rome")


def test_a_working_ends_with_its_answer():
    rows = [{"question": "a", "answer": "He runs 3 miles.\n#### 1,080"}, {"question": "b", "answer": "####"}]
    found = load_problems(rows)
    assert [p.answer for p in found] == ["1,080"] and found.report["no_answer"] == 1
    solved = load_problems(rows[:1], solution_column="answer")[0]
    assert (solved.answer, solved.solution) == ("", rows[0]["answer"])


def test_reported_cases(cases):
    chat = {"question_column": "prompt", "answer_column": "reward_model.ground_truth"}
    named = {"chat_prompt.jsonl": chat, "dotted_column.jsonl": {"answer_column": "final.answer"}}
    for name in ("chat_prompt.jsonl", "dotted_column.jsonl", "problems.jsonl.bz2", "mixed_rows.jsonl"):
        found = load_problems(cases / name, **named.get(name, {}))
        assert [(p.question, p.answer) for p in found] == [("What is 2 + 3?", "5")], name
    assert sorted(p.answer for p in load_problems(cases / "bare_hash_answers.jsonl")) == ["1,080", "18"]
