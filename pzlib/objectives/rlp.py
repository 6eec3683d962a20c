"""RLP (arXiv:2510.01265): a thought before one true next token of each text, rewarded by how much likelier it makes it.
Leaves out an entropy filter and a next-token loss, as the paper does; several tokens per document (v2 trains one)."""

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pzlib.engine.generation import ask, in_turn
from pzlib.game import Block, Objective, Row
from pzlib.objectives.likelihood import centred_advantages
from pzlib.objectives.targets import cut, facts_of, positions, token_offsets
from pzlib.prompts import OPENING

# Rewards are real numbers: no group is all right or all wrong, and a mean over rows needs every row.
_ALL = {"filter": "none", "drop_rows": False}


def information_gain(logp_with: float, logp_without: float) -> float:
    """log p(x | context, thought) - log p(x | context), in nats: a thought's reward, positive where it helped.

    x is the true next token; logp_with is the policy's, logp_without that of the moving-average baseline. A constant
    for gradients. Errors: ValueError for what is not a finite log-probability (a loss given by mistake is positive).

    >>> round(information_gain(math.log(0.5), math.log(0.25)), 4)  # twice as likely: log 2
    0.6931
    """
    for name, value in (("logp_with", logp_with), ("logp_without", logp_without)):
        if not (math.isfinite(value) and value <= 1e-3):  # rounding may lift a log-probability just above 0
            raise ValueError(f"{name}: {value} is not a finite log-probability (at most 0); a loss has the other sign")
    return float(logp_with) - float(logp_without)


@dataclass(frozen=True)
class Form:
    """What comes before the context, between it and the thought, and what closes the thought."""

    head: str
    opening: str
    closing: str

    def prompt(self, context: str) -> str:
        r"""The text that a thought follows: `context` is all that precedes the token to be predicted, spaces included.

        >>> FORMS["tiny"].prompt("Rome is ")
        'Passage : Rome is [mask] Answer :'
        >>> FORMS["paper"].prompt("Rome is")[-44:]
        'simply continue the content.\n\nRome is<think>'
        """
        return self.head + (context.rstrip() if self.opening[0] == " " else context) + self.opening


FORMS = {
    # RLP's system prompt (v2, section 3.1), word for word but for its first tag, printed "</think>". The thought takes
    # the next token's place, with nothing of ours around it: without it the text goes on as it was.
    "paper": Form(
        "You are a continuation-and-reasoning assistant. You receive the prefix of a context, problem, solution, or "
        "derivation. First, briefly think between <think> and </think> about what should come next. Then, after "
        "</think>, continue the text in the SAME style as the prefix (notation, LaTeX, tone), focusing on the next few "
        "steps rather than jumping to a final boxed answer. Do not restate the question or add meta commentary; simply "
        "continue the content.\n\n", "<think>", "</think>",
    ),  # fmt: skip
    # tinybase knows no tags: it reasons before a box ("Think : ... ." or nothing), and the box's first word is the
    # masked one. So here what opens the box closes the thought.
    "tiny": Form("Passage : ", " [mask] Answer :", OPENING),
}
FORMS["three_shot"] = FORMS["paper"]


def thought_end(ids: Sequence[int], decode: Callable[[Sequence[int]], str], closing: str) -> int | None:
    """How many of a completion's tokens are its thought, the closing tag with it; None where the tag never comes.

    Found in the decoded text, since a tokenizer may cut the tag in several ways; the first one counts.

    >>> words = "it is two </think> two </think>".split()
    >>> [thought_end(range(n), lambda ids: " ".join(words[i] for i in ids), "</think>") for n in (3, 4, 6)]
    [None, 4, 4]
    """
    end = bisect_left(range(len(ids) + 1), True, key=lambda n: closing in decode(ids[:n]))
    return end if end <= len(ids) else None


