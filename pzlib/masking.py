"""From a passage and a span to the masked passage: what is legal, what is replaced; and spans at random places.
Left out of the paper: what becomes of an illegal mask (see `pzlib.objectives.pretrainzero`)."""

import random
from dataclasses import dataclass

from pzlib.prompts import parse_boxed
from pzlib.words import inside_word, words

MASK = "[mask]"  # PretrainZero Fig. 5
MAX_OCCURRENCES = 7  # a span that occurs more often is no mask: "fewer than 8" (PretrainZero sec. 4.4)
RULES = ("all", "one", "words")
_REDRAWS = 8


@dataclass(frozen=True)
class Passage:
    """A text to be masked. `length` counts tokens (words where no tokenizer was given).

    kinds: (start, end, label) character spans labelled by a synthetic world; empty for real text.
    """

    id: str
    title: str
    text: str
    length: int
    kinds: tuple[tuple[int, int, str], ...] = ()


@dataclass(frozen=True)
class MaskedPassage:
    """A passage with a span hidden, and the span.

    text: the passage with ``[mask]`` in the span's place. target: the span, character for character. count: how often
    the span occurs in the passage under the rule (rule "one" replaces one of them). span_starts: character offsets, in
    the original passage, of the replaced occurrences.
    """

    text: str
    target: str
    count: int
    span_starts: tuple[int, ...]


def apply_mask(
    text: str, span: str, rule: str = "all", rng: random.Random | None = None, most: int = MAX_OCCURRENCES
) -> MaskedPassage | None:
    """The passage `text` with `span` masked, or None where that mask is not legal.

    Legal is a span, not blank, that occurs in the passage 1 to `most` times. It is matched exactly: case, spaces and
    Unicode form matter; overlaps are counted as `str.count` does. The rules are the paper's default and its two
    ablations (sec. 4.4, Fig. 10b):

    * "all": every occurrence is replaced, inside words too. A name masked in every place leaves no clue to itself, so
      what can be deduced is mostly a word that occurs once.
    * "one": one occurrence is replaced, drawn by `rng`; without it the draw is fixed by text and span.
    * "words": only occurrences that cover complete words (`pzlib.words`) are counted, and all of those are replaced.

    Errors: ValueError for another rule.

    >>> apply_mask("The cat saw the catalogue .", "cat")
    MaskedPassage(text='The [mask] saw the [mask]alogue .', target='cat', count=2, span_starts=(4, 16))
    >>> apply_mask("The cat saw the catalogue .", "cat", rule="words").text
    'The [mask] saw the catalogue .'
    >>> apply_mask("The cat saw the catalogue .", "dog") is None
    True
    """
    if rule not in RULES:
        raise ValueError(f"rule: {rule!r} is not a mask rule; choose one of {', '.join(RULES)}")
    if not span.strip():  # a blank target would be matched by a blank answer
        return None
    starts = _occurrences(text, span, rule == "words", most)
    if not 1 <= len(starts) <= most:
        return None
    count = len(starts)
    if rule == "one":
        rng = rng or random.Random(f"{text}\0{span}".encode("utf-8", "surrogatepass"))
        starts = [rng.choice(starts)]
    pieces, at = [], 0
    for start in starts:
        pieces += [text[at:start], MASK]
        at = start + len(span)
    return MaskedPassage("".join(pieces) + text[at:], span, count, tuple(starts))


def random_span(text: str, rng: random.Random, max_words: int, most: int = MAX_OCCURRENCES) -> str | None:
    """A span of the passive baseline "Random Masked Span" (PretrainZero sec. 3.1): words at a random place.

    The number of words is uniform on 1..max_words (at most the passage's own), then the place is uniform. The span is
    returned exactly as in the text. One that no answer could be right on, since it occurs more than `most` times or no
    box can hold its braces, is drawn again, a few times. None where there is no word or every draw was so. Errors:
    ValueError for max_words below 1.

    >>> random_span("It was opened, at last, in 1912.", random.Random(5), max_words=3)
    'opened, at last'
    """
    if max_words < 1:
        raise ValueError(f"max_words: must be at least 1, got {max_words}")
    found = words(text)
    if not found:
        return None
    for _ in range(_REDRAWS):
        length = rng.randint(1, min(max_words, len(found)))
        first = rng.randint(0, len(found) - length)
        span = text[found[first][0] : found[first + length - 1][1]]
        if text.count(span) <= most and fits_a_box(span):
            return span
    return None


def fits_a_box(span: str) -> bool:
    r"""Whether an answer that boxes the span is read back as the span.

    >>> fits_a_box(r"\mathcal{C}"), fits_a_box(r"C}_{k")
    (True, False)
    """
    return parse_boxed(f"\\boxed{{{span}}}") == span


def _occurrences(text: str, span: str, whole_words: bool, most: int) -> list[int]:
    """Where `span` begins in `text`, left to right, not overlapping; no more than make it illegal."""
    starts, at = [], text.find(span)
    while at >= 0 and len(starts) <= most:
        complete = not whole_words or not (inside_word(text, at) or inside_word(text, at + len(span)))
        if complete:
            starts.append(at)
        at = text.find(span, at + (len(span) if complete else 1))
    return starts
