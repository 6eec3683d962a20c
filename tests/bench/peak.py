"""The peak memory of a Run's first two steps, trained for real in a process of its own, beside what `plan` estimates.

`python -m tests.bench.peak` takes the smoke tier's Run; `measure(run)` any. On a CPU a peak below some 100 MiB says
little: what was there before the run may be used again."""

import gc
import json
import os
import runpy
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from pzlib.engine.memory import Architecture, device, memory, packed, peak
from pzlib.run import Run

STEPS = 2  # the optimizer's moments are there from the end of the first
SMALL = {"tier": "smoke", "steps": 1, "passages": 1, "group": 2, "corpus_limit": 4, "name": "before"}
# Every tensor its own mapping, given back when it is freed: else the C library's reserves are counted as the run's.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_ARENA_MAX": "1"}


def measure(run):
    """{"device": its name, "bytes": peak over what there was before, "prompt", "completion": tokens of a row} of a Run.

    It is trained by `python -m pzlib train`, in a temporary folder, without evaluation. Lengths are the longest where
    rows are padded to those, means where they are packed. Raises ValueError where the run fails, with its words.
    """
    from transformers import AutoTokenizer

    from pzlib.engine.processes import start
    from pzlib.runs.folder import RunFolder

    run = replace(run, steps=STEPS, random_span_steps=0, eval_every=0, save_every=100, processes=1, name="measured",
                  model=run.model_source, corpus=run.corpus_source)  # fmt: skip
    with tempfile.TemporaryDirectory() as home:
        for name, settings in (("before", SMALL), ("measured", run.to_dict())):
            Path(home, f"{name}.json").write_text(json.dumps({"settings": settings, "evaluation": None}))
        child = start([sys.executable, __file__, home], MALLOC | {"PZLIB_HOME": home})
        lines = child.communicate()[0].strip().splitlines() or ["no word"]
        if child.returncode:
            raise ValueError(f"measure: the run failed: {lines[-1]}")
        found, rows = json.loads(lines[-1]), RunFolder(Path(home, "data/runs/measured")).episodes()
        prompts = AutoTokenizer.from_pretrained(run.model)(rows["prompt"].tolist())["input_ids"]
    both = [len(ids) for ids in prompts], rows["length"].tolist()
    tokens = [round(sum(n) / len(n)) if packed(run) else max(n) for n in both]
    return found | {"prompt": tokens[0], "completion": int(tokens[1])}


def planned(run, found):
    """(phase, bytes) of the peak that is planned for a Run at the lengths that were `measure`d."""
    where = device("cpu" if found["device"] == "cpu" else "h100-80gb")  # which GPU is no matter: nothing has to fit
    run, arch = replace(run, processes=1), Architecture.of(run.model_source)
    return peak(memory(run, arch, where, found["prompt"], found["completion"]))


def first_steps(home):
    import torch

    from pzlib.engine.processes import end_with_parent

    end_with_parent()
    train(home, "before")  # what is loaded once and stays (libraries, thread pools, kernels) is no part of the run
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        train(home, "measured")
        return {"device": torch.cuda.get_device_name(), "bytes": torch.cuda.max_memory_allocated() - before}
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    before = resident("VmRSS")
    train(home, "measured")
    return {"device": "cpu", "bytes": resident("VmHWM") - before}


def train(home, name):
    """`python -m pzlib train`, in this very process; what fails ends it."""
    sys.argv = ["pzlib", "train", os.path.join(home, f"{name}.json")]
    try:
        runpy.run_module("pzlib", run_name="__main__")
    except SystemExit as error:
        if error.code:
            raise


def resident(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(first_steps(sys.argv[1])))
    else:
        smoke = Run(tier="smoke")
        found = measure(smoke)
        phase, most = planned(smoke, found)
        print(f"measured {found['bytes'] / 2**20:.0f} MiB, planned {most / 2**20:.0f} ({phase}), on {found['device']}")
