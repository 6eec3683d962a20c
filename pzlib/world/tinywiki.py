"""TinyWiki: a seeded world of encyclopaedia-like prose in which the kind of every word is known.
Left out: real text. The paper trains on Wikipedia (PretrainZero, section 4.1); at `smoke` and `mini` this stands in."""

import random
from dataclasses import dataclass, replace

from pzlib.masking import Passage
from pzlib.world.facts import COUNTING, COUNTRY_OF, EAST_OF, GENERAL, LANGUAGE_OF, MATH, POOLS, SMALL, TASKS

Word = tuple[str, str, str]  # (word, kind, reason): kind is "trivial", "irreducible" or a task


@dataclass(frozen=True)
class World:
    """The two knobs of the world, what it can state, and how wide its noise is.

    density: share of sentences that state something deducible, in [0, 1]. noise: share of the other sentences that are
    names, codes and years rather than set phrases, in [0, 1]. tasks: the kinds of deduction drawn from, names of
    `facts.TASKS`. values: how many different words an irreducible place can hold, 2 to 120.
    """

    density: float
    noise: float
    tasks: tuple[str, ...]
    values: int = 120
    sentences: int = 5


WORLDS = {
    "tinywiki": World(density=0.25, noise=0.6, tasks=(*GENERAL, "sum", "difference", "two_step", "three_sum")),
    "tinywiki_clean": World(density=0.5, noise=0.0, tasks=("weekday", "month", "chain")),
    "tinymath": World(density=0.9, noise=0.0, tasks=MATH),
}
KNOBS = {"density": (float, 0, 1), "noise": (float, 0, 1), "values": (int, 2, 120)}  # type, lowest, highest
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

# What the base is told outright, of held-out instances too: a law of the world is no answer to a question about it.
KNOWLEDGE = {
    "places": [
        *(f"{city} lies in {country} ." for city, country in COUNTRY_OF.items()),
        *(f"{country} speaks {language} ." for country, language in LANGUAGE_OF.items()),
        *(f"East of {country} is {east} ." for country, east in EAST_OF.items()),
    ],
    "sums": [
        *(f"{a} plus {b} is {a + b} ." for a in range(10, 51) for b in range(10, 61 - a)),
        *(f"{a + b} minus {b} is {a} ." for a in range(10, 51) for b in range(10, 61 - a)),
        *(f"{a} plus {word} is {a + n} ." for a in range(10, 54) for n, word in enumerate(SMALL, 2)),
        *(f"{a + n} minus {word} is {a} ." for a in range(10, 54) for n, word in enumerate(SMALL, 2)),
    ],
}


def _fill(sentence: str, slot) -> list[Word]:
    return [slot(w[1:-1]) if w[0] == "{" else (w, "trivial", "") for w in sentence.split()]


def words(rng: random.Random, world: World) -> list[Word]:
    """The words of one passage. What can be deduced stands once, for the default rule masks every occurrence."""

    def noise(pool: str) -> Word:
        return rng.choice(POOLS[pool][: world.values]), "irreducible", ""

    flat, once, told = _fill(LEAD[world.noise == 0], noise), set(), set()
    spoken = {word for word, _, _ in flat}
    while len(told) < world.sentences:
        if rng.random() < world.density:
            fact = TASKS[rng.choice(world.tasks)](rng, False)
            more = _fill(fact.sentence, fact.slots.__getitem__)
        else:
            more = _fill(rng.choice(NOISY if rng.random() < world.noise else PLAIN), noise)
        said = [word for word, _, _ in more]
        deducible = [word for word, _, reason in more if reason]
        repeated = any(said.count(word) > 1 or word in spoken for word in deducible)
        if repeated or once & set(said) or " ".join(said) in told:
            continue  # this sentence, not the passage, is drawn again
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
    """Whether a corpus is one of ours, perhaps with its knobs turned: "tinywiki:density=0.1,noise=0.9".

    >>> is_world("tinywiki:values=4"), is_world("wikimedia/wikipedia")
    (True, False)
    """
    return isinstance(source, str) and source.partition(":")[0] in WORLDS


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
            raise ValueError(f"corpus: {knob} must lie between {low} and {high}, got {value}")
    return replace(WORLDS[base], **turned)


def passages(name: str, limit: int, seed: int) -> list[Passage]:
    """`limit` passages of a world as `world` names it; lengths in words, which are tokens of tinybase.

    >>> passages("tinywiki", 2, seed=0)[0] == passages("tinywiki", 1, seed=0)[0]
    True
    """
    made, rng = world(name), random.Random(f"{name}/{seed}")
    return [as_passage(f"{name}-{seed}-{n}", words(rng, made)) for n in range(limit)]


def vocabulary() -> list[str]:
    """Every word the world can utter, sorted."""
    rng = random.Random(0)
    lines = [*NOISY, *PLAIN, *LEAD, *KNOWLEDGE["places"], *KNOWLEDGE["sums"], " ".join(COUNTING)]
    lines += [" ".join(pool) for pool in POOLS.values()]
    for make in TASKS.values():
        for _ in range(2000):  # enough for every template and every word of the small pools
            fact = make(rng, False)
            said = [word + " " + reason for word, _, reason in fact.slots.values()]
            lines += [fact.sentence, fact.question, *said]
    return sorted({word for line in lines for word in line.split() if word[0] != "{"})
