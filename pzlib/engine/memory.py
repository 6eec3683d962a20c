"""How many tokens one process reads at once, what devices and models have, and a run's peak memory by part and phase.
Leaves out evaluation and saving, and what allocators waste: `Device.usable` allows for that. Loads no torch."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from pzlib.errors import near_names
from pzlib.hub import of_hub
from pzlib.paths import REPO

GiB = 2**30
SHIPPED = REPO / "data/paper/models.json"  # of the papers' models, so that nothing need be fetched
KINDS = ("llama", "qwen2", "qwen3", "qwen3_moe", "smollm3")
ROLLOUT_TOKENS = 200_000  # prompt and completion tokens that grow at once: bounds the key-value cache's memory
TOKENS_AT_ONCE = 2048  # of a forward pass on a CPU: larger ones fall out of its cache
GROUPED = 1024  # cached positions from which the sampler repeats no keys and values for heads that share them
LONGEST = 4  # times the hidden width: tokens up to which dense attention costs no more than the products it spares
TILE = 4096, 32_768  # tokens and vocabulary of TRL's tiles of logits (trl/kernels/chunked_logprob.py)
IN_TORCH = 8.25  # float32 tiles at once in its `_backward_tile`, where torch does a Triton kernel's work (on a CPU)
SERVER_SHARE = 0.9  # of a GPU that only serves, the default of `python -m pzlib serve`


def shares(run, processes=1):
    """(rows of a process, rows of one forward and backward); the latter divides the rows of an update.

    Raises ValueError where processes would cut a block, or the rows make no `updates_per_batch` equal parts.

    >>> from pzlib.run import Run
    >>> shares(Run(tier="paper"), 8)
    (288, 4)
    """
    local, rest = divmod(run.rows_per_step, processes)
    block = 1 if run.method.supervised else run.groups_per_block * run.group
    if rest or local % block:
        cut = f"{run.passages} a step cannot be shared among {processes} processes"
        raise ValueError(f"passages: {cut} without cutting one's rows; give a multiple of {processes}")
    update, rest = divmod(local, run.updates_per_batch)
    if rest:
        near = next(n for n in range(run.updates_per_batch, 0, -1) if local % n == 0)
        cut = f"{local} rows of a process make no {run.updates_per_batch} equal parts"
        raise ValueError(f"updates_per_batch: {cut}; give a divisor of {local}, such as {near}, or other passages")
    return local, next(n for n in range(min(run.micro_batch_rows, update), 0, -1) if update % n == 0)


def groups_at_once(run, groups):
    """Groups, of so many, whose completions transformers grows at once."""
    return max(1, min(groups, ROLLOUT_TOKENS // (run.max_prompt_tokens + run.group * run.max_completion_tokens)))


def packed(run):
    """Whether shared prompts are read once in training: where rows may be dropped, and of thoughts."""
    return not run.method.supervised and (run.drop_rows or run.method.reads_shared_prompts)


def reading(run, hidden, prompt, completion, on_cpu=False):
    """[(sequences, tokens of each)]: what one micro-batch reads, call by call, if no row is dropped.

    hidden: the model's width; prompt, completion: tokens of each row; on_cpu: of one process. A micro-batch has
    rows of one group side by side, whole groups where they divide it.

    >>> from pzlib.run import Run
    >>> reading(Run(tier="mini"), 128, 80, 24, on_cpu=True)  # 36 groups of 8
    [(7, 271), (7, 271), (7, 271), (7, 271), (7, 271), (1, 271)]
    >>> reading(Run(tier="paper", processes=8), 2560, 1536, 1024)  # 4 rows of one prompt
    [(1, 5631)]
    """
    local, micro = shares(run, run.processes)
    if own := getattr(run.method, "reading", None):
        return own(run, hidden, prompt)
    if not packed(run):
        return [(micro, prompt + completion)]
    fit = max(1, (LONGEST * hidden - prompt + 1) // completion)  # branches of one sequence
    groups = [run.group] * (micro // run.group) + [micro % run.group]
    lengths = sorted(prompt - 1 + min(fit, rows - at) * completion for rows in groups for at in range(0, rows, fit))
    calls = [[]]
    for length in lengths:  # as `pzlib.engine.packing.batches`
        if on_cpu and calls[-1] and (len(calls[-1]) + 1) * length > TOKENS_AT_ONCE:
            calls.append([])
        calls[-1].append(length)
    return [(len(call), call[-1]) for call in calls]


@dataclass(frozen=True)
class Device:
    """memory in bytes; bandwidth in bytes per second; bf16 and fp32 in floating-point operations per second, dense."""

    memory: float
    bandwidth: float
    bf16: float
    fp32: float
    gpu: bool = True

    @property
    def usable(self):
        """Bytes for tensors: the rest, 8 % by assumption, is the driver's context, workspaces and fragments."""
        return 0.92 * self.memory


