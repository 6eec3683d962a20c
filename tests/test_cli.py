"""The command line: one clean line for what is wrong, and an exit code that a script can trust."""

import errno
import inspect
import json
import os
import subprocess
import sys
import tomllib
from importlib import metadata

import nbformat
import pandas as pd
import pytest
from skilled import teach, write_corpus

from pzlib.__main__ import main
from pzlib.commands import COMMANDS, run_of
from pzlib.headless import find
from pzlib.paths import REPO
from pzlib.run import Run
from pzlib.runs.folder import Interrupted, RunFolder
from pzlib.studies import arms_of
from pzlib.train import train


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
        (["run", "{}x"], "study.ipynbx: no such notebook; did you mean study?"),
        (["run", "notebooks/04.ipynb"], "notebooks/04.ipynb: no such notebook; did you mean 04_pretrainzero?"),
        (["gate", "data/tinybase_a", "--tier", "mini", "--passages", "1"], "passages: 1 give no interval"),
        (["gate", "data/tinybase_a", "-p", "model", "x"], "model: give it as --model"),
        (["probe", "none"], "run: 'none' is not a run of data/runs"),
        (["results"], "data/runs; `python -m pzlib run NOTEBOOK` makes one"),
        (["figures", "--results", "none"], "no folder none"),
        (["evaluate", "none/such"], "model: cannot load 'none/such'"),
        (["evaluate", "data/tinybse"], "there is no data/tinybse; did you mean tinybase"),
        (["evaluate", "rlvr-mini-s0-abcdef01@100"], "no run of that name is in data/runs"),
        (["evaluate", "x", "--against", "y"], "against: belongs to benchmarks; name some with --tasks"),
        (["evaluate", "x", "--items", "0"], "items: must be at least 1, got 0"),
        (["evaluate", "x", "--tasks", "gsm9k"], "tasks: no benchmark 'gsm9k'; did you mean gsm8k?"),
        (["evaluate", "x", "--tasks", "gsm8k", "--limit", "0"], "limit: must be at least 1, got 0"),
        (["evaluate", "x", "--tasks", "gsm8k", "--data", "none"], "data: 'none' does not exist"),
        (["evaluate", "none/such", "--tasks", "gsm8k"], "model: cannot load 'none/such'"),
        (["evaluate", "data/tinybase_a", "--tasks", "gsm8k"], "'openai/gsm8k' is not a file here"),
        (["evaluate", "data/tinybase_a", "--tasks", "tinybench"], "max_tokens: 8192 leave no room for a prompt in the"),
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


