"""Does the reasoning do anything? A model's own replaced by others; and what RLP pays thoughts that only repeat a word.
Left out: every remedy. RLP has none, and a policy can name the token only by predicting it: it is not shown."""

import math
import random
from collections.abc import Sequence
from itertools import product

import pandas as pd

from pzlib.engine.generation import Answer
from pzlib.engine.packing import likelihoods
from pzlib.evaluation.small_world import draw
from pzlib.objectives.likelihood import OPENING, placed
from pzlib.objectives.rlp import RLP, names
from pzlib.prompts import parse_boxed
from pzlib.rewards import predictor_reward
from pzlib.stats import paired_test
from pzlib.world.tinywiki import kind_class

OWN, REPLACED = "own", ("another's", "blank", "generic")
GENERIC = {"tiny": "Think : the word is here . ", "paper": "<think> Let me think about it step by step. </think> "}
BLANK = " ."  # one token of nearly every tokenizer; no model here was trained to go on after many of them


def reasoning(completion: str) -> str:
    r"""What a completion says before its last box; all of it, with a space after it, where there is none.

    >>> reasoning(r"Think : it is 5 . \boxed{ 5 }"), reasoning("Think : it"), reasoning(r"\boxed{ 5 }")
    ('Think : it is 5 . ', 'Think : it ', '')
    """
    before, found, after = completion.rpartition(OPENING)
    return before if found else f"{after} "


def replacements(reasonings: Sequence[str], targets: Sequence[str], lengths: Sequence[int], template: str) -> dict:
    """{way: a reasoning for each item}: its own; that of the next item with another target, the first following the
    last; blanks, as many as the lengths say (tokens of its own); one that says nothing of the item.

    Errors: ValueError where all targets are equal.

    >>> replacements(["a ", "b ", "c "], ["x", "x", "y"], [1, 2, 3], "tiny")["another's"]
    ['c ', 'c ', 'a ']
    """
    if len(set(targets)) < 2:
        raise ValueError("targets: all are equal, so nobody reasons about another word; ask more items")
    items = [*zip(reasonings, targets, strict=True)]
    following = [(target, items[i + 1 :] + items[:i]) for i, target in enumerate(targets)]
    others = [next(said for said, about in rest if about != target) for target, rest in following]
    replaced = (others, [f"{BLANK * length} " for length in lengths], [GENERIC[template]] * len(targets))
    return {OWN: list(reasonings)} | dict(zip(REPLACED, replaced, strict=True))


def probed(model, tokenizer, table: pd.DataFrame, template: str = "tiny") -> pd.DataFrame:
    """What answers become when their reasoning is replaced: a row an answer and way, those of `replacements`.

    table: completions (`pzlib.evaluation.cases`) of one model; those that say nothing before their box are left out.
    Columns case, sample, kind, way, right (whether the model's most likely answer is the target) and nats
    (log-likelihood of the target in the box). Errors: ValueError where no answer holds a reasoning.
    """
    kept = table.assign(reasoning=table["completion"].map(reasoning))
    kept = kept[kept["reasoning"].str.strip() != ""]
    if kept.empty:
        raise ValueError("completions: none says anything before its box, so there is no reasoning to replace")
    lengths = [len(ids) for ids in tokenizer(kept["reasoning"].tolist(), add_special_tokens=False)["input_ids"]]
    prompts, targets = tokenizer(kept["prompt"].tolist())["input_ids"], kept["target"].tolist()
    parts = []
    for way, texts in replacements(kept["reasoning"].tolist(), targets, lengths, template).items():
        coded = tokenizer([text + OPENING for text in texts], add_special_tokens=False)["input_ids"]
        words = tokenizer.batch_decode(coded, clean_up_tokenization_spaces=False)
        answers = [Answer(*one, entropy=0.0, clipped=False) for one in zip(prompts, coded, words, strict=True)]
        places = [placed(answer, target, template, tokenizer) for answer, target in zip(answers, targets, strict=True)]
        logps = likelihoods(model, [(prompt, [place]) for prompt, place in zip(prompts, places, strict=True)])
        begun = [[*prompt, *branch] for prompt, (branch, _) in zip(prompts, places, strict=True)]
        drawn = draw(model, tokenizer, begun, 1, 0.0, max_tokens=max(len(ids) for _, ids in places) + 4)
        ids = [[*branch, *new] for (branch, _), new in zip(places, drawn.completion_ids, strict=True)]
        found = map(parse_boxed, tokenizer.batch_decode(ids, skip_special_tokens=True))
        right = [predictor_reward(word, target) for word, target in zip(found, targets, strict=True)]
        nats = [math.fsum(own) for (own,) in logps]
        parts.append(kept[["case", "sample", "kind"]].assign(way=way, right=right, nats=nats))
    return pd.concat(parts, ignore_index=True)


