"""A run folder: what is written is read back, a kill or a full disk loses nothing, its state is clear; one process
trains in it, and how that ends is recorded."""

import contextlib
import errno
import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq
import pytest

from pzlib.run import Run
from pzlib.runs import folder as folders
from pzlib.runs.folder import EPISODES, EVAL_COLUMNS, Interrupted, RunFolder, held, training, write_atomic

RUN = Run(tier="smoke", seed=1)


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run").open(RUN, {"corpus_digest": "abc", "corpus_report": {"read": 5}})


@contextlib.contextmanager
def full_disk(room):
    """The kernel refuses to let any file grow beyond `room` bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def python(code, **env):
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], env={**os.environ, **env},
                            stdout=subprocess.PIPE, text=True)  # fmt: skip


def episode(**named):
    return {
        "role": "predictor", "passage_id": "p1", "block": 0, "group_index": 1, "row": 2, "mask": "Rome",
        "kind": "name", "legal": True, "count": 1, "prompt": "Passage : [mask]",
        "completion": "\\boxed{ Rome }", "prediction": "Rome", "reward": 1.0, "advantage": 0.5,
        "length": 3, "clipped": False, "entropy": 0.25, **named,
    }  # fmt: skip


def test_reading_creates_nothing(tmp_path):
    folder = RunFolder(tmp_path / "none")
    assert folder.state() == "new"
    assert folder.status() == {}
    assert len(folder.metrics()) == len(folder.evals()) == len(folder.episodes()) == 0
    assert list(folder.episodes().columns) == [*EPISODES]
    assert not (tmp_path / "none").exists()


def test_open_records_settings_facts_and_environment(folder):
    params = json.loads((folder.path / "params.json").read_text())
    assert params["seed"] == 1
    assert params["run_id"] == RUN.run_id
    assert params["corpus_digest"] == "abc"
    assert Run.from_dict({name: params[name] for name in RUN.to_dict()}) == RUN
    env = json.loads((folder.path / "env.json").read_text())
    assert env["python"] == ".".join(map(str, sys.version_info[:3]))
    assert env["packages"]["trl"] == "1.16.0"
    assert folder.state() == "new"


def test_open_again_checks_settings_and_facts(folder):
    facts = {"corpus_digest": "abc", "corpus_report": {"read": 5}}
    folder.open(RUN, facts)
    folder.open(Run(tier="smoke", seed=1, processes=2, watchdog_minutes=5.0), facts)  # how it is computed may change
    with pytest.raises(ValueError, match=r"steps 12, .*started with .*steps 13.*give the run another name"):
        folder.open(Run(tier="smoke", seed=1, steps=13), facts)
    with pytest.raises(ValueError, match=r'corpus_digest "abc", started with corpus_digest "abd"; give'):
        folder.open(RUN, facts | {"corpus_digest": "abd"})
    with pytest.raises(ValueError, match="corpus_report"):
        folder.open(RUN, {"corpus_digest": "abc"})


def test_a_folder_from_before_a_setting_was_there_has_its_default(folder):
    params = {name: value for name, value in folder.params().items() if name not in ("verifier", "kl")}
    write_atomic(folder.path / "params.json", json.dumps(params))
    facts = {"corpus_digest": "abc", "corpus_report": {"read": 5}}
    assert RunFolder(folder.path).open(RUN, facts).path == folder.path
    with pytest.raises(ValueError, match="made with kl 0.0, .*started with kl 0.5"):
        RunFolder(folder.path).open(Run(tier="smoke", seed=1, kl=0.5), facts)


def test_episodes_from_before_a_column_was_there_are_read_with_nulls(folder):
    folder.write_episodes(1, 0, [{"role": "predictor", "reward": 1.0}])
    first = folder.path / "episodes" / "step_000001.rank0.parquet"
    pq.write_table(pq.read_table(first).drop_columns("verdict"), first)
    folder.write_episodes(2, 0, [{"role": "predictor", "reward": 0.0, "verdict": "wrong"}])
    found = folder.episodes()
    assert list(found.columns) == [*EPISODES] and found["verdict"].isna().tolist() == [True, False]


def test_other_package_versions_are_told_at_a_resume(folder):
    path = folder.path / "env.json"
    env = json.loads(path.read_text())
    env["packages"]["torch"] = "1.0"
    path.write_text(json.dumps(env))
    facts = {"corpus_digest": "abc", "corpus_report": {"read": 5}}
    with pytest.warns(UserWarning, match='begun under torch "1.0", goes on under torch "2'):
        folder.open(RUN, facts)
    folder.set_status("complete")
    with warnings.catch_warnings(action="error"):
        folder.open(RUN, facts)  # nothing goes on here


def test_state_of_a_living_a_finished_and_a_failed_run(folder):
    folder.set_status("running", step=0, steps=12)
    started = folder.status()["started"]
    assert folder.state() == "running"
    folder.open(RUN, {"corpus_digest": "abc", "corpus_report": {"read": 5}})  # our own process may
    folder.set_status("failed", error="OSError: disk full")
    assert folder.state() == "failed"
    folder.set_status("running", step=3)
    assert folder.status()["error"] is None
    folder.set_status("complete", step=12)
    status = folder.status()
    assert (status["state"], status["step"], status["steps"]) == ("complete", 12, 12)
    assert (status["pid"], status["started"]) == (os.getpid(), started)


def test_a_second_start_is_refused_while_the_first_lives_and_allowed_once_it_is_killed(folder):
    code = f"""
        from pzlib.runs.folder import RunFolder
        RunFolder({str(folder.path)!r}).set_status("running", step=4)
        print("up", flush=True)
        import time; time.sleep(60)
    """
    with python(code) as other:
        assert other.stdout.readline() == "up\n"
        assert folder.state() == "running"
        with pytest.raises(ValueError, match=f"process {other.pid} trains it now; wait, or give"):
            folder.open(RUN)
        other.send_signal(signal.SIGKILL)
        while psutil.Process(other.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert folder.state() == "resumable"  # though its parent has not asked after it yet
        other.wait()
    assert folder.state() == "resumable"
    assert folder.status()["step"] == 4


def test_a_reused_process_number_is_not_taken_for_the_run(folder):
    folder.set_status("running")
    status = folder.status() | {"pid_started": 1.0}
    (folder.path / "status.json").write_text(json.dumps(status))
    assert folder.state() == "resumable"


def test_metrics_come_back_with_nulls_for_what_is_undefined(folder):
    folder.append_metrics({"step": 1, "loss": float("nan"), "reward": np.float32(0.5), "n": np.int64(3)})
    folder.append_metrics({"step": 2, "loss": -np.inf, "mask/name": 0.25})
    first, second = [json.loads(line) for line in (folder.path / "metrics.jsonl").read_text().splitlines()]
    assert first == {"step": 1, "loss": None, "reward": 0.5, "n": 3}
    assert second["loss"] is None
    table = folder.metrics()
    assert list(table["step"]) == [1, 2]
    assert pd.isna(table["mask/name"][0])


def test_half_a_line_left_by_a_kill_is_dropped(folder):
    folder.append_metrics({"step": 1})
    with open(folder.path / "metrics.jsonl", "a") as file:
        file.write('{"step": 2, "lo')
    assert list(folder.metrics()["step"]) == [1]
    folder.truncate_after(1)
    folder.append_metrics({"step": 2})
    assert list(folder.metrics()["step"]) == [1, 2]


def test_episodes_keep_their_types_and_order(folder):
    folder.write_episodes(10, 0, [episode()])
    folder.write_episodes(2, 1, [episode(mask=None, prediction=None, reward=None, legal=False)])
    folder.write_episodes(2, 0, [episode(row=0), episode(row=1)])
    table = folder.episodes()
    assert list(table["step"]) == [2, 2, 2, 10]
    assert list(table["row"]) == [0, 1, 2, 2]
    assert (folder.path / "episodes/step_000010.rank0.parquet").exists()
    assert folder.episode_steps() == [2, 10]
    assert len(folder.episodes(steps=[10])) == 1
    assert pd.isna(table["reward"][2])
    assert table["mask"][2] is None or pd.isna(table["mask"][2])
    assert table["completion"][0] == "\\boxed{ Rome }"
    with pytest.raises(ValueError, match="rewards: no such column of episodes; did you mean reward"):
        folder.write_episodes(3, 0, [episode(rewards=1)])


def test_evaluations_are_kept_once_per_step_and_task(folder):
    row = {"step": 0, "task": "sum", "group": "math", "n": 4, "correct": 1, "accuracy": 0.25, "length": 3.5}
    folder.append_eval([row, row | {"task": "weekday"}])
    folder.append_eval([row | {"step": 12, "correct": 3, "accuracy": 0.75}])
    folder.append_eval([row | {"correct": 2, "accuracy": 0.5}])
    table = folder.evals()
    assert list(table.columns) == list(EVAL_COLUMNS)
    assert list(zip(table["step"], table["task"], table["accuracy"], strict=True)) == [
        (0, "weekday", 0.25), (0, "sum", 0.5), (12, "sum", 0.75)]  # fmt: skip
    assert table["reasoned"].isna().all()
    folder.append_eval([])
    assert folder.evals().equals(table)
    with pytest.raises(ValueError, match="acuracy: no such column of eval.csv; did you mean accuracy"):
        folder.append_eval([{"step": 0, "task": "sum", "acuracy": 1}])
    with pytest.raises(ValueError, match="task: no such column of this evaluation row"):
        folder.append_eval([{"step": 0}])


def test_truncate_after_forgets_later_steps_only(folder):
    for step in (1, 2, 3):
        folder.append_metrics({"step": step})
        folder.write_episodes(step, 0, [episode()])
        folder.append_eval([{"step": step, "task": "sum"}])
    folder.truncate_after(2)
    assert list(folder.metrics()["step"]) == [1, 2]
    assert folder.episode_steps() == [1, 2]
    assert list(folder.evals()["step"]) == [1, 2]
    folder.truncate_after(-1)
    assert len(folder.metrics()) == len(folder.evals()) == len(folder.episodes()) == 0


def test_a_full_disk_leaves_every_former_file(folder):
    folder.append_metrics({"step": 1})
    folder.append_eval([{"step": 1, "task": "sum"}])
    folder.set_status("running", step=1)
    before = {p: p.read_bytes() for p in folder.path.rglob("*") if p.is_file()}
    with full_disk(64):
        for action in (
            lambda: folder.set_status("running", step=2),
            lambda: folder.write_episodes(2, 0, [episode()]),
            lambda: folder.append_eval([{"step": 2, "task": "t" * 99}]),
            lambda: folder.append_metrics({"step": 2, "text": "t" * 99}),
        ):
            with pytest.raises(OSError):
                action()
    assert {p: p.read_bytes() for p in folder.path.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    "harm",
    [
        lambda b: b[: len(b) // 2],
        lambda b: b"",
        lambda b: b[:40] + bytes(400) + b[440:],
        lambda b: b[:-1],
        lambda b: b[: (at := b.index(b"Rome"))] + b"Roma" + b[at + 4 :],  # still a good file, but for its checksum
    ],
)
def test_a_damaged_file_of_episodes_is_named_and_the_others_are_read(folder, harm):
    for step in (1, 2):
        folder.write_episodes(step, 0, [episode(row=row) for row in range(50)])
    damaged = folder.path / "episodes/step_000001.rank0.parquet"
    damaged.write_bytes(harm(damaged.read_bytes()))
    with pytest.raises(ValueError, match=r"step_000001\.rank0\.parquet: not as it was written \(.+\); put it back"):
        folder.episodes()
    assert len(folder.episodes([2])) == 50
    damaged.unlink()
    assert len(folder.episodes()) == 50


def test_a_file_that_cannot_be_opened_is_not_called_damaged(folder, monkeypatch):
    folder.write_episodes(1, 0, [episode()])

    def full(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("pyarrow.parquet.ParquetFile", full)
    with pytest.raises(OSError, match="Too many open files"):
        folder.episodes()


def test_write_atomic_replaces_whole_files(tmp_path):
    path = tmp_path / "a.txt"
    write_atomic(path, "é")
    with open(path, encoding="utf-8") as reader:
        write_atomic(path, b"two")
        assert reader.read() == "é"  # whoever reads meanwhile reads the former file to its end
    assert path.read_bytes() == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "no/such/a.txt", "x")


def test_of_two_starts_in_one_moment_one_is_refused_until_the_other_has_let_go(tmp_path):
    folder, said = RunFolder(tmp_path / "run"), "another process trains it now; wait, or give another seed or name"
    with held(folder):
        with pytest.raises(ValueError, match=f"run: {said}"):
            with held(RunFolder(folder.path)):
                pass
        code = "from pzlib.runs.folder import RunFolder; from pzlib.runs.folder import held; import sys\n"
        code += "with held(RunFolder(sys.argv[1])): pass"
        other = subprocess.run([sys.executable, "-c", code, str(folder.path)], capture_output=True, text=True)
        assert said in other.stderr
    with held(folder):
        assert folder.state() == "new"


@pytest.mark.parametrize("number, stops", [(errno.ENOSYS, False), (errno.ENOLCK, False), (errno.EIO, True)])
def test_a_disk_without_locks_is_no_reason_to_stop_and_a_broken_one_is(tmp_path, monkeypatch, number, stops):
    def flock(*_):
        raise OSError(number, "said by the disk")

    monkeypatch.setattr("fcntl.flock", flock)
    if stops:
        with pytest.raises(OSError, match="said by the disk"), held(RunFolder(tmp_path / "run")):
            pass
    else:
        with held(RunFolder(tmp_path / "run")):
            pass


FACTS = {"corpus_digest": "abc", "corpus_report": {"read": 5}}


def test_a_training_that_ends_is_complete_and_holds_the_folder_until_then(folder):
    with training(folder, RUN, FACTS):
        status = folder.status()
        assert (folder.state(), status["step"], status["steps"], status["pid"]) == ("running", 0, 12, os.getpid())
        with pytest.raises(ValueError, match="trains it now"), held(RunFolder(folder.path)):
            pass
    assert (folder.state(), folder.status()["step"]) == ("complete", 12)
    assert (folder.path / "sources.json").is_file()


@pytest.mark.parametrize(
    ("raised", "state", "error"),
    [
        (ValueError("bad word"), "failed", "ValueError: bad word"),
        (TimeoutError("hung"), "failed", "TimeoutError: hung"),
        (KeyboardInterrupt(), "resumable", None),
        (SystemExit(1), "resumable", None),
    ],
)
def test_a_training_that_a_signal_ends_is_resumable_and_one_that_an_error_ends_failed(folder, raised, state, error):
    with pytest.raises(type(raised)), training(folder, RUN, FACTS):
        folder.set_status("running", step=3)
        raise raised
    status = folder.status()
    assert (folder.state(), status["error"], status["step"], status["steps"]) == (state, error, 3, 12)
    with training(folder, RUN, FACTS):  # it has let go, and may go on
        assert folder.status()["error"] is None


def test_an_interrupt_is_one_line_that_says_where_it_goes_on(folder):
    with pytest.raises(Interrupted) as stop, training(folder, RUN, FACTS):
        folder.set_status("running", step=5)
        raise KeyboardInterrupt
    where = "interrupted at step 5 of 12; run it again to resume from step 0, since there is no checkpoint yet"
    assert str(stop.value) == f"run: {where}"
    assert stop.value.__suppress_context__
    for step in (6, 10):
        (folder.path / f"checkpoints/checkpoint-{step}").mkdir()
    (folder.path / "checkpoints/checkpoint-6/manifest.json").touch()
    folder.set_status("resumable", step=11)
    assert folder.progress() == "at step 11 of 12; run it again to resume from step 6"


def test_an_interrupt_is_one_line_in_a_notebook(folder, capsys):
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shell.push({"stop": Interrupted(folder)})
    try:
        shell.run_cell("def deep():\n    raise stop\ndeep()")
    finally:
        InteractiveShell.clear_instance()
    said = capsys.readouterr()
    assert (said.out + said.err).strip().startswith("run: interrupted at step 0 of None; run it again")
    assert (said.out + said.err).count("\n") == 1


def test_the_other_processes_of_a_run_write_nothing(tmp_path):
    folder = RunFolder(tmp_path / "run")
    for raised in (ValueError, None):
        with contextlib.suppress(ValueError), training(folder, RUN, FACTS, main=False):
            if raised:
                raise raised
    assert not folder.path.exists()


def test_what_torch_calls_a_position_is_a_full_disk_where_the_disk_is_full(folder, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=100))
    with pytest.raises(OSError, match="No space left on device"), training(folder, RUN, FACTS):
        raise RuntimeError("unexpected pos 64 vs 0")
    assert folder.status()["error"].startswith("OSError: [Errno 28] No space left on device")
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=2**30))
    with pytest.raises(RuntimeError, match="unexpected pos"), training(folder, RUN, FACTS):
        raise RuntimeError("unexpected pos 64 vs 0")


def test_a_finished_folder_is_opened_by_its_settings_alone_where_no_facts_are_given(folder):
    assert folder.open(RUN).params()["corpus_digest"] == "abc"
    with pytest.raises(ValueError, match="steps 12, .*started with .*steps 13"):
        folder.open(Run(tier="smoke", seed=1, steps=13))


def test_changes_that_are_not_committed_are_of_the_code_and_not_of_the_rows_that_studies_write(tmp_path, monkeypatch):
    for name in ("pzlib/a.py", "data/results/runs.csv", "figures/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("first\n")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    monkeypatch.setattr(folders, "REPO", tmp_path)
    for name, changed in (("data/results/runs.csv", False), ("figures/b.png", False), ("pzlib/a.py", True)):
        folders._git.cache_clear()
        (tmp_path / name).write_text("second\n")
        assert folders.environment()["uncommitted_changes"] is changed, name
    folders._git.cache_clear()
