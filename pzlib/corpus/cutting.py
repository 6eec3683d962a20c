"""Paragraphs to pieces of a length in tokens, cut between sentences, never within one; all loss is counted.
Left out: the paper's own segmentation of Wikipedia (PretrainZero sec. 4.1), which is unknown."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import accumulate

# Formulas, by pandoc's rule for dollars: no space inside, no digit after ("$5 and $6" is money).
_FORMULA = re.compile(
    r"\$\$.+?\$\$|(?<![\\$\w])\$(?=[^\s$])(?:\\.|[^$\\])*?(?<=[^\s])\$(?!\d)|\\\[.+?\\\]|\\\(.+?\\\)"
    r"|\\begin\{(equation|align|gather|multline)(\*?)\}.+?\\end\{\1\2\}",
    re.DOTALL,
)
_WIDE_STOP = re.compile("[。！？।۔]")  # stops without a space after them, which syntok does not cut at
_ENDED = re.compile(r"""[.!?…。！？।۔؟]["'”’»)\]}$*_\s]*$""")
_TORN = re.compile(r"\(\s*[;,)]|\s[,.;](?=\s)|\(\s\S|</?(?:ref|br|div|span|su[bp])\b|\[ ?\[[^\W\d]")
_APART, _JOINED = re.compile(r"\s[,.;](?=\s|$)"), re.compile(r"\S[,.;](?=\s|$)")

# Private signs that markup leaves for the rules of prose.
HOLE = "\ufffc"  # what cannot be rendered here: its paragraph is dropped, not shown with a gap
SECTION = "\ue002"
LIST = "\ue003"  # in the place of a list item, which is not prose
_WIDE = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u31ff\u3400-\u9fff\uf900-\ufaff\uff01-\uff60\U00020000-\U0003ffff"
)
_WRAP = re.compile(rf"(?<=[{_WIDE}])[ \t]*\n[ \t]*(?=[{_WIDE}])")  # scripts that write no blanks between words

_HALF = re.compile("[\ud800-\udfff]")
_BLANK = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_INVISIBLE = re.compile(
    "[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
    "|(?<![^\\x00-\u024f\u2000-\u206f])[\u200c\u200d]"
)
HEADING_WORDS = 6  # Wikipedia extracts end their headings with a full stop: "Early life and work."


