"""RPT (arXiv:2506.08007): the next token of a passage, predicted after a reasoning, where a frozen model is uncertain.
Leaves out chat templates. The paper says neither how many positions a passage gives nor whose tokens count: ours."""

from collections.abc import Collection, Sequence

from pzlib.engine.generation import in_turn
from pzlib.game import Block, Row
from pzlib.masking import fits_a_box
from pzlib.objectives import likelihood
from pzlib.objectives.targets import ByEntropy, cut, facts_of, pieces, target_at, token_offsets, uncertain
from pzlib.prompts import RPT_V0, TINY, next_token_prompt, parse_boxed
from pzlib.tiers import OMNIMATH, PAPERS_WORLD, R1

_SMALL = {"entropy_model": "base", "entropy_threshold": 0.5}
# Section 3 and appendix: OmniMATH, R1-Distill-Qwen-14B, a proxy of 1.5B, 256 positions of 8 answers each, temperature
# 0.8, gradient clip 0.2, dynamic sampling from step 500; 200 samples are held out. Its threshold and how many
# positions a document gives are not stated: ours.
_PAPER = {
    "model": R1.format("14B"), **OMNIMATH.settings(), "corpus_limit": OMNIMATH.size - 200,
    "entropy_model": PAPERS_WORLD.proxies[R1.format("14B")], "entropy_threshold": 0.5,
    "steps": 1000, "filter": "none", "dynamic_from": 500, "learning_rate": 1e-6, "schedule": "constant",
    "temperature": 0.8, "max_prompt_tokens": 4096, "max_tokens": 3072, "max_completion_tokens": 8192,
    "max_grad_norm": 0.2, "weight_decay": 0.01,
}  # fmt: skip
_GPU = {name: _PAPER[name] for name in ("entropy_threshold", "schedule", "temperature", "max_grad_norm")}


def rpt_reward(prediction: str | bytes | None, continuation: str | bytes, boundaries: Collection[int]) -> float:
    """1.0 if the prediction begins the continuation and ends where a token of it ends, else 0.0: prefix matching.

    In bytes, of text those of UTF-8: boundaries holds the cumulative lengths of the continuation's tokens (the paper's
    L_gt). Spaces count: " a" is not "a". So one token, or several, are right; part of one, or nothing, is not.

    >>> boundaries = {6, 9, 15}  # of the tokens " elect", "ric", " field"
    >>> predictions = [" elect", " electric", " elec", "elect", "", None]
    >>> [rpt_reward(prediction, " electric field", boundaries) for prediction in predictions]
    [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """
    if not prediction:
        return 0.0
    predicted, whole = (
        text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text for text in (prediction, continuation)
    )
    return float(whole.startswith(predicted) and len(predicted) in boundaries)


def first_token_reward(first: str | None, token: str) -> float:
    """1.0 if a prediction's `first` token (None: it has none) is the true one, whatever follows, else 0.0 (App. A).

    >>> [first_token_reward(first, " size") for first in (" size", "size", " si", None)]
    [1.0, 0.0, 0.0, 0.0]
    """
    return float(first == token)


def dense_reward(right: bool, probability: float) -> float:
    """1 for a right first token, for a wrong one the probability that the model gives it there (App. A).

    probability: after the bare context; 0 where nothing was predicted. Errors: ValueError for one outside [0, 1].

    >>> dense_reward(True, 0.1), dense_reward(False, 0.1)
    (1.0, 0.1)
    """
    if not 0 <= probability <= 1:  # also catches NaN
        raise ValueError(f"probability: {probability} is none; give exp of a log-probability, from 0 to 1")
    return 1.0 if right else float(probability)


def conditional_dense_rewards(
    right: Sequence[bool], probabilities: Sequence[float], none_right: float = 0.0
) -> list[float]:
    """`dense_reward` of a group's G predictions where one of them is right, else `none_right` for all (App. A).

    The paper leaves open whether that is 0 or a small penalty; in a group of equal rewards neither teaches anything.

    >>> conditional_dense_rewards([True, False], [0.5, 0.2]), conditional_dense_rewards([False, False], [0.5, 0.2])
    ([1.0, 0.2], [0.0, 0.0])
    """
    if not any(right):
        return [none_right] * len(right)
    return [dense_reward(*pair) for pair in zip(right, probabilities, strict=True)]


