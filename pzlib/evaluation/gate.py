"""Before paying: can a model play at all? Its masks, answers and thoughts on a few passages, with bounds and remedies.
Leaves out every training. The papers start from models that can, and state no bounds: these are ours."""

import math
import random
import time
from collections import Counter
from dataclasses import dataclass, replace

import pandas as pd

from pzlib.engine.packing import after
from pzlib.evaluation.probes import asker, reasoning
from pzlib.objectives.rlp import FORMS
from pzlib.objectives.targets import positions, token_offsets
from pzlib.prompts import OPENING, TEMPLATES
from pzlib.stats import clustered_ci, pass_at_k

GENERATOR, SPANS = "pretrainzero", "random_span"
RULES = (GENERATOR, SPANS, "random_next_token", "entropy_next_token")  # who hides; each is a method of that name
ALL, HERE, GONE = "all", "recurs", "does not recur"
EPISODE = ["role", "passage_id", "mask", "legal", "prompt", "completion", "prediction", "reward", "length", "clipped",
           "block", "group_index", "shown"]  # what is read of an episode  # fmt: skip
ALIVE = 0.2  # groups with signal, of all, that a method of exact match needs
POSITIONS = 8  # of each passage, at which the cost of an empty thought is read


@dataclass(frozen=True)
class Bound:
    """What a model needs: a number of `Gate.numbers`, its bound from below or above, and the remedy where it fails."""

    what: str
    name: str
    least: float | None = None
    most: float | None = None
    remedy: str = ""


BOUNDS = (
    Bound("groups with signal, random spans", f"{SPANS}/alive", least=ALIVE,
          remedy="reward avg_logprob: by likelihood, no group is dead in which an answer parses"),
    Bound("groups with signal, its own masks", f"{GENERATOR}/alive", least=ALIVE,
          remedy="warm it up on random spans, as the paper does SmolLM3: random_span_steps, a twentieth of the steps"),
    Bound("masks that parse", "parsed", least=0.5,
          remedy="template three_shot, which shows how a mask is written"),
    Bound("legal masks", "legal", least=0.5,
          remedy="random_span_steps, or objective random_span, which needs no masks"),
    Bound("different masks of those asked for a passage", "spread", least=0.25,
          remedy="raise temperature; a generator that always says the same has one mask a passage"),
    Bound("answers that parse", f"{SPANS}/parsed", least=0.5,
          remedy="template three_shot, or a short run of sft to start from: both show where an answer goes"),
    Bound("answers that reason", f"{SPANS}/reasons", least=0.1,
          remedy="start from a short run of mixed_sft: RL cannot make likelier what is never said"),
    Bound("answers cut off", f"{SPANS}/cut off", most=0.1, remedy="raise max_completion_tokens"),
    Bound("nats that an empty thought costs", "empty thought", most=0.05,
          remedy="matters to rlp, which has to win them back"),
)  # fmt: skip


@dataclass(frozen=True)
class Gate:
    """What was found: `rules`, a row a rule and split; `numbers` by name; `checks`, a row a bound."""

    rules: pd.DataFrame
    numbers: dict[str, float]

    @property
    def checks(self) -> pd.DataFrame:
        """A row a Bound: check, value, bound, holds, remedy ("" where it holds). What was not read does not hold."""
        rows = []
        for bound in BOUNDS:
            value, least = self.numbers.get(bound.name, math.nan), bound.least is not None
            holds = value >= bound.least if least else value <= bound.most
            limit = f">= {bound.least}" if least else f"<= {bound.most}"
            rows.append((bound.what, value, limit, holds, "" if holds else bound.remedy))
        return pd.DataFrame(rows, columns=["check", "value", "bound", "holds", "remedy"])

    @property
    def verdict(self) -> str:
        """Which methods of exact match have enough groups with signal (a fifth), in a line.

        >>> Gate(pd.DataFrame(), {"random_span/alive": 0.3, "pretrainzero/alive": 0.1}).verdict
        'can play random_span; cannot yet play pretrainzero, random_next_token, entropy_next_token'
        """
        plays = [rule for rule in RULES if self.numbers.get(f"{rule}/alive", 0.0) >= ALIVE]
        rest = [rule for rule in RULES if rule not in plays]
        words = [f"can play {', '.join(plays)}"] * bool(plays) + [f"cannot yet play {', '.join(rest)}"] * bool(rest)
        return "; ".join(words)

    def __str__(self) -> str:
        shown = self.rules.to_string(index=False, float_format="{:.3f}".format)
        checks = self.checks.to_string(index=False, float_format="{:.3f}".format)
        return f"{shown}\n\n{checks}\n\n{self.numbers['tokens a second']:.0f} tokens a second\nverdict: {self.verdict}"


