"""PretrainZero (arXiv:2512.03442): one model hides words of a passage, as generator, and finds them, as predictor.
Leaves out what the paper never mentions: a weight between the roles, a reward for the format."""

from pzlib.engine.generation import in_turn
from pzlib.game import Block, Objective, Row
from pzlib.masking import apply_mask, random_span
from pzlib.objectives import likelihood
from pzlib.objectives.targets import facts_of
from pzlib.prompts import TEMPLATES, generator_prompt, parse_boxed, parse_mask, predictor_prompt
from pzlib.rewards import GENERATOR_REWARDS, predictor_reward


class PretrainZero(Objective):
    """A block of 1 + G groups of each passage: G masks by the generator, then G predictions of each mask.

    For the first `random_span_steps` steps random spans take the generator's place, whose rows are then fillers.
    """

    name, label, paper = "pretrainzero", "PretrainZero", "arXiv:2512.03442"
    has_generator = True
    rewards = ("exact", *likelihood.LIKELIHOODS, "random")
    likelihoods = likelihood.likelihoods
    prompt_of = staticmethod(predictor_prompt)

    @classmethod
    def prompts(cls, run, item):
        return [make(item.text, TEMPLATES[run.template]) for make in (generator_prompt, predictor_prompt)]

    def fill(self, passages, ask, rng, step=1, read=None):
        """Blocks of `passages`: the masks are asked for first, all of a step together, then the predictions."""
        run, G = self.run, self.run.group
        answers = None
        if self.has_generator and step > run.random_span_steps:
            answers = ask([generator_prompt(p.text, self.template) for p in passages])
        spans, masks = self.hide(passages, answers, rng, read)  # (P, G) each
        texts = self._fitting([[m and self.prompt_of(m.text, self.template) for m in row] for row in masks])
        asked = [(text, mask.target) for row in zip(masks, texts, strict=True) for mask, text in zip(*row, strict=True)
                 if text]  # fmt: skip
        predictions = iter(self.score(asked, ask([text for text, _ in asked]), read))

        played = []
        for p, passage in enumerate(passages):
            block, rewards, found = Block(passage), [], []
            facts = [_facts(passage, *column) for column in zip(spans[p], masks[p], texts[p], strict=True)]
            for mask, text, about in zip(masks[p], texts[p], facts, strict=True):
                right = 0.0  # nobody predicts an illegal mask
                if text:
                    scored = next(predictions)
                    right = sum(predictor_reward(prediction, mask.target) for _, prediction, *_ in scored)
                    found += [Row.of("predictor", a, text, p_, reward, about | why) for a, p_, reward, why in scored]
                else:
                    found += self.fillers()
                rewards.append(GENERATOR_REWARDS[run.generator_reward](right / G))
            if answers:
                prompt = generator_prompt(passage.text, self.template)
                block.rows = [
                    Row.of("generator", answer, prompt, None, reward, about)
                    for answer, reward, about in zip(answers[p], rewards, facts, strict=True)
                ]
            elif self.has_generator:
                block.rows = self.fillers()
            block.rows += found
            if not (run.generator_every and step % run.generator_every == 0):
                for row in block.rows:
                    row.in_loss &= row.role != "generator"
            played.append(block)
        return played

    def hide(self, passages, answers, rng, read):
        """Spans and MaskedPassages, both (P, G), from the generator's answers, or at random; None is illegal."""
        run = self.run
        if answers is not None:  # of no passages too: processes take their turns together
            spans = [[parse_mask(answer.text) for answer in row] for row in answers]
        else:
            with in_turn(rng):
                spans = [
                    [random_span(p.text, rng, run.span_words, run.max_occurrences) for _ in range(run.group)]
                    for p in passages
                ]
        with in_turn(rng):
            masks = [
                [span and apply_mask(p.text, span, run.mask_rule, rng, run.max_occurrences) for span in row]
                for p, row in zip(passages, spans, strict=True)
            ]
        return spans, masks

    def score(self, asked, answers, read):
        """Of each (prompt, target) its G (answer, prediction, reward, further columns): eq. 8, or a likelihood."""
        if self.run.reward != "exact":
            return likelihood.score(self, [target for _, target in asked], answers, read)
        return [
            [(answer, said := parse_boxed(answer.text), predictor_reward(said, target), {}) for answer in group]
            for (_, target), group in zip(asked, answers, strict=True)
        ]

    def _fitting(self, texts):
        """None for a prompt above `max_prompt_tokens`: up to 7 replaced occurrences can make a passage longer than
        itself, and such a mask is as illegal as any."""
        asked, most = [text for row in texts for text in row if text], self.run.max_prompt_tokens
        lengths = iter(map(len, self.tokenizer(asked)["input_ids"]) if asked else ())
        return [[text if text and next(lengths) <= most else None for text in row] for row in texts]


def _facts(passage, span, mask, text):
    """The columns of an episode that describe its mask; without a `text` to ask, the mask was not legal."""
    if text:
        return facts_of(passage, mask, mask=span)
    return {"mask": span, "legal": False, "count": None, "kind": None, "position": None}
