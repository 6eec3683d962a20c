"""Tiny models with recurrent layers and random weights, to see that what runs on Qwen3 runs on another architecture.
Left out: training one from scratch; RLP's own (Nemotron-Nano-12B-v2) is a download away at the tiers with a GPU."""

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from pzlib.engine.models import less_noise

# Nemotron-H (state space, attention, MLP layers in turn) is the family of RLP's larger model; Mamba2 has states only.
KINDS = {
    "nemotron_h": dict(
        layers_block_type=["mamba", "attention", "mlp"], num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=64, mamba_num_heads=4, mamba_head_dim=16, ssm_state_size=8, max_position_embeddings=256,
    ),
    "mamba2": dict(num_hidden_layers=2, num_heads=4, state_size=8),
}  # fmt: skip



def tiny_hybrid(kind: str, tokenizer, folder: Path, seed: int = 0) -> Path:
    """Save a random model of one of `KINDS` (width 32) with a tokenizer, as a folder that `Run.model` takes."""
    config = AutoConfig.for_model(
        kind, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None, tie_word_embeddings=True, hidden_size=32, head_dim=16, n_groups=1, chunk_size=16,
        **KINDS[kind],
    )  # fmt: skip
    with torch.random.fork_rng(), less_noise():
        torch.manual_seed(seed)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
