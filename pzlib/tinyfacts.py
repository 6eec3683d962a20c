"""The tasks of TinyWiki: facts that follow from knowledge, calendars and counting here, by arithmetic in `tinysums`.
Left out: comparisons, whose answer repeats a word of the passage and so can't be masked alone."""

from __future__ import annotations

from pzlib.tinysums import chain_fact, difference_fact, sum_fact, three_sum_fact, two_step_fact
from pzlib.tinywords import (
    CITIES,
    COUNTING,
    COUNTRY_OF,
    CROPS,
    DAYS,
    EAST_OF,
    LANGUAGE_OF,
    MONTHS,
    SMALL,
    Fact,
    draw,
)


def _along(wheel: list[str], start: int, steps: list[int], way: int = 1) -> str:
    """Counting along a wheel, each stage from one again: "one Tuesday two Wednesday one Thursday"."""
    counted = [COUNTING[k] for n in steps for k in range(n)]
    return " ".join(f"{word} {wheel[(start + way * (k + 1)) % len(wheel)]}" for k, word in enumerate(counted))


def _weekday(rng, test):
    def make():
        start, n = rng.randrange(7), rng.randint(2, 6)
        return (start, n), ("weekday", start, n)

    start, n = draw(rng, test, make)
    first, last, small = DAYS[start], DAYS[(start + n) % 7], SMALL[n - 2]
    forth = _along(DAYS, start, [n])
    slots = {
        "a": (first, "weekday_inverse", _along(DAYS, start + n, [n], -1)),
        "n": (small, "weekday_inverse", forth),
        "b": (last, "weekday", forth),
    }
    sentence = rng.choice(
        [
            "The fair opens on {a} and ends {n} days later on {b} .",
            "Since {a} the feast lasts {n} days until {b} .",
        ]
    )
    question = rng.choice(
        [
            f"Today is {first} . Which day comes {small} days later ?",
            f"A guest comes on {first} and stays {small} days . On which day does he leave ?",
            f"What is {small} days past {first} ?",
        ]
    )
    return Fact("weekday", sentence, slots, question, last, forth)


def _month(rng, test):
    """Two stages along the year: more steps than a small model takes at once."""

    def make():
        start, m, n = rng.randrange(12), rng.randint(2, 4), rng.randint(2, 4)
        return (start, m, n), ("month", start, m, n)

    start, m, n = draw(rng, test, make)
    first, last = MONTHS[start], MONTHS[(start + m + n) % 12]
    forth = _along(MONTHS, start, [m, n])
    slots = {
        "a": (first, "month_inverse", _along(MONTHS, start + m + n, [n, m], -1)),
        "m": (SMALL[m - 2], "month_inverse", forth),
        "n": (SMALL[n - 2], "month_inverse", forth),
        "b": (last, "month", forth),
    }
    m, n = SMALL[m - 2], SMALL[n - 2]
    sentence = rng.choice(
        [
            "Sown in {a} , cut {m} months later , the crop rests {n} months until {b} .",
            "Work began in {a} , stopped after {m} months and ended {n} months later in {b} .",
        ]
    )
    question = rng.choice(
        [
            f"A ship leaves in {first} , sails {m} months and waits {n} . In which month is that ?",
            f"What is {m} and then {n} months past {first} ?",
        ]
    )
    return Fact("month", sentence, slots, question, last, forth)


def _city(rng, test):
    """A city with its country and what is spoken there; for the held-out ones only the country is ever told."""

    def make():
        city = rng.choice(CITIES)
        return city, ("city", city)

    city = draw(rng, test, make)
    return city, COUNTRY_OF[city]


def _language(rng, test):
    city, country = _city(rng, test)
    language = LANGUAGE_OF[country]
    reason = f"{city} lies in {country} . {country} speaks {language}"
    slots = {"c": (city, "irreducible", ""), "l": (language, "language", reason)}
    sentence = rng.choice(
        ["Its priest was born in {c} and preaches in {l} .", "Settlers from {c} brought the {l} tongue ."]
    )
    question = rng.choice(
        [
            f"A man grew up in {city} . What does he speak ?",
            f"What is spoken in {city} ?",
            f"A letter comes from {city} . In which language is it ?",
        ]
    )
    return Fact("language", sentence, slots, question, language, reason)


def _east(rng, test):
    city, country = _city(rng, test)
    east = EAST_OF[country]
    language = LANGUAGE_OF[east]
    reason = f"{city} lies in {country} . East of {country} is {east} . {east} speaks {language}"
    slots = {"c": (city, "irreducible", ""), "l": (language, "east", reason)}
    sentence = rng.choice(
        ["Envoys of {c} to the east learned {l} first .", "East of the land of {c} folk sing in {l} ."]
    )
    question = rng.choice(
        [
            f"A boat from {city} goes east to the next land . What is spoken there ?",
            f"What is spoken east of the land of {city} ?",
        ]
    )
    return Fact("east", sentence, slots, question, language, reason)


def _count(rng, test):
    def make():
        crops = rng.sample(CROPS, rng.randint(2, 5))
        return crops, ("count", *sorted(crops))

    crops = draw(rng, test, make)
    number = SMALL[len(crops) - 2]
    reason = " ".join(f"{crop} {n}" for crop, n in zip(crops, COUNTING, strict=False))
    slots = {f"x{i}": (crop, "irreducible", "") for i, crop in enumerate(crops)}
    slots["n"] = (number, "count", reason)
    listed = " , ".join(f"{{x{i}}}" for i in range(len(crops)))
    sentence = rng.choice(
        [f"Its fields bear {listed} , {{n}} crops by count .", f"Carts bring {listed} , just {{n}} goods ."]
    )
    said = " , ".join(crops)
    question = rng.choice([f"A list reads {said} . How many names is that ?", f"How many kinds are {said} ?"])
    return Fact("count", sentence, slots, question, number, reason)


TASKS = {
    "language": _language,
    "east": _east,
    "weekday": _weekday,
    "month": _month,
    "count": _count,
    "sum": sum_fact,
    "difference": difference_fact,
    "two_step": two_step_fact,
    "three_sum": three_sum_fact,
    "chain": chain_fact,
}
GENERAL = ("language", "east", "weekday", "month", "count")
MATH = ("sum", "difference", "two_step", "three_sum", "chain")
