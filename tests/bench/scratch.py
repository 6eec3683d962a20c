"""A small causal LM trained from nothing on any text, to place that text among the small worlds where no model of it is
at hand: `python -m tests.bench.scratch articles.jsonl` fills data/results/scratch.csv. Leaves out good models."""

import argparse
import json
import random
from pathlib import Path

import pandas as pd

from pzlib.corpus import load_passages
from pzlib.paths import root
from pzlib.run import Run
from pzlib.runs.folder import write_atomic
from pzlib.world.tinywiki import is_world

WORLDS = ("tinywiki", "tinywiki_clean", "tinymath")  # what a text is placed among

STEPS, EVERY = 400, 50

VOCABULARY, WIDTH, LAYERS = 4096, 128, 4

LENGTHS = {"min_tokens": 32, "max_tokens": 96}  # of a passage; in words until there is a tokenizer

HELD_OUT = 100  # passages, of articles that are not trained on



def split(passages, seed=0):
    """(held out, the rest): about `HELD_OUT` passages, and no article on both sides: what an id names before its
    last ".", or the whole id where it has none."""
    articles = {}
    for passage in passages:
        articles.setdefault(passage.id.rpartition(".")[0] or passage.id, []).append(passage)
    if len(articles) < 2:
        raise ValueError("corpus: one article can't be trained on and held out; give a text of several")
    names, held = sorted(articles), []
    random.Random(seed).shuffle(names)
    for name in names[1:]:
        if len(held) >= HELD_OUT:
            break
        held += articles.pop(name)
    return held[:HELD_OUT], [passage for rest in articles.values() for passage in rest]



def make(texts, folder, seed=0):
    """Save a byte-level BPE tokenizer of these texts and a random Qwen3 (`WIDTH` x `LAYERS`) for it in `folder`."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    from pzlib.engine.models import less_noise

    pieces = ByteLevelBPETokenizer()
    pieces.train_from_iterator(texts, VOCABULARY, special_tokens=["<pad>", "<eos>"], show_progress=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=pieces._tokenizer, pad_token="<pad>", eos_token="<eos>", clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=3 * WIDTH, num_hidden_layers=LAYERS,
        num_attention_heads=4, num_key_value_heads=2, head_dim=WIDTH // 4, max_position_embeddings=512,
        tie_word_embeddings=True, pad_token_id=0, eos_token_id=1, bos_token_id=None,
    )  # fmt: skip
    with torch.random.fork_rng(), less_noise():
        torch.manual_seed(seed)
        Qwen3ForCausalLM(config).save_pretrained(folder)



def asking(texts):
    """An `evaluate` for `train`: of the next tokens of these texts, how many the model's first guess gets right."""
    from pzlib.evaluation.small_world import next_tokens

    def evaluate(model, tokenizer, step):
        tokens, rows = next_tokens(model, tokenizer, texts), []
        for task, some in (("all", tokens), ("top fifth", tokens[tokens["top_fifth"]])):
            n, right = len(some), int(some["right"].sum())
            rows.append({"task": task, "group": "next tokens", "n": n, "correct": right, "accuracy": right / n})
        return [row | {"length": float("nan"), "reasoned": float("nan")} for row in rows]

    return evaluate



def place(source, name, steps=STEPS, every=EVERY):
    """Rows of a model trained from nothing on `source` (anything that `load_passages` takes), called `name`.

    Every `every` steps a row: corpus, step, tokens trained so far, right and top_fifth_right (%, of
    held-out tokens and of the fifth of each passage with the highest entropy), n of them, parameters, device. The run
    goes on where it was stopped. Raises ValueError for a text of one article, else as `load_passages`.
    """
    from pzlib.train import train
    from tests.bench.stopwatch import device

    limit = 10_000 if is_world(source) else None
    held, rest = split(load_passages(source, limit=limit, progress=False, **LENGTHS))
    folder = root() / "data/corpus" / f"scratch-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / "passages.jsonl"
    write_atomic(text, "".join(json.dumps({"id": p.id, "text": p.text}) + "\n" for p in rest))
    if not (folder / "model").exists():
        make([p.text for p in rest], folder / "model.part")
        (folder / "model.part").rename(folder / "model")
    run = Run(  # of no study: its rows stay out of the tables of `mini`
        tier="smoke", objective="continued_pretraining", name=f"scratch-{name}", model=str(folder / "model"),
        corpus=str(text), min_tokens=8, max_tokens=400, corpus_limit=len(rest), max_prompt_tokens=400,
        learning_rate=2e-3, schedule="cosine", warmup_steps=20, passages=4, group=8,
        steps=steps, eval_every=every, save_every=every,
    )  # fmt: skip
    done = train(run, evaluate=asking([p.text for p in held]))
    scores = done.evals().pivot(index="step", columns="task", values="accuracy") * 100
    tokens = done.metrics().set_index("step")["tokens_completion"].cumsum()
    return pd.DataFrame(
        {
            "corpus": name, "step": scores.index, "tokens": [int(tokens.get(step, 0)) for step in scores.index],
            "right": scores["all"].round(2), "top_fifth_right": scores["top fifth"].round(2),
            "n": int(done.evals()["n"].max()), "parameters": done.params()["parameters"], "device": device(),
        }
    ).reset_index(drop=True)  # fmt: skip



def main():
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scratch", description=__doc__)
    parser.add_argument("corpus", nargs="*", default=list(WORLDS), help="files or worlds; by default the three worlds")
    parser.add_argument("--name", help="what the rows call a text; by default its file's name")
    parser.add_argument("--steps", type=int, default=STEPS)
    given = parser.parse_args()
    if given.name and len(given.corpus) > 1:
        parser.error("--name: for one corpus only")
    path = root() / "data/results/scratch.csv"
    for source in given.corpus:
        name = given.name or (source if is_world(source) else Path(source).name.partition(".")[0])
        rows = place(source, name, given.steps, EVERY)
        print(rows.to_string(index=False), flush=True)
        old = pd.read_csv(path) if path.exists() else rows[:0]
        rows = pd.concat([table for table in (old[old["corpus"] != name], rows) if len(table)])
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, rows.sort_values(["corpus", "step"]).to_csv(index=False, lineterminator="\n"))

if __name__ == "__main__":
    main()
