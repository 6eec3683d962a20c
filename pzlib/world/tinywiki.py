"""TinyWiki: a seeded world of encyclopaedia-like prose in which the kind of every word is known.
Left out: real text. The paper trains on Wikipedia (PretrainZero, section 4.1); `smoke` and `mini` train on this."""

import random
import re
from dataclasses import dataclass, replace

from pzlib.masking import Passage
from pzlib.world.facts import (
    COUNTING,
    COUNTRY_OF,
    EAST_OF,
    GENERAL,
    LANGUAGE_OF,
    MATH,
    POOLS,
    SIDES,
    SMALL,
    STATED,
    TASKS,
    Fact,
    side_of,
)  # fmt: skip

Word = tuple[str, str, str]  # (word, kind, reason): kind is "trivial", "irreducible" or a task


@dataclass(frozen=True)
class World:
    """The knobs of the world: what it states, how much of that can be deduced and from where, how wide its noise is.

    density: share of sentences that state something deducible, in [0, 1]. noise: share of the other sentences that are
    names, codes and years rather than set phrases, in [0, 1]. tasks: the kinds of deduction drawn from, names of
    `facts.TASKS`. values: how many different words an irreducible place can hold, 2 to 120. left: the share of the
    deducible sentences that are running counts, three words of which follow from what is on their left, in [0, 1].
    """

    density: float
    noise: float
    tasks: tuple[str, ...]
    values: int = 120
    sentences: int = 5
    left: float = 0.0


WORLDS = {
    "tinywiki": World(density=0.25, noise=0.6, tasks=(*GENERAL, "sum", "difference", "two_step", "three_sum")),
    "tinywiki_clean": World(density=0.5, noise=0.0, tasks=("weekday", "month", "chain")),
    "tinymath": World(density=0.9, noise=0.0, tasks=MATH),
}
FEW = 16  # values of noise: below so many, all its sentences can be on the side of training
REFUSED = 100  # sentences on end that repeat a word that must not come again: the passage ends before them
LONGEST = 80  # words that a passage has at most: `max_tokens` of the small tiers
KNOBS = {"density": (float, 0, 1), "noise": (float, 0, 1), "values": (int, 2, 120), "left": (float, 0, 1)}
NOISY = [
    "{given} {surname} of {place} founded it in {year} .",
    "The mark on its gate reads {code} {code} {code} .",
    "In {year} {given} {surname} sold the bridge to {given} {surname} .",
    "The mayors were {given} {surname} , {given} {surname} and {given} {surname} .",
    "A letter of {year} names {place} , {place} and {place} .",
    "The tomb of {given} {surname} bears the sign {code} {code} .",
    "Trains {code} , {code} and {code} stop near {place} .",
    "Painters {surname} and {surname} met {given} here in {year} .",
]
PLAIN = [
    "The land around it is flat and green .",
    "A small river runs through the old town .",
    "There is a stone church near the market square .",
    "Many people come here in the summer .",
    "The winters are long and the snow is deep .",
    "Most of the houses are made of red brick .",
    "It has been a quiet place for a long time .",
    "The people live from farming and from trade .",
]
LEAD = ["{place} is a village .", "This is a short account ."]  # of a noisy world, of a clean one

# What a base knows: where every city lies, also a held-out one, but not what is spoken there; of the sums and
# differences of two numbers those on the side of training (the others: `forms.laws`).
_SUMS = [
    *(f"{a} plus {b} is {a + b} ." for a in range(10, 51) for b in range(10, 61 - a)),
    *(f"{a + b} minus {b} is {a} ." for a in range(10, 51) for b in range(10, 61 - a)),
    *(f"{a} plus {word} is {a + n} ." for a in range(10, 54) for n, word in enumerate(SMALL, 2)),
    *(f"{a + n} minus {word} is {a} ." for a in range(10, 54) for n, word in enumerate(SMALL, 2)),
]
KNOWLEDGE = {
    "places": [
        *(f"{city} lies in {country} ." for city, country in COUNTRY_OF.items()),
        *(f"{country} speaks {language} ." for country, language in LANGUAGE_OF.items()),
        *(f"East of {country} is {east} ." for country, east in EAST_OF.items()),
    ],
    "sums": [
        line
        for line in _SUMS
        for a, op, b in [line.split()[:3]]
        if not b.isdigit() or side_of("add", *sorted((int(b), int(a) - int(b) * (op == "minus")))) == "train"
    ],
}
OTHER_SUMS = sorted({*_SUMS} - {*KNOWLEDGE["sums"]})


