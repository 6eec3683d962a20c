r"""The two prompts word for word, and parsers that must survive whatever a language model writes."""

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pzlib.objectives.rpt import RPT_TEMPLATES, rpt_prompt
from pzlib.prompts import (
    PAPER,
    TEMPLATES,
    THREE_SHOT,
    TINY,
    Template,
    generator_prompt,
    next_token_prompt,
    parse_boxed,
    parse_mask,
    predictor_prompt,
    question_prompt,
)

BOTH = [(parse_boxed, "\\boxed"), (parse_mask, "\\mask")]


def test_paper_prompts_are_figure_5():
    sentences = [
        "Generate a mask to mask important words in the following paragraph, "
        "satisfying the requirements below:",
        "1) The mask should mask one or more entities in the passage. The masked words should be continuous.",
        "2) The masked words should exactly match words in the original passage.",
        "3) The masked words could be predicted according to the context. The difficulty to predict "
        "should be moderately challenging for you, so the answer would be short and as unique as possible.",
        "Paragraph: Rome is old.",
        "The final generated masked words must be placed inside \\mask{}.",
    ]
    assert generator_prompt("Rome is old.") == "\n".join(sentences)
    assert predictor_prompt("[mask] is old.") == (
        "There is a passage with masked words by [mask]:\n[mask] is old.\n"
        "Please reason step by step, and put the predicted masked words within \\boxed{}."
    )
    assert question_prompt("What is 2 + 3?") == (
        "What is 2 + 3?\nPlease reason step by step, and put your final answer within \\boxed{}."
    )


def test_tiny_prompts():
    assert generator_prompt("A b .", TINY) == "Passage : A b . Mask :"
    assert predictor_prompt("[mask] b .", TINY) == "Passage : [mask] b . Answer :"
    assert question_prompt("A ?", TINY) == "Question : A ? Answer :"
    assert TEMPLATES == {"paper": PAPER, "tiny": TINY, "three_shot": THREE_SHOT}


@given(st.text())
def test_a_passage_enters_a_prompt_untouched(text):
    for template in TEMPLATES.values():
        for prompt in (generator_prompt, predictor_prompt, question_prompt):
            before, after = prompt("\0", template).split("\0")
            assert prompt(text, template) == before + text + after


def test_a_passage_about_templates_is_not_filled_in():
    assert generator_prompt("{text} and {0} and %s", TINY) == "Passage : {text} and {0} and %s Mask :"


def test_a_template_needs_its_slot_once():
    with pytest.raises(ValueError, match="predictor: holds the slot {text} 0 times"):
        Template("a {text}", "b", "c {text}")
    with pytest.raises(ValueError, match="question: holds the slot {text} 2 times"):
        Template("a {text}", "b {text}", "{text} {text}")


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        (r"\boxed{42}", "42"),
        (r"first \boxed{1}, no: \boxed{2}.", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\sqrt[3]{\frac{a_{1}}{b^{2}}}} so", r"\sqrt[3]{\frac{a_{1}}{b^{2}}}"),
        (r"\boxed{ para}", " para"),  # RPT: the space is part of the token
        ("\\boxed{two\nlines}", "two\nlines"),
        (r"\boxed{}", ""),
        (r"\boxed {7}", "7"),
        ("\\boxed\n{7}", "7"),
        # balance
        (r"\boxed{1} and \boxed{2", "1"),
        (r"\boxed{1} and \boxed{{2}", "1"),
        (r"{ \boxed{1", None),
        (r"\boxed{1 \boxed{2}", "2"),
        (r"\boxed{\boxed{x}}", "x"),
        (r"\boxed{a \boxed{b} c}", "b"),
        (r"}}} \boxed{1}}}}", "1"),
        (r"{{{ \boxed{1}", "1"),
        (r"}{ \boxed{a{}b}", "a{}b"),
        (r"\boxed{", None),
        (r"\boxed}", None),
        (r"\boxed", None),
        ("", None),
        ("42", None),
        (r"\boxed 5", None),
        (r"\boxedx{5}", None),
        (r"boxed{5}", None),
        (r"\Boxed{5}", None),
        (r"\fbox{5}", None),
        (r"\mask{5}", None),
        # escaped braces open and close nothing, as in TeX
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\{}", r"\{"),
        (r"\boxed{a\}b}", r"a\}b"),
        (r"\boxed{\left\{ x \right.}", r"\left\{ x \right."),
        (r"\boxed{a\\{b}}", r"a\\{b}"),  # a line break, then a real brace
        (r"\boxed{a\\}", r"a\\"),
        (r"\boxed{C:\}", "C:\\"),  # no box closes if the brace is escaped, so it is not
        (r"\boxed{1} \boxed{C:\}", "1"),  # here one does
        (r"\boxed{1} \\boxed{2}", "2"),
        (r"\\boxed{5}", "5"),  # a model that doubles its backslashes
        # thinking
        (r"<think>\boxed{1}</think>\boxed{2}", "2"),
        (r"<think>\boxed{1}</think> so it is one", None),
        (r"<think>\boxed{1}", None),  # cut off in mid-thought
        (r"<think>a</think>\boxed{1}<think>\boxed{2}", None),
        (r"\boxed{1} < think>", "1"),
        (r"\boxed{1}</think>a</think>", None),
        (r"</think>\boxed{1}</think>\boxed{2}", "2"),
        (r"\boxed{a</think>b}", None),
        (r"\boxed{</think>\boxed{2}}", "2"),
        (r"\boxed{1}</ think>", "1"),
        # Unicode
        ("\\boxed{Zürich 東京 🏔️}", "Zürich 東京 🏔️"),
        ("\\boxed{e\u0301}", "e\u0301"),
        ("\\boxed{\ud800}", "\ud800"),
        ("\udc00\\boxed{1}\ud800", "1"),
        ("\\boxed{\u202eabc\u200b\0}", "\u202eabc\u200b\0"),
        ("\\boxed\uff5b1\uff5d", None),  # full-width braces are letters like any other
    ],
)
def test_parse_boxed(completion, answer):
    assert parse_boxed(completion) == answer


