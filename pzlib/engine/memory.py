"""Peak memory of a run, part by part, in each phase of a step: generation, loss, update. Bytes of one GPU.
Leaves out evaluation and saving, and what allocators waste: `Device.usable` allows for that."""

import json
from dataclasses import dataclass
from pathlib import Path

from pzlib.engine.shares import growing, reading, shares
from pzlib.paths import REPO

SHIPPED = REPO / "data/paper/models.json"  # of the papers' models, so that nothing need be fetched

KINDS = ("llama", "qwen2", "qwen3", "qwen3_moe", "smollm3")



@dataclass(frozen=True)
class Architecture:
    """Sizes of a decoder; widths are numbers of floats a token.

    >>> big = Architecture.of("Qwen/Qwen3-4B-Base")
    >>> big.parameters, big.active == big.parameters
    (4022468096, True)
    """

    kind: str  # config.json's model_type
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    width: int  # of a dense layer's MLP
    vocab: int
    tied: bool  # whether the output matrix is the embedding
    context: int  # tokens
    bias: int = 0  # floats of all biases in a dense layer
    experts: int = 0  # of a sparse layer
    experts_used: int = 0  # by each token
    expert_width: int = 0
    sparse: int = 0  # layers whose MLP is a choice of experts

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
        kv, layers = config.get("num_key_value_heads") or heads, config["num_hidden_layers"]
        size = config.get("head_dim") or hidden // heads
        q, k, width = heads * size, kv * size, config["intermediate_size"]
        # qwen2 has biases whatever its config says, and none on the output projection
        bias = q + 2 * k + (0 if kind == "qwen2" else hidden) if kind == "qwen2" or config.get("attention_bias") else 0
        bias += 2 * width + hidden if config.get("mlp_bias") else 0
        step, dense = config.get("decoder_sparse_step", 1), config.get("mlp_only_layers") or []
        named = config.get("num_experts") or config.get("num_local_experts") or 0  # transformers 5 writes the latter
        experts = named if kind == "qwen3_moe" else 0
        sparse = sum((i + 1) % step == 0 and i not in dense for i in range(layers)) if experts else 0
        return cls(
            kind, layers, hidden, heads, kv, size, width, config["vocab_size"],
            bool(config.get("tie_word_embeddings")), config["max_position_embeddings"], bias,
            experts, config["num_experts_per_tok"] if experts else 0, config.get("moe_intermediate_size", 0), sparse,
        )  # fmt: skip

    @property
    def q(self):
        return self.heads * self.head_dim

    @property
    def kv(self):
        """Of the keys, and as many of the values."""
        return self.kv_heads * self.head_dim

    @property
    def qk_norm(self):
        return self.kind in ("qwen3", "qwen3_moe")

    @property
    def head(self):
        """Parameters of the output matrix, which is also the embedding's size."""
        return self.vocab * self.hidden

    @property
    def attention(self):
        """Of one layer with its norms and biases."""
        norms = 2 * self.hidden + 2 * self.head_dim * self.qk_norm
        return 2 * self.hidden * (self.q + self.kv) + self.bias + norms

    @property
    def expert(self):
        return 3 * self.hidden * self.expert_width

    @property
    def body(self):
        """All but the embedding, the output matrix and the experts that a token does not use: what it multiplies."""
        dense = (self.layers - self.sparse) * 3 * self.hidden * self.width
        chosen = self.sparse * (self.experts * self.hidden + self.experts_used * self.expert)
        return self.layers * self.attention + dense + chosen + self.hidden

    @property
    def active(self):
        """Parameters that one token meets, embedding and output matrix included."""
        return self.body + self.head * (1 if self.tied else 2)

    @property
    def in_experts(self):
        return self.sparse * self.experts * self.expert

    @property
    def parameters(self):
        return self.active + self.sparse * (self.experts - self.experts_used) * self.expert

    @property
    def largest(self):
        """Parameters of the largest piece that sharding gathers at once: a layer, or an embedding."""
        mlp = self.experts * (self.expert + self.hidden) if self.sparse else 3 * self.hidden * self.width
        return max(self.attention + mlp, self.head)

    @property
    def largest_tensor(self):
        """Parameters in one tensor at most; a layer's experts are one."""
        return max(self.head, self.hidden * self.width, 2 * self.hidden * self.experts * self.expert_width)

    def adapter(self, rank):
        """Parameters of a LoRA adapter of `rank` on every linear layer, experts and their router too.

        peft gives the experts' first product, which is two in one, twice the rank.
        """
        q, kv, h, width = self.q, self.kv, self.hidden, self.expert_width
        mlp = (self.layers - self.sparse) * 3 * (h + self.width)
        mlp += self.sparse * (self.experts * (2 * (h + 2 * width) + width + h) + h + self.experts)
        return rank * (self.layers * (2 * (h + q) + 2 * (h + kv)) + mlp)



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
        path = hf_hub_download(model, "config.json")
    except Exception as error:  # offline, no such name, a gated one: the hub has a class for each
        raise FileNotFoundError(
            f"model: {model!r} is no folder here and its config.json cannot be fetched from the hub "
            f"({type(error).__name__}); check the name and the network, or give a folder. Shipped: {', '.join(shipped)}"
        ) from error
    return json.loads(Path(path).read_text())


