"""A run on several processes of this machine: started as a child, its log streamed, its failure told, none left over.
Leaves out what they do (pzlib.engine.processes) and how they share a model (pzlib.engine.processes)."""

import contextlib
import importlib.util
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from pzlib.runs.folder import RunFolder, write_atomic

WHOLE = ("ddp", "zero2")  # every process holds all weights, so it can sample and score by itself



def accelerate_config(run, gpus):
    """accelerate's configuration of a run as plain JSON values; gpus: whether each process has one.

    bfloat16 is the arithmetic's, as at one process: FSDP and ZeRO keep the weights they update in float32. DeepSpeed
    takes what is "auto" from the trainer.

    >>> from pzlib.run import Run
    >>> accelerate_config(Run(processes=8, sharding="zero2"), gpus=True)["deepspeed_config"]["zero_stage"]
    2
    """
    kind = {"ddp": "MULTI_GPU", "fsdp": "FSDP"}.get(run.sharding, "DEEPSPEED")
    config = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": kind,  # accelerate knows no other word for several processes of one machine, GPUs or not
        "num_machines": 1,
        "machine_rank": 0,
        "num_processes": run.processes,
        "main_process_port": 0,  # any that is free
        "mixed_precision": "bf16" if run.dtype == "bfloat16" else "no",
        "use_cpu": not gpus,
    }
    if kind == "FSDP":
        config["fsdp_config"] = {
            "fsdp_version": 2,
            "fsdp_reshard_after_forward": True,
            "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",  # the model names its layers itself
            "fsdp_state_dict_type": "FULL_STATE_DICT",  # a checkpoint's weights are a model that anything loads
            "fsdp_cpu_ram_efficient_loading": False,  # every process looks at the weights it loaded
            "fsdp_offload_params": False,
        }
    if kind == "DEEPSPEED":
        config["deepspeed_config"] = {
            "zero_stage": int(run.sharding[-1]),
            "gradient_accumulation_steps": "auto",
            "gradient_clipping": "auto",
            "offload_optimizer_device": "none",
            "offload_param_device": "none",
            "zero3_init_flag": False,
            "zero3_save_16bit_model": True,
        }
    return config



def check(run):
    """ValueError, naming the setting and the remedy, for what a run's sharding cannot do.

    Sharded weights are read by all processes together, so no process can sample or score on its own: vLLM has to.

    >>> from pzlib.run import Run
    >>> check(Run(processes=2, sharding="fsdp"))
    Traceback (most recent call last):
    ValueError: sharding: with 'fsdp' no process can sample by itself; set use_vllm to True, or sharding to ddp
    """
    if run.processes == 1 and run.sharding != "ddp":
        raise ValueError(f"sharding: one process has nobody to share {run.sharding!r} with; raise processes")
    if run.sharding.startswith("zero") and importlib.util.find_spec("deepspeed") is None:
        raise ValueError("sharding: DeepSpeed is not installed; pip install deepspeed on a GPU box, or take fsdp")
    if run.sharding in WHOLE:
        return
    can = "; {}, or sharding to " + ("zero2 or ddp" if run.sharding == "zero3" else "ddp")
    if run.lora_rank:
        raise ValueError(f"lora_rank: adapters are not merged from sharded weights{can.format('set it to 0')}")
    if run.objective in ("sft", "continued_pretraining", "mixed_sft"):
        return
    alone = f"sharding: with {run.sharding!r} no process can"
    if not run.use_vllm:
        raise ValueError(f"{alone} sample by itself{can.format('set use_vllm to True')}")
    if run.objective == "rlp":
        raise ValueError(f"{alone} tell how likely a token is, and none holds the moving average; set sharding to ddp")
    if run.objective in ("entropy_next_token", "rpt") and run.entropy_model == "policy":
        raise ValueError(f"{alone} measure the policy's entropy{can.format('set entropy_model to base')}")
    if run.objective == "rpt" and run.rpt_reward in ("dense", "conditional_dense"):
        raise ValueError(f"{alone} tell how likely a token is{can.format('set rpt_reward to prefix')}")


PARENT = "PZLIB_PARENT"  # names, to a process that ends with its parent, which that is

EVALUATIONS = ("small_world", "evaluation_of")  # what a worker can ask, by name: a function does not cross over



def end_with_parent(seconds=0.5):
    """From now on this process ends, as by SIGTERM, within about `seconds` of its parent's end, however that came.

    The parent is the one that the environment names: while libraries were read, it may have ended already.
    """
    parent = int(os.environ.get(PARENT) or os.getppid())

    def watch():
        while os.getppid() == parent:
            time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()



