"""Whether an answer is the gold's mathematics, by math-verify; run as a process of its own, which `verify` may kill.
Leaves out math-verify's own alarms, which could not interrupt a long multiplication anyway."""

import json
import logging
import os
import re
import resource
import signal
import sys
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

from math_verify import ExprExtractionConfig, LatexExtractionConfig, grader, parse, verify

from pzlib.mathtext import Reading, read

MEMORY = 1 << 30  # bytes of address space; parsing and comparing ordinary answers takes a tenth
SMALL, DIGITS = 1e-3, 2e-6  # numbers below SMALL are equal if their difference is at most this share of them

NUMBERS, PROSE = ExprExtractionConfig(), LatexExtractionConfig()
FORMULA = LatexExtractionConfig(normalization_config=replace(PROSE.normalization_config, units=False))
_numeric_eq = grader.sympy_numeric_eq


def close(a, b, float_rounding: int, numeric_precision: int) -> bool:
    """math-verify's comparison of numbers (to 6 decimals), and below SMALL to six significant digits in addition.

    By 6 decimals alone all small numbers are equal, and so are expressions with small factors.
    """
    if not _numeric_eq(a, b, float_rounding, numeric_precision):
        return False
    if not (hasattr(a, "free_symbols") and hasattr(a, "is_Matrix") and not a.is_Matrix):
        return True
    symbols = sorted(a.free_symbols | b.free_symbols, key=str)
    places = {symbol: Fraction(13 + 2 * i, 11) for i, symbol in enumerate(symbols)}
    try:
        sizes = [abs(side.doit().subs(places)).evalf(30) for side in (a, b, a - b)]
        return not (0 < max(sizes[:2]) < SMALL) or bool(sizes[2] <= DIGITS * max(sizes[:2]))
    except Exception:  # what has no size was not compared as a number
        return True


grader.sympy_numeric_eq = close  # it compares within sets, tuples, intervals and equations too, so it is replaced there


@lru_cache(maxsize=2048)
def parsed(text: str) -> list:
    r"""What math-verify reads in a text: sympy expressions, then the text it read them from; [] for nothing.

    One formula is read as TeX only, and nothing in it taken for a unit: where that fails, plain numbers would be picked
    out of it ("12 km 3 m" as 3), and of a + b + c, "b + c" would be seconds and the like.

    >>> parsed(r"$\frac{1}{2}$"), parsed("$a + b + c$")[:1], parsed("we do not know what it is")
    ([1/2, '\\frac{1}{2}'], [a + b + c], [])
    """
    if text.startswith("$") and text.find("$", 1) == len(text) - 1:
        return parse(text, (FORMULA,), parsing_timeout=None)
    return parse(text, (PROSE, NUMBERS), parsing_timeout=None)


def judge(golds: list[str], prediction: str) -> str:
    r"""`Verdict.why` for a prediction that may match any of the golds: right, wrong, unparsable answer or gold.

    math-verify's defaults (but see `close`), and in addition an inequality is right where the gold is the same
    interval. Where neither side is mathematics, equal text is right.

    >>> judge(["0.5"], r"\frac{1}{2}"), judge(["7", "8"], "x = 8"), judge(["(0, 1)"], "0 < x < 1")
    ('right', 'right', 'right')
    >>> judge(["0.5"], "1/3"), judge(["0.5"], r"\frac{1}{"), judge(["{"], "0.5")
    ('wrong', 'unparsable answer', 'unparsable gold')
    >>> judge(["5 km"], "5"), judge(["5 km"], "5 m"), judge(["101_2"], "101_3"), judge(["BAC"], "CAB")
    ('right', 'wrong', 'wrong', 'wrong')
    """
    targets, said = [read(gold) for gold in golds], read(prediction)
    if any(_equal(target.text, said.text) or (_units_agree(target, said) and _equal(target.value, said.value))
           for target in targets):  # fmt: skip
        return "right"
    if not any(_mathematics(target) for target in targets):
        return "unparsable gold"
    return "wrong" if _mathematics(said) else "unparsable answer"


def _units_agree(gold: Reading, said: Reading) -> bool:
    if {} in (gold.unit, said.unit):
        return gold.sure  # which it is without a unit
    return None in (gold.unit, said.unit) or gold.unit == said.unit


def _equal(gold: str, said: str) -> bool:
    if ("base" in gold) != ("base" in said):  # only one names a base: the digits decide
        gold, said = (re.sub(r"N_\{(\w+)base\d+\}", r"\1", text).replace("point", ".") for text in (gold, said))
    words = [re.fullmatch(r"\$(\\text\{)?([A-Za-z ]+)\}?\$", text) for text in (gold, said)]
    if all(words) and any(found[1] for found in words):  # letters in their order, and no product of them
        return words[0][2].replace(" ", "").lower() == words[1][2].replace(" ", "").lower()
    sides = [re.fullmatch(r"\$\s*(\\?[A-Za-z]\w*)\s*=([^=,;]+)\$", text) for text in (gold, said)]
    if all(sides) and sides[0][1] == sides[1][1]:
        gold, said = (f"${found[2]}$" for found in sides)
    if gold == said:
        return True
    return verify(parsed(gold), parsed(said), allow_set_relation_comp=True, timeout_seconds=None)


def _mathematics(reading: Reading) -> bool:
    return any(not isinstance(item, str) for text in (reading.value, reading.text) for item in parsed(text))


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
