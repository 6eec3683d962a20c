"""A run before it is paid for: parameters, memory by part, tokens, FLOPs, hours, what to change where it won't fit.
No weights are read, and of an unknown model config.json alone. `tests/bench/peak.py` measures what is planned here."""

import math
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from pzlib.engine.memory import (
    Architecture,
    Device,
    GiB,
    device,
    groups_at_once,
    memory,
    peak,
    reading,
    shares,
    size_of,
    spread,
    vllm_cache,
)  # fmt: skip
from pzlib.tiers import WORLDS

BANDWIDTH = 0.6  # of a device's, reached in decoding: an assumption, like the share of arithmetic that is reached
LAUNCH = 4e-4  # seconds a layer and token of transformers' sampling, whose kernels are started one by one
MOST_GPUS = 512
UNSEEN_HOURS = 0.05  # of a small run, where none like it is stored


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


def misfits(run, arch, device):
    """[what does not fit, as text] of a Run whose processes have a Device each; none: it fits."""
    found = []
    wanted = run.max_prompt_tokens + run.max_completion_tokens
    if wanted > arch.context:
        found.append(f"the model reads {arch.context:,} tokens, prompt and completion can have {wanted:,}")
    if run.use_vllm and not run.method.supervised:
        left, row = vllm_cache(run, arch, device)
        if left < row:
            found.append(f"vLLM's share has {left / GiB:.1f} GiB for keys and values, one row can take {row / GiB:.1f}")
    samples = not run.use_vllm and not run.method.supervised and ("sample by itself", None)
    if spread(run) and (needed := run.method.needs_whole_weights(run) or samples):
        found.append(f"with weights that {run.sharding} spreads over GPUs no process can {needed[0]}")
    phase, most = peak(memory(run, arch, device))
    if most > device.usable:
        over = (most - device.usable) / GiB
        found.append(f"{phase} takes {most / GiB:.1f} GiB, {over:.1f} more than a process can use")
    return found


