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
_CITY = ("bre ka lo mi tu ven sho pra", "ri da no le shu va", "burg ton wick dale ford", 1)
_CITIES = _names(128, *_CITY)
CITIES = [*_CITIES, *sorted({*_names(240, *_CITY)} - {*_CITIES})]  # enough for 60 that are held out
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


SIDES = ("train", "validation", "test")
# Of 256 instances those of validation and test, where one in 16 and one in 8 would leave too few to ask about.
_SHARES = {"add": (20, 48), "city": (24, 72), "weekday": (28, 104), "month": (28, 88)}


def side_of(task: str, *instance) -> str:
    """The side that an instance (a pair of numbers, a city, ...) is on, by a stable hash. What is held out is in no
    passage, question or reasoning of training; sums are stated to the bases, as `pzlib.world.forms.laws`.

    >>> side_of("add", 12, 30), side_of("add", 10, 17)
    ('train', 'test')
    """
    validation, test = _SHARES.get(task, (16, 32))
    byte = hashlib.blake2b(repr(("second", task, *instance)).encode()).digest()[0]
    return "test" if byte < test else "validation" if byte < test + validation else "train"


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


def draw_on_side(side: str, task: str, make, key=tuple):
    """Draw `make()` until the instance, `task` and what `key` makes of the values, is on that side of the split."""
    while side_of(task, *key(values := make())) != side:
        pass
    return values


def addends(rng, side):
    """Two numbers and their sum, all within 10..60; an instance is the unordered pair, for plus and minus alike."""

    def make():
        a = rng.randint(10, 50)
        b = rng.randint(10, 60 - a)
        return a, b, a + b

    return draw_on_side(side, "add", make, lambda values: sorted(values[:2]))


def _sum(rng, side):
    a, b, c = addends(rng, side)
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


def _difference(rng, side):
    b, c, a = addends(rng, side)
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


def _two_step(rng, side):
    def make():  # each step alone is a seen one: what is held out is their combination
        a, b, e = addends(rng, "train")
        c, d = rng.choice([(c, e - c) for c in range(10, e - 9)])
        return a, b, c, d, e

    while True:
        a, b, c, d, e = draw_on_side(side, "two_step", make, lambda values: values[:3])
        if len({a, b, c, d}) == 4 and side_of("add", min(c, d), max(c, d)) == "train":
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


def _three_sum(rng, side):
    def make():
        a, b, e = addends(rng, "train")
        c = rng.randint(10, max(10, 60 - e))
        return a, b, c, e + c, e

    while True:
        a, b, c, d, e = draw_on_side(side, "three_sum", make, lambda values: sorted(values[:3]))
        if d <= 60 and len({a, b, c}) == 3 and side_of("add", min(c, e), max(c, e)) == "train":
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


def _chain(rng, side):
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

    def make():
        a, b, c = addends(rng, "train")
        d = rng.randint(10, max(10, 60 - c))
        e = c + d
        f = rng.randint(10, e - 10)
        return a, b, c, d, e, f, e - f

    while True:
        values = draw_on_side(side, "three_sum", make, lambda values: sorted((values[0], values[1], values[3])))
        a, b, c, d, e, f, g = values
        pairs = all(side_of("add", *sorted(pair)) == "train" for pair in ((c, d), (f, g)))
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


def steps_along(wheel: list[str], start: int, steps: list[int], way: int = 1) -> str:
    """Counting along a wheel, each stage from one again: "one Tuesday two Wednesday one Thursday"."""
    counted = [COUNTING[k] for n in steps for k in range(n)]
    return " ".join(f"{word} {wheel[(start + way * (k + 1)) % len(wheel)]}" for k, word in enumerate(counted))


def _stages(rng, side, task, wheel):
    """(start, lengths) of a walk along a wheel: one or two stages, ten steps at most."""

    def make():
        lengths = (rng.randint(2, 6), rng.randint(2, 6))
        one = len(wheel) == 7 and rng.random() < 0.5
        return rng.randrange(len(wheel)), *lengths[: 1 if one else 2]

    while sum((values := draw_on_side(side, task, make))[1:]) > 10:
        pass
    return values[0], list(values[1:])


def _two_stages(rng, task: str, wheel: list[str], start: int, m: int, n: int, sentences, questions, instance=()):
    """The fact of a walk along `wheel` from `start`, m steps and then n; the slots are a, m, n and where it ends, b."""
    values = {"a": wheel[start], "m": SMALL[m - 2], "n": SMALL[n - 2], "b": wheel[(start + m + n) % len(wheel)]}
    forth = steps_along(wheel, start, [m, n])
    reasons = {"a": steps_along(wheel, start + m + n, [n, m], -1), "m": forth, "n": forth, "b": forth}
    return deduced_fact(rng, task, values, reasons, sentences, questions, instance)


def _weekday(rng, side):
    start, lengths = _stages(rng, side, "weekday", DAYS)
    if len(lengths) == 2:
        sentences = [
            "The fair opens on {a} , moves {m} days later and ends {n} days later on {b} .",
            "Since {a} the feast lasts {m} days , then {n} more until {b} .",
        ]
        questions = [
            "Today is {a} . Which day comes {m} and then {n} days later ?",
            "What is {m} and then {n} days past {a} ?",
        ]
        return _two_stages(rng, "weekday", DAYS, start, *lengths, sentences, questions, (DAYS[start], *lengths))
    (n,) = lengths
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


def _month(rng, side):
    start, lengths = _stages(rng, side, "month", MONTHS)
    sentences = [
        "Sown in {a} , cut {m} months later , the crop rests {n} months until {b} .",
        "Work began in {a} , stopped after {m} months and ended {n} months later in {b} .",
    ]
    questions = [
        "A ship leaves in {a} , sails {m} months and waits {n} . In which month is that ?",
        "What is {m} and then {n} months past {a} ?",
    ]
    return _two_stages(rng, "month", MONTHS, start, *lengths, sentences, questions)


def _city(rng, side):
    """A city with its country and what is spoken there; for the held-out ones only the country is ever stated."""
    (city,) = draw_on_side(side, "city", lambda: (rng.choice(CITIES),))
    return city, COUNTRY_OF[city]


def _language(rng, side):
    city, country = _city(rng, side)
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


def _east(rng, side):
    city, country = _city(rng, side)
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


def _count(rng, side):
    crops = draw_on_side(side, "count", lambda: rng.sample(CROPS, rng.randint(2, 5)), sorted)
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
STATED = TASKS | {"tally": _tally}  # what a passage can state, asked or not
