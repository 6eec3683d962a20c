"""PretrainZero's next-token baselines: a passage cut before a token drawn at random, or among the most uncertain fifth.
The model that PretrainZero ranks positions by is not stated, so it is a setting (section 3.1)."""

from pzlib.engine.generation import in_turn
from pzlib.objectives.pretrainzero import PretrainZero
from pzlib.objectives.targets import draw_cuts, frozen_model, frozen_scorer, token_offsets, whole_weights
from pzlib.prompts import next_token_prompt


class RandomNextToken(PretrainZero):
    """A block of G groups, each the G predictions of the token that follows one random cut."""

    name, label, has_generator = "random_next_token", "Random next tokens", False
    prompt_of = staticmethod(next_token_prompt)

    def hide(self, passages, answers, rng, read):
        run = self.run
        ids, offsets = token_offsets(self.tokenizer, [p.text for p in passages])
        nats = self._uncertainty(ids, read)
        with in_turn(rng):
            masks = [
                draw_cuts(p.text, places, run.min_context, rng, run.group, uncertain)
                for p, places, uncertain in zip(passages, offsets, nats, strict=True)
            ]
        return [[mask and mask.target for mask in row] for row in masks], masks

    def _uncertainty(self, ids, read):
        return [None] * len(ids)


class EntropyNextToken(RandomNextToken):
    """The same among the fifth of positions with the highest entropy, by the policy or the run's `entropy_model`."""

    name, label = "entropy_next_token", "Entropy next tokens"
    frozen = classmethod(frozen_model)
    needs_whole_weights = classmethod(whole_weights)

    def __init__(self, run, items, tokenizer, folder=None, model=None):
        super().__init__(run, items, tokenizer, folder)
        self.scorer = frozen_scorer(run, model, tokenizer)

    def read(self, ids, policy):
        """The entropy in nats at each token of each text, of the frozen scorer or else of the policy."""
        from pzlib.engine.packing import entropies

        return entropies(self.scorer.to(policy.device) if self.scorer else policy, ids)

    def _uncertainty(self, ids, read):
        return read(ids)