@pytest.mark.parametrize(
    ("completion", "span"),
    [
        (r"\mask{Marie Curie}", "Marie Curie"),
        ("I think of \\mask{ seven } .", "seven"),  # a word-level model writes every token apart
        ("\\mask{\n two  words\t}", "two  words"),  # inner spaces must match the passage
        (r"\mask{a} \mask{b} \boxed{c}", "b"),
        (r"\mask{f^{-1}}", "f^{-1}"),
        (r"\mask{}", None),
        (r"\mask{  }", None),
        (r"\mask{a} then \mask{}", None),
        (r"\mask{a", None),
        ("a", None),
        (r"<think>\mask{a}</think> \mask{b}", "b"),
        (r"<think>\mask{a}</think>", None),
        (r"<think>\mask{a}", None),
    ],
)
def test_parse_mask(completion, span):
    assert parse_mask(completion) == span


@given(st.text())
def test_parsers_survive_any_text(text):
    for parse, command in BOTH:
        assert parse(text) is None or command in text
        assert parse(text + "</think>") is None
        assert parse(f"<think>{text.replace('</think>', '')}{command}{{a}}") is None


soup = st.lists(
    st.sampled_from(
        ["\\boxed{", "\\boxed", "{", "}", "\\{", "\\}", "\\", "\\\\", "a", " ", "</think>", "<think>", "é", "\ud800"]
    )
).map("".join)


def plain_reading(text):
    """The definition written out, for texts without escaped braces: the last opening that closes."""
    text = text.split("</think>")[-1]
    if "<think>" in text:
        return None
    starts = [i for i in range(len(text)) if text.startswith("\\boxed{", i)]
    for start in reversed(starts):
        depth = 0
        for i in range(start + 6, len(text)):
            depth += (text[i] == "{") - (text[i] == "}")
            if depth == 0:
                return text[start + 7 : i]
    return None


@given(soup)
def test_parse_boxed_equals_its_definition(text):
    if not any(escape in text for escape in ("\\{", "\\}", "\\\\", "\\boxed ")):
        assert parse_boxed(text) == plain_reading(text)
    found = parse_boxed(text)
    assert found is None or found in text


@given(soup, st.text(alphabet=st.characters(exclude_characters="\\{}")))
def test_a_box_at_the_end_is_always_read(before, answer):
    for parse, command in BOTH:
        if "think>" in answer or before.endswith("\\") or "<think>" in before.split("</think>")[-1]:
            continue  # a closing backslash would double the command's own, which is another case
        found = parse(f"{before}{command}{{{answer}}}")
        assert found == (answer if parse is parse_boxed else answer.strip() or None)


@given(st.text(alphabet=st.characters(exclude_characters="{}")))
def test_an_answer_with_backslashes_survives_alone(answer):
    if "think>" not in answer:
        assert parse_boxed(f"\\boxed{{{answer}}}") == answer


