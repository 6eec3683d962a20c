"""The rewards of PretrainZero, RLVR, RPT and RLP as pure functions, and the group advantages GRPO and RLP make of them.
Left out: a weight between several rewards, which no paper gives; RPT's and RLP's rewards are the only ones they have.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Collection, Sequence

_EPSILON = 1e-4  # TRL 1.16 adds it to the standard deviation


def predictor_reward(prediction: str | None, target: str, normalise: bool = False) -> float:
    """1.0 if the predicted span is the masked one, else 0.0: r = 1[x^ = x] (PretrainZero eq. 8).

    prediction: what `prompts.parse_boxed` gave, None if there was no answer; target: the masked span.
    Whitespace around either is ignored, all else must be equal; a blank prediction is never right. With
    `normalise`, Unicode compatibility forms (NFKC), case, runs of whitespace and outer punctuation are
    ignored too.

    >>> [predictor_reward(prediction, "Paris") for prediction in (" Paris ", "paris", None)]
    [1.0, 0.0, 0.0]
    >>> predictor_reward("new  york.", "New York", normalise=True)
    1.0
    """
    if prediction is None or not prediction.strip():
        return 0.0
    canonical = _normalised if normalise else str.strip
    return float(canonical(prediction) == canonical(target))


def generator_reward(accuracy: float) -> float:
    """1 - accuracy of a mask's G predictions, but 0 where none is right (PretrainZero eq. 9, zero rule).

    Best is a mask that one prediction in G gets right. Without the zero rule the best would be one that
    nobody can guess, or one that is not in the passage at all.
    Errors: ValueError for an accuracy outside [0, 1].

    >>> [generator_reward(right / 4) for right in range(5)]
    [0.0, 0.75, 0.5, 0.25, 0.0]
    """
    return without_zero_rule(accuracy) if accuracy > 0 else _share(accuracy)


def without_zero_rule(accuracy: float) -> float:
    """1 - accuracy, whatever it is: eq. 9 alone. Best is a mask that nobody can predict, or that stands nowhere.

    >>> [without_zero_rule(right / 4) for right in range(5)]
    [1.0, 0.75, 0.5, 0.25, 0.0]
    """
    return 1.0 - _share(accuracy)


def negative_accuracy(accuracy: float) -> float:
    """-accuracy, and 0 where none is right: the zero rule on another scale, where it makes the impossible best.

    One review of the paper prints the reward so.

    >>> [negative_accuracy(right / 4) for right in (0, 1, 4)]
    [0.0, -0.25, -1.0]
    """
    return -_share(accuracy) if accuracy > 0 else _share(accuracy)


def learnability(accuracy: float) -> float:
    """min(p, 1 - p) of the accuracy p: best is one half, as R-Zero's challenger is paid.

    >>> [learnability(right / 4) for right in range(5)]
    [0.0, 0.25, 0.5, 0.25, 0.0]
    """
    return min(_share(accuracy), 1.0 - accuracy)


# What Run's `generator_reward` can name. A mask that is not legal is one that nobody predicts: accuracy 0.
GENERATOR_REWARDS = {
    "zero_rule": generator_reward,
    "no_zero_rule": without_zero_rule,
    "negative_accuracy": negative_accuracy,
    "learnability": learnability,
}


def _share(accuracy: float) -> float:
    if not 0 <= accuracy <= 1:  # also catches NaN
        raise ValueError(f"accuracy: {accuracy} is not a share; give right / all predictions, from 0 to 1")
    return float(accuracy)


def rlvr_reward(
    right: bool, answered: bool, longer: int = 0, length_penalty: float = 0.0, no_answer: float = 0.0
) -> float:
    """1 for a right answer, 0 for a wrong one, with General-Reasoner's two amendments where they are not 0.

    longer: tokens by which the answer is longer or shorter than the gold one; up to 10 of them cost a right answer
    `length_penalty` each (its script: 0.05). no_answer: what a completion without an answer gets (its script: -0.5).

    >>> rlvr_reward(True, True), rlvr_reward(True, True, 3, 0.05), rlvr_reward(True, True, 99, 0.05)
    (1.0, 0.85, 0.5)
    >>> rlvr_reward(False, True, 3, 0.05, -0.5), rlvr_reward(False, False, 0, 0.05, -0.5)
    (0.0, -0.5)
    """
    if not answered:
        return float(no_answer)
    return 1.0 - length_penalty * min(10, longer) if right else 0.0


def group_advantages(rewards: Sequence[float | None], group: int) -> list[float]:
    """(r - mean) / (std + 1e-4) in each `group` consecutive rewards (PretrainZero eq. 10, left-hand side).

    rewards: (N,), whole groups one after another; N advantages come back. The std is the unbiased one
    (divisor n - 1), and 1e-4 is added, both as TRL 1.16 does. None or NaN is a row without a reward: it is
    left out of mean and std and gets 0. A group whose rewards are all equal, or that has only one, is dead:
    zeros.
    Errors: ValueError if the rewards are not whole groups, or one is infinite.

    >>> [round(a, 3) for a in group_advantages([1.0, 0.0, 0.0, 0.0,  1.0, 1.0, None, 1.0], group=4)]
    [1.5, -0.5, -0.5, -0.5, 0.0, 0.0, 0.0, 0.0]
    """
    advantages: list[float] = []
    for deviations, n in _deviations(rewards, group):
        std = math.sqrt(math.fsum(d * d for d in deviations) / (n - 1)) if any(deviations) else 0.0
        advantages += [d / (std + _EPSILON) for d in deviations]
    return advantages


def centred_advantages(rewards: Sequence[float | None], group: int) -> list[float]:
    """G/(G-1) (r - mean r) in each `group` consecutive rewards, not divided by a std (RLP section 3.1).

    The same as r minus the mean of the *other* G - 1 rewards. What is added to all rewards of a group cancels: RLP's
    baseline without a thought does, so the advantage, and with it the training, does not depend on it. None, dead
    groups and errors as in `group_advantages`; G counts the rewards that are there.

    >>> centred_advantages([1.0, 0.0, -1.0, 4.0], group=4) == centred_advantages([-9.0, -10.0, -11.0, -6.0], group=4)
    True
    >>> centred_advantages([3.0, 0.0, -3.0, 6.0], group=4)
    [2.0, -2.0, -6.0, 6.0]
    """
    advantages: list[float] = []
    for deviations, n in _deviations(rewards, group):
        advantages += [d * n / max(1, n - 1) for d in deviations]
    return advantages


def rpt_reward(
    prediction: str | bytes | None, continuation: str | bytes, boundaries: Collection[int]
) -> float:
    """1.0 if the prediction begins the continuation and ends where a token of it ends, else 0.0 (RPT).

    The prefix matching of arXiv:2506.08007, in bytes (text as UTF-8): with l the prediction's length, it
    equals the first l bytes of the continuation, and l is in `boundaries`, the cumulative byte lengths of the
    continuation's tokens (the paper's L_gt). Spaces count: " a" is not "a". So one token, or several, are
    right; part of a token, or nothing, is not.

    >>> boundaries = {6, 9, 15}  # of the tokens " elect", "ric", " field"
    >>> predictions = [" elect", " electric", " elec", "elect", "", None]
    >>> [rpt_reward(prediction, " electric field", boundaries) for prediction in predictions]
    [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """
    if not prediction:
        return 0.0
    predicted = _bytes(prediction)
    return float(_bytes(continuation).startswith(predicted) and len(predicted) in boundaries)


def first_token_reward(first: str | None, token: str) -> float:
    """1.0 if the prediction's first token is the true one, whatever comes after it, else 0.0 (RPT App. A).

    first: the text of that token, spaces kept, None where nothing was predicted; token: that of the true next one.

    >>> [first_token_reward(first, " size") for first in (" size", "size", " si", None)]
    [1.0, 0.0, 0.0, 0.0]
    """
    return float(first == token)


def dense_reward(right: bool, probability: float) -> float:
    """1 for a right first token; for a wrong one the probability that the model itself gives it there (RPT App. A).

    probability: of the token predicted, after the bare context; 0 where nothing was predicted.
    Errors: ValueError for one outside [0, 1].

    >>> dense_reward(True, 0.1), dense_reward(False, 0.1)
    (1.0, 0.1)
    """
    if not 0 <= probability <= 1:  # also catches NaN
        raise ValueError(f"probability: {probability} is none; give exp of a log-probability, from 0 to 1")
    return 1.0 if right else float(probability)


def conditional_dense_rewards(
    right: Sequence[bool], probabilities: Sequence[float], none_right: float = 0.0
) -> list[float]:
    """`dense_reward` of a group's G predictions where one of them is right, else `none_right` for all (RPT App. A).

    none_right: 0 or a small penalty, the paper leaves it open; in a group of equal rewards it teaches nothing.

    >>> conditional_dense_rewards([True, False], [0.5, 0.2]), conditional_dense_rewards([False, False], [0.5, 0.2])
    ([1.0, 0.2], [0.0, 0.0])
    """
    if not any(right):
        return [none_right] * len(right)
    return [dense_reward(*pair) for pair in zip(right, probabilities, strict=True)]


def information_gain(logp_with: float, logp_without: float) -> float:
    """log p(x | context, thought) - log p(x | context), in nats: a thought's reward in RLP, arXiv:2510.01265.

    logp_with: of the true next token after the thought, under the policy; logp_without: without a thought,
    under the moving-average baseline. Positive where the thought helped. A constant for gradients.
    Errors: ValueError for what is no finite log-probability (a loss given by mistake is positive).

    >>> round(information_gain(math.log(0.5), math.log(0.25)), 4)  # twice as likely: log 2
    0.6931
    """
    for name, value in (("logp_with", logp_with), ("logp_without", logp_without)):
        if not (math.isfinite(value) and value <= 1e-3):  # rounding may lift a log-probability just above 0
            raise ValueError(
                f"{name}: {value} is no finite log-probability (at most 0); a loss has the other sign"
            )
    return float(logp_with) - float(logp_without)


def _deviations(rewards: Sequence[float | None], group: int):
    """(r - mean for each of a group's rewards, how many there are), group by group; 0 where there is none."""
    if group < 1 or len(rewards) % group:
        raise ValueError(f"group: {len(rewards)} rewards are not whole groups of {group}")
    for start in range(0, len(rewards), group):
        own = [None if r is None or math.isnan(r) else float(r) for r in rewards[start : start + group]]
        present = [r for r in own if r is not None]
        if any(math.isinf(r) for r in present):
            raise ValueError("rewards: one is infinite; give finite rewards, or None for a row without one")
        dead = len(set(present)) < 2  # exactly zero, whatever the rounding of the mean
        mean = 0.0 if dead else math.fsum(present) / len(present)
        yield [0.0 if dead or r is None else r - mean for r in own], len(present)


def _bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)


def _normalised(answer: str) -> str:
    folded = " ".join(unicodedata.normalize("NFKC", answer).casefold().split())
    start, end = 0, len(folded)
    while start < end and unicodedata.category(folded[start])[0] == "P":
        start += 1
    while start < end and unicodedata.category(folded[end - 1])[0] == "P":
        end -= 1
    return folded[start:end].strip() or folded  # an answer that is all punctuation is compared as it is
