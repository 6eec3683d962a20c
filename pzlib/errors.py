"""Words for a person: what is wrong with an input, by its name, and what would be right; how long something takes.
Leaves out what counts as wrong: that is decided where the input is read."""

import ast
import difflib


class NothingToDraw(ValueError):
    """Rows are there, but hold nothing of what is asked for: a line says so, where another ValueError is a fault."""


def near_names(name, known):
    """Words that help after an unknown name: its nearest known ones, or else all of them.

    >>> near_names("sed", ["seed", "steps"])
    'did you mean seed?'
    >>> near_names("zzz", ["seed", "steps"])
    'known: seed, steps'
    """
    known = list(known)
    near = [word for word in known if word.startswith(name)] or difflib.get_close_matches(name, known, n=3)
    return f"did you mean {' or '.join(near[:3])}?" if near and name else f"known: {', '.join(known)}"


def refuse_unknown(given, known, what):
    """ValueError for the first name of `given` that is not in `known`, with the nearest known ones."""
    for name in given:
        if name not in known:
            raise ValueError(f"{name}: no such {what}; {near_names(name, known)}")


def typed(name, value, want):
    """`value` as the type `want` (bool, int, float, str, ...), or a ValueError that names the setting.

    An int is fine where a float is wanted; a bool is not a number, and a string is never converted.

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
    raise ValueError(f"{name}: wants {_a(want)}, got the {type(value).__name__} {value!r}{remedy}")


def _a(want):
    return f"{'an' if want is int else 'a'} {want.__name__}"


def fitted(name, value, default):
    """`value` in the type of `default`, its items in that of its first item; None takes any.

    >>> fitted("rate", 1, 0.5)
    1.0
    >>> fitted("seeds", [1, 2.5], [0])
    Traceback (most recent call last):
    ValueError: seeds[1]: wants an int, got the float 2.5
    """
    if default is None:
        return value
    value = typed(name, value, type(default))
    if isinstance(value, list | tuple) and default:
        return type(value)(fitted(f"{name}[{i}]", item, default[0]) for i, item in enumerate(value))
    return value


def parse_value(name, text, default, kind=None):
    """The value that `text`, typed on a command line, is where a notebook or a tier says `default`.

    kind: its type, where the default is None and does not tell. Where nothing does, it is the literal that the text
    writes, or else the text: 3.10 is a version, since no one writes the number so.

    >>> parse_value("rate", "1e-6", 0.5), parse_value("live", "false", True), parse_value("name", "1", "mine")
    (1e-06, False, '1')
    >>> parse_value("every", "false", None), parse_value("seeds", "[1, 2]", None), parse_value("name", "a.jsonl", None)
    (False, [1, 2], 'a.jsonl')
    >>> parse_value("version", "3.10", None), parse_value("rate", "3.10", None, float), parse_value("x", "none", None)
    ('3.10', 3.1, None)
    >>> parse_value("steps", "ten", 200)
    Traceback (most recent call last):
    ValueError: steps: wants an int such as 200, got 'ten'
    """
    kind = kind or (None if default is None else type(default))
    word = text.strip()
    if default is None and word.lower() == "none":
        return None
    if kind is str:
        return text
    try:
        value = ast.literal_eval(word.capitalize() if kind is bool or word.lower() in ("true", "false") else word)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        if kind is None:
            return text
        example = "" if default is None else f" such as {default!r}"
        raise ValueError(f"{name}: wants {_a(kind)}{example}, got {text!r}") from error
    if kind is None:
        return text if isinstance(value, float) and word.endswith("0") and word != repr(value) else value
    return typed(name, value, kind) if default is None else fitted(name, value, default)


def flags(settings):
    """Settings of a run as a command is given them.

    >>> flags({"use_vllm": True, "lora_rank": 32}), flags({})
    (' -p use_vllm true -p lora_rank 32', '')
    """
    plain = {name: str(value).lower() if isinstance(value, bool) else value for name, value in (settings or {}).items()}
    return "".join(f" -p {name} {value}" for name, value in plain.items())


def duration(seconds):
    """Seconds as text.

    >>> duration(4.2), duration(80), duration(7300)
    ('4 s', '1 min 20 s', '2 h 1 min')
    """
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
