"""The tasks of TinyWiki: facts that follow by arithmetic, from calendars, from knowledge and by counting.
Left out: comparisons, whose answer repeats a word of the passage and so can't be masked alone."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from itertools import product


def _names(count: int, starts: str, middles: str, ends: str, seed: int) -> list[str]:
    """`count` different capitalised names of three syllables, the same on every machine."""
    every = [a + b + c for a in starts.split() for b in middles.split() for c in ends.split()]
    return [name.capitalize() for name in random.Random(seed).sample(every, count)]


NUMBERS = [str(n) for n in range(10, 61)]  # two digits, so that no number is a substring of another
SMALL = "two three four five six seven".split()
COUNTING = ["one", *SMALL]
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
COUNTRIES = "Ardania Belmora Corvia Dravonia Elvenia Frostia Galdor Hestia".split()
LANGUAGES = "Ardish Belmic Corvan Dravic Elvish Frosk Galdic Hestan".split()
CITIES = _names(128, "bre ka lo mi tu ven sho pra", "ri da no le shu va", "burg ton wick dale ford", 1)
CROPS = (
    "apples barley beans beets cabbage carrots cherries corn dates figs flax garlic grapes hay hops kale leeks lemons "
    "lentils melons millet mint oats olives onions oranges peaches pears peas plums pumpkins quinces radishes rice rye "
    "saffron spinach turnips walnuts wheat"
).split()
POOLS = {  # what can't be deduced: 120 values each, so that a lucky guess stays rare
    "given": _names(120, "an be ci do el fa gi ha", "la ne ri so tu vi", "na ko ra mi lo", 2),
    "surname": _names(120, "bar cro dun fel gar hol jes kin", "ta lo mi re su na", "ck rth sk ngs ld", 3),
    "place": _names(
        120, "ash oak elm thorn pine birch fern moss", "en il ar ow um ir", "mere field holt stead moor", 4
    ),
    "code": [f"{a}{b}{n}" for n, (a, b) in enumerate(product("qxzjvw", "bdfgklmnprstcyhaeiou"), 100)],
    "year": [str(n) for n in range(1480, 1600)],
}
COUNTRY_OF = {city: COUNTRIES[i % len(COUNTRIES)] for i, city in enumerate(CITIES)}
LANGUAGE_OF = dict(zip(COUNTRIES, LANGUAGES, strict=True))
EAST_OF = {c: COUNTRIES[(i + 1) % len(COUNTRIES)] for i, c in enumerate(COUNTRIES)}


@dataclass(frozen=True)
class Fact:
    """One deducible fact: as a sentence of a passage, and the same instance as a question.

    sentence: words, with slots in braces. slots: slot -> (word, kind, reason): what follows from the words before it
    has the task's name as its kind, what only follows from both sides the name + "_inverse".
    """

    task: str
    sentence: str
    slots: dict[str, tuple[str, str, str]]
    question: str
    answer: str
    reason: str


def reasoned(reason: str, said: str) -> str:
    r"""An answer as the small world's text writes it after a reasoning.

    >>> reasoned("2 plus 3 is 5", "5")
    'Think : 2 plus 3 is 5 . \\boxed{ 5 }'
    """
    return f"Think : {reason} . \\boxed{{ {said} }}"


def held_out(*instance) -> bool:
    """Whether an instance (a pair of numbers, a city, ...) is kept for TinyBench: one in eight, by a stable hash.

    >>> held_out("add", 12, 30), held_out("add", 12, 31)
    (True, False)
    """
    return hashlib.blake2b(repr(instance).encode()).digest()[0] % 8 == 0


def _stated(rng, task, sentences, slots, questions, answer, reason) -> Fact:
    """A fact with one of its sentences and one of its questions, drawn in this order."""
    return Fact(task, rng.choice(sentences), slots, rng.choice(questions), answer, reason)


def _draw(rng: random.Random, test: bool, make):
    """Draw `make() -> (values, instance)` until the instance lies on the wanted side of the split."""
    while True:
        values, instance = make()
        if held_out(*instance) == test:
            return values


def _addends(rng, test):
    """Two numbers and their sum, all within 10..60; an instance is the unordered pair, for plus and minus alike."""

    def make():
        a = rng.randint(10, 50)
        b = rng.randint(10, 60 - a)
        return (a, b, a + b), ("add", min(a, b), max(a, b))

    return _draw(rng, test, make)


def _sum(rng, test):
    a, b, c = _addends(rng, test)
    plus = f"{a} plus {b} is {c}"
    sentences = [
        "The mill sold {a} sacks in spring and {b} in autumn , {c} in all .",
        "Its school has {a} girls and {b} boys , so {c} pupils sit there .",
        "With {a} cows and {b} goats the farm keeps {c} animals .",
    ]
    slots = {
        "a": (str(a), "sum_inverse", f"{c} minus {b} is {a}"),
        "b": (str(b), "sum_inverse", f"{c} minus {a} is {b}"),
        "c": (str(c), "sum", plus),
    }
    questions = [
        f"A cart holds {a} pots and {b} jars . How many things does it hold ?",
        f"On a roof sit {a} birds and {b} more arrive . How many birds are there ?",
        f"What is {a} plus {b} ?",
    ]
    return _stated(rng, "sum", sentences, slots, questions, str(c), plus)


def _difference(rng, test):
    b, c, a = _addends(rng, test)
    minus = f"{a} minus {b} is {c}"
    sentences = [
        "Of {a} houses {b} burned down and {c} were left .",
        "It once had {a} wells , but {b} ran dry , leaving {c} of them .",
        "The guard had {a} men , lost {b} and kept {c} men .",
    ]
    slots = {
        "a": (str(a), "difference_inverse", f"{b} plus {c} is {a}"),
        "b": (str(b), "difference_inverse", f"{a} minus {c} is {b}"),
        "c": (str(c), "difference", minus),
    }
    questions = [
        f"A shop has {a} lamps and sells {b} . How many lamps remain ?",
        f"A rope of {a} feet loses {b} feet . How many feet remain ?",
        f"What is {a} minus {b} ?",
    ]
    return _stated(rng, "difference", sentences, slots, questions, str(c), minus)


def _two_step(rng, test):
    def make():  # each step alone is a seen one: what is held out is their combination
        a, b, e = _addends(rng, False)
        c, d = rng.choice([(c, e - c) for c in range(10, e - 9)])
        return (a, b, e, c, d), ("two_step", a, b, c)

    while True:
        a, b, e, c, d = _draw(rng, test, make)
        if len({a, b, c, d}) == 4 and not held_out("add", min(c, d), max(c, d)):
            break
    reason = f"{a} plus {b} is {e} . {e} minus {c} is {d}"
    sentences = [
        "The fort held {a} men , gained {b} , then lost {c} , and so kept {d} .",
        "From {a} books its library grew by {b} , gave away {c} , and now owns {d} .",
    ]
    slots = {
        "a": (str(a), "two_step_inverse", f"{d} plus {c} is {e} . {e} minus {b} is {a}"),
        "b": (str(b), "two_step_inverse", f"{d} plus {c} is {e} . {e} minus {a} is {b}"),
        "c": (str(c), "two_step_inverse", f"{a} plus {b} is {e} . {e} minus {d} is {c}"),
        "d": (str(d), "two_step", reason),
    }
    questions = [
        f"A flock has {a} birds . Then {b} join and {c} leave . How many birds are there ?",
        f"A bag holds {a} nuts . After adding {b} and eating {c} , how many remain ?",
    ]
    return _stated(rng, "two_step", sentences, slots, questions, str(d), reason)


def _three_sum(rng, test):
    def make():
        a, b, e = _addends(rng, False)
        c = rng.randint(10, max(10, 60 - e))
        return (a, b, c, e, e + c), ("three_sum", *sorted((a, b, c)))

    while True:
        a, b, c, e, d = _draw(rng, test, make)
        if d <= 60 and len({a, b, c}) == 3 and not held_out("add", min(c, e), max(c, e)):
            break
    reason = f"{a} plus {b} is {e} . {e} plus {c} is {d}"
    sentences = [
        "In three years {a} , {b} and {c} ships came , {d} together .",
        "Its halls seat {a} , {b} and {c} guests , thus {d} at once .",
    ]
    slots = {
        "a": (str(a), "three_sum_inverse", f"{d} minus {c} is {e} . {e} minus {b} is {a}"),
        "b": (str(b), "three_sum_inverse", f"{d} minus {c} is {e} . {e} minus {a} is {b}"),
        "c": (str(c), "three_sum_inverse", f"{a} plus {b} is {e} . {d} minus {e} is {c}"),
        "d": (str(d), "three_sum", reason),
    }
    questions = [
        f"Three pens hold {a} , {b} and {c} sheep . How many sheep are there ?",
        f"What is {a} plus {b} plus {c} ?",
    ]
    return _stated(rng, "three_sum", sentences, slots, questions, str(d), reason)


def _chain(rng, test):
    """Small steps from a number to the next: only the first number and the steps are new (the clean world)."""

    def make():
        a, m, n = rng.randint(10, 46), rng.randint(2, 7), rng.randint(2, 7)
        return (a, m, n), ("chain", a, m, n)

    a, m, n = _draw(rng, test, make)
    b, c = a + m, a + m + n
    m, n = SMALL[m - 2], SMALL[n - 2]
    first, second = f"{a} plus {m} is {b}", f"{b} plus {n} is {c}"
    slots = {
        "a": (str(a), "chain_inverse", f"{b} minus {m} is {a}"),
        "m": (m, "chain_inverse", first),
        "b": (str(b), "chain", first),
        "n": (n, "chain_inverse", second),
        "c": (str(c), "chain", second),
    }
    sentence = "Begin with {a} and add {m} to get {b} , then add {n} to reach {c} ."
    questions = [
        f"Take {a} . Add {m} , then add {n} . What is the result ?",
        f"A man of {a} waits {m} years , then {n} more . How old is he ?",
    ]
    return Fact("chain", sentence, slots, rng.choice(questions), str(c), f"{first} . {second}")


def _along(wheel: list[str], start: int, steps: list[int], way: int = 1) -> str:
    """Counting along a wheel, each stage from one again: "one Tuesday two Wednesday one Thursday"."""
    counted = [COUNTING[k] for n in steps for k in range(n)]
    return " ".join(f"{word} {wheel[(start + way * (k + 1)) % len(wheel)]}" for k, word in enumerate(counted))


def _weekday(rng, test):
    def make():
        start, n = rng.randrange(7), rng.randint(2, 6)
        return (start, n), ("weekday", start, n)

    start, n = _draw(rng, test, make)
    first, last, small = DAYS[start], DAYS[(start + n) % 7], SMALL[n - 2]
    forth = _along(DAYS, start, [n])
    slots = {
        "a": (first, "weekday_inverse", _along(DAYS, start + n, [n], -1)),
        "n": (small, "weekday_inverse", forth),
        "b": (last, "weekday", forth),
    }
    sentences = [
        "The fair opens on {a} and ends {n} days later on {b} .",
        "Since {a} the feast lasts {n} days until {b} .",
    ]
    questions = [
        f"Today is {first} . Which day comes {small} days later ?",
        f"A guest comes on {first} and stays {small} days . On which day does he leave ?",
        f"What is {small} days past {first} ?",
    ]
    return _stated(rng, "weekday", sentences, slots, questions, last, forth)


def _month(rng, test):
    """Two stages along the year: more steps than a small model takes at once."""

    def make():
        start, m, n = rng.randrange(12), rng.randint(2, 4), rng.randint(2, 4)
        return (start, m, n), ("month", start, m, n)

    start, m, n = _draw(rng, test, make)
    first, last = MONTHS[start], MONTHS[(start + m + n) % 12]
    forth = _along(MONTHS, start, [m, n])
    slots = {
        "a": (first, "month_inverse", _along(MONTHS, start + m + n, [n, m], -1)),
        "m": (SMALL[m - 2], "month_inverse", forth),
        "n": (SMALL[n - 2], "month_inverse", forth),
        "b": (last, "month", forth),
    }
    m, n = SMALL[m - 2], SMALL[n - 2]
    sentences = [
        "Sown in {a} , cut {m} months later , the crop rests {n} months until {b} .",
        "Work began in {a} , stopped after {m} months and ended {n} months later in {b} .",
    ]
    questions = [
        f"A ship leaves in {first} , sails {m} months and waits {n} . In which month is that ?",
        f"What is {m} and then {n} months past {first} ?",
    ]
    return _stated(rng, "month", sentences, slots, questions, last, forth)


def _city(rng, test):
    """A city with its country and what is spoken there; for the held-out ones only the country is ever told."""

    def make():
        city = rng.choice(CITIES)
        return city, ("city", city)

    city = _draw(rng, test, make)
    return city, COUNTRY_OF[city]


def _language(rng, test):
    city, country = _city(rng, test)
    language = LANGUAGE_OF[country]
    reason = f"{city} lies in {country} . {country} speaks {language}"
    slots = {"c": (city, "irreducible", ""), "l": (language, "language", reason)}
    sentences = ["Its priest was born in {c} and preaches in {l} .", "Settlers from {c} brought the {l} tongue ."]
    questions = [
        f"A man grew up in {city} . What does he speak ?",
        f"What is spoken in {city} ?",
        f"A letter comes from {city} . In which language is it ?",
    ]
    return _stated(rng, "language", sentences, slots, questions, language, reason)


def _east(rng, test):
    city, country = _city(rng, test)
    east = EAST_OF[country]
    language = LANGUAGE_OF[east]
    reason = f"{city} lies in {country} . East of {country} is {east} . {east} speaks {language}"
    slots = {"c": (city, "irreducible", ""), "l": (language, "east", reason)}
    sentences = ["Envoys of {c} to the east learned {l} first .", "East of the land of {c} folk sing in {l} ."]
    questions = [
        f"A boat from {city} goes east to the next land . What is spoken there ?",
        f"What is spoken east of the land of {city} ?",
    ]
    return _stated(rng, "east", sentences, slots, questions, language, reason)


def _count(rng, test):
    def make():
        crops = rng.sample(CROPS, rng.randint(2, 5))
        return crops, ("count", *sorted(crops))

    crops = _draw(rng, test, make)
    number = SMALL[len(crops) - 2]
    reason = " ".join(f"{crop} {n}" for crop, n in zip(crops, COUNTING, strict=False))
    slots = {f"x{i}": (crop, "irreducible", "") for i, crop in enumerate(crops)}
    slots["n"] = (number, "count", reason)
    listed = " , ".join(f"{{x{i}}}" for i in range(len(crops)))
    sentences = [f"Its fields bear {listed} , {{n}} crops by count .", f"Carts bring {listed} , just {{n}} goods ."]
    said = " , ".join(crops)
    questions = [f"A list reads {said} . How many names is that ?", f"How many kinds are {said} ?"]
    return _stated(rng, "count", sentences, slots, questions, number, reason)


TASKS = {
    "language": _language,
    "east": _east,
    "weekday": _weekday,
    "month": _month,
    "count": _count,
    "sum": _sum,
    "difference": _difference,
    "two_step": _two_step,
    "three_sum": _three_sum,
    "chain": _chain,
}
GENERAL = ("language", "east", "weekday", "month", "count")
MATH = ("sum", "difference", "two_step", "three_sum", "chain")
