r"""Three examples of our own before each request, for models that go on with a text and follow no instruction.
The papers show none: their bases answer when asked. Every answer is one line, so that the next line ends it."""

# (passage, the words hidden in it, why the answer is they)
PASSAGES = (
    ("Lake Verna drains to the south through a canal that was dug in 1874. Barges still use it to carry timber.",
     "canal", "Barges use it and it was dug:"),
    ("Ilse Brandt was a composer. She wrote six string quartets, and for thirty years she taught the violin.",
     "string quartets", "She composed, and she taught the violin:"),
    ("Barley bread keeps for months because it is dry. Sailors softened it in water before they ate it.",
     "Sailors", "They need bread that keeps for months:"),
)  # fmt: skip

# (a text that was cut off, the word that comes next, why)
CUT = (
    ("Lake Verna drains to the south through a canal that was", "dug", "A canal is made with spades:"),
    ("Ilse Brandt was a composer. She wrote six string quartets, and for thirty years she taught the",
     "violin", "She wrote for strings:"),
    ("Barley bread keeps for months because it is", "dry", "What holds no water keeps long:"),
)  # fmt: skip

QUESTIONS = (
    ("A train leaves at 9:40 and arrives at 11:05. How many minutes does it take?", "85",
     "From 9:40 to 11:00 it is 80 minutes, and 5 more make 85."),
    ("Nora has 3 boxes of 12 pencils and gives 7 pencils away. How many are left?", "29",
     "3 times 12 is 36, and 36 - 7 = 29."),
    ("Which is larger, 2/3 or 3/5? Give the larger one.", "2/3", "2/3 is 10/15 and 3/5 is 9/15, so 2/3 is larger."),
)  # fmt: skip


def _shown(request, given, asked, examples):
    """The request, the examples as (text, answer) and the slot, each with its labels."""
    each = [f"{given}: {text}\n{asked}: {answer}\n" for text, answer in examples]
    return "\n".join([f"{request}\n", *each, f"{given}: {{text}}\n{asked}:"])


GENERATOR = _shown(
    "Copy one to five words of each passage, exactly as they are there, that a reader could work out from the rest.",
    "Passage", "Words", [(text, f"\\mask{{{words}}}") for text, words, _ in PASSAGES],
)  # fmt: skip
PREDICTOR = _shown(
    "Find the words that [mask] hides in each passage.", "Passage", "Answer",
    [(text.replace(words, "[mask]"), f"{why} \\boxed{{{words}}}") for text, words, why in PASSAGES],
)  # fmt: skip
QUESTION = _shown(
    "Answer each question.", "Question", "Answer",
    [(asked, f"{why} \\boxed{{{gold}}}") for asked, gold, why in QUESTIONS],
)  # fmt: skip
NEXT_TOKEN = _shown(
    "Find the word that comes next in each text.", "Text", "Answer",
    [(text, f"{why} \\boxed{{{word}}}") for text, word, why in CUT],
)  # fmt: skip
END = "\n"  # what ends an answer
