"""Seconds a token of the sampler at length, in pairs: room made ahead and grouped heads, transformers' own cache and
repeated heads, and `generate`; on a random model with grouped heads. `python -m tests.bench.decoding`."""

import contextlib
import statistics
import time
from unittest import mock

import torch
from transformers import DynamicCache, Qwen3Config, Qwen3ForCausalLM

from pzlib.engine import sampling

TOKENS = 48  # of each completion
WAYS = ("ours", "repeated heads", "generate")


def random_model(layers=4, dtype=torch.float32):
    """A Qwen3 of random weights: 16 heads of queries, 2 of keys."""
    torch.manual_seed(0)
    config = Qwen3Config(
        hidden_size=512, intermediate_size=1024, num_hidden_layers=layers, num_attention_heads=16,
        num_key_value_heads=2, head_dim=64, vocab_size=2048, max_position_embeddings=8192,
    )  # fmt: skip
    return Qwen3ForCausalLM(config).to(dtype).eval()


def seconds_a_token(model, way, prompt, branches, tokens=TOKENS):
    """(seconds a token of each completion, the completions) of one prompt; without those of reading the prompt."""
    with contextlib.ExitStack() as stack:
        if way == "repeated heads":
            stack.enter_context(mock.patch.object(sampling, "cache_for", lambda *_: DynamicCache()))
            stack.enter_context(mock.patch.object(sampling, "grouping", lambda _: contextlib.nullcontext()))
        if way == "generate":
            stack.enter_context(mock.patch.object(sampling, "can_branch", lambda _: False))
        spent = []
        for most in (1, tokens):
            ids = [[i % 2000 + 3 for i in range(prompt)]]
            begun = time.process_time()
            drawn = sampling.sample(
                model, ids, branches, max_new_tokens=most, eos_ids=[0], pad_id=1,
                generator=torch.Generator().manual_seed(0),
            )  # fmt: skip
            spent.append(time.process_time() - begun)
    return (spent[1] - spent[0]) / (tokens - 1), drawn.completion_ids


def main():
    model = random_model()
    for prompt, branches in ((1024, 8), (2048, 8), (2048, 1)):
        sampling.can_branch(model)
        found = {way: [] for way in WAYS}
        for _ in range(4):  # A B C A B C
            for way in WAYS:
                found[way].append(seconds_a_token(model, way, prompt, branches)[0])
        best = {way: statistics.median(own) for way, own in found.items()}
        line = ", ".join(f"{way} {1e3 * own:.1f} ms ({own / best['ours']:.2f}x)" for way, own in best.items())
        print(f"prompt {prompt}, {branches} branches: {line}")


if __name__ == "__main__":
    main()
