"""Rows, groups and blocks, and TRL's rollout function that plays them, for every method that samples completions.
Leaves out what is asked and how it is rewarded, which each file of `pzlib.objectives` says for its method."""

import random
import time
from dataclasses import dataclass, field

from pzlib.engine.generation import ask, order, own_part, place, seed_of
from pzlib.method import Method
from pzlib.prompts import OPENING
from pzlib.rewards import group_advantages
from pzlib.runs.episodes import summary

REFILL_ATTEMPTS = 3


@dataclass
class Row:
    """One row of TRL's batch: an episode, or the one-token filler that keeps an illegal mask's place."""

    prompt_ids: list
    completion_ids: list
    score: float | None = None  # the reward TRL sees: None leaves the row out of its group's baseline
    in_loss: bool = True  # False: the row counts neither in the loss nor in its divisor
    logprobs: list | None = None
    episode: dict | None = None  # the columns of the episode file; None for a filler

    @classmethod
    def of(cls, role, answer, prompt, prediction, reward, facts):
        """The row of one Answer; facts: the columns that describe its mask, or whatever else was to be found."""
        episode = {
            "role": role, **facts, "prompt": prompt, "completion": answer.text, "prediction": prediction,
            "reward": reward, "length": len(answer.ids), "clipped": answer.clipped, "entropy": answer.entropy,
        }  # fmt: skip
        return cls(answer.prompt_ids, answer.ids, reward, logprobs=answer.logprobs, episode=episode)

    @property
    def role(self):
        """generator or predictor; None for a filler."""
        return self.episode and self.episode["role"]


@dataclass
class Block:
    """All rows of one passage or problem in their order: `Method.groups` groups of G, the generator's masks first."""

    item: object
    rows: list = field(default_factory=list)

    def groups(self, group, first=0, last=None):
        return [self.rows[i : i + group] for i in range(first, last or len(self.rows), group)]

    def live(self, group, first=0, last=None):
        """Whether some group of predictions or answers, of those in rows `first` to `last`, is not rewarded alike."""
        groups = self.groups(group, first, last)
        return any(rows[0].role == "predictor" and len({row.score for row in rows}) > 1 for rows in groups)


