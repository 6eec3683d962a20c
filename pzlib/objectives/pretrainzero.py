"""The game, a block for each passage: one model hides words of it and finds them again, or a rule hides them.
Leaves out what the paper never mentions: a weight between the roles, a reward for the format."""

from pzlib.engine.generation import in_turn
from pzlib.game import Block, Rollout, episode_row, role_of
from pzlib.masking import apply_mask, kind_of, random_span
from pzlib.objectives.targets import draw_cuts, entropies, token_offsets
from pzlib.prompts import generator_prompt, next_token_prompt, parse_boxed, parse_mask, predictor_prompt
from pzlib.rewards import GENERATOR_REWARDS, predictor_reward

NEXT_TOKEN = ("random_next_token", "entropy_next_token")



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



class Game(Rollout):
    """PretrainZero, and the passive rules beside it, on passages.

    passages: the Passages the data set was made of; scorer: the frozen model whose entropies choose targets, None for
    the policy itself.
    """

    def __init__(self, run, passages, tokenizer, folder=None, scorer=None):
        super().__init__(run, passages, tokenizer, folder)
        self.scorer, self.has_generator = scorer, run.objective == "pretrainzero"
        self.generator_reward = GENERATOR_REWARDS[run.generator_reward]

    def read(self, ids, policy):
        """The entropy in nats at each token of each text, of the frozen scorer or else of the policy."""
        return entropies(self.scorer.to(policy.device) if self.scorer else policy, ids)

    def play(self, passages, ask, rng, step=1, read=None):
        """Blocks of `passages`, the masks first; `read` gives what entropy_next_token ranks positions by."""
        run, G = self.run, self.run.group
        played = [Block(passage) for passage in passages]
        asked = None
        if self.has_generator and step > run.random_span_steps:
            asked = ask([generator_prompt(p.text, self.template) for p in passages])
        spans, masks = self._masks(passages, asked, rng, read)
        make = next_token_prompt if run.objective in NEXT_TOKEN else predictor_prompt
        texts = [[m and make(m.text, self.template) for m in row] for row in masks]
        # Replacing up to 7 occurrences can make a passage longer than itself: such a mask is as illegal as any.
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
                    [self._predict(answer, mask, text, facts) for answer in next(answers)] if text else self.fillers()
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
                block.rows = self.fillers()
            block.rows += [row for group in predictions for row in group]
            self.weigh(block, b)
            if not (run.generator_every and step % run.generator_every == 0):
                for row in block.rows:
                    row.in_loss &= role_of(row) != "generator"
        return played

    def _masks(self, passages, asked, rng, read):
        """Spans and MaskedPassages, both (P, G): the generator's, or what the objective's rule draws; None is
        illegal."""
        run, G = self.run, self.run.group
        if run.objective in NEXT_TOKEN:
            ids, offsets = token_offsets(self.tokenizer, [p.text for p in passages])
            nats = read(ids) if run.objective == "entropy_next_token" else [None] * len(ids)
            with in_turn(rng):
                masks = [
                    draw_cuts(p.text, places, run.min_context, rng, G, uncertain)
                    for p, places, uncertain in zip(passages, offsets, nats, strict=True)
                ]
            return [[mask and mask.target for mask in row] for row in masks], masks
        if asked is not None:  # of no passages too: processes take their turns together
            spans = [[parse_mask(answer[2]) for answer in answers] for answers in asked]
        else:
            with in_turn(rng):
                spans = [[random_span(p.text, rng, run.span_words) for _ in range(G)] for p in passages]
        with in_turn(rng):
            masks = [
                [span and apply_mask(p.text, span, run.mask_rule, rng) for span in row]
                for p, row in zip(passages, spans, strict=True)
            ]
        return spans, masks

    def _predict(self, answer, mask, text, facts):
        prediction = parse_boxed(answer[2])
        return episode_row("predictor", answer, text, prediction, predictor_reward(prediction, mask.target), facts)

    def _fits(self, texts):
        if not texts:
            return []
        return [len(ids) <= self.run.max_prompt_tokens for ids in self.tokenizer(texts)["input_ids"]]
