"""The tasks of TinyWiki: facts that follow by arithmetic, from calendars, from knowledge and by counting.
Left out: comparisons, whose answer repeats a word of the passage and so can't be masked alone."""

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
_MORE = set(_names(240, "bre ka lo mi tu ven sho pra", "ri da no le shu va", "burg ton wick dale ford", 1))
CITIES_2 = [*CITIES, *sorted(_MORE - set(CITIES))]  # of the second world: enough for 60 that are held out
COUNTRY_OF_2 = {city: COUNTRIES[i % len(COUNTRIES)] for i, city in enumerate(CITIES_2)}
COUNTRY_OF = {city: COUNTRY_OF_2[city] for city in CITIES}
LANGUAGE_OF = dict(zip(COUNTRIES, LANGUAGES, strict=True))
EAST_OF = {c: COUNTRIES[(i + 1) % len(COUNTRIES)] for i, c in enumerate(COUNTRIES)}


@dataclass(frozen=True)
class Fact:
    """One deducible fact: as a sentence of a passage, and the same instance as a question.

    sentence: words, with slots in braces. slots: slot -> (word, kind, reason): what follows from the words before it
    has the task's name as its kind, what only follows from both sides the name + "_inverse". instance: what was drawn,
    as text; questions of one instance are asked in different words and belong together in an interval.
    """

    task: str
    sentence: str
    slots: dict[str, tuple[str, str, str]]
    question: str
    answer: str
    reason: str
    instance: str = ""


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


SIDES = ("train", "validation", "test")  # of the second world; the first one's sides are False and True: held out
# Of 256 instances those of validation and test, where one in 16 and one in 8 would leave too few to ask about.
_SHARES = {"add": (20, 48), "city": (24, 72), "weekday": (28, 104), "month": (28, 88)}


def side_of(task: str, *instance) -> str:
    """The side of the second world that an instance is on, by a stable hash. Held out is held out from every text.

    >>> side_of("add", 12, 30), side_of("add", 10, 17)
    ('train', 'test')
    """
    validation, test = _SHARES.get(task, (16, 32))
    byte = hashlib.blake2b(repr(("second", task, *instance)).encode()).digest()[0]
    return "test" if byte < test else "validation" if byte < test + validation else "train"


def seen_side(side: bool | str) -> bool | str:
    """The side that every text shows, of the world whose side this is."""
    return False if isinstance(side, bool) else "train"


def on_side(side: bool | str, task: str, *instance) -> bool:
    if isinstance(side, bool):
        return held_out(task, *instance) == side
    return side_of(task, *instance) == side


def deduced_fact(
    rng, task: str, values: dict, reasons: dict[str, str], sentences: list[str], questions: list[str], instance=()
) -> Fact:
    """A fact of which each slot of `reasons` follows from the others, the last as the answer; slots are `values`."""
    said = {slot: reason.format(**values) for slot, reason in reasons.items()}
    answer = [*said][-1]
    slots = {s: (str(values[s]), task if s == answer else f"{task}_inverse", reason) for s, reason in said.items()}
    sentence, question = rng.choice(sentences), rng.choice(questions).format(**values)
    instance = " ".join(map(str, instance or [values[s] for s in values]))
    return Fact(task, sentence, slots, question, str(values[answer]), said[answer], f"{task} {instance}")


def draw_on_side(test: bool | str, task: str, make, key=tuple):
    """Draw `make()` until the instance, `task` and what `key` makes of the values, is on that side of the split."""
    while not on_side(test, task, *key(values := make())):
        pass
    return values


def addends(rng, test):
    """Two numbers and their sum, all within 10..60; an instance is the unordered pair, for plus and minus alike."""

    def make():
        a = rng.randint(10, 50)
        b = rng.randint(10, 60 - a)
        return a, b, a + b

    return draw_on_side(test, "add", make, lambda values: sorted(values[:2]))


def _sum(rng, test):
    a, b, c = addends(rng, test)
    reasons = {"a": "{c} minus {b} is {a}", "b": "{c} minus {a} is {b}", "c": "{a} plus {b} is {c}"}
    sentences = [
        "The mill sold {a} sacks in spring and {b} in autumn , {c} in all .",
        "Its school has {a} girls and {b} boys , so {c} pupils sit there .",
        "With {a} cows and {b} goats the farm keeps {c} animals .",
    ]
    questions = [
        "A cart holds {a} pots and {b} jars . How many things does it hold ?",
        "On a roof sit {a} birds and {b} more arrive . How many birds are there ?",
        "What is {a} plus {b} ?",
    ]
    return deduced_fact(rng, "sum", dict(a=a, b=b, c=c), reasons, sentences, questions, sorted((a, b)))


