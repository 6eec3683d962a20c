"""Plain present-day English in what a person reads: no word or turn of phrase of AVOIDED. To hold more files to it, add
them to FILES: of notebooks the markdown is read, of Python the messages, the help, the captions and the docstrings."""

import ast
import json
import re
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
FILES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LOG.md", "docs/*.md", "notebooks/*.ipynb", "pzlib/**/*.py"]

UNITS = (
    "answers?|blocks?|bytes?|characters?|cores?|episodes?|files?|gpus?|groups?|hours?|items?|jobs?|lines?|masks?|minutes?|passages?|"
    "points?|process|processes|prompts?|questions?|rows?|runs?|samples?|seconds?|seeds?|steps?|threads?|tokens?|updates?|words?"
)
EACH = (
    "answer|arm|block|core|document|file|gpu|group|line|machine|mask|minute|model|passage|process|question|row|run|second|"
    "seed|sentence|step|study|task|token|update|word"
)
AVOIDED = {
    rf"({UNITS}) an? ({EACH})": "per, or each",
    r"(lies?|lay|lying|stands?(?! for\b| in for\b)|stood|standing)(?!-)": "is, are",
    r"told|said": "print, return, state",
    r"mend(s|ed|ing)?": "fix",
    r"outright": "",
    r"in words": "as a message, clearly",
    r"beforehand": "before, first",
    r"from nothing": "from scratch",
    r"dear(er|est)?": "expensive",
    r"(?<!there )(is|are|was|were) no (?!longer|more|worse|better)": "is not",
    r"but for|bar the|save for": "except",
    r"anew|upon|shall|whilst|hitherto|hence|thereof|therein|whereby|nought": "today's word",
    r"in the place of": "instead of",
    r"at hand": "available",
    r"so (as to|many|much) a|of (its|one's|your) own accord": "plain words",
    r"nothing (can tell|tells)": "nothing determines",
    r"can be had|to be had": "can be earned, is available",
    rf"one an? ({EACH}|size)": "one per, or each",
    r"(leaves?|left|leaving) zero out": "excludes zero",
    r"comes? of (it|them)|takes? the place of": "results, replaces",
    r"written rightly|without a word": "spelt correctly, quietly",
}
PATTERN = re.compile("|".join(f"(?P<_{i}>\\b(?:{avoided})\\b)" for i, avoided in enumerate(AVOIDED)), re.IGNORECASE)


def markdown(text):
    """Prose of a markdown text, line by line: without code, links' targets and quotations."""
    text = re.sub(r"^```.*?^```", lambda block: "\n" * block[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`\n]*`|\]\([^)\n]*\)|<!--.*?-->", " ", text)
    return list(enumerate(text.splitlines(), 1))


def notebook(text):
    """The same of a notebook's markdown cells, and of its code what it prints and its comments, numbered by cell."""
    found = []
    for n, cell in enumerate(json.loads(text)["cells"], 1):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            found += [(n, line) for _, line in markdown(source)]
        else:
            found += [(n, words) for _, words in [*messages(source), *enumerate(re.findall("#(.*)", source))]]
    return found


CALLS = ("print", "explain", "given", "command", "set_title")  # whose strings a person reads
KEYWORDS = ("help", "description", "epilog", "title", "xlabel", "ylabel")


def messages(text):
    """What a module can say: the strings in its `raise` and `print`, its help texts, its captions."""
    found = []
    for node in ast.walk(ast.parse(text)):
        call = isinstance(node, ast.Call) and (getattr(node.func, "id", "") or getattr(node.func, "attr", ""))
        if isinstance(node, ast.Raise) or call in CALLS or isinstance(node, ast.keyword) and node.arg in KEYWORDS:
            keys = {part.slice for part in ast.walk(node) if isinstance(part, ast.Subscript)}
            constants = {part for part in ast.walk(node) if isinstance(part, ast.Constant)} - keys
            found += [(part.lineno, part.value) for part in constants if isinstance(part.value, str)]
    return found


def docstrings(text):
    """The lines of its docstrings, without examples, code and quotations."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node, clean=False):
            shown = node.body[0].value.value
            shown = re.sub(r"^ *>>> (.+\n)+", lambda code: "\n" * code[0].count("\n"), shown, flags=re.MULTILINE)
            shown = re.sub(r"`[^`\n]*`|\"[^\"\n]*\"", " ", shown)
            found += enumerate(shown.split("\n"), node.body[0].lineno)
    return found


READERS = {".md": markdown, ".ipynb": notebook, ".py": lambda text: [*messages(text), *docstrings(text)]}


def faults(text, suffix):
    """(line, phrase, remedy) of every phrase to avoid."""
    remedies = list(AVOIDED.values())
    return [
        (number, match[0], remedies[int(match.lastgroup[1:])])
        for number, line in READERS[suffix](text)
        for match in PATTERN.finditer(line)
    ]


@pytest.mark.parametrize("path", sorted(path for glob in FILES for path in REPO.glob(glob)), ids=lambda path: path.name)
def test_words_are_plain(path):
    found = faults(path.read_text(), path.suffix)
    assert not found, "\n".join(f"{path.name}:{line}: {phrase!r}; say: {remedy}" for line, phrase, remedy in found)


@pytest.mark.parametrize(
    ("sentence", "phrases"),
    [
        ("It lies in the folder, as we said.", ["lies", "said"]),
        ("A million tokens a step; five seeds an arm.", ["tokens a step", "seeds an arm"]),
        ("It is no failure. There is no file, and it is no longer slow.", ["is no "]),
        ("Mended outright, and refused in words.", ["Mended", "outright", "in words"]),
        ("A stand-in for a standard answer: a run starts, a model answers. `it lies`", []),
        ("```\nit lies\n```\n[x](lies.md) He understands a step.", []),
    ],
)
def test_what_is_found(sentence, phrases):
    assert [phrase for _, phrase, _ in faults(sentence, ".md")] == phrases


def test_notebooks_and_messages_are_read_too():
    code = ['lies = "lies"\n', 'print("it lies")  # told\n']
    cells = [{"cell_type": "code", "source": code}, {"cell_type": "markdown", "source": ["fine\n", "it lies"]}]
    found = faults(json.dumps({"cells": cells}), ".ipynb")
    assert [fault[:2] for fault in found] == [(1, "lies"), (1, "told"), (2, "lies")]
    module = 'def f(x):\n    """It lies."""\n    y = "lies"\n    raise ValueError(f"{x} lies")\n\nadd(help="mend it")\n'
    module += 'explain(figure, "points a step")\n'
    found = sorted((line, phrase) for line, phrase, _ in faults(module, ".py"))
    assert found == [(2, "lies"), (4, "lies"), (6, "mend"), (7, "points a step")]


def test_examples_and_quotations_in_docstrings_are_not_read():
    module = '"""It is `told`, or "said".\n\n    >>> said = 1\n    told\n\n    It lay there.\n    """\n'
    assert [(line, phrase) for line, phrase, _ in faults(module, ".py")] == [(6, "lay")]
