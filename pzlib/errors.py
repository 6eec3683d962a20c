"""Words for bad input: what was wrong, by its name, and what would be right.
Leaves out what is bad input: that stands where the input is read."""

import difflib


def near_names(name, known):
    """Words that help after an unknown name: its nearest known ones, or else all of them.

    >>> near_names("sed", ["seed", "steps"])
    'did you mean seed?'
    >>> near_names("zzz", ["seed", "steps"])
    'known: seed, steps'
    """
    near = difflib.get_close_matches(name, list(known), n=3)
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"



def typed(name, value, want):
    """`value` as the type `want` (bool, int, float or str), or a ValueError that names the setting.

    An int is fine where a float is wanted; a bool is no number and a string is never converted.

    >>> typed("temperature", 1, float)
    1.0
    >>> typed("learning_rate", "1e-6", float)
    Traceback (most recent call last):
    ValueError: learning_rate: wants a float, got the str '1e-6'; write it without quotes
    """
    if want is float and type(value) is int:
        return float(value)
    if type(value) is want:
        return value
    remedy = "; write it without quotes" if isinstance(value, str) else ""
    article = "an" if want is int else "a"
    got = f"the {type(value).__name__} {value!r}"
    raise ValueError(f"{name}: wants {article} {want.__name__}, got {got}{remedy}")



def refuse_unknown(given, known, what):
    """ValueError for the first name of `given` that is not in `known`, with the nearest known ones."""
    for name in given:
        if name not in known:
            raise ValueError(f"{name}: no such {what}; {near_names(name, known)}")
