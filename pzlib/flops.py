"""Tokens, arithmetic and time of a step: what is generated and what is trained on, at stated shares of a device's peak.
Leaves out traffic between GPUs and evaluation; a share reached is an assumption, not a measurement."""

from dataclasses import dataclass

from pzlib.allowed import SUPERVISED
from pzlib.shares import growing, reading, shares

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
    if run.objective in SUPERVISED:
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
