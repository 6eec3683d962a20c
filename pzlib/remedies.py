"""What does not fit of a planned run, in words, and which settings would make it fit: tried out, not guessed.
Leaves out other models, steps and rows; what changes a run's results (adapters, lengths) is named apart."""

import math
from dataclasses import replace
from itertools import combinations

from pzlib.allowed import SUPERVISED
from pzlib.memory import memory, peak, spread, vllm_cache

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
    return run.objective not in SUPERVISED
