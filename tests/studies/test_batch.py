"""A batch: a matrix worked by hand, jobs that are done once, a lost machine's job, and an exit code that is true."""

import io
import json
import os
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import nbformat
import psutil
import pytest

from pzlib.__main__ import main
from pzlib.paths import REPO
from pzlib.runs.folder import RunFolder
from pzlib.studies.batch import NotebookJob, batch, matrix, name_of, version_of

PARAMETERS = 'objective = "pretrainzero"\nseed = 0\nsteps = 3\npause = 0.0\nrate = 1e-3\nbad = -1\nseeds = [0]\n'
# Trains nothing, but keeps a checkpoint and its status as a run does, and says which process made which step.
STEPS = """
    import os, time
    from pzlib.runs.folder import RunFolder
    from pzlib.headless import announce
    from pzlib.run import Run
    run = Run(tier="smoke", seed=seed, name=f"slow-{seed}")
    announce(run)
    folder = RunFolder(run.folder).open(run)
    kept, made = run.folder / "kept", run.folder / "made"
    for step in range(int(kept.read_text()) + 1 if kept.exists() else 1, steps + 1):
        time.sleep(pause)
        with open(made, "a") as file:
            file.write(f"{os.getpid()} {step}\\n")
        kept.write_text(str(step))
        folder.set_status("running", step=step, steps=steps)
    if seed == bad:
        raise KeyError("no such seed")
    folder.set_status("complete", step=steps, steps=steps)
"""


@pytest.fixture
def notebook(tmp_path):
    """A notebook of one announced run, under a temporary folder."""
    head = nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    cells = [head, nbformat.v4.new_code_cell(textwrap.dedent(STEPS))]
    spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=spec), tmp_path / "slow.ipynb")
    return tmp_path / "slow.ipynb"


@pytest.fixture
def job(notebook, home):
    """make(**parameters) -> NotebookJob, whose folder is there."""
    (home / "out").mkdir()

    def make(**parameters):
        return NotebookJob(name_of(parameters), str(notebook), version_of(notebook), parameters, str(home / "out"))

    return make


def test_a_matrix_holds_every_combination_the_last_axis_fastest(notebook):
    jobs = matrix(notebook, [("objective", ["rpt", "rlp"]), ("steps", ["5"])], seeds=["0-1", "7"])
    assert list(jobs) == [
        "objective=rpt,steps=5,seed=0", "objective=rpt,steps=5,seed=1", "objective=rpt,steps=5,seed=7",
        "objective=rlp,steps=5,seed=0", "objective=rlp,steps=5,seed=1", "objective=rlp,steps=5,seed=7",
    ]  # fmt: skip
    assert jobs["objective=rlp,steps=5,seed=7"] == {"objective": "rlp", "steps": 5, "seed": 7}


def test_without_axes_there_is_one_job(notebook):
    assert matrix(notebook, []) == {"slow": {}}


