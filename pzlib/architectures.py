"""What a causal language model is made of, read from its config.json: sizes and a count of its parameters.
Leaves out what is no decoder of attention and gated MLPs (recurrent layers, windows, images): refused in words."""

import json
from dataclasses import dataclass
from pathlib import Path

from pzlib.run import REPO

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
