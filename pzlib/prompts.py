"""The prompts of the game as templates, and the parsers that read a mask or a boxed answer in a completion.
Left out: chat templates, system prompts; the paper says nothing of them (a prompt is raw text)."""

import re
from dataclasses import dataclass, fields

from pzlib import examples

_SLOT = "{text}"
OPENING = "\\boxed{"  # what opens an answer

# RPT's template v0, word for word (arXiv:2506.08007): PretrainZero does not print the one of its next-token baselines.
RPT_V0 = (
    "Complete the given text under '### Context' by predicting the next token, and wrap it in '\\boxed{}'. "
    "Please reason step by step to find the most probable next token as the final answer, and enclose it in "
    "\\boxed{} (note: the token may begin with a space, e.g., \\boxed{ para} or \\boxed{ =}; do not use \\text{}).\n"
    "### Context {text}"
)


@dataclass(frozen=True)
class Template:
    r"""The wording of the four prompts; each holds the slot ``{text}`` once, all other braces are literal.
    Errors: ValueError naming the field whose slot is missing or doubled.

    >>> Template("Mask this: {text}", "Fill \\boxed{} for: {text}", "Q: {text}").question
    'Q: {text}'
    """

    generator: str  # asks for a mask of a passage
    predictor: str  # for the words under [mask]
    question: str  # for an answer
    next_token: str = RPT_V0  # for what comes after a passage that was cut off
    end: str = ""  # what ends an answer, beside the end token; "": nothing

    def __post_init__(self) -> None:
        for field in fields(self)[:-1]:
            if (found := getattr(self, field.name).count(_SLOT)) != 1:
                raise ValueError(f"{field.name}: holds the slot {_SLOT} {found} times; write it exactly once")


PAPER = Template(
    # PretrainZero Fig. 5, word for word; its line breaks are unknown, and stand here where a block ends.
    generator=(
        "Generate a mask to mask important words in the following paragraph, satisfying the requirements below:\n"
        "1) The mask should mask one or more entities in the passage. The masked words should be continuous.\n"
        "2) The masked words should exactly match words in the original passage.\n"
        "3) The masked words could be predicted according to the context. The difficulty to predict should be "
        "moderately challenging for you, so the answer would be short and as unique as possible.\n"
        "Paragraph: {text}\n"
        "The final generated masked words must be placed inside \\mask{}."
    ),
    predictor=(
        "There is a passage with masked words by [mask]:\n{text}\n"
        "Please reason step by step, and put the predicted masked words within \\boxed{}."
    ),
    # General-Reasoner's suffix: the recipe that PretrainZero's RLVR stage follows.
    question="{text}\nPlease reason step by step, and put your final answer within \\boxed{}.",
)

# The same requests for a word-level model of a million parameters, which reads cues, not instructions.
TINY = Template(
    generator="Passage : {text} Mask :",
    predictor="Passage : {text} Answer :",
    question="Question : {text} Answer :",
    next_token="Passage : {text} [mask] Answer :",
)

THREE_SHOT = Template(examples.GENERATOR, examples.PREDICTOR, examples.QUESTION, examples.NEXT_TOKEN, examples.END)
TEMPLATES = {"paper": PAPER, "tiny": TINY, "three_shot": THREE_SHOT}


def generator_prompt(text: str, template: Template = PAPER) -> str:
    r"""The prompt that asks for a mask of the passage ``text`` (PretrainZero Fig. 5).

    >>> generator_prompt("Rome is old .", TINY)
    'Passage : Rome is old . Mask :'
    """
    return template.generator.replace(_SLOT, text)


def predictor_prompt(masked: str, template: Template = PAPER) -> str:
    r"""The prompt that asks for the words under ``[mask]`` in the passage ``masked`` (PretrainZero Fig. 5).

    >>> predictor_prompt("[mask] is old .", TINY)
    'Passage : [mask] is old . Answer :'
    """
    return template.predictor.replace(_SLOT, masked)