@pytest.mark.parametrize(
    ("axes", "seeds", "said"),
    [
        ([("sede", ["1"])], [], "sede: no such parameter of slow.ipynb; did you mean seed"),
        ([("steps", ["5", "many"])], [], "steps: wants an int such as 3, got 'many'"),
        ([("steps", ["5"]), ("steps", ["6"])], [], "steps: given twice; give each parameter once"),
        ([("seed", ["1"])], ["2"], "seed: given twice"),
        ([("steps", ["5", "6", "5"])], [], "steps: the value 5 is given twice"),
        ([("rate", ["1e-4", "0.0001"])], [], "rate: the value 0.0001 is given twice"),
        ([], ["0-2", "1"], "seed: the value 1 is given twice"),
        ([], ["4-0"], "seeds: wants numbers and ranges such as 0-4, got '4-0'"),
        ([], ["-1"], "seeds: wants numbers and ranges such as 0-4, got '-1'"),
        ([("steps", [])], [], "steps: has no value"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_starts(notebook, axes, seeds, said):
    with pytest.raises(ValueError) as error:
        batch(notebook, axes, seeds)
    assert said in str(error.value)


def test_names_of_jobs_differ_where_file_names_would_not():
    models = ("a/b", "a_b", "a b", "a,seed=1")
    names = [name_of({"model": model}) for model in models] + [name_of({"model": "a", "seed": 1})]
    assert len(set(names)) == 5
    assert all("/" not in name and " " not in name for name in names)
    assert len(name_of({"corpus": "x" * 400})) < 140


def test_a_job_leaves_the_executed_notebook_and_a_true_record(job, home):
    done = job(seed=4)
    assert not done.complete()
    assert done.execute() == 0
    record = done.record()
    assert (record["state"], record["runs"], record["pid"]) == ("complete", {"slow-4": "complete"}, os.getpid())
    assert done.complete()
    assert sorted(path.name for path in (home / "out").iterdir()) == ["seed=4.ipynb", "seed=4.json"]
    cells = nbformat.read(home / "out/seed=4.ipynb", as_version=4).cells
    assert "seed = 4" in cells[1].source


def test_a_job_is_complete_only_as_long_as_its_run_and_its_notebook_are(job, notebook, home):
    done = job(seed=4)
    done.execute()
    assert not replace(done, parameters={"seed": 4, "steps": 5}).complete()
    RunFolder(home / "data/runs/slow-4").set_status("failed", error="changed by hand")
    assert not done.complete()
    RunFolder(home / "data/runs/slow-4").set_status("complete")
    assert done.complete()
    (home / "out/seed=4.ipynb").rename(home / "elsewhere.ipynb")
    assert not done.complete()
    (home / "elsewhere.ipynb").rename(home / "out/seed=4.ipynb")
    content = nbformat.read(notebook, as_version=4)
    content.cells.append(nbformat.v4.new_markdown_cell("prose"))
    nbformat.write(content, notebook)
    assert job(seed=4).complete()
    content.cells.append(nbformat.v4.new_code_cell("1 + 1"))
    nbformat.write(content, notebook)
    assert not job(seed=4).complete()


def test_a_job_started_again_waits_until_the_lost_workers_kernel_has_let_go(job, home, monkeypatch):
    again, states = job(seed=4), iter(["running", "running", "resumable"])
    again.path(".runs").write_text("slow-4\n")
    seen = []

    def state(folder):
        seen.append(folder.path.name)
        return next(states, "complete")

    monkeypatch.setattr(RunFolder, "state", state)
    monkeypatch.setattr("pzlib.studies.batch.run_notebook", lambda *_, **__: seen.append("executed") or 0)
    again.execute()
    assert seen == ["slow-4", "slow-4", "slow-4", "executed", "slow-4"]  # the last for the record


def test_a_failed_job_stops_no_other_the_exit_code_says_so_and_what_is_done_is_skipped(notebook, home):
    said, axes = io.StringIO(), [("bad", ["4"]), ("seed", ["3", "4"])]
    assert batch(notebook, axes, output=home / "out", jobs=2, stream=said) == 1
    _, failed, summary, hint = said.getvalue().splitlines()[-4:]
    assert failed.startswith("bad=4,seed=4: failed after ") and "KeyError: 'no such seed'" in failed
    assert failed.endswith(f"; log: {home / 'out/bad=4,seed=4.log'}")
    assert summary.startswith("2 jobs: 1 done, 1 failed, in ")
    assert hint == "the same command tries the failed ones again, and skips the others"
    assert batch(notebook, [("bad", ["4"])], ["3"], output=home / "out", stream=said) == 0
    assert said.getvalue().splitlines()[-1].startswith("1 job: 1 skipped, in ")


@pytest.mark.slow
def test_a_batch_that_is_started_twice_does_everything_once(notebook, home):
    command = [sys.executable, "-m", "pzlib", "batch", str(notebook), "-p", "pause", "0.3", "--seeds", "0-1"]
    twice = [subprocess.Popen([*command, "-o", "out"], stdout=subprocess.PIPE, text=True, cwd=home) for _ in range(2)]
    for process in twice:
        said = process.communicate()[0]
        assert process.returncode == 0 and "2 jobs: 2 done, in " in said
    for seed in (0, 1):
        steps = (home / f"data/runs/slow-{seed}/made").read_text().splitlines()
        assert [line.split()[1] for line in steps] == ["1", "2", "3"]  # none twice


def test_a_cluster_that_does_not_answer_is_named_with_what_makes_one(notebook, capsys, monkeypatch):
    def init(*_, **__):
        raise ConnectionError("timed out")

    monkeypatch.setattr("ray.init", init)
    assert main(["batch", str(notebook), "--address", "gpu-1:6379"]) == 2
    assert "address: no Ray cluster answers at gpu-1:6379 (timed out); `ray start --head`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--jobs", "0"], "jobs: must be at least 1, got 0"),
        (["--gpus", "-1"], "gpus: must be at least 0, got -1"),
        (["--address", "ray://x:10001"], "address: wants HOST:PORT or auto"),
        (["-p", "objective"], "objective: has no value"),
        (["-p", "objectiv", "rpt"], "objectiv: no such parameter"),
    ],
)
def test_bad_input_of_the_command_is_one_line_and_exit_code_2(notebook, capsys, arguments, said):
    assert main(["batch", str(notebook), *arguments]) == 2
    captured = capsys.readouterr().err
    assert said in captured and len(captured.splitlines()) == 1


