"""TinyWiki's words, its few laws, and what a fact of it is; one word is one token.
Left out: everything a real encyclopaedia leaves ambiguous. Nothing here depends on a seed, so no vocabulary does."""

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


def draw(rng: random.Random, test: bool, make):
    """Draw `make() -> (values, instance)` until the instance lies on the wanted side of the split."""
    while True:
        values, instance = make()
        if held_out(*instance) == test:
            return values
