"""Does the reasoning do anything? A model's own replaced by others; and what RLP pays thoughts that only repeat a word.
Left out: every remedy. RLP has none, and a policy can name the token only by predicting it: it is not shown."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import pandas as pd
import torch

from pzlib.engine.generation import Answer, holding, seed_of, spoken
from pzlib.engine.memory import groups_at_once
from pzlib.engine.packing import likelihoods
from pzlib.evaluation.cases import case_of
from pzlib.evaluation.small_world import ROWS_AT_ONCE, draw
from pzlib.objectives.likelihood import placed
from pzlib.objectives.rlp import RLP, names
from pzlib.prompts import OPENING, parse_boxed
from pzlib.rewards import predictor_reward
from pzlib.stats import paired_test
from pzlib.world.tinywiki import kind_class

CLOSED = "</think>"  # an answer that no box opens begins where the thought ends
OWN, REPLACED = "own", ("another's", "blank", "generic")
GENERIC = {
    "tiny": "Think : the word is here . ", "paper": "<think> Let me think about it step by step. </think> ",
    CLOSED: " Let me think about it step by step. ",  # in a thought that is open already
}  # fmt: skip
NUMBERS = ("n", "own", "mean", "change", "low", "high", "p")  # of `effects`
BLANK = " ."  # one token of nearly every tokenizer; no model here was trained to go on after many of them


class NothingToReplace(ValueError):
    """No two answers reason about two words, so no reasoning can be replaced by another's."""


def no_effects() -> pd.DataFrame:
    """Rows as of `effects` for answers that raise `NothingToReplace`: n is 0 and there is no change."""
    rows = [(way, measure, 0) for way, measure in product(REPLACED, ("right", "nats"))]
    return pd.DataFrame(rows, columns=["way", "measure", "n"]).reindex(columns=["way", "measure", *NUMBERS])


def reasoning(completion: str, opening: str = OPENING) -> str:
    r"""What a completion says before its answer last opens; all of it, with a space after it, where none does.
    A thought that is left open is closed.

    >>> reasoning(r"Think : it is 5 . \boxed{ 5 }"), reasoning("Think : it"), reasoning(r"\boxed{ 5 }")
    ('Think : it is 5 . ', 'Think : it ', '')
    """
    before, found, after = completion.rpartition(opening)
    text = before if found else f"{after} "
    left_open = opening != CLOSED and "<think>" in text.rpartition(CLOSED)[2]
    return f"{text}{CLOSED} " if left_open else text  # an answer in a thought is none


def replacements(reasonings: Sequence[str], targets: Sequence[str], lengths: Sequence[int], template: str) -> dict:
    """{way: a reasoning for each item}: its own; that of the next item with another target, the first following the
    last; blanks, as many as the lengths say (tokens of its own); one that says nothing of the item.

    Errors: NothingToReplace, a ValueError, where all targets are equal.

    >>> replacements(["a ", "b ", "c "], ["x", "x", "y"], [1, 2, 3], "tiny")["another's"]
    ['c ', 'c ', 'a ']
    """
    if len(set(targets)) < 2:
        raise NothingToReplace("targets: all are equal, so nobody reasons about another word; ask more items")
    items, n = [*zip(reasonings, targets, strict=True)], len(targets)
    following = ((target, (items[(i + k) % n] for k in range(1, n))) for i, target in enumerate(targets))
    others = [next(said for said, about in rest if about != target) for target, rest in following]
    generic = GENERIC.get(template, GENERIC["paper"])
    replaced = (others, [f"{BLANK * length} " for length in lengths], [generic] * n)
    return {OWN: list(reasonings)} | dict(zip(REPLACED, replaced, strict=True))