def supervise(config, task, failure):
    """`accelerate launch` of `work(task)`; on an error `failure` becomes a JSON file of the process (None: the
    launcher itself), its signal's name and its words. All three are paths."""
    end_with_parent()
    os.environ[PARENT] = str(os.getpid())  # to the processes that the launcher starts from here

    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    arguments = ["--config_file", config, "--module", "pzlib.engine.processes", "work", task]
    try:
        launch_command(launch_command_parser().parse_args(arguments))
        return 0
    except SignalException:  # the launcher's own: the workers are gone
        return 1
    except ChildFailedError as error:
        noted = {rank: json.loads(path.read_text()) for rank in error.failures if (path := _note(task, rank)).exists()}
        rank = root_of(error.failures, noted)
        first = error.failures[rank]
        name = first.signal_name() if first.exitcode < 0 else None
        said = noted[rank]["said"] if rank in noted else f"exit code {first.exitcode}"
    except Exception as error:
        rank, name, said = None, None, f"{type(error).__name__}: {error}"
    write_atomic(failure, json.dumps({"rank": rank, "signal": name, "said": said}))
    return 1



def root_of(failures, noted):
    """The rank that failed first, of torch's {rank: ProcessFailure} and of {rank: note} of those that could still say
    when.

    Whoever was killed is it: the others then fail for want of a neighbour, perhaps within the same second. SIGTERM is
    how torch ends those others.
    """

    def order(rank):
        failure = failures[rank]
        ended = failure.exitcode < 0
        when = noted[rank]["time"] if rank in noted else failure.timestamp
        return not ended or failure.exitcode == -signal.SIGTERM, when, ended, -rank

    return min(failures, key=order)



def work(task):
    """Train the run of the JSON file `task` as one of its processes; its last words, if any, lie beside that file.

    Not by torch's own `record`: its file may be cut short by the SIGTERM that a neighbour's end brings, and torch's
    launcher falls over such a file.
    """
    end_with_parent()
    try:
        _train(**json.loads(Path(task).read_text()))
    except Exception as error:
        note = {"time": time.time(), "said": f"{type(error).__name__}: {error}"}
        write_atomic(_note(task, os.environ["RANK"]), json.dumps(note))
        raise



def _note(task, rank):
    return Path(task).with_name(f"failed-{rank}.json")



def _train(settings, evaluation):
    import torch
    from accelerate import PartialState

    from pzlib.evaluation.next_tokens import evaluation_of
    from pzlib.evaluation.small_world import small_world
    from pzlib.run import Run
    from pzlib.train import train

    state = PartialState(cpu=not torch.cuda.is_available())  # on processors accelerate wants to be told
    run, evaluate = Run.from_dict(settings), None
    if state.is_main_process and evaluation:  # the others are never asked
        evaluate = small_world(run.eval_items) if evaluation == "small_world" else evaluation_of(run)
    train(run, evaluate=evaluate)
    state.destroy_process_group()

if __name__ == "__main__":
    sys.exit({"supervise": supervise, "work": work}[sys.argv[1]](*sys.argv[2:]))


CONFIG = "accelerate.json"  # in the run's folder

GRACE = 45  # seconds: torch's launcher gives its workers 30 to end by themselves

WORDS = {error.__name__: error for error in (ValueError, FileNotFoundError, TimeoutError)}



