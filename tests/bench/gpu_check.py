"""What one GPU does: the game on a random model, our sampler, rows dropped or not, prompts shared or not, memory beside
`plan`, and three steps beside those of the CPU. Each part is a process of its own. See gpu_check.sh."""

import argparse
import json
import os
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import pandas as pd

from pzlib.paths import REPO
from pzlib.run import Run

OUT = REPO / "data/results/gpu.csv"
STEPS = 3  # of each part; the first is not timed
WAYS = {  # drop_rows, shared prompts
    "rows dropped, prompts shared": (True, True),
    "prompts shared": (False, True),
    "rows dropped": (True, False),
    "neither": (False, False),
}
PLANNED = ("prompts shared", "neither")  # `plan` takes no row to be dropped


@dataclass(frozen=True)
class Size:
    """Of the random model, and of what it reads and writes."""

    hidden: int
    layers: int
    heads: int
    vocab: int
    passage: int  # words
    completion: int  # tokens
    group: int


GPU = Size(hidden=1024, layers=28, heads=16, vocab=32_768, passage=700, completion=256, group=8)  # 386 M parameters
DRY = Size(hidden=64, layers=2, heads=4, vocab=4096, passage=60, completion=12, group=4)


def prepare(home, size):
    """The Run of the game at this size; its random model and its text are written to `home`."""
    import torch
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    from pzlib.world import tinywiki

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(REPO / "data/tinybase_a")
    config = Qwen3Config(
        hidden_size=size.hidden, intermediate_size=3 * size.hidden, num_hidden_layers=size.layers,
        num_attention_heads=size.heads, num_key_value_heads=size.heads // 2, head_dim=size.hidden // size.heads,
        vocab_size=size.vocab, max_position_embeddings=4096, tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(home / "random")
    tokenizer.save_pretrained(home / "random")
    words = " ".join(p.text for p in tinywiki.passages("tinywiki", 2000, seed=-1)).split()
    texts = [" ".join(words[i : i + size.passage]) for i in range(0, 20 * size.passage, size.passage)]
    (home / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    rows = size.group * size.group
    return Run(
        tier="gpu", objective="random_span", model=str(home / "random"), corpus=str(home / "text.jsonl"),
        corpus_config="", template="tiny", steps=STEPS, passages=1, group=size.group, min_tokens=8,
        max_tokens=size.passage, max_prompt_tokens=size.passage + 100, max_completion_tokens=size.completion,
        micro_batch_rows=rows, learning_rate=1e-5, eval_every=0, save_every=1000, keep_every=0, name="game",
    )  # fmt: skip


def made_rewards(self, asked, answers, read):
    """A random model is never right: of every two groups one is dead, in the other every second row is rewarded."""
    return [
        [(answer, None, float(g % 2 and i % 2), {}) for i, answer in enumerate(group)]
        for g, group in enumerate(answers)
    ]


def play(settings, drop, share):
    """Trains in this process; {"device", "bytes": its peak, "grad_norm": of the first step, and tokens a second of the
    others: "sampled", and "trained", which counts all of prompts and completions, read or not}."""
    import torch

    from pzlib.engine import packing
    from pzlib.objectives.passive import RandomSpan
    from pzlib.train import train
    from tests.bench.peak import resident
    from tests.bench.stopwatch import device

    gpu = torch.cuda.is_available()
    before = 0 if gpu else resident("VmRSS")
    with mock.patch.object(RandomSpan, "score", made_rewards):
        plain = packing.can_branch
        with mock.patch.object(packing, "can_branch", lambda model: share and plain(model)):
            folder = train(replace(Run.from_dict(settings), drop_rows=drop))
    peak = torch.cuda.max_memory_allocated() if gpu else resident("VmHWM") - before
    timed = folder.metrics().iloc[1:]
    return {
        "device": device(), "bytes": int(peak), "grad_norm": float(folder.metrics()["grad_norm"].iloc[0]),
        "sampled": float(timed["tokens_completion"].sum() / timed["seconds_generation"].sum()),
        "trained": float(timed[["tokens_prompt", "tokens_completion"]].sum().sum() / timed["seconds_training"].sum()),
    }  # fmt: skip


def small_world():
    """Three steps of PretrainZero on tinybase in float32, in this process; {"completions", "weights": a file}."""
    from pzlib.train import train

    folder = train(Run(tier="smoke", steps=3, learning_rate=1e-3, eval_every=0, name="small"))
    episodes = folder.episodes()
    return {
        "completions": episodes[["step", "completion"]].to_dict("list"),
        "weights": str(folder.path / "model/model.safetensors"),
    }


def child(home, env=None, **task):
    """What `play` or `small_world` found, in a process of its own."""
    from pzlib.engine.processes import start

    home.mkdir(exist_ok=True)
    (home / "task.json").write_text(json.dumps(task))
    own = {"PZLIB_HOME": str(home), "PYTHONPATH": str(REPO)} | (env or {})
    started = start([sys.executable, "-m", "tests.bench.gpu_check", "--task", home / "task.json"], own, cwd=REPO)
    lines = started.communicate()[0].strip().splitlines() or ["no word"]
    if started.returncode:
        raise RuntimeError("\n".join(lines[-15:]))
    return json.loads(lines[-1])


def apart(here, there):
    """[(measure, value)] of two runs of `small_world`: equal completions, and weights beside how far they moved."""
    from safetensors.torch import load_file

    both = [pd.DataFrame(each["completions"]) for each in (here, there)]
    same = both[0]["completion"] == both[1]["completion"]
    ours, theirs = (load_file(each["weights"]) for each in (here, there))
    base = load_file(REPO / "data/tinybase_a/model.safetensors")
    moved = max(float((theirs[name] - base[name]).abs().max()) for name in ours)
    off = max(float((ours[name] - theirs[name]).abs().max()) for name in ours)
    first = same[both[0]["step"] == 1]
    return [
        ("equal completions, step 1", float(first.mean())),
        ("equal completions, 3 steps", float(same.mean())),
        ("weights apart, of the largest move", off / moved),
    ]


def check(size, out):
    """All parts; the rows of each are printed, and put into `out` in the place of those of the same device."""
    from pzlib.engine.memory import Architecture, device, memory, peak

    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        run = prepare(home, size)
        arch = Architecture.of(run.model)
        for number, (way, (drop, share)) in enumerate(WAYS.items()):
            own = child(home / str(number), settings=run.to_dict(), drop=drop, share=share)
            found = {
                "sampling, tokens a second": own["sampled"], "training, tokens a second": own["trained"],
                "peak memory, MiB": own["bytes"] / 2**20, "gradient norm, step 1": own["grad_norm"],
            }  # fmt: skip
            if way in PLANNED:
                where = device("cpu" if size == DRY else "h100-80gb")  # which GPU is no matter: nothing has to fit
                _, most = peak(memory(replace(run, drop_rows=share), arch, where))
                found["planned memory, MiB"] = most / 2**20
            about = {"device": own["device"], "parameters": arch.parameters, "way": way}
            rows += [about | {"measure": name, "value": value} for name, value in found.items()]
            store(rows, out)
        here, there = (child(home / name, env) for name, env in (("a", None), ("b", {"CUDA_VISIBLE_DEVICES": ""})))
        about |= {
            "way": "tinybase in float32, against the CPU",
            "parameters": Architecture.of("data/tinybase_a").parameters,
        }
        rows += [about | {"measure": name, "value": value} for name, value in apart(here, there)]
        store(rows, out)
    print(pd.DataFrame(rows)[["measure", "way", "value"]].to_string(index=False))


def store(rows, out):
    """The rows so far, with four digits, beside those that other devices left in `out`."""
    table = pd.DataFrame(rows)
    table["value"] = table["value"].map(lambda value: float(f"{value:.4g}"))
    if Path(out).is_file():
        old = pd.read_csv(out)
        table = pd.concat([old[~old["device"].isin(table["device"])], table])
    table.to_csv(out, index=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", help="what a child does")
    parser.add_argument("--dry", metavar="OUT", help="a tiny model on the CPU, rows into OUT: does the script work?")
    given = parser.parse_args()
    if given.task:
        from pzlib.engine.processes import as_child

        with as_child():
            task = json.loads(Path(given.task).read_text())
            print(json.dumps(play(**task) if task else small_world()))
        return
    if given.dry:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # children inherit it
        check(DRY, given.dry)
        return
    import torch

    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # the trainer would spread rows over several
    if not torch.cuda.is_available():
        sys.exit("gpu_check: here is no GPU; --dry OUT.csv tries the script on a CPU")
    check(GPU, OUT)


if __name__ == "__main__":
    main()
