"""What micro-batches in prompt order spare: CPU seconds and peak memory of an update's gradient, beside the same rows
shuffled and beside plain TRL, in pairs; a random model of the shape of SmolLM2-135M.
`python -m tests.bench.micro_batches` fills data/results/micro_batches.csv; plain TRL takes 6 to 7 GB."""

import argparse
import json
import subprocess
import sys
import time
from statistics import median
from types import SimpleNamespace

import pandas as pd
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from trl.trainer.utils import add_fused_lm_head

from pzlib.engine.memory import TOKENS_AT_ONCE
from pzlib.engine.packing import PackedModel, in_prompt_order
from pzlib.paths import root
from pzlib.runs.folder import write_atomic
from tests.bench.peak import resident

WAYS = ("prompt order", "shuffled", "plain TRL")


def model_of(layers=30):
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=576, intermediate_size=1536, num_hidden_layers=layers, num_attention_heads=9,
        num_key_value_heads=3, vocab_size=49152, max_position_embeddings=8192, tie_word_embeddings=True,
    )  # fmt: skip
    model = LlamaForCausalLM(config).train()
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    return model


def micro_batches(groups, group, prompt, completion, micro):
    """TRL's buffer of one update: groups of equal prompts, every row with an advantage, shuffled, cut by `micro`."""
    draw, rows = torch.Generator().manual_seed(0), groups * group
    shuffled = torch.randperm(rows, generator=draw)
    prompts = torch.randint(3, 49_000, (groups, prompt), generator=draw).repeat_interleave(group, dim=0)
    table = {
        "prompt_ids": prompts, "prompt_mask": torch.ones_like(prompts),
        "completion_ids": torch.randint(3, 49_000, (rows, completion), generator=draw),
        "completion_mask": torch.ones(rows, completion, dtype=torch.long),
        "advantages": torch.randn(rows, generator=draw),
    }  # fmt: skip
    parts = {name: values[shuffled].split(micro) for name, values in table.items()}
    return [{name: own[at] for name, own in parts.items()} for at in range(rows // micro)]


def gradient(model, batches, way):
    """The gradient's norm after all micro-batches, by TRL's loss at a ratio of 1: advantage x log-probability."""
    model.zero_grad()
    batches = in_prompt_order(batches, moving_first=True) if way == "prompt order" else batches
    for batch in batches:
        width = batch["completion_ids"].shape[1]
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        labels = ids.masked_fill(mask == 0, -100)
        labels[:, : ids.shape[1] - width] = -100
        called = model if way == "plain TRL" else PackedModel(model, model, width, at_once=TOKENS_AT_ONCE)
        out = called(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
        (out.log_probs[:, -width:] * batch["advantages"][:, None]).sum().backward()
    return torch.stack([p.grad.norm() for p in model.parameters()]).norm().item()


def one(way, sizes):
    """{"seconds", "MiB", "norm"} of a gradient in this process: the peak over what there was before."""
    model, batches = model_of(), micro_batches(**sizes)
    before, begun = resident("VmRSS"), time.process_time()
    norm = gradient(model, batches, way)
    seconds = time.process_time() - begun
    return {"seconds": seconds, "MiB": (resident("VmHWM") - before) / 2**20, "norm": norm}


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.bench.micro_batches", description=__doc__)
    parser.add_argument("--groups", type=int, default=4)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--prompt", type=int, default=300)
    parser.add_argument("--completion", type=int, default=100)
    parser.add_argument("--micro", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    given = vars(parser.parse_args())
    pairs, way = given.pop("pairs"), given.pop("way")
    if way:
        return print(json.dumps(one(way, given)))
    found = {way: [] for way in WAYS}
    for _ in range(pairs):  # A B C A B C, each in a process of its own
        for way in WAYS:
            sizes = [f"--{name}={value}" for name, value in given.items()]
            command = [sys.executable, "-m", "tests.bench.micro_batches", "--way", way, *sizes]
            printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            found[way].append(SimpleNamespace(**json.loads(printed.splitlines()[-1])))
    rows = []
    for way, own in found.items():
        seconds, most = median(each.seconds for each in own), median(each.MiB for each in own)
        times = median(b.seconds / a.seconds for a, b in zip(found[WAYS[0]], own, strict=True))
        rows.append({"way": way, "seconds": seconds, "times": times, "MiB": most, "norm": own[0].norm})
    table = pd.DataFrame(rows).assign(**given, pairs=pairs).map(lambda x: float(f"{x:.5g}") if type(x) is float else x)
    print(table.to_string(index=False))
    write_atomic(root() / "data/results/micro_batches.csv", table.to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    main()