def next_token_prompt(text: str, template: Template = PAPER) -> str:
    r"""The prompt that asks what comes next after ``text``, for the baselines on next tokens.

    >>> next_token_prompt("Rome is", TINY)
    'Passage : Rome is [mask] Answer :'
    """
    return template.next_token.replace(_SLOT, text)


def question_prompt(text: str, template: Template = PAPER) -> str:
    r"""The prompt that puts the problem ``text`` as it is, as evaluation and RLVR do: no passage, no mask.

    >>> question_prompt("What is 2 + 3 ?", TINY)
    'Question : What is 2 + 3 ? Answer :'
    """
    return template.question.replace(_SLOT, text)


def after_thought(completion: str) -> str:
    """What a completion says once it has thought: what follows the last ``</think>``, and nothing while one is open.

    Every parser reads only this: a box in a thought, finished or cut off, is not an answer (RPT, arXiv:2506.08007).

    >>> after_thought("<think>B?</think> It is C."), after_thought("It is C."), after_thought("<think>I guess B")
    (' It is C.', 'It is C.', '')
    """
    said = completion.rpartition("</think>")[2]
    return "" if "<think>" in said else said


def parse_mask(completion: str) -> str | None:
    r"""The span a generator asks to mask: what the last balanced ``\mask{...}`` holds, outer whitespace off.

    None when there is no such command, or nothing in it. Everything else as in :func:`parse_boxed`.

    >>> parse_mask(r"I could take \mask{1912}, but better: \mask{ Marie Curie }")
    'Marie Curie'
    >>> parse_mask(r"\mask{}") is None, parse_mask("Marie Curie") is None
    (True, True)
    """
    return (parse_boxed(completion, "mask") or "").strip() or None


def parse_boxed(completion: str, command: str = "boxed") -> str | None:
    r"""The answer a completion gives: the content of the last balanced ``\boxed{...}``, spaces kept.

    None when no box closes. An empty box is the empty answer ``""``, which no reward accepts. The time is linear in the
    length of the completion, whatever it holds. command: boxed, TeX's own fbox, or mask.

    * *Last* goes by the opening: of two nested boxes the inner one; one left open, or in a thought, is passed over.
    * ``\{``, ``\}`` and ``\\`` are TeX's: they open and close nothing. Only where no box closes under that reading is a
      backslash before a brace an ordinary character, as in ``\boxed{C:\}``.
    * TeX allows spaces between command and brace, and so do we; ``\boxed 5`` without braces is not read.

    >>> parse_boxed(r"So it is \boxed{3}. Or rather \boxed{\frac{1}{2}}, not \boxed{0")
    '\\frac{1}{2}'
    >>> parse_boxed(r"<think> \boxed{7} </think> I cannot say.") is None
    True
    >>> parse_boxed(r"\boxed{\left\{ x \right.}")
    '\\left\\{ x \\right.'
    """
    answer = after_thought(completion)
    first = answer.find("\\" + command)
    if first < 0:
        return None
    found = (_scan(answer[first:], tokens) for tokens in _TOKENS[command])  # braces before the first do not matter
    return next((content for content in found if content is not None), None)


def _tokens(command: str, escapes: bool) -> re.Pattern[str]:
    # A double backslash hides a brace but not the command: models that double backslashes still mean it.
    escaped = rf"|\\(?!\\{command})[\\{{}}]" if escapes else ""
    return re.compile(rf"(?P<open>\\{command}\s*\{{){escaped}|(?P<brace>[{{}}])")


_TOKENS = {command: [_tokens(command, escapes) for escapes in (True, False)] for command in ("mask", "boxed", "fbox")}


def _scan(text: str, tokens: re.Pattern[str]) -> str | None:
    stack: list[int] = []  # where the content of each open box starts; -1 for a plain brace
    start = end = -1
    for token in tokens.finditer(text):
        if token["open"] or token["brace"] == "{":
            stack.append(token.end() if token["open"] else -1)
        elif token["brace"] and stack:  # a stray closing brace closes nothing
            opened = stack.pop()
            if opened > start:
                start, end = opened, token.start()
    return text[start:end] if start >= 0 else None