_TASK = "Complete the given text under ### Context by predicting the next token, "
_STEPS = "and wrap it in \\boxed{}. Please reason step by step to find the most probable next token"
_NOTE = "(note: the token may begin with a space, e.g., \\boxed{ para} or \\boxed{ =}; do not use \\text{})."
_FENCED = "\n### Context\n```{text}```"
_ENCLOSED = f", and enclose it in \\boxed{{}} {_NOTE}{_FENCED}"
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
    "v1": f"{_TASK}{_STEPS} as the final prediction{_ENCLOSED}",
    "v2": (
        "You are a helpful assistant, good at predicting the next token for a given context.\n"
        f"Now, please {_TASK.replace('Complete', 'complete')}{_STEPS}{_ENCLOSED}"
    ),
    "v3": (
        f"{_TASK}list multiple potential tokens and select the most probable one as the final answer. "
        f"Wrap your final answer in \\boxed{{}} {_NOTE}{_FENCED}"
    ),
    "v4": (
        f"{_TASK}{_STEPS} as the final answer, and enclose it in \\boxed{{}}. Some examples:{_EXAMPLES}"
        f"\nNow, the context is:{_FENCED}"
    ),
    "v5": f"{_TASK}{_STEPS} as the final answer{_ENCLOSED}",
    "v6": (
        "Complete the given text wrapped in ``` and ``` by predicting the next token, list multiple potential tokens "
        f"and select the most probable one as the final prediction. Wrap your final prediction in \\boxed{{}} {_NOTE}"
        "\nThe context is:\n```{text}```\nNow please predict the next token."
    ),
}