def test_a_run_is_probed_before_and_after_and_the_rows_are_kept(tiny_model, home, tmp_path, capsys):
    write_corpus(tmp_path / "corpus.jsonl", n=60)
    teach(tiny_model, tmp_path / "taught", steps=40, thought="Anna has a book . ")
    sizes = {"steps": 1, "save_every": 1, "corpus_limit": 20, "min_tokens": 4, "max_completion_tokens": 10}
    text = str(tmp_path / "corpus.jsonl")
    train(Run(tier="smoke", model=str(tmp_path / "taught"), corpus=text, name="probed", **sizes))
    capsys.readouterr()
    assert main(["probe", "probed", "--items", "6", "--samples", "2", "--results", str(home / "out")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("| method | seed | step | targets | own reasoning replaced by | questions | change |")
    assert len(printed) == 2 + 2 * 3 * 2  # before and after, three ways, two measures
    rows = pd.read_csv(home / "out/smoke/probes.csv")
    assert set(rows["step"]) == {0, 1} and set(rows["run_id"]) == {"probed"} and len(rows) == 12
    assert main(["probe", "probed", "--items", "6", "--samples", "2", "--results", str(home / "out")]) == 0
    assert pd.read_csv(home / "out/smoke/probes.csv").equals(rows)  # replaced, not added


def test_the_gate_prints_its_verdict_and_keeps_its_numbers(tiny_model, home, tmp_path, capsys):
    text = str(write_corpus(tmp_path / "corpus.jsonl", n=8))
    said = ["gate", str(tiny_model), "--corpus", text, "--tier", "smoke", "--passages", "2"]
    said += ["--results", str(home / "out"), "-p", "min_tokens", "4", "-p", "max_completion_tokens", "6"]
    assert main(said) == 0 and main([*said, "-p", "seed", "1"]) == 0 and main(said) == 0
    assert "verdict: cannot yet play pretrainzero" in capsys.readouterr().out
    rows = pd.read_csv(home / "out/smoke/gate.csv")
    assert rows.groupby(["model", "seed"])["number"].nunique().nunique() == 1 and set(rows["seed"]) == {0, 1}
    assert not rows.duplicated(["seed", "number"]).any() and "random_span/alive" in set(rows["number"])


def test_evaluate_prints_a_row_for_each_task(tiny_model, capsys):
    assert main(["evaluate", str(tiny_model), "--items", "1"]) == 0
    out = capsys.readouterr().out
    groups = ("general", "math", "depth", "masked words", "other words", "training side")
    assert "accuracy, %" in out and sorted(out.splitlines()[-6:]) == sorted(
        f"{group}: 0.0 %, the mean over its tasks" for group in groups
    )


def test_two_models_are_evaluated_and_compared(tiny_model, home, capsys):
    pytest.importorskip("lm_eval", reason="needs the extra eval")
    said = ["--tasks", "tinybench", "--limit", "3", "--max-tokens", "4", "--samples", "2"]
    assert main(["evaluate", str(tiny_model), *said, "--against", "data/tinybase_a"]) == 0
    out = capsys.readouterr().out
    assert f"{tiny_model.name} - tinybase_a = " in out and "(3 questions, paired)" in out
    assert (home / "data/evaluations/tinybase_a/tinybench/scores.csv").exists()
    assert main(["compare", tiny_model.name, "tinybase_a"]) == 0
    assert capsys.readouterr().out.strip() == out.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("runn", "runn: no such command; did you mean run?"),
        ("run", "NOTEBOOK"),
        ("run a.ipynb -p seed", "-p/--parameter"),
        ("batch a.ipynb --jobs many", "--jobs"),
        ("figures --tier x", "invalid choice 'x' for argument '--tier'"),
        ("study", "study: name one or more of baselines, "),
        ("evaluate x --item 3", "--item"),
    ],
)
def test_an_unfinished_command_is_one_line_and_exit_code_2(capsys, line, said):
    assert main(line.split()) == 2
    captured = capsys.readouterr()
    assert said in captured.err and captured.err.count("\n") == 1 and not captured.out


def test_bare_pzlib_prints_the_help_and_every_command_has_an_example_and_help_for_every_option(capsys):
    assert main([]) == 0
    top = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert f"• {name} " in top
        assert main([name, "--help"]) == 0
        assert f"Example: pzlib {name}" in capsys.readouterr().out
        for option in inspect.signature(command).parameters.values():
            text = str(option.annotation)
            assert "help='" in text or 'help="' in text, f"{name} {option.name}"


def test_help_and_version_are_fast_since_nothing_heavy_is_loaded():
    heavy = {"torch", "pandas", "transformers", "matplotlib", "papermill", "ray"}
    code = f"import sys; from pzlib.__main__ import main; main(['--help']); sys.exit(str({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "set()"
    version = subprocess.run([sys.executable, "-m", "pzlib", "--version"], capture_output=True, text=True)
    assert version.stdout == f"pzlib {metadata.version('pzlib')}\n"


def test_the_console_script_is_this_command():
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"pzlib": "pzlib.__main__:main"}


@pytest.mark.parametrize("name", ["04", "04_pretrainzero", "04_pretrainzero.ipynb", "notebooks/04_pretrainzero.ipynb"])
def test_a_notebook_is_named_by_number_name_or_path(name, tmp_path, monkeypatch):
    monkeypatch.chdir(REPO if "/" in name else tmp_path)
    assert find(name).resolve() == REPO / "notebooks/04_pretrainzero.ipynb"


@pytest.mark.parametrize("name", ["04", str(REPO / "notebooks/04_pretrainzero.ipynb")])
def test_a_notebook_below_the_working_folder_has_no_path_of_the_machine(name, monkeypatch):
    monkeypatch.chdir(REPO)
    assert str(find(name)) == "notebooks/04_pretrainzero.ipynb"


@pytest.mark.parametrize("name", ["0", "nosuch", "04_pretrain"])
def test_a_name_that_means_no_notebook_or_several_is_refused(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"^{name}: no such notebook; (did you mean|known:) 0.*_"):
        find(name)


