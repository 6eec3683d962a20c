"""What mathematics a string holds, and whether it is the gold's; run as a process of its own, which `verify` may kill.
Leaves out math-verify's own alarms, which could not interrupt a long multiplication anyway."""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import signal
import sys
from dataclasses import replace
from functools import lru_cache

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

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


MEMORY = 1 << 30  # bytes of address space; parsing and comparing ordinary answers takes a tenth

LATEX, NUMBERS = LatexExtractionConfig(), ExprExtractionConfig()

NO_UNITS = LatexExtractionConfig(normalization_config=replace(LATEX.normalization_config, units=False))


@lru_cache(maxsize=2048)
def parsed(answer: str) -> list:
    """What math-verify reads in an answer: sympy expressions, then the text it read them from; [] for nothing.

    One formula is read as TeX only: where that fails, plain numbers would be picked out of it ("12 km 3 m" as 3). If it
    can't be read, it is tried again with what looked like units: of a + b + c, "b + c" would be seconds and the like.

    >>> parsed(r"\\frac{1}{2}"), parsed("a + b + c")[:1], parsed("we do not know what it is")
    ([1/2, '\\\\frac{1}{2}'], [a + b + c], [])
    """
    text = as_math(answer)
    if not (text.startswith("$") and text.find("$", 1) == len(text) - 1):
        return parse(text, (LATEX, NUMBERS), parsing_timeout=None)
    found = parse(text, (LATEX,), parsing_timeout=None)
    return found if _mathematics(found) else parse(text, (NO_UNITS,), parsing_timeout=None) or found


def judge(golds: list[str], prediction: str) -> str:
    """`Verdict.why` for a prediction that may match any of the golds: right, wrong, unparsable answer or gold.

    math-verify's defaults (floats equal to 6 decimals), and in addition an inequality is right where the gold is the
    same interval. Where neither side is mathematics, equal text is right.

    >>> judge(["0.5"], r"\\frac{1}{2}"), judge(["7", "8"], "x = 8"), judge(["(0, 1)"], "0 < x < 1")
    ('right', 'right', 'right')
    >>> judge(["0.5"], "1/3"), judge(["0.5"], r"\\frac{1}{"), judge(["{"], "0.5")
    ('wrong', 'unparsable answer', 'unparsable gold')
    """
    targets, said = [parsed(gold) for gold in golds], parsed(prediction)
    if any(verify(target, said, allow_set_relation_comp=True, timeout_seconds=None) for target in targets):
        return "right"
    if not any(_mathematics(target) for target in targets):
        return "unparsable gold"
    return "wrong" if _mathematics(said) else "unparsable answer"


def _mathematics(found: list) -> bool:
    return any(not isinstance(item, str) for item in found)


def main() -> None:
    """Answers each line {"golds", "prediction"} of stdin with a line of JSON, until stdin ends."""
    seconds = float(sys.argv[1])
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not end up among the replies
    logging.disable(logging.WARNING)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    judge(["x + 1"], r"\frac{1}{2}")  # the first builds grammars and patterns, which must not count against an answer
    print(json.dumps("ready"), file=replies, flush=True)
    for line in sys.stdin:
        # The parent kills late workers. If it is gone, the kernel does: by default this alarm ends the process.
        signal.setitimer(signal.ITIMER_REAL, seconds + 1)
        why = judge(**json.loads(line))
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps(why), file=replies, flush=True)


if __name__ == "__main__":
    main()
