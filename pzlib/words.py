"""The words of a text in any script, and what kind of words are behind a mask.
Leaves out dictionaries: where a script writes no blanks, Unicode's word breaks decide, in Thai by syllables."""

import re
from collections.abc import Sequence

import regex

_FUNCTION_WORDS = frozenset(
    "a an the this that these those and or but nor so yet if as than then of in on at by to from for with "
    "without into over under after before between through during about against is are was were be been "
    "being am do does did has have had can could will would shall should may might must not no it its he "
    "him his she her they them their we us our you your i me my who whom whose which what where when "
    "there here also both each such".split()
)
# Scripts that write words without blanks between them.
_NO_BLANKS = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}\p{Javanese}\p{Tai_Tham}]"
)
_BREAK = regex.compile(r"(?w)\b")  # Unicode's default word boundary (UAX 29)
_WORD = regex.compile(r"[\p{L}\p{N}_\p{M}]")  # marks belong to the letter before them: no word ends before one


def words(text: str) -> list[tuple[int, int]]:
    """(start, end) of each word of `text`, in order.

    A word is what is between blanks, without the characters around it that belong to no word; where a script writes no
    blanks, what is between two of Unicode's word breaks.

    >>> text = "It was opened, at last, in 1912."
    >>> [text[start:end] for start, end in words(text)]
    ['It', 'was', 'opened', 'at', 'last', 'in', '1912']
    >>> text = "貓坐在2008年。"
    >>> [text[start:end] for start, end in words(text)]
    ['貓', '坐', '在', '2008', '年']
    """
    found = []
    for run in re.finditer(r"\S+", text):
        start, end = run.span()
        cuts = [start, end]
        if _NO_BLANKS.search(text, start, end):
            cuts = [start, *(at for m in _BREAK.finditer(text, start, end) if start < (at := m.start()) < end), end]
        for first, last in zip(cuts, cuts[1:], strict=False):
            while first < last and not _WORD.match(text[first]):
                first += 1
            while first < last and not _WORD.match(text[last - 1]):
                last -= 1
            if first < last:
                found.append((first, last))
    return found


def inside_word(text: str, at: int) -> bool:
    """Whether the border before character `at` runs through a word.

    >>> inside_word("catalogue", 3), inside_word("貓坐", 1), inside_word("a cat", 2)
    (True, False, False)
    """
    if not (0 < at < len(text) and _WORD.match(text[at - 1]) and _WORD.match(text[at])):
        return False
    return not (_NO_BLANKS.search(text, at - 1, at + 1) and _BREAK.match(text, at))


def kind_of(text: str, kinds: Sequence[tuple[int, int, str]], masked) -> str:
    """What kind of words a MaskedPassage hides in `text`; `kinds` are its labelled spans (start, end, label).

    With labels (a synthetic world): the hardest that a replaced character bears. "irreducible" beats a
    reasoning label (the first in the text, if there are several), and that beats "trivial", as unlabelled
    characters are.
    Without labels (real text) the span itself decides: "function" if it has no words but English function
    words, else "number" if it holds a digit, else "name" if one of its other words has a capital first, else
    "other".

    >>> from pzlib.masking import apply_mask
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
    parts = [masked.target[start:end] for start, end in words(masked.target)]
    content = [word for word in parts if word.lower() not in _FUNCTION_WORDS]
    if not content:
        return "function"
    if any(char.isdigit() for char in masked.target):
        return "number"
    return "name" if any(word[0].isupper() for word in content) else "other"
