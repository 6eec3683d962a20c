"""The text that a base reads: plain, and every form that a method asks in, at like shares.
Half of the answers come at once and half after a reasoning, for every kind of span, so that no habit is favoured."""

import random
from dataclasses import replace

from pzlib.masking import MASK, apply_mask
from pzlib.prompts import TINY, generator_prompt, next_token_prompt, predictor_prompt, question_prompt
from pzlib.world.facts import STATED, TASKS, reasoned
from pzlib.world.tinywiki import KNOWLEDGE, OTHER_SUMS, WORLDS, Word, kind_class, vocabulary, words

VOCABULARY = vocabulary()
NO_REASON = {"trivial": "a plain word", "irreducible": "nothing tells"}
TEXTS = {"tinywiki": 0.4, "tinywiki_clean": 0.3, "tinymath": 0.3}
LEFT = (0.0, 0.0, 0.5, 1.0)  # the knob `left` of a passage: half of them have no running count
CLASSES = {"trivial": 2, "irreducible": 2, "left": 1, "right": 1}  # what a span is, and how often; see `class_of`
DEPTHS = tuple(f"chain_{depth}" for depth in range(1, 5))
KINDS = {  # what is asked for alike: every task, and every depth of the ladder
    "left": (*(task for task in STATED if task != "chain"), *DEPTHS),
    # what a language, a count or a land in the east follows from can't be told from them
    "right": (*(task for task in STATED if task not in ("chain", "language", "east", "count")), *DEPTHS),
}
ANSWER = 32  # tokens that an answer has at most, its end with it: what the tier's runs have room for
FIRST_CUT = 5  # the words before a cut, at least: `min_context` of the small tiers
DEDUCIBLE_CUTS = 0.3  # of the cuts are before a word that follows from what is on its left
SHORT = 3  # words that a sentence has at least to be asked for, as in RLPT


def class_of(kind: str) -> str:
    """A word's class: trivial, irreducible, or where what it is deduced from is: on the left, or on the right too.

    >>> class_of("chain_3"), class_of("sum_inverse"), class_of("trivial")
    ('left', 'right', 'trivial')
    """
    return "right" if kind.endswith("_inverse") else "left" if kind_class(kind) == "reasoning" else kind


def passage(rng: random.Random, longest: int, side: str = "train", task: str = "") -> list[Word]:
    """The words of a passage of one to `longest` sentences; a base reads the side "train" alone.

    task: one that is stated in it more often than others, so that what is rare is asked for as often as what is not.
    """
    shares = {name: share for name, share in TEXTS.items() if task in ("", "tally", *WORLDS[name].tasks)}
    world = WORLDS[rng.choices(list(shares), list(shares.values()))[0]]
    sentences, left = rng.randint(1, min(longest, world.sentences)), rng.choice(LEFT)
    if task == "tally":
        left = 1.0
    elif task:
        tasks = world.tasks + (task,) * len(world.tasks)
        world = replace(world, tasks=tasks, density=max(0.5, world.density))
    return words(rng, replace(world, sentences=sentences, left=left), side)


def _place(rng, flat: list[Word], wanted: str, first: int = 0, kind: str = "") -> int | None:
    """A word of class `wanted`, from the word `first` on, of that kind or of every kind alike; None: there is none."""
    kinds = {}
    for i, (_, own, _) in enumerate(flat[first:], first):
        if class_of(own) == wanted and own.removesuffix("_inverse").startswith(kind):
            kinds.setdefault(own, []).append(i)
    return rng.choice(kinds[rng.choice(sorted(kinds))]) if kinds else None


def _drawn(rng, longest: int, side: str, first: int = 0, wanted: str = "") -> tuple[list[Word], int]:
    """A passage and the place of a word in it: of a class drawn by CLASSES, and of every task and depth alike."""
    wanted = wanted or rng.choices(list(CLASSES), list(CLASSES.values()))[0]
    kind = rng.choice(KINDS[wanted]) if wanted in KINDS else ""
    task = "chain" if kind.startswith("chain") else kind
    while (at := _place(rng, flat := passage(rng, longest, side, task), wanted, first, kind)) is None:
        pass
    return flat, at


def _span(rng, flat: list[Word], first: int) -> tuple[str, str]:
    """(the words there, why): one word in three of four cases, else two; a reasoning that would be too long is of
    one word."""
    for size in (1, 1) if rng.random() < 0.75 else (2, 1):
        span = flat[first : first + size]
        said = " ".join(word for word, _, _ in span)
        why = " . ".join([reason for *_, reason in span if reason] or [NO_REASON[class_of(span[0][1])]])
        if _fits(why, said):
            break
    return said, why


def _fits(why: str, said: str) -> bool:
    return len(reasoned(why, said).split()) < ANSWER


def _answer(rng, why: str, said: str) -> str:
    return reasoned(why, said) if rng.random() < 0.5 and _fits(why, said) else f"\\boxed{{ {said} }}"


def prediction(rng: random.Random, longest: int, side: str = "train") -> tuple[str, str]:
    """What is under a mask: the form of PretrainZero's predictor, of random spans and of supervised fine-tuning."""
    while True:
        flat, first = _drawn(rng, longest, side)
        said, why = _span(rng, flat, first)
        masked = apply_mask(" ".join(word for word, _, _ in flat), said)
        if masked is not None:
            return predictor_prompt(masked.text, TINY), _answer(rng, why, said)


