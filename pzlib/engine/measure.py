"""The peak memory of a run's first two steps, measured in a process of its own, for `pzlib.engine.plan` to be held against.
Leaves out single parts: a CPU knows no allocator's books, so it is resident memory less what stood before the run."""

import gc
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace

from pzlib.engine.shares import packed
from pzlib.run import Run

STEPS = 2  # the optimizer's moments are there from the end of the first

# Every tensor its own mapping, given back when it is freed: else the C library's reserves are counted as the run's.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_ARENA_MAX": "1"}



def measure(run):
    """{"device": its name, "bytes": peak over what stood before, "prompt", "completion": tokens of a row} of a Run.

    Its first two steps are trained for real, in a temporary folder, without evaluation. Lengths are the longest where
    rows are padded to those, means where they are packed. On a CPU a peak below some 100 MiB says little: what stood
    before may be used again. Raises ValueError where the run itself fails, with its words.
    """
    run = replace(run, steps=STEPS, random_span_steps=0, eval_every=0, save_every=100, processes=1, name="measured",
                  model=run.model_source, corpus=run.corpus_source)  # fmt: skip
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-m", "pzlib.engine.measure", json.dumps(run.to_dict())],
            env={**os.environ, **MALLOC, "PZLIB_HOME": home}, capture_output=True, text=True,
        )  # fmt: skip
    if done.returncode:
        raise ValueError(f"measure: the run failed: {(done.stderr.strip() or 'no word').splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])



def _first_steps(run):
    import torch
    from transformers import AutoTokenizer

    from pzlib.train import train

    # what is loaded once and stays (libraries, thread pools, kernels) is no part of the run
    train(Run(tier="smoke", steps=1, passages=1, group=2, corpus_limit=4, name="before"))
    gc.collect()
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the high-water mark starts anew
        before = _resident("VmRSS")
    folder = train(run)
    peak = torch.cuda.max_memory_allocated() if on_gpu else _resident("VmHWM")
    tokenizer, rows = AutoTokenizer.from_pretrained(run.model_source), folder.episodes()
    prompts = [len(ids) for ids in tokenizer(rows["prompt"].tolist())["input_ids"]]
    lengths = prompts, rows["length"].tolist()
    tokens = [round(sum(n) / len(n)) if packed(run) else max(n) for n in lengths]
    name = torch.cuda.get_device_name() if on_gpu else "cpu"
    return {"device": name, "bytes": peak - before, "prompt": tokens[0], "completion": int(tokens[1])}



def _resident(field):
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(field))

if __name__ == "__main__":
    print(json.dumps(_first_steps(Run.from_dict(json.loads(sys.argv[1])))))