class Objective(Method):
    """A method with rollouts: its `rollout` is TRL's `rollout_func`. A subclass says in `fill` what is asked."""

    opening = OPENING  # of its answers
    advantages = staticmethod(group_advantages)  # (rewards, G) -> what TRL will make of them

    def fill(self, items, ask, rng, step=1, read=None):
        """The Blocks of `items`, with every row's reward; `play` adds its place and advantage.

        `ask(texts)` returns G Answers for each text; `read(..., by="read")` calls the method's own function of that
        name with `policy=` as it is now, for what it wants to know of a text: entropies, log-probabilities. Draw from
        `rng` within `in_turn(rng)` only, so that several processes draw what one would.
        """
        raise NotImplementedError(f"{type(self).__name__}: define `fill`, which makes the Blocks of its items")

    def play(self, items, ask, rng, step=1, read=None):
        """The Blocks of `items`, with reward, advantage and place of every episode; arguments as in `fill`."""
        played, G = self.fill(items, ask, rng, step, read), self.run.group
        first = G if self.has_generator else 0
        for number, block in enumerate(played):
            rewards = [row.episode["reward"] if row.episode else None for row in block.rows]
            for i, (row, advantage) in enumerate(zip(block.rows, self.advantages(rewards, G), strict=True)):
                if row.episode:
                    where = {"block": number, "group_index": max(0, i - first) // G}
                    row.episode |= {"passage_id": block.item.id, "advantage": advantage, **where}
        return played

    def continuation(self, episode):
        """The target of an episode as it goes on from the answer's opening, with the space it carries there."""
        return episode["mask"]

    def measures(self, episodes):
        """Metrics of the method's own: {name: number or None} of one step's episodes, all processes'."""
        return {}

    def reward_funcs(self):
        """TRL's reward functions, one a role: they hand over what `rollout` found, None for another role's rows."""

        def predictor_reward_func(completions, predictor_score, **_):
            return predictor_score

        def generator_reward_func(completions, generator_score, **_):
            return generator_score

        return [predictor_reward_func, generator_reward_func][: 1 + self.has_generator]

    def rollout(self, prompts, trainer):
        """TRL's rollout_func: ids of items, already repeated by TRL, to exactly as many rows; see `Row` and `Block`."""
        import torch
        from accelerate.utils import gather_object

        from pzlib.engine.models import bare

        started = time.perf_counter()
        run, group = self.run, self.run.group
        step, rank = trainer.state.global_step // run.updates_per_batch + 1, trainer.accelerator.process_index
        # the same on every process: what each draws from them is its part of one whole, see `in_turn`
        generator = torch.Generator().manual_seed(seed_of(run.seed, "rollout", step, 0))
        rng = random.Random(seed_of(run.seed, "masks", step, 0))

        def read(*what, by="read"):
            policy = bare(trainer.accelerator.unwrap_model(trainer.model_wrapped))
            return getattr(self, by)(*what, policy=policy)

        def play(items):
            return self.play(items, lambda texts: self.ask(texts, trainer, generator), rng, step, read)

        played = play(self._items_of(prompts))
        rule = "refill" if run.dynamic_from and step >= run.dynamic_from else run.filter
        refilled = self._refill(played, play, step) if rule == "refill" else 0
        if rule != "none":  # DAPO's filter: a group whose rewards are all equal teaches nothing
            for rows in (rows for block in played for rows in block.groups(group)):
                if len({row.score for row in rows}) == 1:
                    for row in rows:
                        row.score, row.in_loss = None, False
        rows = [row for block in played for row in block.rows]
        kept = [(i, row) for i, row in enumerate(rows) if row.episode]
        # counted over all processes, which hold equally many whole blocks
        episodes = [
            {"row": rank * len(rows) + i, **row.episode, "block": rank * len(played) + row.episode["block"]}
            for i, row in kept
        ]
        if self.folder:
            self.folder.write_episodes(step, rank, episodes)
        trained = [int(row.episode["advantage"] != 0 and row.in_loss) for _, row in kept]
        prompt_tokens = sum(len(row.prompt_ids) for _, row in kept)
        shares = gather_object([(episodes, trained, len(rows), refilled, prompt_tokens)])
        self.metrics = summary(shares, group, self.opening) | self.measures([e for share in shares for e in share[0]])
        if run.updates_per_batch > 1 or run.generator_weight:  # what the loss must know of each row's role
            self.mask_prompts = {tuple(row.prompt_ids) for row in rows if row.role == "generator"}
            counts = gather_object([(row.role, len(row.completion_ids)) for row in rows if row.in_loss])
            self.loss_tokens = {role: sum(n for r, n in counts if r == role) for role in ("generator", "predictor")}
        self.metrics["seconds_generation"] = time.perf_counter() - started
        return {
            "prompt_ids": [row.prompt_ids for row in rows],
            "completion_ids": [row.completion_ids for row in rows],
            "logprobs": [row.logprobs for row in rows] if trainer.use_vllm else None,
            "env_mask": [[int(row.in_loss)] * len(row.completion_ids) for row in rows],
            "predictor_score": [row.score if row.role == "predictor" else None for row in rows],
            "generator_score": [row.score if row.role == "generator" else None for row in rows],
        }

    def ask(self, texts, trainer, generator):
        """G Answers to each text, from the model as it is now."""
        return ask(self.run, self.tokenizer, texts, trainer, generator)

    def fillers(self):
        """G rows of one token each that learn nothing and keep a group's place."""
        end = [self.tokenizer.eos_token_id]
        return [Row(end, end, in_loss=False, logprobs=[0.0]) for _ in range(self.run.group)]

    def _refill(self, played, play, step):
        """DAPO's dynamic sampling: what has no signal is played again on other items of a seeded stream, up to
        REFILL_ATTEMPTS times; returns how much of it was replaced.

        Replaced are groups; with a generator, whose reward needs all groups of a block, blocks without a living group.
        A process that lacks nothing plays none, but is there while another does: processes draw together.
        """
        from accelerate.utils import gather_object

        G, size = self.run.group, self.groups(self.run) * self.run.group
        part, refilled = size if self.has_generator else G, 0  # rows that are replaced together
        starts = range(0, size, part)
        for attempt in range(REFILL_ATTEMPTS):
            dead = [(b, i) for b, block in enumerate(played) for i in starts if not block.live(G, i, i + part)]
            before, total = place(len(dead))
            if not total:
                break
            stream, blocks = random.Random(seed_of(self.run.seed, "refill", step, 0, attempt)), -(-total * part // size)
            fresh = play(stream.choices(self.items, k=blocks)[own_part(blocks)])
            living = [block.rows[i : i + part] for block in fresh for i in starts if block.live(G, i, i + part)]
            living = gather_object(living)  # in order of rank: who has a dead one takes the next
            for (b, i), rows in zip(dead, living[before : before + len(dead)], strict=False):
                for row in rows:
                    if row.episode:
                        moved = {} if self.has_generator else {"group_index": i // G}
                        row.episode |= {"block": b, **moved}
                played[b].rows[i : i + part] = rows
                refilled += 1
        return refilled

    def _items_of(self, prompts):
        """The items of whole blocks; a block that a process or batch boundary cuts is refused."""
        size = self.groups(self.run) * self.run.group
        starts = range(0, len(prompts), size)
        if len(prompts) % size or any(len(set(prompts[i : i + size])) > 1 for i in starts):
            remedy = "give a multiple of the number of processes, so that each holds whole blocks"
            raise ValueError(f"passages: {len(prompts)} rows per process are not whole blocks of {size}; {remedy}")
        return [self.by_id[prompts[i]] for i in starts]


def blocks(items, run):
    """The data set of a run: one column `prompt` with ids of items, `groups_per_block` equal rows for each block.

    TRL's sampler repeats every row G times, so a block becomes groups_per_block x G rows. steps x passages blocks in
    the `order` of the run.

    >>> from pzlib.masking import Passage
    >>> from pzlib.run import Run
    >>> two = [Passage(id=i, title="", text="x", length=1) for i in ("a", "b")]
    >>> blocks(two, Run(tier="smoke", steps=2, passages=1, group=2))["prompt"][:]
    ['b', 'b', 'b', 'a', 'a', 'a']
    """
    from datasets import Dataset

    chosen = order(items, run.seed, run.steps * run.passages)
    return Dataset.from_dict({"prompt": [i for i in chosen for _ in range(run.groups_per_block)]})