@pytest.mark.slow
def test_two_real_runs_at_once_here_and_then_nothing_is_left_to_do(home, capsys, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(home / ("a long name " * 10)))  # as schedulers give
    (home / ("a long name " * 10)).mkdir()
    command = ["batch", str(REPO / "notebooks/04_pretrainzero.ipynb"), "-p", "steps", "2", "--seeds", "0-1"]
    assert main([*command, "-o", str(home / "out")]) == 0
    assert "2 jobs: 2 done, in " in capsys.readouterr().out
    for seed in (0, 1):
        record = json.loads((home / f"out/steps=2,seed={seed}.json").read_text())
        assert list(record["runs"].values()) == ["complete"]
        assert len(RunFolder(home / "data/runs" / next(iter(record["runs"]))).metrics()) == 2
    assert main([*command, "-o", str(home / "out")]) == 0
    assert "2 jobs: 2 skipped, in " in capsys.readouterr().out
    _, left = psutil.wait_procs(psutil.Process().children(recursive=True), timeout=20)
    assert not left


@pytest.mark.slow
def test_a_node_killed_in_mid_run_costs_only_what_its_job_had_not_kept(notebook, home):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        command = [sys.executable, "-m", "pzlib", "batch", str(notebook), "--seeds", "0-3", "--address",
                   cluster.address, "-p", "bad", "3", "-p", "steps", "20", "-p", "pause", "0.5",
                   "-o", str(home / "out")]  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            folder = RunFolder(home / "data/runs/slow-0")
            while folder.status().get("step", 0) < 3:
                assert process.poll() is None, process.stdout.read()
                time.sleep(0.1)
            worker = json.loads((home / "out/bad=3,steps=20,pause=0.5,seed=0.json").read_text())["pid"]
            above = {process.pid for process in psutil.Process(worker).parents()}
            (node,) = [node for node in nodes if node.all_processes["raylet"][0].process.pid in above]
            cluster.remove_node(node, allow_graceful=False)
            said = process.communicate()[0]
        assert process.returncode == 1  # for seed 3 alone
        assert "4 jobs: 3 done, 1 failed" in said
        lines = [line.split() for line in (folder.path / "made").read_text().splitlines()]
        assert [int(step) for _, step in lines] == list(range(1, 21))  # none twice: no kernel trained on
        first, second = dict.fromkeys(pid for pid, _ in lines)
        assert not psutil.pid_exists(int(first)) or psutil.Process(int(first)).status() == psutil.STATUS_ZOMBIE
        assert [RunFolder(home / f"data/runs/slow-{seed}").state() for seed in range(3)] == ["complete"] * 3
    finally:
        cluster.shutdown()
