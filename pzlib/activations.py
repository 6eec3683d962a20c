"""What a decoder's layers keep for the backward pass, and what they hold in passing: bytes a token, counted by hand.
Leaves out fused kernels, which keep less: these are transformers' own layers, with SDPA under a mask."""


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
