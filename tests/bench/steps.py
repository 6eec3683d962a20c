"""What a mini step costs, mostly as ratios: `make bench` fills bench.csv and costs*.csv in data/results.
Leaves out evaluation and checkpoints, which a run does every few dozen steps."""

import argparse
import tempfile
import warnings
from dataclasses import replace
from statistics import median

import pandas as pd
import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl import GRPOTrainer

from pzlib.engine import sampling
from pzlib.engine.models import less_noise, load
from pzlib.paths import root
from pzlib.run import Run
from pzlib.runs.folder import write_atomic
from pzlib.train import trl_arguments
from tests.bench.costs import against_spans, costed, methods, text_rate, thinking
from tests.bench.equality import gradient_changes
from tests.bench.stopwatch import WARM, Clock, Stopwatch, build, device, timed


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.bench.steps", description=__doc__)
    parser.add_argument("--model", help="instead of the mini tier's")
    parser.add_argument("--corpus", help="instead of the mini tier's")
    parser.add_argument("--steps", type=int, default=10, help="steps behind each number")
    given = parser.parse_args()
    named = {name: getattr(given, name) for name in ("model", "corpus") if getattr(given, name)}
    run = Run(tier="mini", steps=given.steps + WARM, save_every=10_000, **named)
    rows = [("matrix products", "1024 x 1024 float32, GFLOP/s", matmul_rate() / 1e9, "")]
    results = root() / "data/results"
    results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, less_noise(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are using 'rollout_func'")
        for measure in (measure_step, against_plain, against_spans, thinking, text_rate, scaling):
            found = measure(run, home)
            print("\n".join(f"{what}; {setting}: {value:.3g}" for what, setting, value, _ in found), flush=True)
            rows += found
        if not named:
            for name, arms in costed().items():
                costs = methods(given.steps, home, arms)
                print(costs.to_string(index=False), flush=True)
                write_atomic(results / f"{name}.csv", costs.to_csv(index=False, lineterminator="\n"))
    table = pd.DataFrame(rows, columns=["measure", "setting", "value", "aim"])
    table["value"] = [float(f"{value:.3g}") for value in table["value"]]
    print(f"{device()}\n{table.to_string(index=False, float_format='{:.3g}'.format)}")
    table["device"] = device()
    write_atomic(results / "bench.csv", table.to_csv(index=False, lineterminator="\n"))



def matmul_rate(size=1024, repeats=20):
    """Floating-point operations a second of square float32 matrix products: the yardstick of the machine."""
    where = "cuda" if torch.cuda.is_available() else "cpu"
    a, b = torch.randn(2, size, size, device=where)
    times = [timed(lambda: (a @ b).sum().item()) for _ in range(repeats)]
    return 2 * size**3 / median(times)



def measure_step(run, home):
    """Where a step's time goes, its FLOPs, and what row dropping spares."""
    trainer, folder = build(run, home)
    clock, kept, loss = Clock(), [], trainer.compute_loss
    trainer.compute_loss = lambda model, inputs, *a, **k: kept.append(inputs) or loss(model, inputs, *a, **k)
    watch = Stopwatch()
    trainer.add_callback(watch)
    undo = clock.watch(sampling, "sample", "sampling")
    clock.watch(trainer, "rollout_func", "rollout")
    clock.watch(trainer, "compute_loss", "forward")
    clock.watch(trainer.accelerator, "backward", "backward")
    trainer.train()
    undo()
    del trainer.compute_loss
    metrics = folder.metrics()
    total, rollout = sum(watch.seconds), clock.seconds["rollout"]
    parts = {"sampling": clock.seconds["sampling"], "parsing, rewards, episodes": rollout}
    parts["parsing, rewards, episodes"] -= parts["sampling"]
    parts |= {"forward": clock.seconds["forward"], "backward": clock.seconds["backward"]}
    parts["TRL's scoring and logging, optimizer"] = total - sum(parts.values())
    rows = [("seconds a step", "mini, on the clock", metrics["seconds"][WARM:].median(), "")]
    rows.append(("seconds a step", "mini", median(watch.seconds[WARM:]), ""))
    rows += [("share of a step", name, seconds / total, "") for name, seconds in parts.items()]
    rows += flops(trainer.model, kept, parts)
    return rows + dropping(trainer, kept[WARM:], rollout / len(metrics))



def flops(model, kept, parts):
    """Model FLOPs a second over the machine's own rate of matrix products, attention not counted.

    2 N for a token read or drawn and 6 N for one trained (Kaplan et al., arXiv:2001.08361, section 2.1), N the
    weights that multiply. Only what must be done is counted: a prompt once a group, moving rows alone, no padding.
    """
    weights, rate = sum(p.numel() for p in model.parameters() if p.dim() > 1), matmul_rate()
    if not model.config.tie_word_embeddings:
        weights -= model.get_input_embeddings().weight.numel()

    def needed(inputs, rows):
        pairs = zip(inputs["prompt_ids"][rows], inputs["prompt_mask"][rows].bool(), strict=True)
        prompts = {tuple(ids[mask].tolist()) for ids, mask in pairs}
        return sum(map(len, prompts)) + int(inputs["completion_mask"][rows].sum())

    sampled = 2 * weights * sum(needed(x, x["advantages"] == x["advantages"]) for x in kept)
    learned = 6 * weights * sum(needed(x, x["advantages"] != 0) for x in kept)
    work = {
        "sampling": (sampled, parts["sampling"], ""),
        "forward and backward": (learned, parts["forward"] + parts["backward"], ""),
        "whole step": (sampled + learned, sum(parts.values()), ">= 0.5"),
    }
    return [("FLOPs / matrix products", name, n / t / rate, aim) for name, (n, t, aim) in work.items()]



def dropping(trainer, batches, generation):
    """Forward and backward over the same rollouts with and without row dropping; the gradients must agree."""
    model, seconds = trainer.model.train(), {True: [], False: []}

    def backward(inputs, drop):
        trainer.drop_rows = drop
        model.zero_grad()
        trainer.compute_loss(model, inputs).backward()

    for inputs in batches * 2:
        for drop in (True, False):
            seconds[drop].append(timed(lambda x=inputs, drop=drop: backward(x, drop)))
    changes = gradient_changes(trainer, batches[:3])
    if changes["exact"] > 1e-6:
        raise ValueError(f"drop_rows: changed the gradient by {changes['exact']:.1e}; set it to False")
    fast, slow = median(seconds[True]), median(seconds[False])
    return [
        ("row dropping: without / with", "step, equal rollouts", (slow + generation) / (fast + generation), ">= 2"),
        ("row dropping: without / with", "forward and backward", slow / fast, ""),
        ("change of the gradient", "row dropping, float64, equal positions", changes["exact"], "<= 1e-6"),
        ("change of the gradient", "row dropping, float32, TRL's positions", changes["float32"], ""),
        ("change of the gradient", "TRL alone, 7 columns more padding", changes["padding"], ""),
    ]



def against_plain(run, home):
    """The game's step, nothing dropped, against a plain GRPOTrainer over the same prompts: seconds a token.

    The plain one is asked the prompts of the game's own episodes, with TRL's generation and with our sampler.
    """
    run = replace(run, drop_rows=False, filter="none")
    trainer, folder = build(run, home)
    game_watch = Stopwatch()
    trainer.add_callback(game_watch)
    trainer.train()
    metrics, episodes = folder.metrics(), folder.episodes()
    tokens = metrics["tokens_prompt"] + metrics["tokens_completion"]
    ours = median(s / n for s, n in zip(game_watch.seconds[WARM:], tokens[WARM:], strict=True))
    asked = [list(e["prompt"][:: run.group]) for _, e in episodes.groupby("step")]
    groups = min(map(len, asked))  # illegal masks leave some steps with fewer groups; a batch must not vary
    prompts = Dataset.from_dict({"prompt": [text for step in asked for text in step[:groups]]})

    def our_sampler(prompts, trainer):
        draws = torch.Generator().manual_seed(trainer.state.global_step)
        answers = trainer.method.ask(prompts[:: run.group], trainer, draws)
        ids = [answer.ids for group in answers for answer in group]
        read = [answer.prompt_ids for group in answers for answer in group]
        return {"prompt_ids": read, "completion_ids": ids, "logprobs": None}

    rows = []
    for name, rollout in (("TRL's generation", None), ("our sampler", our_sampler)):
        model, tokenizer = load(run)
        watch, args = Stopwatch(), trl_arguments(run, folder)
        args.per_device_train_batch_size, args.generation_batch_size = (groups * run.group,) * 2
        plain = GRPOTrainer(
            model=model, args=args, processing_class=tokenizer, train_dataset=prompts, callbacks=[watch],
            reward_funcs=lambda completions, **_: [float(len(c) % 2) for c in completions], rollout_func=rollout,
        )  # fmt: skip
        plain.remove_callback(PrinterCallback)
        plain.method = trainer.method
        plain.train()
        seen = [entry["num_tokens"] for entry in plain.state.log_history if "num_tokens" in entry]
        each = [seconds / (b - a) for seconds, a, b in zip(watch.seconds[1:], seen, seen[1:], strict=False)]
        rows.append(("game / plain GRPOTrainer", name, ours / median(each[WARM - 1 :]), "<= 1.05"))
    return rows



def scaling(run, home):
    """How the median step grows with passages and with G."""
    rows = []
    for changes in ({"passages": 1}, {"passages": 2}, {"passages": 8}, {"group": 4}, {"group": 16}):
        trainer, _ = build(replace(run, **changes), home)
        watch = Stopwatch()
        trainer.add_callback(watch)
        trainer.train()
        setting = ", ".join(f"{name} {value}" for name, value in changes.items())
        setting += f": {trainer.method.run.rows_per_step} rows"
        rows.append(("seconds a step", setting, median(watch.seconds[WARM:]), ""))
    return rows

if __name__ == "__main__":
    main()
