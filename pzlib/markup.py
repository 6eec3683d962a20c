r"""Completions and masked passages as plain HTML for a notebook: escaped, boxes and masks marked, long texts folded.
Left out: scripts and style sheets. An untrusted notebook drops both, but keeps inline styles and <details>."""

from __future__ import annotations

import html
import re

from pzlib.masking import MASK
from pzlib.prompts import parse_boxed

LONG = 900  # characters: a longer text folds
ENDS = 300  # characters of its beginning and of its end that stay in sight
# Both names of "no formulas here": MathJax 2 (exported HTML) and MathJax 3 (JupyterLab). Colours of text and ground are
# inherited, so a dark theme stays dark; what has a ground of its own has a text colour too.
FRAME = '<div class="tex2jax_ignore mathjax_ignore" style="text-align:left;max-width:1100px">{}</div>'
# Of what holds texts; set once around many of them, since a style on each would double a page.
TEXT = "white-space:pre-wrap;overflow-wrap:anywhere;font-family:monospace;font-size:12px;line-height:1.6"
MARKED = '<mark style="background-color:{};color:#000000">{}</mark>'
MASKED, BOXED = "#ffe08a", "#bfe0ff"  # grounds of a mask and of a box, also told apart by their words
WORDS = {True: "✓ right", False: "✗ wrong", None: "not judged"}


def escaped(text: str) -> str:
    """Text as HTML that shows it and does nothing: no tag, no quote, no control character survives.

    >>> escaped('<script>alert("$x$")</script>')
    '&lt;script&gt;alert(&quot;$x$&quot;)&lt;/script&gt;'
    """
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "\N{REPLACEMENT CHARACTER}", html.escape(text))


def passage(text: str) -> str:
    """A prompt or passage with every `[mask]` marked; of a long one, the part around the first mask is in sight."""
    at = max(0, text.find(MASK) - ENDS)
    return _folded(text, _with_masks, text[at : at + 2 * ENDS] if len(text) > LONG else None, at)


def completion(text: str) -> str:
    r"""A completion with the box that counts (`prompts.parse_boxed`) marked; of a long one both ends are in sight."""
    answer = parse_boxed(text)
    boxes = [] if answer is None else [*re.finditer(r"\\boxed\s*\{" + re.escape(answer) + r"\}", text)]
    if not boxes:
        return _folded(text, escaped, _ends(text))
    start, end = boxes[-1].span()
    box = MARKED.format(BOXED, escaped(text[start:end]))
    whole = escaped(text[:start]) + box + escaped(text[end:])
    return _folded(text, lambda part: whole if part is text else escaped(part), _ends(text))


def _ends(text: str) -> str | None:
    return f"{text[:ENDS]} … {text[-ENDS:]}" if len(text) > LONG else None


def _with_masks(text: str) -> str:
    return MARKED.format(MASKED, MASK).join(escaped(part) for part in text.split(MASK))


def _folded(text: str, mark, glimpse: str | None, at: int = 0) -> str:
    """`text`, or where there is a `glimpse` of it, that in sight and the whole behind it."""
    if glimpse is None:
        return f"<div>{mark(text)}</div>"
    seen = f"<div>{'… ' if at else ''}{mark(glimpse)}</div>"
    return f"{seen}<details><summary>all {len(text):,} characters</summary><div>{mark(text)}</div></details>"


def judged(right: float | None) -> str:
    """A verdict in words and a sign, not by colour alone: 1, 0, or null where nobody judged.

    >>> judged(1.0), judged(0.0), judged(None)
    ('✓ right', '✗ wrong', 'not judged')
    """
    return WORDS[None if right is None or right != right else right > 0]
