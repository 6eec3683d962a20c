"""What measures of cost share: a clock that other work does not disturb, watches on functions and steps, a trainer.
Leaves out what is measured, which is `bench` and `costs`."""

import contextlib
import platform
import time
from collections import defaultdict

import torch
from transformers import TrainerCallback

from pzlib.engine.models import load
from pzlib.runs.folder import RunFolder
from pzlib.train import make_trainer, material

WARM = 2  # first steps that are not counted

# On a CPU the seconds are this process's own, summed over its threads: what else the machine does is not counted.
now = time.perf_counter if torch.cuda.is_available() else time.process_time



def device():
    """The processor's name and its threads, or the GPU's name."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    with contextlib.suppress(FileNotFoundError), open("/proc/cpuinfo") as file:
        names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
        return f"{names[0] if names else platform.machine()}, {torch.get_num_threads()} threads"
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"



def timed(do):
    started = now()
    do()
    return now() - started



class Clock:
    """Adds up the seconds spent in some functions, by name, without changing what they do."""

    def __init__(self):
        self.seconds = defaultdict(float)

    def watch(self, owner, name, label):
        original = getattr(owner, name)

        def watched(*args, **kwargs):
            started = now()
            try:
                return original(*args, **kwargs)
            finally:
                self.seconds[label] += now() - started

        setattr(owner, name, watched)
        return lambda: setattr(owner, name, original)



class Stopwatch(TrainerCallback):
    """Seconds of each step of any trainer, generation included."""

    def __init__(self):
        self.seconds = []

    def on_step_begin(self, args, state, control, **_):
        self.started = now()

    def on_step_end(self, args, state, control, **_):
        self.seconds.append(now() - self.started)



def build(run, home):
    """(trainer, folder) of `run` in a temporary folder."""
    folder = RunFolder(f"{home}/{run.run_id}").open(run)
    model, tokenizer = load(run)
    items, _ = material(run, model, tokenizer)
    return make_trainer(run, model, tokenizer, items, folder), folder
