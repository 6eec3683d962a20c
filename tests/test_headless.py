"""Notebooks without a browser: what is given must fit, and the exit code says what happened."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pzlib.errors import parse_value
from pzlib.headless import ANNOUNCE, Doing, Pace, announce, parse_parameters, progress, read_parameters, run_notebook
from pzlib.run import Run
from pzlib.runs.folder import RunFolder, write_atomic

PARAMETERS = 'tier = "smoke"  # sizes\nseed = 0\nrate = 1e-4\nlive = True\nsteps = None\nseeds = [0, 1]\n'
ANNOUNCED = """
    from pzlib.runs.folder import RunFolder
    from pzlib.headless import announce
    from pzlib.run import Run
    run = Run(tier=tier, seed=seed, name="mine")
    announce(run)
    folder = RunFolder(run.folder).open(run)
    folder.set_status("running", step=4, steps=12)
"""


@pytest.fixture
def notebook(tmp_path):
    """write(*cells, parameters=...) -> path of a throw-away notebook."""

    def write(*cells, parameters=PARAMETERS, name="study.ipynb"):
        code = [nbformat.v4.new_code_cell(textwrap.dedent(cell)) for cell in cells]
        head = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
        spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        path = tmp_path / name
        nbformat.write(nbformat.v4.new_notebook(cells=[head, *code], metadata=spec), path)
        return path

    return write


def test_a_run_that_completes(notebook, home, capsys):
    path = notebook(ANNOUNCED, 'print(seed, rate, live, seeds)\nfolder.set_status("complete", step=12)')
    parameters = parse_parameters(path, [("seed", "2"), ("rate", "1"), ("live", "false"), ("seeds", "[3]")])
    assert run_notebook(path, parameters) == 0
    copy = home / "data/runs/mine/study.ipynb"
    assert f"done; executed copy: {copy}" in capsys.readouterr().out
    cells = nbformat.read(copy, as_version=4).cells
    assert cells[-1].outputs[0].text == "2 1.0 False [3]\n"
    assert all(not cell.outputs for cell in nbformat.read(path, as_version=4).cells)
    assert ANNOUNCE not in os.environ


def test_a_run_that_was_complete_before_is_not_said_to_be_trained(notebook, home, capsys):
    run = Run(tier="smoke", name="mine")
    folder = RunFolder(run.folder).open(run)
    folder.set_status("complete", step=12, steps=12)
    write_atomic(folder.path / "status.json", json.dumps(folder.status() | {"updated": "2026-01-01T00:00:00+00:00"}))
    cells = "from pzlib.headless import announce\nfrom pzlib.run import Run\nannounce(Run(tier='smoke', name='mine'))"
    assert run_notebook(notebook(cells)) == 0
    assert "done; run mine was complete before, and nothing was trained; executed" in capsys.readouterr().out


def test_any_setting_of_a_run_reaches_a_notebook_that_takes_settings(notebook):
    path = notebook(parameters='tier = "smoke"\nsteps = None\nsettings = {}\n')
    pairs = [("use_vllm", "true"), ("sharding", "fsdp"), ("lora_rank", "32"), ("steps", "3")]
    told = {"steps": 3, "settings": {"use_vllm": True, "sharding": "fsdp", "lora_rank": 32}}
    assert parse_parameters(path, pairs) == told
    assert parse_parameters(notebook(parameters='tier = "smoke"\nsettings = {"group": 2}\n'), [("kl", "1e-3")]) == {
        "settings": {"group": 2, "kl": 1e-3}
    }
    for name, text, said in (
        ("lora_rnk", "3", "lora_rnk: no such parameter of study.ipynb, or setting of a run; did you mean lora_rank"),
        ("lora_rank", "many", "lora_rank: wants an int, got 'many'"),
        ("sharding", "fsd", "sharding: 'fsd' is not one of"),
        ("settings", "{'lora_rnk': 3}", "lora_rnk: no such setting of a run that belongs in settings; did you mean"),
    ):
        with pytest.raises(ValueError, match=said):
            parse_parameters(path, [(name, text)])


@pytest.mark.parametrize("case", ["annotated_parameters", "no_kernelspec"])
def test_a_notebook_as_other_tools_write_it_is_executed(case, tmp_path, home):
    tagged, path = {"tags": ["parameters"]}, tmp_path / "other.ipynb"
    source = "num: int = 5" if case == "annotated_parameters" else "num = 5"
    cells = [nbformat.v4.new_code_cell(source, metadata=tagged), nbformat.v4.new_code_cell("print(num + 1)")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    assert run_notebook(path, parse_parameters(path, [("num", "7")])) == 0
    copy = nbformat.read(home / "data/runs/notebooks/other.ipynb", as_version=4)
    assert copy.cells[-1].outputs[0].text == "8\n"


ANNOTATED = """
num: int = 5
ratio: float = 1
name: "str" = "x"
seeds: list[int] = [0]
opt: float | None = None
text: Optional[str] = None
steps: int | None = None
free = None
"""


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("num", "7", 7), ("ratio", "0.5", 0.5), ("ratio", "2", 2.0), ("name", "3", "3"), ("seeds", "[1, 2]", [1, 2]),
        ("opt", "3.10", 3.1), ("opt", "3", 3.0), ("opt", "none", None), ("text", "3.10", "3.10"), ("text", "5", "5"),
        ("steps", "12", 12), ("free", "3.10", "3.10"), ("free", "3.1", 3.1), ("free", "2.0", 2.0),
        ("free", "1e-6", 1e-6),
        ("free", "10", 10), ("free", "true", True), ("free", "007", "007"), ("free", "0.50", "0.50"),
    ],
)  # fmt: skip
def test_an_annotation_says_what_a_default_leaves_open(notebook, name, text, value):
    parsed = parse_parameters(notebook(parameters=ANNOTATED), [(name, text)])[name]
    assert (parsed, type(parsed)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("num", "7.5", "num: wants an int, got the float 7.5"),
        ("opt", "many", "opt: wants a float, got 'many'"),
        ("steps", "1.5", "steps: wants an int, got the float 1.5"),
    ],
)
def test_a_value_that_its_annotation_does_not_allow_is_refused(notebook, name, text, said):
    with pytest.raises(ValueError, match=said):
        parse_parameters(notebook(parameters=ANNOTATED), [(name, text)])


SETTINGS = "tier = 'smoke'\nobjective = 'pretrainzero'\nlearning_rate = None\nmodel = None\nmax_tokens = None\n"
SETTINGS += "steps = 12\nrandom_span_steps = 0\ntranscripts = ''\noutput = None\n"


@pytest.mark.parametrize(
    ("pair", "error", "said"),
    [
        (("tier", "smok"), ValueError, "tier: 'smok'"),
        (("objective", "random_spam"), ValueError, "objective: 'random_spam'"),
        (("learning_rate", "lots"), ValueError, "learning_rate: wants a float, got 'lots'$"),
        (("learning_rate", "-1.0"), ValueError, "learning_rate: must be above 0"),
        (("random_span_steps", "13"), ValueError, "random_span_steps: 13 is above steps 12"),
        (("model", "data/tinybse"), FileNotFoundError, "model: there is no data/tinybse; did you mean tinybase"),
        (("model", "rlvr-mini-s0-abcdef01@100"), FileNotFoundError, "model: no run of that name is in data/runs"),
        (("transcripts", "nofile.jsonl"), FileNotFoundError, "transcripts: there is no file nofile.jsonl"),
    ],
)
def test_values_and_paths_are_refused_before_a_kernel_starts(notebook, monkeypatch, pair, error, said):
    with pytest.raises(error, match=said):
        parse_parameters(notebook(parameters=SETTINGS), [pair])
    monkeypatch.setattr("papermill.execute_notebook", lambda *_, **__: pytest.fail("a kernel was started"))
    if pair[1] != "lots":
        value = float(pair[1]) if pair[0] == "learning_rate" else int(pair[1]) if pair[1].isdigit() else pair[1]
        with pytest.raises(error, match=said):
            run_notebook(notebook(parameters=SETTINGS), {pair[0]: value})


@pytest.mark.parametrize(
    "pair",
    [
        ("max_tokens", "4"),  # of another thing than a Run's passages, whose least length it would be below
        ("model", "data/tinybase_a"), ("transcripts", ""),
        ("output", "new.jsonl"),  # it is written, not read
        ("learning_rate", "none"),
    ],
)  # fmt: skip
def test_values_that_may_be_right_are_let_through(notebook, pair):
    assert parse_parameters(notebook(parameters=SETTINGS), [pair])


def test_a_hub_name_is_looked_up_before_a_kernel_starts(notebook, monkeypatch, home):
    with pytest.raises(FileNotFoundError, match="model: cannot load 'gpt2': not a folder or run here"):
        parse_parameters(notebook(parameters=SETTINGS), [("model", "gpt2")])
    (home / "data/runs/mine/model").mkdir(parents=True)
    assert parse_parameters(notebook(parameters=SETTINGS), [("model", "mine")])
    monkeypatch.setattr("pzlib.headless.of_hub", lambda *_: None)
    assert parse_parameters(notebook(parameters=SETTINGS), [("model", "Qwen/Qwen3-4B-Base")])


def test_a_cell_error_is_a_failure_that_names_the_cell(notebook, home, capsys):
    path = notebook("1", 'raise ValueError("no\\nsuch word")', "print('never')")
    assert run_notebook(path) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    copy = home / "data/runs/notebooks/study.ipynb"
    assert said == f"{path}: cell 3 (In [3]) failed: ValueError: no such word; executed copy: {copy}"
    assert "never" not in str(nbformat.read(copy, as_version=4).cells[-1].outputs)


def test_a_killed_kernel_is_a_failure_and_the_copy_says_so(notebook, home, capsys):
    path = notebook(ANNOUNCED, "import os\nos.kill(os.getpid(), 9)", "print('never')")
    assert run_notebook(path) == 1
    said = capsys.readouterr().err
    assert "cell 3: the kernel died" in said
    assert "run mine was interrupted at step 4 of 12; run it again to resume from step 0" in said
    *_, killed, after = nbformat.read(home / "data/runs/mine/study.ipynb", as_version=4).cells
    assert killed.metadata.papermill.status == "failed"
    assert killed.outputs[-1].output_type == "error"
    assert after.metadata.papermill.status == "pending"


def test_a_run_left_unfinished_is_a_failure_though_every_cell_ran(notebook, tmp_path, capsys):
    path = notebook(ANNOUNCED, 'folder.set_status("failed", step=5, error="OSError: disk full")')
    assert run_notebook(path, output=tmp_path / "made/copy.ipynb") == 1
    assert "run mine failed (OSError: disk full) at step 5 of 12; run it again" in capsys.readouterr().err
    assert (tmp_path / "made/copy.ipynb").exists()


def test_a_kernel_that_never_starts_is_a_failure(notebook, capsys, monkeypatch):
    def never(path, copy, *_, **__):
        shutil.copy(path, copy)
        raise RuntimeError("Kernel didn't respond\nin 180 seconds")

    monkeypatch.setattr("papermill.execute_notebook", never)
    assert run_notebook(notebook("1")) == 1
    assert "the kernel did not start: Kernel didn't respond in 180 seconds" in capsys.readouterr().err


@pytest.mark.slow
def test_an_interrupt_stops_the_kernel_and_says_so(notebook, home):
    path = notebook(ANNOUNCED, "import time\ntime.sleep(60)")
    command = [sys.executable, "-m", "pzlib", "run", str(path)]
    # a shell in the background, such as CI's, may have made Ctrl-C ignored, and children inherit that
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heard) as process:
        folder = RunFolder(home / "data/runs/mine")
        while folder.state() == "new":
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted in cell" in said
    assert "Traceback" not in said
    assert folder.state() == "resumable"


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (("sed", "2"), "sed: no such parameter of study.ipynb; did you mean seed"),
        (("qqqq", "2"), "known: tier, seed, rate, live, steps, seeds"),
        (("seed", "two"), "seed: wants an int such as 0, got 'two'"),
        (("seed", "2.0"), "seed: wants an int, got the float 2.0"),
        (("seed", "True"), "seed: wants an int, got the bool True"),
        (("rate", "1e-6x"), "rate: wants a float such as 0.0001, got '1e-6x'"),
        (("rate", "nan"), "rate: wants a float"),
        (("live", "yes"), "live: wants a bool such as True, got 'yes'"),
        (("live", "1"), "live: wants a bool, got the int 1"),
        (("seeds", "3"), "seeds: wants a list, got the int 3"),
        (("seeds", "[1, 'x']"), "seeds[1]: wants an int, got the str 'x'"),
        (("seed", "__import__('os')"), "seed: wants an int"),
    ],
)
def test_a_parameter_that_does_not_fit_is_refused_before_anything_runs(notebook, pair, said):
    with pytest.raises(ValueError) as error:
        parse_parameters(notebook(), [pair])
    assert said in str(error.value)


def test_a_parameter_given_twice_is_refused(notebook):
    with pytest.raises(ValueError, match="seed: given twice"):
        parse_parameters(notebook(), [("seed", "1"), ("seed", "2")])


@pytest.mark.parametrize(("name", "value"), [("seed", "2"), ("rate", "1e-6"), ("sede", 1), ("live", 1)])
def test_values_from_python_are_checked_too(notebook, name, value):
    with pytest.raises(ValueError, match=f"^{name}: "):
        run_notebook(notebook("raise SystemExit"), {name: value})


@given(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(),
                 st.text(max_size=20), st.lists(st.integers(), max_size=4)))  # fmt: skip
def test_what_is_typed_as_python_writes_it_arrives_as_it_was(value):
    parsed = parse_value("x", value if isinstance(value, str) else repr(value), value)
    assert parsed == value
    assert type(parsed) is type(value)


def test_a_default_of_none_takes_any_literal_and_else_the_text():
    assert parse_value("steps", "3", None) == 3
    assert parse_value("steps", "None", None) is None
    assert parse_value("corpus", "wiki/pedia", None) == "wiki/pedia"
    assert parse_value("tier", "None", "mini") == "None"


def test_what_is_no_notebook_is_told(notebook, tmp_path):
    path = notebook()
    assert {name: default for name, (default, _) in read_parameters(path).items()} == {
        "tier": "smoke", "seed": 0, "rate": 1e-4, "live": True, "steps": None, "seeds": [0, 1]}  # fmt: skip
    with pytest.raises(FileNotFoundError, match="no such notebook; did you mean study"):
        read_parameters(tmp_path / "studi.ipynb")
    with pytest.raises(FileNotFoundError, match="none/a.ipynb: no such notebook; known: 00_start_here, "):
        read_parameters(tmp_path / "none/a.ipynb")
    (tmp_path / "text.ipynb").write_text("hello")
    with pytest.raises(ValueError, match="text.ipynb: not a notebook"):
        read_parameters(tmp_path / "text.ipynb")
    with pytest.raises(ValueError, match="`rate = seed \\* 2` in the parameters cell sets no name"):
        read_parameters(notebook(parameters="seed = 1\nrate = seed * 2"))
    with pytest.raises(ValueError, match="line 2 of the parameters cell is not Python"):
        read_parameters(notebook(parameters="seed = 1\nrate ="))
    (tmp_path / "bare.ipynb").write_text(json.dumps(nbformat.v4.new_notebook()))
    with pytest.raises(ValueError, match="0 cells are tagged `parameters`; it needs exactly one"):
        read_parameters(tmp_path / "bare.ipynb")


def test_announce_does_nothing_for_a_person(monkeypatch, tmp_path):
    monkeypatch.delenv(ANNOUNCE, raising=False)
    announce(Run(name="mine"))
    monkeypatch.setenv(ANNOUNCE, str(tmp_path / "said"))
    announce(Run(name="mine"))
    assert (tmp_path / "said").read_text() == "mine\n"


class Status:
    """Stands in for a RunFolder whose status is known."""

    path = "mine"

    def __init__(self, step, doing="training", state="running"):
        self.step, self.doing, self.now = step, doing, state

    def state(self):
        return self.now

    def status(self):
        return {"state": "running", "step": self.step, "steps": 200, "doing": self.doing}


def test_a_reader_sees_the_step_that_trains_and_else_the_section(monkeypatch):
    clock, run = [100.0], Status(10, "evaluating")
    monkeypatch.setattr("pzlib.headless.time.monotonic", lambda: clock[0])
    assert Doing("study", 9, list).text() == "study: starting"
    doing = Doing("study", 9, lambda: [run])
    doing.heading = "1 · Train"
    assert doing.text() == "study: evaluating, step 10 of 200"
    run.doing = "training"
    for step, now in ((11, 150.0), (20, 154.5)):  # what came before the first step is no step
        doing.cell, run.step, clock[0] = 5, step, now
        text = doing.text()
    assert text == "study: training, step 20 of 200, 1 min 30 s left"
    run.now = "resumable"  # killed earlier, and not begun again yet
    assert doing.text() == "study: 1 · Train"


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 100)), max_size=60))
def test_the_time_left_is_never_negative_or_wild(seen):
    pace, now = Pace(), 0.0
    for step, seconds in seen:
        now += seconds
        left = pace.left(step, 50, now)
        assert left is None or 0 <= left <= 50 * now


def test_a_run_that_goes_on_from_a_checkpoint_is_timed_anew():
    pace = Pace()
    for step in range(10, 15):
        pace.left(step, 200, 10.0 * step)
    assert pace.left(15, 200, 150.0) == 1850
    assert pace.left(0, 200, 200.0) is None and pace.left(1, 200, 300.0) is None
    assert pace.left(2, 200, 301.0) == 198


def test_progress_is_plain_lines_without_a_terminal_and_one_line_that_goes_on_one():
    texts, plain = iter(["one", "one", "two", *["three"] * 99]), io.StringIO()
    with progress(lambda: next(texts), plain, seconds=0.1):
        time.sleep(1.5)
    assert plain.getvalue() == "one\ntwo\nthree\n"

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    with progress(lambda: "step 1 of 2", terminal):
        time.sleep(0.6)
    shown = terminal.getvalue()
    assert "step 1 of 2" in shown and shown.count("\n") <= 1
    assert shown.rstrip("\x1b[?25hl").endswith("\x1b[2K"), "the line is cleared: the next one starts at the left"


def test_a_grid_of_which_a_run_failed_fails_the_notebook_at_its_end(notebook, home, capsys):
    path = notebook(
        """
        from pzlib.studies import queue as grid
        from pzlib.run import Run
        found = grid.play([Run(tier="smoke", name="bad", model="data/nowhere")], jobs=1)
        """,
        "print('the rest')",
    )
    assert run_notebook(path, {}) == 1
    said = capsys.readouterr().err
    assert "study.ipynb: bad failed: FileNotFoundError: model: cannot load 'data/nowhere': there is no" in said
    copy = nbformat.read(home / "data/runs/notebooks/study.ipynb", as_version=4)
    assert copy.cells[-1].outputs[0].text == "the rest\n"
