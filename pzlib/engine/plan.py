"""A run before it is paid for: parameters, memory by part, tokens, FLOPs, hours, and what to change where it won't fit.
Leaves out measurement, which is `pzlib.engine.measure`'s; no weights are read, and of an unknown model config.json alone."""

import math
import os
from dataclasses import dataclass, fields, replace
from itertools import combinations

from pzlib.engine.memory import Architecture, memory, peak, spread, vllm_cache
from pzlib.engine.shares import growing, reading, shares
from pzlib.errors import near_names, refuse_unknown
from pzlib.headless import duration, parse_value
from pzlib.run import Run


@dataclass(frozen=True)
class Device:
    """memory in bytes; bandwidth in bytes a second; bf16 and fp32 in floating-point operations a second, dense."""

    memory: float
    bandwidth: float
    bf16: float
    fp32: float
    gpu: bool = True

    @property
    def usable(self):
        """Bytes for tensors: the rest, 8 % by assumption, is the driver's context, workspaces and fragments."""
        return 0.92 * self.memory

GiB, TB, T = 2**30, 1e12, 1e12

DEVICES = {
    "h100-80gb": Device(80 * GiB, 3.35 * TB, 989 * T, 67 * T),
    "h800-80gb": Device(80 * GiB, 3.35 * TB, 989 * T, 67 * T),
    "h200-141gb": Device(141e9, 4.8 * TB, 989 * T, 67 * T),
    "b200-180gb": Device(180e9, 8.0 * TB, 2250 * T, 75 * T),
    "mi300x-192gb": Device(192 * GiB, 5.3 * TB, 1307 * T, 163 * T),
    "a100-80gb": Device(80 * GiB, 2.04 * TB, 312 * T, 19.5 * T),
    "a100-40gb": Device(40 * GiB, 1.56 * TB, 312 * T, 19.5 * T),
    "l40s-48gb": Device(48 * GiB, 0.86 * TB, 362 * T, 91.6 * T),
    "rtx4090-24gb": Device(24 * GiB, 1.01 * TB, 165 * T, 82.6 * T),
    "rtx3090-24gb": Device(24 * GiB, 0.94 * TB, 71 * T, 35.6 * T),
}



def device(name):
    """The Device of that name, with or without its memory; `cpu` is this machine. Raises ValueError for others.

    >>> device("rtx4090") == device("rtx4090-24gb"), device("cpu").gpu
    (True, False)
    """
    if name == "cpu":
        cores = os.cpu_count() or 1  # a core's rates are rough: an AVX2 core of some years ago
        return Device(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), 20e9, 50e9 * cores, 50e9 * cores, False)
    found = [full for full in DEVICES if name in (full, full.rpartition("-")[0])]
    if len(found) != 1:
        raise ValueError(f"hardware: no {name!r}; {near_names(name, [*DEVICES, 'cpu'])}")
    return DEVICES[found[0]]


# What times rest on besides the share of arithmetic that is reached, assumed like it.
BANDWIDTH = 0.6  # of a device's, reached in decoding

LAUNCH = 4e-4  # seconds a layer and token of transformers' sampling, whose kernels are started one by one



@dataclass(frozen=True)
class Work:
    """Of one step, all processes: token counts, floating-point operations, seconds."""

    prompt_tokens: int  # read by generation; a group's prompt once
    completion_tokens: int
    trained_tokens: int  # read by the loss
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



def work(run, arch, device, prompt=None, completion=None, cache=None, mfu=0.35):
    """The Work of a step of a Run at these tokens a row (by default the most that it allows).

    cache: bytes a GPU has for keys and values under vLLM; mfu: share of peak arithmetic that is reached. A backward
    pass is two forward ones, and one more where layers are checkpointed (on GPUs); a reference model (kl) reads what
    the policy reads.
    """
    prompt, completion = prompt or run.max_prompt_tokens, completion or run.max_completion_tokens
    local, micro = shares(run, run.processes)
    rows, alone = run.rows_per_step, run.processes == 1
    calls = reading(run, arch.hidden, local, micro, prompt, completion, on_cpu=alone and not device.gpu)
    times, grad = rows // micro, 3 + device.gpu
    tokens = times * sum(count * length for count, length in calls)
    pairs = times * sum(count * length**2 for count, length in calls)
    passes = grad + bool(run.kl)
    training = passes * forward(arch, tokens, pairs, rows * completion)
    # experts are float32 under autocast too, which does not know grouped products (transformers 5.17)
    apart = arch.sparse * arch.experts_used * arch.expert
    rate = device.bf16 if run.dtype == "bfloat16" else device.fp32
    slow = passes * 2 * apart * tokens if run.dtype == "bfloat16" else 0
    seconds = ((training - slow) / rate + slow / device.fp32) / mfu / run.processes
    if run.method.supervised:
        return Work(0, 0, tokens, 0.0, training, 0.0, seconds)
    groups = rows // run.group
    read, said = groups * prompt, rows * completion
    grown = said * (prompt + completion / 2)
    generation = forward(arch, read, read * prompt, groups) + forward(arch, said, grown, said)
    decoding = _decoding(run, arch, device, local, prompt, completion, cache)
    slower = generation / rate / mfu / run.processes  # many rows at once are bound by arithmetic
    return Work(read, said, tokens, generation, training, max(decoding, slower), seconds)



