"""Verdicts on answers: exact match for the small world, math-verify in worker processes with a hard time limit.
Left out: General-Reasoner's generative verifier (a model of 1.5 billion parameters), and extraction (`answers`)."""

from __future__ import annotations

import logging
import sys
import threading
import weakref
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

from pzlib.grading_process import Worker, listen
from pzlib.mathtext import as_math
from pzlib.rewards import predictor_reward

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
        for nothing), bare or as a whole text, see :func:`pzlib.mathtext.as_math`. Equal pairs are judged once. Answers
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
                                f"see what `{sys.executable} -m pzlib.grading_worker 5` says"
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