def effects(rows: pd.DataFrame) -> pd.DataFrame:
    """What each replacement changes: a row a way and measure (right, nats), with n, own, mean, change, low, high and p.

    rows: `probed`. Answers to one case are alike, so a case counts once, by its mean over samples; change is the
    replaced minus the own, its 95 % interval and p by `pzlib.stats.paired_test` over cases.

    >>> told = [("p", "own", 1.0), ("p", "blank", 0.0), ("q", "own", 1.0), ("q", "blank", 1.0)]
    >>> table = pd.DataFrame(told, columns=["case", "way", "right"]).assign(nats=-1.0)
    >>> effects(table)[["way", "measure", "n", "own", "mean", "change"]].values.tolist()[0]
    ['blank', 'right', 2, 1.0, 0.5, -0.5]
    """
    means, found = rows.groupby(["case", "way"], sort=False)[["right", "nats"]].mean().unstack("way"), []
    for way, measure in product((way for way in REPLACED if way in set(rows["way"])), ("right", "nats")):
        own, other = means[measure, OWN], means[measure, way]
        test = paired_test(other, own)
        numbers = (test["n"], own.mean(), other.mean(), test["difference"], *test["interval"], test["p"])
        found.append((way, measure, *numbers))
    return pd.DataFrame(found, columns=["way", "measure", "n", "own", "mean", "change", "low", "high", "p"])


SAYING = {"tiny": "Think : {} . ", "paper": " {} "}  # a thought that is one word, before its closing tag


def paid(run, model, tokenizer, passages, seed: int = 0) -> pd.DataFrame:
    """Gains in nats of thoughts before one random token of each passage: a row a thought.

    run: an RLP Run, whose template, group, temperature and lengths hold. Columns token, kind, class, way, thought,
    gain. way: "its own, naming it" and "its own, not naming it" for `group` sampled thoughts; and of three made-up ones
    "none", "only the token", "only another token" (of another passage). Baseline: the same model.
    """
    rollout, questions = RLP(run, passages, tokenizer, model=model), []
    sizes = {"max_tokens": run.max_completion_tokens, "top_p": run.top_p, "stop": rollout.stop}

    def ask(texts):
        prompts = tokenizer(texts)["input_ids"]
        drawn = draw(model, tokenizer, prompts, run.group, run.temperature, seed, **sizes)
        each = zip(drawn.completion_ids, drawn.entropy, drawn.clipped, strict=True)
        answers = [Answer(prompts[i // run.group], ids, "", h, cut) for i, (ids, h, cut) in enumerate(each)]
        return [answers[i : i + run.group] for i in range(0, len(answers), run.group)]

    def read(asked):
        questions.extend(asked)
        return rollout.read(asked, model)

    blocks = rollout.play(list(passages), ask, random.Random(f"repeats/{seed}"), read=read)
    asked = [[row.episode for row in block.rows] for block in blocks if block.rows[0].episode]
    words, rows, made = [own[0]["mask"] for own in asked], [], []
    for number, (question, word) in enumerate(zip(questions, words, strict=True)):
        other = next((w for w in words[number + 1 :] + words[:number] if w != word), None)
        said = {"none": "", "only the token": word, "only another token": other}
        made.append({way: w and SAYING[run.template].format(w) for way, w in said.items() if w is not None})
        closed = [text + rollout.form.closing for text in made[-1].values()]
        questions[number] = (question[0], tokenizer(closed, add_special_tokens=False)["input_ids"], *question[2:])
    for own, texts, (with_, without) in zip(asked, made, rollout.read(questions, model), strict=True):
        for e in own:
            way = "its own, naming it" if names(e["completion"], e["mask"]) else "its own, not naming it"
            rows.append((e, way, e["completion"], e["reward"]))
        rows += [(own[0], way, text, logp - without) for (way, text), logp in zip(texts.items(), with_, strict=True)]
    told = [(e["mask"], e["kind"], kind_class(e["kind"]), way, text, gain) for e, way, text, gain in rows]
    return pd.DataFrame(told, columns=["token", "kind", "class", "way", "thought", "gain"])