def changes(run, arch, device):
    """([changes that leave the run's results what they are], [others]) as text, each enough to make it fit.

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

    def fits(names):
        changed = {setting: value for name in names for setting, value in choices[name].items()}
        return not misfits(replace(run, **changed), arch, device)

    for count in (1, 2, 3):
        if found := [names for names in combinations(choices, count) if fits(names)]:
            return found
    return []


def _choices(run, arch, device):
    """Two of {text: changed settings}: how a run is computed, and what it is."""
    same, other = {}, {}
    if run.micro_batch_rows > 1:
        same["micro_batch_rows 1"] = {"micro_batch_rows": 1}
    if device.gpu and run.vllm_mode == "colocate" and not run.method.supervised:
        room = size_of(run) * arch.parameters + 8 * vllm_cache(run, arch, device)[1]  # for eight rows
        share = math.ceil(20 * room / device.memory) / 20
        if share < 0.9:
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
    """A Run on named hardware, with the mean lengths (tokens) that its time is worked out for; `str` is the report."""

    run: object  # a Run
    hardware: str
    device: Device
    arch: Architecture
    prompt: int
    completion: int
    mfu: float = 0.35  # share of peak arithmetic that training reaches, an assumption

    def __str__(self):
        return "\n\n".join("\n".join(part(self)) for part in (_head, _verdict, _step, _memory))

    def work(self, prompt=None, completion=None):
        """The Work of a step at these tokens per row, by default the most that the run allows.

        A backward pass is two forward ones, and one more where layers are checkpointed (on GPUs); a reference model
        (kl) reads what the policy reads, and with several updates a batch the policy reads all once more before them.
        """
        run, arch, device = self.run, self.arch, self.device
        prompt, completion = prompt or run.max_prompt_tokens, completion or run.max_completion_tokens
        rows, micro = run.rows_per_step, shares(run, run.processes)[1]
        calls = reading(run, arch.hidden, prompt, completion, on_cpu=run.processes == 1 and not device.gpu)
        times, passes = rows // micro, 3 + device.gpu + bool(run.kl) + (run.updates_per_batch > 1)
        tokens = times * sum(count * length for count, length in calls)
        pairs = times * sum(count * length**2 for count, length in calls)
        training = passes * forward(arch, tokens, pairs, rows * completion)
        half = size_of(run) == 2
        # experts are float32 under autocast too, which does not know grouped products (transformers 5.17)
        slow = passes * 6 * arch.layers * arch.hidden * arch.width * tokens if half and arch.experts else 0
        rate = device.bf16 if half else device.fp32
        seconds = ((training - slow) / rate + slow / device.fp32) / self.mfu / run.processes
        if run.method.supervised:
            return Work(0, 0, tokens, 0.0, training, 0.0, seconds)
        read, written = rows // run.group * prompt, rows * completion
        generation = forward(arch, read, read * prompt, rows // run.group)
        generation += forward(arch, written, written * (prompt + completion / 2), written)
        # many rows at once are bound by arithmetic
        slowest = max(self._decoding(prompt, completion), generation / rate / self.mfu / run.processes)
        return Work(read, written, tokens, generation, training, slowest, seconds)

    def _decoding(self, prompt, completion):
        """Seconds in which a GPU reads weights and cache for every token of its rows, as many at once as fit."""
        run, arch, device, size = self.run, self.arch, self.device, size_of(self.run)
        local, _ = shares(run, run.processes)
        row = arch.layers * arch.kv * 2 * size * (prompt + completion / 2)  # bytes of its cache, half way
        if run.use_vllm:
            at_once = min(local, max(1, int(vllm_cache(run, arch, device)[0] / row)))
            rounds = local / at_once  # a row that ends makes room for the next
        else:
            at_once = run.group * groups_at_once(run, local // run.group)
            rounds = -(-local // at_once)  # a batch ends with its longest row
        met = arch.parameters * (1 - (1 - arch.active / arch.parameters) ** at_once)  # many rows meet all experts
        seconds = (size * met + at_once * row) / device.bandwidth / BANDWIDTH
        if not run.use_vllm and device.gpu:
            seconds = max(seconds, LAUNCH * arch.layers)
        return rounds * completion * seconds


def plan(run, hardware=None, gpus=None, prompt=None, completion=None, mfu=0.35):
    """The Plan of a Run; what is left out is the tier's (`pzlib.tiers.World`): this CPU for small ones, one H100, or
    eight.

    prompt, completion: mean tokens per row, by default half and a quarter of the most. Raises ValueError and
    FileNotFoundError naming what is wrong: hardware, model, lengths, a number of GPUs that cuts a step's rows.
    """
    world = WORLDS[run.tier]
    hardware = hardware or world.hardware
    gpus = gpus if gpus is not None else world.gpus if world.gpus and run.processes == 1 else run.processes
    for name, given, most in (
        ("prompt-tokens", prompt, run.max_prompt_tokens),
        ("completion-tokens", completion, run.max_completion_tokens),
    ):
        if given is not None and not 1 <= given <= most:
            raise ValueError(f"{name}: {given} is not between 1 and the run's most, {most}")
    if not 0 < mfu <= 1:
        raise ValueError(f"mfu: a share of the peak, above 0 and at most 1, got {mfu}")
    run = replace(run, processes=gpus)
    shares(run, gpus)
    prompt, completion = prompt or -(-run.max_prompt_tokens // 2), completion or -(-run.max_completion_tokens // 4)
    return Plan(run, hardware, device(hardware), Architecture.of(run.model_source), prompt, completion, mfu)


def estimated(runs, hours=0.0):
    """(hours of Runs, a GPU of the tier's for each process, on top of those given; words on how they are known).

    A run of the small world counts 3 minutes; another is planned at mean lengths. One that starts from a run's model,
    of which there may be no config yet, counts as the tier's base.
    """
    unknown, tight, real = 0, 0, [run for run in runs if not WORLDS[run.tier].small]
    for run in real:
        known = "/" in run.model or Path(run.model_source).is_dir()
        try:
            made = plan(run if known else replace(run, model=WORLDS[run.tier].base), gpus=run.processes)
        except (ValueError, OSError):  # of a model that neither the hub nor this folder describes
            unknown += 1
            continue
        hours += made.run.steps * made.work(made.prompt, made.completion).seconds / 3600
        tight += bool(misfits(made.run, made.arch, made.device))
    words = ", as `pzlib plan` estimates" if len(real) > unknown else ""
    words += f", how long {unknown} of them take is not known" if unknown else ""
    if tight:
        words += f"; as they are {tight} do not fit: `pzlib plan --tier {real[0].tier}` names settings that do"
    return hours + UNSEEN_HOURS * (len(runs) - len(real)), words


def _head(p):
    a, run, how = p.arch, p.run, "vLLM" if p.run.use_vllm else "transformers"
    where = f"{run.processes} x " + (p.hardware if p.device.gpu else "this machine's CPU")
    yield f"{run.objective} at {run.tier} on {where}, {run.sharding}, sampling by {how}, {run.dtype}"
    words = f"{run.model} ({a.kind}): {_count(a.parameters)} parameters"
    if a.experts:
        words += f", {_count(a.active)} active a token ({a.experts_used} of {a.experts} experts)"
    if run.lora_rank:
        words += f"; trained: {_count(run.lora_rank * a.adapter)} of an adapter of rank {run.lora_rank}"
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
    yield _row(f"memory of one {'GPU' if p.device.gpu else 'process'} at most, {name_of}", *phases)
    for name in dict.fromkeys(part for parts in phases.values() for part in parts):
        yield _row(f"  {name}", *(f"{parts.get(name, 0) / unit:,.2f}" for parts in phases.values()))
    yield _row("  sum", *(f"{sum(parts.values()) / unit:,.2f}" for parts in phases.values()))


def _verdict(p):
    found = misfits(p.run, p.arch, p.device)
    if not found:
        phase, most = peak(memory(p.run, p.arch, p.device))
        yield f"fits: {phase} takes most, {most / GiB:.2f} GiB of {p.device.usable / GiB:.1f} usable"
        return
    same, other = changes(p.run, p.arch, p.device)
    yield from (f"does not fit: {words}" for words in found)
    yield from (f"  would fit with: {change}" for change in same)
    yield from (f"  would fit, but trains otherwise: {change}" for change in other)
    if not same and not other:
        yield "  no change of micro_batch_rows, sampling, sharding, adapters or lengths is enough here"


def _row(name, *cells):
    return f"{name:<34}" + "".join(f"{cell:>18}" for cell in cells)


def _count(value):
    """A number of parameters as text.

    >>> _count(4_022_468_096), _count(1_204_096)
    ('4.02 B', '1.20 M')
    """
    return f"{value / 1e9:.2f} B" if value >= 1e9 else f"{value / 1e6:.2f} M"
