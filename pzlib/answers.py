r"""The answer that a completion gives, as text: an option's letter, or what its last box holds; and BBEH's own match.
Left out: the papers' random letter where nothing was read (that is the evaluation's choice), and judging mathematics.
"""

from __future__ import annotations

import re

from pzlib.prompts import parse_boxed

_WRAPPING = re.compile(  # what TeX and Markdown put around a letter
    r"\\(?:text(?:bf|it|rm|sf|tt)?|math(?:bf|rm|sf|it)|mbox|boldsymbol|bm|left|right)(?![A-Za-z])|\\[ ,;!]|[\\{}$*`]"
)
_OPTION = re.compile(
    r"(?:(?:the\s+)?(?:correct\s+)?(?i:option|choice|answer)\s*(?:is)?\s*:?\s*)?"
    r"(?:(?P<lone>[A-Z])|[(\[](?P<closed>[A-Z])[)\]])(?P<rest>.*)",
    re.DOTALL,
)
_LOWER = re.compile(r"[(\[]?([a-z])[)\]]?[.:]?")
_FALLBACKS = [re.compile(rf"{words}[\s*]*([^\s*][^\n]*)") for words in (r"Final Answer\**:", "The answer is:")]

_STOCK_FIRST = re.compile(r"answer is \(?([A-J])\)?")
_STOCK_SECOND = re.compile(r"[aA]nswer:\s*(?=([A-J]))")  # looks ahead, for in "Answer:Answer: C" the A is no letter
_STOCK_THIRD = re.compile(r"\b[A-J]\b")
_BBEH_LEADS = ("The answer is:", "The final answer is ", "The final answer is: ", "The answer is ")


def final_answer(completion: str) -> str | None:
    r"""What a completion gives as its answer: its last balanced box, else what follows "Final Answer:".

    As General-Reasoner's scripts do (eval_mmlupro.py and its neighbours): the last ``\boxed{}`` (see
    :func:`pzlib.prompts.parse_boxed`: only what follows ``</think>``), and where there is none, or an empty one, the
    rest of the line after the last "Final Answer:", else after the last "The answer is:". Unlike theirs, the line need
    not end in a line break, and may begin on the next line. Outer whitespace is off; None where there is no answer.

    >>> final_answer(r"So $x$ is \boxed{ \frac{1}{2} }."), final_answer("**Final Answer:** 12 apples")
    ('\\frac{1}{2}', '12 apples')
    >>> final_answer(r"I get \boxed{\frac{1}{") is None
    True
    """
    box = (parse_boxed(completion) or "").strip()
    if box:
        return box
    said = completion.rpartition("</think>")[2]
    for fallback in _FALLBACKS:
        found = fallback.findall(said)
        if found:
            return found[-1].rstrip("* \t\r")
    return None


def boxed_letter(completion: str, options: int = 10) -> str | None:
    r"""The option letter ("A" to at most "Z") that a completion answers a boxed prompt with, or None.

    Read from :func:`final_answer`: a letter alone, in brackets, before a full stop, or with its option's text after it;
    TeX's and Markdown's wrapping off; lower case only if it is the whole answer. Several letters, a letter beyond the
    question's `options`, or none, are no answer. (General-Reasoner takes the first of A to J that occurs anywhere in
    the box, so that "Answer: C" would be A, and a random letter where there is none; we count those as not read.)
    Errors: ValueError unless 1 <= options <= 26.

    >>> [boxed_letter(rf"\boxed{{{box}}}") for box in (r"\text{(C)}", "c", "D.", "B: 12 m/s", "A dog", "A or B", "K")]
    ['C', 'C', 'D', 'B', None, None, None]
    >>> boxed_letter("**Final Answer**: (C)"), boxed_letter(r"\boxed{E}", options=4)
    ('C', None)
    """
    answer = final_answer(completion)
    return None if answer is None else _within(_letter(answer), options)


