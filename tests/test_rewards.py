"""Rewards and advantages against numbers worked by hand; the zero rule comes first."""

import math
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pzlib.objectives.rlp import information_gain
from pzlib.objectives.rpt import conditional_dense_rewards, dense_reward, first_token_reward, rpt_reward
from pzlib.rewards import generator_reward, group_advantages, predictor_reward


def test_zero_rule_an_unguessable_mask_earns_nothing():
    # Eq. 9 alone would give 1 - 0 = 1, the best reward there is, to noise and to masks not in the text.
    assert generator_reward(0.0) == 0.0
    rewards = [generator_reward(right / 8) for right in range(9)]
    assert rewards == [0.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.0]
    assert max(rewards) == generator_reward(1 / 8)


@given(st.floats(0, 1, exclude_min=True))
def test_generator_reward_is_one_minus_accuracy_and_never_negative(accuracy):
    assert generator_reward(accuracy) == 1 - accuracy >= 0


@pytest.mark.parametrize("accuracy", [-0.1, 1.1, 8, math.nan, math.inf])
def test_generator_reward_refuses_what_is_no_share(accuracy):
    with pytest.raises(ValueError, match="accuracy"):
        generator_reward(accuracy)


@pytest.mark.parametrize(
    ("prediction", "target", "reward"),
    [
        ("stakes", "stakes", 1.0),
        ("  stakes\n", "stakes", 1.0),
        ("stakes", " stakes ", 1.0),
        ("Stakes", "stakes", 0.0),
        ("stakes.", "stakes", 0.0),
        ("“New  York”", "new york", 0.0),
        ("ﬁve", "five", 0.0),  # the ligature fi
        ("e\u0301", "\u00e9", 1.0),  # one letter, two Unicode forms
        ("\u00e9", "e\u0301", 1.0),
        ("１９１２", "1912", 0.0),  # full-width digits
        ("stake", "stakes", 0.0),
        ("the stakes", "stakes", 0.0),
        ("!", "?", 0.0),
        ("", "", 0.0),
        (" ", " ", 0.0),
        (None, "stakes", 0.0),
        (None, "None", 0.0),
        ("\ud800", "\ud800", 1.0),  # a lone surrogate is compared, not encoded
    ],
)
def test_predictor_reward(prediction, target, reward):
    assert predictor_reward(prediction, target) == reward


@given(st.text(), st.text())
def test_predictor_reward_is_equality_of_what_is_left_without_outer_whitespace(prediction, target):
    forms = [unicodedata.normalize("NFC", text).strip() for text in (prediction, target)]
    assert predictor_reward(prediction, target) == float(forms[0] == forms[1] and bool(prediction.strip()))


def test_advantages_worked_by_hand():
    # One right of four: mean 1/4, deviations 3/4 and -1/4, variance (9 + 1 + 1 + 1)/16 / 3 = 1/4, std 1/2.
    assert group_advantages([1, 0, 0, 0], 4) == pytest.approx([0.75 / 0.5001] + 3 * [-0.25 / 0.5001])
    # Generator rewards 3/4, 0, 0, 0: three quarters of the above, std 3/8.
    expected = [0.5625 / 0.3751] + 3 * [-0.1875 / 0.3751]
    assert group_advantages([0.75, 0, 0, 0], 4) == pytest.approx(expected)


def test_advantages_groups_do_not_touch_each_other():
    two = group_advantages([1, 0, 0, 0, 0.5, 0, 0, 0], 4)
    assert two == group_advantages([1, 0, 0, 0], 4) + group_advantages([0.5, 0, 0, 0], 4)


def test_advantages_leave_out_rows_without_a_reward():
    # 1, 0 and two rows that are not ours: mean 1/2, std sqrt(1/2).
    with_none = group_advantages([1, None, 0, math.nan], 4)
    assert with_none == pytest.approx([0.5 / (math.sqrt(0.5) + 1e-4), 0, -0.5 / (math.sqrt(0.5) + 1e-4), 0])
    assert group_advantages([None] * 4, 4) == [0.0] * 4
    assert group_advantages([0.5, None, None, None], 4) == [0.0] * 4
    assert group_advantages([0.1] * 3, 3) == [0.0] * 3  # the mean of three tenths is not a tenth, in floats
    assert group_advantages([1.0], 1) == [0.0]
    assert group_advantages([], 4) == []


