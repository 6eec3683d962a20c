"""Facts of TinyWiki that follow by arithmetic on numbers from 10 to 60, each with its reasoning.
Left out: larger numbers; a model of a million parameters learns this table and little more."""

from __future__ import annotations

from pzlib.tinywords import SMALL, Fact, draw, held_out


def _addends(rng, test):
    """Two numbers and their sum, all within 10..60; an instance is the unordered pair, for plus and minus alike."""

    def make():
        a = rng.randint(10, 50)
        b = rng.randint(10, 60 - a)
        return (a, b, a + b), ("add", min(a, b), max(a, b))

    return draw(rng, test, make)


def sum_fact(rng, test):
    a, b, c = _addends(rng, test)
    plus = f"{a} plus {b} is {c}"
    sentence = rng.choice(
        [
            "The mill sold {a} sacks in spring and {b} in autumn , {c} in all .",
            "Its school has {a} girls and {b} boys , so {c} pupils sit there .",
            "With {a} cows and {b} goats the farm keeps {c} animals .",
        ]
    )
    slots = {
        "a": (str(a), "sum_inverse", f"{c} minus {b} is {a}"),
        "b": (str(b), "sum_inverse", f"{c} minus {a} is {b}"),
        "c": (str(c), "sum", plus),
    }
    question = rng.choice(
        [
            f"A cart holds {a} pots and {b} jars . How many things does it hold ?",
            f"On a roof sit {a} birds and {b} more arrive . How many birds are there ?",
            f"What is {a} plus {b} ?",
        ]
    )
    return Fact("sum", sentence, slots, question, str(c), plus)


def difference_fact(rng, test):
    b, c, a = _addends(rng, test)
    minus = f"{a} minus {b} is {c}"
    sentence = rng.choice(
        [
            "Of {a} houses {b} burned down and {c} were left .",
            "It once had {a} wells , but {b} ran dry , leaving {c} of them .",
            "The guard had {a} men , lost {b} and kept {c} men .",
        ]
    )
    slots = {
        "a": (str(a), "difference_inverse", f"{b} plus {c} is {a}"),
        "b": (str(b), "difference_inverse", f"{a} minus {c} is {b}"),
        "c": (str(c), "difference", minus),
    }
    question = rng.choice(
        [
            f"A shop has {a} lamps and sells {b} . How many lamps remain ?",
            f"A rope of {a} feet loses {b} feet . How many feet remain ?",
            f"What is {a} minus {b} ?",
        ]
    )
    return Fact("difference", sentence, slots, question, str(c), minus)


def two_step_fact(rng, test):
    def make():  # each step alone is a seen one: what is held out is their combination
        a, b, e = _addends(rng, False)
        c, d = rng.choice([(c, e - c) for c in range(10, e - 9)])
        return (a, b, e, c, d), ("two_step", a, b, c)

    while True:
        a, b, e, c, d = draw(rng, test, make)
        if len({a, b, c, d}) == 4 and not held_out("add", min(c, d), max(c, d)):
            break
    reason = f"{a} plus {b} is {e} . {e} minus {c} is {d}"
    sentence = rng.choice(
        [
            "The fort held {a} men , gained {b} , then lost {c} , and so kept {d} .",
            "From {a} books its library grew by {b} , gave away {c} , and now owns {d} .",
        ]
    )
    slots = {
        "a": (str(a), "two_step_inverse", f"{d} plus {c} is {e} . {e} minus {b} is {a}"),
        "b": (str(b), "two_step_inverse", f"{d} plus {c} is {e} . {e} minus {a} is {b}"),
        "c": (str(c), "two_step_inverse", f"{a} plus {b} is {e} . {e} minus {d} is {c}"),
        "d": (str(d), "two_step", reason),
    }
    question = rng.choice(
        [
            f"A flock has {a} birds . Then {b} join and {c} leave . How many birds are there ?",
            f"A bag holds {a} nuts . After adding {b} and eating {c} , how many remain ?",
        ]
    )
    return Fact("two_step", sentence, slots, question, str(d), reason)


def three_sum_fact(rng, test):
    def make():
        a, b, e = _addends(rng, False)
        c = rng.randint(10, max(10, 60 - e))
        return (a, b, c, e, e + c), ("three_sum", *sorted((a, b, c)))

    while True:
        a, b, c, e, d = draw(rng, test, make)
        if d <= 60 and len({a, b, c}) == 3 and not held_out("add", min(c, e), max(c, e)):
            break
    reason = f"{a} plus {b} is {e} . {e} plus {c} is {d}"
    sentence = rng.choice(
        [
            "In three years {a} , {b} and {c} ships came , {d} together .",
            "Its halls seat {a} , {b} and {c} guests , thus {d} at once .",
        ]
    )
    slots = {
        "a": (str(a), "three_sum_inverse", f"{d} minus {c} is {e} . {e} minus {b} is {a}"),
        "b": (str(b), "three_sum_inverse", f"{d} minus {c} is {e} . {e} minus {a} is {b}"),
        "c": (str(c), "three_sum_inverse", f"{a} plus {b} is {e} . {d} minus {e} is {c}"),
        "d": (str(d), "three_sum", reason),
    }
    question = rng.choice(
        [
            f"Three pens hold {a} , {b} and {c} sheep . How many sheep are there ?",
            f"What is {a} plus {b} plus {c} ?",
        ]
    )
    return Fact("three_sum", sentence, slots, question, str(d), reason)


def chain_fact(rng, test):
    """Small steps from a number to the next: only the first number and the steps are new (the clean world)."""

    def make():
        a, m, n = rng.randint(10, 46), rng.randint(2, 7), rng.randint(2, 7)
        return (a, m, n), ("chain", a, m, n)

    a, m, n = draw(rng, test, make)
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
    question = rng.choice(
        [
            f"Take {a} . Add {m} , then add {n} . What is the result ?",
            f"A man of {a} waits {m} years , then {n} more . How old is he ?",
        ]
    )
    return Fact("chain", sentence, slots, question, str(c), f"{first} . {second}")
