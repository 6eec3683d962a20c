"""TinyWiki: a seeded world of encyclopaedia-like prose in which the kind of every word is known.
Left out: real text. The paper trains on Wikipedia (PretrainZero, section 4.1); `smoke` and `mini` train on this."""

import random
from dataclasses import dataclass, replace

from pzlib.masking import Passage
from pzlib.world.facts import (
    COUNTING,
    COUNTRY_OF,
    COUNTRY_OF_2,
    DAYS,
    EAST_OF,
    GENERAL,
    LANGUAGE_OF,
    MATH,
    MONTHS,
    POOLS,
    SIDES,
    SMALL,
    TASKS,
    Fact,
    addends,
    draw_on_side,
    in_days,
    in_months,
    on_side,
    seen_side,
    side_of,
    two_stages,
)  # fmt: skip


def _ladder(rng, side):
    """One to four small steps whose numbers between are not shown: k steps are what the last, or any other, takes.

    The kinds are chain_1 to chain_4: the depth of a reasoning is known.
    """
    make = lambda: (rng.randint(10, 38), *rng.sample(range(2, 8), rng.randint(1, 4)))  # noqa: E731
    a, *steps = draw_on_side(side, "chain", make)
    at, said = [a], [SMALL[n - 2] for n in steps]
    for n in steps:
        at.append(at[-1] + n)
    forth = [f"{at[i]} plus {said[i]} is {at[i + 1]}" for i in range(len(steps))]
    back = [f"{at[i + 1]} minus {said[i]} is {at[i]}" for i in range(len(steps))]
    kind = f"chain_{len(steps)}"
    slots = {"a": (str(a), f"{kind}_inverse", " . ".join(back[::-1]))}
    for i, word in enumerate(said):
        slots[f"m{i}"] = (word, f"{kind}_inverse", " . ".join([*forth[:i], *back[: i : -1], forth[i]]))
    slots["z"] = (str(at[-1]), kind, " . ".join(forth))
    middle = " , then ".join(f"{{m{i}}}" for i in range(len(steps)))
    question = rng.choice(["Take {} . Add {} . What is the result ?", "A man of {} waits {} years . How old is he ?"])
    asked, instance = question.format(a, " , then ".join(said)), f"chain {a} {' '.join(said)}"
    return Fact("chain", f"Begin with {{a}} , add {middle} to reach {{z}} .", slots, asked, str(at[-1]),
                " . ".join(forth), instance)  # fmt: skip


def _tally(rng, side):
    """A running count: three numbers in one sentence follow from those on their left. Never asked as a question."""
    seen = seen_side(side)

    def make():
        a, b, c = addends(rng, seen)
        d = rng.randint(10, max(10, 60 - c))
        e = c + d
        f = rng.randint(10, e - 10)
        return a, b, c, d, e, f, e - f

    while True:
        values = draw_on_side(side, "three_sum", make, lambda values: sorted((values[0], values[1], values[3])))
        a, b, c, d, e, f, g = values
        pairs = all(on_side(seen, "add", *sorted(pair)) for pair in ((c, d), (f, g)))
        if e <= 60 and pairs and len({a, b, c, d, e, f, g}) == 7:
            break
    reasons = {
        "c": (f"{a} plus {b} is {c}", "tally"), "e": (f"{c} plus {d} is {e}", "tally"),
        "g": (f"{e} minus {f} is {g}", "tally"), "a": (f"{c} minus {b} is {a}", "tally_inverse"),
        "b": (f"{c} minus {a} is {b}", "tally_inverse"), "d": (f"{e} minus {c} is {d}", "tally_inverse"),
        "f": (f"{e} minus {g} is {f}", "tally_inverse"),
    }  # fmt: skip
    values = dict(a=a, b=b, c=c, d=d, e=e, f=f, g=g)
    slots = {slot: (str(values[slot]), kind, reason) for slot, (reason, kind) in reasons.items()}
    sentence = rng.choice([
        "With {a} cows and {b} goats there are {c} , with {d} more {e} , but {f} ran so {g} remain .",
        "Then {a} men and {b} more are {c} , {d} join so {e} sit there , {f} leave and {g} remain .",
    ])  # fmt: skip
    return Fact("tally", sentence, slots, "", str(g), reasons["g"][0], f"tally {a} {b} {d} {f}")


def _stages(rng, side, task, wheel):
    """(start, lengths) of a walk along a wheel in the second world: one or two stages, ten steps at most."""

    def make():
        lengths = (rng.randint(2, 6), rng.randint(2, 6))
        one = len(wheel) == 7 and rng.random() < 0.5
        return rng.randrange(len(wheel)), *lengths[: 1 if one else 2]

    while sum((values := draw_on_side(side, task, make))[1:]) > 10:
        pass
    return values[0], list(values[1:])


