"""The second world's tasks: a ladder of depth, days in stages, counts from the left; all others are the first world's.
Held out is every instance, from every text; stated are where a city is and, as laws alone, what two numbers make."""

from pzlib.world.facts import (
    DAYS,
    MONTHS,
    SMALL,
    TASKS,
    Fact,
    addends,
    deduced_fact,
    draw_on_side,
    in_days,
    in_months,
    on_side,
    seen_side,
    steps_along,
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
    values = {"a": DAYS[start], "m": SMALL[m - 2], "n": SMALL[n - 2], "b": DAYS[(start + m + n) % 7]}
    forth = steps_along(DAYS, start, [m, n])
    reasons = {"a": steps_along(DAYS, start + m + n, [n, m], -1), "m": forth, "n": forth, "b": forth}
    sentences = [
        "The fair opens on {a} , moves {m} days later and ends {n} days later on {b} .",
        "Since {a} the feast lasts {m} days , then {n} more until {b} .",
    ]
    questions = [
        "Today is {a} . Which day comes {m} and then {n} days later ?",
        "What is {m} and then {n} days past {a} ?",
    ]
    return deduced_fact(rng, "weekday", values, reasons, sentences, questions, (values["a"], m, n))


def _weekday(rng, side):
    start, lengths = _stages(rng, side, "weekday", DAYS)
    return in_days(rng, start, *lengths) if len(lengths) == 1 else _two_stages_of_days(rng, start, *lengths)


def _month(rng, side):
    start, lengths = _stages(rng, side, "month", MONTHS)
    return in_months(rng, start, *lengths)


TASKS_2 = TASKS | {"weekday": _weekday, "month": _month, "chain": _ladder}  # a side's name for the first world's bool
STATED = TASKS_2 | {"tally": _tally}  # what a passage can state, asked or not