def _decoding(run, arch, device, local, prompt, completion, cache):
    """Seconds in which a GPU reads weights and cache for every token of its `local` rows, as many at once as fit."""
    size = 2 if run.dtype == "bfloat16" else 4
    row = arch.layers * arch.kv * 2 * size * (prompt + completion / 2)  # bytes of its cache, half way
    if run.use_vllm:
        at_once = min(local, max(1, int(cache / row)))
        rounds = local / at_once  # a row that ends makes room for the next
    else:
        # the generator's masks are asked for before the predictions
        asked = [local // run.groups_per_block] * (run.objective == "pretrainzero")
        asked.append(local - sum(asked))
        at_once = run.group * growing(run, asked[-1])
        rounds = sum(-(-rows // at_once) for rows in asked)  # a batch ends with its longest row
    read = arch.body + arch.head
    if arch.sparse:  # with many rows at once nearly every expert is met by one of them
        met = arch.experts * (1 - (1 - arch.experts_used / arch.experts) ** at_once)
        read += arch.sparse * (met - arch.experts_used) * arch.expert
    seconds = (size * read + at_once * row) / device.bandwidth / BANDWIDTH
    if not run.use_vllm and device.gpu:
        seconds = max(seconds, LAUNCH * arch.layers)
    return rounds * completion * seconds


GiB = 2**30

MOST_GPUS = 512



def misfits(run, arch, device):
    """[what does not fit, in words] of a Run whose processes have a Device each; none: it fits."""
    found = []
    wanted = run.max_prompt_tokens + run.max_completion_tokens
    if wanted > arch.context:
        found.append(f"the model reads {arch.context:,} tokens, prompt and completion can have {wanted:,}")
    if _rolls(run) and run.use_vllm:
        left, row = vllm_cache(run, arch, device)
        if left < row:
            found.append(f"vLLM's share has {left / GiB:.1f} GiB for keys and values, one row can take {row / GiB:.1f}")
    elif _rolls(run) and spread(run):
        found.append(f"transformers cannot sample from weights that {run.sharding} spreads over GPUs: use_vllm")
    if run.objective == "rlp" and spread(run):
        found.append("rlp's moving average needs the policy whole on every GPU: sharding ddp")
    phase, most = peak(memory(run, arch, device))
    if most > device.usable:
        over = (most - device.usable) / GiB
        found.append(f"{phase} takes {most / GiB:.1f} GiB, {over:.1f} more than a process can use")
    return found



def remedies(run, arch, device):
    """([changes that leave the run's results what they are], [others]) in words, each enough to make it fit.

    Of either kind those of the fewest settings, at most three; more GPUs only where nothing less is enough.
    """
    same, other = _choices(run, arch, device)
    found, gpus = _enough(run, arch, device, same), run.processes
    while not found and (gpus := 2 * gpus) <= MOST_GPUS and run.passages % gpus == 0 and run.objective != "rlp":
        more = {f"sharding fsdp with processes {gpus}": {"processes": gpus, "sharding": "fsdp"}}
        found = [names for names in _enough(run, arch, device, more | same) if names[0] in more]
    changed = [names for names in _enough(run, arch, device, same | other) if set(names) & set(other)]
    return tuple([", ".join(names) for names in kind[:3]] for kind in (found, changed))



def _enough(run, arch, device, choices):
    """[names of changes] that make it fit and of which none can be left out; of the smallest number that does."""
    for count in (1, 2, 3):
        found = []
        for names in combinations(choices, count):
            changed = replace(run, **{setting: value for name in names for setting, value in choices[name].items()})
            if not misfits(changed, arch, device):
                found.append(names)
        if found:
            return found
    return []



def _choices(run, arch, device):
    """Two of {in words: changed settings}: how a run is computed, and what it is."""
    same, other = {}, {}
    if run.micro_batch_rows > 1:
        same["micro_batch_rows 1"] = {"micro_batch_rows": 1}
    if _rolls(run) and device.gpu and run.vllm_mode == "colocate":
        size = 2 if run.dtype == "bfloat16" else 4
        _, row = vllm_cache(run, arch, device)
        share = math.ceil(20 * (size * arch.parameters + 8 * row) / device.memory) / 20  # room for eight rows
        if not run.use_vllm:
            same["use_vllm True"] = {"use_vllm": True}
        if share < 0.9 and share != run.vllm_memory:
            same[f"use_vllm True with vllm_memory {share:g}"] = {"use_vllm": True, "vllm_memory": share}
        same["use_vllm True with vllm_mode server"] = {"use_vllm": True, "vllm_mode": "server"}
    if run.processes > 1 and run.sharding == "ddp" and run.objective != "rlp":
        same["sharding fsdp"] = {"sharding": "fsdp"}
    if not run.lora_rank:
        other["lora_rank 32"] = {"lora_rank": 32}
    rest = min(arch.context - run.max_prompt_tokens, 1024)
    if 0 < rest < run.max_completion_tokens:
        other[f"max_completion_tokens {rest}"] = {"max_completion_tokens": rest}
    return same, other



def _rolls(run):
    return not run.method.supervised


APART = ("tier", "objective", "model")  # options of their own



@dataclass(frozen=True)
class Plan:
    """A Run on named hardware, with the mean lengths (tokens) that its time is worked out for."""

    run: Run
    hardware: str
    device: Device
    arch: Architecture
    prompt: int
    completion: int
    mfu: float = 0.35  # share of peak arithmetic that training reaches, an assumption

    def __str__(self):
        parts = (_head, _step, _memory, _verdict)
        return "\n\n".join("\n".join(part(self)) for part in parts)

    def work(self, prompt=None, completion=None):
        left, _ = vllm_cache(self.run, self.arch, self.device)
        return work(self.run, self.arch, self.device, prompt, completion, max(left, 1), self.mfu)



def plan(run, hardware=None, gpus=None, prompt=None, completion=None, mfu=0.35):
    """The Plan of a Run; what is left out is the tier's: this CPU for small ones, one H100, or eight.

    prompt, completion: mean tokens a row, by default half and a quarter of the most. Raises ValueError and
    FileNotFoundError naming what is wrong: hardware, model, lengths, a number of GPUs that cuts a step's rows.
    """
    small = run.tier in ("smoke", "mini")
    hardware = hardware or ("cpu" if small else "h100-80gb")
    if gpus is None:
        gpus = 8 if run.tier == "paper" and run.processes == 1 else run.processes
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



def run_of(pairs, **apart):
    """The Run of a command line's (setting, text) pairs and of the settings that have options of their own."""
    start = Run(**apart)
    refuse_unknown([name for name, _ in pairs], [f.name for f in fields(Run)], "setting of a run")
    values = {}
    for name, text in pairs:
        if name in APART or name in values:
            raise ValueError(f"{name}: " + (f"give it as --{name}" if name in APART else "given twice; give it once"))
        values[name] = parse_value(name, text, getattr(start, name))
    return Run(**apart, **values)



def measured(run):
    """In words: the peak of a Run's first two steps, trained here and now, beside what is planned for their lengths."""
    from pzlib.engine.measure import measure

    found = measure(run)
    here = device("cpu" if found["device"] == "cpu" else "h100-80gb")  # which GPU is no matter: nothing has to fit
    run, arch = replace(run, processes=1), Architecture.of(run.model_source)
    phases = memory(run, arch, here, found["prompt"], found["completion"])
    phase, most = peak(phases)
    return (
        f"{run.model} on {found['device']}, rows of {found['prompt']} + {found['completion']} tokens: "
        f"measured {found['bytes'] / GiB:.3f} GiB, planned {most / GiB:.3f} ({phase}), "
        f"planned / measured {most / found['bytes']:.2f}"
    )



def _head(p):
    a, run = p.arch, p.run
    words = f"{run.model} ({a.kind}): {_count(a.parameters)} parameters"
    if a.sparse:
        words += f", {_count(a.active)} active a token ({a.experts_used} of {a.experts} experts)"
    rank = run.lora_rank
    words += f"; trained: {_count(a.adapter(rank))} of an adapter of rank {rank}" if rank else ""
    where = f"{p.run.processes} x {p.hardware}" if p.device.gpu else f"{p.run.processes} x this machine's CPU"
    how = "vLLM" if run.use_vllm else "transformers"
    yield f"{run.objective} at {run.tier} on {where}, {p.run.sharding}, sampling by {how}, {run.dtype}"
    yield words



def _step(p):
    run = p.run
    local, micro = shares(run, p.run.processes)
    prompts = run.rows_per_step if run.method.supervised else run.rows_per_step // run.group
    yield f"a step: {prompts:,} prompts, {run.rows_per_step:,} rows; of a process {local:,}, {micro} at a time"
    most, mean = p.work(), p.work(p.prompt, p.completion)
    yield _row("", "at most", "at the mean")
    yield _row("prompt / completion tokens a row", *(f"{a:,} / {b:,}" for a, b in (
        (run.max_prompt_tokens, run.max_completion_tokens), (p.prompt, p.completion))))  # fmt: skip
    for name, unit in (("prompt_tokens", "read"), ("completion_tokens", "written"), ("trained_tokens", "trained on")):
        yield _row(f"tokens {unit}", *(f"{getattr(work, name):,}" for work in (most, mean)))
    for name in ("generation", "training"):
        yield _row(f"{name}, FLOPs", *(f"{getattr(work, f'{name}_flops'):.2e}" for work in (most, mean)))
    for name in ("generation", "training"):
        yield _row(f"{name}, time", *(duration(getattr(work, f"{name}_seconds")) for work in (most, mean)))
    hours = [run.steps * work.seconds / 3600 for work in (most, mean)]
    yield _row(f"{run.steps:,} steps, hours", *(f"{h:,.1f}" for h in hours))
    unit = "GPU-hours" if p.device.gpu else "process-hours"
    yield _row(unit, *(f"{p.run.processes * h:,.1f}" for h in hours))
    yield (
        f"Assumed: {p.mfu:.0%} of peak arithmetic in training, {BANDWIDTH:.0%} of bandwidth in decoding, no row "
        "dropped; traffic between GPUs, a vLLM server's GPUs and evaluation left out."
    )



def _memory(p):
    phases = memory(p.run, p.arch, p.device)
    unit, name_of = (GiB, "GiB") if peak(phases)[1] >= GiB else (2**20, "MiB")
    names = list(dict.fromkeys(part for parts in phases.values() for part in parts))
    yield _row(f"memory of one {'GPU' if p.device.gpu else 'process'} at most, {name_of}", *phases)
    for name in names:
        yield _row(f"  {name}", *(f"{parts.get(name, 0) / unit:,.2f}" for parts in phases.values()))
    yield _row("  sum", *(f"{sum(parts.values()) / unit:,.2f}" for parts in phases.values()))
    if p.run.processes > 1:
        for sharding in p.run.choices("sharding"):
            if sharding != p.run.sharding:
                other = memory(replace(p.run, sharding=sharding), p.arch, p.device)
                sums = [sum(parts.values()) / unit for parts in other.values()]
                yield _row(f"  sum under {sharding}", *(f"{total:,.2f}" for total in sums))



def _verdict(p):
    found = misfits(p.run, p.arch, p.device)
    if not found:
        phase, most = peak(memory(p.run, p.arch, p.device))
        yield f"fits: {phase} takes most, {most / GiB:.2f} GiB of {p.device.usable / GiB:.1f} usable"
    for words in found:
        yield f"does not fit: {words}"
    same, other = remedies(p.run, p.arch, p.device) if found else ((), ())
    yield from (f"  would fit with: {change}" for change in same)
    yield from (f"  another run, which would fit: {change}" for change in other)
    if found and not same and not other:
        yield "  no change of micro_batch_rows, sampling, sharding, adapters or lengths is enough here"



def _row(name, *cells):
    return f"{name:<34}" + "".join(f"{cell:>18}" for cell in cells)



def _count(value):
    """A number of parameters in words.

    >>> _count(4_022_468_096), _count(1_204_096)
    ('4.02 B', '1.20 M')
    """
    return f"{value / 1e9:.2f} B" if value >= 1e9 else f"{value / 1e6:.2f} M"
