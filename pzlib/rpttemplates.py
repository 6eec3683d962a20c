r"""RPT's seven prompts for the next token, v0 to v6 (arXiv:2506.08007, Table 10), worded as printed there.
Left out: line breaks and what closes a context, which the print doesn't tell; both are ours, as are raw prompts.
"""

from pzlib.prompts import RPT_V0, TINY, next_token_prompt

_TASK = "Complete the given text under ### Context by predicting the next token, "
_STEPS = "and wrap it in \\boxed{}. Please reason step by step to find the most probable next token"
_NOTE = "(note: the token may begin with a space, e.g., \\boxed{ para} or \\boxed{ =}; do not use \\text{})."
_FENCED = "\n### Context\n```{text}```"
# v4's three worked examples; a token with a line break stands there as \n and here as the break itself, which alone
# can be right byte by byte.
_EXAMPLES = (
    "\n### Context\n```...(some omitted)...Matching calculations with 1990 valid combinations indicates the minimum "
    "value of \\( b \\) that fits all pre-requisites and restrictions for triangle formation and symmetry generates "
    "the efficient outcome:\n\\[\n\\boxed{1991^2}\n\\]\nIn```\nThe next token is \\boxed{ this}"
    "\n### Context\n```...Thus $2^{A}=\\left(2^{a}\\right)^{2}\\left(2^{3}\\right)=```\nThe next token is \\boxed{9}"
    "\n### Context\n```..., numerical exploration shows```\nThe next token is \\boxed{:\n}"
)
RPT_TEMPLATES = {
    "v0": RPT_V0,
    "v1": f"{_TASK}{_STEPS} as the final prediction, and enclose it in \\boxed{{}} {_NOTE}{_FENCED}",
    "v2": (
        "You are a helpful assistant, good at predicting the next token for a given context.\n"
        f"Now, please {_TASK.replace('Complete', 'complete')}{_STEPS}, and enclose it in \\boxed{{}} {_NOTE}{_FENCED}"
    ),
    "v3": (
        f"{_TASK}list multiple potential tokens and select the most probable one as the final answer. "
        f"Wrap your final answer in \\boxed{{}} {_NOTE}{_FENCED}"
    ),
    "v4": (
        f"{_TASK}{_STEPS} as the final answer, and enclose it in \\boxed{{}}. Some examples:{_EXAMPLES}"
        f"\nNow, the context is:{_FENCED}"
    ),
    "v5": f"{_TASK}{_STEPS} as the final answer, and enclose it in \\boxed{{}} {_NOTE}{_FENCED}",
    "v6": (
        "Complete the given text wrapped in ``` and ``` by predicting the next token, list multiple potential tokens "
        f"and select the most probable one as the final prediction. Wrap your final prediction in \\boxed{{}} {_NOTE}"
        "\nThe context is:\n```{text}```\nNow please predict the next token."
    ),
}


def rpt_prompt(context: str, template: str = "paper", version: str = "v0") -> str:
    r"""The prompt that asks for the token after `context`, spaces at its end kept.

    template: "paper" for the wording `version`, or "tiny" for the one wording of the small model.

    >>> rpt_prompt("The sum is")[-23:]
    '\n### Context The sum is'
    >>> [rpt_prompt("x =", version=version).count("```x =```") for version in ("v0", "v1", "v4", "v6")]
    [0, 1, 1, 1]
    >>> rpt_prompt("Rome is", "tiny")
    'Passage : Rome is [mask] Answer :'
    """
    if template == "tiny":
        return next_token_prompt(context, TINY)
    return RPT_TEMPLATES[version].replace("{text}", context)
