"""How a step's rows lie: blocks of one passage each, in the order in which TRL's sampler repeats rows.
Leaves out what fills them, which is the game's."""

import hashlib
import random
from dataclasses import dataclass, field

from datasets import Dataset


@dataclass
class Row:
    """One row of TRL's batch: an episode, or the one-token filler that keeps an illegal mask's place."""

    prompt_ids: list
    completion_ids: list
    score: float | None = None  # the reward TRL sees: None leaves the row out of its group's baseline
    in_loss: bool = True  # False: the row counts neither in the loss nor in its divisor
    logprobs: list | None = None
    episode: dict | None = None  # the columns of the episode file; None for a filler


@dataclass
class Block:
    """All rows of one passage in their order: (1 + G) groups of G, masks first; G groups if masks are passive; of a
    problem the one group of its answers."""

    passage: object
    rows: list = field(default_factory=list)

    def live(self, group):
        """Whether the predictions of some mask, or the answers to the problem, are not all paid alike."""
        scores = [[row.score for row in self.rows[i : i + group]] for i in range(0, len(self.rows), group)]
        role = [
            self.rows[i].episode is not None and self.rows[i].episode["role"] == "predictor"
            for i in range(0, len(self.rows), group)
        ]
        return any(p and len(set(s)) > 1 for p, s in zip(role, scores, strict=True))


def seed_of(*parts):
    """A 63-bit seed from any values, the same on every machine.

    >>> seed_of(0, "step", 3) == seed_of(0, "step", 3) != seed_of(0, "step", 4)
    True
    """
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1


def blocks(passages, run):
    """The data set of a run: one column `prompt` with passage ids, `groups_per_block` equal rows for each
    block.

    TRL's sampler repeats every row G times, so a block becomes groups_per_block x G rows. steps x passages
    blocks in the `order` of the run.

    >>> from pzlib.corpus import Passage
    >>> from pzlib.run import Run
    >>> two = [Passage(id=i, title="", text="x", length=1) for i in ("a", "b")]
    >>> blocks(two, Run(tier="smoke", steps=2, passages=1, group=2))["prompt"][:]
    ['b', 'b', 'b', 'a', 'a', 'a']
    """
    chosen = order(passages, run.seed, run.steps * run.passages)
    return Dataset.from_dict({"prompt": [i for i in chosen for _ in range(run.groups_per_block)]})


def order(items, seed, count):
    """Ids of the first `count` items of a run: its seeded shuffle, epoch after epoch. ValueError for doubled ids."""
    ids = [item.id for item in items]
    if len(set(ids)) < len(ids):
        doubled = next(i for i in ids if ids.count(i) > 1)
        raise ValueError(f"id: {doubled!r} names several passages; give every passage an id of its own")
    found, epoch = [], 0
    while len(found) < count:
        shuffled = list(ids)
        random.Random(seed_of(seed, "order", epoch)).shuffle(shuffled)
        found += shuffled
        epoch += 1
    return found[:count]


def role_of(row):
    """generator or predictor; None for a filler."""
    return row.episode and row.episode["role"]


def episode_row(role, answer, prompt, prediction, reward, facts):
    """The Row of one answer; facts: the columns that describe its mask."""
    prompt_ids, ids, text, entropy, clipped, logprobs = answer
    episode = {
        "role": role,
        **facts,
        "prompt": prompt,
        "completion": text,
        "prediction": prediction,
        "reward": reward,
        "length": len(ids),
        "clipped": clipped,
        "entropy": entropy,
    }
    return Row(prompt_ids, ids, reward, logprobs=logprobs, episode=episode)
