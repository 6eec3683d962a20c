"""One file a method: what it is, what it asks, its rows, its reward, what it measures. Loads without torch."""

from pzlib.errors import near_names
from pzlib.objectives.passive import EntropyNextToken, RandomNextToken, RandomSpan
from pzlib.objectives.pretrainzero import PretrainZero
from pzlib.objectives.quiet_star import QuietSTaR
from pzlib.objectives.rlp import RLP
from pzlib.objectives.rlpt import RLPT
from pzlib.objectives.rlvr import RLVR
from pzlib.objectives.rpt import RPT
from pzlib.objectives.supervised import SFT, ContinuedPretraining, MixedSFT

METHODS = [
    PretrainZero, RandomSpan, RandomNextToken, EntropyNextToken, SFT, ContinuedPretraining, MixedSFT, RLVR, RPT, RLP,
    RLPT, QuietSTaR,
]  # fmt: skip


def method(name):
    """The class of the method that `Run.objective` names. Raises ValueError for an unknown one.

    >>> method("rlp").label
    'RLP'
    """
    for one in METHODS:
        if one.name == name:
            return one
    raise ValueError(f"objective: {name!r} is not a method; {near_names(name, [one.name for one in METHODS])}")
