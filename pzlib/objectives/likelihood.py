"""Rewards by likelihood: the target in the answer's place behind the sampled reasoning, scored by teacher forcing.
VeriFree's and RLPR's amendments are settings. Without them advantages stay GRPO's; the papers divide by no std."""

import copy
import json
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

from pzlib.engine.generation import seed_of
from pzlib.game import Objective
from pzlib.masking import fits_a_box
from pzlib.prompts import OPENING, after_thought, parse_boxed
from pzlib.rewards import group_advantages, group_deviations, predictor_reward

# What Run's `reward` can name beside "exact": of a prediction by how likely its target is (arXiv:2602.03979).
LIKELIHOODS = ("prob", "avg_prob", "logprob", "avg_logprob", "jepo")
UNANSWERED = math.log(1e-6)  # nats a target token, of a completion that never opens an answer; papers say -infinity
# RLPR (arXiv:2506.18254), as its code has it: the weight of having answered at all, how much of itself the moving
# average of a group's std keeps at each step, and the first step whose groups are filtered by it.
FORMAT, KEEP, FILTERED_FROM = 0.1, 0.99, 11
SPREAD = "spread.json"  # that average, in every checkpoint


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
        raise ValueError(f"reward: {reward!r} is not a likelihood; choose one of {', '.join(LIKELIHOODS)}")
    found = [[UNANSWERED] * max(1, tokens) if own is None else list(own) for own in logps]
    if reward == "avg_prob":
        return [math.fsum(map(math.exp, own)) / len(own) for own in found]
    sums = [math.fsum(own) for own in found]
    if reward == "jepo":
        return [_log_mean(sums) - _log_mean(sums[:i] + sums[i + 1 :]) for i in range(len(sums))]
    if reward == "avg_logprob":
        return [total / len(own) for total, own in zip(sums, found, strict=True)]
    return list(map(math.exp, sums)) if reward == "prob" else sums


def answer_weights(logps: Sequence[Sequence[float] | None], reward: str, tokens: int) -> list[list[float]]:
    """How fast each reward of a group rises with each log-probability of its target: its own gradient on the answer.

    The exact gradient of a mean reward is that of the reasoning, weighed by advantage, plus this one: for prob it is
    VeriFree's R grad log p(target | prompt, reasoning) (arXiv:2505.21493), for jepo that of JEPO's bound, of which a
    sample has its share of the group's probability (arXiv:2503.19618). None: [], no target was read there.

    >>> half = math.log(0.5)
    >>> answer_weights([[half, half], None], "prob", 2), answer_weights([[half], [2 * half]], "avg_prob", 1)
    ([[0.25, 0.25], []], [[0.5], [0.25]])
    """
    sums = [tokens * UNANSWERED if own is None else math.fsum(own) for own in logps]
    whole = math.log(len(sums)) + _log_mean(sums)
    rates = {
        "prob": lambda own: [math.exp(math.fsum(own))] * len(own),
        "avg_prob": lambda own: [math.exp(log) / len(own) for log in own],
        "logprob": lambda own: [1.0] * len(own),
        "avg_logprob": lambda own: [1.0 / len(own)] * len(own),
        "jepo": lambda own: [math.exp(math.fsum(own) - whole)] * len(own),
    }
    return [rates[reward](own) if own else [] for own in logps]


def debiased(reward: float, unreasoned: float, opened: bool) -> float:
    """RLPR's 0.9 max(0, s - s0) + 0.1 format: how much likelier the reasoning made the target, and whether it answered.

    reward: s, of the target behind a reasoning; unreasoned: s0, of the target behind none, by the model that the run
    started from; opened: whether an answer was opened.

    >>> [round(debiased(s, 0.5, opened), 3) for s, opened in ((0.75, True), (0.25, True), (0.0, False))]
    [0.325, 0.1, 0.0]
    """
    return (1 - FORMAT) * max(0.0, reward - unreasoned) + FORMAT * opened


def centred_advantages(rewards: Sequence[float | None], group: int) -> list[float]:
    """G/(G-1) (r - mean r) in each `group` consecutive rewards, not divided by a std (RLP section 3.1).

    The same as r minus the mean of the *other* G - 1 rewards. What is added to all rewards of a group cancels, as RLP's
    baseline without a thought does. None, dead groups and errors as in `group_advantages`; G counts the rewards that
    are there.

    >>> centred_advantages([1.0, 0.0, -1.0, 4.0], group=4) == centred_advantages([-9.0, -10.0, -11.0, -6.0], group=4)
    True
    >>> centred_advantages([3.0, 0.0, -3.0, 6.0], group=4)
    [2.0, -2.0, -6.0, 6.0]
    """
    return [d * n / max(1, n - 1) for deviations, n in group_deviations(rewards, group) for d in deviations]


