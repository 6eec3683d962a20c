"""SFT and continued pretraining on TRL's SFTTrainer: what each row reads, what it learns, and in which order.
Leaves out the paper's masks, rate and tokens for both, which it does not give: the run's stand in for them."""

import random
from dataclasses import replace
from functools import lru_cache

from datasets import Dataset
from transformers import TrainerCallback
from trl import SFTTrainer
from trl.trainer import disable_dropout_in_model
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from pzlib.layout import blocks, seed_of
from pzlib.masking import apply_mask, random_span
from pzlib.prompts import TEMPLATES, predictor_prompt


def answer(span, template):
    r"""The completion that SFT learns: the span in its box and nothing before it, spelt as the template's model does.

    >>> answer("Rome", "tiny"), answer("Rome", "paper")
    ('\\boxed{ Rome }', '\\boxed{Rome}')
    """
    return f"\\boxed{{ {span} }}" if template == "tiny" else f"\\boxed{{{span}}}"


class Lessons(TrainerCallback):
    """The rows of a supervised run, made when they are needed; `metrics` holds the numbers of the step at hand.

    sft: predictor prompt and direct answer (PretrainZero: the Fig. 5 format with the reasoning removed) for G random
    spans of each passage, which are, at one process, the very passages and masks of `random_span`; the loss is on the
    answer. continued_pretraining: passages x G plain passages a step, in the same seeded order; the loss is on all
    tokens. Every row ends with the end token. Raises ValueError for doubled passage ids.
    """

    def __init__(self, run, passages, tokenizer):
        self.run, self.tokenizer, self.metrics = run, tokenizer, {}
        self.by_id = {passage.id: passage for passage in passages}
        self.plain = run.objective == "continued_pretraining"
        # `blocks` gives a passage's id for each of its G masks; plain text has as many passages instead
        order = blocks(passages, replace(run, passages=run.rows_per_step) if self.plain else run)["prompt"][:]
        self.ids = order[:: run.group] if self.plain else order  # one for each row of the run
        self.pad = DataCollatorForLanguageModeling(tokenizer.pad_token_id)
        self.rows = lru_cache(maxsize=2)(self.rows)  # the data loader is one batch ahead of the step

    def rows(self, step):
        """(token ids read, token ids learned) of each row of `step`, which counts from 1.

        A passage without a legal span, or a mask that the run's lengths have no room for, keeps its place with a row of
        one token that learns nothing, like the game's.
        """
        size, end = self.run.rows_per_step, [self.tokenizer.eos_token_id]
        here = [self.by_id[i] for i in self.ids[(step - 1) * size : step * size]]
        if self.plain:
            return [([], ids + end) for ids in self.tokenizer([passage.text for passage in here])["input_ids"]]
        rng = random.Random(seed_of(self.run.seed, "masks", step, 0))
        spans = [random_span(passage.text, rng, self.run.span_words) for passage in here]
        masks = [
            span and apply_mask(passage.text, span, self.run.mask_rule, rng)
            for passage, span in zip(here, spans, strict=True)
        ]
        return [self._question(mask) if mask else (end, []) for mask in masks]

    def _question(self, mask):
        end = [self.tokenizer.eos_token_id]
        read = self.tokenizer(predictor_prompt(mask.text, TEMPLATES[self.run.template]))["input_ids"]
        said = answer(mask.target, self.run.template)
        learned = self.tokenizer(said, add_special_tokens=False)["input_ids"] + end
        fits = len(read) <= self.run.max_prompt_tokens and len(learned) <= self.run.max_completion_tokens
        return (read, learned) if fits else (end, [])

    def collate(self, picked):
        """TRL's batch, padded on the right, of row numbers `[{"row": 0}, ...]` counted over the whole run."""
        size = self.run.rows_per_step
        rows = [self.rows(1 + pick["row"] // size)[pick["row"] % size] for pick in picked]
        return self.pad([{"input_ids": read + said, "labels": [-100] * len(read) + said} for read, said in rows])

    def on_step_begin(self, args, state, control, **_):
        rows = [row for row in self.rows(state.global_step + 1) if row[1]]
        self.metrics = {
            "rows": self.run.rows_per_step,
            "rows_trained": len(rows),
            "tokens_prompt": sum(len(read) for read, _ in rows),
            "tokens_completion": sum(len(learned) for _, learned in rows),
            "refilled": 0,
            "seconds_generation": 0.0,
        }


def supervised_trainer(run, model, tokenizer, passages, args):
    """(trainer, Lessons): TRL's SFTTrainer as it is, which takes its rows ready-made, in order; args: its SFTConfig."""
    disable_dropout_in_model(model)  # as GRPOConfig's `disable_dropout` does
    lessons = Lessons(run, passages, tokenizer)
    numbers = Dataset.from_dict({"row": range(run.steps * run.rows_per_step)})
    trainer = SFTTrainer(
        model=model,
        args=args,
        processing_class=tokenizer,
        train_dataset=numbers,
        data_collator=lessons.collate,
        callbacks=[lessons],
    )
    return trainer, lessons
