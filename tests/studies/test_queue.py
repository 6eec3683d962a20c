"""The queue: jobs in processes of their own, each once, in order, on GPUs of their own; and what is said meanwhile."""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest

from pzlib.engine import plan as planning
from pzlib.errors import duration
from pzlib.paths import root
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.studies import queue, runs_of
from pzlib.studies.queue.jobs import Here, Row, headline, seconds_left, work
from pzlib.studies.results import collect, folder_of, load

SMOKE = {"tier": "smoke", "steps": 2, "passages": 1, "group": 2, "eval_items": 4, "learning_rate": 1e-3}


@dataclass(frozen=True)
class Toy:
    """A job that executes some Python, with `job` at hand."""

    name: str
    folder: str
    code: str = ""
    after: str = ""

    def path(self, end):
        return Path(self.folder) / (self.name + end)

    def runs(self):
        return []

    def complete(self):
        return self.path(".done").exists()

    def execute(self):
        exec(self.code, {"job": self})
        self.path(".done").touch()
        return 0


@pytest.fixture
def toy(home, monkeypatch):
    """toy(name, code, after) -> Toy, whose class its process finds in this file."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    return lambda name, code="", after="": Toy(name, str(home), code, after)


def test_time_left_is_what_the_done_jobs_took():
    rows = [Row("a", "done", 40), Row("b", "done", 80), Row("c", "failed", 1), Row("d", "running", 45), Row("e")]
    assert seconds_left(rows) == 60 + 15  # a job takes (40 + 80) / 2: one is queued, of one 15 s are left
    assert headline(rows) == "5 jobs: 2 done, 1 failed, 1 running, 1 queued, about 1 min 15 s left (d)"
    assert seconds_left([Row("a", "running", 5), Row("b")]) is None
    resumed = Row("a", "running", 30, step=10, steps=40, begun=7)  # three steps in 30 s: forty take 400 s
    assert seconds_left([resumed]) == 400 - 30
    assert seconds_left([Row("a", "running", 1, step=7, steps=40, begun=7)]) is None
    assert seconds_left([Row("a", "done", 60), Row("b", "running", 90)]) == 0  # over its time, not below zero
    assert headline([Row("a", "done", 60), Row("b", "skipped")]) == "2 jobs: 1 done, 1 skipped"


def test_a_failed_job_stops_no_other_but_those_that_need_it(toy):
    jobs = [toy("needs", after="bad"), toy("bad", "raise KeyError('no such seed')"), toy("good"), toy("old")]
    jobs[3].path(".done").touch()
    done, said = [], io.StringIO()
    rows = work(jobs, lambda: Here(2, None), said, lambda job: done.append(job.name))
    assert [(row.name, row.state) for row in rows[:2]] == [("needs", "failed"), ("bad", "failed")]
    assert [(row.name, row.state) for row in rows[2:]] == [("good", "done"), ("old", "skipped")]
    assert rows[0].why == "bad failed, whose model it needs" and not jobs[0].path(".log").exists()
    assert rows[1].why == f"KeyError: 'no such seed'; log: {jobs[1].path('.log')}"
    assert done == ["old", "good"] and said.getvalue().startswith("4 jobs: 1 skipped, ")


def test_without_anything_to_do_no_machine_is_asked(toy):
    toy("old").path(".done").touch()
    assert [row.state for row in work([toy("old")], on=None)] == ["skipped"]


def test_a_job_that_a_signal_ended_is_named_with_it(toy):
    (row,) = work([toy("bad", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")], lambda: Here(1, None))
    assert (row.state, row.why.split(";")[0]) == ("failed", "ended by SIGSEGV")


def test_of_two_queues_at_once_one_does_a_job_and_the_other_waits_for_it(toy):
    count = "import time; open(job.path('.made'), 'a').write('x'); time.sleep(1)"
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: work([toy("one", count)], lambda: Here(1, None)), range(2)))
    assert [row.state for rows in found for row in rows] == ["done", "done"]
    assert toy("one").path(".made").read_text() == "x"


def test_each_job_has_its_own_gpus(toy, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    see = "import os, time; time.sleep(0.5); job.path('.seen').write_text(os.environ['CUDA_VISIBLE_DEVICES'])"
    jobs = [toy(name, see) for name in "abc"]
    work(jobs, lambda: Here(None, None))
    seen = [job.path(".seen").read_text() for job in jobs]
    assert set(seen[:2]) == {"4", "6"} and seen[2] in ("4", "6")
    found = [(Here(jobs, gpus).gpus, Here(jobs, gpus).at_once) for jobs, gpus in ((None, 2), (5, 1), (None, 0), (3, 0))]
    assert found == [(2, 1), (1, 2), (0, 2), (0, 3)]
    with pytest.raises(ValueError, match="gpus: 3 a job, but the largest machine here has 2"):
        Here(1, 3)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert Here(None, None).gpus == 0


def test_jobs_on_cores_keep_the_pages_of_freed_tensors_unless_the_user_says_so(toy, monkeypatch):
    see = "import os; job.path('.seen').write_text(os.environ.get('MALLOC_MMAP_MAX_', 'unset'))"

    def seen(name):
        work([toy(name, see)], lambda: Here(1, None))
        return toy(name).path(".seen").read_text()

    monkeypatch.delenv("MALLOC_MMAP_MAX_", raising=False)
    assert seen("cores") == "0"
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "65536")
    assert seen("own") == "65536"
    monkeypatch.delenv("MALLOC_MMAP_MAX_")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert seen("gpu") == "unset"


def test_a_study_goes_to_the_cluster_that_is_named_with_a_gpu_for_each_process_of_a_run(home, monkeypatch):
    def cluster(*asked):
        raise ValueError(f"cluster: {asked}")

    monkeypatch.setattr(queue, "Cluster", cluster)
    for processes, gpus in ((8, 8), (1, None)):
        with pytest.raises(ValueError, match=re.escape(f"cluster: ('head:6379', 3, {gpus})")):
            queue.play([Run(**SMOKE | {"passages": 8}, processes=processes)], 3, address="head:6379")


def test_a_queue_that_is_stopped_ends_its_jobs(toy):
    job = toy("long", "import os, time; job.path('.pid').write_text(str(os.getpid())); time.sleep(60)")

    class Stopped(Here):
        def poll(self, handle):
            if job.path(".pid").exists():
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work([job], lambda: Stopped(1, None))
    with pytest.raises(ProcessLookupError):
        os.kill(int(job.path(".pid").read_text()), 0)


def test_a_study_without_jobs_runs_nothing_and_says_so(home, capsys):
    run = Run(**SMOKE)
    assert queue.play([run], jobs=0) == {run.run_id: "not run"}
    assert capsys.readouterr().out == "1 runs: 0 stored, 1 not run\n" and not run.folder.exists()


def test_a_home_without_rows_counts_those_that_its_figures_are_drawn_from(home, capsys):
    runs = runs_of(["baselines"], "mini")
    assert len(load("runs")) > len(runs) and not folder_of("mini").exists()  # the repository's
    assert set(queue.play(runs, jobs=0).values()) == {"stored"}
    assert capsys.readouterr().out == f"{len(runs)} runs: {len(runs)} stored, 0 not run\n"
    assert queue.plan(runs).startswith(f"{len(runs)} runs: 0 stored")  # they would be made in this home


def test_a_study_whose_rows_are_all_stored_makes_nothing(home):
    run, said = Run(**SMOKE), io.StringIO()
    folder_of("smoke").mkdir(parents=True)
    row = pd.DataFrame([run.to_dict() | {"run_id": run.run_id, "hours": 0.1}])
    row.to_csv(folder_of("smoke") / "runs.csv", index=False)
    assert queue.plan([run]).startswith("1 runs: 0 stored, 1 to make")  # its rows have no scores
    row.to_csv(folder_of("smoke") / "tinybench.csv", index=False)
    assert queue.play([run], stream=said) == {run.run_id: "stored"}
    assert said.getvalue() == "1 runs: 1 stored, 0 to make\n" and not run.folder.exists()


def test_a_plan_goes_by_the_time_of_stored_runs_alike(home):
    run = Run(tier="mini", seed=7, learning_rate=1e-3)
    assert queue.plan([run, run], jobs=1) == "1 runs: 0 stored, 1 to make, about 3 min 0 s at 1 at a time"
    folder_of("mini").mkdir(parents=True)
    like = {"objective": "pretrainzero", "model": run.model, "tier": "mini", "corpus": "another"}
    rows = [{"run_id": "a", **like, "hours": 0.2, "steps": 400}]
    rows += [{**rows[0], "run_id": "b", "objective": "random_span", "hours": 9.0}]
    pd.DataFrame(rows).to_csv(folder_of("mini") / "runs.csv", index=False)
    assert queue.plan([run], jobs=2).endswith("about 3 min 0 s at 2 at a time")  # 0.1 h for its 200 steps, halved
    rows += [{**rows[0], "run_id": "c", "corpus": "tinywiki_clean", "hours": 0.4}]  # twice as dear, on another text
    rows[0] |= {"corpus": run.corpus}
    pd.DataFrame(rows).to_csv(folder_of("mini") / "runs.csv", index=False)
    clean = Run(tier="mini", seed=7, corpus="tinywiki_clean")
    for each, said in ((run, "6 min 0 s"), (clean, "12 min 0 s"), (Run(corpus="tinymath"), "9 min 0 s")):
        assert queue.plan([each], jobs=1).endswith(f"about {said} at 1 at a time")
    # an objective of which sweeps alone are stored, from a model that no stored run has
    (folder_of("mini") / "sweep").mkdir()
    sweep = pd.DataFrame([{**rows[0], "run_id": "s", "objective": "rlvr", "hours": 0.1, "steps": 100}])
    sweep.to_csv(folder_of("mini") / "sweep/runs.csv", index=False)
    assert queue.plan([Run(objective="rlvr", model="a-run")], jobs=1).endswith("about 6 min 0 s at 1 at a time")
    assert queue.plan([Run(objective="rlp")], jobs=1).endswith("about 3 min 0 s at 1 at a time")


def test_a_plan_of_runs_that_no_one_has_made_on_gpus_is_that_of_pzlib_plan_and_says_what_does_not_fit(home):
    runs = runs_of(["baselines"], "paper", [0])
    made = [planning.plan(run, gpus=1) for run in runs]
    seconds = sum(one.run.steps * one.work(one.prompt, one.completion).seconds for one in made)
    said = queue.plan(runs, jobs=2)
    assert seconds > 3600 * 1000
    assert f"4 to make, about {duration(seconds / 2)} at 2 at a time, as `pzlib plan` estimates" in said
    assert said.endswith("; as they are 4 do not fit: `pzlib plan --tier paper` names settings that do")
    fits = runs_of(["baselines"], "paper", [0], {"processes": 8, "sharding": "fsdp", "use_vllm": True})
    assert "fit" not in queue.plan(fits[:2], jobs=1)
    after = runs_of(["rlvr"], "gpu", [0])  # from runs, of whose models there is no config yet
    assert "about 0 s" not in queue.plan(after, jobs=1) and "not known" not in queue.plan(after, jobs=1)
    unknown = [replace(run, model="someone/model-of-no-hub") for run in runs[:1]]
    assert queue.plan(unknown, jobs=1) == "1 runs: 0 stored, 1 to make, how long 1 of them take is not known"


@pytest.mark.slow
def test_the_runs_of_a_study_that_is_killed_end_with_it(home):
    run = Run(**SMOKE | {"steps": 5000})
    play = f"from pzlib.studies import queue; from pzlib.run import Run; queue.play([Run(**{run.to_dict()})], 1)"
    process = subprocess.Popen([sys.executable, "-c", play], stdout=subprocess.DEVNULL)
    folder, end = RunFolder(run.folder), time.monotonic() + 100
    while folder.state() != "running":
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    while folder.state() == "running":
        assert time.monotonic() < end, "it goes on alone"
        time.sleep(0.1)
    assert folder.state() == "resumable"


@pytest.mark.slow
def test_a_study_makes_what_is_missing_says_what_failed_and_repeats_nothing(home):
    good, bad = Run(**SMOKE), Run(**SMOKE, seed=1, model="data/nowhere")
    said = io.StringIO()
    bad.folder.mkdir(parents=True)
    RunFolder(bad.folder).set_status("failed", error="KeyboardInterrupt: ")  # an earlier try's
    found = queue.play([good, bad, good], stream=said)
    assert found[good.run_id] == "complete" and len(found) == 2
    assert found[bad.run_id].startswith("failed: FileNotFoundError: model: cannot load 'data/nowhere'")
    assert said.getvalue().startswith("2 runs: 0 stored, 2 to make, about 3 min 0 s at 2 at a time\n2 jobs: ")
    assert "cannot load 'data/nowhere'" in (bad.folder / "log.txt").read_text()
    assert load("runs", "smoke")["run_id"].tolist() == [good.run_id]
    assert set(load("tinybench", "smoke")["run_id"]) == set(load("training", "smoke")["run_id"]) == {good.run_id}
    before = (folder_of("smoke") / "runs.csv").read_bytes()
    RunFolder(good.folder).path.rename(home / "gone")  # another machine that has only the tables
    assert queue.play([good], stream=said) == {good.run_id: "stored"}
    assert said.getvalue().endswith("1 runs: 1 stored, 0 to make\n") and not good.folder.exists()
    assert (folder_of("smoke") / "runs.csv").read_bytes() == before


@pytest.mark.slow
def test_a_study_makes_starts_first_and_goes_on_from_their_models(home):
    live = SMOKE | {"group": 8, "passages": 4}  # so many answers that some group is right and wrong: the weights move
    start, said = Run(**live), io.StringIO()
    after = live | {"objective": "rlvr"}
    half, full = (Run(**after, model=start.run_id + at) for at in ("@1", ""))
    found = queue.play([half, full], stream=said, starts=[start])
    assert found == dict.fromkeys([run.run_id for run in (half, full, start)], "complete")
    plan = "2 runs: 0 stored, 2 to make, and 1 that they start from, about 4 min 30 s at 2 at a time"
    assert said.getvalue().startswith(plan) and set(load("runs", "smoke")["run_id"]) == set(found)
    prints = {run: RunFolder(run.folder).params()["model_fingerprint"] for run in (start, half, full)}
    assert len(set(prints.values())) == 3  # the base, the start at half of its steps, the start
    tables = {path.name: path.read_bytes() for path in folder_of("smoke").glob("*.csv")}
    lost, model = RunFolder(start.folder), start.folder / "model/model.safetensors"
    weights = model.read_bytes()
    shutil.rmtree(lost.path)
    more = Run(**after | {"seed": 1}, model=start.run_id)
    found = queue.play([full, more], stream=io.StringIO(), starts=[start])
    assert found[more.run_id] == "complete" and found[full.run_id] == "stored"
    assert model.read_bytes() == weights and lost.evals().empty  # made again for its model, not asked again
    for name, before in tables.items():  # and what is stored of it stays
        before, left = pd.read_csv(io.BytesIO(before)), pd.read_csv(folder_of("smoke") / name)
        kept = left[left["run_id"] != more.run_id].reset_index(drop=True)
        pd.testing.assert_frame_equal(kept[list(before)], before, check_dtype=False)
    collect(root() / "data/runs", root() / "data/results")  # nor does `pzlib results` take it for news
    again = pd.read_csv(folder_of("smoke") / "runs.csv").set_index("run_id").loc[start.run_id, "hours"]
    assert again == pd.read_csv(io.BytesIO(tables["runs.csv"])).set_index("run_id").loc[start.run_id, "hours"]
    for path in folder_of("smoke").glob("*.csv"):  # its rows gone, it is not taken for a run with scores
        path.unlink()
    said = queue.play([start], stream=io.StringIO())[start.run_id]
    assert "is complete without scores, and no rows of it are stored; remove data/runs/" in said
    assert lost.state() == "complete"
    collect(root() / "data/runs", root() / "data/results")
    assert start.run_id in set(load("runs", "smoke")["run_id"])  # its settings and training are; a study wants scores
    assert "is complete without scores" in queue.play([start], stream=io.StringIO())[start.run_id]