def boxed(span, template):
    r"""The answer without a reasoning: the span in its box, spelt as the template's model does.

    Errors: ValueError for a span that would not be read back from its box.

    >>> boxed("Rome", "tiny"), boxed("Rome", "paper")
    ('\\boxed{ Rome }', '\\boxed{Rome}')
    """
    if not fits_a_box(span.strip()):
        raise ValueError(f"span: {span!r} cannot be read back from a box; give one with balanced braces, or another")
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
    """(the rewards of G Answers to each target, the Answers as they are learned); `read` reaches `method.likelihoods`.

    With `answer_term` an Answer is learned up to its box, and then the target: what the method's `answer_weights` tell
    of the target's tokens is kept in `method.weights`.
    """
    run, tokenizer = method.run, method.tokenizer
    if run.reward == "random":
        return [random_rewards(run, *each) for each in zip(targets, answers, strict=True)], answers
    places = [
        [placed(answer, target, run.template, tokenizer, method.opening) for answer in group]
        for target, group in zip(targets, answers, strict=True)
    ]
    questions = [(group[0].prompt_ids, [*filter(None, own)]) for group, own in zip(answers, places, strict=True)]
    before = _unreasoned(method, targets, answers, read) if run.debias else [0.0] * len(targets)
    rewards, learned = [], []
    each = zip(targets, answers, places, read(questions, by="likelihoods"), before, strict=True)
    for target, group, own, found, unreasoned in each:
        found, tokens = iter(found), len(tokenizer(target, add_special_tokens=False)["input_ids"])
        logps = [next(found) if place else None for place in own]
        values = likelihood_rewards(logps, run.reward, tokens)
        if run.debias:
            values = [debiased(v, unreasoned, place is not None) for v, place in zip(values, own, strict=True)]
        rewards.append(values)
        if run.answer_term:
            group = [a if not at else replace(a, ids=[*at[0], *at[1]]) for a, at in zip(group, own, strict=True)]
            for answer, place, weights in zip(group, own, answer_weights(logps, run.reward, tokens), strict=True):
                if place:
                    method.weights[key_of(answer.prompt_ids, answer.ids)] = weights
        learned.append(group)
    return rewards, learned


def key_of(prompt_ids, completion_ids):
    """By which a row of TRL's batch is found again."""
    return tuple(prompt_ids), tuple(completion_ids)


def _unreasoned(method, targets, answers, read):
    """Of each target its reward where the box opens at once, by the model that the run started from."""
    run, tokenizer, places = method.run, method.tokenizer, []
    ids = tokenizer(method.opening, add_special_tokens=False)["input_ids"]
    text = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    for target, (first, *_) in zip(targets, answers, strict=True):
        empty = replace(first, ids=ids, text=text, clipped=False)
        places.append((first.prompt_ids, [placed(empty, target, run.template, tokenizer, method.opening)]))
    return [likelihood_rewards(own, run.reward, 1)[0] for own in read(places, by="unreasoned")]


def score(method, targets, answers, read):
    """Of each target its G (answer, what is in its box, reward, {"verdict"})."""
    found = [[parse_boxed(answer.text) for answer in group] for group in answers]
    right = [[predictor_reward(p, target) for p in group] for target, group in zip(targets, found, strict=True)]
    rewards, learned = rewards_of(method, targets, answers, read)
    return scored(learned, found, rewards, right)


def scored(answers, predictions, rewards, right):
    """Of each target its G (answer, prediction, reward, {"verdict"}), from lists of G each."""
    return [
        [(answer, p, reward, {"verdict": "no answer" if p is None else "right" if ok else "wrong"})
         for answer, p, reward, ok in zip(*group, strict=True)]
        for group in zip(answers, predictions, rewards, right, strict=True)
    ]  # fmt: skip


