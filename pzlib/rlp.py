"""RLP (arXiv:2510.01265): a thought before one true next token of each text, paid by how much likelier it makes it.
Leaves out an entropy filter and a next-token loss, as the paper does; several tokens a document (v2 trains one)."""

import re

import torch

from pzlib.asking import ask
from pzlib.ema import Average
from pzlib.layout import Block, episode_row
from pzlib.likelihood import after
from pzlib.masking import kind_of
from pzlib.nexttoken import cut, positions, token_offsets
from pzlib.rewards import centred_advantages, information_gain
from pzlib.rollout import Rollout
from pzlib.thoughts import FORMS, thought_end
from pzlib.turns import in_turn


class Thoughts(Rollout):
    """G thoughts before one token of each passage; reward = log p_policy(token | context, thought)
    - log p_average(token | context), in nats, with the moving average of `pzlib.ema` (RLP section 3.1).

    What the paper leaves unsaid, and is so here:

    * the position is uniform over the tokens that are whole visible text with `min_context` tokens before them. A
      passage without one keeps its place with rows that learn nothing (the metric `fillers`);
    * the thought is what is sampled up to its closing tag, which counts as a token of it: whether to think at all is
      learned. What comes after the tag is not sampled where the tag is one token, else cut off;
    * the true token follows the tag at once, by its id in the passage's own tokens, so with the space it carries;
    * a thought that never closes is closed before the true token is read, and paid like any other. It is counted:
      `predictor/parsed` is the share that closed, such an episode's `prediction` is None;
    * the baseline reads the bare context, without the prompt for a thought. It cancels in the advantage (see
      `rewards.centred_advantages`): it sets where 0 lies in the log, and moves no weight.

    An episode's `mask` is the true token, its `prediction` the thought without the tag, its `verdict` "helped" or
    "hurt". Raises ValueError for passages that are all too short.
    """

    advantages = staticmethod(centred_advantages)
    packs = True

    def __init__(self, run, passages, tokenizer, folder=None, model=None):
        super().__init__(run, passages, tokenizer, folder)
        longest = max(passage.length for passage in self.items)
        if longest <= run.min_context:
            raise ValueError(
                f"min_context: {run.min_context} tokens of context leave no token to predict, the longest passage has "
                f"{longest}; lower it, or raise max_tokens"
            )
        self.form = FORMS[run.template]
        self.closing = tokenizer(self.form.closing, add_special_tokens=False)["input_ids"]
        self.stop = self.closing if len(self.closing) == 1 else []  # ids of tokens after which nothing is sampled
        self.average = Average(model, run.ema)
        self.callbacks = (self.average,)

    def play(self, passages, ask, rng, step=1, read=None):
        """Blocks of `passages`, each the G thoughts before one token of it; `read` gives log-likelihoods."""
        played, targets = [Block(passage) for passage in passages], self._targets(passages, rng)
        chosen = [(block, *target) for block, target in zip(played, targets, strict=True) if target]
        prompts = [self.form.prompt(context) for _, context, _, _ in chosen]
        thoughts = [[self._thought(answer) for answer in answers] for answers in ask(prompts)]
        bare = self.tokenizer([context for _, context, _, _ in chosen])["input_ids"] if chosen else []
        gains = read(
            [
                (answers[0][0][0], [told for _, _, told in answers], context, token)
                for answers, context, (*_, token) in zip(thoughts, bare, chosen, strict=True)
            ]
        )
        for (block, _, mask, _), prompt, own, (with_, without) in zip(chosen, prompts, thoughts, gains, strict=True):
            for (answer, prediction, _), logp in zip(own, with_, strict=True):
                gain = information_gain(logp, without)
                facts = self._facts(block.passage, mask) | {"verdict": "helped" if gain > 0 else "hurt"}
                block.rows.append(episode_row("predictor", answer, prompt, prediction, gain, facts))
        G = self.run.group
        for number, block in enumerate(played):
            block.rows = block.rows or self.fillers()
            self.weigh(block, number)
            for row in block.rows:  # TRL takes the mean off, and knows no factor
                row.score = row.score and row.score * G / (G - 1)
        return played

    def read(self, questions, policy):
        """(log p after each thought under the policy, log p without one under the average) of each question.

        questions: (prompt, thoughts, context, token) each, all but the last lists of token ids, each thought closed.
        """
        with torch.autocast(policy.device.type, torch.bfloat16, enabled=self.run.dtype == "bfloat16"):
            with_ = after(policy, [(prompt, thoughts, token) for prompt, thoughts, _, token in questions])
            without = after(self.average.model, [(context, [[]], token) for _, _, context, token in questions])
        return [(own, alone) for own, (alone,) in zip(with_, without, strict=True)]

    def measures(self, episodes):
        """Of a step's thoughts: the share that names the true token, what those are paid and the others, empty ones.

        Naming is predicting, for the token is not shown; RPT warns that the reward can be had by naming alone.
        """
        thoughts = [e["completion"].partition(self.form.closing)[0].strip() for e in episodes]
        named = [names(thought, e["mask"]) for thought, e in zip(thoughts, episodes, strict=True)]
        return {
            "thought/naming": _mean(named),
            "thought/reward_naming": _mean([e["reward"] for e, n in zip(episodes, named, strict=True) if n]),
            "thought/reward_other": _mean([e["reward"] for e, n in zip(episodes, named, strict=True) if not n]),
            "thought/empty": _mean([not thought for thought in thoughts]),
        }

    def _targets(self, passages, rng):
        """(context, the token as a MaskedPassage, its id) of each passage, at a random position; None: it has none."""
        ids, offsets = token_offsets(self.tokenizer, [passage.text for passage in passages])
        each = list(zip(passages, offsets, strict=True))
        fit = [positions(passage.text, places, self.run.min_context) for passage, places in each]
        with in_turn(rng):
            chosen = [rng.choice(own) if own else None for own in fit]
        found = []
        for (passage, places), own, at in zip(each, ids, chosen, strict=True):
            told = at is not None and (passage.text[: places[at][0]], cut(passage.text, *places[at]), own[at])
            found.append(told or None)
        return found

    def _thought(self, answer):
        """(the answer up to the end of its thought, the thought's text or None, the ids before the true token)."""
        prompt_ids, ids, _, entropy, clipped, logprobs = answer
        end = thought_end(ids, self._text, self.form.closing)
        if end is None:
            ended = ids if clipped else ids[:-1]  # without the end token
            return answer[:2] + (self._text(ended), *answer[3:]), None, [*ended, *self.closing]
        text = self._text(ids[:end])
        kept = (prompt_ids, ids[:end], text, entropy, False, logprobs and logprobs[:end])
        return kept, text.partition(self.form.closing)[0].strip(), ids[:end]

    def _text(self, ids):
        return self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def _facts(self, passage, mask):
        place = round(mask.span_starts[0] / len(passage.text), 4)
        kind = kind_of(passage.text, passage.kinds, mask)
        return {"mask": mask.target, "legal": True, "count": 1, "kind": kind, "position": place}

    def _ask(self, texts, trainer, generator):
        return ask(self.run, self.tokenizer, texts, trainer, generator, self.stop)


def names(thought, token):
    """Whether a thought holds the token as a word of its own.

    >>> names("Think : it is Monday, then", "Monday"), names("Think : it is Monday", "day")
    (True, False)
    """
    return re.search(rf"(?<!\w){re.escape(token)}(?!\w)", thought) is not None


def _mean(values):
    return sum(values) / len(values) if values else None
