"""What RLP pays thoughts that only repeat a word: the true token (the hack RPT warns of), or another one.
Left out: every remedy. RLP has none, and a policy can name the token only by predicting it: it is not shown."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import pandas as pd
import torch

from pzlib.engine.generation import Answer
from pzlib.engine.likelihood import entropies
from pzlib.engine.models import load
from pzlib.engine.sampling import sample
from pzlib.evaluation.small_world import MAX_TOKENS, THINK, complete, row, small_world
from pzlib.objectives.rlp import RLP, names
from pzlib.objectives.rpt import predicted, rpt_prompt, verdict
from pzlib.objectives.targets import Target, cut, target_at, token_offsets, uncertain
from pzlib.run import Run
from pzlib.words import kind_of
from pzlib.world import tinywiki
from pzlib.world.tinywiki import kind_class

THRESHOLDS = {"easy": 0.5, "medium": 1.0, "hard": 1.5}  # nats of top-16 entropy at least; nested (RPT sec. 4.1)

REASONING, DIRECT = "next token", "next token, direct"  # their groups in eval.csv

SPLIT_TEXTS, EACH = 64, 4  # held-out passages of a world, and positions of each, for 64 questions a task of TinyBench

SAMPLES = 4  # answers to each position



@dataclass(frozen=True)
class Position:
    """A Target, the number and the token ids of its text, and how uncertain the scorer is there, in nats."""

    target: Target
    text: int
    ids: tuple[int, ...]
    nats: float

    def splits(self) -> list[str]:
        """The splits it belongs to: a hard position is a medium and an easy one too."""
        return [name for name, threshold in THRESHOLDS.items() if self.nats >= threshold]



def held_out(
    scorer, tokenizer, texts: Sequence[str], each: int, min_context: int, top: int = 16, seed: int = 0
) -> list[Position]:
    """Up to `each` random positions of every text at which `scorer` has at least the entropy of the easy split.

    Text by text. Raises ValueError where there is none at all.
    """
    rng, found = random.Random(f"splits/{seed}"), []
    ids, offsets = token_offsets(tokenizer, list(texts))
    for number, (text, own, nats) in enumerate(zip(texts, offsets, entropies(scorer, ids, top), strict=True)):
        places = uncertain(own, nats, min_context, THRESHOLDS["easy"])
        for place in sorted(rng.sample(places, min(each, len(places)))):
            target = target_at(text, own, place)
            found.append(Position(target, number, tuple(ids[number]), nats[target.first]))
    if not found:
        raise ValueError(
            f"texts: no token of {len(texts)} has {min_context} tokens before it and an entropy of "
            f"{THRESHOLDS['easy']} nats; give more text, or a lower min_context"
        )
    return found



@torch.no_grad()
def outright(model, positions: Sequence[Position]) -> list[bool]:
    """Whether the most likely next token is the true one at each position, on the bare text: the standard prediction.

    positions: those of one text together, as `held_out` gives them.
    """
    training, found = model.training, []
    model.eval()
    try:
        for _, here in groupby(positions, key=lambda position: position.text):
            here = list(here)
            read = torch.tensor([here[0].ids[: max(p.target.first for p in here)]], device=model.device)
            best = model(input_ids=read, use_cache=False).logits[0].argmax(-1).tolist()
            found += [best[p.target.first - 1] == p.ids[p.target.first] for p in here]
    finally:
        model.train(training)
    return found



def rows(
    positions: Sequence[Position], said: Sequence[str], lengths: Sequence[int], direct: Sequence[bool], template: str
) -> list[dict]:
    """The rows of eval.csv but their step: of every split that has positions one with and one without reasoning.

    said, lengths: completions and their tokens, equally many to each position in their order; right is a prediction
    that RPT's prefix matching accepts. direct: what `outright` gave.
    """
    scored: dict[tuple[str, str], list] = {}
    repeats = len(said) // len(positions)
    for i, position in enumerate(positions):
        answers = []
        for text, length in zip(*(part[i * repeats : (i + 1) * repeats] for part in (said, lengths)), strict=True):
            right = verdict(text, predicted(text, template), position.target) == "right"
            answers.append((float(right), length, text.startswith(THINK)))
        for split in position.splits():
            scored.setdefault((f"{REASONING}, {split}", REASONING), []).extend(answers)
            scored.setdefault((f"{REASONING}, {split}, direct", DIRECT), []).append((float(direct[i]), 1, False))
    return [row(*names, found) for names, found in scored.items()]



def next_tokens(
    scorer, tokenizer, texts: Sequence[str], each: int, min_context: int, template: str, version: str = "v0",
    max_tokens: int = MAX_TOKENS,
):  # fmt: skip
    """An `evaluate` for `pzlib.train.train`: `rows` of held-out texts, `SAMPLES` answers at temperature 1 to each
    position. Errors: as `held_out`; ValueError, when asked, for a model of another tokenizer than the scorer's."""
    positions = held_out(scorer, tokenizer, texts, each, min_context)
    prompts = [rpt_prompt(position.target.context, template, version) for position in positions]
    words = tokenizer.get_vocab()

    def evaluate(model, tokenizer, step: int) -> list[dict]:
        if tokenizer.get_vocab() != words:
            raise ValueError("model: has another tokenizer than the scorer, whose tokens the positions are")
        said, lengths = complete(model, tokenizer, prompts, SAMPLES, 1.0, max_tokens=max_tokens)
        return rows(positions, said, lengths, outright(model, positions), template)

    return evaluate