class RLP(Objective):
    """G thoughts before one token of each passage; reward = log p_policy(token | context, thought)
    - log p_average(token | context), in nats, with a moving average of the policy (RLP section 3.1).

    What the paper leaves unsaid, and is so here:

    * the position is uniform over the tokens that are whole visible text with `min_context` tokens before them. A
      passage without one keeps its place with rows that learn nothing (the metric `fillers`);
    * the thought is what is sampled up to its closing tag, which counts as a token of it: whether to think at all is
      learned. What comes after the tag is not sampled where the tag is one token, else cut off;
    * the true token follows the tag at once, by its id in the passage's own tokens, so with the space it carries;
    * a thought that never closes is closed before the true token is read, and rewarded like any other. It is counted:
      `predictor/parsed` is the share that closed, such an episode's `prediction` is None;
    * the baseline reads the bare context, without the prompt for a thought. It cancels in the advantage: it sets where
      0 is in the log, and moves no weight.

    An episode's `mask` is the true token, its `prediction` the thought without the tag, its `verdict` "helped" or
    "hurt". Raises ValueError for passages that are all too short.
    """

    name, label, paper = "rlp", "RLP", "arXiv:2510.01265"
    # Section 3.1: no division by a std, and a mean over the tokens of each thought: TRL's "grpo".
    loss = {"loss_type": "grpo", "scale_rewards": "none"}
    advantages = staticmethod(centred_advantages)
    reads_shared_prompts = True
    # Section 3.2: Qwen3-1.7B-Base, 512 documents of 16 thoughts, temperature 0.7, 2048 tokens of context and of
    # thought, 200 steps (170M tokens). Its corpus mixture is not public: Wikipedia stands in.
    tiers = {
        "smoke": _ALL | {"passages": 4},
        "mini": _ALL | {"passages": 32},
        "gpu": _ALL | {"passages": 32, "schedule": "constant", "temperature": 0.7, "max_completion_tokens": 512},
        "paper": _ALL | {
            "model": "Qwen/Qwen3-1.7B-Base", "steps": 200, "passages": 512, "group": 16, "learning_rate": 1e-6,
            "schedule": "constant", "temperature": 0.7, "max_tokens": 1900, "max_prompt_tokens": 2048,
            "max_completion_tokens": 2048,
        },
    }  # fmt: skip

    @classmethod
    def groups(cls, run):
        return 1

    @classmethod
    def check(cls, run):
        if run.loss != "dapo":
            raise ValueError(f"loss: {run.loss!r} is not RLP's, which is a mean over each thought; leave it out")

    @classmethod
    def prompts(cls, run, item):
        return [FORMS[run.template].prompt(item.text)]

    @classmethod
    def stop_words(cls, run):
        return [FORMS[run.template].closing]

    @classmethod
    def frozen(cls, run):
        return {"moving average": None}

    @classmethod
    def needs_whole_weights(cls, run):
        return "tell how likely a token is, and none holds the moving average", None

    def __init__(self, run, items, tokenizer, folder=None, model=None):
        from pzlib.engine.models import Average

        super().__init__(run, items, tokenizer, folder)
        longest = max(passage.length for passage in self.items)
        if longest <= run.min_context:
            why = f"tokens of context leave no token to predict, the longest passage has {longest}"
            raise ValueError(f"min_context: {run.min_context} {why}; lower it, or raise max_tokens")
        self.form = FORMS[run.template]
        self.opening = self.form.closing  # a thought's end is where its answer begins
        self.closing = tokenizer(self.form.closing, add_special_tokens=False)["input_ids"]
        self.stop = self.closing if len(self.closing) == 1 else []  # ids of tokens after which nothing is sampled
        self.average = Average(model, run.ema)
        self.callbacks = (self.average,)

    def fill(self, passages, ask, rng, step=1, read=None):
        """Blocks of `passages`, each the G thoughts before one token of it; `read` gives log-likelihoods."""
        played, G = [Block(passage) for passage in passages], self.run.group
        chosen = [(b, *t) for b, t in zip(played, self._targets(passages, rng), strict=True) if t]
        prompts = [self.form.prompt(context) for _, context, _, _ in chosen]
        thoughts = [[self._thought(answer) for answer in answers] for answers in ask(prompts)]
        bare = self.tokenizer([context for _, context, _, _ in chosen])["input_ids"] if chosen else []
        questions = [
            (group[0][0].prompt_ids, [before for _, _, before in group], context, token)
            for group, context, (*_, token) in zip(thoughts, bare, chosen, strict=True)
        ]
        found = zip(chosen, prompts, thoughts, read(questions), strict=True)
        for (block, _, mask, _), prompt, group, (with_, without) in found:
            facts = facts_of(block.item, mask)
            for (answer, thought, _), logp in zip(group, with_, strict=True):
                gain = information_gain(logp, without)
                verdict = {"verdict": "helped" if gain > 0 else "hurt"}
                row = Row.of("predictor", answer, prompt, thought, gain, facts | verdict)
                row.score = gain and gain * G / (G - 1)  # TRL takes the mean off, and knows no factor
                block.rows.append(row)
        for block in played:
            block.rows = block.rows or self.fillers()
        return played

    def continuation(self, episode):
        if self.form.closing == OPENING:
            return episode["mask"]
        rest = self.by_id[episode["passage_id"]].text
        rest = rest[len(episode["prompt"]) - len(self.form.head) - len(self.form.opening) :]
        return rest[: len(rest) - len(rest.lstrip()) + len(episode["mask"])]

    def read(self, questions, policy):
        """(log p after each thought under the policy, log p without one under the average) of each question.

        questions: (prompt, thoughts, context, token) each, all but the last lists of token ids, each thought closed.
        """
        import torch

        from pzlib.engine.packing import after

        with torch.autocast(policy.device.type, torch.bfloat16, enabled=self.run.dtype == "bfloat16"):
            with_ = after(policy, [(prompt, thoughts, token) for prompt, thoughts, _, token in questions])
            without = after(self.average.model, [(context, [[]], token) for _, _, context, token in questions])
        return [(own, alone) for own, (alone,) in zip(with_, without, strict=True)]

    def measures(self, episodes):
        """Of a step's thoughts: the share that names the true token, the mean reward of those and of the others, the
        share of empty ones. Naming is predicting, for the token is not shown; RPT warns that it alone can be paid."""
        thoughts = [e["completion"].partition(self.form.closing)[0].strip() for e in episodes]
        named = [names(thought, e["mask"]) for thought, e in zip(thoughts, episodes, strict=True)]
        found = {
            "thought/naming": named,
            "thought/reward_naming": [e["reward"] for e, n in zip(episodes, named, strict=True) if n],
            "thought/reward_other": [e["reward"] for e, n in zip(episodes, named, strict=True) if not n],
            "thought/empty": [not thought for thought in thoughts],
        }
        return {name: sum(own) / len(own) if own else None for name, own in found.items()}

    def ask(self, texts, trainer, generator):
        return ask(self.run, self.tokenizer, texts, trainer, generator, self.stop)

    def _targets(self, passages, rng):
        """(context, the token as a MaskedPassage, its id) of each passage, at a random position; None: it has none."""
        ids, offsets = token_offsets(self.tokenizer, [passage.text for passage in passages])
        fit = [positions(p.text, places, self.run.min_context) for p, places in zip(passages, offsets, strict=True)]
        with in_turn(rng):
            chosen = [rng.choice(own) if own else None for own in fit]
        return [
            None if at is None else (p.text[: places[at][0]], cut(p.text, *places[at]), own[at])
            for p, places, own, at in zip(passages, offsets, ids, chosen, strict=True)
        ]

    def _thought(self, answer):
        """(the Answer up to the end of its thought, the thought's text or None, the ids before the true token)."""
        end = thought_end(answer.ids, self._text, self.form.closing)
        if end is None:
            ended = answer.ids if answer.clipped else answer.ids[:-1]  # without the end token
            return replace(answer, text=self._text(ended)), None, [*ended, *self.closing]
        kept, logprobs = answer.ids[:end], answer.logprobs and answer.logprobs[:end]
        text = self._text(kept)
        answer = replace(answer, ids=kept, text=text, clipped=False, logprobs=logprobs)
        return answer, text.partition(self.form.closing)[0].strip(), kept

    def _text(self, ids):
        return self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def names(thought, token):
    """Whether a thought holds the token as a word of its own.

    >>> names("Think : it is Monday, then", "Monday"), names("Think : it is Monday", "day")
    (True, False)
    """
    return re.search(rf"(?<!\w){re.escape(token)}(?!\w)", thought) is not None