def probed(
    model, tokenizer, table: pd.DataFrame, template: str = "tiny", opening: str = OPENING, max_rows: int = ROWS_AT_ONCE
) -> pd.DataFrame:
    """What answers become when their reasoning is replaced: a row per answer and way, those of `replacements`.

    table: completions (`pzlib.evaluation.cases`) of one model; those that say nothing before their answer are left out.
    opening: what opens the answer. Columns case, sample, kind, way, right (whether the model's most likely answer is
    the target; one that is in no box, whether it begins with it) and nats (log-likelihood of the target there).
    Errors: NothingToReplace, a ValueError, where no answer holds a reasoning.
    """
    kept = table.assign(reasoning=[reasoning(text, opening) for text in table["completion"]])
    kept = kept[kept["reasoning"].str.strip() != ""]
    if kept.empty:
        raise NothingToReplace("completions: none says anything before its box, so there is no reasoning to replace")
    lengths = [len(ids) for ids in tokenizer(kept["reasoning"].tolist(), add_special_tokens=False)["input_ids"]]
    prompts, targets = tokenizer(kept["prompt"].tolist())["input_ids"], kept["target"].tolist()
    form, parts = opening if opening == CLOSED else template, []
    for way, texts in replacements(kept["reasoning"].tolist(), targets, lengths, form).items():
        coded = tokenizer([text + opening for text in texts], add_special_tokens=False)["input_ids"]
        if opening == CLOSED:  # the target follows the thought at once, in no box
            said = tokenizer(targets, add_special_tokens=False)["input_ids"]
            places = [*zip(coded, said, strict=True)]
        else:
            words = tokenizer.batch_decode(coded, skip_special_tokens=False, clean_up_tokenization_spaces=False)
            answers = [Answer(*one, entropy=0.0, clipped=False) for one in zip(prompts, coded, words, strict=True)]
            asked = zip(answers, targets, strict=True)
            places = [placed(answer, target, template, tokenizer, opening) for answer, target in asked]
        logps = likelihoods(model, [(prompt, [place]) for prompt, place in zip(prompts, places, strict=True)])
        begun = [[*prompt, *branch] for prompt, (branch, _) in zip(prompts, places, strict=True)]
        longest = max(len(ids) for _, ids in places) + 4
        drawn = draw(model, tokenizer, begun, 1, 0.0, max_tokens=longest, max_rows=max_rows)
        if opening == OPENING:
            ids = [[*branch, *new] for (branch, _), new in zip(places, drawn.completion_ids, strict=True)]
            found = map(parse_boxed, tokenizer.batch_decode(ids, skip_special_tokens=True))
            right = [predictor_reward(word, target) for word, target in zip(found, targets, strict=True)]
        else:
            pairs = zip(places, drawn.completion_ids, strict=True)
            right = [float(list(new[: len(target)]) == list(target)) for (_, target), new in pairs]
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
    return pd.DataFrame(found, columns=["way", "measure", *NUMBERS])