def kept(arch, size, sparse=False):
    """Bytes a token that autograd keeps of one layer, attention mask apart; `sparse`: a layer that chooses experts.

    size: bytes of a float in matrix products, 4, or 2 under autocast. Then what is added to the residual and normed
    stays float32, each projection keeps an input cast for itself, and queries and keys are normed in float32; experts
    are not cast, for autocast does not know grouped products. Under a mask SDPA repeats keys and values to all heads.
    """
    h, q, kv = arch.hidden, arch.q, arch.kv
    cast = size < 4
    normed = 4 * (4 * h + 2)  # two norms: input, normed, 1 / rms
    inputs = 3 * h * size if cast else h * size  # of the three projections
    heads = (q + kv) * (4 + size) + 4 * (arch.heads + arch.kv_heads) if arch.qk_norm else 0
    attention = 3 * q * size + q * size + 4 * arch.heads  # SDPA's q, k, v; its output, the next one's input; log-sums
    if not sparse:
        return normed + inputs + heads + attention + (2 * h if cast else h) * size + 4 * arch.width * size
    chosen, width = arch.experts_used, arch.expert_width
    router = h * size + 4 * arch.experts + 8 * chosen
    indices = chosen * (3 * 8 + size + 1)
    return normed + inputs + heads + attention + router + indices + 4 * chosen * (2 * h + 4 * width)



def passing(arch, size):
    """Bytes a token that the backward pass of one layer holds at once besides what was kept: gradients on their way."""
    wide = 4 * arch.experts_used * (arch.hidden + 3 * arch.expert_width) if arch.sparse else 3 * arch.width * size
    return max(wide, 3 * arch.q * size) + 2 * 4 * arch.hidden



def activations(arch, calls, size, checkpointing, masked=True):
    """Bytes that the backward pass of some calls of the model needs: [(sequences, tokens of each)], see `reading`.

    checkpointing: each layer keeps its input alone, and is read again when its turn comes. masked: a float32 mask over
    all pairs of positions, which autocast copies for each layer.
    """
    dense, sparse = arch.layers - arch.sparse, arch.sparse
    tokens = sum(count * length for count, length in calls)
    pairs = sum(count * length**2 for count, length in calls) if masked else 0
    last = max(count * length for count, length in calls)  # the call whose layer is being read
    ends = 4 * (3 * arch.hidden + 2 * arch.head_dim)  # embedded; the last norm; sines and cosines
    masks = 4 * pairs
    if checkpointing:
        layer = max(kept(arch, size, sparse=bool(sparse)), kept(arch, size) if dense else 0)
        own = tokens * 4 * arch.hidden * arch.layers + last * layer
        masks += size * pairs if size < 4 else 0
    else:
        own = tokens * (dense * kept(arch, size) + sparse * kept(arch, size, sparse=True))
        masks += size * pairs * arch.layers if size < 4 else 0
    return own + masks + tokens * ends + last * passing(arch, size)


TILE = 4096, 32_768  # tokens and vocabulary of TRL's tiles of logits (trl/kernels/chunked_logprob.py)

IN_TORCH = 8.25  # float32 tiles at once in its `_backward_tile`, where torch does a Triton kernel's work (on a CPU)

SERVER_SHARE = 0.9  # of a GPU that only serves, the default of `python -m pzlib serve`



def memory(run, arch, device, prompt=None, completion=None):
    """{phase: {part: bytes}} of one of a Run's processes, which has a Device to itself; `peak` sums it up.

    prompt, completion: tokens of a row, by default the most that the run allows; no row is taken to be dropped.
    Weights, gradients and AdamW's two moments are float32 (`pzlib.engine.models.load`), arithmetic is the run's `dtype`.
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
        "activations": activations(arch, calls, size, checkpointing=gpu, masked=not run.method.supervised),
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
    if run.method.supervised:
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
    if run.method.supervised:
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