def _two_stages_of_days(rng, start, m, n):
    sentences = [
        "The fair opens on {a} , moves {m} days later and ends {n} days later on {b} .",
        "Since {a} the feast lasts {m} days , then {n} more until {b} .",
    ]
    questions = [
        "Today is {a} . Which day comes {m} and then {n} days later ?",
        "What is {m} and then {n} days past {a} ?",
    ]
    return two_stages(rng, "weekday", DAYS, start, m, n, sentences, questions, (DAYS[start], m, n))


def _weekday(rng, side):
    start, lengths = _stages(rng, side, "weekday", DAYS)
    return in_days(rng, start, *lengths) if len(lengths) == 1 else _two_stages_of_days(rng, start, *lengths)


def _month(rng, side):
    start, lengths = _stages(rng, side, "month", MONTHS)
    return in_months(rng, start, *lengths)


TASKS_2 = TASKS | {"weekday": _weekday, "month": _month, "chain": _ladder}  # a side's name for the first world's bool
STATED = TASKS_2 | {"tally": _tally}  # what a passage can state, asked or not

Word = tuple[str, str, str]  # (word, kind, reason): kind is "trivial", "irreducible" or a task


@dataclass(frozen=True)
class World:
    """The two knobs of the world, what it can state, and how wide its noise is.

    density: share of sentences that state something deducible, in [0, 1]. noise: share of the other sentences that are
    names, codes and years rather than set phrases, in [0, 1]. tasks: the kinds of deduction drawn from, names of
    `facts.TASKS`. values: how many different words an irreducible place can hold, 2 to 120. left: the share of the
    deducible sentences that are running counts, three words of which follow from what is on their left, in [0, 1].
    version: 1, whose stored runs stay as they are, or 2, whose sides share no sentence and no instance.
    """

    density: float
    noise: float
    tasks: tuple[str, ...]
    values: int = 120
    sentences: int = 5
    left: float = 0.0
    version: int = 1


WORLDS = {
    "tinywiki": World(density=0.25, noise=0.6, tasks=(*GENERAL, "sum", "difference", "two_step", "three_sum")),
    "tinywiki_clean": World(density=0.5, noise=0.0, tasks=("weekday", "month", "chain")),
    "tinymath": World(density=0.9, noise=0.0, tasks=MATH),
}
# The second world, of the tier `mini2`.
SECOND = {
    "tinywiki2": replace(WORLDS["tinywiki"], version=2),
    "tinywiki2_clean": replace(WORLDS["tinywiki_clean"], version=2),
    "tinymath2": replace(WORLDS["tinymath"], version=2),
}
EVERY = WORLDS | SECOND
LONGEST = 80  # words that a passage of the second world has at most: `max_tokens` of the small tiers
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

# What the first base is told outright, of held-out instances too: it reads their sums, never as a question.
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


# For a base of the second world: where every city lies, also a held-out one, but not what is spoken there; of the
# sums and differences of two numbers those on the side of training (the others: `forms.laws`).
KNOWLEDGE_2 = {
    "places": [f"{city} lies in {country} ." for city, country in COUNTRY_OF_2.items()] + KNOWLEDGE["places"][128:],
    "sums": [
        line
        for line in KNOWLEDGE["sums"]
        for a, op, b in [line.split()[:3]]
        if not b.isdigit() or side_of("add", *sorted((int(b), int(a) - int(b) * (op == "minus")))) == "train"
    ],
}


def _fill(sentence: str, slot) -> list[Word]:
    return [slot(w[1:-1]) if w[0] == "{" else (w, "trivial", "") for w in sentence.split()]


def words(rng: random.Random, world: World, side: str = "train") -> list[Word]:
    """The words of one passage. What can be deduced occurs once, for the default rule masks every occurrence.

    side: of the second world "train", "validation" or "test", whose passages share no sentence but set phrases of
    `PLAIN` and the clean world's first; the first world has one side. A passage of the second world ends before a
    sentence that would make it longer than LONGEST words.
    """
    own, makers = (False, TASKS) if world.version == 1 else (side, STATED)

    def elsewhere(more: list[Word]) -> bool:
        """Whether a sentence of noise is on another side of the second world."""
        said = " ".join(word for word, _, _ in more)
        noisy = any(kind == "irreducible" for _, kind, _ in more)
        return world.version == 2 and noisy and side_of("sentence", said) != side

    def noise(pool: str) -> Word:
        return rng.choice(POOLS[pool][: world.values]), "irreducible", ""

    while elsewhere(flat := _fill(LEAD[world.noise == 0], noise)):
        pass
    once, told = set(), set()
    spoken = {word for word, _, _ in flat}
    longest = float("inf") if world.version == 1 else LONGEST
    while len(told) < world.sentences:
        if rng.random() < world.density:
            running = world.left and rng.random() < world.left
            fact = makers["tally" if running else rng.choice(world.tasks)](rng, own)
            more = _fill(fact.sentence, fact.slots.__getitem__)
        else:
            pool = NOISY if rng.random() < world.noise else PLAIN
            while elsewhere(more := _fill(rng.choice(pool), noise)):
                pass  # drawn again of the same pool, so that every side has as much noise
        said = [word for word, _, _ in more]
        deducible = [word for word, _, reason in more if reason]
        repeated = any(said.count(word) > 1 or word in spoken for word in deducible)
        if repeated or once & set(said) or " ".join(said) in told:
            continue  # this sentence, not the passage, is drawn again
        if len(flat) + len(more) > longest:
            break
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
    return isinstance(source, str) and all(part.partition(":")[0] in EVERY for part in source.split("+"))


