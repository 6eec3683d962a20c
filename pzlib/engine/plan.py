"""A run before it is paid for: parameters, memory by part, tokens, FLOPs, hours, what to change where it won't fit.
No weights are read, and of an unknown model config.json alone. `measured` trains two steps to test a plan."""

import gc
import json
import math
import os
import runpy
import sys
import tempfile
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from pzlib.engine.memory import Architecture, Device, GiB, device, memory, peak, size_of, spread, vllm_cache
from pzlib.engine.shares import growing, packed, reading, shares

BANDWIDTH = 0.6  # of a device's, reached in decoding: an assumption, like the share of arithmetic that is reached
LAUNCH = 4e-4  # seconds a layer and token of transformers' sampling, whose kernels are started one by one
MOST_GPUS = 512
STEPS = 2  # the optimizer's moments are there from the end of the first
SMALL = {"tier": "smoke", "steps": 1, "passages": 1, "group": 2, "corpus_limit": 4, "name": "before"}
# Every tensor its own mapping, given back when it is freed: else the C library's reserves are counted as the run's.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_ARENA_MAX": "1"}


class Work(NamedTuple):
    """Of one step, all processes: token counts, floating-point operations, seconds."""

    tokens_read: int  # by generation; a group's prompt once
    tokens_written: int
    tokens_trained_on: int  # read by the loss
    generation_flops: float
    training_flops: float
    generation_seconds: float
    training_seconds: float

    @property
    def seconds(self):
        return self.generation_seconds + self.training_seconds


def forward(arch, tokens, pairs, predicted):
    """Operations of a forward pass: 2 a weight and token, 4 a pair of positions and float of a query, in each layer.

    pairs: of query and key positions that are multiplied; predicted: tokens that the output matrix is applied to.
    """
    return 2 * arch.body * tokens + 4 * arch.layers * arch.q * pairs + 2 * arch.head * predicted


def work(run, arch, device, prompt, completion, mfu=0.35):
    """The Work of a step of a Run at these tokens a row.

    mfu: share of peak arithmetic that is reached. A backward pass is two forward ones, and one more where layers are
    checkpointed (on GPUs); a reference model (kl) reads what the policy reads.
    """
    local, micro = shares(run, run.processes)
    rows, alone = run.rows_per_step, run.processes == 1
    calls = reading(run, arch.hidden, local, micro, prompt, completion, on_cpu=alone and not device.gpu)
    times, passes = rows // micro, 3 + device.gpu + bool(run.kl)
    tokens = times * sum(count * length for count, length in calls)
    pairs = times * sum(count * length**2 for count, length in calls)
    training = passes * forward(arch, tokens, pairs, rows * completion)
    # experts are float32 under autocast too, which does not know grouped products (transformers 5.17)
    half = size_of(run) == 2
    slow = passes * 2 * arch.sparse * arch.experts_used * arch.expert * tokens if half else 0
    rate = device.bf16 if half else device.fp32
    seconds = ((training - slow) / rate + slow / device.fp32) / mfu / run.processes
    if run.method.supervised:
        return Work(0, 0, tokens, 0.0, training, 0.0, seconds)
    groups = rows // run.group
    read, said = groups * prompt, rows * completion
    generation = forward(arch, read, read * prompt, groups)
    generation += forward(arch, said, said * (prompt + completion / 2), said)
    slower = generation / rate / mfu / run.processes  # many rows at once are bound by arithmetic
    decoding = max(_decoding(run, arch, device, local, prompt, completion), slower)
    return Work(read, said, tokens, generation, training, decoding, seconds)


