"""TRL's rollout function of any objective: questions out, answers in, dead groups out, episodes and metrics kept.
Leaves out what is asked and how it is rewarded: that is the game's, the exam's."""

import hashlib
import random
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from accelerate.utils import gather_object
from datasets import Dataset

from pzlib.engine.generation import ask, place
from pzlib.engine.models import bare
from pzlib.prompts import TEMPLATES
from pzlib.rewards import group_advantages
from pzlib.runs.episodes import summary


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

    >>> from pzlib.corpus.passages import Passage
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


REFILL_ATTEMPTS = 3



def predictor_reward_func(completions, predictor_score, **_):
    """The predictor's rewards for TRL: what the rollout found, None for rows that are not the predictor's."""
    return predictor_score



def generator_reward_func(completions, generator_score, **_):
    """The generator's rewards for TRL: what the rollout found, None for rows that are not the generator's."""
    return generator_score



class Rollout(ABC):
    """Plays blocks: `rollout` is TRL's `rollout_func`, and `metrics` holds the last step's numbers for the log.

    run: a Run; items: the Passages or Problems that the data set was made of; folder: a RunFolder for the episodes, or
    None. An objective says in `play` how the blocks of some items are filled.
    """

    has_generator = False
    callbacks = ()  # TrainerCallbacks of its own
    advantages = staticmethod(group_advantages)  # (rewards, G) -> what TRL will make of them
    packs = False  # shared prompts are read once even where no row may be dropped

    def __init__(self, run, items, tokenizer, folder=None):
        self.run, self.tokenizer, self.folder = run, tokenizer, folder
        self.items = list(items)
        self.by_id = {item.id: item for item in self.items}
        self.template = TEMPLATES[run.template]
        self.metrics = {}

    @property
    def reward_funcs(self):
        """One reward function per role that the objective has."""
        return [predictor_reward_func, generator_reward_func][: 1 + self.has_generator]

    @abstractmethod
    def play(self, items, ask, rng, step=1, read=None):
        """Blocks of `items`: prompts, completions, rewards and advantages.

        `ask(texts)` gives G answers to each text, a list of G (prompt_ids, completion_ids, text, entropy, clipped,
        logprobs) per text; `read(token ids of each text)` is the objective's own method `read(ids, policy)` with the
        policy as it stands: what a model finds in texts (entropies, log-probabilities), where the objective asks it.
        """

    def measures(self, episodes):
        """Metrics of the objective's own: {name: number or None} of one step's episodes, all processes'."""
        return {}

    def rollout(self, prompts, trainer):
        """TRL's rollout_func: ids of items, already repeated by TRL, to exactly as many rows; see `Row` and `Block`."""
        started = time.perf_counter()
        step, rank = trainer.state.global_step + 1, trainer.accelerator.process_index
        # the same on every process: what each draws from them is its part of one whole, see `turns`
        generator = torch.Generator().manual_seed(seed_of(self.run.seed, "rollout", step, 0))
        rng = random.Random(seed_of(self.run.seed, "masks", step, 0))

        def answers(texts):
            return self._ask(texts, trainer, generator)

        def read(ids, *more):
            return self.read(ids, bare(trainer.accelerator.unwrap_model(trainer.model_wrapped)), *more)

        def play(items):
            return self.play(items, answers, rng, step, read)

        played = play(self._items_of(prompts))
        dynamic = self.run.dynamic_from and step >= self.run.dynamic_from
        rule = "refill" if dynamic else self.run.filter
        refilled = self._refill(played, play, step) if rule == "refill" else 0
        if rule != "none":
            for block in played:
                self._leave_dead_groups_out(block)
        rows = [row for block in played for row in block.rows]
        told = [(i, row) for i, row in enumerate(rows) if row.episode]
        # counted over all processes, which hold equally many whole blocks
        episodes = [
            {"row": rank * len(rows) + i, **row.episode, "block": rank * len(played) + row.episode["block"]}
            for i, row in told
        ]
        if self.folder:
            self.folder.write_episodes(step, rank, episodes)
        trained = [int(row.episode["advantage"] != 0 and row.in_loss) for _, row in told]
        prompt_tokens = sum(len(row.prompt_ids) for _, row in told)
        shared = gather_object([(episodes, trained, len(rows), refilled, prompt_tokens)])
        self.metrics = summary(shared, self.run.group) | self.measures([e for share in shared for e in share[0]])
        self.metrics["seconds_generation"] = time.perf_counter() - started
        return {
            "prompt_ids": [row.prompt_ids for row in rows],
            "completion_ids": [row.completion_ids for row in rows],
            "logprobs": [row.logprobs for row in rows] if trainer.use_vllm else None,
            "env_mask": [[int(row.in_loss)] * len(row.completion_ids) for row in rows],
            "predictor_score": [row.score if role_of(row) == "predictor" else None for row in rows],
            "generator_score": [row.score if role_of(row) == "generator" else None for row in rows],
        }

    def weigh(self, block, number):
        """Give every episode of a block, of which each row has its score, its advantage and its place."""
        G = self.run.group
        first = G if self.has_generator else 0
        advantages = self.advantages([row.score for row in block.rows], G)
        for i, (row, advantage) in enumerate(zip(block.rows, advantages, strict=True)):
            if row.episode:
                row.episode |= {
                    "passage_id": block.passage.id,
                    "block": number,
                    "advantage": advantage,
                    "group_index": max(0, i - first) // G,
                }

    def fillers(self):
        """G rows of one token each that learn nothing and keep a group's place."""
        end = [self.tokenizer.eos_token_id]
        return [Row(end, end, in_loss=False, logprobs=[0.0]) for _ in range(self.run.group)]

    def _leave_dead_groups_out(self, block):
        """DAPO's filter: accuracy exactly 0 or 1 is dropped; eight equal generator rewards teach nothing either."""
        for i in range(0, len(block.rows), self.run.group):
            group = block.rows[i : i + self.run.group]
            if len({row.score for row in group}) == 1:
                for row in group:
                    row.score, row.in_loss = None, False

    def _refill(self, played, play, step):
        """DAPO's dynamic sampling: blocks in which no group has mixed answers are played again on other items of a
        seeded stream, up to REFILL_ATTEMPTS times; returns how many were replaced by a block that lives. A process
        without a dead block plays none, but is there while another has one: processes draw together."""
        refilled = 0
        for attempt in range(REFILL_ATTEMPTS):
            dead = [i for i, block in enumerate(played) if not block.live(self.run.group)]
            before, total = place(len(dead))
            if not total:
                break
            stream = random.Random(seed_of(self.run.seed, "refill", step, 0, attempt))
            others = stream.choices(self.items, k=total)[before : before + len(dead)]
            for i, block in zip(dead, play(others), strict=True):
                if block.live(self.run.group):
                    for row in block.rows:
                        if row.episode:
                            row.episode["block"] = i
                    played[i] = block
                    refilled += 1
        return refilled

    def _items_of(self, prompts):
        """The items of whole blocks; a block that a process or batch boundary cuts is refused."""
        size = self.run.groups_per_block * self.run.group
        starts = range(0, len(prompts), size)
        if len(prompts) % size or any(len(set(prompts[i : i + size])) > 1 for i in starts):
            raise ValueError(
                f"passages: {len(prompts)} rows a process are not whole blocks of {size}; "
                f"give a multiple of the number of processes, so that each holds whole blocks"
            )
        return [self.by_id[prompts[i]] for i in starts]

    def _ask(self, texts, trainer, generator):
        return ask(self.run, self.tokenizer, texts, trainer, generator)
