"""math-verify in a process of its own, which `pzlib.verify` may kill: items in, verdicts out, a line of JSON each.
Leaves out all bookkeeping; and math-verify's own alarms, which could not interrupt a long multiplication anyway."""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import selectors
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

from pzlib.prompts import parse_boxed
from pzlib.rewards import predictor_reward

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


STARTUP = 120  # seconds; a worker imports sympy, on a machine whose cores may be taken



class Worker:
    """One process of `pzlib.verify`: starting, free, or until it is due at work on a pair."""

    def __init__(self, seconds: float):
        # A module of its own and no fork: this process may hold torch, threads and a notebook's sockets. In a session
        # of its own, for an interrupt is meant for us alone.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pzlib.verify", str(seconds)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            cwd=Path(__file__).resolve().parent.parent, start_new_session=True,
        )  # fmt: skip
        self.ready, self.pair, self.due = False, None, time.monotonic() + STARTUP
        self.heard = b""

    @property
    def free(self) -> bool:
        return self.ready and self.pair is None

    def take(self, pair: tuple, seconds: float) -> bool:
        """Sends a pair to judge; False if the process is gone."""
        line = json.dumps({"golds": pair[0], "prediction": pair[1]}) + "\n"
        self.pair, self.due = pair, time.monotonic() + seconds
        try:
            self.process.stdin.write(line.encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            return False
        return True

    def hear(self) -> str | None:
        """What the process says, None while the line is not whole, "crashed" if it is gone."""
        chunk = os.read(self.process.stdout.fileno(), 4096)
        self.heard += chunk
        if not chunk:
            return "crashed"
        if not self.heard.endswith(b"\n"):
            return None
        word, self.heard = json.loads(self.heard), b""
        return word

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdout, self.process.stdin):
            try:
                pipe.close()
            except BrokenPipeError:  # what it was never sent
                pass



def listen(staff: list[Worker]) -> list[tuple[Worker, str]]:
    """Waits until a worker that is not free has said a word or is late: (worker, word), "timeout" for the late."""
    busy = [worker for worker in staff if not worker.free]
    with selectors.DefaultSelector() as selector:
        for worker in busy:
            selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
        due = min(worker.due for worker in busy)
        spoke = [key.data for key, _ in selector.select(max(0.0, due - time.monotonic()))]
    words = [(worker, worker.hear()) for worker in spoke]
    late = [worker for worker in busy if worker not in spoke and worker.due <= time.monotonic()]
    return [(worker, word) for worker, word in words if word] + [(worker, "timeout") for worker in late]


WHYS = (
    "right",
    "wrong",
    "no answer",  # None or blank: nothing was extracted
    "unparsable answer",  # math-verify finds no mathematics in it
    "unparsable gold",  # nor in the gold: the answer is not judged, unless it is the gold to the letter
    "timeout",
    "too long",  # above MAX_CHARACTERS, not looked at
    "crashed",  # its worker died: out of memory, or worse
)

MAX_CHARACTERS = 20_000

log = logging.getLogger(__name__)