def asker(run, model, tokenizer, seed: int = 0, stop: Sequence[int] | None = None):
    """`ask(texts)` as `pzlib.game.Objective.play` wants it, G Answers to each, of a model that is not in training.
    stop: as of `pzlib.engine.generation.ask`."""
    words = run.method.stop_words(run) if stop is None else ()
    ends = holding(tokenizer, tuple(words)) if stop is None else stop

    def ask(texts):
        if not texts:
            return []
        rows = run.group * groups_at_once(run, len(texts))
        sizes = {"max_tokens": run.max_completion_tokens, "top_p": run.top_p, "stop": ends, "max_rows": rows}
        prompts = tokenizer(texts)["input_ids"]
        drawn = draw(model, tokenizer, prompts, run.group, run.temperature, seed, **sizes)
        said = spoken(tokenizer, drawn.completion_ids, drawn.clipped, words)
        each = zip(drawn.completion_ids, said, drawn.entropy, drawn.clipped, strict=True)
        answers = [Answer(prompts[i // run.group], *one) for i, one in enumerate(each)]
        return [answers[i : i + run.group] for i in range(0, len(answers), run.group)]

    return ask


def held_out_items(run, tokenizer, items: int) -> list:
    """Up to `items` passages or problems of a run's text that the run does not read; fewer where the text has no more.

    Drawn by a seed of their own. Of a text that the run reads whole there are none.
    """
    read = {getattr(item, "text", None) or item.question for item in run.method.load_items(run, tokenizer)}
    other = replace(run, seed=seed_of("probe", run.seed) % 2**31, corpus_limit=4 * items)
    found = run.method.load_items(other, tokenizer)
    return [item for item in found if (getattr(item, "text", None) or item.question) not in read][:items]


def episodes_of(run, model, tokenizer, items, samples: int = 4, seed: int = 0) -> tuple[pd.DataFrame, str]:
    """(what a model answers to the questions that a run's method asks of `items`, what opens an answer of it).

    The method asks in its own form; in place of a generator, random spans are hidden, and methods that are taught
    answers are asked for random spans too. A row per answer, `samples` of each question: case, sample, kind, prompt,
    completion, target (with the space before it where no box opens). Errors: ValueError where nothing can be asked.
    """
    asks = "random_span" if run.method.supervised else run.objective
    plain = {"reward": "exact", "judge": "", "answer_term": False, "debias": False, "std_filter": 0.0}
    plain = plain if "exact" in run.method.rewards else {}
    run = replace(run, objective=asks, group=samples, use_vllm=False, **plain)
    method = run.method(run, items, tokenizer, model=model)

    def read(*what, by="read"):
        return getattr(method, by)(*what, policy=model)

    ask = asker(run, model, tokenizer, seed, getattr(method, "stop", None))
    blocks = method.play(list(items), ask, random.Random(f"probe/{seed}"), step=0, read=read)  # before any generator
    rows = [
        (case_of(e["prompt"]), e["kind"], e["prompt"], e["completion"], method.continuation(e))
        for block in blocks for e in (row.episode for row in block.rows) if e and e["role"] == "predictor"
    ]  # fmt: skip
    if not rows:
        raise ValueError(f"run: {run.objective} asks nothing of {len(items)} held-out items; raise items")
    table = pd.DataFrame(rows, columns=["case", "kind", "prompt", "completion", "target"])
    return table.assign(sample=table.groupby("case").cumcount()), method.opening


def probe(run, model: str, items: int = 64, samples: int = 4, seed: int = 0) -> pd.DataFrame:
    """The three probes of a model of `run`, on items of its text that it did not train on: a row a way and measure.

    model: as `Run.model` names it, the run's own or another. Columns about ("all", and "reasoning" for the words that
    can be deduced, where the text says which they are) and those of `effects`.
    Errors: ValueError where nothing is held out, NothingToReplace where no answer reasons; those of loading a model.
    """
    from pzlib.engine.models import evaluating, to_ask

    if items < 2 or samples < 2:
        raise ValueError(f"items, samples: {items} and {samples}; another's reasoning needs at least 2 of each")
    loaded, tokenizer = to_ask(replace(run, model=model, lora_rank=0, lora_alpha=0, use_vllm=False, name=""))
    held = held_out_items(run, tokenizer, items)
    if not held:
        raise ValueError(f"corpus: the run reads all of {run.corpus}, so nothing is held out; probe a larger text")
    with evaluating(loaded), torch.autocast(loaded.device.type, torch.bfloat16, enabled=run.dtype == "bfloat16"):
        table, opening = episodes_of(run, loaded, tokenizer, held, samples, seed)
        rows = samples * groups_at_once(replace(run, group=samples), len(table))
        rows = probed(loaded, tokenizer, table, run.template, opening, max_rows=rows)
    parts = [effects(rows).assign(about="all")]
    deduced = rows[rows["kind"].map(lambda kind: isinstance(kind, str) and kind_class(kind) == "reasoning")]
    if len(deduced) and len(deduced) < len(rows):
        parts.append(effects(deduced).assign(about="reasoning"))
    return pd.concat(parts, ignore_index=True)[["about", *parts[0].columns.drop("about")]]


SAYING = {"tiny": "Think : {} . ", "paper": " {} "}  # a thought that is one word, before its closing tag


def gains(run, model, tokenizer, passages) -> pd.DataFrame:
    """The mean gain of `paid` thoughts and how many there are, by way, for each class of token (of its kind, where the
    text has no labels)."""
    of = "class" if any(passage.kinds for passage in passages) else "kind"
    rows = paid(run, model, tokenizer, passages)
    found = rows.pivot_table(index=of, columns="way", values="gain", aggfunc=["mean", "count"], sort=False)
    found["count"] = found["count"].fillna(0).astype(int)
    return found


def paid(run, model, tokenizer, passages, seed: int = 0) -> pd.DataFrame:
    """Gains in nats of thoughts before one random token of each passage: a row a thought.

    run: an RLP Run, whose template, group, temperature and lengths hold. Columns token, kind, class, way, thought,
    gain. way: "its own, naming it" and "its own, not naming it" for `group` sampled thoughts; and of three made-up ones
    "none", "only the token", "only another token" (of another passage). Baseline: the same model.
    """
    rollout, questions = RLP(run, passages, tokenizer, model=model), []
    ask = asker(run, model, tokenizer, seed, rollout.stop)

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
