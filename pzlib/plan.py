"""A run before it is paid for: parameters, memory by part, tokens, FLOPs, hours, and what to change where it won't fit.
Leaves out measurement, which is `pzlib.measure`'s; no weights are read, and of an unknown model config.json alone."""

from dataclasses import dataclass, fields, replace

from pzlib import flops, memory, remedies
from pzlib.allowed import CHOICES, SUPERVISED
from pzlib.architectures import Architecture
from pzlib.hardware import Device, device
from pzlib.parameters import parse_value
from pzlib.progress import duration
from pzlib.refusals import refuse_unknown
from pzlib.run import Run
from pzlib.shares import shares

GiB = 2**30
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
        left, _ = memory.vllm_cache(self.run, self.arch, self.device)
        return flops.work(self.run, self.arch, self.device, prompt, completion, max(left, 1), self.mfu)


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
    from pzlib.measure import measure

    found = measure(run)
    here = device("cpu" if found["device"] == "cpu" else "h100-80gb")  # which GPU is no matter: nothing has to fit
    run, arch = replace(run, processes=1), Architecture.of(run.model_source)
    phases = memory.memory(run, arch, here, found["prompt"], found["completion"])
    phase, most = memory.peak(phases)
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
    prompts = run.rows_per_step if run.objective in SUPERVISED else run.rows_per_step // run.group
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
        f"Assumed: {p.mfu:.0%} of peak arithmetic in training, {flops.BANDWIDTH:.0%} of bandwidth in decoding, no row "
        "dropped; traffic between GPUs, a vLLM server's GPUs and evaluation left out."
    )


def _memory(p):
    phases = memory.memory(p.run, p.arch, p.device)
    unit, name_of = (GiB, "GiB") if memory.peak(phases)[1] >= GiB else (2**20, "MiB")
    names = list(dict.fromkeys(part for parts in phases.values() for part in parts))
    yield _row(f"memory of one {'GPU' if p.device.gpu else 'process'} at most, {name_of}", *phases)
    for name in names:
        yield _row(f"  {name}", *(f"{parts.get(name, 0) / unit:,.2f}" for parts in phases.values()))
    yield _row("  sum", *(f"{sum(parts.values()) / unit:,.2f}" for parts in phases.values()))
    if p.run.processes > 1:
        for sharding in CHOICES["sharding"]:
            if sharding != p.run.sharding:
                other = memory.memory(replace(p.run, sharding=sharding), p.arch, p.device)
                sums = [sum(parts.values()) / unit for parts in other.values()]
                yield _row(f"  sum under {sharding}", *(f"{total:,.2f}" for total in sums))


def _verdict(p):
    found = remedies.misfits(p.run, p.arch, p.device)
    if not found:
        phase, most = memory.peak(memory.memory(p.run, p.arch, p.device))
        yield f"fits: {phase} takes most, {most / GiB:.2f} GiB of {p.device.usable / GiB:.1f} usable"
    for words in found:
        yield f"does not fit: {words}"
    same, other = remedies.remedies(p.run, p.arch, p.device) if found else ((), ())
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
