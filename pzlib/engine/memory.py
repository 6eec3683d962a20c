"""What devices and models have, by name and configuration; a run's peak memory by part and phase, bytes of one process.
Leaves out evaluation and saving, and what allocators waste: `Device.usable` allows for that."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from pzlib.engine.shares import growing, reading, shares
from pzlib.errors import near_names
from pzlib.paths import REPO

GiB = 2**30
SHIPPED = REPO / "data/paper/models.json"  # of the papers' models, so that nothing need be fetched
KINDS = ("llama", "qwen2", "qwen3", "qwen3_moe", "smollm3")
TILE = 4096, 32_768  # tokens and vocabulary of TRL's tiles of logits (trl/kernels/chunked_logprob.py)
IN_TORCH = 8.25  # float32 tiles at once in its `_backward_tile`, where torch does a Triton kernel's work (on a CPU)
SERVER_SHARE = 0.9  # of a GPU that only serves, the default of `python -m pzlib serve`


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
    """Sizes of a decoder with full attention: widths in floats a token, counts of parameters.

    >>> big = Architecture.of("Qwen/Qwen3-4B-Base")
    >>> big.parameters, big.active == big.parameters
    (4022468096, True)
    """

    kind: str  # config.json's model_type
    layers: int
    hidden: int
    head_dim: int
    q: int  # width of the queries
    kv: int  # width of the keys, and as many of the values
    width: int  # of a dense layer's MLP
    vocab: int
    context: int  # tokens
    tied: bool  # whether the output matrix is the embedding
    bias: int = 0  # floats of all biases in a dense layer
    experts: int = 0  # of a sparse layer
    experts_used: int = 0  # by each token
    expert_width: int = 0
    sparse: int = 0  # layers whose MLP is a choice of experts

    def __post_init__(self):
        h, gated = self.hidden, self.kind in ("qwen3", "qwen3_moe")
        expert, dense = 3 * h * self.expert_width, 3 * h * self.width
        attention = 2 * h * (self.q + self.kv) + self.bias + 2 * h + 2 * self.head_dim * gated  # with its norms
        chosen = self.sparse * (self.experts * h + self.experts_used * expert)
        body = self.layers * attention + (self.layers - self.sparse) * dense + chosen + h
        active = body + self.vocab * h * (2 - self.tied)
        counts = {
            "qk_norm": gated,
            "head": self.vocab * h,  # the output matrix, and as many of the embedding
            "expert": expert,  # one
            "in_experts": self.sparse * self.experts * expert,
            "layer": attention + (self.experts * (expert + h) if self.sparse else dense),  # the largest
            "body": body,  # what a token multiplies: not embedding, output matrix and experts that it does not use
            "active": active,  # what a token passes
            "parameters": active + self.sparse * (self.experts - self.experts_used) * expert,
        }
        for name, count in counts.items():
            object.__setattr__(self, name, count)

    @classmethod
    def of(cls, model):
        """Of a folder with a config.json, of a shipped model's name, or of a hub name (its config.json is fetched).

        Raises FileNotFoundError where there is no such config.json, ValueError where it describes another kind.
        """
        return cls.from_config(config_of(model), model)

    @classmethod
    def from_config(cls, config, name="this model"):
        """The Architecture of a config.json read as a dict."""
        kind = config.get("model_type")
        windowed = set(config.get("layer_types") or ["full_attention"]) != {"full_attention"}
        if kind not in KINDS or windowed:
            raise ValueError(
                f"model: {name!r} is of type {kind!r}{' with attention windows' if windowed else ''}; parameters and "
                f"activations are counted for {', '.join(KINDS)} with full attention only"
            )
        hidden, heads = config["hidden_size"], config["num_attention_heads"]
        size, layers = config.get("head_dim") or hidden // heads, config["num_hidden_layers"]
        q, kv, width = heads * size, (config.get("num_key_value_heads") or heads) * size, config["intermediate_size"]
        # qwen2 has biases whatever its config says, and none on the output projection
        bias = q + 2 * kv + hidden * (kind != "qwen2") if kind == "qwen2" or config.get("attention_bias") else 0
        bias += 2 * width + hidden if config.get("mlp_bias") else 0
        own = ()
        if kind == "qwen3_moe":  # transformers 5 writes the second name
            step, dense = config.get("decoder_sparse_step", 1), config.get("mlp_only_layers") or []
            own = config.get("num_experts") or config.get("num_local_experts"), config["num_experts_per_tok"]
            own += config["moe_intermediate_size"], sum((i + 1) % step == 0 and i not in dense for i in range(layers))
        tied, context = bool(config.get("tie_word_embeddings")), config["max_position_embeddings"]
        return cls(kind, layers, hidden, size, q, kv, width, config["vocab_size"], context, tied, bias, *own)

    def adapter(self, rank):
        """Parameters of a LoRA adapter of `rank` on every linear layer, experts and their router too.

        peft gives the experts' first product, which is two in one, twice the rank.
        """
        h, width = self.hidden, self.expert_width
        mlp = (self.layers - self.sparse) * 3 * (h + self.width)
        mlp += self.sparse * (self.experts * (2 * (h + 2 * width) + width + h) + h + self.experts)
        return rank * (self.layers * (2 * (h + self.q) + 2 * (h + self.kv)) + mlp)


def config_of(model):
    """config.json as a dict: of a folder, of a shipped model, else of the hub."""
    folder = Path(model)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(f"model: {model} holds no config.json; give a folder that save_pretrained wrote")
        return json.loads((folder / "config.json").read_text())
    shipped = json.loads(SHIPPED.read_text())
    if model in shipped:
        return shipped[model]["config"]
    from huggingface_hub import hf_hub_download

    try:
        return json.loads(Path(hf_hub_download(model, "config.json")).read_text())
    except Exception as error:  # offline, no such name, a gated one: the hub has a class for each
        raise FileNotFoundError(
            f"model: {model!r} is no folder here and its config.json cannot be fetched from the hub "
            f"({type(error).__name__}); check the name and the network, or give a folder. Shipped: {', '.join(shipped)}"
        ) from error


def kept(arch, size, sparse=False):
    """Bytes a token that autograd keeps of one layer, attention mask apart; `sparse`: a layer that chooses experts.

    size: bytes of a float in matrix products, 4, or 2 under autocast. Then what is added to the residual and normed
    stays float32, each projection keeps an input cast for itself, and queries and keys are normed in float32; experts
    are not cast, for autocast does not know grouped products. Under a mask SDPA repeats keys and values to all heads.
    """
    h, q = arch.hidden, arch.q
    cast = size < 4
    found = 4 * 4 * h + (3 if cast else 1) * h * size  # two norms' inputs and outputs; the three projections' inputs
    found += (q + arch.kv) * (4 + size) * arch.qk_norm + 4 * q * size  # normed; SDPA's q, k, v and its output
    if sparse:
        return found + h * size + 4 * arch.experts + 4 * arch.experts_used * (2 * h + 4 * arch.expert_width)
    return found + (2 if cast else 1) * h * size + 4 * arch.width * size


def activations(arch, calls, size, checkpointing, masked=True):
    """Bytes that the backward pass of some calls of the model needs: [(sequences, tokens of each)], see `reading`.

    checkpointing: each layer keeps its input alone, and is read again when its turn comes. masked: a float32 mask over
    all pairs of positions, which autocast copies for each layer. Gradients on their way come on top, for the longest
    call.
    """
    dense, sparse = arch.layers - arch.sparse, arch.sparse
    tokens = sum(count * length for count, length in calls)
    pairs = sum(count * length**2 for count, length in calls) if masked else 0
    last = max(count * length for count, length in calls)  # the call whose layer is being read
    masks = 4 * pairs + (size * pairs * (1 if checkpointing else arch.layers) if size < 4 else 0)
    if checkpointing:
        layer = max(kept(arch, size, sparse=bool(sparse)), kept(arch, size) if dense else 0)
        own = tokens * 4 * arch.hidden * arch.layers + last * layer
    else:
        own = tokens * (dense * kept(arch, size) + sparse * kept(arch, size, sparse=True))
    ends = 4 * (3 * arch.hidden + 2 * arch.head_dim)  # embedded; the last norm; sines and cosines
    wide = 4 * arch.experts_used * (arch.hidden + 3 * arch.expert_width) if sparse else 3 * arch.width * size
    passing = max(wide, 3 * arch.q * size) + 2 * 4 * arch.hidden
    return own + masks + tokens * ends + last * passing


def memory(run, arch, device, prompt=None, completion=None):
    """{phase: {part: bytes}} of one of a Run's processes, which has a Device to itself; `peak` sums it up.

    prompt, completion: tokens of a row, by default the most that the run allows; no row is taken to be dropped.
    Weights, gradients and AdamW's two moments are float32 (`pzlib.engine.models.load`), arithmetic the run's `dtype`.
    """
    prompt, completion = prompt or run.max_prompt_tokens, completion or run.max_completion_tokens
    local, micro = shares(run, run.processes)
    size = size_of(run)
    gpu, rank, alone = device.gpu, run.lora_rank, run.processes == 1
    trained = arch.adapter(rank) if rank else arch.parameters
    held = _weights(run, arch, trained) | _frozen(run, arch)
    if run.use_vllm and run.vllm_mode == "colocate":
        held["vLLM: weights and KV cache"] = run.vllm_memory * device.memory
    if run.sharding == "ddp" and not alone:
        held["DDP's buckets"] = 4 * trained  # gradients on their way, as large as the gradients
    held["rows of the step"] = 8 * local * (2 * prompt + 3 * completion)  # ids and masks are 64-bit
    # autocast keeps a copy of each trained weight until the call ends; those of frozen ones go at once
    casts = 0 if size == 4 or rank else size * (arch.parameters - arch.in_experts)
    if spread(run):  # a layer or an embedding is gathered at a time
        casts = (4 + size) * max(arch.layer, arch.head)
    shard = run.processes if run.sharding != "ddp" else 1
    calls = reading(run, arch.hidden, local, micro, prompt, completion, on_cpu=alone and not gpu)
    supervised = run.method.supervised
    loss = {
        "gradients": (4 * trained / shard if micro < local else 0) + (0 if rank else 4 * arch.head),
        "weights cast or gathered": casts,
        "activations": activations(arch, calls, size, checkpointing=gpu, masked=not supervised),
        "logits": _logits(run, arch, size, calls, micro * completion if gpu else None),
    }
    update = {
        "gradients": 4 * trained / shard,
        # AdamW: on a GPU all tensors at once, on a CPU one by one
        "update in passing": 4 * trained / shard if gpu else 8 * (0 if rank else arch.head),
    }
    phases = {"loss": held | loss, "update": held | update}
    if supervised:
        return phases
    return {"generation": held | ({} if run.use_vllm else _generation(run, arch, size, local, casts))} | phases


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


def _weights(run, arch, trained):
    n = run.processes
    weights = 4 * arch.parameters + (4 * trained if trained < arch.parameters else 0)
    if run.sharding == "ddp" or n == 1:
        return {"weights": weights, "optimizer": 8 * trained}
    if run.sharding == "zero2":  # DeepSpeed's: arithmetic's weights whole, their float32 originals with the moments
        return {"weights": weights * size_of(run) / 4, "optimizer": 12 * trained / n}
    return {"weights": weights / n, "optimizer": 8 * trained / n}


def _frozen(run, arch):
    """Whole models besides the one that is trained."""
    found = {}
    for part, model in run.method.frozen(run).items():
        found[part] = 4 * (Architecture.of(model) if model else arch).parameters
    if run.kl and not run.lora_rank:  # with an adapter the reference is the model without it
        found["reference model"] = 4 * arch.parameters / (run.processes if spread(run) else 1)
    return found


def _logits(run, arch, size, calls, predicted=None):
    """Of the loss: TRL's tiles, or of plain supervised training all logits with their float32 copy and gradient.

    predicted: tokens that have a logit, of a GPU; elsewhere TRL takes those of the prompts along.
    """
    tokens = [count * length for count, length in calls]
    if run.method.supervised:
        return sum(tokens) * arch.vocab * (size + 2 * 4)
    rows = predicted or max(tokens)
    tile = min(rows, TILE[0]) * min(arch.vocab, TILE[1])
    return tile * (size if predicted else 4 * IN_TORCH) + 4 * rows * arch.hidden  # with gradients of hidden states


def _generation(run, arch, size, local, casts):
    """transformers' growing branches: the cache of the groups that grow at once, and the layer that is being read."""
    groups = growing(run, local)
    tokens = groups * (run.max_prompt_tokens + run.group * run.max_completion_tokens)
    cache = tokens * arch.kv * (4 + size)  # a layer's; keys come out of their rotation in float32
    repeated = tokens * arch.q * (4 + size + (size if size < 4 else 0))  # for all heads; then cast
    read = groups * run.max_prompt_tokens * (3 * arch.width * size + 6 * 4 * arch.hidden)  # the prompts
    return {
        "weights cast or gathered": casts,
        "KV cache": arch.layers * cache,
        "activations": max(cache + repeated, read),
        "logits": 5 * 4 * groups * run.group * arch.vocab,  # scaled, log-softmax, probabilities, product, sum
    }
