"""What counts as a right answer: final answers, option letters, BBEH's match, and mathematics with a hard time limit.
Leaves out judging by a language model (General-Reasoner's verifier); mathematics is math-verify's, see `mathtext`."""

import json
import logging
import re
import selectors
import subprocess
import sys
import threading
import time
import unicodedata
import weakref
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from pzlib.prompts import after_thought, parse_boxed
from pzlib.rewards import predictor_reward

log = logging.getLogger(__name__)

_WRAPPING = re.compile(  # what TeX and Markdown put around a letter
    r"\\(?:text|math)?color\s*\{[^{}]*\}|\\(?:text(?:bf|it|rm|sf|sc|tt|up|normal)?|math(?:bf|rm|sf|it|tt|bb|cal|normal)"
    r"|mbox|hbox|f?box|framebox|emph|underline|bold|boldsymbol|bm|pmb|ensuremath|operatorname|(?:display|text)style"
    r"|bf(?:series)?|it|rm|sf|tt|sc|[lL]arge|LARGE|[hH]uge|[bB]ig[lr]?|left|right|q?quad)(?![A-Za-z])"
    r"|\\[ ,;:!()\[\]]|[\\{}$*`~]"
)
_LEAD = (  # "The correct answer is ", "Option "
    r"(?:(?:so|thus|hence|therefore),?\s+)?(?:(?:the|my|our)\s+)?(?:(?:only|single|most|likely|final|correct|right|best)\s+)*"
    r"(?:option|choice|answer|letter)\s*(?:(?:option|choice|letter|is|would\s+be|must\s+be)\s*)*[:=]?\s*"
)
_OPTION = re.compile(
    rf"(?P<lead>(?i:{_LEAD}))?(?:(?P<lone>[A-Z])|[(\[](?P<closed>[A-Z])[)\]]|[(\[]?(?P<label>[a-z])[)\]](?=\s)"
    r"|(?P<dot>[a-z])\.(?=\s))(?P<rest>.*)",
    re.DOTALL,
)
_LOWER = re.compile(rf"(?i:{_LEAD})?[(\[]?([a-z])[)\]]?[.:]?")
_SAYS_SO = re.compile(r"\s+is\s+(?:(?:the )?(?:correct|right|best)(?: (?:option|choice|answer))?|the answer)\W*", re.I)
_FALLBACKS = [re.compile(rf"{words}[\s*]*([^\s*][^\n]*)") for words in (r"Final Answer\**:", "The answer is:")]
_STOCK_FIRST = re.compile(r"answer is \(?([A-J])\)?")
_STOCK_SECOND = re.compile(r"[aA]nswer:\s*(?=([A-J]))")  # looks ahead, for in "Answer:Answer: C" the A is no letter
_STOCK_THIRD = re.compile(r"\b[A-J]\b")
_BBEH_LEADS = ("The answer is:", "The final answer is ", "The final answer is: ", "The answer is ")

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
STARTUP = 120  # seconds; a worker imports sympy, on a machine whose cores may be taken


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is `right`, and `why`: one of WHYS."""

    why: str

    @property
    def right(self) -> bool:
        return self.why == "right"


def exact(gold: str, prediction: str | None) -> Verdict:
    """The small world's verdict: equal except for outer whitespace, the rule of `pzlib.rewards.predictor_reward`.

    >>> exact("52", " 52 ").why, exact("52", "53").why, exact("52", None).why
    ('right', 'wrong', 'no answer')
    """
    if prediction is None or not prediction.strip():
        return Verdict("no answer")
    return Verdict("right" if predictor_reward(prediction, gold) else "wrong")


def final_answer(completion: str) -> str | None:
    r"""What a completion gives as its answer: its last balanced box, else what follows "Final Answer:".

    As General-Reasoner's scripts do (eval_mmlupro.py and its neighbours): where :func:`pzlib.prompts.parse_boxed` finds
    nothing, the rest of the line after the last "Final Answer:", else after the last "The answer is:". Unlike theirs,
    that line need not end in a line break, and may begin on the next line. Outer whitespace is off; None for no answer.

    >>> final_answer(r"So $x$ is \boxed{ \frac{1}{2} }."), final_answer("**Final Answer:** 12 apples")
    ('\\frac{1}{2}', '12 apples')
    >>> final_answer(r"I get \boxed{\frac{1}{") is None
    True
    """
    if box := (parse_boxed(completion) or parse_boxed(completion, "fbox") or "").strip():
        return box
    said = after_thought(completion)
    found = next(filter(None, (fallback.findall(said) for fallback in _FALLBACKS)), None)
    return found and found[-1].rstrip("* \t\r")


def boxed_letter(completion: str, options: int = 10) -> str | None:
    r"""The option letter ("A" to at most "Z") that a completion answers a boxed prompt with, or None.

    Read from :func:`final_answer`: a letter alone, in brackets, before a full stop, or with its option's text after it;
    TeX's and Markdown's wrapping off; lower case only if it is the whole answer. Several letters, a letter beyond the
    question's `options`, or none, are not an answer. (General-Reasoner takes the first of A to J that occurs anywhere
    in the box, so that "Answer: C" would be A, and a random letter where there is none; we count those as not read.)
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
    the last "answer: X" of the first line that has one; else the last letter A to J that is a word of its own.
    `patterns` says how many are tried: 1 is their "level 1", which the paper's own runs and the harness's stock
    task use, and after which 2 adds little; the third also reads letters that were never meant as an answer (a
    variable C, a list's I). The time is linear in the length (theirs is not). A letter beyond the question's
    `options` is None.
    Errors: ValueError unless 1 <= options <= 26 and 1 <= patterns <= 3.

    >>> stock_letter("So it floats. The answer is (C). Question: ... The answer is (D)."), stock_letter("Answer: B")
    ('C', 'B')
    >>> stock_letter("By Ohm's law, V is R times I"), stock_letter("By Ohm's law, V is R times I", patterns=2)
    ('I', None)
    """
    if not 1 <= patterns <= 3:
        raise ValueError(f"patterns: {patterns} is not 1, 2 or 3; the authors have three")
    completion = after_thought(completion)
    match = _STOCK_FIRST.search(completion) or (_last_of_first_line(completion) if patterns > 1 else None)
    letters = [match[1]] if match else _STOCK_THIRD.findall(completion) if patterns > 2 else []
    return _within(letters[-1] if letters else None, options)


def bbeh_right(prediction: str, reference: str) -> bool:
    r"""Whether BBEH's evaluation takes `prediction` (a whole answer, or the answer alone) for `reference`.

    The rules of google-deepmind/bbeh, evaluate.py, on which General-Reasoner's scripts also rely. Of the prediction
    counts what follows the last "The answer is" (or "The final answer is"), its first line, without a closing full
    stop, dollars, box or text command, or bold marks. Case and spaces after commas do not matter. Then equal text
    is right; so are "(a)" for "a" and the reverse, equal numbers, text equal except for apostrophes, one of the two
    in square brackets, and a closing question mark too many.

    >>> bbeh_right("Hence ... The answer is: (B).", "B"), bbeh_right(r"\boxed{1, 2}", "1,2"), bbeh_right("[a]", "A")
    (True, True, True)
    >>> bbeh_right("7.0", "7"), bbeh_right("seven", "7")
    (True, False)
    """
    said = after_thought(prediction).strip()
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
    with suppress(ValueError):
        if float(said) == float(target):
            return True
    apart = said.replace("'", "") == target.replace("'", "")
    return apart or said in (f"[{target}]", f"{target}?") or target == f"[{said}]"


def _letter(answer: str) -> str | None:
    plain = _WRAPPING.sub("", unicodedata.normalize("NFKC", answer)).strip(" \t\r\n\"'“”‘’«»„‚´_")
    if lower := _LOWER.fullmatch(plain):
        return lower[1].upper()
    if (match := _OPTION.fullmatch(plain)) is None:
        return None
    rest = match["rest"].strip(" \t\r\"'“”‘’«»_")
    # "A dog" is no option, "A: dog" and "(A) dog" are; "A, B" and "(A) or (B)" are two.
    if match["lone"] and rest and rest[0] not in ".:,;)(-–—―=\n" and not _SAYS_SO.fullmatch(match["rest"]):
        return None
    words = re.findall(r"\w+", rest)
    label = match["label"] or match["dot"]
    single = str.isalpha if label and not {"and", "or"}.isdisjoint(words) else str.isupper
    if words and all(word in ("and", "or") or (len(word) == 1 and single(word)) for word in words):
        return None
    return (match["lone"] or match["closed"] or label).upper()


def _within(letter: str | None, options: int) -> str | None:
    if not 1 <= options <= 26:
        raise ValueError(f"options: {options} must be between 1 and 26, one a letter")
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


class _Worker:
    """One process that judges: `python -m pzlib.mathjudge`, a line of JSON for a line of JSON."""

    def __init__(self, seconds: float):
        # A module of its own. No fork: this process may hold torch, threads and a notebook's sockets. No spawn either:
        # it would import the script that started us. In a session of its own, for an interrupt is meant for us alone.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pzlib.mathjudge", str(seconds)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            cwd=Path(__file__).resolve().parent.parent, start_new_session=True,
        )  # fmt: skip

    def answer(self, line: str | None, seconds: float) -> str:
        """What the process says to `line` (None: without being asked); "timeout" if late, "crashed" if it is gone."""
        try:
            if line is not None:
                self.process.stdin.write(line + "\n")
                self.process.stdin.flush()
            with selectors.DefaultSelector() as selector:
                selector.register(self.process.stdout, selectors.EVENT_READ)
                if not selector.select(seconds):
                    return "timeout"
            word = self.process.stdout.readline()
        except (BrokenPipeError, ValueError):  # killed, or ended by `close`
            return "crashed"
        return json.loads(word) if word else "crashed"

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        with suppress(BrokenPipeError):  # what it was never sent
            self.process.stdin.close()


class MathVerifier(AbstractContextManager):
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
        self._staff: list[_Worker] = []
        self._idle: deque[_Worker] = deque()
        self._lock = threading.Lock()
        self._warned: set[tuple[str, str]] = set()
        self._end = weakref.finalize(self, _end_all, self._staff)

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Ends the workers; a later `grade` starts new ones."""
        with self._lock:
            _end_all(self._staff)

    def grade(self, golds: Sequence[str | list[str]], predictions: Sequence[str | None]) -> list[Verdict]:
        """One verdict for each gold and prediction, in their order.

        golds: the right answer, or a list of right answers of which any will do; predictions: what was extracted (None
        for nothing), bare or as a whole text, see :func:`pzlib.mathtext.read`. Equal pairs are judged once. Answers
        above MAX_CHARACTERS are refused unread.
        Errors: ValueError for unequal lengths, TypeError for what is not text, both with the item's number.
        """
        if len(golds) != len(predictions):
            raise ValueError(f"predictions: {len(predictions)} for {len(golds)} golds; give one for each")
        pairs = [_pair(i, *pair) for i, pair in enumerate(zip(golds, predictions, strict=True))]
        with self._lock:
            whys = {pair: _at_once(*pair) for pair in pairs}
            whys |= self._judge([pair for pair, why in whys.items() if why is None])
            for (targets, said), why in whys.items():
                self._warn(why, targets, said)
            self.counts.update(whys[pair] for pair in pairs)
        return [Verdict(whys[pair]) for pair in pairs]

    def _judge(self, pairs: list[tuple]) -> dict[tuple, str]:
        pool = ThreadPoolExecutor(self.workers)  # a thread for each worker, which only waits for it
        asked = [pool.submit(self._judge_one, pair) for pair in pairs]
        try:
            return {pair: future.result() for pair, future in zip(pairs, asked, strict=True)}
        except BaseException:  # an interrupt must leave no late reply behind
            pool.shutdown(wait=False, cancel_futures=True)
            # Killed until no thread waits: one may be starting a worker just now. A worker's pipe is closed after that
            # only, since who waits for a pipe that another thread closes may wait for its whole limit.
            while not all(future.done() for future in asked):
                for worker in tuple(self._staff):
                    worker.process.kill()
                time.sleep(0.02)
            _end_all(self._staff)
            raise
        finally:
            pool.shutdown()

    def _judge_one(self, pair: tuple) -> str:
        worker = self._idle.pop() if self._idle else self._hire()
        if worker.process.poll() is not None:  # it died while idle: that is no pair's fault
            self._dismiss(worker)
            return self._judge_one(pair)
        why = worker.answer(json.dumps({"golds": pair[0], "prediction": pair[1]}), self.seconds)
        if why in ("timeout", "crashed"):
            self._dismiss(worker)
        else:
            self._idle.append(worker)
        return why

    def _hire(self) -> _Worker:
        self._staff.append(worker := _Worker(self.seconds))
        if (word := worker.answer(None, STARTUP)) != "ready":
            self._dismiss(worker)
            command = f"{sys.executable} -m pzlib.mathjudge {self.seconds}"
            raise RuntimeError(f"MathVerifier: a worker could not start ({word}); see what `{command}` says")
        return worker

    def _dismiss(self, worker: _Worker) -> None:
        worker.end()
        with suppress(ValueError):  # `close` and an interrupt end all workers
            self._staff.remove(worker)

    def _warn(self, why: str, targets: tuple[str, ...], said: str | None) -> None:
        about = {"unparsable gold": "", "timeout": said, "crashed": said}.get(why)
        if about is None or (why, key := f"{targets}{about}") in self._warned:
            return
        self._warned.add((why, key))
        log.warning("%s: gold %.100s%s", why, " or ".join(map(repr, targets)), about and f", answer {about[:100]!r}")


def _end_all(staff: list[_Worker]) -> None:
    while staff:
        staff.pop().end()


def _pair(i: int, gold: object, said: object) -> tuple[tuple[str, ...], str | None]:
    if said is not None and not isinstance(said, str):
        raise TypeError(f"predictions: item {i} is {type(said).__name__}, not text; decode or convert it first")
    golds = tuple(gold) if isinstance(gold, list | tuple) else (gold,)
    if not golds or not all(isinstance(text, str) for text in golds):
        raise TypeError(f"golds: item {i} is {gold!r:.80}, not text or a list of texts; convert it first")
    return golds, said


def _at_once(targets: tuple[str, ...], said: str | None) -> str | None:
    """The verdict where none of math-verify's is needed, else None."""
    if said is None or not said.strip():
        return "no answer"
    if len(said) > MAX_CHARACTERS:
        return "too long"
    if not all(target.strip() and len(target) <= MAX_CHARACTERS for target in targets):
        return "unparsable gold"
    return "right" if said.strip() in map(str.strip, targets) else None
