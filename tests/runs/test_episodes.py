"""A step's episodes in numbers: those of the lengths, worked by hand."""

from pzlib.runs.episodes import summary


def episode(completion, length, role="predictor"):
    facts = {"mask": "it", "kind": "", "legal": True, "position": 0.5, "prediction": "it", "clipped": False}
    return {"role": role, "completion": completion, "length": length, "entropy": 1.0, "reward": 1.0, **facts}


def lengths(said, **opening):
    own = [episode(text, n) for text, n in said]
    return summary([([*own, episode("\\mask{ it }", 90, "generator")], [1] * len(own) + [1], 9, 0, 0)], 2, **opening)


def test_the_length_of_reasoned_answers_is_apart_from_that_of_all():
    said = [("Think : so \\boxed{ it }", 9), ("\\boxed{ it }", 3), (" \\boxed{ it } .", 4), ("Think : so", 16)]
    found = lengths(said)
    assert found["predictor/length"] == 8 and found["predictor/length_reasoned"] == 12.5
    assert found["generator/length"] == 90 and "generator/length_reasoned" not in found


def test_where_nothing_reasons_there_is_no_length_of_it():
    assert lengths([("\\boxed{ it }", 3), ("\\boxed{ it }", 5)])["predictor/length_reasoned"] is None


def test_a_method_says_what_opens_its_answers():
    said = [("word </think>", 4), (" </think>", 2)]  # a thought, and an empty one
    assert lengths(said, opening="</think>")["predictor/length_reasoned"] == 4
    assert lengths(said)["predictor/length_reasoned"] == 3
