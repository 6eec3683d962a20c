"""The processes of a run: `supervise` runs `accelerate launch` and notes what failed, `work` trains in each of them.
Leaves out starting and stopping, which is the launcher's; only one that has lost its parent ends itself."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from pzlib.folder import write_atomic

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

    arguments = ["--config_file", config, "--module", "pzlib.workers", "work", task]
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

    from pzlib.evaluate import small_world
    from pzlib.run import Run
    from pzlib.splits import evaluation_of
    from pzlib.train import train

    state = PartialState(cpu=not torch.cuda.is_available())  # on processors accelerate wants to be told
    run, evaluate = Run.from_dict(settings), None
    if state.is_main_process and evaluation:  # the others are never asked
        evaluate = small_world(run.eval_items) if evaluation == "small_world" else evaluation_of(run)
    train(run, evaluate=evaluate)
    state.destroy_process_group()


if __name__ == "__main__":
    sys.exit({"supervise": supervise, "work": work}[sys.argv[1]](*sys.argv[2:]))