def _fill(sentence: str, slot) -> list[Word]:
    return [slot(w[1:-1]) if w[0] == "{" else (w, "trivial", "") for w in sentence.split()]


def words(rng: random.Random, world: World, side: str = "train") -> list[Word]:
    """The words of one passage. What can be deduced occurs once, for the default rule masks every occurrence.

    side: "train", "validation" or "test", whose passages share no sentence but set phrases of `PLAIN` and the clean
    world's first. A passage ends before a sentence that would make it longer than LONGEST words,
    and where no further one is found that repeats nothing.
    """

    def elsewhere(more: list[Word]) -> bool:
        """Whether a sentence of noise is on another side."""
        said = " ".join(word for word, _, _ in more)
        return any(kind == "irreducible" for _, kind, _ in more) and side_of("sentence", said) != side

    def noise(pool: str) -> Word:
        return rng.choice(POOLS[pool][: world.values]), "irreducible", ""

    def drawn(*pool: str) -> list[Word]:
        """A sentence of a pool that is on this side, drawn again of the same pool: every side has as much noise."""
        for _ in range(10_000):
            if not elsewhere(more := _fill(rng.choice(pool) if len(pool) > 1 else pool[0], noise)):
                return more
        raise ValueError(f"corpus: of noise with {world.values} values no sentence is on the side {side!r}; give more")

    flat = drawn(LEAD[world.noise == 0])
    once, told = set(), set()
    spoken = {word for word, _, _ in flat}
    refused = 0
    while len(told) < world.sentences and refused < REFUSED:
        if rng.random() < world.density:
            running = world.left and rng.random() < world.left
            fact = STATED["tally" if running else rng.choice(world.tasks)](rng, side)
            more = _fill(fact.sentence, fact.slots.__getitem__)
        else:
            more = drawn(*(NOISY if rng.random() < world.noise else PLAIN))
        said = [word for word, _, _ in more]
        deducible = [word for word, _, reason in more if reason]
        repeated = any(said.count(word) > 1 or word in spoken for word in deducible)
        if repeated or once & set(said) or " ".join(said) in told:
            refused += 1
            continue  # this sentence, not the passage, is drawn again
        if len(flat) + len(more) > LONGEST:
            break
        refused = 0
        told.add(" ".join(said))
        once |= set(deducible)
        spoken |= set(said)
        flat += more
    return flat


def kind_class(kind: str) -> str:
    """trivial, irreducible or reasoning.

    >>> kind_class("sum_inverse"), kind_class("irreducible")
    ('reasoning', 'irreducible')
    """
    return kind if kind in ("trivial", "irreducible") else "reasoning"


def as_passage(id: str, flat: list[Word]) -> Passage:
    """A passage of words joined by single spaces, with its kinds as character spans."""
    kinds, at = [], 0
    for word, kind, _ in flat:
        kinds.append((at, at + len(word), kind))
        at += len(word) + 1
    return Passage(id=id, title=flat[0][0], text=" ".join(w for w, _, _ in flat), length=len(flat), kinds=tuple(kinds))


def is_world(source: object) -> bool:
    """Whether a corpus is one of ours, perhaps with its knobs turned: "tinywiki:density=0.1,noise=0.9"; or several.

    >>> is_world("tinywiki:values=4"), is_world("tinywiki+tinymath"), is_world("wikimedia/wikipedia")
    (True, True, False)
    """
    return isinstance(source, str) and all(part.partition(":")[0] in WORLDS for part in source.split("+"))


def world(name: str) -> World:
    """The World a name stands for. ValueError for an unknown world or knob, or a value out of range.

    >>> world("tinywiki:density=0.1,values=4").density
    0.1
    """
    base, _, knobs = name.partition(":")
    if base not in WORLDS:
        raise ValueError(f"corpus: no world is called {base!r}; there are {', '.join(WORLDS)}")
    turned = {}
    for knob, value in (pair.partition("=")[::2] for pair in knobs.split(",") if pair):
        if knob not in KNOBS:
            raise ValueError(f"corpus: {base} has no knob {knob!r}; there are {', '.join(KNOBS)}")
        kind, low, high = KNOBS[knob]
        try:
            turned[knob] = kind(value)
        except ValueError:
            raise ValueError(f"corpus: {knob} wants a number such as {knob}={high}, got {value!r}") from None
        if not low <= turned[knob] <= high:
            raise ValueError(f"corpus: {knob} must be between {low} and {high}, got {value}")
    return replace(WORLDS[base], **turned)


