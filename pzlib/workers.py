"""The processes of a run: `supervise` runs `accelerate launch` and notes what failed, `work` trains in each of them.
Leaves out starting and stopping, which is the launcher's; only one that has lost its parent ends itself."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

EVALUATIONS = ("small_world", "evaluation_of")  # what a worker can ask, by name: a function does not cross over


def end_with_parent(seconds=0.5):
    """From now on this process ends, as by SIGTERM, within about `seconds` of its parent's end, however that came."""
    parent = os.getppid()

    def watch():
        while os.getppid() == parent:
            time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def supervise(config, task, failure):
    """`accelerate launch` of `work(task)`; on an error `failure` becomes a JSON file of the process, its signal's name
    and its words. All three are paths."""
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    end_with_parent()
    arguments = ["--config_file", config, "--module", "pzlib.workers", "work", task]
    try:
        launch_command(launch_command_parser().parse_args(arguments))
    except ChildFailedError as error:
        rank, first = root_of(error.failures)
        said = first.message["message"] if isinstance(first.message, dict) else first.message
        name = first.signal_name() if first.exitcode < 0 else None
        Path(failure).write_text(json.dumps({"rank": rank, "signal": name, "said": said}))
        return 1
    except SignalException:  # the launcher's own: the workers are gone
        return 1
    return 0


def root_of(failures):
    """(rank, failure) of the one that failed first, of torch's {rank: ProcessFailure}.

    Whoever was killed is it: the others then fail for want of a neighbour, perhaps within the same second. SIGTERM is
    how torch ends those others.
    """

    def order(item):
        rank, failure = item
        ended = failure.exitcode < 0
        return not ended or failure.exitcode == -signal.SIGTERM, failure.timestamp, ended, -rank

    return min(failures.items(), key=order)


def work(task):
    """Train the run of the JSON file `task` as one of its processes."""
    from torch.distributed.elastic.multiprocessing.errors import record

    end_with_parent()
    record(_train)(**json.loads(Path(task).read_text()))


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
