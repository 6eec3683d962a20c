"""Starting several processes: what accelerate is told, what is refused in words, what is shown, how all of it ends."""

import json
import os
import subprocess
import sys
import time

import psutil
import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from pzlib.engine import processes
from pzlib.engine.processes import accelerate_config, check, launch, root_of
from pzlib.evaluation.next_tokens import evaluation_of
from pzlib.evaluation.small_world import small_world
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.train import train


def told(run, tmp_path, gpus=True):
    """(accelerate's arguments, what its parser made of the file) for the configuration of a run."""
    path = tmp_path / "accelerate.json"
    path.write_text(json.dumps(accelerate_config(run, gpus)))
    load_config_from_file(str(path))  # refuses keys that it does not know
    arguments = launch_command_parser().parse_args(["--config_file", str(path), "--module", "pzlib.engine.processes"])
    return _validate_launch_command(arguments)[:2]


def test_accelerate_reads_every_configuration(tmp_path):
    args, config = told(Run(processes=8, dtype="bfloat16"), tmp_path)
    assert (args.multi_gpu, args.num_processes, args.mixed_precision) == (True, 8, "bf16")
    assert not args.use_fsdp and not args.use_deepspeed and config.num_machines == 1

    args, config = told(Run(processes=2), tmp_path, gpus=False)
    assert (args.multi_gpu, args.num_processes, args.mixed_precision, config.use_cpu) == (True, 2, "no", True)


def test_fsdp_shards_everything_and_saves_whole_weights(tmp_path, monkeypatch):
    args, _ = told(Run(processes=8, sharding="fsdp", dtype="bfloat16"), tmp_path)
    assert args.use_fsdp and not args.multi_gpu
    env = prepare_multi_gpu_env(args)
    for name, value in env.items():
        if name.startswith(("FSDP", "ACCELERATE")):
            monkeypatch.setenv(name, value)
    assert env["ACCELERATE_MIXED_PRECISION"] == "bf16"
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2 and plugin.reshard_after_forward is True
    assert "FULL_STATE_DICT" in str(plugin.state_dict_type) and not plugin.cpu_ram_efficient_loading
    assert plugin.auto_wrap_policy.__name__ == "transformer_auto_wrap_policy"


@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_takes_its_stage_and_leaves_the_rest_to_the_trainer(tmp_path, stage):
    args, config = told(Run(processes=8, sharding=f"zero{stage}", dtype="bfloat16"), tmp_path)
    assert args.use_deepspeed
    args.deepspeed_fields_from_accelerate_config = ",".join(config.deepspeed_config)
    _, env = prepare_deepspeed_cmd_env(args)
    assert env["ACCELERATE_DEEPSPEED_ZERO_STAGE"] == str(stage)
    assert env["ACCELERATE_GRADIENT_ACCUMULATION_STEPS"] == env["ACCELERATE_GRADIENT_CLIPPING"] == "auto"
    assert env["ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL"] == "true"


FSDP = {"processes": 8, "sharding": "fsdp"}


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"sharding": "fsdp"}, "sharding: one process has nobody to share 'fsdp' with; raise processes"),
        (FSDP, "set use_vllm to True, or sharding to ddp"),
        (FSDP | {"objective": "rlp", "use_vllm": True}, "none holds the moving average; set sharding to ddp"),
        (FSDP | {"objective": "sft", "lora_rank": 4}, "lora_rank: adapters are not merged from sharded weights"),
        (FSDP | {"objective": "entropy_next_token", "use_vllm": True}, "set entropy_model to base"),
        (FSDP | {"objective": "rpt", "rpt_reward": "dense", "use_vllm": True}, "set rpt_reward to prefix"),
        (FSDP | {"sharding": "zero3"}, "sharding: DeepSpeed is not installed"),
    ],
)
def test_what_sharding_cannot_do_is_refused_in_words(settings, said):
    with pytest.raises(ValueError, match=said):
        check(Run(**settings))


def test_what_sharding_can_do_is_let_through(monkeypatch):
    monkeypatch.setattr(processes.importlib.util, "find_spec", lambda name: True)
    for settings in (
        {},
        {"processes": 2, "objective": "rlp", "lora_rank": 4},
        {"processes": 2, "sharding": "zero2", "objective": "rlp"},
        FSDP | {"use_vllm": True},
        FSDP | {"use_vllm": True, "objective": "rpt"},
        FSDP | {"objective": "continued_pretraining"},
        FSDP | {"sharding": "zero3", "objective": "rlvr", "use_vllm": True},
    ):
        check(Run(**settings))


def test_processes_are_no_part_of_what_a_run_is(home):
    one, two = Run(tier="smoke"), Run(tier="smoke", processes=2, sharding="fsdp")
    assert one.run_id == two.run_id
    folder = RunFolder(one.folder).open(one)
    assert folder.open(two).params()["processes"] == 1
    with pytest.raises(ValueError, match="seed"):
        folder.open(Run(tier="smoke", name=one.run_id, seed=1))


