"""Many jobs: a matrix worked by hand, a lost machine's job that goes on elsewhere, and an exit code that is true."""

import io
import ipaddress
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
from ray.exceptions import NodeDiedError, RaySystemError

from pzlib.__main__ import main
from pzlib.paths import REPO
from pzlib.runs.folder import RunFolder
from pzlib.studies import queue
from pzlib.studies.queue import (
    STARTS,
    Board,
    Job,
    Row,
    batch,
    headline,
    line,
    matrix,
    name_of,
    run_job,
    seconds_left,
    table,
    version_of,
)
from tests.bench.throughput import timed

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
def job(notebook, home, monkeypatch):
    """make(**parameters) -> Job; what running it here changes around it is put back."""
    for name in ("PZLIB_HOME", "OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.chdir(home)

    def make(**parameters):
        return Job(name_of(parameters) or "slow", str(notebook), version_of(notebook), parameters,
                   str(home / "out"), str(home), str(home))  # fmt: skip

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
        ([("steps", ["5"]), ("steps", ["6"])], [], "steps: given twice; give each parameter once, with all its values"),
        ([("seed", ["1"])], ["2"], "seed: given twice"),
        ([("steps", ["5", "6", "5"])], [], "steps: the value 5 is given twice"),
        ([("rate", ["1e-4", "0.0001"])], [], "rate: the value 0.0001 is given twice"),
        ([], ["0-2", "1"], "seed: the value 1 is given twice"),
        ([], ["4-0"], "seeds: wants numbers and ranges such as 0-4, got '4-0'"),
        ([], ["-1"], "seeds: wants numbers and ranges such as 0-4, got '-1'"),
        ([("steps", [])], [], "steps: has no value"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_starts(notebook, axes, seeds, said, monkeypatch):
    monkeypatch.setattr(queue, "_ray", None)
    with pytest.raises(ValueError) as error:
        batch(notebook, axes, seeds)
    assert said in str(error.value)


def test_names_of_jobs_differ_where_file_names_would_not():
    models = ("a/b", "a_b", "a b", "a,seed=1")
    names = [name_of({"model": model}) for model in models] + [name_of({"model": "a", "seed": 1})]
    assert len(set(names)) == 5
    assert all("/" not in name and " " not in name for name in names)
    assert len(name_of({"corpus": "x" * 400})) < 140


def test_time_left_is_what_the_done_jobs_took():
    rows = [Row("a", "done", 40), Row("b", "done", 80), Row("c", "failed", 1), Row("d", "running", 45), Row("e")]
    assert seconds_left(rows) == 60 + 15  # a job takes (40 + 80) / 2: one is queued, of one 15 s are left
    assert headline(rows) == "5 jobs: 2 done, 1 failed, 1 running, 1 queued, about 1 min 15 s left"
    assert seconds_left([Row("a", "running", 5), Row("b")]) is None
    resumed = Row("a", "running", 30, step=10, steps=40, begun=7)  # three steps in 30 s: forty take 400 s
    assert seconds_left([resumed]) == 400 - 30
    assert seconds_left([Row("a", "running", 1, step=7, steps=40, begun=7)]) is None
    assert seconds_left([Row("a", "done", 60), Row("b", "running", 90)]) == 0  # over its time, not below zero
    assert headline([Row("a", "done", 60), Row("b", "skipped")]) == "2 jobs: 1 done, 1 skipped"


def test_a_line_tells_where_how_far_and_how_often():
    row = Row("seed=3", "running", 80, step=7, steps=12, where="gpu-2", tries=2)
    assert line(row) == "seed=3: running on gpu-2, step 7 of 12, 1 min 20 s, start 2"
    assert line(Row("seed=3", "done", 80, tries=1)) == "seed=3: done in 1 min 20 s"
    assert line(Row("seed=3", "skipped")) == "seed=3: skipped"


def test_the_table_shows_what_runs_and_what_failed_before_what_waits():
    rows = [Row("a"), Row("b", "done", 1), Row("c", "failed", 1, said="why"), Row("d", "running", 1)]
    assert [text.split(":")[0] for text in table(rows, 3)[1:]] == ["d", "c", "a", "(1 more)"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_the_table_redrawn_in_place_and_a_file_only_what_changed():
    rows, there, file = [Row("a"), Row("b")], Terminal(), io.StringIO()
    boards = [Board(rows, there), Board(rows, file)]
    for state in ("queued", "running", "running", "done"):
        rows[0].state = state
        for board in boards:
            board.show()
    assert there.getvalue().count("\x1b[3A\x1b[J") == 3  # each over the three lines of the one before
    assert file.getvalue().splitlines() == [
        "2 jobs: 2 queued", "a: running (2 jobs: 1 running, 1 queued)", "a: done (2 jobs: 1 done, 1 queued)",
    ]  # fmt: skip


def test_a_job_leaves_the_executed_notebook_and_a_true_record(job, home):
    done = job(seed=4)
    assert not done.complete()
    record = run_job(done)
    assert record == done.record()
    assert (record["state"], record["runs"], record["pid"]) == ("complete", {"slow-4": "complete"}, os.getpid())
    assert done.complete()
    assert sorted(path.name for path in (home / "out").iterdir()) == ["seed=4.ipynb", "seed=4.json", "seed=4.log"]
    cells = nbformat.read(home / "out/seed=4.ipynb", as_version=4).cells
    assert "seed = 4" in cells[1].source


def test_a_job_is_complete_only_as_long_as_its_run_and_its_notebook_are(job, notebook, home):
    done = job(seed=4)
    run_job(done)
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


def test_a_failed_job_says_why_in_its_record(job):
    record = run_job(job(seed=4, bad=4))
    assert record["state"] == "failed"
    assert record["said"].startswith("cell 3 (In [3]) failed: KeyError: 'no such seed'")
    assert not job(seed=4, bad=4).complete()


def test_a_job_whose_notebook_is_not_on_this_machine_fails_in_words(job, notebook):
    lost = job(seed=4)
    notebook.unlink()
    assert "FileNotFoundError" in run_job(lost)["said"]


def test_a_job_started_again_waits_until_the_lost_workers_kernel_has_let_go(job, home, monkeypatch):
    again, states = job(seed=4), iter(["running", "running", "resumable"])
    (home / "out").mkdir()
    again.path(".runs").write_text("slow-4\n")
    seen = []

    def state(folder):
        seen.append(folder.path.name)
        return next(states)

    def executed(job):
        seen.append("executed")
        return 0

    monkeypatch.setattr(RunFolder, "state", state)
    monkeypatch.setattr(queue, "_executed", executed)
    with pytest.raises(StopIteration):  # the state for the record: the waiting is over by then
        run_job(again, start=2)
    assert seen == ["slow-4", "slow-4", "slow-4", "executed", "slow-4"]


class PlainRay:
    """Ray as far as `_play` uses it, in this process: one task at a time, and some whose machine is lost."""

    def __init__(self, lost, error):
        self.lost, self.error, self.order, self.tasks = lost, error, [], {}

    def remote(self, function):
        ray, self.function = self, function

        class Task:
            def options(self, **given):
                assert given["max_retries"] == 0
                return self

            def remote(self, job, start):
                ref = (job.name, start)
                ray.order.append(ref)
                ray.tasks[ref] = job
                return ref

        return Task()

    def wait(self, refs, timeout):
        return refs[:1], refs[1:]

    def get(self, ref):
        name, start = ref
        if self.lost.get(name, 0) >= start:
            raise self.error
        return self.function(self.tasks[ref], start)


@pytest.fixture
def plain_ray(monkeypatch, job):
    """use(lost={name: how often}) -> the PlainRay on which `batch` plays from here on."""

    def use(lost=None, error=None):
        ray = PlainRay(lost or {}, error or NodeDiedError("gone"))

        def run(job, start):
            if job.parameters["seed"] == 1:
                return {"state": "failed", "seconds": 1.0, "said": "cell 3 failed"}
            return {"state": "complete", "seconds": 1.0, "said": ""}

        for name, value in {"ray": ray, "run_job": run, "_gpus": lambda asked: 0}.items():
            monkeypatch.setattr(queue, name, value)
        monkeypatch.setattr(queue, "_ray", lambda *_: queue.tempfile.TemporaryDirectory())
        return ray

    return use


def test_a_failed_job_stops_no_other_and_the_exit_code_says_so(notebook, plain_ray, home):
    ray, said = plain_ray(), io.StringIO()
    assert batch(notebook, [], ["0-3"], jobs=2, output=home / "out", stream=said) == 1
    assert ray.order == [(f"seed={seed}", 1) for seed in range(4)]
    *_, failed, summary, hint = said.getvalue().splitlines()
    assert failed == f"seed=1: failed after 1 s: cell 3 failed; log: {home / 'out/seed=1.log'}"
    assert summary.startswith("4 jobs: 3 done, 1 failed, in ")
    assert hint == "the same command tries the failed ones again, and skips the others"


def test_the_job_of_a_lost_worker_starts_again_before_those_that_wait(notebook, plain_ray):
    ray, said = plain_ray({"seed=0": 1}), io.StringIO()
    assert batch(notebook, [], ["0", "2-3"], jobs=1, stream=said) == 0
    assert ray.order == [("seed=0", 1), ("seed=0", 2), ("seed=2", 1), ("seed=3", 1)]
    assert "seed=0: done in 1 s, start 2" in said.getvalue()


def test_a_job_that_loses_every_worker_is_given_up(notebook, plain_ray):
    ray, said = plain_ray({"seed=0": 99}), io.StringIO()
    assert batch(notebook, [], ["0", "2"], jobs=1, stream=said) == 1
    assert ray.order == [("seed=0", start) for start in range(1, STARTS + 1)] + [("seed=2", 1)]
    assert f"seed=0: failed, start {STARTS}: its worker was lost {STARTS} times (NodeDiedError)" in said.getvalue()


def test_an_error_of_ray_itself_fails_its_job_alone(notebook, plain_ray):
    plain_ray({"seed=0": 99}, RaySystemError("out of order"))
    said = io.StringIO()
    assert batch(notebook, [], ["0", "2"], jobs=1, stream=said) == 1
    assert "out of order" in said.getvalue() and "2 jobs: 1 done, 1 failed" in said.getvalue()


def test_jobs_that_are_complete_are_skipped_and_ray_is_not_started(notebook, job, home, monkeypatch):
    run_job(replace(job(seed=4), version=version_of(notebook)))
    monkeypatch.setattr(queue, "_ray", None)
    said = io.StringIO()
    assert batch(notebook, [], ["4"], output=home / "out", stream=said) == 0
    assert said.getvalue().splitlines()[-1].startswith("1 job: 1 skipped, in ")


def test_where_ray_cannot_start_the_exit_code_and_one_line_say_so(notebook, capsys, monkeypatch):
    def init(*_, **__):
        raise ConnectionError("timed out")

    monkeypatch.setattr(queue.ray, "init", init)
    assert main(["batch", str(notebook), "--address", "gpu-1:6379"]) == 2
    assert "address: no Ray cluster answers at gpu-1:6379 (timed out); `ray start --head`" in capsys.readouterr().err
    assert main(["batch", str(notebook)]) == 1
    assert "Ray did not start, perhaps as this machine is too busy" in capsys.readouterr().err


def test_gpus_are_one_a_job_where_there_are_any_and_never_more_than_a_machine_has(monkeypatch):
    nodes = [{"Alive": True, "Resources": {"CPU": 8}}, {"Alive": True, "Resources": {"GPU": 2}},
             {"Alive": False, "Resources": {"GPU": 8}}]  # fmt: skip
    monkeypatch.setattr(queue.ray, "nodes", lambda: nodes)
    monkeypatch.setattr(queue.ray, "cluster_resources", lambda: {"GPU": 2.0})
    assert [queue._gpus(asked) for asked in (None, 0, 2)] == [1, 0, 2]
    assert [queue._as_many(gpus) for gpus in (0, 1, 2)] == [2, 2, 1]
    with pytest.raises(ValueError, match="gpus: 3 a job, but the largest machine of the cluster has 2"):
        queue._gpus(3)
    del nodes[1:]
    assert queue._gpus(None) == 0


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


def test_a_measure_whose_runs_are_not_complete_is_none():
    with pytest.raises(RuntimeError, match="0 of 2 runs are complete"):
        timed(lambda *_: ["true"], runs=2, jobs=2, steps=None)


@pytest.mark.slow
def test_two_real_runs_at_once_here_and_then_nothing_is_left_to_do(home, capsys, monkeypatch):
    heard, play = set(), queue._play

    def listening(*given):
        play(*given)
        for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
            heard.update(c.laddr.ip for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN)

    monkeypatch.setattr(queue, "_play", listening)
    command = ["batch", str(REPO / "notebooks/04_pretrainzero.ipynb"), "-p", "steps", "2", "--seeds", "0-1"]
    assert main([*command, "-o", str(home / "out")]) == 0
    assert "2 jobs: 2 done, in " in capsys.readouterr().out
    assert heard and all(ipaddress.ip_address(ip.removeprefix("::ffff:")).is_loopback for ip in heard)
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
        assert "seed=0: done in " in said and "start 2" in said
        lines = [line.split() for line in (folder.path / "made").read_text().splitlines()]
        assert [int(step) for _, step in lines] == list(range(1, 21))  # none twice: no kernel trained on
        first, second = dict.fromkeys(pid for pid, _ in lines)
        assert not psutil.pid_exists(int(first)) or psutil.Process(int(first)).status() == psutil.STATUS_ZOMBIE
        assert [RunFolder(home / f"data/runs/slow-{seed}").state() for seed in range(3)] == ["complete"] * 3
    finally:
        cluster.shutdown()
