r"""How a written answer is put before math-verify, which looks for mathematics in a text: as it is, or in dollars.
Left out: every judgement of equality, and all units, intervals and sets, which math-verify reads itself."""

from __future__ import annotations

import re

from pzlib.prompts import parse_boxed

_DELIMITED = re.compile(r"\\boxed|(?<!\\)\\[(\[]|(?<!\\)\$.*(?<!\\)\$", re.DOTALL)
_FORMULA = re.compile(r"\$\$?([^$]+)\$\$?")
_COMMAND = re.compile(r"\\(?:text\w*|mbox|mathrm|operatorname)\s*\{[^{}]*\}|\\[A-Za-z]+")
_WORD = re.compile(r"[A-Za-z]{2,}")
_TEXT = re.compile(r"(?=.*[A-Za-z]{4})[A-Za-z]+(?:[ -][A-Za-z]+)*")  # "xyz" and "x y" are products
_SCIENTIFIC = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))[eE]([+-]?\d+)")
_MIXED = re.compile(r"([+-]?\d+) (\d+)/(\d+)")
_SPACED = re.compile(r"[+-]?\d{1,3}(?: \d{3})+(?:\.\d+)?")


def as_math(answer: str) -> str:
    r"""`answer` as a text in which math-verify finds the answer and nothing else.

    An answer is *whole* if it has a box, math between dollars, ``\(`` or ``\[``, or four words outside of TeX: it is
    left as it is, except that of a single box only the content counts. Everything else is *bare*, such as the content
    of a box, a gold from a table or one formula in dollars. It comes back in dollars: without them math-verify would
    read ``7\pi`` as 7.
    A bare answer loses closing full stops and per-cent signs, lone dollars (12.5% is 12.5, as in the golds), and
    ``3e8``, ``1 000``, ``1 1/2`` and words are put in TeX: they would be read as 3 e 8, 0, 1 and products of letters.

    >>> as_math(r"\frac{1}{2}"), as_math("3e8"), as_math("Evelyn"), as_math(r"\$18.50.")
    ('$\\frac{1}{2}$', '$3 \\times 10^{8}$', '$\\text{Evelyn}$', '$18.50$')
    >>> as_math("It is $7$, I hope."), as_math(r"So $x = \boxed{7}$."), as_math("There are 12 of them left.")
    ('It is $7$, I hope.', '$7$', 'There are 12 of them left.')
    """
    answer = answer.strip()
    if answer.count("\\boxed") == 1:
        content = parse_boxed(answer)
        return answer if content is None else as_math(content)
    formula = _FORMULA.fullmatch(answer)
    if formula:
        answer = formula[1].strip()
    elif _DELIMITED.search(answer) or len(_WORD.findall(_COMMAND.sub(" ", answer))) >= 4:
        return answer
    bare = re.sub(r"\\?\$", "", answer).rstrip(". ")
    bare = re.sub(r"(?:\\?%|(?i:percent|pct))$", "", bare).strip()
    bare = re.sub(r"(?<=\d)\.(?![\d\\])", "", bare)
    scientific, mixed = _SCIENTIFIC.fullmatch(bare), _MIXED.fullmatch(bare)
    if scientific:
        bare = rf"{scientific[1]} \times 10^{{{scientific[2]}}}"
    elif mixed:
        bare = rf"{mixed[1]}\frac{{{mixed[2]}}}{{{mixed[3]}}}"
    elif _SPACED.fullmatch(bare):
        bare = bare.replace(" ", "")
    elif _TEXT.fullmatch(bare):
        bare = rf"\text{{{bare}}}"
    return f"${bare}$"
