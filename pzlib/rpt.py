"""RPT: the next token of a passage, predicted after a reasoning, at positions where a frozen model is uncertain.
Leaves out chat templates. The paper says neither how many positions a passage gives nor whose tokens count: ours."""

from pzlib.layout import Block, episode_row
from pzlib.masking import kind_of
from pzlib.nexttoken import cut, entropies, pieces, probabilities, target_at, token_offsets, uncertain
from pzlib.prompts import parse_boxed
from pzlib.rewards import conditional_dense_rewards, dense_reward, first_token_reward, rpt_reward
from pzlib.rollout import Rollout
from pzlib.rpttemplates import rpt_prompt
from pzlib.turns import in_turn


def predicted(completion, template):
    r"""What the last box after `</think>` holds, every space kept (RPT sec. 3.3); None where there is no such box.

    A thought that was opened and never closed gives no prediction, whatever boxes stand in it. The tiny model writes a
    space on either side of what it boxes: the first is its word's own, as in the text, the last is dropped.

    >>> predicted(r"<think> \boxed{ a} </think> \boxed{ size}", "paper"), predicted(r"\boxed{ size }", "tiny")
    (' size', ' size')
    >>> predicted(r"<think> so it is \boxed{ size}", "paper") is None
    True
    """
    if _left_open(completion):
        return None
    said = parse_boxed(completion)
    return said.removesuffix(" ") if said and template == "tiny" else said


def _left_open(completion):
    return "<think>" in completion.rpartition("</think>")[2]


def verdict(completion, prediction, target):
    """In a word: right (by prefix matching, whatever the reward in use), or why not.

    >>> from pzlib.nexttoken import target_at
    >>> target = target_at("It was old .", [(0, 2), (3, 6), (7, 10), (11, 12)], 2)
    >>> [verdict("", said, target) for said in (" old", " old .", " ol", "old", None)]
    ['right', 'right', 'inside a token', 'wrong', 'no answer']
    """
    if prediction is None:
        return "thought not closed" if _left_open(completion) else "no answer"
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


class NextTokens(Rollout):
    """G positions of a passage, G predictions each: paid by `rpt_reward`, or by one of RPT's alternatives (App. A).

    passages: the Passages the data set was made of; scorer: the frozen model whose entropies filter positions, None
    for the policy itself. Boundaries are those of the policy's tokenizer. A passage without a position keeps its place
    with rows that teach nothing, counted in the metric `fillers`. Raises ValueError for a template that there is not,
    and in the first `play` where no passage at all has a position.
    """

    def __init__(self, run, passages, tokenizer, folder=None, scorer=None):
        super().__init__(run, passages, tokenizer, folder)
        if run.template == "tiny" and run.rpt_template != "v0":
            raise ValueError(f"rpt_template: {run.rpt_template!r} is of template 'paper'; 'tiny' has one wording only")
        self.scorer, self.checked = scorer, False

    def read(self, ids, policy, wanted=None):
        """The top-16 entropy in nats at each token of each text, of the frozen scorer or else of the policy; with
        `wanted` how likely the policy finds the tokens named there (`pzlib.nexttoken.probabilities`)."""
        if wanted is not None:
            return probabilities(policy, ids, wanted)
        return entropies(self.scorer.to(policy.device) if self.scorer else policy, ids, self.run.entropy_top)

    def play(self, passages, ask, rng, step=1, read=None):
        """Blocks of `passages`, G groups each."""
        G = self.run.group
        if not self.checked:
            self._refuse_without_positions(read)
        ids, offsets = token_offsets(self.tokenizer, [p.text for p in passages])
        fit = self._positions(ids, offsets, read)
        with in_turn(rng):
            chosen = [draw(places, G, rng) for places in fit]
        drawn = [
            [target_at(p.text, own, place) for place in places]
            for p, own, places in zip(passages, offsets, chosen, strict=True)
        ]
        wording = self.run.template, self.run.rpt_template
        prompts = [[rpt_prompt(target.context, *wording) for target in targets] for targets in drawn]
        answers = iter(ask([prompt for row in prompts for prompt in row]))
        played = [Block(passage) for passage in passages]
        for b, (block, targets) in enumerate(zip(played, drawn, strict=True)):
            groups = [next(answers) for _ in targets]
            said = [[predicted(answer[2], self.run.template) for answer in group] for group in groups]
            rewards = self._rewards(ids[b], targets, said, read)
            for g, target in enumerate(targets):
                facts = self._facts(block.passage, target)
                for answer, prediction, reward in zip(groups[g], said[g], rewards[g], strict=True):
                    told = facts | {"verdict": verdict(answer[2], prediction, target)}
                    block.rows.append(episode_row("predictor", answer, prompts[b][g], prediction, reward, told))
            if not targets:
                block.rows = [row for _ in range(G) for row in self.fillers()]
            self.weigh(block, b)
        return played

    def _positions(self, ids, offsets, read):
        run = self.run
        return [
            uncertain(own, nats, run.min_context, run.entropy_threshold)
            for own, nats in zip(offsets, read(ids), strict=True)
        ]

    def _refuse_without_positions(self, read):
        """Looks passage by passage for one with a position; as a rule the first has one."""
        for passage in self.items:
            if any(self._positions(*token_offsets(self.tokenizer, [passage.text]), read)):
                self.checked = True
                return
        run = self.run
        raise ValueError(
            f"entropy_threshold: no token of {len(self.items)} passages has {run.min_context} tokens before it and an "
            f"entropy of {run.entropy_threshold:g} nats or more; lower it, or min_context, or give longer passages"
        )

    def _facts(self, passage, target):
        masked = cut(passage.text, target.start, target.start + len(target.token))
        kind = kind_of(passage.text, passage.kinds, masked)
        place = round(target.start / len(passage.text), 4)
        return {"mask": target.token, "legal": True, "count": None, "kind": kind, "position": place}

    def _rewards(self, ids, targets, said, read):
        """Rewards (targets, G) of the predictions `said` by the run's rule."""
        rule, each = self.run.rpt_reward, list(zip(targets, said, strict=True))
        if rule == "prefix":
            return [[rpt_reward(p, target.continuation, target.boundaries) for p in group] for target, group in each]
        firsts = [[self._first(p) for p in group] for group in said]  # (token id, its text) each
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
        """(id, text) of a prediction's first token; tokenized by itself, so without what stands before it."""
        if not prediction:
            return None, None
        (ids,), (offsets,) = token_offsets(self.tokenizer, [prediction])
        found = pieces(offsets)
        return (ids[0], prediction[: found[0][2]]) if found else (None, None)