INTERRUPTED = """
import os, signal, sys
import pzlib.studies.results
from pzlib.__main__ import main
def collect(*_):
    os.kill(os.getpid(), signal.{})
    import time; time.sleep(30)
pzlib.studies.results.collect = collect
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main(["results"]))
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_is_an_interruption_of_every_command_one_line_and_exit_code_130(name):
    done = subprocess.run([sys.executable, "-c", INTERRUPTED.format(name)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "interrupted; run the same command again to go on\n"


def test_an_interrupted_training_says_in_that_line_where_it_goes_on(monkeypatch, capsys):
    def collect(*_):
        raise Interrupted(RunFolder("mine"))

    monkeypatch.setattr("pzlib.studies.results.collect", collect)
    assert main(["results"]) == 130
    assert capsys.readouterr().err == f"{Interrupted(RunFolder('mine'))}\n"


def test_settings_on_the_command_line_become_a_run():
    assert run_of([("use_vllm", "true"), ("steps", "7")], tier="paper") == Run(tier="paper", use_vllm=True, steps=7)
    for pairs, said in [
        ([("step", "7")], "step: no such setting of a run; did you mean steps"),
        ([("tier", "mini")], "tier: give it as --tier"),
        ([("steps", "7"), ("steps", "8")], "steps: given twice"),
        ([("steps", "x")], "steps: wants an int such as 2000, got 'x'"),
    ]:
        with pytest.raises(ValueError, match=said):
            run_of(pairs, tier="paper")


def test_a_task_is_trained_and_is_no_command_that_is_listed(tiny_model, tmp_path, capsys):
    write_corpus(tmp_path / "corpus.jsonl")
    settings = {
        "tier": "smoke", "objective": "random_span", "model": str(tiny_model), "corpus": str(tmp_path / "corpus.jsonl"),
        "steps": 1, "min_tokens": 4, "max_prompt_tokens": 32, "max_completion_tokens": 8, "name": "task",
    }  # fmt: skip
    (tmp_path / "task.json").write_text(json.dumps({"settings": settings, "evaluation": None}))
    assert main(["train", str(tmp_path / "task.json")]) == 0
    assert RunFolder(Run(name="task").folder).state() == "complete"
    capsys.readouterr()
    assert main(["--help"]) == 0 and "• train" not in capsys.readouterr().out


def test_a_study_is_evaluated_run_by_run_and_asked_for_next_tokens_too(home, capsys, monkeypatch):
    assert main(["study", "mask_rule", "--plan", "--tier", "gpu", "--seeds", "0-1"]) == 0
    assert "6 runs" in capsys.readouterr().out
    assert main(["study", "mask_rule", "occurrences", "--plan", "--seeds", "0"]) == 0
    each = "  mask_rule: 3 runs: 0 stored, 3 to make, {}\n  occurrences: 1 runs: 0 stored, 1 to make, {}\n"
    times = [f"about {time} at 2 at a time" for time in ("4 min 30 s", "1 min 30 s", "6 min 0 s")]  # a run is in both
    assert capsys.readouterr().out == each.format(*times) + f"4 runs: 0 stored, 4 to make, {times[2]}\n"
    asked = []
    empty = pd.DataFrame()
    monkeypatch.setattr("pzlib.evaluation.along.along", lambda run, tasks, *_: asked.append((run, tasks)) or empty)
    monkeypatch.setattr("pzlib.evaluation.next_tokens.along", lambda run, passages: asked.append((run, passages)))
    assert main(["evaluate", "mask_rule", "--along", "--tier", "gpu"]) == 2
    assert "no run of the study mask_rule is complete at tier gpu" in capsys.readouterr().err
    runs = [run for _, run in arms_of("mask_rule", "gpu", [0], {"lora_rank": 4})]
    for run in runs:
        RunFolder(run.folder).open(run).set_status("complete", step=1, steps=1)
    command = ["evaluate", "mask_rule", "--along", "--tier", "gpu", "-p", "lora_rank", "4", "--tasks"]
    assert main([*command, "gsm8k", "next_tokens", "--limit", "7"]) == 0
    assert asked == [(run.run_id, what) for run in runs for what in (7, ["gsm8k"])]
    assert main([*command, "next_tokens"]) == 0 and asked[6:] == [(run.run_id, 200) for run in runs]