def rpt_prompt(context: str, template: str = "paper", version: str = "v0") -> str:
    r"""The prompt that asks for the token after `context`, spaces at its end kept; "tiny" has one wording only.

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


def predicted(completion, template):
    r"""What the last box after `</think>` holds, every space kept (RPT sec. 3.3); None where there is no such box.

    A thought that was opened and never closed gives no prediction, whatever boxes are in it. The tiny model writes a
    space on either side of what it boxes: the first is its word's own, as in the text, the last is dropped.

    >>> predicted(r"<think> \boxed{ a} </think> \boxed{ size}", "paper"), predicted(r"\boxed{ size }", "tiny")
    (' size', ' size')
    >>> predicted(r"<think> so it is \boxed{ size}", "paper") is None
    True
    """
    found = parse_boxed(completion)
    return found.removesuffix(" ") if found and template == "tiny" else found


def verdict(completion, prediction, target):
    """In a word: right (by prefix matching, whatever the reward in use), or why not.

    >>> from pzlib.objectives.targets import target_at
    >>> target = target_at("It was old .", [(0, 2), (3, 6), (7, 10), (11, 12)], 2)
    >>> [verdict("", said, target) for said in (" old", " old .", " ol", "old", None)]
    ['right', 'right', 'inside a token', 'wrong', 'no answer']
    """
    if prediction is None:
        return "thought not closed" if "<think>" in completion.rpartition("</think>")[2] else "no answer"
    if rpt_reward(prediction, target.continuation, target.boundaries):
        return "right"
    return "inside a token" if prediction and target.continuation.startswith(prediction) else "wrong"


def draw(places, count, rng):
    """`count` of `places` in random order, none twice before all were drawn; none at all where there are none.

    >>> import random
    >>> sorted(draw([3, 5], 4, random.Random(0)))
    [3, 3, 5, 5]
    """
    shuffled = rng.sample(places, len(places))
    return [shuffled[i % len(shuffled)] for i in range(count)] if shuffled else []


class RPT(ByEntropy, likelihood.ByLikelihood):
    """G positions of a passage, G predictions each, rewarded by `rpt_reward` or one of RPT's alternatives (App. A); or
    by how likely the true token is in the box (ours), of tokens that a box can hold.

    Boundaries are those of the policy's tokenizer. A passage without a position keeps its place with rows that teach
    nothing, counted in the metric `fillers`. Raises ValueError in the first `fill` where no passage has a position.
    """

    name, label, paper = "rpt", "RPT", "arXiv:2506.08007"
    tiers = {
        "smoke": _SMALL, "mini": _SMALL, "gpu": _GPU | {"entropy_model": "base", "learning_rate": 1e-6},
        "paper": _PAPER,
    }  # fmt: skip
    evaluation = "next_tokens"
    checked = False  # whether some passage is known to have a position

    @classmethod
    def check(cls, run):
        if run.template == "tiny" and run.rpt_template != "v0":
            raise ValueError(f"rpt_template: {run.rpt_template!r} is of template 'paper'; 'tiny' has one wording only")
        if run.reward != "exact" and run.rpt_reward != "prefix":
            given = f"{run.rpt_reward!r} is of reward 'exact', not of {run.reward!r}"
            raise ValueError(f"rpt_reward: {given}; leave one out")
        super().check(run)

    @classmethod
    def prompts(cls, run, item):
        return [rpt_prompt(item.text, run.template, run.rpt_template)]

    @classmethod
    def stop_words(cls, run):
        return []  # it asks in its paper's form, whatever the template

    @classmethod
    def needs_whole_weights(cls, run):
        dense = run.rpt_reward in ("dense", "conditional_dense")
        likely = ("tell how likely a token is", "set rpt_reward to prefix") if dense else None
        return super().needs_whole_weights(run) or likely

    def read(self, ids, wanted=None, *, policy):
        """The top-16 entropy in nats at each token of each text; with `wanted` how likely the policy finds the tokens
        named there (`pzlib.engine.packing.probabilities`)."""
        from pzlib.engine.packing import probabilities

        if wanted is not None:
            return probabilities(policy, ids, wanted)
        return super().read(ids, self.run.entropy_top, policy=policy)

    def fill(self, passages, ask, rng, step=1, read=None):
        """Blocks of `passages`, G groups each."""
        run, G = self.run, self.run.group
        if not self.checked:
            self._refuse_without_positions(read)
        ids, offsets = token_offsets(self.tokenizer, [p.text for p in passages])
        fit = self._positions(ids, offsets, read)
        if run.reward != "exact":
            fit = [[place for place in places if _boxable(target_at(p.text, own, place).token)]
                   for p, own, places in zip(passages, offsets, fit, strict=True)]  # fmt: skip
        with in_turn(rng):
            chosen = [draw(places, G, rng) for places in fit]
        drawn = [
            [target_at(p.text, own, place) for place in places]
            for p, own, places in zip(passages, offsets, chosen, strict=True)
        ]
        prompts = [[rpt_prompt(t.context, run.template, run.rpt_template) for t in targets] for targets in drawn]
        answers = iter(ask([prompt for row in prompts for prompt in row]))
        played = [Block(passage) for passage in passages]
        for b, (block, targets) in enumerate(zip(played, drawn, strict=True)):
            groups = [next(answers) for _ in targets]
            predictions = [[predicted(answer.text, run.template) for answer in group] for group in groups]
            if run.reward == "exact":
                rewards = self._rewards(ids[b], targets, predictions, read)
            else:
                tokens = [target.token.strip() if run.template == "tiny" else target.token for target in targets]
                rewards, groups = likelihood.rewards_of(self, tokens, groups, read)
            for g, target in enumerate(targets):
                facts = _facts(block.item, target)
                for answer, prediction, reward in zip(groups[g], predictions[g], rewards[g], strict=True):
                    why = {"verdict": verdict(answer.text, prediction, target)}
                    block.rows.append(Row.of("predictor", answer, prompts[b][g], prediction, reward, facts | why))
            if not targets:
                block.rows = [row for _ in range(G) for row in self.fillers()]
        return played

    def _positions(self, ids, offsets, read):
        context, threshold = self.run.min_context, self.run.entropy_threshold
        return [uncertain(own, nats, context, threshold) for own, nats in zip(offsets, read(ids), strict=True)]

    def _refuse_without_positions(self, read):
        """Looks passage by passage for one with a position; as a rule the first has one."""
        one_by_one = (self._positions(*token_offsets(self.tokenizer, [passage.text]), read) for passage in self.items)
        self.checked = any(places for (places,) in one_by_one)
        if not self.checked:
            raise ValueError(
                f"entropy_threshold: no token of {len(self.items)} passages has {self.run.min_context} tokens before "
                f"it and an entropy of {self.run.entropy_threshold:g} nats or more; lower it, or min_context, or give "
                "longer passages"
            )

    def _rewards(self, ids, targets, predictions, read):
        """Rewards (targets, G) by the run's rule."""
        rule, each = self.run.rpt_reward, list(zip(targets, predictions, strict=True))
        if rule == "prefix":
            return [[rpt_reward(p, target.continuation, target.boundaries) for p in group] for target, group in each]
        firsts = [[self._first(p) for p in group] for group in predictions]  # (token id, its text) each
        right = [[first_token_reward(w, t.token) for _, w in row] for t, row in zip(targets, firsts, strict=True)]
        if rule == "first_token":
            return right
        wanted = [(t.first, i) for t, row in zip(targets, firsts, strict=True) for i, _ in row if i is not None]
        found = iter(read([ids], [wanted])[0])
        likely = [[0.0 if i is None else next(found) for i, _ in row] for row in firsts]
        if rule == "conditional_dense":
            return [conditional_dense_rewards(*pair) for pair in zip(right, likely, strict=True)]
        return [list(map(dense_reward, *pair)) for pair in zip(right, likely, strict=True)]

    def _first(self, prediction):
        """(id, text) of a prediction's first token; tokenized by itself, so without what comes before it."""
        if not prediction:
            return None, None
        (ids,), (offsets,) = token_offsets(self.tokenizer, [prediction], start=False)
        found = pieces(offsets)
        return (ids[0], prediction[: found[0][2]]) if found else (None, None)


def _boxable(token):
    return bool(token.strip()) and fits_a_box(token.strip())


def _facts(passage, target):
    mask = cut(passage.text, target.start, target.start + len(target.token))
    place = round(target.start / len(passage.text), 4)  # the token's, with the spaces that belong to it
    return facts_of(passage, mask, mask=target.token, count=None, position=place)
