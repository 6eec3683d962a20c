"""From a passage and a span to the masked passage: what is legal, what is replaced, what kind of word it was.
Left out of the paper: what becomes of an illegal mask (see `game`), and spans chosen by entropy.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

MASK = "[mask]"  # PretrainZero Fig. 5

MAX_OCCURRENCES = 8  # a span that stands this often, or more often, is no mask (PretrainZero sec. 4.4)

RULES = ("all", "one", "words")

_REDRAWS = 8

_FUNCTION_WORDS = frozenset(
    "a an the this that these those and or but nor so yet if as than then of in on at by to from for with "
    "without into over under after before between through during about against is are was were be been "
    "being am do does did has have had can could will would shall should may might must not no it its he "
    "him his she her they them their we us our you your i me my who whom whose which what where when "
    "there here also both each such".split()
)



@dataclass(frozen=True)
class MaskedPassage:
    """A passage with a span hidden, and the span.

    text: the passage with ``[mask]`` in the span's place. target: the span, character for character.
    count: how often the span stands in the passage under the rule (rule "one" replaces one of them).
    span_starts: character offsets, in the original passage, of the replaced occurrences.
    """

    text: str
    target: str
    count: int
    span_starts: tuple[int, ...]



def apply_mask(
    text: str, span: str, rule: str = "all", rng: random.Random | None = None
) -> MaskedPassage | None:
    """The passage `text` with `span` masked, or None where that mask is not legal.

    Legal is a span, not blank, that stands in the passage 1 to 7 times (PretrainZero sec. 4.4: fewer than 8).
    It is matched exactly: case, spaces and Unicode form matter; overlaps are counted as `str.count` does.
    The rules are the paper's default and its two ablations (sec. 4.4, Fig. 10b):

    * "all": every occurrence is replaced, inside words too. A name masked in every place leaves no clue to
      itself, so what can be deduced is mostly a word that stands once.
    * "one": one occurrence is replaced, drawn by `rng`; without it the draw is fixed by text and span.
    * "words": only occurrences that cover complete words are counted, and all of those are replaced. A word
      is a run of letters, digits, underscores and combining marks, also where no spaces are written.

    Errors: ValueError for another rule.

    >>> apply_mask("The cat saw the catalogue .", "cat")
    MaskedPassage(text='The [mask] saw the [mask]alogue .', target='cat', count=2, span_starts=(4, 16))
    >>> apply_mask("The cat saw the catalogue .", "cat", rule="words").text
    'The [mask] saw the catalogue .'
    >>> apply_mask("The cat saw the catalogue .", "cat", rule="one", rng=random.Random(1)).text
    'The [mask] saw the catalogue .'
    >>> apply_mask("The cat saw the catalogue .", "dog") is None
    True
    """
    if rule not in RULES:
        raise ValueError(f"rule: {rule!r} is not a mask rule; choose one of {', '.join(RULES)}")
    if not span.strip():  # a blank target would be matched by a blank answer
        return None
    starts = _occurrences(text, span, whole_words=rule == "words")
    if not 1 <= len(starts) < MAX_OCCURRENCES:
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



def random_span(text: str, rng: random.Random, max_words: int) -> str | None:
    """A span of the passive baseline "Random Masked Span" (PretrainZero sec. 3.1): words at a random place.

    The number of words is uniform on 1..max_words (at most the passage's own), then the place is uniform. A
    word is what stands between spaces, without the punctuation around it; the span is returned exactly as in
    the text, and is legal under every rule. One that stands 8 times or more is drawn again, a few times.
    None where there is no word or every draw was that frequent. Errors: ValueError for max_words below 1.

    >>> random_span("It was opened, at last, in 1912.", random.Random(5), max_words=3)
    'opened, at last'
    """
    if max_words < 1:
        raise ValueError(f"max_words: must be at least 1, got {max_words}")
    words = _words(text)
    if not words:
        return None
    for _ in range(_REDRAWS):
        length = rng.randint(1, min(max_words, len(words)))
        first = rng.randint(0, len(words) - length)
        span = text[words[first][0] : words[first + length - 1][1]]
        if text.count(span) < MAX_OCCURRENCES:
            return span
    return None



def kind_of(text: str, kinds: Sequence[tuple[int, int, str]], masked: MaskedPassage) -> str:
    """What kind of words the mask hides in `text`; `kinds` are its labelled spans (start, end, label).

    With labels (a synthetic world): the hardest that a replaced character bears. "irreducible" beats a
    reasoning label (the first in the text, if there are several), and that beats "trivial", as unlabelled
    characters are.
    Without labels (real text) the span itself decides: "function" if it has no words but English function
    words, else "number" if it holds a digit, else "name" if one of its other words has a capital first, else
    "other".

    >>> text = "Its code is K7 and 2 + 3 is 5 ."
    >>> kinds = [(12, 14, "irreducible"), (28, 29, "sum")]
    >>> [kind_of(text, kinds, apply_mask(text, span)) for span in ("K7 and", "is 5", "code")]
    ['irreducible', 'sum', 'trivial']
    >>> text = "It flows to the Rhine since 1912"
    >>> [kind_of(text, (), apply_mask(text, span)) for span in ("to the", "since 1912", "the Rhine", "flows")]
    ['function', 'number', 'name', 'other']
    """
    if kinds:
        size, starts = len(masked.target), masked.span_starts
        touched = [kind for s, e, kind in sorted(kinds) if any(s < at + size and at < e for at in starts)]
        if "irreducible" in touched:
            return "irreducible"
        return next((kind for kind in touched if kind != "trivial"), "trivial")
    words = [masked.target[start:end] for start, end in _words(masked.target)]
    content = [word for word in words if word.lower() not in _FUNCTION_WORDS]
    if not content:
        return "function"
    if any(char.isdigit() for char in masked.target):
        return "number"
    return "name" if any(word[0].isupper() for word in content) else "other"



def _occurrences(text: str, span: str, whole_words: bool) -> list[int]:
    """Where `span` starts in `text`, left to right, not overlapping; no more than make it illegal."""
    starts, at = [], text.find(span)
    while at >= 0 and len(starts) < MAX_OCCURRENCES:
        complete = not whole_words or not (_inside_word(text, at) or _inside_word(text, at + len(span)))
        if complete:
            starts.append(at)
        at = text.find(span, at + (len(span) if complete else 1))
    return starts



def _inside_word(text: str, at: int) -> bool:
    """Whether the border before character `at` runs through a word."""
    return 0 < at < len(text) and _is_word_char(text[at - 1]) and _is_word_char(text[at])



def _is_word_char(char: str) -> bool:
    # Combining marks belong to the letter before them: "e" + U+0301 must not end a word in its middle.
    return char.isalnum() or char == "_" or unicodedata.category(char)[0] == "M"



def _words(text: str) -> list[tuple[int, int]]:
    """(start, end) of each run between spaces, without the characters around it that belong to no word."""
    words = []
    for run in re.finditer(r"\S+", text):
        start, end = run.span()
        while start < end and not _is_word_char(text[start]):
            start += 1
        while start < end and not _is_word_char(text[end - 1]):
            end -= 1
        if start < end:
            words.append((start, end))
    return words


@dataclass(frozen=True)
class Passage:
    """A text to be masked. `length` is in tokens (in words where no tokenizer was given).

    kinds: (start, end, label) character spans labelled by a synthetic world; empty for real text.
    """

    id: str
    title: str
    text: str
    length: int
    kinds: tuple[tuple[int, int, str], ...] = ()