@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right, and `why`: one of WHYS, "right" if and only if it is."""

    right: bool
    why: str

    def __post_init__(self):
        if self.why not in WHYS or self.right != (self.why == "right"):
            raise ValueError(f"why: {self.why!r} does not go with right={self.right}; known: {', '.join(WHYS)}")



def exact(gold: str, prediction: str | None) -> Verdict:
    """The small world's verdict: equal but for outer whitespace, the rule of `pzlib.rewards.predictor_reward`.

    >>> exact("52", " 52 ").why, exact("52", "53").why, exact("52", None).why
    ('right', 'wrong', 'no answer')
    """
    if prediction is None or not prediction.strip():
        return _verdict("no answer")
    return _verdict("right" if predictor_reward(prediction, gold) else "wrong")



class MathVerifier:
    r"""Grades mathematical answers by math-verify, in `workers` processes that may take `seconds` for an answer each.

    A worker that takes longer is killed and replaced, as is one that dies; that costs the one answer and no other.
    Workers start when first needed, hold at most 1 GiB, and end with `close` (or the `with` block), with the verifier,
    or with this process, however it ends. Any thread may call `grade`, in a notebook too; calls wait for each other.

    `counts` adds up the verdicts by `why` over the verifier's life. A gold that cannot be parsed, an answer that timed
    out and one whose worker died are also logged as warnings, once each.
    Errors: ValueError unless workers >= 1 and seconds > 0; RuntimeError if a worker can't be started.

    >>> with MathVerifier(workers=1) as verifier:
    ...     verdicts = verifier.grade([r"\frac{1}{2}", ["4", "5"], "7"], ["0.5", r"So $x = \boxed{5}$.", None])
    >>> [verdict.why for verdict in verdicts]
    ['right', 'right', 'no answer']
    """

    def __init__(self, workers: int = 2, seconds: float = 5.0):
        if workers < 1:
            raise ValueError(f"workers: {workers} processes grade nothing; give at least 1")
        if not seconds > 0:
            raise ValueError(f"seconds: {seconds} leaves no time for an answer; give more than 0")
        self.workers, self.seconds = workers, seconds
        self.counts: Counter[str] = Counter()
        self._staff: list[Worker] = []
        self._lock = threading.Lock()
        self._warned: set[tuple[str, str]] = set()
        self._end = weakref.finalize(self, _end_all, self._staff)

    def __enter__(self) -> MathVerifier:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Ends the workers; a later `grade` starts new ones."""
        with self._lock:
            _end_all(self._staff)

    def grade(self, golds: Sequence[str | list[str]], predictions: Sequence[str | None]) -> list[Verdict]:
        """One verdict for each gold and prediction, in their order.

        golds: the right answer, or a list of right answers of which any will do; predictions: what was extracted (None
        for nothing), bare or as a whole text, see :func:`pzlib.verify.as_math`. Equal pairs are judged once. Answers
        above MAX_CHARACTERS are refused unread.
        Errors: ValueError for unequal lengths, TypeError for what is no text, both with the item's number.
        """
        if len(golds) != len(predictions):
            raise ValueError(f"predictions: {len(predictions)} for {len(golds)} golds; give one for each")
        paired = zip(golds, predictions, strict=True)
        pairs = [(_texts(i, gold), _text(i, said)) for i, (gold, said) in enumerate(paired)]
        with self._lock:
            whys = {pair: _at_once(*pair) for pair in pairs}
            whys |= self._judge([pair for pair, why in whys.items() if why is None])
            for (targets, said), why in whys.items():
                self._warn(why, targets, said)
            self.counts.update(whys[pair] for pair in pairs)
        return [_verdict(whys[pair]) for pair in pairs]

    def _judge(self, pairs: list[tuple]) -> dict[tuple, str]:
        waiting, whys = deque(pairs), {}
        try:
            while len(whys) < len(pairs):
                for worker in [worker for worker in self._staff if worker.free][: len(waiting)]:
                    if worker.take(waiting[0], self.seconds):
                        waiting.popleft()
                    else:
                        self._dismiss(worker)  # it died while idle: that is no pair's fault
                wanted = min(self.workers, len(pairs) - len(whys))
                self._staff.extend(Worker(self.seconds) for _ in range(wanted - len(self._staff)))
                for worker, word in listen(self._staff):
                    if word in ("timeout", "crashed"):
                        self._dismiss(worker)
                        if not worker.ready:
                            raise RuntimeError(
                                f"MathVerifier: a worker could not start ({word}); "
                                f"see what `{sys.executable} -m pzlib.verify 5` says"
                            )
                    if worker.pair is not None:
                        whys[worker.pair] = word
                    worker.ready, worker.pair = True, None
        finally:  # an interrupt must leave no late reply behind
            for worker in [worker for worker in self._staff if worker.pair is not None]:
                self._dismiss(worker)
        return whys

    def _dismiss(self, worker: Worker) -> None:
        self._staff.remove(worker)
        worker.end()

    def _warn(self, why: str, targets: tuple[str, ...], said: str | None) -> None:
        about = {"unparsable gold": "", "timeout": said, "crashed": said}.get(why)
        if about is None or (why, key := f"{targets}{about}") in self._warned:
            return
        self._warned.add((why, key))
        log.warning("%s: gold %.100s%s", why, " or ".join(map(repr, targets)), about and f", answer {about[:100]!r}")



def _end_all(staff: list[Worker]) -> None:
    while staff:
        staff.pop().end()



def _verdict(why: str) -> Verdict:
    return Verdict(why == "right", why)



def _text(i: int, said: object) -> str | None:
    if said is not None and not isinstance(said, str):
        raise TypeError(f"predictions: item {i} is {type(said).__name__}, not text; decode or convert it first")
    return said



def _texts(i: int, gold: object) -> tuple[str, ...]:
    golds = tuple(gold) if isinstance(gold, list | tuple) else (gold,)
    if not golds or not all(isinstance(text, str) for text in golds):
        raise TypeError(f"golds: item {i} is {gold!r:.80}, not text or a list of texts; convert it first")
    return golds



def _at_once(targets: tuple[str, ...], said: str | None) -> str | None:
    """The verdict where none of math-verify's is needed, else None."""
    if said is None or not said.strip():
        return "no answer"
    if len(said) > MAX_CHARACTERS:
        return "too long"
    if not all(target.strip() and len(target) <= MAX_CHARACTERS for target in targets):
        return "unparsable gold"
    return "right" if as_math(said) in map(as_math, targets) else None


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
