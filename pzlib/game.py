"""The game on one unmodified GRPOTrainer: a rollout in which one model plays both roles, and its filter.
Leaves out what the paper never mentions: a weight between the roles, a reward for the format."""

import random
import time

import torch
from accelerate.utils import gather_object

from pzlib.asking import ask
from pzlib.gamestats import summary
from pzlib.layout import Block, Row, episode_row, role_of, seed_of
from pzlib.masking import apply_mask, kind_of, random_span
from pzlib.nexttoken import draw_cuts, entropies, token_offsets
from pzlib.prompts import TEMPLATES, generator_prompt, next_token_prompt, parse_boxed, parse_mask, predictor_prompt
from pzlib.rewards import GENERATOR_REWARDS, group_advantages, predictor_reward

NEXT_TOKEN = ("random_next_token", "entropy_next_token")
REFILL_ATTEMPTS = 3


def predictor_reward_func(completions, predictor_score, **_):
    """Eq. 8 for TRL: what the rollout found, None for rows that are not the predictor's."""
    return predictor_score


def generator_reward_func(completions, generator_score, **_):
    """Eq. 9 with the zero rule for TRL: what the rollout found, None for rows that are not the
    generator's."""
    return generator_score


def _facts(passage, span, mask):
    """The columns of an episode that describe its mask; `mask` None: it was not legal."""
    facts = {"mask": span, "legal": mask is not None, "count": None, "kind": None, "position": None}
    if mask is None:
        return facts
    place = mask.span_starts[0] / len(passage.text)
    return facts | {
        "count": mask.count,
        "kind": kind_of(passage.text, passage.kinds, mask),
        "position": round(place, 4),
    }


