"""SFT, continued pretraining and mixed SFT on TRL's SFTTrainer: what each row reads and learns, in which order.
Leaves out the papers' masks, rates, tokens and mixture, which they do not give: the run's stand in for them."""

import random
from functools import lru_cache

from datasets import Dataset
from transformers import TrainerCallback
from trl import SFTTrainer
from trl.trainer import disable_dropout_in_model
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from pzlib.corpus.problems import Problem
from pzlib.engine.models import config
from pzlib.game import order, seed_of
from pzlib.masking import apply_mask, random_span
from pzlib.prompts import TEMPLATES, predictor_prompt, question_prompt


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
    tokens. mixed_sft (arXiv:2608.23256: text without reasonings and long ones, in one stage): every other row is such
    a passage, and between them stand questions with their worked solutions, with the loss on these. Every row ends with
    the end token. Raises ValueError for doubled ids.
    """

    def __init__(self, run, items, tokenizer):
        self.run, self.tokenizer, self.metrics = run, tokenizer, {}
        self.by_id = {item.id: item for item in items}
        rows = run.steps * run.rows_per_step
        if run.objective == "sft":
            chosen = order(items, run.seed, run.steps * run.passages)
            self.ids = [i for i in chosen for _ in range(run.group)]  # one for each row of the run
        elif run.objective == "continued_pretraining":
            self.ids = order(items, run.seed, rows)
        else:
            solved = [item for item in items if isinstance(item, Problem)]
            plain = [item for item in items if not isinstance(item, Problem)]
            turns = [order(kind, run.seed, rows - rows // 2) for kind in (plain, solved)]
            self.ids = [i for pair in zip(*turns, strict=True) for i in pair][:rows]
        self.pad = DataCollatorForLanguageModeling(tokenizer.pad_token_id)
        self.rows = lru_cache(maxsize=2)(self.rows)  # the data loader is one batch ahead of the step

    def rows(self, step):
        """(token ids read, token ids learned) of each row of `step`, which counts from 1.

        A passage without a legal span, or a mask or solution that the run's lengths have no room for, keeps its place
        with a row of one token that learns nothing, like the game's.
        """
        size, end = self.run.rows_per_step, [self.tokenizer.eos_token_id]
        here = [self.by_id[i] for i in self.ids[(step - 1) * size : step * size]]
        if self.run.objective != "sft":
            return [self._solution(item) if isinstance(item, Problem) else self._text(item) for item in here]
        rng = random.Random(seed_of(self.run.seed, "masks", step, 0))
        spans = [random_span(passage.text, rng, self.run.span_words) for passage in here]
        masks = [
            span and apply_mask(passage.text, span, self.run.mask_rule, rng)
            for passage, span in zip(here, spans, strict=True)
        ]
        return [self._question(mask) if mask else (end, []) for mask in masks]

    def _text(self, passage):
        return [], self.tokenizer(passage.text)["input_ids"] + [self.tokenizer.eos_token_id]

    def _question(self, mask):
        prompt = predictor_prompt(mask.text, TEMPLATES[self.run.template])
        return self._answered(prompt, answer(mask.target, self.run.template))

    def _solution(self, problem):
        return self._answered(question_prompt(problem.question, TEMPLATES[self.run.template]), problem.solution)

    def _answered(self, prompt, said):
        end = [self.tokenizer.eos_token_id]
        read = self.tokenizer(prompt)["input_ids"]
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



def supervised_trainer(run, model, tokenizer, items, args):
    """(trainer, Lessons): TRL's SFTTrainer as it is, which takes its rows ready-made, in order; args: its SFTConfig."""
    disable_dropout_in_model(model)  # as GRPOConfig's `disable_dropout` does
    lessons = Lessons(run, items, tokenizer)
    numbers = Dataset.from_dict({"row": range(run.steps * run.rows_per_step)})
    trainer = SFTTrainer(
        model=model,
        args=args,
        processing_class=tokenizer,
        train_dataset=numbers,
        data_collator=lessons.collate,
        callbacks=[lessons],
        peft_config=config(run),
    )
    return trainer, lessons