DEVICES = {
    "h100-80gb": Device(80 * GiB, 3.35e12, 989e12, 67e12),
    "h800-80gb": Device(80 * GiB, 3.35e12, 989e12, 67e12),
    "h200-141gb": Device(141e9, 4.8e12, 989e12, 67e12),
    "b200-180gb": Device(180e9, 8.0e12, 2250e12, 75e12),
    "mi300x-192gb": Device(192 * GiB, 5.3e12, 1307e12, 163e12),
    "a100-80gb": Device(80 * GiB, 2.04e12, 312e12, 19.5e12),
    "a100-40gb": Device(40 * GiB, 1.56e12, 312e12, 19.5e12),
    "l40s-48gb": Device(48 * GiB, 0.86e12, 362e12, 91.6e12),
    "rtx4090-24gb": Device(24 * GiB, 1.01e12, 165e12, 82.6e12),
    "rtx3090-24gb": Device(24 * GiB, 0.94e12, 71e12, 35.6e12),
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


@dataclass(frozen=True)
class Architecture:
    """Sizes of a decoder with full attention: widths in floats a token, counts of parameters without norms and biases.

    >>> big = Architecture.of("Qwen/Qwen3-4B-Base")
    >>> round(big.parameters / 1e9, 2), big.active == big.parameters
    (4.02, True)
    """

    kind: str  # config.json's model_type
    layers: int
    hidden: int
    q: int  # width of the queries
    kv: int  # width of the keys, and as many of the values
    width: int  # of the MLP, or of all experts that a token uses
    vocab: int
    context: int  # tokens
    experts: int  # of each layer; 0 where it is dense
    experts_used: int  # by each token
    layer: int  # parameters of one
    body: int  # those that a token multiplies: not embedding, output matrix and experts that it does not use
    active: int  # those that a token passes
    parameters: int
    adapter: int  # of LoRA on every linear layer, experts and their router too, for each rank

    @property
    def head(self):
        """Parameters of the output matrix, and as many of the embedding."""
        return self.vocab * self.hidden

    @classmethod
    def of(cls, model):
        """Of a folder with a config.json, of a shipped model's name, or of a hub name (its config.json is fetched).

        Raises FileNotFoundError where there is no such config.json, ValueError where it describes another kind.
        """
        file, shipped = Path(model) / "config.json", json.loads(SHIPPED.read_text())
        if model in shipped and not file.is_file():
            return cls.from_config(shipped[model]["config"], model)
        if Path(model).is_dir() and not file.is_file():
            raise FileNotFoundError(f"model: {model} holds no config.json; give a folder that save_pretrained wrote")
        if not file.is_file():
            try:
                file = of_hub(model)
            except FileNotFoundError as error:
                raise FileNotFoundError(f"{error}. Without it: {', '.join(shipped)}") from error
        return cls.from_config(json.loads(file.read_text()), model)

    @classmethod
    def from_config(cls, config, name="this model"):
        """The Architecture of a config.json read as a dict."""
        kind = config.get("model_type")
        windowed = set(config.get("layer_types") or ["full_attention"]) != {"full_attention"}
        mixed = config.get("decoder_sparse_step", 1) != 1 or config.get("mlp_only_layers")
        if kind not in KINDS or windowed or mixed:
            other = " with attention windows" if windowed else " with dense layers among sparse ones" if mixed else ""
            counted = f"{', '.join(KINDS)} with full attention and layers of one kind only"
            raise ValueError(f"model: {name!r} is of type {kind!r}{other}; memory is counted for {counted}")
        h, heads, layers, vocab = (
            config[key] for key in ("hidden_size", "num_attention_heads", "num_hidden_layers", "vocab_size")
        )
        size = config.get("head_dim") or h // heads
        q, kv, width = heads * size, (config.get("num_key_value_heads") or heads) * size, config["intermediate_size"]
        experts, used, unused, mlp_adapter = 0, 0, 0, 3 * (h + width)
        if kind == "qwen3_moe":  # transformers 5 writes the second name
            experts, used = config.get("num_experts") or config["num_local_experts"], config["num_experts_per_tok"]
            own = config["moe_intermediate_size"]
            width, unused = used * own, 3 * h * (experts - used) * own
            # peft gives the experts' first product, which is two in one, twice the rank
            mlp_adapter = experts * (2 * (h + 2 * own) + own + h) + h + experts
        passed = 2 * h * (q + kv) + 3 * h * width + experts * h
        active = layers * passed + vocab * h * (2 - bool(config.get("tie_word_embeddings")))
        return cls(
            kind, layers, h, q, kv, width, vocab, config["max_position_embeddings"], experts, used, passed + unused,
            layers * passed, active, active + layers * unused, layers * (2 * (2 * h + q + kv) + mlp_adapter),
        )  # fmt: skip


def kept(arch, size):
    """Bytes per token that autograd keeps of one layer, attention mask apart.

    size: bytes of a float in matrix products, 4, or 2 under autocast. What is added to the residual and normed stays
    float32, with casts for the projections; queries and keys are normed in float32; experts are not cast, for autocast
    does not know grouped products. Under a mask SDPA repeats keys and values to all heads.
    """
    normed = (arch.q + arch.kv) * (4 + size) if arch.kind.startswith("qwen3") else 0
    mlp = 4 * arch.width * (4 if arch.experts else size) + 8 * arch.experts_used * arch.hidden
    return 26 * arch.hidden + normed + 4 * arch.q * size + mlp


def activations(arch, calls, size, checkpointing, masked=True):
    """Bytes that the backward pass of some calls of the model needs: [(sequences, tokens of each)], see `reading`.

    checkpointing: each layer keeps its input alone, and is read again when its turn comes. masked: a float32 mask over
    all pairs of positions, which autocast copies for each layer. Gradients on their way come on top, for the longest
    call.
    """
    tokens = sum(count * length for count, length in calls)
    pairs = sum(count * length**2 for count, length in calls) if masked else 0
    last = max(count * length for count, length in calls)  # the call whose layer is being read
    masks = 4 * pairs + (size * pairs * (1 if checkpointing else arch.layers) if size < 4 else 0)
    layers, layer = arch.layers, kept(arch, size)
    own = tokens * 4 * arch.hidden * layers + last * layer if checkpointing else tokens * layers * layer
    mlp = 3 * arch.width * (4 if arch.experts else size) + 4 * arch.experts_used * arch.hidden
    passing = max(mlp, 3 * arch.q * size) + 8 * arch.hidden
    return own + masks + tokens * 12 * arch.hidden + last * passing  # with what is embedded, and the last norm


def memory(run, arch, device, prompt=None, completion=None):
    """{phase: {part: bytes}} of one of a Run's processes, which has a Device to itself; `peak` sums it up.

    prompt, completion: tokens of a row, by default the most that the run allows; no row is taken to be dropped.
    Weights, gradients and AdamW's two moments are float32 (`pzlib.engine.models.load`), arithmetic the run's `dtype`.
    """
    prompt, completion = prompt or run.max_prompt_tokens, completion or run.max_completion_tokens
    local, micro = shares(run, run.processes)
    size, gpu, rank, supervised = size_of(run), device.gpu, run.lora_rank, run.method.supervised
    trained = rank * arch.adapter or arch.parameters
    shard = 1 if run.sharding == "ddp" else run.processes
    zero2 = run.sharding == "zero2"  # DeepSpeed's: arithmetic's weights whole, their float32 originals with the moments
    held = {
        "weights": (size if zero2 else 4 / shard) * (arch.parameters + rank * arch.adapter),
        "optimizer": (12 if zero2 else 8) * trained / shard,
    }
    for part, model in run.method.frozen(run).items():
        held[part] = 4 * (Architecture.of(model) if model else arch).parameters
    if run.kl and not rank:  # with an adapter the reference is the model without it
        held["reference model"] = 4 * arch.parameters / (shard if spread(run) else 1)
    if run.use_vllm and run.vllm_mode == "colocate":
        held["vLLM: weights and KV cache"] = run.vllm_memory * device.memory
    if shard == 1 and run.processes > 1:
        held["DDP's buckets"] = 4 * trained  # gradients on their way, as large as the gradients
    # autocast keeps a copy of each trained weight until the call ends; those of frozen ones go at once
    casts = 0 if size == 4 or rank else size * (arch.parameters - arch.layers * arch.layer * bool(arch.experts))
    if spread(run):  # a layer or an embedding is gathered at a time
        casts = (4 + size) * max(arch.layer, arch.head)
    calls = reading(run, arch.hidden, prompt, completion, on_cpu=run.processes == 1 and not gpu)
    tokens = max(count * length for count, length in calls)
    logits = tokens * arch.vocab * (size + 8)  # with a float32 copy, and its gradient
    if not supervised:
        rows = micro * completion if gpu else tokens  # on a CPU TRL takes those of the prompts along
        tile = min(rows, TILE[0]) * min(arch.vocab, TILE[1])
        logits = tile * (size if gpu else 4 * IN_TORCH) + 4 * rows * arch.hidden  # with gradients of hidden states
    loss = {
        "gradients": (4 * trained / shard if micro < local else 0) + (0 if rank else 4 * arch.head),
        "weights cast or gathered": casts,
        "activations": activations(arch, calls, size, checkpointing=gpu, masked=not supervised),
        "logits": logits,
    }
    update = {"gradients": 4 * trained / shard}
    if gpu:  # AdamW takes all tensors at once, on a CPU one by one
        update["update in passing"] = 4 * trained / shard
    generation = {} if run.use_vllm else _generation(run, arch, size, local) | {"weights cast or gathered": casts}
    phases = ({} if supervised else {"generation": generation}) | {"loss": loss, "update": update}
    return {phase: held | parts for phase, parts in phases.items()}


def peak(phases):
    """(phase, bytes) where the parts sum to most."""
    return max(((name, sum(parts.values())) for name, parts in phases.items()), key=lambda pair: pair[1])


def size_of(run):
    """Bytes of a float in a run's matrix products."""
    return 2 if run.dtype == "bfloat16" else 4


def spread(run):
    """Whether no process holds all weights."""
    return run.processes > 1 and run.sharding in ("zero3", "fsdp")


def vllm_cache(run, arch, device):
    """(bytes that vLLM has for keys and values beside its weights, bytes of one row at its longest).

    A colocated engine takes a set share of the GPU, a server nearly all of its own.
    """
    share = run.vllm_memory if run.vllm_mode == "colocate" else SERVER_SHARE
    row = 2 * size_of(run) * arch.layers * arch.kv * (run.max_prompt_tokens + run.max_completion_tokens)
    return share * device.memory - size_of(run) * arch.parameters, row


def _generation(run, arch, size, local):
    """transformers' growing branches: the cache of the groups that grow at once, and the layer that is being read."""
    groups = groups_at_once(run, local // run.group)
    length = run.max_prompt_tokens + run.group * run.max_completion_tokens
    cache = groups * length * arch.kv * 2 * size  # a layer's, in the arithmetic's precision; copied where it grows
    repeated = groups * (run.max_prompt_tokens if length >= GROUPED else length) * arch.q * 2 * size  # for all heads
    return {
        "KV cache": arch.layers * cache,
        "activations": cache + repeated,
        "logits": 5 * 4 * groups * run.group * arch.vocab,  # scaled, log-softmax, probabilities, product, sum
    }