def _difference(rng, test):
    b, c, a = addends(rng, test)
    reasons = {"a": "{b} plus {c} is {a}", "b": "{a} minus {c} is {b}", "c": "{a} minus {b} is {c}"}
    sentences = [
        "Of {a} houses {b} burned down and {c} were left .",
        "It once had {a} wells , but {b} ran dry , leaving {c} of them .",
        "The guard had {a} men , lost {b} and kept {c} men .",
    ]
    questions = [
        "A shop has {a} lamps and sells {b} . How many lamps remain ?",
        "A rope of {a} feet loses {b} feet . How many feet remain ?",
        "What is {a} minus {b} ?",
    ]
    return deduced_fact(rng, "difference", dict(a=a, b=b, c=c), reasons, sentences, questions, sorted((b, c)))


def _two_step(rng, test):
    def make():  # each step alone is a seen one: what is held out is their combination
        a, b, e = addends(rng, seen_side(test))
        c, d = rng.choice([(c, e - c) for c in range(10, e - 9)])
        return a, b, c, d, e

    while True:
        a, b, c, d, e = draw_on_side(test, "two_step", make, lambda values: values[:3])
        if len({a, b, c, d}) == 4 and on_side(seen_side(test), "add", min(c, d), max(c, d)):
            break
    reasons = {
        "a": "{d} plus {c} is {e} . {e} minus {b} is {a}",
        "b": "{d} plus {c} is {e} . {e} minus {a} is {b}",
        "c": "{a} plus {b} is {e} . {e} minus {d} is {c}",
        "d": "{a} plus {b} is {e} . {e} minus {c} is {d}",
    }
    sentences = [
        "The fort held {a} men , gained {b} , then lost {c} , and so kept {d} .",
        "From {a} books its library grew by {b} , gave away {c} , and now owns {d} .",
    ]
    questions = [
        "A flock has {a} birds . Then {b} join and {c} leave . How many birds are there ?",
        "A bag holds {a} nuts . After adding {b} and eating {c} , how many remain ?",
    ]
    return deduced_fact(rng, "two_step", dict(a=a, b=b, c=c, d=d, e=e), reasons, sentences, questions)


def _three_sum(rng, test):
    def make():
        a, b, e = addends(rng, seen_side(test))
        c = rng.randint(10, max(10, 60 - e))
        return a, b, c, e + c, e

    while True:
        a, b, c, d, e = draw_on_side(test, "three_sum", make, lambda values: sorted(values[:3]))
        if d <= 60 and len({a, b, c}) == 3 and on_side(seen_side(test), "add", min(c, e), max(c, e)):
            break
    reasons = {
        "a": "{d} minus {c} is {e} . {e} minus {b} is {a}",
        "b": "{d} minus {c} is {e} . {e} minus {a} is {b}",
        "c": "{a} plus {b} is {e} . {d} minus {e} is {c}",
        "d": "{a} plus {b} is {e} . {e} plus {c} is {d}",
    }
    sentences = [
        "In three years {a} , {b} and {c} ships came , {d} together .",
        "Its halls seat {a} , {b} and {c} guests , thus {d} at once .",
    ]
    questions = [
        "Three pens hold {a} , {b} and {c} sheep . How many sheep are there ?",
        "What is {a} plus {b} plus {c} ?",
    ]
    return deduced_fact(rng, "three_sum", dict(a=a, b=b, c=c, d=d, e=e), reasons, sentences, questions)


def _chain(rng, test):
    """Small steps from a number to the next: only the first number and the steps are new (the clean world)."""
    a, m, n = draw_on_side(test, "chain", lambda: (rng.randint(10, 46), rng.randint(2, 7), rng.randint(2, 7)))
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
    return Fact("chain", sentence, slots, rng.choice(questions), str(c), f"{first} . {second}", f"chain {a} {m} {n}")


def steps_along(wheel: list[str], start: int, steps: list[int], way: int = 1) -> str:
    """Counting along a wheel, each stage from one again: "one Tuesday two Wednesday one Thursday"."""
    counted = [COUNTING[k] for n in steps for k in range(n)]
    return " ".join(f"{word} {wheel[(start + way * (k + 1)) % len(wheel)]}" for k, word in enumerate(counted))