def test_advantages_refuse_cut_groups_and_infinities():
    with pytest.raises(ValueError, match="group: 6 rewards"):
        group_advantages([0.0] * 6, 4)
    with pytest.raises(ValueError, match="group"):
        group_advantages([0.0] * 6, 0)
    with pytest.raises(ValueError, match="infinite"):
        group_advantages([0.0, math.inf], 2)


rewards_of_groups = st.integers(2, 8).flatmap(
    lambda g: st.tuples(
        st.just(g),
        st.lists(st.lists(st.none() | st.integers(0, 8), min_size=g, max_size=g), max_size=4),
    )
)


@given(rewards_of_groups)
def test_advantages_sum_to_zero_and_keep_the_order_of_rewards(case):
    group, groups = case
    rewards = [None if r is None else r / 8 for row in groups for r in row]
    advantages = group_advantages(rewards, group)
    assert len(advantages) == len(rewards)
    for i in range(0, len(rewards), group):
        pairs = [(r, a) for r, a in zip(rewards[i : i + group], advantages[i : i + group], strict=True)]
        assert sum(a for _, a in pairs) == pytest.approx(0, abs=1e-9)
        assert all(a == 0 for r, a in pairs if r is None)
        scored = sorted(pair for pair in pairs if pair[0] is not None)
        assert [a for _, a in scored] == sorted(a for _, a in scored)


def test_eq_10_right_hand_side_is_motivation_only():
    # A_gen = -E[A_pred] cannot hold for predictions normalised within their own mask: their mean is always 0.
    for right in range(5):
        predictions = [1.0] * right + [0.0] * (4 - right)
        assert sum(group_advantages(predictions, 4)) == pytest.approx(0)


CONTINUATION = " größer als 3"
TOKENS = [" gr", "ö", "ßer", " als", " ", "3"]
BOUNDARIES = [3, 5, 9, 13, 14, 15]  # ö and ß take two bytes each


@pytest.mark.parametrize(
    ("prediction", "reward"),
    [
        (" gr", 1.0),
        (" grö", 1.0),
        (" größer", 1.0),  # several tokens at once
        (CONTINUATION, 1.0),
        (" größer als ", 1.0),  # ends on the token " "
        ("größer", 0.0),  # the space is part of the token
        (" größ", 0.0),  # right, but no token ends there
        (" g", 0.0),
        (" grösser", 0.0),
        (CONTINUATION + "7", 0.0),
        ("", 0.0),
        (None, 0.0),
    ],
)
def test_rpt_reward(prediction, reward):
    lengths = [len(token.encode()) for token in TOKENS]
    assert [sum(lengths[: i + 1]) for i in range(len(lengths))] == BOUNDARIES
    assert rpt_reward(prediction, CONTINUATION, BOUNDARIES) == reward
    assert rpt_reward(prediction, CONTINUATION.encode(), set(BOUNDARIES)) == reward
    if prediction is not None:
        assert rpt_reward(prediction.encode(), CONTINUATION, tuple(BOUNDARIES)) == reward


def test_rpt_reward_counts_bytes_not_characters():
    # A byte-level tokenizer may cut a letter: its first byte is then a token, which no str can be.
    assert rpt_reward("é".encode()[:1], "élan", [1, 2, 5]) == 1.0
    assert rpt_reward("é", "élan", [1, 2, 5]) == 1.0
    assert rpt_reward("é", "élan", [1, 5]) == 0.0
    assert rpt_reward("", "élan", [0, 2]) == 0.0  # no prediction is right for nothing
    assert rpt_reward("\ud800", "\ud800", [3]) == 1.0


