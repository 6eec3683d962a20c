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
from pzlib.world.forms import FIRST_CUT, FORMS, class_of
from pzlib.world.tinywiki import WORLDS, deducible, held_out

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
LEFTS = (0.0, 0.5, 1.0)


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
    model, tokenizer, text: str = "tinywiki", lefts=LEFTS, limit: int = 60, repeats: int = 8, seed: int = 99
) -> pd.DataFrame:
    """RLP's reward of the base's own thoughts, in nats, by the share of deductions that are running counts: a row a
    `left`.

    Columns: from the left (share of positions), gain (mean over thoughts and random positions: what RLP starts from),
    reasoned and empty (that of thoughts which say something, and nothing), deducible and elsewhere (of the first,
    before words that follow from the left and before others), helps (share of thoughts before such words that make them
    likelier), breaks even (the share of such words at which reasoning everywhere would be worth 0; nan where it does
    not pay before them either). A wrong reasoning is believed, so few of them weigh much in a mean of nats.
    """
    rows = []
    for left in lefts:
        name = f"{text}:left={left:g}"
        table = _gains(model, tokenizer, name, limit, repeats, seed)
        drawn, said = table[~table["sought"]], table[table["reasoned"]]
        means = {
            "gain": drawn["gain"].mean(), "reasoned": drawn[drawn["reasoned"]]["gain"].mean(),
            "empty": drawn[~drawn["reasoned"]]["gain"].mean(),
            "deducible": said[said["class"] == "left"]["gain"].mean(),
            "elsewhere": said[said["class"] != "left"]["gain"].mean(),
        }  # fmt: skip
        pays, costs = means["deducible"], means["elsewhere"]
        means["helps"] = (said[said["class"] == "left"]["gain"] > 0).mean()
        even = -costs / (pays - costs) if pays > 0 else float("nan")
        rows.append({"left": left, "from the left": deducible(name)["from the left"], **means, "breaks even": even})
    return pd.DataFrame(rows)


def _gains(model, tokenizer, name, limit, repeats, seed) -> pd.DataFrame:
    """A row a thought: sought (its word was chosen because it follows from the left, not at random), class, reasoned
    (whether it says anything), gain."""
    form, rng, places = THOUGHTS["tiny"], random.Random(f"thoughts/{seed}"), []
    for passage in held_out(name, limit, seed=seed):
        kinds = [(start, end, class_of(kind)) for start, end, kind in passage.kinds][FIRST_CUT:]
        found = [place for place in kinds if place[2] == "left"]
        drawn = [(False, rng.choice(kinds))] + ([(True, rng.choice(found))] if found else [])
        for sought, (start, end, of) in drawn:
            places.append((sought, of, passage.text[:start], passage.text[start:end]))
    prompts = [form.prompt(context) for _, _, context, _ in places]
    said, _ = complete(model, tokenizer, prompts, repeats, 1.0, seed)
    thoughts = [f"{text.partition(form.closing)[0]}{form.closing}" for text in said]
    groups = [thoughts[i : i + repeats] for i in range(0, len(thoughts), repeats)]
    words = [ids[0] for ids in tokenizer([word for *_, word in places])["input_ids"]]
    closed = [(tokenizer(p)["input_ids"], tokenizer(own)["input_ids"], w)
              for p, own, w in zip(prompts, groups, words, strict=True)]  # fmt: skip
    bare = [(tokenizer(context)["input_ids"], [[]], w) for (_, _, context, _), w in zip(places, words, strict=True)]
    rows = []
    for (sought, of, *_), own, with_, (without,) in zip(
        places, groups, after(model, closed), after(model, bare), strict=True
    ):
        rows += [(sought, of, thought != form.closing, information_gain(logp, without))
                 for thought, logp in zip(own, with_, strict=True)]  # fmt: skip
    return pd.DataFrame(rows, columns=["sought", "class", "reasoned", "gain"])
