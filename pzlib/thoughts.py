r"""How RLP asks for a thought before the next token, and where in a completion that thought ends.
Left out: chat templates (a prompt is raw text); the paper prints no user message, and one of its tags is a misprint.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Form:
    """What stands before the context, between it and the thought, and what closes the thought."""

    head: str
    opening: str
    closing: str

    def prompt(self, context: str) -> str:
        r"""The text that a thought follows: `context` is all that precedes the token to be predicted, spaces included.

        >>> FORMS["tiny"].prompt("Rome is ")
        'Passage : Rome is [mask] Answer :'
        >>> FORMS["paper"].prompt("Rome is")[-44:]
        'simply continue the content.\n\nRome is<think>'
        """
        return self.head + (context.rstrip() if self.opening[0] == " " else context) + self.opening


FORMS = {
    # RLP's system prompt (v2, section 3.1), word for word but for its first tag, printed "</think>". The thought stands
    # where the next token would, with nothing of ours around it: without it the text goes on as it was.
    "paper": Form(
        "You are a continuation-and-reasoning assistant. You receive the prefix of a context, problem, solution, or "
        "derivation. First, briefly think between <think> and </think> about what should come next. Then, after "
        "</think>, continue the text in the SAME style as the prefix (notation, LaTeX, tone), focusing on the next few "
        "steps rather than jumping to a final boxed answer. Do not restate the question or add meta commentary; simply "
        "continue the content.\n\n",
        "<think>",
        "</think>",
    ),
    # tinybase knows no tags: it reasons before a box ("Think : ... ." or nothing), and the box's first word is the one
    # that stood under the mask. So here what opens the box closes the thought.
    "tiny": Form("Passage : ", " [mask] Answer :", "\\boxed{"),
}


def thought_end(ids: Sequence[int], decode: Callable[[Sequence[int]], str], closing: str) -> int | None:
    """How many of a completion's tokens are its thought, the closing tag with it; None where the tag never comes.

    Found in the decoded text, since a tokenizer may cut the tag in several ways; the first one counts.

    >>> words = "it is two </think> two </think>".split()
    >>> [thought_end(range(n), lambda ids: " ".join(words[i] for i in ids), "</think>") for n in (3, 4, 6)]
    [None, 4, 4]
    """
    if closing not in decode(ids):
        return None
    return bisect_left(range(len(ids) + 1), True, key=lambda n: closing in decode(ids[:n]))
