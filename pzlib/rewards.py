"""The rewards of PretrainZero as pure functions, and the group advantages that GRPO makes of any reward.
Left out: a weight between the roles, which the paper does not give; other methods' rewards are in their own files."""

import math
from collections.abc import Sequence
from unicodedata import normalize

_EPSILON = 1e-4  # TRL 1.16 adds it to the standard deviation


def predictor_reward(prediction: str | None, target: str) -> float:
    """1.0 if the predicted span is the masked one, else 0.0: r = 1[x^ = x] (PretrainZero eq. 8).

    prediction: what `prompts.parse_boxed` gave, None if there was no answer; target: the masked span. Whitespace around
    either is ignored, and so is which of Unicode's composed or decomposed forms a letter has; a blank prediction is
    never right.

    >>> [predictor_reward(prediction, "Paris") for prediction in (" Paris ", "paris", None)]
    [1.0, 0.0, 0.0]
    """
    if prediction is None or not prediction.strip():
        return 0.0
    return float(normalize("NFC", prediction).strip() == normalize("NFC", target).strip())


def generator_reward(accuracy: float) -> float:
    """1 - accuracy of a mask's G predictions, but 0 where none is right (PretrainZero eq. 9, zero rule).

    Best is a mask that one prediction in G gets right. Without the zero rule the best would be one that nobody can
    guess, or one that is not in the passage at all.
    Errors: ValueError for an accuracy outside [0, 1].

    >>> [generator_reward(right / 4) for right in range(5)]
    [0.0, 0.75, 0.5, 0.25, 0.0]
    """
    return without_zero_rule(accuracy) if accuracy > 0 else _share(accuracy)


def without_zero_rule(accuracy: float) -> float:
    """1 - accuracy, whatever it is: eq. 9 alone. Best is a mask that nobody can predict, or that is not in the text.

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


def spice(accuracy: float) -> float:
    """exp(-(p (1 - p) - 1/4)^2 / 0.02) of the accuracy p: a bell around 1/2, SPICE's challenger (arXiv:2510.24684).

    SPICE centres it within the role and divides by no std; here the group's z-score is taken as of every reward.

    >>> [round(spice(right / 4), 3) for right in range(5)]
    [0.044, 0.823, 1.0, 0.823, 0.044]
    """
    p = _share(accuracy)
    return math.exp(-((p * (1 - p) - 0.25) ** 2) / 0.02)


# What Run's `generator_reward` can name. A mask that is not legal is one that nobody predicts: accuracy 0.
GENERATOR_REWARDS = {
    "zero_rule": generator_reward,
    "no_zero_rule": without_zero_rule,
    "negative_accuracy": negative_accuracy,
    "learnability": learnability,
    "spice": spice,
}


def _share(accuracy: float) -> float:
    if not 0 <= accuracy <= 1:  # also catches NaN
        raise ValueError(f"accuracy: {accuracy} is not a share; give right / all predictions, from 0 to 1")
    return float(accuracy)


def group_advantages(rewards: Sequence[float | None], group: int) -> list[float]:
    """(r - mean) / (std + 1e-4) in each `group` consecutive rewards (PretrainZero eq. 10, left-hand side).

    rewards: (N,), whole groups one after another; N advantages come back. The std is the unbiased one (divisor n - 1),
    and 1e-4 is added, both as TRL 1.16 does. None or NaN is a row without a reward: it is left out of mean and std and
    gets 0. A group whose rewards are all equal, or that has only one, is dead: zeros.
    Errors: ValueError if the rewards are not whole groups, or one is infinite.

    >>> [round(a, 3) for a in group_advantages([1.0, 0.0, 0.0, 0.0,  1.0, 1.0, None, 1.0], group=4)]
    [1.5, -0.5, -0.5, -0.5, 0.0, 0.0, 0.0, 0.0]
    """
    advantages: list[float] = []
    for deviations, n in group_deviations(rewards, group):
        std = math.sqrt(math.fsum(d * d for d in deviations) / (n - 1)) if any(deviations) else 0.0
        advantages += [d / (std + _EPSILON) for d in deviations]
    return advantages


def group_deviations(rewards: Sequence[float | None], group: int):
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