def gate(run, passages: int = 8) -> Gate:
    """Ask `run.model` to play `passages` passages of `run.corpus` under every rule, with the run's prompts and lengths.

    Groups are of `run.group` (8, as in the papers, gives pass@8). Errors: ValueError for fewer than 2 passages; those
    of loading the model and the text.
    """
    from pzlib.engine.models import evaluating, to_ask
    from pzlib.train import material

    if passages < 2:
        raise ValueError(f"passages: {passages} give no interval; take at least 2")
    run = replace(run, objective=SPANS, reward="exact", corpus_limit=passages, use_vllm=False, name="")
    model, tokenizer = to_ask(run)
    items = material(run, model, tokenizer)[0]
    tables, numbers, tokens, seconds = [], {}, 0, 0.0
    with evaluating(model), arithmetic(model, run):
        for rule in RULES:
            started = time.perf_counter()
            episodes = played(replace(run, objective=rule, entropy_model="policy"), model, tokenizer, items)
            seconds += time.perf_counter() - started
            tokens += int(episodes["length"].sum())
            own = scores(episodes, run, rule, len(items))
            tables.append(own)
            numbers |= {
                f"{rule}/{name}": value for name, value in own.iloc[0].items() if name not in ("rule", "target")
            }
            if rule == GENERATOR:
                numbers |= masks(episodes[episodes["role"] == "generator"])
        numbers["empty thought"] = empty_thought(run, model, tokenizer, items)
    return Gate(pd.concat(tables, ignore_index=True), numbers | {"tokens a second": tokens / seconds})


def arithmetic(model, run):
    """The autocast of a run's dtype on the model's device."""
    import torch

    return torch.autocast(model.device.type, torch.bfloat16, enabled=run.dtype == "bfloat16")


def played(run, model, tokenizer, items) -> pd.DataFrame:
    """The episodes of one step of `run`'s method, with a column `shown`: what the predictor saw of the passage."""
    method = run.method(run, list(items), tokenizer, model=model)

    def read(*what, by="read"):
        return getattr(method, by)(*what, policy=model)

    step = 1 + run.random_span_steps  # behind a warm-up, if the run has one
    blocks = method.play(list(items), asker(run, model, tokenizer, run.seed), random.Random(run.seed), step, read)
    rows = [row.episode for block in blocks for row in block.rows if row.episode]
    if not rows:
        return pd.DataFrame(columns=EPISODE)
    template = TEMPLATES[run.template]
    form = template.next_token if method.prompt_of.__name__ == "next_token_prompt" else template.predictor
    head, _, tail = form.partition("{text}")
    table = pd.DataFrame(rows)
    return table.assign(shown=[prompt[len(head) : len(prompt) - len(tail)] for prompt in table["prompt"]])


def masks(generator: pd.DataFrame) -> dict[str, float]:
    """parsed and legal: shares of the generator's answers; spread: different legal masks of a passage, over G, mean.

    >>> asked = [("p", "Rome", True), ("p", "Rome", True), ("p", None, False), ("p", "Oslo", False)]
    >>> masks(pd.DataFrame(asked, columns=["passage_id", "mask", "legal"]))
    {'parsed': 0.75, 'legal': 0.5, 'spread': 0.25}
    """
    legal, size = generator[generator["legal"]], generator.groupby("passage_id").size()
    different = legal.groupby("passage_id")["mask"].nunique().reindex(size.index, fill_value=0)
    spread = float((different / size).mean())
    return {
        "parsed": float(generator["mask"].notna().mean()),
        "legal": float(generator["legal"].mean()),
        "spread": spread,
    }


