"""The properties that the small world and its bases must have; a base speaks every form that a method asks in.
Left out: every method's result, since a world is set by its properties, not by who wins. The bounds are ours."""

import random

import pandas as pd

from pzlib.engine.packing import after
from pzlib.evaluation.gate import empty_thought
from pzlib.evaluation.small_world import THINK, base_masks, base_spans, complete, places
from pzlib.masking import apply_mask
from pzlib.objectives.rlp import FORMS as THOUGHTS
from pzlib.objectives.rlp import information_gain
from pzlib.prompts import TINY, generator_prompt, parse_boxed, parse_mask
from pzlib.rewards import predictor_reward
from pzlib.run import Run
from pzlib.world.facts import reasoned
from pzlib.world.forms import FIRST_CUT, FORMS, class_of
from pzlib.world.tinywiki import WORLDS, deducible, flats, held_out

ASKED = ("mask", "prediction", "cut", "segment", "question")  # the forms of `pzlib.world.forms` that end in an answer
# What must hold of the shipped files, as (lowest, highest): the words of the world's definition in numbers. A million
# parameters are shared among many forms: one mask in five may be illegal.
BOUNDS = {
    "deducible share of positions": (0.02, 0.08),
    "irreducible share of the high-entropy fifth": (0.8, 0.95),
    "the same in the clean world": (0.0, 0.5),
    "reasoning spans, pass@1": (0.2, 0.5),
    "reasoning spans, pass@8": (0.8, 1.0),
    "gain of reasoning over none": (0.1, 1.0),
    "legal share of the masks": (0.8, 1.0),
    "smallest share of a kind of mask": (0.05, 1.0),
    "distance between easiest and hardest rung": (0.2, 1.0),
    "nats that an empty thought costs": (-1.0, 0.05),
    "answers that parse, least of a form": (0.9, 1.0),
    "answers that reason, least of a form": (0.4, 0.6),
    "answers that reason, most of a form": (0.4, 0.6),
}
TEXTS = ("tinywiki", "tinywiki:density=1", "tinywiki:density=1,left=1", "tinymath")


