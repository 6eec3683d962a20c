"""A notebook's parameters: read from its tagged cell, strict about the names and types given for them.
Leaves out what a value means: Run checks that, in the notebook's next cell."""

import ast
from pathlib import Path

from pzlib.refusals import near_names, refuse_unknown, typed


def read_parameters(path):
    """Name and default of every parameter of the notebook at `path`: {name: literal}, in order.

    They are the assignments in the one cell tagged `parameters`; each must be a plain literal, because
    a value computed there would not follow one given from outside. Raises FileNotFoundError, ValueError.
    """
    import nbformat

    path = Path(path)
    if not path.is_file():
        known = [p.name for p in sorted(path.parent.glob("*.ipynb"))]
        hint = near_names(path.name, known) if known else f"{path.parent} holds no notebook"
        raise FileNotFoundError(f"{path}: no such notebook; {hint}")
    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat raises what its JSON and schema readers raise
        raise ValueError(f"{path}: not a notebook ({str(error).splitlines()[0][:200]})") from error
    cells = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    if len(cells) != 1:
        raise ValueError(f"{path}: {len(cells)} cells are tagged `parameters`; it needs exactly one")
    defaults = {}
    try:
        for statement in ast.parse(cells[0].source).body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    defaults[name] = ast.literal_eval(value)
                case _:
                    raise ValueError
    except SyntaxError as error:
        raise ValueError(f"{path}: line {error.lineno} of the parameters cell is not Python") from error
    except (ValueError, TypeError) as error:
        line = ast.unparse(statement).splitlines()[0]
        raise ValueError(f"{path}: `{line}` in the parameters cell sets no name to a literal") from error
    return defaults


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


def parse_value(name, text, default):
    """The value that `text`, typed on a command line, stands for where the notebook says `default`.

    >>> parse_value("rate", "1e-6", 0.5), parse_value("live", "false", True), parse_value("name", "1", "mine")
    (1e-06, False, '1')
    >>> parse_value("every", "false", None), parse_value("seeds", "[1, 2]", None), parse_value("name", "a.jsonl", None)
    (False, [1, 2], 'a.jsonl')
    >>> parse_value("steps", "ten", 200)
    Traceback (most recent call last):
    ValueError: steps: wants an int such as 200, got 'ten'
    """
    if isinstance(default, str):
        return text
    word = text.strip()
    if isinstance(default, bool) or word.lower() in ("true", "false", "none"):
        word = word.capitalize()
    try:
        value = ast.literal_eval(word)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        if default is None:
            return text
        kind = type(default).__name__
        article = "an" if kind == "int" else "a"
        raise ValueError(f"{name}: wants {article} {kind} such as {default!r}, got {text!r}") from error
    return fitted(name, value, default)


def parse_parameters(path, pairs):
    """The (name, text) pairs of a command line as the typed parameters of the notebook at `path`."""
    defaults, values = read_parameters(path), {}
    refuse_unknown([name for name, _ in pairs], defaults, f"parameter of {Path(path).name}")
    for name, text in pairs:
        if name in values:
            raise ValueError(f"{name}: given twice; give each parameter once")
        values[name] = parse_value(name, text, defaults[name])
    return values
