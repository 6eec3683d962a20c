"""Measures the properties that TinyWiki and tinybase must have for the small tier to mean anything.
Left out: every method's result. The world is set by these numbers alone and never by who wins on it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

import pandas as pd
import torch

from pzlib.engine.models import evaluating
from pzlib.engine.packing import read
from pzlib.evaluation.small_world import DIRECT, THINK, complete, span_accuracy, spans
from pzlib.masking import apply_mask
from pzlib.prompts import TINY, generator_prompt, parse_mask
from pzlib.stats import pass_at_k
from pzlib.words import kind_of
from pzlib.world.tinywiki import kind_class, passages

# What must hold of the shipped files, as (property, lowest, highest): the words of the world's definition in numbers.
BOUNDS = {
    "deducible share of positions": (0.02, 0.08),
    "irreducible share of the high-entropy fifth": (0.85, 0.95),
    "the same in the clean world": (0.0, 0.5),
    "reasoning spans, pass@1": (0.2, 0.5),
    "reasoning spans, pass@8": (0.8, 1.0),
    "gain of reasoning over none": (0.1, 1.0),
    "legal share of the masks": (0.9, 1.0),
    "smallest share of a kind of mask": (0.05, 1.0),
    "distance between easiest and hardest rung": (0.2, 1.0),
}


def position_kinds(name: str, limit: int = 300, seed: int = 99) -> pd.Series:
    """Share of the positions of a world that are of each kind."""
    counts = Counter(kind for passage in passages(name, limit, seed) for _, _, kind in passage.kinds)
    return pd.Series(counts).sort_values(ascending=False) / sum(counts.values())


def next_tokens(model, tokenizer, texts: Iterable[str]) -> pd.DataFrame:
    """One row per token but the first of each text, of any causal model: passage, entropy (nats), whether that is in
    the text's top fifth, and whether the most likely token is the right one ("predictable without thinking").

    The entropy at which a token is ranked is of what stands before it, as entropy masking reads.
    """
    tables = []
    for number, text in enumerate(texts):
        ids = tokenizer(text)["input_ids"]
        with evaluating(model):
            logp = read(model, ids)[:-1].float().log_softmax(-1)  # (T-1, V)
        entropy = -(logp.exp() * logp).sum(-1)
        top = torch.zeros_like(entropy, dtype=torch.bool)
        top[entropy.topk(len(entropy) // 5).indices] = True
        right = logp.argmax(-1) == torch.tensor(ids[1:], device=logp.device)
        columns = {"entropy": entropy, "top_fifth": top, "right": right}
        tables.append(pd.DataFrame({"passage": number} | {name: x.cpu().numpy() for name, x in columns.items()}))
    return pd.concat(tables, ignore_index=True)


def next_token_entropy(model, tokenizer, name: str, limit: int = 100, seed: int = 99) -> pd.DataFrame:
    """`next_tokens` of a small world's passages, with the kind of each word, and what it is read `from_left`.

    Read from the left, what only follows from both sides can't be deduced either: it counts as irreducible here.
    """
    shown = passages(name, limit, seed)
    kinds = [kind for passage in shown for _, _, kind in passage.kinds[1:]]
    seen = ["irreducible" if kind.endswith("_inverse") else kind_class(kind) for kind in kinds]
    return next_tokens(model, tokenizer, [p.text for p in shown]).assign(kind=kinds, from_left=seen)


def places(model, tokenizer, names: Iterable[str], limit: int = 100) -> pd.DataFrame:
    """Where each world is, in %: positions that are deducible, and of the top fifth by entropy what nothing tells
    from the left and what the model gets right without thinking; all positions it gets right."""
    return 100 * _shares(model, tokenizer, names, limit)


def _shares(model, tokenizer, names, limit=100):
    rows = {}
    for name in names:
        table = next_token_entropy(model, tokenizer, name, limit)
        top = table[table["top_fifth"]]
        kinds = position_kinds(name)
        rows[name] = {
            "deducible positions": sum(share for kind, share in kinds.items() if kind_class(kind) == "reasoning"),
            "top fifth: irreducible": (top["from_left"] == "irreducible").mean(),
            "top fifth: right": top["right"].mean(),
            "all: right": table["right"].mean(),
        }
    return pd.DataFrame(rows).T


def base_spans(model, tokenizer, per_kind: int = 24, seed: int = 99) -> pd.DataFrame:
    """One row per kind and way of answering (free, reasoning, direct): n, pass@1 and pass@8 at temperature 1."""
    items = spans(passages("tinywiki", 800, seed), per_kind, seed)
    rows = []
    for way, start in (("free", ""), ("reasoning", THINK), ("direct", DIRECT)):
        found = defaultdict(list)
        for kind, hits in span_accuracy(model, tokenizer, items, repeats=8, start=start, seed=seed):
            found[kind].append((pass_at_k(8, hits, 1), pass_at_k(8, hits, 8)))
        for kind, scores in found.items():
            one, eight = (sum(column) / len(scores) for column in zip(*scores, strict=True))
            rows.append((kind, kind_class(kind), way, len(scores), one, eight))
    return pd.DataFrame(rows, columns=["kind", "class", "way", "n", "pass@1", "pass@8"])


def base_masks(model, tokenizer, limit: int = 100, repeats: int = 8, seed: int = 99) -> pd.Series:
    """Share of the generator's masks by class of what they hide; "illegal" is a class too. Sums to 1."""
    shown = passages("tinywiki", limit, seed)
    texts, _ = complete(model, tokenizer, [generator_prompt(p.text, TINY) for p in shown], repeats, 1.0, seed)
    classes = Counter({"illegal": 0})
    for i, text in enumerate(texts):
        passage = shown[i // repeats]
        masked = apply_mask(passage.text, parse_mask(text) or "")
        classes["illegal" if masked is None else kind_class(kind_of(passage.text, passage.kinds, masked))] += 1
    return pd.Series(classes).sort_values(ascending=False) / len(texts)


def properties(model, tokenizer) -> pd.DataFrame:
    """Every property of `BOUNDS` measured: columns property, value, lowest, highest, holds."""
    shares = _shares(model, tokenizer, ("tinywiki", "tinywiki_clean"))
    table = base_spans(model, tokenizer)
    by_way = table[table["class"] == "reasoning"].groupby("way")[["pass@1", "pass@8"]].mean()
    rungs = table[(table["class"] == "reasoning") & (table.way == "free")]["pass@1"]
    masks = base_masks(model, tokenizer)
    legal = masks.drop("illegal") / (1 - masks["illegal"])
    values = [
        shares.loc["tinywiki", "deducible positions"],
        *shares["top fifth: irreducible"],
        by_way.loc["free", "pass@1"],
        by_way.loc["free", "pass@8"],
        by_way.loc["reasoning", "pass@1"] - by_way.loc["direct", "pass@1"],
        1 - masks["illegal"],
        legal.reindex(["trivial", "irreducible", "reasoning"], fill_value=0).min(),
        rungs.max() - rungs.min(),
    ]
    rows = [(name, value, *BOUNDS[name]) for name, value in zip(BOUNDS, values, strict=True)]
    table = pd.DataFrame(rows, columns=["property", "value", "lowest", "highest"])
    return table.assign(holds=(table.lowest <= table.value) & (table.value <= table.highest))