class ByLikelihood(Objective):
    """A method whose predictions can be rewarded by how likely their targets are; `Run.reward` says how.

    Rewards are then real numbers: a group is dead only where its reasonings are all the same or none opens an answer,
    so that filtering dead ones and dropping their rows, which both stay correct, leave out little. Settings of it:

    * answer_term: the gradient of the reward's own on the target's tokens joins the loss (`answer_weights`). A row is
      then the completion up to its box, and the target in place of what was answered; advantages of predictions are
      leave-one-out, on the reward's own scale, as in VeriFree. An episode's length counts the target.
    * debias: `debiased`, RLPR's. Its items are fixed and read once before; ours are new at every step.
    * std_filter: groups whose std is below so much of its moving average leave the loss, from step 11 on (RLPR: 0.5).
      Ours, since its order is not stated: a step is filtered by the average of the steps before it.
    """

    rewards = ("exact", *LIKELIHOODS, "random")

    def __init__(self, run, items, tokenizer, folder=None, model=None):
        super().__init__(run, items, tokenizer, folder, model)
        self.weights, self.learned = {}, {}  # of rows, by `key_of`: of a target's tokens, and of all of a row's
        self.start = copy.deepcopy(model).requires_grad_(False).eval() if run.debias and model is not None else None
        self.spread = _spread() if run.std_filter else None
        self.callbacks = (*self.callbacks, *filter(None, [self.spread]))

    @classmethod
    def check(cls, run):
        if run.debias and run.reward not in ("prob", "avg_prob"):
            raise ValueError(f"debias: RLPR's is of a probability, not of {run.reward}; set reward to avg_prob or prob")
        reasons = {
            "filter": (run.filter != "none", "groups of equal rewards would leave the loss; none"),
            "dynamic_from": (run.dynamic_from, "groups of equal rewards would be replaced; 0"),
            "loss": (run.loss not in ("dapo", "cispo"), f"{run.loss} is no sum over tokens, so no row drops out; dapo"),
            "updates_per_batch": (run.updates_per_batch > 1, "a target was not sampled, so it has no ratio to clip; 1"),
            "use_vllm": (run.use_vllm, "a target was not sampled, so it has no ratio to correct; False"),
            "temperature": (run.temperature != 1, "the loss would read a target at another one than its reward; 1"),
            "kl": (run.kl, "a target was not sampled, so a KL term says nothing of it; 0"),
            "entropy_bonus": (run.entropy_bonus, "a target was not sampled, so no bonus is due for it; 0"),
            "generator_weight": (run.generator_weight, "advantages are each token's own; 0"),
            "debias": (run.debias, "one is VeriFree's, the other RLPR's; False"),
        }  # fmt: skip
        for name, (holds, why) in reasons.items():
            if run.answer_term and holds:
                why, remedy = why.rsplit("; ", 1)
                raise ValueError(f"{name}: with answer_term {why}; set {name} to {remedy}, or leave answer_term out")

    @classmethod
    def frozen(cls, run):
        return super().frozen(run) | ({"start": None} if run.debias else {})

    @classmethod
    def needs_whole_weights(cls, run):
        likely = run.reward in LIKELIHOODS
        return ("tell how likely a target is", "set reward to exact") if likely else super().needs_whole_weights(run)

    def advantages(self, rewards, group):
        if not self.run.answer_term:
            return group_advantages(rewards, group)
        masks, others = rewards[: group * self.has_generator], rewards[group * self.has_generator :]
        jepo = self.run.reward == "jepo"  # whose rewards are advantages already: a sample's more than the others'
        own = [r or 0.0 for r in others] if jepo else centred_advantages(others, group)
        return group_advantages(masks, group) + own

    def play(self, items, ask, rng, step=1, read=None):
        self.weights, self.learned = {}, {}
        played, run = super().play(items, ask, rng, step, read), self.run
        predicted = [row for block in played for row in block.rows if row.role == "predictor"]
        for row in predicted if run.answer_term else ():
            key = key_of(row.prompt_ids, row.completion_ids)
            own = self.weights.get(key, [])
            self.learned[key] = [row.episode["advantage"]] * (len(row.completion_ids) - len(own)) + own
        if self.spread:
            self.spread.least = run.std_filter * self.spread.average if step >= FILTERED_FROM else 0.0
            for i in range(0, len(predicted), run.group):
                rows = predicted[i : i + run.group]
                if stdev(row.score for row in rows) < self.spread.least:
                    for row in rows:
                        row.score, row.in_loss = None, False
        return played

    def measures(self, episodes):
        found = super().measures(episodes)
        if self.spread:
            groups = {}
            for e in (e for e in episodes if e["role"] == "predictor"):
                groups.setdefault((e["block"], e["group_index"]), []).append(e["reward"])
            stds = [stdev(own) for own in groups.values()]
            found["predictor/filtered_by_std"] = fmean(std < self.spread.least for std in stds) if stds else None
            found["predictor/reward_std"] = self.spread.follow(stds)
        return found

    def likelihoods(self, questions, policy):
        """What `read` reaches: log p of each target token, as `pzlib.engine.packing.likelihoods` gives."""
        import torch

        from pzlib.engine.packing import likelihoods

        with torch.autocast(policy.device.type, torch.bfloat16, enabled=self.run.dtype == "bfloat16"):
            return likelihoods(policy, questions)

    def unreasoned(self, questions, policy):
        """The same by the model that the run started from."""
        return self.likelihoods(questions, self.start.to(policy.device))


def _spread():
    """A callback that holds the moving average of a group's std; in every checkpoint, for a run that goes on."""
    from transformers import TrainerCallback

    class Spread(TrainerCallback):
        average = least = 0.0

        def follow(self, stds):
            """Take the mean std of a step's groups into the average, which begins with it; returns that mean."""
            if not stds:
                return None
            own = fmean(stds)
            self.average = KEEP * self.average + (1 - KEEP) * own if self.average else own
            return own

        def on_train_begin(self, args, state, control, **_):
            if state.global_step:
                path = Path(args.output_dir) / f"checkpoint-{state.global_step}" / SPREAD
                self.average = json.loads(path.read_text())

        def on_save(self, args, state, control, **_):
            if state.is_world_process_zero:
                path = Path(args.output_dir) / f"checkpoint-{state.global_step}" / SPREAD
                path.write_text(json.dumps(self.average))

    return Spread()
