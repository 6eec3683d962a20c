"""The examples before a request follow the rules of what they show."""

from pzlib import examples
from pzlib.masking import apply_mask
from pzlib.prompts import THREE_SHOT, generator_prompt, parse_boxed, parse_mask, predictor_prompt
from pzlib.words import words


def test_every_example_is_a_legal_mask_and_its_right_answer_in_one_line():
    masks, answers = (prompt("Text.", THREE_SHOT).split("\n\n")[1:] for prompt in (generator_prompt, predictor_prompt))
    assert len(masks) == len(answers) == 4 and masks[-1] == "Passage: Text.\nWords:"
    for (passage, hidden, _), mask, answer in zip(examples.PASSAGES, masks, answers, strict=False):
        masked = apply_mask(passage, hidden)
        shown, said = answer.split("\n")
        assert masked.count == 1 and 1 <= len(words(hidden)) <= 5
        assert mask.split("\n")[0] == f"Passage: {passage}" and parse_mask(mask.split("\n")[1]) == hidden
        assert shown == f"Passage: {masked.text}" and parse_boxed(said) == hidden
        assert not said.startswith("Answer: \\boxed")  # it reasons first


def test_the_other_forms_show_three_right_answers_too():
    for form, known in ((THREE_SHOT.question, examples.QUESTIONS), (THREE_SHOT.next_token, examples.CUT)):
        shown = form.split("\n\n")[1:4]
        assert [parse_boxed(one) for one in shown] == [right for _, right, _ in known]
        assert [one.split("\n")[0].partition(": ")[2] for one in shown] == [text for text, *_ in known]
    for (passage, *_), (text, word, _) in zip(examples.PASSAGES, examples.CUT, strict=True):
        assert passage.startswith(f"{text} {word}")