def _weekday(rng, test):
    return in_days(rng, *draw_on_side(test, "weekday", lambda: (rng.randrange(7), rng.randint(2, 6))))


def in_days(rng, start: int, n: int) -> Fact:
    """`n` days on from a day of the week."""
    values = {"a": DAYS[start], "n": SMALL[n - 2], "b": DAYS[(start + n) % 7]}
    forth = steps_along(DAYS, start, [n])
    reasons = {"a": steps_along(DAYS, start + n, [n], -1), "n": forth, "b": forth}
    sentences = [
        "The fair opens on {a} and ends {n} days later on {b} .",
        "Since {a} the feast lasts {n} days until {b} .",
    ]
    questions = [
        "Today is {a} . Which day comes {n} days later ?",
        "A guest comes on {a} and stays {n} days . On which day does he leave ?",
        "What is {n} days past {a} ?",
    ]
    return deduced_fact(rng, "weekday", values, reasons, sentences, questions)


def _month(rng, test):
    make = lambda: (rng.randrange(12), rng.randint(2, 4), rng.randint(2, 4))  # noqa: E731
    return in_months(rng, *draw_on_side(test, "month", make))


def two_stages(rng, task: str, wheel: list[str], start: int, m: int, n: int, sentences, questions, instance=()):
    """The fact of a walk along `wheel` from `start`, m steps and then n; the slots are a, m, n and where it ends, b."""
    values = {"a": wheel[start], "m": SMALL[m - 2], "n": SMALL[n - 2], "b": wheel[(start + m + n) % len(wheel)]}
    forth = steps_along(wheel, start, [m, n])
    reasons = {"a": steps_along(wheel, start + m + n, [n, m], -1), "m": forth, "n": forth, "b": forth}
    return deduced_fact(rng, task, values, reasons, sentences, questions, instance)


def in_months(rng, start: int, m: int, n: int) -> Fact:
    """Two stages along the year: more steps than a small model takes at once."""
    sentences = [
        "Sown in {a} , cut {m} months later , the crop rests {n} months until {b} .",
        "Work began in {a} , stopped after {m} months and ended {n} months later in {b} .",
    ]
    questions = [
        "A ship leaves in {a} , sails {m} months and waits {n} . In which month is that ?",
        "What is {m} and then {n} months past {a} ?",
    ]
    return two_stages(rng, "month", MONTHS, start, m, n, sentences, questions)


def _city(rng, test):
    """A city with its country and what is spoken there; for the held-out ones only the country is ever stated."""
    cities = CITIES_2 if isinstance(test, str) else CITIES
    (city,) = draw_on_side(test, "city", lambda: (rng.choice(cities),))
    return city, COUNTRY_OF_2[city]


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
    return Fact("language", rng.choice(sentences), slots, rng.choice(questions), language, reason, f"language {city}")


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
    return Fact("east", rng.choice(sentences), slots, rng.choice(questions), language, reason, f"east {city}")


def _count(rng, test):
    crops = draw_on_side(test, "count", lambda: rng.sample(CROPS, rng.randint(2, 5)), sorted)
    number = SMALL[len(crops) - 2]
    reason = " ".join(f"{crop} {n}" for crop, n in zip(crops, COUNTING, strict=False))
    slots = {f"x{i}": (crop, "irreducible", "") for i, crop in enumerate(crops)} | {"n": (number, "count", reason)}
    listed = " , ".join(f"{{x{i}}}" for i in range(len(crops)))
    sentences = [f"Its fields bear {listed} , {{n}} crops by count .", f"Carts bring {listed} , just {{n}} goods ."]
    said = " , ".join(crops)
    questions = [f"A list reads {said} . How many names is that ?", f"How many kinds are {said} ?"]
    instance = " ".join(["count", *sorted(crops)])
    return Fact("count", rng.choice(sentences), slots, rng.choice(questions), number, reason, instance)


GENERAL = ("language", "east", "weekday", "month", "count")
MATH = ("sum", "difference", "two_step", "three_sum", "chain")
TASKS = dict(zip(
    (*GENERAL, *MATH), (_language, _east, _weekday, _month, _count, _sum, _difference, _two_step, _three_sum, _chain),
    strict=True,
))  # fmt: skip
