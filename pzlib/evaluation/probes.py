"""What a model's reasoning does: here what RLP pays thoughts that only repeat a word, the true token or another one.
Left out: every remedy. RLP has none, and a policy can name the token only by predicting it: it is not shown."""

from __future__ import annotations

import random

import pandas as pd
import torch

from pzlib.engine.generation import Answer
from pzlib.engine.sampling import sample
from pzlib.objectives.rlp import RLP, names
from pzlib.world.tinywiki import kind_class

SAYING = {"tiny": "Think : {} . ", "paper": " {} "}  # a thought that is one word, before its closing tag



def paid(run, model, tokenizer, passages, seed: int = 0) -> pd.DataFrame:
    """Gains in nats of thoughts before one random token of each passage: a row a thought.

    run: an RLP Run, whose template, group, temperature and lengths hold. Columns token, kind, class, way, thought,
    gain. way: "its own, naming it" and "its own, not naming it" for `group` sampled thoughts; and of three made-up ones
    "none", "only the token", "only another token" (that of another passage). Baseline: the same model.
    """
    rollout, questions = RLP(run, passages, tokenizer, model=model), []
    generator = torch.Generator(device=model.device).manual_seed(seed)

    def ask(texts):
        prompts = tokenizer(texts)["input_ids"]
        drawn = sample(
            model, prompts, run.group, max_new_tokens=run.max_completion_tokens,
            eos_ids=[tokenizer.eos_token_id, *rollout.stop], pad_id=tokenizer.pad_token_id,
            temperature=run.temperature, top_p=run.top_p, generator=generator,
        )  # fmt: skip
        each = zip(drawn.completion_ids, drawn.entropy, drawn.clipped, strict=True)
        answers = [Answer(prompts[i // run.group], ids, "", h, cut) for i, (ids, h, cut) in enumerate(each)]
        return [answers[i : i + run.group] for i in range(0, len(answers), run.group)]

    def read(asked):
        questions.extend(asked)
        return rollout.read(asked, model)

    blocks = rollout.play(list(passages), ask, random.Random(f"repeats/{seed}"), read=read)
    asked = [[row.episode for row in block.rows] for block in blocks if block.rows[0].episode]
    words = [own[0]["mask"] for own in asked]
    rows, made = [], []
    for number, (question, word) in enumerate(zip(questions, words, strict=True)):
        others = [w for w in words[number + 1 :] + words[:number] if w != word]
        said = {"none": "", "only the token": word, "only another token": others[0] if others else None}
        texts = {way: SAYING[run.template].format(w) if w else "" for way, w in said.items() if w is not None}
        made.append(texts)
        closed = [text + rollout.form.closing for text in texts.values()]
        ids = tokenizer(closed, add_special_tokens=False)["input_ids"]
        questions[number] = (question[0], ids, *question[2:])
    for own, texts, (with_, without) in zip(asked, made, rollout.read(questions, model), strict=True):
        for episode in own:
            way = "its own, naming it" if names(episode["completion"], episode["mask"]) else "its own, not naming it"
            rows.append((episode, way, episode["completion"], episode["reward"]))
        rows += [(own[0], way, text, logp - without) for (way, text), logp in zip(texts.items(), with_, strict=True)]
    told = [(e["mask"], e["kind"], kind_class(e["kind"]), way, text, gain) for e, way, text, gain in rows]
    return pd.DataFrame(told, columns=["token", "kind", "class", "way", "thought", "gain"])