def _decoding(run, arch, device, local, prompt, completion):
    """Seconds in which a GPU reads weights and cache for every token of its `local` rows, as many at once as fit."""
    size = size_of(run)
    row = arch.layers * arch.kv * 2 * size * (prompt + completion / 2)  # bytes of its cache, half way
    if run.use_vllm:
        at_once = min(local, max(1, int(vllm_cache(run, arch, device)[0] / row)))
        rounds = local / at_once  # a row that ends makes room for the next
    else:  # a generator's masks are asked for before the predictions; a batch ends with its longest row
        masks = local // run.groups_per_block * run.method.has_generator
        at_once = run.group * growing(run, local - masks)
        rounds = -(-masks // at_once) - (-(local - masks) // at_once)
    read = arch.body + arch.head
    if arch.sparse:  # with many rows at once nearly every expert is met by one of them
        met = arch.experts * (1 - (1 - arch.experts_used / arch.experts) ** at_once)
        read += arch.sparse * (met - arch.experts_used) * arch.expert
    seconds = (size * read + at_once * row) / device.bandwidth / BANDWIDTH
    if not run.use_vllm and device.gpu:
        seconds = max(seconds, LAUNCH * arch.layers)
    return rounds * completion * seconds


def misfits(run, arch, device):
    """[what does not fit, in words] of a Run whose processes have a Device each; none: it fits."""
    found = []
    wanted = run.max_prompt_tokens + run.max_completion_tokens
    if wanted > arch.context:
        found.append(f"the model reads {arch.context:,} tokens, prompt and completion can have {wanted:,}")
    if run.use_vllm and not run.method.supervised:
        left, row = vllm_cache(run, arch, device)
        if left < row:
            found.append(f"vLLM's share has {left / GiB:.1f} GiB for keys and values, one row can take {row / GiB:.1f}")
    if spread(run):
        samples = not run.use_vllm and not run.method.supervised and ("sample by itself", None)
        if needed := run.method.needs_whole_weights(run) or samples:
            found.append(f"with weights that {run.sharding} spreads over GPUs no process can {needed[0]}")
    phase, most = peak(memory(run, arch, device))
    if most > device.usable:
        over = (most - device.usable) / GiB
        found.append(f"{phase} takes {most / GiB:.1f} GiB, {over:.1f} more than a process can use")
    return found


def changes(run, arch, device):
    """([changes that leave the run's results what they are], [others]) in words, each enough to make it fit.

    Of either kind those of the fewest settings, at most three; more GPUs only where nothing less is enough.
    """
    same, other = _choices(run, arch, device)
    found, gpus = _enough(run, arch, device, same), run.processes
    whole = run.method.needs_whole_weights(run)
    while not found and (gpus := 2 * gpus) <= MOST_GPUS and run.passages % gpus == 0 and not whole:
        more = {f"sharding fsdp with processes {gpus}": {"processes": gpus, "sharding": "fsdp"}}
        found = [names for names in _enough(run, arch, device, more | same) if names[0] in more]
    changed = [names for names in _enough(run, arch, device, same | other) if set(names) & set(other)]
    return tuple([", ".join(names) for names in kind[:3]] for kind in (found, changed))


def _enough(run, arch, device, choices):
    """[names of changes] that make it fit and of which none can be left out; of the smallest number that does."""
    found = []
    for count in (1, 2, 3):
        for names in combinations(choices, count):
            changed = {setting: value for name in names for setting, value in choices[name].items()}
            found += [] if misfits(replace(run, **changed), arch, device) else [names]
        if found:
            break
    return found


def _choices(run, arch, device):
    """Two of {in words: changed settings}: how a run is computed, and what it is."""
    same, other = {}, {}
    if run.micro_batch_rows > 1:
        same["micro_batch_rows 1"] = {"micro_batch_rows": 1}
    if device.gpu and run.vllm_mode == "colocate" and not run.method.supervised:
        _, row = vllm_cache(run, arch, device)
        room = size_of(run) * arch.parameters + 8 * row  # for eight rows
        share = math.ceil(20 * room / device.memory) / 20
        if not run.use_vllm:
            same["use_vllm True"] = {"use_vllm": True}
        if share < 0.9 and share != run.vllm_memory:
            same[f"use_vllm True with vllm_memory {share:g}"] = {"use_vllm": True, "vllm_memory": share}
        same["use_vllm True with vllm_mode server"] = {"use_vllm": True, "vllm_mode": "server"}
    if run.processes > 1 and run.sharding == "ddp" and not run.method.needs_whole_weights(run):
        same["sharding fsdp"] = {"sharding": "fsdp"}
    if not run.lora_rank:
        other["lora_rank 32"] = {"lora_rank": 32}
    rest = min(arch.context - run.max_prompt_tokens, 1024)
    if 0 < rest < run.max_completion_tokens:
        other[f"max_completion_tokens {rest}"] = {"max_completion_tokens": rest}
    return same, other


@dataclass(frozen=True)
class Plan:
    """A Run on named hardware, with the mean lengths (tokens) that its time is worked out for."""

    run: object  # a Run
    hardware: str
    device: Device
    arch: Architecture
    prompt: int
    completion: int
    mfu: float = 0.35  # share of peak arithmetic that training reaches, an assumption

    def __str__(self):
        return "\n\n".join("\n".join(part(self)) for part in (_head, _step, _memory, _verdict))

    def work(self, prompt=None, completion=None):
        """The Work of a step, by default at the most tokens that the run allows."""
        prompt, completion = prompt or self.run.max_prompt_tokens, completion or self.run.max_completion_tokens
        return work(self.run, self.arch, self.device, prompt, completion, self.mfu)


def plan(run, hardware=None, gpus=None, prompt=None, completion=None, mfu=0.35):
    """The Plan of a Run; what is left out is the tier's: this CPU for small ones, one H100, or eight.

    prompt, completion: mean tokens a row, by default half and a quarter of the most. Raises ValueError and
    FileNotFoundError naming what is wrong: hardware, model, lengths, a number of GPUs that cuts a step's rows.
    """
    hardware = hardware or ("cpu" if run.tier in ("smoke", "mini") else "h100-80gb")
    gpus = gpus if gpus is not None else 8 if run.tier == "paper" and run.processes == 1 else run.processes
    for name, given, most in (
        ("prompt-tokens", prompt, run.max_prompt_tokens),
        ("completion-tokens", completion, run.max_completion_tokens),
    ):
        if given is not None and not 1 <= given <= most:
            raise ValueError(f"{name}: {given} is not between 1 and the run's most, {most}")
    run = replace(run, processes=gpus)
    if not 0 < mfu <= 1:
        raise ValueError(f"mfu: a share of the peak, above 0 and at most 1, got {mfu}")
    shares(run, gpus)
    prompt, completion = prompt or -(-run.max_prompt_tokens // 2), completion or -(-run.max_completion_tokens // 4)
    return Plan(run, hardware, device(hardware), Architecture.of(run.model_source), prompt, completion, mfu)


def _head(p):
    a, run = p.arch, p.run
    words = f"{run.model} ({a.kind}): {_count(a.parameters)} parameters"
    if a.sparse:
        words += f", {_count(a.active)} active a token ({a.experts_used} of {a.experts} experts)"
    if run.lora_rank:
        words += f"; trained: {_count(a.adapter(run.lora_rank))} of an adapter of rank {run.lora_rank}"
    where = f"{run.processes} x " + (p.hardware if p.device.gpu else "this machine's CPU")
    how = "vLLM" if run.use_vllm else "transformers"
    yield f"{run.objective} at {run.tier} on {where}, {run.sharding}, sampling by {how}, {run.dtype}"
    yield words


def _step(p):
    run = p.run
    local, micro = shares(run, run.processes)
    prompts = run.rows_per_step // (1 if run.method.supervised else run.group)
    yield f"a step: {prompts:,} prompts, {run.rows_per_step:,} rows; of a process {local:,}, {micro} at a time"
    both = p.work(), p.work(p.prompt, p.completion)
    yield _row("", "at most", "at the mean")
    lengths = (run.max_prompt_tokens, run.max_completion_tokens), (p.prompt, p.completion)
    yield _row("prompt / completion tokens a row", *(f"{a:,} / {b:,}" for a, b in lengths))
    for field, *values in zip(Work._fields, *both, strict=True):
        form = ",.1f" if field.endswith("seconds") else ".2e" if field.endswith("flops") else ","
        yield _row(field.replace("_", " ").replace("flops", "FLOPs"), *(format(value, form) for value in values))
    hours = [run.steps * work.seconds / 3600 for work in both]
    yield _row(f"{run.steps:,} steps, hours", *(f"{h:,.1f}" for h in hours))
    yield _row("GPU-hours" if p.device.gpu else "process-hours", *(f"{run.processes * h:,.1f}" for h in hours))
    yield (
        f"Assumed: {p.mfu:.0%} of peak arithmetic in training, {BANDWIDTH:.0%} of bandwidth in decoding, no row "
        "dropped; traffic between GPUs, a vLLM server's GPUs and evaluation left out."
    )


def _memory(p):
    phases = memory(p.run, p.arch, p.device)
    unit, name_of = (GiB, "GiB") if peak(phases)[1] >= GiB else (2**20, "MiB")

    def sums(phases):
        return (f"{sum(parts.values()) / unit:,.2f}" for parts in phases.values())

    yield _row(f"memory of one {'GPU' if p.device.gpu else 'process'} at most, {name_of}", *phases)
    for name in dict.fromkeys(part for parts in phases.values() for part in parts):
        yield _row(f"  {name}", *(f"{parts.get(name, 0) / unit:,.2f}" for parts in phases.values()))
    yield _row("  sum", *sums(phases))
    for sharding in p.run.choices("sharding") if p.run.processes > 1 else ():
        if sharding != p.run.sharding:
            yield _row(f"  sum under {sharding}", *sums(memory(replace(p.run, sharding=sharding), p.arch, p.device)))


def _verdict(p):
    found = misfits(p.run, p.arch, p.device)
    if not found:
        phase, most = peak(memory(p.run, p.arch, p.device))
        yield f"fits: {phase} takes most, {most / GiB:.2f} GiB of {p.device.usable / GiB:.1f} usable"
        return
    same, other = changes(p.run, p.arch, p.device)
    yield from (f"does not fit: {words}" for words in found)
    yield from (f"  would fit with: {change}" for change in same)
    yield from (f"  another run, which would fit: {change}" for change in other)
    if not same and not other:
        yield "  no change of micro_batch_rows, sampling, sharding, adapters or lengths is enough here"


def _row(name, *cells):
    return f"{name:<34}" + "".join(f"{cell:>18}" for cell in cells)


def _count(value):
    """A number of parameters in words.

    >>> _count(4_022_468_096), _count(1_204_096)
    ('4.02 B', '1.20 M')
    """
    return f"{value / 1e9:.2f} B" if value >= 1e9 else f"{value / 1e6:.2f} M"


def measured(run):
    """In words: the peak of a Run's first two steps, trained here and now, beside what is planned for their lengths."""
    found = measure(run)
    here = device("cpu" if found["device"] == "cpu" else "h100-80gb")  # which GPU is no matter: nothing has to fit
    run, arch = replace(run, processes=1), Architecture.of(run.model_source)
    phase, most = peak(memory(run, arch, here, found["prompt"], found["completion"]))
    return (
        f"{run.model} on {found['device']}, rows of {found['prompt']} + {found['completion']} tokens: "
        f"measured {found['bytes'] / GiB:.3f} GiB, planned {most / GiB:.3f} ({phase}), "
        f"planned / measured {most / found['bytes']:.2f}"
    )


def measure(run):
    """{"device": its name, "bytes": peak over what there was before, "prompt", "completion": tokens of a row} of a Run.

    Its first two steps are trained for real by `python -m pzlib train`, in a temporary folder, without evaluation.
    Lengths are the longest where rows are padded to those, means where they are packed. On a CPU a peak below some 100
    MiB says little: what was there before may be used again. Raises ValueError where the run fails, with its words.
    """
    from transformers import AutoTokenizer

    from pzlib.engine.processes import start
    from pzlib.runs.folder import RunFolder

    run = replace(run, steps=STEPS, random_span_steps=0, eval_every=0, save_every=100, processes=1, name="measured",
                  model=run.model_source, corpus=run.corpus_source)  # fmt: skip
    with tempfile.TemporaryDirectory() as home:
        for name, settings in (("before", SMALL), ("measured", run.to_dict())):
            Path(home, f"{name}.json").write_text(json.dumps({"settings": settings, "evaluation": None}))
        child = start([sys.executable, "-m", "pzlib.engine.plan", home], MALLOC | {"PZLIB_HOME": home})
        lines = child.communicate()[0].strip().splitlines() or ["no word"]
        if child.returncode:
            raise ValueError(f"measure: the run failed: {lines[-1]}")
        found, rows = json.loads(lines[-1]), RunFolder(Path(home, "data/runs/measured")).episodes()
        prompts = AutoTokenizer.from_pretrained(run.model)(rows["prompt"].tolist())["input_ids"]
    both = [len(ids) for ids in prompts], rows["length"].tolist()
    tokens = [round(sum(n) / len(n)) if packed(run) else max(n) for n in both]
    return found | {"prompt": tokens[0], "completion": int(tokens[1])}


def _first_steps(home):
    import torch

    from pzlib.engine.processes import end_with_parent

    end_with_parent()
    _train(home, "before")  # what is loaded once and stays (libraries, thread pools, kernels) is no part of the run
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        _train(home, "measured")
        return {"device": torch.cuda.get_device_name(), "bytes": torch.cuda.max_memory_allocated() - before}
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    before = _resident("VmRSS")
    _train(home, "measured")
    return {"device": "cpu", "bytes": _resident("VmHWM") - before}


def _train(home, name):
    """`python -m pzlib train`, in this very process; what fails ends it."""
    sys.argv = ["pzlib", "train", os.path.join(home, f"{name}.json")]
    try:
        runpy.run_module("pzlib", run_name="__main__")
    except SystemExit as error:
        if error.code:
            raise


def _resident(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))


if __name__ == "__main__":
    print(json.dumps(_first_steps(sys.argv[1])))
