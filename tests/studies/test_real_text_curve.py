"""The curve on real text: its runs, and its table from stored rows."""

import math

import pandas as pd
import pytest

from pzlib.evaluation.held_out import FORM, TEXT, WAYS
from pzlib.studies import real_text
from pzlib.studies.real_text import ARMS, SEEDS, curve, runs


def test_arms_differ_in_what_they_learn_from_and_in_nothing_else():
    found = runs()
    assert len(found) == len(ARMS) * len(SEEDS) == len({run.run_id for _, run in found})
    first = found[0][1].to_dict()
    for arm, run in found:
        changed = {name for name, value in run.to_dict().items() if value != first[name]}
        assert changed <= {*ARMS[arm], "seed", "reward"}
        assert run.passages * run.group == (16 if "continued" in arm else 4) and run.held_out != run.corpus


def stored(arm, shifts):
    """Rows of an arm's first seeds, one for each shift of what the answers are worth behind their own reasoning."""
    rows = []
    for run, shift in zip((run for name, run in runs() if name == arm), shifts, strict=False):
        for step in (0, 60):
            scores = dict(zip(WAYS, (math.exp(-2 - shift * step / 60), math.exp(-3), math.exp(-4)), strict=True))
            rows += [
                {"run_id": run.run_id, "seed": run.seed, "step": step, "task": task, "accuracy": value, "length": 20.0}
                for task, value in (scores | {FORM: 0.25, TEXT: 2.0**-0.9}).items()
            ]
    return rows


def test_without_rows_it_says_which_command_makes_them(tmp_path):
    assert curve(tmp_path).empty and "*not run* (`make test-real`" in real_text.curve_summary(tmp_path)


def test_the_table_is_the_mean_over_seeds_in_nats_and_bits(tmp_path):
    first, second, third = ARMS
    rows = pd.DataFrame([*stored(first, (0.0, 0.5)), *stored(third, (0.1,))])
    rows.to_csv(tmp_path / "tinybench.csv", index=False)
    found = curve(tmp_path)
    assert found.index.tolist() == [(first, 0), (first, 60), (third, 0), (third, 60)]
    assert found.loc[(first, 60)].to_dict() == pytest.approx({
        "own": -2.25, "none": -3, "another's": -4, "own - none": 0.75, "own - another's": 1.75, "well-formed": 25,
        "length": 20, "bits": 0.9, "seeds": 2,
    })  # fmt: skip
    said = real_text.curve_summary(tmp_path)
    lines = said.splitlines()
    assert "| before | −2.00 | 1.00 | 2.00 | 25 | 0.900 |  |" in lines
    assert f"| {first} | −2.25 | 0.75 | 1.75 | 25 | 0.900 | 2 |" in lines and f"| {third} | −2.10 |" in said
    assert lines[-1].startswith(f"| {second} | *not run* |")


def test_what_is_committed_is_of_these_runs():
    """Rows of other settings would be shown as none."""
    folder = real_text.REPO / real_text.FOLDER
    if not (folder / "runs.csv").is_file():
        pytest.skip("not run yet: no rows are stored")
    stored = pd.read_csv(folder / "runs.csv")
    assert set(stored["run_id"]) <= {run.run_id for _, run in runs()}


def test_the_gates_sentence_is_computed_from_its_rows(tmp_path):
    assert real_text.gate_sentence(tmp_path).count("*not run*") == 2
    numbers = {"legal": 0.125, "random_span/parsed": 0.5, "random_span/pass@1": 0.01, "random_span/alive": 0.0625,
               "random_span/masks": 24}  # fmt: skip
    own = {"model": real_text.SETTINGS["model"], "corpus": "leads", "template": "three_shot", "seed": 0}
    rows = [own | {"number": name, "value": value} for name, value in numbers.items()]
    pd.DataFrame([*rows, own | {"model": "another", "number": "legal", "value": 1.0}]).to_csv(tmp_path / "gate.csv")
    sentence = real_text.gate_sentence(tmp_path)
    assert "zero-shot: *not run*" in sentence
    assert "12.5 % of its masks are legal; on 24 random spans 50.0 % of the answers parse, pass@1 is 1.0 %" in sentence


def test_the_readme_states_what_the_rows_state():
    readme = (real_text.REPO / "README.md").read_text()
    assert real_text.gate_sentence() in readme and real_text.curve_sentences() in readme


def test_the_curve_in_three_sentences(tmp_path):
    assert "*not run* (`make test-real`" in real_text.curve_sentences(tmp_path)
    first, second, third = ARMS
    rows = pd.DataFrame([*stored(first, (0.0, 0.5)), *stored(third, (0.1,))])
    rows.to_csv(tmp_path / "tinybench.csv", index=False)
    head, form, words = real_text.curve_sentences(tmp_path).split(". ")
    assert head == f"Its learning curve has 60 steps and 2 seeds, too few for an interval; {second}: *not run*"
    assert form == f"Well-formed answers, before 25 %: {first} 25 %; {third} 25 %"
    assert words == f"Hidden words behind own reasoning, before −2.00 nats per token: {first} −2.25; {third} −2.10."