def stand_in(monkeypatch, code):
    """The launcher starts `code`, which knows its task, failure and folder (paths), in place of accelerate."""
    started = []

    def start(paths, processes, gpus):
        given = dict(zip(("config", "task", "failure"), map(str, paths), strict=True))
        code_ = f"from pathlib import Path\nconfig, task, failure = map(Path, {list(given.values())!r})\n{HELP}\n{code}"
        started.append(
            subprocess.Popen([sys.executable, "-c", code_], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
        return started[-1]

    monkeypatch.setattr(processes, "_start", start)
    return started


HELP = """
import json, sys, time
from pzlib.runs.folder import RunFolder
from pzlib.run import Run
run = Run.from_dict(json.loads(task.read_text())["settings"])
folder = RunFolder(run.folder)
"""


class View:
    def __init__(self):
        self.seen = []

    def update(self, folder, step, steps):
        self.seen.append((step, steps))


RUN = Run(tier="smoke", name="many", steps=4, processes=2)


def test_what_the_processes_say_and_how_far_they_are_is_shown(home, monkeypatch, capsys):
    code = """
folder.open(run)
for step in range(3):
    folder.set_status("running", step=2 * step, steps=4)
    print("line", step, flush=True)
    time.sleep(0.8)
folder.set_status("complete", step=4)
"""
    (home / "data/runs").mkdir(parents=True)
    stand_in(monkeypatch, code)
    view = View()
    folder = launch(RUN, view)
    assert folder.state() == "complete" and capsys.readouterr().out == "line 0\nline 1\nline 2\n"
    assert view.seen[-1] == (4, 4) and (2, 4) in view.seen and view.seen == sorted(view.seen)
    assert json.loads((folder.path / "accelerate.json").read_text())["num_processes"] == 2


def test_a_failure_is_raised_in_its_own_words_and_marks_a_run_that_had_begun(home, monkeypatch):
    me = psutil.Process()
    note = "failure.write_text(json.dumps({}))\nsys.exit(1)"
    own = {"rank": 0, "signal": None, "said": "ValueError: passages: none fits; give others"}
    stand_in(monkeypatch, note.format(own))
    with pytest.raises(ValueError, match="^passages: none fits; give others$"):
        launch(RUN)
    assert RunFolder(RUN.folder).state() == "new"

    begun = "folder.open(run)\nfolder.set_status('running', step=1, steps=4)\n"
    other = {"rank": 1, "signal": None, "said": "OSError: No space left"}
    stand_in(monkeypatch, begun + note.format(other))
    with pytest.raises(RuntimeError, match="process 1 of 2: OSError: No space left; the same command goes on"):
        launch(RUN)
    status = RunFolder(RUN.folder).status()
    assert (status["state"], status["error"], status["step"]) == ("failed", "process 1 of 2: OSError: No space left", 1)

    # of a run that is complete, or that another start trains, nothing is spoiled
    stand_in(monkeypatch, "folder.open(run)\nfolder.set_status('complete', step=4)\n" + note.format(other))
    with pytest.raises(RuntimeError, match="process 1 of 2: OSError"):
        launch(RUN)
    assert RunFolder(RUN.folder).state() == "complete"
    (RUN.folder / "status.json").unlink()
    alive = f"status = folder.status() | {dict(pid=me.pid, pid_started=me.create_time())}\n"
    alive += "(folder.path / 'status.json').write_text(json.dumps(status))\n"
    stand_in(monkeypatch, begun + alive + note.format(own))
    with pytest.raises(ValueError, match="^passages: none fits; give others$"):
        launch(RUN)
    assert RunFolder(RUN.folder).state() == "running"
    (RUN.folder / "status.json").unlink()

    stand_in(monkeypatch, begun + "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(RuntimeError, match="the launcher was ended by SIGKILL"):
        launch(RUN)


def test_an_interrupt_ends_the_processes_first(home, monkeypatch):
    class Interrupted:
        def update(self, folder, step, steps):
            raise KeyboardInterrupt

    started = stand_in(monkeypatch, "folder.open(run)\nfolder.set_status('running', step=1, steps=4)\ntime.sleep(60)")
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        launch(RUN, Interrupted())
    assert started[0].poll() is not None and time.monotonic() - begun < 30
    assert RunFolder(RUN.folder).status()["error"].startswith("KeyboardInterrupt")


def test_what_cannot_be_started_is_refused_before_anything_is(home, monkeypatch):
    started = stand_in(monkeypatch, "")
    with pytest.raises(ValueError, match="evaluate: a function of your own cannot be handed"):
        launch(RUN, evaluate=lambda model, tokenizer, step: [])
    with pytest.raises(ValueError, match="use_vllm"):
        launch(Run(tier="smoke", processes=2, sharding="fsdp"))
    with pytest.raises(ValueError, match="evaluate: with 'fsdp' no process can ask the model by itself"):
        launch(Run(tier="smoke", processes=2, sharding="fsdp", objective="sft"), evaluate=small_world(4))
    for count, changes, said in (
        (1, {}, "processes: 2 need a GPU each, here are 1; lower it"),
        (0, {"sharding": "fsdp", "objective": "sft"}, "sharding: 'fsdp' needs GPUs, and here is none"),
    ):
        monkeypatch.setattr("torch.cuda.device_count", lambda count=count: count)
        with pytest.raises(ValueError, match=said):
            launch(Run(tier="smoke", processes=2, **changes))
    folder = RunFolder(RUN.folder).open(RUN)
    folder.set_status("running", step=1, steps=4)
    with pytest.raises(ValueError, match=f"process {os.getpid()} trains it now"):
        launch(RUN)
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(RuntimeError, match="one of several already"):
        launch(RUN)
    assert not started


def test_the_evaluations_of_the_notebooks_and_studies_are_known_by_name():
    assert processes._name_of(None) == ""
    assert processes._name_of(small_world(4)) == "small_world"
    assert processes._name_of(evaluation_of(Run(tier="smoke"))) == "small_world"
    assert processes._name_of(evaluation_of(Run(tier="smoke", objective="rpt"))) == "evaluation_of"


def failure(exitcode, timestamp=5):
    made = ProcessFailure(local_rank=0, pid=1, exitcode=exitcode, error_file="")
    made.timestamp = timestamp
    return made


def test_the_process_that_was_killed_is_named_and_not_those_that_lost_it():
    assert root_of({0: failure(1), 1: failure(-9)}, {}) == 1
    assert root_of({0: failure(1), 1: failure(-9)}, {0: {"time": 4.5}}) == 1
    assert root_of({0: failure(1), 1: failure(-15)}, {}) == 0
    assert root_of({0: failure(1), 1: failure(1)}, {0: {"time": 4.9}, 1: {"time": 4.8}}) == 1


@pytest.mark.parametrize(
    "raised, noted, found",
    [
        (None, {}, None),
        (
            ChildFailedError("x", {0: failure(-15), 1: failure(-9)}),
            {0: "RuntimeError: Connection closed by peer"},
            {"rank": 1, "signal": "SIGKILL", "said": "exit code -9"},
        ),
        (
            ChildFailedError("x", {0: failure(1), 1: failure(-15)}),
            {0: "OSError: No space left"},
            {"rank": 0, "signal": None, "said": "OSError: No space left"},
        ),
        (ValueError("port in use"), {}, {"rank": None, "signal": None, "said": "ValueError: port in use"}),
    ],
)
def test_whatever_ends_the_launcher_is_noted(tmp_path, monkeypatch, raised, noted, found):
    def launch_command(args):
        assert args.training_script_args == ["work", str(task)]
        if raised:
            raise raised

    task = tmp_path / "task.json"
    for rank, said in noted.items():
        (tmp_path / f"failed-{rank}.json").write_text(json.dumps({"time": 5.0, "said": said}))
    config = tmp_path / "accelerate.json"
    config.write_text(json.dumps(accelerate_config(RUN, gpus=False)))
    monkeypatch.setattr("accelerate.commands.launch.launch_command", launch_command)
    monkeypatch.setattr(processes, "end_with_parent", lambda: None)
    code = processes.supervise(str(config), str(task), tmp_path / "failure.json")
    assert code == (1 if raised else 0)
    assert (json.loads((tmp_path / "failure.json").read_text()) if raised else None) == found


def test_a_workers_last_words_lie_beside_its_task(tmp_path, monkeypatch):
    (tmp_path / "task.json").write_text(json.dumps({"settings": {}, "evaluation": ""}))
    monkeypatch.setattr(processes, "end_with_parent", lambda: None)
    monkeypatch.setattr(processes, "_train", lambda settings, evaluation: 1 // 0)
    monkeypatch.setenv("RANK", "3")
    with pytest.raises(ZeroDivisionError):
        processes.work(tmp_path / "task.json")
    assert json.loads((tmp_path / "failed-3.json").read_text())["said"].startswith("ZeroDivisionError: ")


CHILD = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c",
    "import time; from pzlib.engine.processes import end_with_parent; end_with_parent(0.1); print('on', flush=True); "
    "time.sleep(60)"], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def test_who_has_lost_its_parent_ends_itself():
    parent = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE)
    child = psutil.Process(int(parent.stdout.readline()))
    assert child.is_running()
    parent.kill()
    parent.wait()
    child.wait(timeout=10)


def test_who_had_lost_its_parent_before_it_could_look_ends_itself():
    code = "from pzlib.engine.processes import end_with_parent; end_with_parent(0.1); import time; time.sleep(60)"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    orphan = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PZLIB_PARENT": str(gone.pid)})
    assert orphan.wait(timeout=30) == -15


def test_a_sharding_without_processes_is_not_passed_over(tiny_model):
    with pytest.raises(ValueError, match="sharding: one process has nobody to share 'fsdp' with; raise processes"):
        train(Run(tier="smoke", model=str(tiny_model), sharding="fsdp"))
