"""Rewards by likelihood: the target in the answer's place behind the sampled reasoning, scored by teacher forcing.
Leaves out VeriFree's term on the answer and RLPR's debiasing. Advantages stay GRPO's; the papers divide by no std."""

import math
from bisect import bisect_right
from collections.abc import Sequence

from pzlib.engine.generation import seed_of
from pzlib.prompts import after_thought, parse_boxed
from pzlib.rewards import predictor_reward

OPENING = "\\boxed{"
# What Run's `reward` can name beside "exact": of a prediction by how likely its target is (arXiv:2602.03979).
LIKELIHOODS = ("prob", "avg_prob", "logprob", "avg_logprob", "jepo")
UNANSWERED = math.log(1e-6)  # nats a target token, of a completion that never opens an answer; papers say -infinity


def likelihood_rewards(logps: Sequence[Sequence[float] | None], reward: str, tokens: int) -> list[float]:
    """Rewards of a group's samples by the log-probabilities of the target's tokens after each one's reasoning.

    prob: exp of their sum (VeriFree); avg_prob: mean of exp (RLPR); logprob, avg_logprob: sum and mean (2602.03979);
    jepo: what the sample adds to the group's log of its mean probability (JEPO). None: it opens no answer, or was cut;
    tokens: how many the target then has. Errors: ValueError for another name.

    >>> half = math.log(0.5)
    >>> [likelihood_rewards([[half, half], None], name, 2)[0] for name in ("prob", "avg_prob")]
    [0.25, 0.5]
    >>> [round(r, 3) for r in likelihood_rewards([[half], [2 * half]], "jepo", 1)]  # log of 3/8 over 1/4, over 1/2
    [0.405, -0.288]
    """
    if reward not in LIKELIHOODS:
        raise ValueError(f"reward: {reward!r} is no likelihood; choose one of {', '.join(LIKELIHOODS)}")
    found = [[UNANSWERED] * max(1, tokens) if own is None else list(own) for own in logps]
    if reward == "avg_prob":
        return [math.fsum(map(math.exp, own)) / len(own) for own in found]
    sums = [math.fsum(own) for own in found]
    if reward == "jepo":
        return [_log_mean(sums) - _log_mean(sums[:i] + sums[i + 1 :]) for i in range(len(sums))]
    if reward == "avg_logprob":
        return [total / len(own) for total, own in zip(sums, found, strict=True)]
    return list(map(math.exp, sums)) if reward == "prob" else sums


def boxed(span, template):
    r"""The answer without a reasoning: the span in its box, spelt as the template's model does.

    >>> boxed("Rome", "tiny"), boxed("Rome", "paper")
    ('\\boxed{ Rome }', '\\boxed{Rome}')
    """
    return f"\\boxed{{ {span} }}" if template == "tiny" else f"\\boxed{{{span}}}"


def _log_mean(logs: Sequence[float]) -> float:
    top = max(logs)
    return top + math.log(math.fsum(math.exp(log - top) for log in logs) / len(logs))


def placed(answer, target, template, tokenizer, opening=OPENING):
    r"""(ids that go on from the prompt up to the target, ids of the target); None if the Answer was cut or opens none.

    The sampled tokens stay up to the last box; from there on the opening and the target are tokenized together, so that
    a token that holds the brace and the target's first letters counts as the target's, as the model would write it.
    """
    at = answer.text.rfind(opening)
    if at < len(answer.text) - len(after_thought(answer.text)) or answer.clipped:  # none, or in a thought
        return None

    def decoded(n):
        return tokenizer.decode(answer.ids[:n], skip_special_tokens=False, clean_up_tokenization_spaces=False)

    kept = bisect_right(range(len(answer.ids) + 1), at, key=lambda n: len(decoded(n))) - 1
    left = answer.text[len(decoded(kept)) : at]
    whole = left + (boxed(target, template) if opening == OPENING else opening + target)
    start = whole.index(target, len(left) + len(opening))
    coded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    inside = [i for i, (s, e) in enumerate(coded["offset_mapping"]) if s < start + len(target) and e > start]
    ids = coded["input_ids"]
    return [*answer.ids[:kept], *ids[: inside[0]]], ids[inside[0] : inside[-1] + 1]


def random_rewards(run, target: str, answers: Sequence) -> list[float]:
    """A control: rewards in [0, 1) of Answers to a target that nothing explains, the same on every process.

    >>> from types import SimpleNamespace as Some
    >>> same = [Some(text="It is Rome."), Some(text="It is Rome.")]
    >>> [round(reward, 2) for reward in random_rewards(Some(seed=0), "Rome", same)]
    [0.8, 0.39]
    """
    return [
        seed_of("random reward", run.seed, target, number, answer.text) / 2**63 for number, answer in enumerate(answers)
    ]


def rewards_of(method, targets, answers, read):
    """The rewards of G Answers to each target; `read` reaches `method.likelihoods`."""
    run, tokenizer = method.run, method.tokenizer
    if run.reward == "random":
        return [random_rewards(run, target, group) for target, group in zip(targets, answers, strict=True)]
    places = [
        [placed(answer, target, run.template, tokenizer, method.opening) for answer in group]
        for target, group in zip(targets, answers, strict=True)
    ]
    questions = [(group[0].prompt_ids, [*filter(None, own)]) for group, own in zip(answers, places, strict=True)]
    rewards = []
    for target, own, found in zip(targets, places, read(questions, by="likelihoods"), strict=True):
        found, tokens = iter(found), len(tokenizer(target, add_special_tokens=False)["input_ids"])
        rewards.append(likelihood_rewards([next(found) if place else None for place in own], run.reward, tokens))
    return rewards


def score(method, targets, answers, read):
    """Of each target its G (answer, what is in its box, reward, {"verdict"})."""
    found = [[parse_boxed(answer.text) for answer in group] for group in answers]
    right = [[predictor_reward(p, target) for p in group] for target, group in zip(targets, found, strict=True)]
    return scored(answers, found, rewards_of(method, targets, answers, read), right)


def scored(answers, predictions, rewards, right):
    """Of each target its G (answer, prediction, reward, {"verdict"}), from lists of G each."""
    return [
        [(answer, p, reward, {"verdict": "no answer" if p is None else "right" if ok else "wrong"})
         for answer, p, reward, ok in zip(*group, strict=True)]
        for group in zip(answers, predictions, rewards, right, strict=True)
    ]  # fmt: skip


def likelihoods(method, questions, policy):
    """What `read` reaches in a method: log p of each target token, as `pzlib.engine.packing.likelihoods` gives."""
    import torch

    from pzlib.engine.packing import likelihoods

    with torch.autocast(policy.device.type, torch.bfloat16, enabled=method.run.dtype == "bfloat16"):
        return likelihoods(policy, questions)