def launch(run, view=None, evaluate=None):
    """Train `run` on `run.processes` processes by `accelerate launch`; returns its RunFolder, as `train` does.

    What they say is printed as they say it. view: as in `train`, updated here from the run's folder. evaluate: None,
    or what `small_world` or `evaluation_of` gave: each process makes its own. If one process fails or is killed all
    end, the run is marked failed with the reason, and this raises: what the process raised where that is in words, else
    RuntimeError. Ctrl-C ends all of them first.
    Raises ValueError beforehand for what cannot be started.
    """
    if "LOCAL_RANK" in os.environ:
        raise RuntimeError("processes: this is one of several already, but accelerate knows of no other")
    check(run)
    evaluation = _name_of(evaluate)
    if evaluation and run.sharding not in WHOLE:
        raise ValueError(
            f"evaluate: with {run.sharding!r} no process can ask the model by itself; give None and evaluate the run "
            "when it has ended, or set sharding to zero2 or ddp"
        )
    folder, gpus = RunFolder(run.folder), _gpus(run)
    if folder.state() == "running":
        raise ValueError(f"{folder.path}: process {folder.status()['pid']} trains it now; wait, or give another seed")
    before = folder.status()
    folder.path.mkdir(parents=True, exist_ok=True)
    config = folder.path / CONFIG
    write_atomic(config, json.dumps(accelerate_config(run, gpus), indent=1) + "\n")
    with tempfile.TemporaryDirectory(prefix="pzlib-") as scratch:
        task, failure = Path(scratch) / "task.json", Path(scratch) / "failure.json"
        task.write_text(json.dumps({"settings": run.to_dict(), "evaluation": evaluation}))
        process = _start([config, task, failure], run.processes, gpus)
        try:
            _follow(process, folder, run.steps, view)
        except BaseException as error:
            _stop(process)
            if _begun(folder, before):
                folder.set_status("failed", error=f"{type(error).__name__}: {error}")
            raise
        if process.returncode:
            _raise(json.loads(failure.read_text()) if failure.exists() else None, process, run, folder, before)
    if view is not None:
        view.update(folder, run.steps, run.steps)
    return folder



def _name_of(evaluate):
    name = getattr(evaluate, "__qualname__", "").split(".")[0]
    if evaluate is not None and name not in EVALUATIONS:
        raise ValueError(
            "evaluate: a function of your own cannot be handed to other processes; give what "
            f"{' or '.join(EVALUATIONS)} returns, or None, or set processes to 1"
        )
    return name



def _gpus(run):
    import torch

    count = torch.cuda.device_count()
    if count and run.processes > count:
        raise ValueError(f"processes: {run.processes} need a GPU each, here are {count}; lower it")
    if not count and run.sharding != "ddp":  # accelerate would give every process the whole model, without a word
        raise ValueError(f"sharding: {run.sharding!r} needs GPUs, and here is none; set it to ddp")
    return bool(count)



def _start(paths, processes, gpus):
    env = {**os.environ, "PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false", PARENT: str(os.getpid())}
    env.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    if not gpus:
        # accelerate would name the device cpu:0, onto which torch restores no optimizer
        env |= {"ACCELERATE_USE_CPU": "true", "ACCELERATE_TORCH_DEVICE": "cpu"}
    return subprocess.Popen(
        [sys.executable, "-m", "pzlib.engine.processes", "supervise", *map(str, paths)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env,
        text=True, errors="replace",
        start_new_session=True,  # Ctrl-C in a terminal reaches this process alone, which then ends the others
    )  # fmt: skip



def _follow(process, folder, steps, view):
    """Prints what the processes say and shows how far they are, until they have ended."""
    lines, seen = queue.SimpleQueue(), None

    def read():
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    line = ""
    while line is not None:
        with contextlib.suppress(queue.Empty):
            line = lines.get(timeout=0.5)
            if line:
                print(line, end="", flush=True)
                continue
        status = folder.status()
        if view is not None and status.get("state") == "running" and status["step"] != seen:
            seen = status["step"]
            view.update(folder, seen, steps)
    process.wait()



def _stop(process):
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()  # its workers see that it is gone



def _begun(folder, before):
    """Whether a run whose processes have ended had begun, and is not complete all the same or another start's now."""
    return folder.status() != before and folder.state() not in ("complete", "running")



def _raise(failure, process, run, folder, before):
    """Mark the run failed, if it had begun, and raise what happened."""
    hung = folder.status().get("error") or ""
    if folder.status() != before and hung.startswith("TimeoutError: "):  # its watchdog's word, before it was ended
        failure = {"rank": 0, "said": hung, "signal": None}
    if failure is None:
        sign = -process.returncode
        failure = {"rank": None, "said": f"exit code {process.returncode}", "signal": None}
        failure["signal"] = signal.Signals(sign).name if sign > 0 else None
    who = "the launcher" if failure["rank"] is None else f"process {failure['rank']} of {run.processes}"
    if failure["signal"]:
        why = " (by the system, if memory ran out)" if failure["signal"] == "SIGKILL" else ""
        said = f"{who} was ended by {failure['signal']}{why}"
    else:
        said = failure["said"] if failure["rank"] == 0 else f"{who}: {failure['said']}"
    if _begun(folder, before):
        folder.set_status("failed", error=said)
    error, _, words = failure["said"].partition(": ")
    if error in WORDS and not failure["signal"]:
        raise WORDS[error](words)
    raise RuntimeError(f"{said}; the same command goes on from the last checkpoint")