def spoken(model, tokenizer, items: int = 64, repeats: int = 4, seed: int = 99, side: str = "test") -> pd.DataFrame:
    """A row a form of ASKED: shares of sampled answers that parse and that reason, and how many are right with a
    reasoning and without. Right is what the text says; of a mask, that it is legal."""
    rng, rows = random.Random(f"spoken/{seed}"), []
    for form in ASKED:
        asked = [FORMS[form](rng, 5, side) for _ in range(items)]
        texts, lengths = complete(model, tokenizer, [read for read, _ in asked], repeats, 1.0, seed)
        answers = [
            (*_answered(form, text, *asked[i // repeats]), text.startswith(THINK)) for i, text in enumerate(texts)
        ]
        table = pd.DataFrame(answers, columns=["parsed", "right", "reasoned"])
        right = table.groupby("reasoned")["right"].mean()
        rows.append({
            "form": form, "n": len(texts), **table[["parsed", "reasoned"]].mean(),
            "right, reasoned": right.get(True), "right, direct": right.get(False),
            "tokens": sum(lengths) / len(lengths),
        })  # fmt: skip
    return pd.DataFrame(rows)


def _answered(form: str, text: str, read: str, learned: str) -> tuple[bool, float]:
    """Whether an answer parses, and whether it is right."""
    if form != "mask":
        said = parse_boxed(text)
        return said is not None, predictor_reward(said, parse_boxed(learned))
    said, (head, tail) = parse_mask(text), generator_prompt("{text}", TINY).split("{text}")
    return said is not None, float(apply_mask(read[len(head) : len(read) - len(tail)], said or "") is not None)


def empty_thoughts(model, tokenizer, limit: int = 60, seed: int = 99) -> pd.Series:
    """Nats that an empty thought costs against bare text, by text (`pzlib.evaluation.gate`)."""
    run = Run(seed=seed)
    return pd.Series({
        name: empty_thought(run, model, tokenizer, held_out(name, limit, seed=seed)) for name in WORLDS
    })  # fmt: skip


def properties(model, tokenizer, seed: int = 99) -> pd.DataFrame:
    """Every property of `BOUNDS` measured: columns property, value, lowest, highest, holds.

    What an empty thought costs is the most over the three texts. seed: of passages, masks and answers.
    """
    shares = places(model, tokenizer, ("tinywiki", "tinywiki_clean")) / 100
    table = base_spans(model, tokenizer, seed=seed)
    by_way = table[table["class"] == "reasoning"].groupby("way")[["pass@1", "pass@8"]].mean()
    rungs = table[(table["class"] == "reasoning") & (table.way == "free")]["pass@1"]
    masks = base_masks(model, tokenizer, seed=seed)
    legal = masks.drop("illegal") / (1 - masks["illegal"])
    forms = spoken(model, tokenizer, seed=seed)
    values = [
        shares.loc["tinywiki", "deducible positions"],
        *shares["top fifth: irreducible"],
        by_way.loc["free", "pass@1"],
        by_way.loc["free", "pass@8"],
        by_way.loc["reasoning", "pass@1"] - by_way.loc["direct", "pass@1"],
        1 - masks["illegal"],
        legal.reindex(["trivial", "irreducible", "reasoning"], fill_value=0).min(),
        rungs.max() - rungs.min(),
        empty_thoughts(model, tokenizer, seed=seed).max(),
        forms["parsed"].min(), forms["reasoned"].min(), forms["reasoned"].max(),
    ]  # fmt: skip
    rows = [(name, value, *BOUNDS[name]) for name, value in zip(BOUNDS, values, strict=True)]
    table = pd.DataFrame(rows, columns=["property", "value", "lowest", "highest"])
    return table.assign(holds=(table.lowest <= table.value) & (table.value <= table.highest))


def where_a_thought_pays(
    model, tokenizer, texts=TEXTS, limit: int = 60, repeats: int = 8, seed: int = 99
) -> pd.DataFrame:  # fmt: skip
    """What a thought before the next word can pay and what the base's own pay, in nats, a row a text.

    Columns: from the left (share of positions whose word follows from what is on its left); of such words: to tell
    (-log p without a thought), right (the gain of a thought that states the deduction), own (of sampled thoughts), none
    (of one that says nothing); at most (from the left x to tell: no thoughts can pay more a position); elsewhere (the
    gain of sampled thoughts before other words); start and its standard error ± (of sampled thoughts at random
    positions, of held-out text: about what RLP starts from). A wrong thought is believed, so few of them weigh much in
    a mean of nats.
    """
    rows = []
    for text in texts:
        table = _gains(model, tokenizer, text, limit, repeats, seed)
        sought, own = table[table["sought"]], table["way"] == "own"
        gain, share = sought.groupby("way")["gain"].mean(), deducible(text)["from the left"]
        rows.append({
            "text": text, "from the left": share, "to tell": (to_tell := -sought["bare"].mean()),
            "at most": share * to_tell, **gain[["right", "own", "none"]],
            "elsewhere": table[own & (table["class"] != "left")]["gain"].mean(),
            "start": (start := table[own & ~table["sought"]]["gain"]).mean(),
            "±": pd.Series(start.to_numpy().reshape(-1, repeats).mean(axis=1)).sem(),
        })  # fmt: skip
    return pd.DataFrame(rows).set_index("text")


def _gains(model, tokenizer, name, limit, repeats, seed) -> pd.DataFrame:
    """A row a thought: sought (its word was chosen because it follows from the left, not at random), class, way (own:
    sampled; before sought words also right: the deduction; and none), bare (log p without a thought), gain."""
    form, rng, places = THOUGHTS["tiny"], random.Random(f"thoughts/{seed}"), []
    for _, flat in flats(name, limit, seed, "test"):
        each = [(" ".join(w for w, _, _ in flat[:i]), word, class_of(kind), why)
                for i, (word, kind, why) in enumerate(flat)][FIRST_CUT:]  # fmt: skip
        found = [place for place in each if place[2] == "left"]
        places += [(False, *rng.choice(each)), *((True, *rng.choice(found)) for _ in found[:1])]
    prompts = [form.prompt(context) for _, context, *_ in places]
    said, _ = complete(model, tokenizer, prompts, repeats, 1.0, seed)
    groups = [[("own", text) for text in said[i : i + repeats]] for i in range(0, len(said), repeats)]
    for group, (sought, _, word, _, why) in zip(groups, places, strict=True):
        group += [("right", reasoned(why, word)), ("none", "")] if sought else []
    thoughts = [[f"{text.partition(form.closing)[0]}{form.closing}" for _, text in group] for group in groups]
    words = [ids[0] for ids in tokenizer([word for _, _, word, *_ in places])["input_ids"]]
    closed = [(tokenizer(p)["input_ids"], tokenizer(own)["input_ids"], w)
              for p, own, w in zip(prompts, thoughts, words, strict=True)]  # fmt: skip
    bare = [(tokenizer(context)["input_ids"], [[]], w) for (_, context, *_), w in zip(places, words, strict=True)]
    rows = []
    for (sought, _, _, of, _), group, with_, (without,) in zip(
        places, groups, after(model, closed), after(model, bare), strict=True
    ):
        rows += [(sought, of, way, without, information_gain(logp, without))
                 for (way, _), logp in zip(group, with_, strict=True)]  # fmt: skip
    return pd.DataFrame(rows, columns=["sought", "class", "way", "bare", "gain"])