@given(st.lists(st.text(min_size=1), min_size=1), st.data())
def test_rpt_reward_is_one_exactly_on_prefixes_that_end_a_token(tokens, data):
    continuation = "".join(tokens).encode("utf-8", "surrogatepass")
    boundaries, at = set(), 0
    for token in tokens:
        at += len(token.encode("utf-8", "surrogatepass"))
        boundaries.add(at)
    length = data.draw(st.integers(0, len(continuation)))
    assert rpt_reward(continuation[:length], continuation, boundaries) == float(length in boundaries)
    assert rpt_reward(continuation + b"x", continuation, boundaries | {len(continuation) + 1}) == 0.0


def test_rpts_first_token_reward_ignores_what_follows_and_no_space():
    said = {" gr": 1.0, "gr": 0.0, " größer": 0.0, "": 0.0, None: 0.0}  # of " größer" the first token is " gr"
    assert {first: first_token_reward(first, " gr") for first in said} == said


def test_rpts_dense_rewards_by_hand():
    # A group of four: one right, one wrong token that the model held likely, one that it didn't, one silent.
    right, likely = [True, False, False, False], [0.2, 0.5, 0.01, 0.0]
    assert [dense_reward(*pair) for pair in zip(right, likely, strict=True)] == [1.0, 0.5, 0.01, 0.0]
    assert conditional_dense_rewards(right, likely) == [1.0, 0.5, 0.01, 0.0]
    # nobody right: dense still ranks the wrong by how likely they were, conditional dense is silent or punishes all
    assert conditional_dense_rewards([False] * 3, likely[1:]) == [0.0, 0.0, 0.0]
    assert conditional_dense_rewards([False] * 3, likely[1:], none_right=-0.1) == [-0.1] * 3
    assert group_advantages(conditional_dense_rewards([False] * 3, likely[1:], -0.1), 3) == [0.0] * 3
    assert group_advantages([dense_reward(False, p) for p in likely[1:]], 3)[0] > 1


@given(st.floats(0, 1), st.booleans())
def test_a_wrong_token_never_earns_more_than_a_right_one(probability, right):
    assert dense_reward(right, probability) == (1.0 if right else probability) <= dense_reward(True, probability)


@pytest.mark.parametrize("probability", [-0.01, 1.01, math.nan, -2.3])
def test_dense_reward_refuses_what_is_no_probability(probability):
    with pytest.raises(ValueError, match="^probability: "):
        dense_reward(False, probability)  # -2.3: a log-probability given by mistake


def test_information_gain():
    assert information_gain(math.log(0.8), math.log(0.1)) == pytest.approx(math.log(8))
    assert information_gain(-1.5, -0.5) == -1.0  # the thought made the true token less likely
    assert information_gain(0.0, 0.0) == 0.0
    with pytest.raises(ValueError, match="logp_without"):
        information_gain(-1.0, 2.3)  # a loss, not a log-probability
    for bad in (math.nan, -math.inf, math.inf):
        with pytest.raises(ValueError, match="logp_with:"):
            information_gain(bad, -1.0)


def test_the_pure_modules_import_no_torch():
    modules = "pzlib.prompts, pzlib.masking, pzlib.rewards, pzlib.stats"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow  # importing trl takes seconds
def test_advantages_equal_trl():
    torch = pytest.importorskip("torch")
    nanstd = pytest.importorskip("trl.trainer.utils").nanstd
    rewards = [
        1,
        0,
        0,
        1,
        None,
        0.75,
        0.5,
        0,
        0.25,
        0.25,
        0.25,
        0.25,
        None,
        None,
        None,
        1,
        None,
        None,
        None,
        None,
    ]
    grid = torch.tensor([math.nan if r is None else r for r in rewards]).view(-1, 4)
    theirs = (grid - torch.nanmean(grid, dim=1, keepdim=True)) / (nanstd(grid, dim=1, keepdim=True) + 1e-4)
    assert group_advantages(rewards, 4) == pytest.approx(
        torch.nan_to_num(theirs).flatten().tolist(), abs=1e-5
    )
