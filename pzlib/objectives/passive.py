"""PretrainZero's passive baselines: words hidden at random (Random RLPT), or a passage cut before a random token.
The model that PretrainZero ranks positions by is not stated, so it is a setting (section 3.1)."""

from pzlib.engine.generation import in_turn
from pzlib.objectives.pretrainzero import PretrainZero
from pzlib.objectives.targets import ByEntropy, draw_cuts, token_offsets
from pzlib.prompts import next_token_prompt


class RandomSpan(PretrainZero):
    """PretrainZero without a generator: a block of G groups, each the G predictions of one random span."""

    name, label, has_generator = "random_span", "Random spans", False


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


class EntropyNextToken(ByEntropy, RandomNextToken):
    """The same among the fifth of positions with the highest entropy, by the policy or the run's `entropy_model`."""

    name, label = "entropy_next_token", "Entropy next tokens"

    def _uncertainty(self, ids, read):
        return read(ids)
