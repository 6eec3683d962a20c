"""A tiny random model taught, in seconds, to speak the game's two forms, so that tests meet live groups."""

import json
import random

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pzlib.masking import Passage, apply_mask
from pzlib.prompts import TINY, generator_prompt, predictor_prompt
from pzlib.train import train

WORDS = "Rome Oslo Lima Kyiv seven five two three nine books cats dogs".split()


def passages(n, seed=0, words=9):
    """`n` passages of `words` different words, so that any word is a legal mask."""
    rng = random.Random(seed)
    return [Passage(f"p{i}", "", " ".join(rng.sample(WORDS, words)) + " .", words + 1) for i in range(n)]


def batches_of(settings):
    """(trainer, TRL's batches) of a Run on such passages, which is trained for them."""
    from pzlib.engine.models import load
    from pzlib.runs.folder import RunFolder
    from pzlib.train import make_trainer

    model, tokenizer = load(settings)
    trainer = make_trainer(settings, model, tokenizer, passages(20), RunFolder(settings.folder).open(settings))
    seen, original = [], trainer.compute_loss
    trainer.compute_loss = lambda model, x, *a, **k: seen.append(x) or original(model, x, *a, **k)
    trainer.train()
    trainer.compute_loss = original
    return trainer, seen


def teach(source, target, steps=150, seed=0, rate=5e-3, thought=""):
    """Fine-tune the model in `source` on masks and answers of random words of random passages; save it to
    `target`. thought: what it says before every answer."""
    tokenizer, model = AutoTokenizer.from_pretrained(source), AutoModelForCausalLM.from_pretrained(source)
    rng = random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    model.train()
    for step in range(steps):
        texts, starts = [], []
        for p in passages(16, seed=(seed + 1) * 10_000 + step):
            word = rng.choice(p.text.split()[:-1])
            if rng.random() < 0.5:
                prompt, answer = generator_prompt(p.text, TINY), f"\\mask{{ {word} }} <eos>"
            else:
                prompt, answer = (
                    predictor_prompt(apply_mask(p.text, word).text, TINY),
                    f"{thought}\\boxed{{ {word} }} <eos>",
                )
            starts.append(len(tokenizer(prompt)["input_ids"]))
            texts.append(f"{prompt} {answer}")
        batch = tokenizer(texts, return_tensors="pt", padding=True, padding_side="right")
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        for row, start in enumerate(starts):
            labels[row, :start] = -100
        model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels
        ).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target


def whole_and_stopped(make, step):
    """The folders of a run that was not stopped, and of one that failed at its evaluation after `step` and went on.

    make(name): the Run of that name, which evaluates at every step.
    """

    def evaluate(model, tokenizer, at):
        if at == step and stopping:
            raise RuntimeError("stop")
        return []

    stopping = True
    with pytest.raises(RuntimeError):
        train(make("stopped"), evaluate=evaluate)
    stopping = False
    return [train(make(name), evaluate=evaluate) for name in ("whole", "stopped")]


def write_corpus(path, n=40, seed=1):
    """A jsonl file of passages, as a corpus for `Run(corpus=...)`."""
    path.write_text(
        "".join(json.dumps({"id": p.id, "title": "", "text": p.text}) + "\n" for p in passages(n, seed))
    )
    return path


def write_problems(path, n=40, seed=5):
    """`n` problems of one masked word each, as jsonl with the columns question and answer."""
    rng = random.Random(0)
    words = [(passage.text, rng.choice(passage.text.split()[:-1])) for passage in passages(n, seed=seed)]
    rows = [{"question": text.replace(word, "[mask]"), "answer": word} for text, word in words]
    path.write_text("\n".join(map(json.dumps, rows)))


def taught(source, folder, steps=100):
    """`folder` with `model`, that of `source` taught, `corpus.jsonl` and `problems.jsonl` for it."""
    torch.manual_seed(0)
    teach(source, folder / "model", steps=steps)
    write_corpus(folder / "corpus.jsonl")
    write_problems(folder / "problems.jsonl")
    return folder
