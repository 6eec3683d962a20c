"""Agreement with graded answers: counts by hand on small files, every difference shown, no text in the stored table."""

import csv
import json
import sys

import pytest

from pzlib.verify import MathVerifier
from tests.bench import agreement


@pytest.fixture(scope="module")
def verifier():
    with MathVerifier(workers=1, seconds=30) as verifier:
        yield verifier


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def counts(measures):
    return {found.measure: (found.hits, found.n) for found in measures}


LETTERS = [
    {"answer": "A", "pred": "A", "output": "The answer is (A). Then: the answer is (B)."},
    {"answer": "B", "pred": "A", "output": "The answer is A."},
    {"answer": "C", "pred": "D", "output": "The answer is (C)."},  # theirs is not what their rule reads
    {"answer": "B", "pred": None, "output": "Answer: B"},
    {"answer": "C", "pred": None, "output": "It must be D."},
    {"answer": "C", "pred": None, "output": "no idea"},
]
QWEN = [{"gt": "2", "code": [r"\boxed{2}", r"\boxed{3}", "so 2"], "pred": ["2", "2", "2"], "score": [True, True, True]}]
CASES = [{"gold": "2", "pred": "2.0", "expected": 1}, {"gold": "2", "pred": "3", "expected": 1}]


def test_letters_are_counted(tmp_path):
    measures, differences = agreement.letters(write(tmp_path / "mmlu_pro_outputs_x.jsonl", LETTERS))
    assert counts(measures) == {
        "letter, where theirs matched": (2, 3),
        "letter or none, 1 pattern": (5, 6),
        "letter or none, 2 patterns": (4, 6),
        "letter or none, 3 patterns": (3, 6),
        "accuracy of theirs, where matched": (1, 3),
        "accuracy of ours, where matched": (2, 3),
        "letter of ours, where theirs did not match": (2, 3),
        "accuracy of ours, where theirs did not match": (1, 3),
    }
    assert [(found.where, found.gold, found.ours, found.theirs) for found in differences] == [
        ("mmlu_pro_outputs_x.jsonl 3", "C", "C", "D")
    ]
    assert "gold 'C', ours 'C', theirs 'D'" in str(differences[0]) and "The answer is (C)" in str(differences[0])


def test_math_is_counted(tmp_path, verifier):
    measures, differences = agreement.qwen_math(write(tmp_path / "q.jsonl", QWEN), verifier)
    assert counts(measures) == {"verdict": (1, 3), "answer": (1, 3)}
    assert [found.ours for found in differences] == ["3 (wrong)", "None (no answer)"]
    measures, differences = agreement.triples(write(tmp_path / "c.jsonl", CASES), verifier)
    assert counts(measures) == {"verdict": (1, 2)} and differences[0].ours == "wrong"


def test_the_command_prints_all_and_stores_counts(tmp_path, home, monkeypatch, capsys):
    write(tmp_path / "mmlu_pro_outputs_x.jsonl", LETTERS)
    write(tmp_path / "math_verify_cases.jsonl", CASES)
    monkeypatch.setattr(sys, "argv", ["agreement", str(tmp_path)])
    agreement.main()
    said = capsys.readouterr().out
    assert "mmlu_pro_outputs_x.jsonl: letter, where theirs matched: 2 of 3, 66.7% [20.8%, 93.8%] in " in said
    assert "math_verify_cases.jsonl 2: gold '2', ours 'wrong', theirs 1" in said
    with open(home / "data/results/graders.csv") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "measure", "n", "hits", "seconds", "share", "low", "high"]
    assert [row["measure"] for row in rows][-1] == "verdict" and len(rows) == 9
    assert rows[0]["hits"] == "2" and rows[0]["low"] == "0.2077" and float(rows[0]["seconds"]) < 5


def test_bad_files_are_named(tmp_path, verifier):
    with pytest.raises(FileNotFoundError, match="holds no mmlu_pro_outputs_"):
        list(agreement.measure(tmp_path, verifier))
    write(tmp_path / "math_verify_cases.jsonl", [CASES[0], {"gold": "2"}])
    with pytest.raises(ValueError, match=r"math_verify_cases.jsonl: line 2 has no pred, expected; its columns: gold"):
        list(agreement.measure(tmp_path, verifier))