MEGABYTE = 2**20
PATHOLOGICAL = {
    "open braces": "\\boxed{" + "{" * MEGABYTE,
    "open boxes": "\\boxed{" * (MEGABYTE // 7),
    "nested boxes": "\\boxed{" * (MEGABYTE // 8) + "}" * (MEGABYTE // 8),
    "escaped braces": "\\boxed{" + "\\{" * (MEGABYTE // 2),
    "closing braces": "\\boxed" + "}" * MEGABYTE,
    "backslashes": "\\boxed{" + "\\" * MEGABYTE,
    "spaces": "\\boxed" + " " * MEGABYTE,
    "commands without braces": "\\boxed " * (MEGABYTE // 7),
    "thoughts": "<think>\\boxed{1}" * (MEGABYTE // 16),
    "ends of thought": "\\boxed{1}</think>" * (MEGABYTE // 17),
    "one box, then prose": "\\boxed{1}" + "word " * (MEGABYTE // 5),
}


@pytest.mark.parametrize("name", PATHOLOGICAL)
def test_a_megabyte_is_parsed_in_linear_time(name):
    text = PATHOLOGICAL[name]
    for parse, command in BOTH:
        megabyte = text.replace("\\boxed", command)
        times = []
        for size in (len(megabyte) // 4, len(megabyte)):
            start = time.perf_counter()
            parse(megabyte[:size])
            times.append(time.perf_counter() - start)
        # Quadratic time would be 16 times the quarter's, and minutes; the constant allows for a busy machine.
        assert times[1] < 10 * times[0] + 0.5, times
        assert times[1] < 5, times


def test_megabytes_are_parsed_rightly():
    assert parse_boxed(PATHOLOGICAL["one box, then prose"]) == "1"
    assert parse_boxed(PATHOLOGICAL["nested boxes"]) == ""
    assert parse_boxed(PATHOLOGICAL["open braces"] + "\\boxed{2}") == "2"
    deep = "{" * 100_000 + "x" + "}" * 100_000
    assert parse_boxed(f"\\boxed{{{deep}}}") == deep


def test_real_answers(real_data):
    """400 real chains of thought: we read the answer that the benchmark's own graders read."""
    lines = (real_data / "graded/qwen_math_outputs.jsonl").read_text(encoding="utf-8").splitlines()
    graded = [
        pair for line in map(json.loads, lines) for pair in zip(line["code"], line["pred"], strict=True)
    ]
    same = 0
    for completion, theirs in graded:
        ours = parse_boxed(completion)
        assert ours is not None
        # The graders also rewrite what they read: spaces, small fractions, units.
        plain = [re.sub(r"\s|\\text{.*}", "", answer).replace("dfrac", "frac") for answer in (ours, theirs)]
        same += plain[0] == plain[1]
    assert same == len(graded) > 100


def test_rpts_seven_templates_say_what_tells_them_apart():
    context = "Thus {x} = "  # a space at its end, which belongs to the text
    prompts = {version: rpt_prompt(context, version=version) for version in RPT_TEMPLATES}
    assert list(prompts) == [f"v{n}" for n in range(7)] and len(set(prompts.values())) == 7
    assert all(prompt.count(context) == 1 and "{text}" not in prompt for prompt in prompts.values())
    assert prompts["v0"] == next_token_prompt(context, PAPER) and prompts["v0"].endswith(context)
    fenced = [version for version, prompt in prompts.items() if f"```{context}```" in prompt]
    assert fenced == ["v1", "v2", "v3", "v4", "v5", "v6"]  # v1 and v5 are told apart by one word
    assert prompts["v1"].replace("the final prediction", "the final answer") == prompts["v5"]
    assert "good at predicting the next token" in prompts["v2"]
    listing = [version for version, prompt in prompts.items() if "list multiple potential tokens" in prompt]
    assert listing == ["v3", "v6"]
    assert prompts["v4"].count("The next token is \\boxed{") == 3
    note = r"(note: the token may begin with a space, e.g., \boxed{ para} or \boxed{ =}; do not use \text{})"
    assert [note in prompt for prompt in prompts.values()] == [True] * 4 + [False] + [True] * 2
    assert parse_boxed(prompts["v4"]) == ":\n"  # a line break is shown as itself, as it must be answered
    assert rpt_prompt("Rome is", "tiny") == "Passage : Rome is [mask] Answer :"
