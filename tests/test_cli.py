"""The command line: one clean line for what is wrong, and an exit code that a script can trust."""

import errno
import os
import subprocess
import sys

import nbformat
import pytest

from pzlib.__main__ import main
from pzlib.run import Run
from pzlib.runs.folder import RunFolder


@pytest.fixture
def notebook(tmp_path):
    head = nbformat.v4.new_code_cell("seed = 0", metadata={"tags": ["parameters"]})
    check = nbformat.v4.new_code_cell("if seed:\n    raise KeyError('no seed but 0')")
    spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[head, check], metadata=spec), tmp_path / "study.ipynb")
    return str(tmp_path / "study.ipynb")


def test_a_process_says_what_happened_in_its_last_line_and_exit_code(notebook):
    command = [sys.executable, "-m", "pzlib", "run", notebook]
    good = subprocess.run(command, capture_output=True, text=True)
    bad = subprocess.run([*command, "-p", "seed", "3"], capture_output=True, text=True)
    assert (good.returncode, bad.returncode) == (0, 1)
    assert good.stdout.startswith(f"{notebook}: done; executed copy: ")
    assert "failed: KeyError: 'no seed but 0'; executed copy: " in bad.stderr.splitlines()[-1]
    assert "Traceback" not in good.stderr + bad.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "{}", "-p", "sede", "1"], "sede: no such parameter of study.ipynb; did you mean seed?"),
        (["run", "{}", "-p", "seed", "x"], "seed: wants an int such as 0, got 'x'"),
        (["run", "{}x"], "study.ipynbx: no such notebook; did you mean study.ipynb?"),
        (["results"], "data/runs; `python -m pzlib run NOTEBOOK` makes one"),
        (["figures", "--results", "none"], "no folder none"),
        (["evaluate", "none/such"], "model: cannot load 'none/such'"),
        (["evaluate", "data/tinybse"], "there is no data/tinybse; did you mean tinybase"),
        (["evaluate", "rlvr-mini-s0-abcdef01@100"], "no run of that name is in data/runs"),
        (["evaluate", "x", "--against", "y"], "against: belongs to benchmarks; name some with --tasks"),
        (["evaluate", "x", "--items", "0"], "eval_items: must be at least 1, got 0"),
        (["evaluate", "x", "--tasks", "gsm9k"], "tasks: no benchmark 'gsm9k'; did you mean gsm8k?"),
        (["evaluate", "x", "--tasks", "gsm8k", "--limit", "0"], "limit: must be at least 1, got 0"),
        (["evaluate", "x", "--tasks", "gsm8k", "--data", "none"], "data: 'none' does not exist"),
        (["evaluate", "none/such", "--tasks", "gsm8k"], "model: cannot load 'none/such'"),
        (["evaluate", "data/tinybase", "--tasks", "gsm8k"], "from the hub's 'openai/gsm8k', which cannot be read"),
        (["evaluate", "data/tinybase", "--tasks", "tinybench"], "max_tokens: 8192 leave no room for a prompt in the"),
        (["compare", "a", "b"], "compare: no finished evaluation in"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(notebook, home, capsys, arguments, said):
    if arguments[0] == "results":
        arguments = [*arguments, "--runs", str(home / "data/runs"), "--results", str(home / "data/results")]
    assert main([argument.format(notebook) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_a_full_disk_is_one_line_and_exit_code_1(notebook, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pzlib.headless.run_notebook", refuse)
    assert main(["run", notebook]) == 1
    assert "No space left on device" in capsys.readouterr().err


def test_results_names_what_it_collected_and_what_not(home, capsys):
    for seed, state in ((0, "complete"), (1, "failed")):
        run = Run(tier="smoke", seed=seed, name=f"run{seed}")
        RunFolder(run.folder).open(run).set_status(state, step=1, steps=1)
    assert main(["results", "--runs", str(home / "data/runs"), "--results", str(home / "out")]) == 0
    assert capsys.readouterr().out == "run0: collected\nrun1: left out, it is failed\n"
    assert (home / "out/smoke/runs.csv").read_text().count("\n") == 2


def test_evaluate_prints_a_row_for_each_task(tiny_model, capsys):
    assert main(["evaluate", str(tiny_model), "--items", "1"]) == 0
    out = capsys.readouterr().out
    assert "accuracy, %" in out and out.splitlines()[-2:] == [
        "general: 0.0 %, the mean over its tasks",
        "math: 0.0 %, the mean over its tasks",
    ]


def test_two_models_are_evaluated_and_compared(tiny_model, home, capsys):
    pytest.importorskip("lm_eval", reason="needs the extra eval")
    said = ["--tasks", "tinybench", "--limit", "3", "--max-tokens", "4", "--samples", "2"]
    assert main(["evaluate", str(tiny_model), *said, "--against", "data/tinybase"]) == 0
    out = capsys.readouterr().out
    assert f"{tiny_model.name} - tinybase = " in out and "(3 questions, paired)" in out
    assert (home / "data/evaluations/tinybase/tinybench/scores.csv").exists()
    assert main(["compare", tiny_model.name, "tinybase"]) == 0
    assert capsys.readouterr().out.strip() == out.strip().splitlines()[-1]


@pytest.mark.parametrize("line", ["", "runn", "run", "run a.ipynb -p seed", "figures --tier x"])
def test_an_unfinished_command_is_exit_code_2(line):
    with pytest.raises(SystemExit) as stop:
        main(line.split())
    assert stop.value.code == 2