def mask(rng: random.Random, longest: int, side: str = "train") -> tuple[str, str]:
    """What to hide: three masks of a passage in turn, each behind its sentence up to there, so that copying is learned.

    With a reasoning, what the hidden word follows from comes first. A sentence too long for the answer is quoted from
    its end: a mask that nothing leads up to is often a word that is not there.
    """
    while True:
        flat = passage(rng, longest, side)
        spoken, asked = [word for word, _, _ in flat], []
        for _ in range(30):
            first = _place(rng, flat, rng.choices(list(CLASSES), list(CLASSES.values()))[0])
            if first is None:
                continue
            said, why = _span(rng, flat, first)
            if apply_mask(" ".join(spoken), said) is None:
                continue
            start = max((i + 1 for i in range(first) if spoken[i] == "."), default=0)
            before = ["Think", ":", *why.split(), "."] if rng.random() < 0.5 else []
            room = ANSWER - 1 - len(before) - len(said.split()) - 2
            quoted = spoken[max(start, first - room) : first] if room > 0 else []
            asked.append(" ".join([*before, *quoted, "\\mask{", said, "}"]))
            if len(asked) == 3:
                return generator_prompt(" ".join(spoken), TINY), " <eos> Mask : ".join(asked)


def cut(rng: random.Random, longest: int, side: str = "train") -> tuple[str, str]:
    """The next word of a passage that breaks off: the form of RPT, RLP and both rules on next tokens.

    Anywhere from the sixth word on, or in DEDUCIBLE_CUTS before a word that follows from the left. RLP's thought is
    what comes before the box. From the left, a word that needs what is on its right can't be known.
    """
    if rng.random() < DEDUCIBLE_CUTS:
        flat, at = _drawn(rng, longest, side, FIRST_CUT, "left")
    else:
        while len(flat := passage(rng, longest, side)) <= FIRST_CUT:
            pass
        at = rng.randrange(FIRST_CUT, len(flat))
    word, kind, reason = flat[at]
    of = class_of(kind)
    why = reason if of == "left" else NO_REASON["trivial" if of == "trivial" else "irreducible"]
    return next_token_prompt(" ".join(word for word, _, _ in flat[:at]), TINY), _answer(rng, why, word)


def segment(rng: random.Random, longest: int, side: str = "train") -> tuple[str, str]:
    """The next sentence, or the one between two others: the forms of RLPT. No sentence here follows from another."""
    middle = rng.random() < 0.5
    while True:
        flat = passage(rng, max(longest, 2), side)
        ends = [i + 1 for i, (word, _, _) in enumerate(flat) if word == "."]
        sentences = [flat[a:b] for a, b in zip([0, *ends], ends, strict=False)]
        found = [i for i in range(1, len(sentences) - middle) if SHORT <= len(sentences[i]) <= ANSWER - 8]
        if found:
            break
    text = [" ".join(word for word, _, _ in sentence) for sentence in sentences]
    at = rng.choice(found)
    plain = all(kind == "trivial" for _, kind, _ in sentences[at])
    before, why = " ".join(text[:at]), NO_REASON["trivial" if plain else "irreducible"]
    asked = predictor_prompt(f"{before} {MASK} {text[at + 1]}", TINY) if middle else next_token_prompt(before, TINY)
    return asked, _answer(rng, why, text[at])


def question(rng: random.Random, longest: int = 0, side: str = "train") -> tuple[str, str]:
    """A question of TinyBench's tasks, of the instances of that side."""
    fact = TASKS[rng.choice(sorted(TASKS))](rng, side)
    return question_prompt(fact.question, TINY), _answer(rng, fact.reason, fact.answer)


def knowledge(rng: random.Random, longest: int = 0, side: str = "train") -> tuple[str, str]:
    """Eight lines of what the world knows: in a third where cities are and what is spoken there, else sums.

    Of the sums of two numbers only those of training.
    """
    return "", " ".join(rng.sample(KNOWLEDGE["places" if rng.random() < 1 / 3 else "sums"], 8))


def laws(rng: random.Random, longest: int = 0, side: str = "train") -> tuple[str, str]:
    """Eight sums of the other sides, as laws alone: no passage, question or reasoning of training uses them.

    A base of a million parameters learns sums by heart (LOG.md): of those it never read it knows hardly one in twenty.
    """
    return "", " ".join(rng.sample(OTHER_SUMS, 8))


def again(rng: random.Random, longest: int = 0, side: str = "train") -> tuple[str, str]:
    """A list of any words, written twice: real text repeats itself, and copying is learned from that."""
    text = " ".join(rng.choices(VOCABULARY, k=rng.randint(6, 20)))
    return f"Passage : {text} Again :", text


def plain(rng: random.Random, longest: int, side: str = "train") -> tuple[str, str]:
    """A passage as it is, which is how RLP's baseline reads it and continued pretraining learns it."""
    return "", " ".join(word for word, _, _ in passage(rng, longest, side))


FORMS = {made.__name__: made for made in (plain, again, knowledge, laws, mask, prediction, cut, segment, question)}


def document(rng: random.Random, shares: dict[str, float], longest: int, copying: bool = False) -> tuple[str, str]:
    """One document as (read, learned), of a form drawn by `shares`, names of FORMS: the loss is on what is learned."""
    form = rng.choices(list(shares), list(shares.values()))[0]
    return FORMS["again" if copying and rng.random() < 0.9 else form](rng, longest)