def evaluation_of(run: Run):
    """What a run is asked along training: `small_world`, and for RPT the next tokens of unseen passages of its world.

    The scorer is the shipped base whatever the run starts from, so that every run is asked the same. None for
    other templates than tiny: there is no small world to ask about.
    """
    if run.template != "tiny":
        return None
    common = small_world(run.eval_items)
    if run.objective != "rpt":
        return common
    world = run.corpus if tinywiki.is_world(run.corpus) else "tinywiki"
    texts = [passage.text for passage in tinywiki.passages(world, SPLIT_TEXTS * run.eval_items // 64 or 1, seed=-1)]
    own = next_tokens(*load(Run(tier="mini")), texts, EACH, run.min_context, run.template)

    def evaluate(model, tokenizer, step: int) -> list[dict]:
        return common(model, tokenizer, step) + own(model, tokenizer, step)

    return evaluate





@torch.no_grad()
def surprises(model, ids: list[list[int]]) -> list[list[float]]:
    """-log p in nats of each token but the first of each text, under the model in eval mode; texts without a prompt."""
    training, found = model.training, []
    model.eval()
    try:
        for tokens in ids:
            read = torch.tensor([tokens], device=model.device)
            logp = model(input_ids=read, use_cache=False).logits[0, :-1].float().log_softmax(-1)  # (T - 1, V)
            found.append((-logp.gather(1, read[0, 1:, None])[:, 0]).tolist())
    finally:
        model.train(training)
    return found



def perplexity(model, tokenizer, passages) -> pd.DataFrame:
    """exp of the mean surprise: a row for all tokens (`task` "text") and, of labelled text, one for each class of kind.

    Columns task, group ("text" or "classes"), tokens, nats (mean), perplexity. It depends on the tokenizer: compare
    models that share one. Raises ValueError where no text has two tokens.
    """
    ids, offsets = token_offsets(tokenizer, [passage.text for passage in passages])
    told = {"text": []}
    for passage, own, places in zip(passages, surprises(model, ids), offsets, strict=True):
        told["text"] += own
        for nats, place in zip(own, places[1:], strict=True):
            if passage.kinds:
                kind = kind_of(passage.text, passage.kinds, cut(passage.text, *place))
                told.setdefault(tinywiki.kind_class(kind), []).append(nats)
    if not told["text"]:
        raise ValueError("passages: none has two tokens, so there is nothing to predict; give longer text")
    rows = []
    for task, nats in told.items():
        mean = math.fsum(nats) / len(nats)
        row = {"task": task, "group": "text" if task == "text" else "classes", "tokens": len(nats)}
        rows.append(row | {"nats": mean, "perplexity": math.exp(mean)})
    return pd.DataFrame(rows)


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
