"""Starting processes: what accelerate reads in each, what is refused in words, what is shown, how all of it ends."""

import json
import os
import subprocess
import sys
import time

import psutil
import pytest
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import FullyShardedDataParallelPlugin, prepare_deepspeed_cmd_env, prepare_multi_gpu_env

import pzlib
from pzlib.engine import processes
from pzlib.engine.processes import FAILED, check, environment, follow, launch, start, stop
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.train import train

CONFIGURATIONS = {  # of `accelerate launch`, as a user would write them for what a run asks for
    "ddp": {"distributed_type": "MULTI_GPU"},
    "fsdp": {"distributed_type": "FSDP", "fsdp_config": {
        "fsdp_version": 2, "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "fsdp_state_dict_type": "FULL_STATE_DICT", "fsdp_cpu_ram_efficient_loading": False}},
} | {
    f"zero{stage}": {"distributed_type": "DEEPSPEED", "deepspeed_config": {
        "zero_stage": stage, "gradient_accumulation_steps": "auto", "gradient_clipping": "auto",
        "zero3_init_flag": False, "zero3_save_16bit_model": True}}
    for stage in (2, 3)
}  # fmt: skip


@pytest.mark.parametrize("sharding", CONFIGURATIONS)
def test_a_process_gets_what_accelerates_own_launcher_would_give_it(sharding, tmp_path):
    shared = {"num_processes": 8, "mixed_precision": "bf16", "main_process_port": 0, "use_cpu": False}
    (tmp_path / "config.json").write_text(json.dumps(CONFIGURATIONS[sharding] | shared))
    arguments = ["--config_file", str(tmp_path / "config.json"), "x.py"]
    args, config, _ = _validate_launch_command(launch_command_parser().parse_args(arguments))
    if args.use_deepspeed:
        args.deepspeed_fields_from_accelerate_config = ",".join(config.deepspeed_config)
    theirs = prepare_deepspeed_cmd_env(args)[1] if args.use_deepspeed else prepare_multi_gpu_env(args)
    ours = environment(Run(processes=8, sharding=sharding, dtype="bfloat16"), gpus=True)
    assert ours.items() <= theirs.items() and ours["ACCELERATE_MIXED_PRECISION"] == "bf16"


def test_fsdp_shards_everything_and_saves_whole_weights(monkeypatch):
    for name, value in environment(Run(processes=8, sharding="fsdp"), gpus=True).items():
        monkeypatch.setenv(name, value)
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2 and plugin.reshard_after_forward is True
    assert "FULL_STATE_DICT" in str(plugin.state_dict_type) and not plugin.cpu_ram_efficient_loading
    assert plugin.auto_wrap_policy.__name__ == "transformer_auto_wrap_policy"


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


RUN = Run(tier="smoke", name="many", steps=4, processes=2)
HELP = """
import json, os, signal, sys, time
from pathlib import Path
from pzlib.engine.processes import as_child
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
task = json.loads(Path(sys.argv[1]).read_text())
run, rank = Run.from_dict(task["settings"]), int(os.environ["RANK"])
folder = RunFolder(run.folder)
"""
BEGUN = "if rank == 0:\n    folder.open(run)\n    folder.set_status('running', step=1, steps=4)\n"


@pytest.fixture
def instead(monkeypatch, home):
    """instead(code): what each process does in the place of training; it knows its run, rank, folder and task."""
    (home / "data/runs").mkdir(parents=True)
    return lambda code: monkeypatch.setattr(processes, "TRAIN", (sys.executable, "-c", HELP + code))


class View:
    def __init__(self):
        self.seen = []

    def update(self, folder, step, steps):
        self.seen.append((step, steps))


def test_what_the_processes_print_and_how_far_they_are_is_shown(instead, capsys):
    instead("""
if rank == 0:
    folder.open(run)
    for step in range(3):
        folder.set_status("running", step=2 * step, steps=4)
        print("line", step, task["evaluation"], os.environ["WORLD_SIZE"])
        time.sleep(0.8)
    folder.set_status("complete", step=4)
""")
    view = View()
    folder = launch(RUN, view, evaluate=Named())
    assert folder.state() == "complete" and capsys.readouterr().out == "".join(f"line {n} asked 2\n" for n in range(3))
    assert view.seen[-1] == (4, 4) and (2, 4) in view.seen and view.seen == sorted(view.seen)


class Named:
    """An evaluation that other processes find by its name."""

    name = "asked"

    def __call__(self, model, tokenizer, step):
        return []


OURS = """
if rank == 0:
    with as_child():
        raise ValueError("passages: none fits;\\n give others")
time.sleep(60)
"""
OTHERS = """
if rank == 1:
    with as_child():
        time.sleep(1)
        raise OSError("No space left")
time.sleep(60)
"""


def test_a_failure_is_raised_in_its_own_words_and_marks_a_run_that_had_begun(instead, capsys):
    instead(OURS)
    with pytest.raises(ValueError, match="^passages: none fits; give others$"):
        launch(RUN)
    assert RunFolder(RUN.folder).state() == "new"
    assert "Traceback" in capsys.readouterr().out

    instead(BEGUN + OTHERS)
    with pytest.raises(RuntimeError, match="process 1 of 2: OSError: No space left; run it again to resume"):
        launch(RUN)
    status = RunFolder(RUN.folder).status()
    assert (status["state"], status["error"], status["step"]) == ("failed", "process 1 of 2: OSError: No space left", 1)

    instead(BEGUN + "time.sleep(1)\nos.kill(os.getpid(), signal.SIGKILL) if rank else time.sleep(60)")
    with pytest.raises(RuntimeError, match="process 1 of 2 was ended by SIGKILL"):
        launch(RUN)
    assert RunFolder(RUN.folder).status()["error"].startswith("process 1 of 2 was ended by SIGKILL (by the system")

    instead(BEGUN + "time.sleep(1)\nsys.exit(3 * rank)")
    with pytest.raises(RuntimeError, match="process 1 of 2: exit code 3"):
        launch(RUN)


def test_of_a_run_that_is_complete_or_trained_by_another_start_nothing_is_spoiled(instead):
    instead("if rank == 0:\n    folder.open(run)\n    folder.set_status('complete', step=4)\n" + OTHERS)
    with pytest.raises(RuntimeError, match="process 1 of 2: OSError"):
        launch(RUN)
    assert RunFolder(RUN.folder).state() == "complete"
    (RUN.folder / "status.json").unlink()

    me = psutil.Process()
    alive = "if rank == 0:\n    status = folder.status() | "
    alive += f"{dict(pid=me.pid, pid_started=me.create_time())}\n"
    alive += "    (folder.path / 'status.json').write_text(json.dumps(status))\n"
    instead(BEGUN + alive + OURS)
    with pytest.raises(ValueError, match="^passages: none fits; give others$"):
        launch(RUN)
    assert RunFolder(RUN.folder).state() == "running"


def test_an_interrupt_ends_the_processes_first(instead):
    class Interrupted:
        def update(self, folder, step, steps):
            self.children = psutil.Process().children()
            raise KeyboardInterrupt

    instead(BEGUN + "time.sleep(60)")
    view, begun = Interrupted(), time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        launch(RUN, view)
    assert len(view.children) == 2 and not any(child.is_running() for child in view.children)
    assert time.monotonic() - begun < 30
    status = RunFolder(RUN.folder).status()
    assert (status["state"], status["error"]) == ("resumable", None)


def test_what_cannot_be_started_is_refused_before_anything_is(instead, home, monkeypatch):
    instead(f"Path({str(home / 'started')!r}).touch()")
    with pytest.raises(ValueError, match="evaluate: a function of your own cannot be handed"):
        launch(RUN, evaluate=lambda model, tokenizer, step: [])
    with pytest.raises(ValueError, match="use_vllm"):
        launch(Run(tier="smoke", processes=2, sharding="fsdp"))
    with pytest.raises(ValueError, match="evaluate: with 'fsdp' no process can ask the model by itself"):
        launch(Run(tier="smoke", processes=2, sharding="fsdp", objective="sft"), evaluate=Named())
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
    assert not (home / "started").exists()


def test_the_process_that_was_killed_is_named_and_not_those_that_lost_it():
    """Both have ended when they are looked at: the one that lost the other with an error, and before it."""
    lost = start([sys.executable, "-c", f"print({FAILED!r} + 'RuntimeError: Connection closed'); raise SystemExit(1)"])
    killed = start([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])
    lost.wait(), killed.wait()
    assert follow([lost, killed]) == (1, "ended by SIGKILL (by the system, if memory ran out)")


def test_a_child_that_does_not_end_is_killed():
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('on'); time.sleep(60)"
    child = start([sys.executable, "-c", deaf])
    child.stdout.readline()
    stop(child, grace=0.2)
    assert child.returncode == -9


CHILD = """
import sys, time
from pzlib.engine.processes import start
code = "import time; from pzlib.engine.processes import as_child\\nwith as_child(): print('on'); time.sleep(60)"
child = start([sys.executable, "-c", code])
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


def test_what_somebody_else_started_goes_on_without_its_parent():
    code = "import threading; from pzlib.engine.processes import end_with_parent as end; end()"
    done = subprocess.run([sys.executable, "-c", f"{code}; print(threading.active_count())"], capture_output=True)
    assert done.stdout == b"1\n"  # nobody watches


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's own")
def test_what_a_process_becomes_by_exec_ends_with_its_parent_too():
    becomes = "import os; from pzlib.engine.processes import end_with_parent_for_good as end; end(); "
    becomes += "os.execv('/bin/sleep', ['sleep', '60'])"
    holds = "import subprocess, sys; c = subprocess.Popen(sys.argv[1:]); print(c.pid, flush=True); c.wait()"
    words = [sys.executable, "-c", holds, sys.executable, "-c", becomes]
    holder = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(holder.stdout.readline()))
    while child.name() != "sleep":
        time.sleep(0.05)
    holder.kill()
    holder.wait(10)
    assert not psutil.wait_procs([child], timeout=10)[1] or child.status() == psutil.STATUS_ZOMBIE


def test_a_sharding_without_processes_is_not_passed_over(tiny_model):
    with pytest.raises(ValueError, match="sharding: one process has nobody to share 'fsdp' with; raise processes"):
        train(Run(tier="smoke", model=str(tiny_model), sharding="fsdp"))


@pytest.mark.parametrize(
    ("running", "threads", "found"),
    [("1/9", "", "1000"), ("2/9", "", "0"), ("2/9", "1", "1000"), ("3/9", "1", "0"), ("1/9", "3,1", "0")]
    + [("0/0", "", "1000"), ("many", "", "1000"), ("1/9", "all", "1000"), (None, "", "1000")],  # nobody counts there
)
def test_openmps_threads_spin_where_cores_are_free(running, threads, found, tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    if running:
        (tmp_path / "loadavg").write_text(f"0.03 0.02 0.00 {running} 1234\n")
    assert pzlib.openmp_spins(str(tmp_path / "loadavg")) == found


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, ("0", "1000")),
        ({"GOMP_SPINCOUNT": "7"}, ("7",)),
        ({"GOMP_SPINCOUNT": "7", "PZLIB_SPINS": "7"}, ("0", "1000")),  # a parent's choice, whose cores were others
        ({"OMP_WAIT_POLICY": "ACTIVE"}, ("",)),
    ],
)
def test_how_openmps_threads_spin_is_chosen_at_import_in_every_process_unless_it_is_given(given, found):
    code = "import pzlib, os; print(os.environ.get('GOMP_SPINCOUNT', ''))"
    own = ("GOMP_SPINCOUNT", "PZLIB_SPINS", "OMP_WAIT_POLICY")
    plain = {name: value for name, value in os.environ.items() if name not in own}
    done = subprocess.run([sys.executable, "-c", code], env=plain | given, capture_output=True, text=True)
    assert done.stdout.strip() in found


def test_no_digit_depends_on_how_threads_spin():
    code = """
import torch
torch.manual_seed(0)
a = torch.randn(400, 400, requires_grad=True)
((a @ a).softmax(1) * a).sum().backward()
print(torch.get_num_threads(), a.grad.sum().item(), torch.randn(10**6).sum().item())
"""
    given = [{"OMP_NUM_THREADS": "2", "GOMP_SPINCOUNT": spins} for spins in ("0", "1000")]
    children = [start([sys.executable, "-c", code], env) for env in given]
    said = [child.communicate()[0] for child in children]
    assert said[0] == said[1] and said[0].startswith("2 ")
