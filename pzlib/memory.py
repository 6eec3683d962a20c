"""Peak memory of a run, part by part, in each phase of a step: generation, loss, update. Bytes of one GPU.
Leaves out evaluation and saving, and what allocators waste: `Device.usable` allows for that."""

from pzlib.activations import activations
from pzlib.allowed import SUPERVISED
from pzlib.architectures import Architecture
from pzlib.shares import growing, reading, shares

TILE = 4096, 32_768  # tokens and vocabulary of TRL's tiles of logits (trl/kernels/chunked_logprob.py)
IN_TORCH = 8.25  # float32 tiles at once in its `_backward_tile`, where torch does a Triton kernel's work (on a CPU)
SERVER_SHARE = 0.9  # of a GPU that only serves, the default of `python -m pzlib serve`


def memory(run, arch, device, prompt=None, completion=None):
    """{phase: {part: bytes}} of one of a Run's processes, which has a Device to itself; `peak` sums it up.

    prompt, completion: tokens of a row, by default the most that the run allows; no row is taken to be dropped.
    Weights, gradients and AdamW's two moments are float32 (`pzlib.models.load`), arithmetic is the run's `dtype`.
    """
    prompt, completion = prompt or run.max_prompt_tokens, completion or run.max_completion_tokens
    local, micro = shares(run, run.processes)
    size = 2 if run.dtype == "bfloat16" else 4
    gpu, rank, alone = device.gpu, run.lora_rank, run.processes == 1
    trained = arch.adapter(rank) if rank else arch.parameters
    held = _weights(run, arch, trained) | _frozen(run, arch)
    if run.use_vllm and run.vllm_mode == "colocate":
        held["vLLM: weights and KV cache"] = run.vllm_memory * device.memory
    held["rows of the step"] = 8 * local * (2 * prompt + 3 * completion)  # ids and masks are 64-bit
    # autocast keeps a copy of each trained weight until the call ends; those of frozen ones go at once
    casts = 0 if size == 4 or rank else size * (arch.parameters - arch.in_experts)
    gathered = (4 + size) * arch.largest if spread(run) else 0
    shard = run.processes if run.sharding != "ddp" else 1
    calls = reading(run, arch.hidden, local, micro, prompt, completion, on_cpu=alone and not gpu)
    loss = {
        "gradients": (4 * trained / shard if micro < local else 0) + (0 if rank else 4 * arch.head),
        "weights cast or gathered": gathered or casts,
        "activations": activations(arch, calls, size, checkpointing=gpu, masked=run.objective not in SUPERVISED),
        "logits": _logits(run, arch, size, calls, micro * completion if gpu else None),
    }
    if run.sharding == "ddp" and not alone:
        held["DDP's buckets"] = 4 * trained  # gradients on their way, as large as the gradients
    update = {
        "gradients": 4 * trained / shard,
        # AdamW: on a GPU all tensors at once, on a CPU one by one
        "update in passing": 4 * trained / shard if gpu else 2 * 4 * (0 if rank else arch.largest_tensor),
    }
    phases = {"loss": held | loss, "update": held | update}
    if run.objective in SUPERVISED:
        return phases
    return {"generation": held | ({} if run.use_vllm else _generation(run, arch, size, local, casts))} | phases


def spread(run):
    """Whether no process holds all weights."""
    return run.processes > 1 and run.sharding in ("zero3", "fsdp")


def vllm_cache(run, arch, device):
    """(bytes that vLLM has for keys and values beside its weights, bytes of one row at its longest).

    A colocated engine takes a set share of the GPU, a server nearly all of its own.
    """
    share = run.vllm_memory if run.vllm_mode == "colocate" else SERVER_SHARE
    size = 2 if run.dtype == "bfloat16" else 4
    row = 2 * size * arch.layers * arch.kv * (run.max_prompt_tokens + run.max_completion_tokens)
    return share * device.memory - size * arch.parameters, row


def peak(phases):
    """(phase, bytes) where the parts sum to most."""
    return max(((name, sum(parts.values())) for name, parts in phases.items()), key=lambda pair: pair[1])


def _weights(run, arch, trained):
    n = run.processes
    weights = 4 * arch.parameters + (4 * trained if trained < arch.parameters else 0)
    if run.sharding == "ddp" or n == 1:
        return {"weights": weights, "optimizer": 8 * trained}
    if run.sharding == "zero2":  # DeepSpeed's: bfloat16 weights whole, their float32 originals with the moments
        return {"weights": weights / (2 if run.dtype == "bfloat16" else 1), "optimizer": 12 * trained / n}
    return {"weights": weights / n, "optimizer": 8 * trained / n}


def _frozen(run, arch):
    """Whole models besides the one that is trained."""
    found, whole = {}, 4 * arch.parameters
    if run.objective == "rlp":
        found["moving average"] = whole
    if run.kl and not run.lora_rank:  # with an adapter the reference is the model without it
        found["reference model"] = whole / (run.processes if spread(run) else 1)
    if run.objective in ("entropy_next_token", "rpt") and run.entropy_model != "policy":
        proxy = arch if run.entropy_model == "base" else Architecture.of(run.entropy_model)
        found["entropy model"] = 4 * proxy.parameters
    return found


def _logits(run, arch, size, calls, predicted=None):
    """Of the loss: TRL's tiles, or of plain supervised training all logits with their float32 copy and gradient.

    predicted: tokens that have a logit, of a GPU; elsewhere TRL takes those of the prompts along.
    """
    tokens = [count * length for count, length in calls]
    if run.objective in SUPERVISED:
        return sum(tokens) * arch.vocab * (size + 2 * 4)
    rows = predicted or max(tokens)
    tile = min(rows, TILE[0]) * min(arch.vocab, TILE[1])
    return tile * (size if predicted else 4 * IN_TORCH) + 4 * rows * arch.hidden  # with gradients of hidden states


def _generation(run, arch, size, local, casts):
    """transformers' growing branches: the cache of the groups that grow at once, and the layer that is being read."""
    groups = growing(run, local)
    rows = groups * run.group
    tokens = groups * (run.max_prompt_tokens + run.group * run.max_completion_tokens)
    cache = tokens * arch.kv * (4 + size)  # a layer's; keys come out of their rotation in float32
    repeated = tokens * arch.q * (4 + size + (size if size < 4 else 0))  # for all heads; then cast
    read = groups * run.max_prompt_tokens * (3 * arch.width * size + 6 * 4 * arch.hidden)  # the prompts
    return {
        "weights cast or gathered": casts,
        "KV cache": arch.layers * cache,
        "activations": max(cache + repeated, read),
        "logits": 5 * 4 * rows * arch.vocab,  # scaled, log-softmax, probabilities, their product, their sum
    }