def world(name: str) -> World:
    """The World a name stands for. ValueError for an unknown world or knob, or a value out of range.

    >>> world("tinywiki:density=0.1,values=4").density
    0.1
    """
    base, _, knobs = name.partition(":")
    if base not in EVERY:
        raise ValueError(f"corpus: no world is called {base!r}; there are {', '.join(EVERY)}")
    turned = {}
    for knob, value in (pair.partition("=")[::2] for pair in knobs.split(",") if pair):
        if knob not in KNOBS:
            raise ValueError(f"corpus: {base} has no knob {knob!r}; there are {', '.join(KNOBS)}")
        if knob == "left" and base in WORLDS:
            raise ValueError(f"corpus: {base} has no knob 'left'; the second world (tinywiki2) has")
        kind, low, high = KNOBS[knob]
        try:
            turned[knob] = kind(value)
        except ValueError:
            raise ValueError(f"corpus: {knob} wants a number such as {knob}={high}, got {value!r}") from None
        if not low <= turned[knob] <= high:
            raise ValueError(f"corpus: {knob} must be between {low} and {high}, got {value}")
    return replace(EVERY[base], **turned)


def deducible(name: str, limit: int = 300, seed: int = 99) -> dict[str, float]:
    """Shares of a world's positions that can be deduced: from both sides, and of those from what is on the left alone.

    The left is all that RPT, RLP and the rules on next tokens read.

    >>> shares = [deducible(f"tinywiki2:left={left}")["from the left"] for left in (0, 0.5, 1)]
    >>> shares == sorted(shares)
    True
    """
    kinds = [kind for passage in passages(name, limit, seed) for _, _, kind in passage.kinds]
    found = [kind for kind in kinds if kind_class(kind) == "reasoning"]
    left = [kind for kind in found if not kind.endswith("_inverse")]
    return {"from both sides": len(found) / len(kinds), "from the left": len(left) / len(kinds)}


def passages(name: str, limit: int, seed: int, side: str = "train") -> list[Passage]:
    """`limit` passages of a world as `world` names it, or of several joined by "+" in turn; lengths count words, which
    are tokens of tinybase.

    side: see `words`; runs read "train". ValueError for another side, or for one of the first world but "train".

    >>> passages("tinywiki", 2, seed=0)[0] == passages("tinywiki", 1, seed=0)[0]
    True
    """
    if "+" in name:
        parts = name.split("+")
        each = [iter(passages(part, -(-limit // len(parts)), seed, side)) for part in parts]
        return [next(each[n % len(each)]) for n in range(limit)]
    made = world(name)
    if side not in (SIDES if made.version == 2 else SIDES[:1]):
        raise ValueError(f"side: {name} has no side {side!r}; there are {', '.join(SIDES)}, of the second world")
    rng = random.Random(f"{name}/{seed}" if side == "train" else f"{name}/{seed}/{side}")
    return [as_passage(f"{name}-{seed}-{n}", words(rng, made, side)) for n in range(limit)]


def exam(task: str, items: int, seed: int = 0, side: str = "test") -> list[Fact]:
    """Up to `items` questions of a task of the second world, each another instance as long as there are others.

    Questions of one instance differ in their words; `Fact.instance` says which belong together.

    >>> len({fact.instance for fact in exam("weekday", 60)})
    60
    """
    rng, found, turns = random.Random(f"exam/{side}/{task}/{seed}"), {}, {}
    for _ in range(100 * items):
        fact = TASKS_2[task](rng, side)
        if fact.question not in found:
            turn = turns[fact.instance] = turns.get(fact.instance, -1) + 1
            found[fact.question] = (turn, len(found), fact)
    return [fact for _, _, fact in sorted(found.values(), key=lambda own: own[:2])[:items]]


def vocabulary(version: int = 1) -> list[str]:
    """Every word a version of the world can utter, sorted."""
    rng, told = random.Random(0), KNOWLEDGE if version == 1 else KNOWLEDGE_2
    lines = [*NOISY, *PLAIN, *LEAD, *told["places"], *told["sums"], " ".join(COUNTING)]
    lines += [" ".join(pool) for pool in POOLS.values()]
    for make in (TASKS if version == 1 else STATED).values():
        for _ in range(2000):  # enough for every template and every word of the small pools
            fact = make(rng, False if version == 1 else "train")
            said = [word + " " + reason for word, _, reason in fact.slots.values()]
            lines += [fact.sentence, fact.question, *said]
    return sorted({word for line in lines for word in line.split() if word[0] != "{"})