def deducible(name: str, limit: int = 300, seed: int = 99) -> dict[str, float]:
    """Shares of a world's positions that can be deduced: from both sides, and of those from what is on the left alone.

    The left is all that RPT, RLP and the rules on next tokens read.

    >>> shares = [deducible(f"tinywiki:left={left}")["from the left"] for left in (0, 0.5, 1)]
    >>> shares == sorted(shares)
    True
    """
    kinds = [kind for passage in passages(name, limit, seed) for _, _, kind in passage.kinds]
    found = [kind for kind in kinds if kind_class(kind) == "reasoning"]
    left = [kind for kind in found if not kind.endswith("_inverse")]
    return {"from both sides": len(found) / len(kinds), "from the left": len(left) / len(kinds)}


def seeding(name: str) -> str:
    """The name by which texts and problems are drawn: that of the world's second version, which stored runs read.

    >>> seeding("tinywiki_clean"), seeding("tinywiki:values=2")
    ('tinywiki2_clean', 'tinywiki2:values=2')
    """
    return re.sub("^[a-z]+", r"\g<0>2", name)


def passages(name: str, limit: int, seed: int, side: str = "train") -> list[Passage]:
    """`limit` passages of a world as `world` names it, or of several joined by "+" in turn; lengths count words, which
    are tokens of the base.

    side: see `words`; runs read "train". ValueError for another side.

    >>> passages("tinywiki", 2, seed=0)[0] == passages("tinywiki", 1, seed=0)[0]
    True
    """
    return [as_passage(id, flat) for id, flat in flats(name, limit, seed, side)]


def flats(name: str, limit: int, seed: int, side: str = "train") -> list[tuple[str, list[Word]]]:
    """(id, words) of `passages`, each word with its kind and what it is deduced from."""
    if "+" in name:
        parts = name.split("+")
        each = [iter(flats(part, -(-limit // len(parts)), seed, side)) for part in parts]
        return [next(each[n % len(each)]) for n in range(limit)]
    made, drawn = world(name), seeding(name)
    if side not in SIDES:
        raise ValueError(f"side: {name} has no side {side!r}; there are {', '.join(SIDES)}")
    rng = random.Random(f"{drawn}/{seed}" + f"/{side}" * (side != "train"))
    return [(f"{drawn}-{seed}-{n}", words(rng, made, side)) for n in range(limit)]


def held_out(name: str, limit: int, side: str = "test", seed: int = -1) -> list[Passage]:
    """`limit` passages of a world that no run and no base reads: no sentence of them but set phrases is in any text of
    training. A run's seed is 0 or more, theirs is -1; 99 and the like is for what no run is asked. Errors: ValueError
    for a world whose noise has so few values that all its sentences are in texts of training."""
    return passages(name, limit, seed, side)


def unread(name: str, limit: int, seed: int = 99) -> list[Passage]:
    """`held_out` passages of a world; where its noise has too few values for that, others that no run reads."""
    few = any(world(part).values < FEW for part in name.split("+"))
    return passages(name, limit, seed, "train" if few else "test")


def exam(task: str, items: int, seed: int = 0, side: str = "test") -> list[Fact]:
    """Up to `items` questions of a task, each another instance as long as there are others.

    Those of "test" and of "validation" are in no passage, question or reasoning that a base or a run reads. Questions
    of one instance differ in their words; `Fact.instance` says which belong together in an interval.

    >>> len({fact.instance for fact in exam("weekday", 60)})
    60
    """
    rng, found, turns = random.Random(f"exam/{side}/{task}/{seed}"), {}, {}
    for _ in range(100 * items):
        fact = TASKS[task](rng, side)
        if fact.question not in found:
            turn = turns[fact.instance] = turns.get(fact.instance, -1) + 1
            found[fact.question] = (turn, len(found), fact)
    return [fact for _, _, fact in sorted(found.values(), key=lambda own: own[:2])[:items]]


def vocabulary() -> list[str]:
    """Every word the world can utter, sorted."""
    rng = random.Random(0)
    lines = [*NOISY, *PLAIN, *LEAD, *KNOWLEDGE["places"], *KNOWLEDGE["sums"], " ".join(COUNTING)]
    lines += [" ".join(pool) for pool in POOLS.values()]
    for make in STATED.values():
        for _ in range(2000):  # enough for every template and every word of the small pools
            fact = make(rng, "train")
            said = [word + " " + reason for word, _, reason in fact.slots.values()]
            lines += [fact.sentence, fact.question, *said]
    return sorted({word for line in lines for word in line.split() if word[0] != "{"})