def stock_letter(completion: str, options: int = 10, patterns: int = 3) -> str | None:
    """The option letter that MMLU-Pro's authors read in an answer to their few-shot prompt, or None.

    Their patterns in order (TIGER-AI-Lab/MMLU-Pro, compute_accuracy.py, "level 2"): the first "answer is (X)"; else
    the last "answer: X" of the first line that has one; else the last letter A to J that stands alone. `patterns` says
    how many are tried: 1 is their "level 1", which the paper's own runs and the harness's stock task use, and after
    which 2 adds little; the third also reads letters that were never meant as an answer (a variable C, a list's I).
    The time is linear in the length (theirs is not). A letter beyond the question's `options` is None.
    Errors: ValueError unless 1 <= options <= 26 and 1 <= patterns <= 3.

    >>> stock_letter("So it floats. The answer is (C). Question: ... The answer is (D)."), stock_letter("Answer: B")
    ('C', 'B')
    >>> stock_letter("By Ohm's law, V is R times I"), stock_letter("By Ohm's law, V is R times I", patterns=2)
    ('I', None)
    """
    if not 1 <= patterns <= 3:
        raise ValueError(f"patterns: {patterns} is not 1, 2 or 3; the authors have three")
    match = _STOCK_FIRST.search(completion)
    if match is None and patterns > 1:
        match = _last_of_first_line(completion)
    if match is not None:
        return _within(match[1], options)
    letters = _STOCK_THIRD.findall(completion) if patterns > 2 else []
    return _within(letters[-1] if letters else None, options)


def bbeh_right(prediction: str, reference: str) -> bool:
    r"""Whether BBEH's evaluation takes `prediction` (a whole answer, or the answer alone) for `reference`.

    The rules of google-deepmind/bbeh, evaluate.py, on which General-Reasoner's scripts also rely. Of the prediction
    counts what follows the last "The answer is" (or "The final answer is"), its first line, without a closing full
    stop, dollars, box or text command, or bold marks. Case and spaces after commas do not matter. Then equal text
    is right; so are "(a)" for "a" and the reverse, equal numbers, text equal but for apostrophes, one of the two
    in square brackets, and a closing question mark too many.

    >>> bbeh_right("Hence ... The answer is: (B).", "B"), bbeh_right(r"\boxed{1, 2}", "1,2"), bbeh_right("[a]", "A")
    (True, True, True)
    >>> bbeh_right("7.0", "7"), bbeh_right("seven", "7")
    (True, False)
    """
    said = prediction.strip()
    for lead in _BBEH_LEADS:
        said = said.rpartition(lead)[2].strip()
    said = _without_tex(said.removesuffix(".")).lower().replace(", ", ",").replace("**", "")
    said = said.split("\n")[0].removesuffix(".")
    target = reference.strip().lower().replace(", ", ",")
    if said == target:
        return True
    for one, other in ((said, target), (target, said)):
        if len(one) == 3 and one[0] == "(" and one[2] == ")":
            return one[1] == other
    return (
        _number(said) == _number(target) is not None
        or said.replace("'", "") == target.replace("'", "")
        or said == f"[{target}]"
        or target == f"[{said}]"
        or said == f"{target}?"
    )


def _letter(answer: str) -> str | None:
    plain = _WRAPPING.sub("", answer).strip(" \t\r\n\"'~")
    lower = _LOWER.fullmatch(plain)
    if lower:
        return lower[1].upper()
    match = _OPTION.fullmatch(plain)
    if match is None:
        return None
    rest = match["rest"].strip()
    # "A dog" is no option, "A: dog" and "(A) dog" are; "A, B" and "(A) or (B)" are two.
    if match["lone"] and rest and rest[0] not in ".:,;)-–":
        return None
    words = re.findall(r"\w+", rest)
    if words and all(word in ("and", "or") or (len(word) == 1 and word.isupper()) for word in words):
        return None
    return match["lone"] or match["closed"]


def _within(letter: str | None, options: int) -> str | None:
    if not 1 <= options <= 26:
        raise ValueError(f"options: {options} must lie between 1 and 26, one a letter")
    return letter if letter is not None and ord(letter) - ord("A") < options else None


def _last_of_first_line(text: str) -> re.Match[str] | None:
    # What r'.*[aA]nswer:\s*([A-J])' finds: `.` stays within the line, and is as long as can be.
    found = None
    for match in _STOCK_SECOND.finditer(text):
        if found is not None and text.find("\n", found.start(), match.start()) >= 0:
            break
        found = match
    return found


def _without_tex(text: str) -> str:
    if text.startswith("$") and text.endswith("$"):
        text = text[1:-1]
    for command in ("boxed{", "text{", "texttt{"):
        if command in text and text.endswith("}"):
            text = text[:-1].split(command)[1]
    return text


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