def scores(episodes: pd.DataFrame, run, rule: str, passages: int) -> pd.DataFrame:
    """A row for all masks of a rule, and one each for targets that recur in what is shown (case ignored) or do not.

    Columns rule, target, masks (groups that were asked), pass@1, pass@G, alive (groups with signal, of all groups: a
    mask that is not legal is a dead one), low, high (95 %, clustered by passage), copy (a shown word at random),
    majority (the most frequent target of the other passages), parsed, reasons, length (tokens), cut off.
    """
    found = episodes[episodes["role"] == "predictor"]
    groups = [own for _, own in found.groupby(["block", "group_index"], sort=False)]
    targets = [(own["passage_id"].iloc[0], own["mask"].iloc[0]) for own in groups]
    rows = []
    for own, (passage, target) in zip(groups, targets, strict=True):
        shown, hits, G = own["shown"].iloc[0], int(own["reward"].sum()), len(own)
        words = [word.casefold().strip(".,;:!?\"'()") for word in shown.split()]
        others = Counter(other for where, other in targets if where != passage)
        rows.append({
            "passage": passage, "recurs": target.casefold() in shown.casefold(), "alive": float(0 < hits < G),
            "pass@1": hits / G, f"pass@{G}": pass_at_k(G, hits, G),
            "copy": words.count(target.casefold()) / max(1, len(words)),
            "majority": float(bool(others) and others.most_common(1)[0][0] == target),
            "parsed": own["prediction"].notna().mean(),
            "reasons": sum(bool(reasoning(text).strip()) and OPENING in text for text in own["completion"]) / G,
            "length": own["length"].mean(), "cut off": own["clipped"].mean(),
        })  # fmt: skip
    names = ["alive", "pass@1", f"pass@{run.group}", "copy", "majority", "parsed", "reasons", "length", "cut off"]
    table = pd.DataFrame(rows, columns=["passage", "recurs", *names])
    table["recurs"] = table["recurs"].astype(bool)
    told = []
    for split, part in ((ALL, table), (HERE, table[table["recurs"]]), (GONE, table[~table["recurs"]])):
        means, low, high = part[names].mean(), math.nan, math.nan
        if split == ALL:  # what is not legal is dead: of every passage G groups are asked for
            alive = part.groupby("passage")["alive"].sum().tolist()
            alive = [own / run.group for own in alive] + [0.0] * (passages - len(alive))
            means["alive"] = sum(alive) / passages
            low, high = clustered_ci(alive)
        told.append({"rule": rule, "target": split, "masks": len(part), **means, "low": low, "high": high})
    return pd.DataFrame(told)[["rule", "target", "masks", *names[:1], "low", "high", *names[1:]]]


def empty_thought(run, model, tokenizer, items) -> float:
    """What a thought that says nothing costs a next token, in nats, mean over POSITIONS places of each passage: its log
    p behind the bare text, minus that behind RLP's form with the thought closed at once. nan without any place."""
    form, rng = FORMS["tiny" if run.template == "tiny" else "paper"], random.Random(run.seed)
    texts = [item.text for item in items]
    bare, closed = [], []
    for text, ids, offsets in zip(texts, *token_offsets(tokenizer, texts), strict=True):
        places = positions(text, offsets, run.min_context)
        for at in rng.sample(places, min(POSITIONS, len(places))):
            context = text[: offsets[at][0]]
            bare.append((tokenizer(context)["input_ids"], [[]], ids[at]))
            prompt = tokenizer(form.prompt(context))["input_ids"]
            closed.append((prompt, [tokenizer(form.closing, add_special_tokens=False)["input_ids"]], ids[at]))
    if not bare:
        return math.nan
    costs = [without - with_ for (without,), (with_,) in zip(after(model, bare), after(model, closed), strict=True)]
    return sum(costs) / len(costs)