def whole(text: str) -> str:
    """The text with a replacement character for each half of a surrogate pair, which no file can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if _HALF.search(text) else text


def normal_form(text: str) -> str:
    """The text in Unicode's form C, without invisible characters, and with a plain blank for any other.

    Joiners stay where scripts need them, as in Persian; after a Latin letter they are invisible.

    >>> normal_form("cafe\\u0301\\u00a0soft\\u00adly")
    'café softly'
    """
    return unicodedata.normalize("NFC", _BLANK.sub(" ", _INVISIBLE.sub("", whole(text))))


def unwrapped(text: str) -> str:
    """Hard-wrapped lines as one, joined by a blank where the script writes blanks.

    >>> unwrapped("One line\\nand its rest."), unwrapped("貓坐在墊\\n子上。")
    ('One line and its rest.', '貓坐在墊子上。')
    """
    return _WRAP.sub("", text).replace("\n", " ")


def tidy(text: str) -> str:
    """A paragraph of markup on one line: one space between words, none before a stop."""
    return re.sub(r" +([,.;:?!)])(?=\s|$)", r"\1", " ".join(unwrapped(text).split()))


def blocks(text: str) -> list[str]:
    """Paragraphs of a text file: blocks between blank lines, their hard-wrapped lines joined.

    >>> blocks("One line\\nand its rest.\\n\\nTwo.")
    ['One line and its rest.', 'Two.']
    """
    return [unwrapped(part).strip() for part in re.split(r"\n\s*\n", text.replace("\r\n", "\n").strip())]


def lines(text: str) -> list[str]:
    """Paragraphs of one record: its lines, as in Wikipedia extracts, or blank-line blocks if hard-wrapped.

    >>> lines("One.\\nTwo.")
    ['One.', 'Two.']
    """
    parts = [part.strip() for part in text.strip().split("\n")]
    if "" in parts and max(map(len, parts)) <= 100:
        return blocks(text)
    return [part for part in parts if part]


class Cutter:
    """Cuts articles to pieces of `low` to `high` tokens (words without a tokenizer), counting in `report`."""

    def __init__(self, tokenizer, low: int, high: int, report: Counter):
        self.tokenizer, self.low, self.high, self.report = tokenizer, low, high, report
        self.longest = 0  # of the pieces that were too short, for an error message

    def count(self, text: str) -> int:
        if self.tokenizer is None:
            return len(text.split())
        return len(self.tokenizer.encode(text, add_special_tokens=False, verbose=False))

    def fits(self, length: int) -> bool:
        self.report["too_short"] += length < self.low
        self.report["too_long"] += length > self.high
        if length < self.low:
            self.longest = max(self.longest, length)
        return self.low <= length <= self.high

    def cut(self, paragraphs: list[str]) -> Iterator[tuple[str, int]]:
        """(piece, length) of one article in order; an empty paragraph is a section break, never bridged."""
        return self.joined(self.pieces(paragraphs))

    def pieces(self, paragraphs: list[str]) -> Iterator[tuple[str, int] | None]:
        """Pieces of at most `high` tokens, in order; None where the text is broken."""
        several = sum(map(bool, paragraphs)) > 1  # a text of one paragraph is taken at its word
        for paragraph in paragraphs:
            torn = "torn" if several and _torn(paragraph) else ""
            if left_out := "unrendered" if HOLE in paragraph else "lists" if LIST in paragraph else torn:
                self.report[left_out] += 1
                yield None
                continue
            sentences = _sentences(paragraph)
            whole = len(sentences)
            if several:
                while sentences and not sentences[-1][1]:
                    sentences.pop()
                if len(sentences) == 1 and len(paragraph.split()) <= HEADING_WORDS and paragraph[-1] == ".":
                    sentences.pop()
                self.report["not_prose"] += whole - len(sentences)
            pieces = list(self.halved([sentence for sentence, _ in sentences]))
            self.report["cut"] += len(pieces) > 1
            yield from pieces
            if len(sentences) < whole or not sentences:
                yield None

    def halved(self, sentences: list[str]) -> Iterator[tuple[str, int] | None]:
        """The sentences as one piece, or halved until each fits, so that no tiny rest is left."""
        text = "".join(sentences).strip()
        length = self.count(text)
        if length <= self.high:
            if text:
                yield text, length
        elif len(sentences) == 1:
            self.report["too_long"] += 1
            yield None
        else:
            off = [abs(2 * end - len(text)) for end in accumulate(map(len, sentences[:-1]))]
            middle = off.index(min(off)) + 1
            yield from self.halved(sentences[:middle])
            yield from self.halved(sentences[middle:])

    def joined(self, pieces: Iterable) -> Iterator[tuple[str, int]]:
        """Pieces shorter than `low` are joined to the next of their section, or else to the one before."""
        section, held = [], ""
        for piece in (*pieces, None):
            if held and piece:
                longer = unwrapped(f"{held}\n{piece[0]}")
                if (length := self.count(longer)) <= self.high:
                    piece, held = (longer, length), ""
            if held:
                before = unwrapped(f"{section[-1][0]}\n{held}") if section else held
                if section and (length := self.count(before)) <= self.high:
                    section[-1] = before, length
                else:
                    self.fits(self.count(held))
                held = ""
            if piece is None:
                yield from section
                section = []
            elif piece[1] < self.low:
                held = piece[0]
            else:
                section.append(piece)


def _sentences(text: str) -> list[tuple[str, bool]]:
    """Sentences with the space behind them, and whether a stop ends each; together they are `text`."""
    from syntok import segmenter

    covered = _FORMULA.sub(_cover, text)
    starts = {sentence[0].offset for part in segmenter.analyze(covered) for sentence in part if sentence}
    starts |= {match.end() for match in _WIDE_STOP.finditer(covered)}
    sentences, at = [], 0
    for end in sorted((starts - {0}) | {len(text)}):
        ended = _ENDED.search(covered, at, end) is not None
        if ended or end == len(text):  # syntok also cuts at some semicolons
            sentences.append((text[at:end], ended))
            at = end
    return sentences if text.strip() else []


def _torn(paragraph: str) -> bool:
    """Whether an extractor left a hole, as in "( )" or "a , b"; none where signs are set apart throughout."""
    prose = _FORMULA.sub("F", paragraph)
    return _TORN.search(prose) is not None and len(_APART.findall(prose)) < len(_JOINED.findall(prose))


def _cover(formula: re.Match) -> str:
    """A word as long as the formula, with its final stop, so that no dot within a formula ends a sentence."""
    stop = re.search(r"[.?!]\s*(\\end\{\w+\*?\})?\s*(\$+|\\\]|\\\)|)$", formula[0])
    return "F" + "f" * (len(formula[0]) - 2) + ("." if stop else "f")