class Game:
    """Plays blocks: `rollout` is TRL's `rollout_func`, and `metrics` holds the last step's numbers for the
    log.

    run: a Run; passages: the Passages the data set was made of; folder: a RunFolder for the episodes, or
    None; scorer: the frozen model whose entropies choose targets, None for the policy itself.
    """

    def __init__(self, run, passages, tokenizer, folder=None, scorer=None):
        self.run, self.passages, self.tokenizer, self.folder = run, list(passages), tokenizer, folder
        self.scorer, self.has_generator = scorer, run.objective == "pretrainzero"
        self.generator_reward = GENERATOR_REWARDS[run.generator_reward]
        self.by_id = {passage.id: passage for passage in self.passages}
        self.template = TEMPLATES[run.template]
        self.metrics = {}

    @property
    def reward_funcs(self):
        """One reward function per role that the objective has."""
        return [predictor_reward_func, generator_reward_func][: 1 + self.has_generator]

    def rollout(self, prompts, trainer):
        """TRL's rollout_func: passage ids, already repeated by TRL, to exactly as many rows; see `Row` and
        `Block`."""
        started = time.perf_counter()
        step, rank = trainer.state.global_step + 1, trainer.accelerator.process_index
        generator = torch.Generator().manual_seed(seed_of(self.run.seed, "rollout", step, rank))
        rng = random.Random(seed_of(self.run.seed, "masks", step, rank))

        def answers(texts):
            return self._ask(texts, trainer, generator)

        def entropy(ids):
            policy = trainer.accelerator.unwrap_model(trainer.model_wrapped)
            return entropies(self.scorer.to(policy.device) if self.scorer else policy, ids)

        def play(passages):
            return self.play(passages, answers, rng, step, entropy)

        played = play(self._passages_of(prompts))
        refilled = self._refill(played, play, step, rank) if self.run.filter == "refill" else 0
        if self.run.filter != "none":
            for block in played:
                self._leave_dead_groups_out(block)
        rows = [row for block in played for row in block.rows]
        episodes = [{"row": i, **row.episode} for i, row in enumerate(rows) if row.episode]
        if self.folder:
            self.folder.write_episodes(step, rank, episodes)
        trained = [int(e["advantage"] != 0 and rows[e["row"]].in_loss) for e in episodes]
        prompt_tokens = sum(len(rows[e["row"]].prompt_ids) for e in episodes)
        shared = gather_object([(episodes, trained, len(rows), refilled, prompt_tokens)])
        self.metrics = summary(shared, self.run.group) | {"seconds_generation": time.perf_counter() - started}
        return {
            "prompt_ids": [row.prompt_ids for row in rows],
            "completion_ids": [row.completion_ids for row in rows],
            "logprobs": [row.logprobs for row in rows] if trainer.use_vllm else None,
            "env_mask": [[int(row.in_loss)] * len(row.completion_ids) for row in rows],
            "predictor_score": [row.score if role_of(row) == "predictor" else None for row in rows],
            "generator_score": [row.score if role_of(row) == "generator" else None for row in rows],
        }

    def play(self, passages, ask, rng, step=1, entropy=None):
        """Blocks of `passages`: masks, predictions, rewards and advantages.

        `ask(texts)` gives G answers to each text, a list of G (prompt_ids, completion_ids, text, entropy, clipped,
        logprobs) per text; `entropy(token ids of each passage)` the nats that entropy_next_token ranks positions by.
        """
        run, G = self.run, self.run.group
        played = [Block(passage) for passage in passages]
        asked = None
        if self.has_generator and step > run.random_span_steps:
            asked = ask([generator_prompt(p.text, self.template) for p in passages])
        spans, masks = self._masks(passages, asked, rng, entropy)
        make = next_token_prompt if run.objective in NEXT_TOKEN else predictor_prompt
        texts = [[m and make(m.text, self.template) for m in row] for row in masks]
        # Replacing up to 7 occurrences can make a passage longer than itself: such a mask is as illegal as
        # any.
        fits = iter(self._fits([text for row in texts for text in row if text]))
        texts = [[text if text and next(fits) else None for text in row] for row in texts]
        answers = iter(ask([text for row in texts for text in row if text]))

        for b, block in enumerate(played):
            about = [
                _facts(block.passage, span, mask if text else None)
                for span, mask, text in zip(spans[b], masks[b], texts[b], strict=True)
            ]
            predictions, rewards = [], []
            for mask, text, facts in zip(masks[b], texts[b], about, strict=True):
                group = (
                    [self._predict(answer, mask, text, facts) for answer in next(answers)] if text else self._fillers()
                )
                # a mask that is not legal is one that nobody predicts
                rewards.append(self.generator_reward(sum(row.score for row in group) / G if text else 0.0))
                predictions.append(group)
            if asked:
                prompt = generator_prompt(block.passage.text, self.template)
                block.rows = [
                    episode_row("generator", answer, prompt, None, reward, facts)
                    for answer, reward, facts in zip(asked[b], rewards, about, strict=True)
                ]
            elif self.has_generator:
                block.rows = self._fillers()
            block.rows += [row for group in predictions for row in group]
            advantages = group_advantages([row.score for row in block.rows], G)
            first = G if self.has_generator else 0
            trains = run.generator_every and step % run.generator_every == 0
            for i, (row, advantage) in enumerate(zip(block.rows, advantages, strict=True)):
                if row.episode:
                    row.in_loss = bool(trains or role_of(row) == "predictor")
                    row.episode |= {
                        "passage_id": block.passage.id,
                        "block": b,
                        "advantage": advantage,
                        "group_index": max(0, i - first) // G,
                    }
        return played

    def _masks(self, passages, asked, rng, entropy):
        """Spans and MaskedPassages, both (P, G): the generator's, or what the objective's rule draws; None is
        illegal."""
        run, G = self.run, self.run.group
        if run.objective in NEXT_TOKEN:
            ids, offsets = token_offsets(self.tokenizer, [p.text for p in passages])
            nats = entropy(ids) if run.objective == "entropy_next_token" else [None] * len(ids)
            masks = [
                draw_cuts(p.text, places, run.min_context, rng, G, uncertain)
                for p, places, uncertain in zip(passages, offsets, nats, strict=True)
            ]
            return [[mask and mask.target for mask in row] for row in masks], masks
        if asked:
            spans = [[parse_mask(answer[2]) for answer in answers] for answers in asked]
        else:
            spans = [[random_span(p.text, rng, run.span_words) for _ in range(G)] for p in passages]
        masks = [
            [span and apply_mask(p.text, span, run.mask_rule, rng) for span in row]
            for p, row in zip(passages, spans, strict=True)
        ]
        return spans, masks

    def _predict(self, answer, mask, text, facts):
        prediction = parse_boxed(answer[2])
        return episode_row("predictor", answer, text, prediction, predictor_reward(prediction, mask.target), facts)

    def _fillers(self):
        end = [self.tokenizer.eos_token_id]
        return [Row(end, end, in_loss=False, logprobs=[0.0]) for _ in range(self.run.group)]

    def _leave_dead_groups_out(self, block):
        """DAPO's filter: accuracy exactly 0 or 1 is dropped; eight equal generator rewards teach nothing
        either."""
        for i in range(0, len(block.rows), self.run.group):
            group = block.rows[i : i + self.run.group]
            if len({row.score for row in group}) == 1:
                for row in group:
                    row.score, row.in_loss = None, False

    def _refill(self, played, play, step, rank):
        """DAPO's dynamic sampling: blocks in which no mask has mixed predictions are played again on other
        passages of a seeded stream, up to REFILL_ATTEMPTS times; returns how many were replaced by a block
        that lives."""
        refilled = 0
        for attempt in range(REFILL_ATTEMPTS):
            dead = [i for i, block in enumerate(played) if not block.live(self.run.group)]
            if not dead:
                break
            stream = random.Random(seed_of(self.run.seed, "refill", step, rank, attempt))
            for i, block in zip(dead, play(stream.choices(self.passages, k=len(dead))), strict=True):
                if block.live(self.run.group):
                    for row in block.rows:
                        if row.episode:
                            row.episode["block"] = i
                    played[i] = block
                    refilled += 1
        return refilled

    def _passages_of(self, prompts):
        """The passages of whole blocks; a block that a process or batch boundary cuts is refused."""
        size = self.run.groups_per_block * self.run.group
        starts = range(0, len(prompts), size)
        if len(prompts) % size or any(len(set(prompts[i : i + size])) > 1 for i in starts):
            raise ValueError(
                f"passages: {len(prompts)} rows a process are not whole blocks of {size}; "
                f"give a multiple of the number of processes, so that each holds whole blocks"
            )
        return [self.by_id[prompts[i]] for i in starts]

    def _fits(self, texts):
        if not texts:
            return []
        return [len(ids) <= self.run.max_prompt_tokens for ids in self.tokenizer(texts)["input_ids"]]

    def _ask(self, texts, trainer, generator):
        return ask(self.run, self.tokenizer, texts, trainer, generator)
