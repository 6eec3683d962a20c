"""Random RLPT, PretrainZero's passive baseline: words hidden at random places, found by the model (section 3.1)."""

from pzlib.objectives.pretrainzero import PretrainZero


class RandomSpan(PretrainZero):
    """PretrainZero without a generator: a block of G groups, each the G predictions of one random span."""

    name, label, has_generator = "random_span", "Random spans", False
