"""SFT, continued pretraining and mixed SFT: what each row reads and learns, in which order, for TRL's SFTTrainer.
Leaves out the papers' masks, rates, tokens and mixture, which they do not give: the run's take their place."""

import random
from dataclasses import replace
from functools import lru_cache

from pzlib.engine.generation import order, seed_of
from pzlib.masking import apply_mask, random_span
from pzlib.method import Method
from pzlib.objectives.likelihood import boxed
from pzlib.objectives.pretrainzero import PretrainZero
from pzlib.paths import locate
from pzlib.prompts import TEMPLATES, predictor_prompt, question_prompt
from pzlib.tiers import LIMO


class Supervised(Method):
    """The rows of a supervised run, made when they are needed: `ids` names the item of each row of the whole run.

    A subclass says in `ids_of` which items are read in which order, and in `learned` what is read and learned of each.
    Every row ends with the end token. Raises ValueError for doubled ids.
    """

    supervised = True

    def __init__(self, run, items, tokenizer, folder=None, model=None):
        super().__init__(run, items, tokenizer, folder)
        self.end = [tokenizer.eos_token_id]
        self.ids = self.ids_of(self.items, run.steps * run.rows_per_step)
        self.rows = lru_cache(maxsize=2)(self.rows)  # the data loader is one batch ahead of the step

    def ids_of(self, items, rows):
        return order(items, self.run.seed, rows)

    def rows(self, step):
        """(token ids read, token ids learned) of each row of `step`, which counts from 1.

        A passage without a legal span, or a mask or solution that the run's lengths have no room for, keeps its place
        with a row of one token that learns nothing, like the game's.
        """
        size = self.run.rows_per_step
        return self.learned([self.by_id[i] for i in self.ids[(step - 1) * size : step * size]], step)

    def learned(self, items, step):
        """The rows of a step's items."""
        return [self.plain(item) for item in items]

    def plain(self, item):
        """The row that learns a passage as it is."""
        return [], self.tokenizer(item.text)["input_ids"] + self.end

    def answered(self, prompt, completion):
        """The row that learns a completion of a prompt."""
        read = self.tokenizer(prompt)["input_ids"]
        learned = self.tokenizer(completion, add_special_tokens=False)["input_ids"] + self.end
        fits = len(read) <= self.run.max_prompt_tokens and len(learned) <= self.run.max_completion_tokens
        return (read, learned) if fits else (self.end, [])

    def collate(self, picked):
        """TRL's batch, padded on the right, of row numbers `[{"row": 0}, ...]` counted over the whole run."""
        from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

        size = self.run.rows_per_step
        rows = [self.rows(1 + pick["row"] // size)[pick["row"] % size] for pick in picked]
        pad = DataCollatorForLanguageModeling(self.tokenizer.pad_token_id)
        return pad([{"input_ids": read + own, "labels": [-100] * len(read) + own} for read, own in rows])

    def begin_step(self, step):
        """Sets `metrics` to the numbers of `step`."""
        rows = [row for row in self.rows(step) if row[1]]
        self.metrics = {
            "rows": self.run.rows_per_step, "rows_trained": len(rows),
            "tokens_prompt": sum(len(read) for read, _ in rows),
            "tokens_completion": sum(len(learned) for _, learned in rows), "refilled": 0, "seconds_generation": 0.0,
        }  # fmt: skip


class SFT(Supervised):
    """Predictor prompt and direct answer (PretrainZero: the Fig. 5 format with the reasoning removed) for G random
    spans of each passage, at one process the very passages and masks of `random_span`; the loss is on the answer."""

    name, label, paper = "sft", "Supervised fine-tuning", "arXiv:2512.03442"
    prompts = PretrainZero.prompts

    def ids_of(self, items, rows):
        run = self.run
        return [i for i in order(items, run.seed, run.steps * run.passages) for _ in range(run.group)]

    def learned(self, items, step):
        run, rng = self.run, random.Random(seed_of(self.run.seed, "masks", step, 0))
        spans = [random_span(passage.text, rng, run.span_words, run.max_occurrences) for passage in items]
        masks = [
            span and apply_mask(passage.text, span, run.mask_rule, rng, run.max_occurrences)
            for passage, span in zip(items, spans, strict=True)
        ]
        return [
            self.answered(predictor_prompt(mask.text, self.template), boxed(mask.target, run.template))
            if mask
            else (self.end, [])
            for mask in masks
        ]


class ContinuedPretraining(Supervised):
    """passages x G plain passages per step, in the same seeded order as the game's; the loss is on all tokens."""

    name, label, paper = "continued_pretraining", "Continued pretraining", "arXiv:2512.03442"
    prompts = PretrainZero.prompts  # the same passages as the others read


class MixedSFT(Supervised):
    """arXiv:2608.23256: text without reasonings and long ones, in one stage. Every other row is a plain passage, and
    between them come questions with their worked solutions, with the loss on these.

    Its sets and mixture are not known to us: LIMO's long solutions take their place, half of the rows each.
    """

    name, label, paper = "mixed_sft", "Mixed SFT", "arXiv:2608.23256"
    tiers = {
        "smoke": {"solutions": "tinybench"}, "mini": {"solutions": "tinybench"},
        "gpu": {"solutions": LIMO.name}, "paper": {"solutions": LIMO.name},
    }  # fmt: skip

    @classmethod
    def check(cls, run):
        if not run.solutions.strip():
            raise ValueError("solutions: is empty; mixed_sft needs worked solutions, leave it out for the tier's set")

    @classmethod
    def load_items(cls, run, tokenizer, progress=False):
        from pzlib.corpus import load_problems

        text = super().load_items(run, tokenizer, progress)
        solved = load_problems(
            locate(run.solutions), question_column=run.question_column, answer_column=run.answer_column,
            solution_column=run.solution_column, limit=run.corpus_limit,
            seed=seed_of(run.seed, "solutions"),  # other problems than those that RLVR of the same seed trains on
            config=None,
        )  # fmt: skip
        return text.joined([replace(problem, id=f"solution-{problem.id}") for problem in solved], solved)

    @classmethod
    def prompts(cls, run, item):
        if hasattr(item, "question"):
            return [question_prompt(item.question, TEMPLATES[run.template])]
        return [item.text]  # plain text is read without a prompt

    def ids_of(self, items, rows):
        kinds = [[item for item in items if hasattr(item, "question") == solved] for solved in (False, True)]
        turns = [order(kind, self.run.seed, rows - rows // 2) for kind in kinds]
        return [i for pair in zip(*turns, strict=True) for i in pair][:rows]

    def learned(self, items, step):
        return [
            self.answered(question_prompt(item.question, self.template), item.solution)
            if hasattr(item, "question")
            else self.plain(item)
            for item in items
        ]
