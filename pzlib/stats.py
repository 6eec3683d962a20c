"""The statistics behind every comparison: intervals for means and shares, pass@k, paired tests, Holm, power laws.
Left out: models of variance between seeds and items together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy.special import fdtri, stdtr, stdtrit

_EXACT = 16  # up to 2**16 sign patterns are all tried
_BLOCK = 2_000_000  # resampled values held at a time


def pass_at_k(n: int, c: int, k: int) -> float:
    """The chance that at least one of k answers is right, unbiased from n samples of which c are right.

    1 - C(n - c, k) / C(n, k) (Chen et al. 2021, eq. 1).
    Errors: ValueError unless 0 <= c <= n and 1 <= k <= n.

    >>> pass_at_k(n=4, c=1, k=2)  # of the 6 pairs, 3 hold the right one
    0.5
    """
    if not 0 <= c <= n:
        raise ValueError(f"c: {c} right of n = {n} samples is impossible")
    if not 1 <= k <= n:
        raise ValueError(f"k: {k} must be between 1 and n = {n}; draw more samples or take a smaller k")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def bootstrap_ci(values: Sequence[float], level: float = 0.95, n: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """A confidence interval (low, high) for the mean of `values`: percentile bootstrap with `n` resamples.

    The percentiles are widened for few values (the "expanded percentile" interval of Hesterberg 2015: for m values the
    tail is Phi(-sqrt(m / (m - 1)) t)), since a plain percentile interval over five seeds is far too narrow. One value,
    or equal values, give an interval of no width. That is ignorance, not certainty: show m beside it.
    Errors: ValueError for no values, one that is not finite, or a level outside (0, 1).

    >>> bootstrap_ci([1, 2, 3, 4, 5])
    (1.2, 4.8)
    >>> bootstrap_ci([0.7])
    (0.7, 0.7)
    """
    sample = _finite("values", values)
    _check_level(level)
    if n < 1:
        raise ValueError(f"n: {n} resamples; give at least 1, and thousands for a steady interval")
    m = len(sample)
    if m == 1:
        return float(sample[0]), float(sample[0])
    rng = np.random.default_rng(seed)
    rows = max(1, _BLOCK // m)
    means = [sample[rng.integers(m, size=(min(rows, n - done), m))].mean(axis=1) for done in range(0, n, rows)]
    tail = NormalDist().cdf(-math.sqrt(m / (m - 1)) * float(stdtrit(m - 1, (1 + level) / 2)))
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    # Rounding must not push the ends of an interval over equal values past those values.
    low, high = np.clip([low, high], sample.min(), sample.max())
    return float(low), float(high)


def paired_test(a: Sequence[float], b: Sequence[float], n: int = 10_000, seed: int = 0) -> dict:
    """Whether `a` beats `b` on the same seeds or items: {"difference", "interval", "p", "n"}.

    difference: mean of a - b; interval: its 95 % bootstrap interval; n: the number of pairs; p: two-sided, the share of
    sign patterns of the differences whose mean is at least as far from 0 (all patterns up to 16 pairs, `n` random ones
    beyond). Five pairs cannot give a p below 1/16.
    Errors: ValueError for unequal lengths, no values, or one that is not finite.

    >>> result = paired_test([3, 5, 7], [1, 2, 3])
    >>> result["difference"], result["p"], result["n"]  # of 8 sign patterns, +++ and --- are as extreme
    (3.0, 0.25, 3)
    """
    left, right = _pairs(a, b)
    differences, m = left - right, len(left)
    if m <= _EXACT:
        signs = 1 - 2 * (np.arange(2**m)[:, None] >> np.arange(m) & 1)  # (2**m, m)
        at_least, tried = _as_extreme(signs, differences), 2**m
    else:
        rng = np.random.default_rng(seed)
        rows = max(1, _BLOCK // m)
        at_least = sum(
            _as_extreme(1 - 2 * rng.integers(2, size=(min(rows, n - done), m)), differences)
            for done in range(0, n, rows)
        )
        at_least, tried = at_least + 1, n + 1  # the pattern seen is one of them, so p is never 0
    interval = bootstrap_ci(differences, seed=seed)
    return {"difference": float(differences.mean()), "interval": interval, "p": at_least / tried, "n": m}


def stratified_t(
    differences: Sequence[float], strata: Sequence | None = None, errors: Sequence[float] | None = None
) -> dict:
    """Whether runs from several bases differ from 0 by Student's t: {"difference", "interval", "p", "n", "df"}.

    differences: one per run, such as its score minus its base's; strata: the base of each (None: all one); errors: the
    standard error that all runs of a base share, such as its own score's by sampling (None: 0). difference: the mean
    over bases of their means; its variance is, over S bases, the mean of s² / n_b + error_b², divided by S, with s²
    pooled within bases. The degrees of freedom are Welch and Satterthwaite's, an error being taken as known. So it
    speaks of these bases, not of all that one might train. With one base and no error it is Student's paired t.
    Errors: ValueError for other lengths, an error that differs within a base, or no two runs of any base.

    >>> points = [3.0, 4.0, 5.0, 4.0, 4.0]
    >>> alone, honest = stratified_t(points), stratified_t(points, errors=[0.5] * 5)  # a base known to half a point
    >>> [round(end, 1) for end in (*alone["interval"], *honest["interval"])]
    [3.1, 4.9, 2.8, 5.2]
    """
    sample, n = _finite("differences", differences), len(differences)
    labels, shared = list(strata or [0] * n), _finite("errors", [0.0] * n if errors is None else errors)
    if not len(labels) == len(shared) == n:
        raise ValueError(f"strata: {len(labels)} of them and {len(shared)} errors for {n} differences; give one each")
    groups = {label: [i for i in range(n) if labels[i] == label] for label in dict.fromkeys(labels)}
    free, S = n - len(groups), len(groups)
    if not free:
        raise ValueError("differences: no two are of one base, so it is not known how far runs differ; give more seeds")
    if any(np.ptp(shared[own]) > 1e-9 for own in groups.values()):
        raise ValueError("errors: differ within a base; give the one of its score to each of its runs")
    means = np.array([sample[own].mean() for own in groups.values()])
    pooled = sum(float(((sample[own] - sample[own].mean()) ** 2).sum()) for own in groups.values()) / free
    between = sum(pooled / len(own) for own in groups.values()) / S**2
    variance, mean = between + sum(float(shared[own[0]]) ** 2 for own in groups.values()) / S**2, float(means.mean())
    if variance <= (1e-12 * np.abs(sample).max()) ** 2:
        return {"difference": mean, "interval": (mean, mean), "p": float(mean == 0), "n": n, "df": float(free)}
    df = min(free * (variance / between) ** 2, 1e6) if between else 1e6
    half = float(stdtrit(df, 0.975)) * math.sqrt(variance)
    p = 2 * float(stdtr(df, -abs(mean) / math.sqrt(variance)))
    return {"difference": mean, "interval": (mean - half, mean + half), "p": p, "n": n, "df": df}


def holm(ps: Sequence[float]) -> list[float]:
    """The p values of one family of tests, adjusted for their number (Holm 1979), in the order given.

    The smallest is multiplied by the number of tests m, the next by m - 1, and so on, never below the one before and
    never above 1. If those under 0.05 are called real, the chance of any false call in the family is at most 5 %.
    Errors: ValueError for a p outside [0, 1].

    >>> holm([0.5, 0.01, 0.5])
    [1.0, 0.03, 1.0]
    """
    values = np.asarray(ps, dtype=float)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"ps: a p is outside 0 to 1 in {list(ps)}; leave tests that were not made out")
    order = np.argsort(values, kind="stable")
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(values[order] * (len(values) - np.arange(len(values)))))
    return adjusted.tolist()


def clustered_ci(values: Sequence[float], clusters: Sequence | None = None) -> tuple[float, float]:
    """A 95 % confidence interval (low, high) for the mean of `values` in [0, 1], some of which share a source.

    values: one score a question (right or wrong, or the share of its samples that are right); clusters: the source
    of each, None where every question has its own. It is Wilson's interval at the *effective* number of questions,
    mean (1 - mean) / var, with var the cluster-robust variance of the mean (the squares of the clusters' summed
    residuals, times G / (G - 1) for G clusters; Miller 2024, "Adding Error Bars to Evals"), and with Student's t at
    G - 1 degrees of freedom instead of z (as Korn and Graubard 1998 do). So it stays within [0, 1], and has
    width where all answers are wrong, which a bootstrap has not.

    A var below that of independent questions is taken for chance. Scores that are all equal tell nothing about
    how they depend on each other: each question counts. One cluster tells nothing about another: (0, 1).
    Errors: ValueError for no values, one outside [0, 1], or another number of clusters.

    >>> [round(end, 3) for end in clustered_ci([1, 1, 1, 1, 0, 0, 0, 0])]
    [0.167, 0.833]
    >>> [round(end, 3) for end in clustered_ci([1, 1, 1, 1, 0, 0, 0, 0], clusters="aabbccdd")]  # four, in truth
    [0.061, 0.939]
    >>> clustered_ci([0, 1], clusters=["one", "one"])
    (0.0, 1.0)
    """
    sample = _finite("values", values)
    if sample.min() < 0 or sample.max() > 1:
        raise ValueError("values: holds a score outside 0 to 1; give shares, not percentages")
    n = len(sample)
    labels = list(range(n)) if clusters is None else list(clusters)
    if len(labels) != n:
        raise ValueError(f"clusters: {len(labels)} of them for {n} values; give each value its source")
    index = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    groups = len(index)
    if groups == 1:
        return 0.0, 1.0
    mean = float(sample.mean())
    residuals = sample - mean
    sums = np.bincount([index[label] for label in labels], weights=residuals)  # (G,)
    clustered, alone = groups / (groups - 1) * float(sums @ sums) / n**2, float(residuals @ residuals) / (n - 1) / n
    effective = mean * (1 - mean) / max(clustered, alone) if np.ptp(sample) > 1e-9 else float(n)
    return _wilson(mean, effective, float(stdtrit(groups - 1, 0.975)))


def wilson(c: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """A confidence interval (low, high) for a share, from c hits in n trials (Wilson 1927).

    Unlike the plain normal interval it stays within [0, 1] and has width at 0 and n hits.
    Errors: ValueError unless 0 <= c <= n, n >= 1 and 0 < level < 1.

    >>> [round(end, 4) for end in wilson(8, 10)]
    [0.4902, 0.9433]
    """
    if n < 1 or not 0 <= c <= n:
        raise ValueError(f"c: {c} hits in n = {n} trials is impossible")
    _check_level(level)
    return _wilson(c / n, n, NormalDist().inv_cdf((1 + level) / 2))


def _wilson(share: float, n: float, z: float) -> tuple[float, float]:
    """Wilson's score interval for a share seen in n trials."""
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (0.0 if share == 0 else max(0.0, centre - half)), (1.0 if share == 1 else min(1.0, centre + half))


def _as_extreme(signs: np.ndarray, differences: np.ndarray) -> int:
    """How many rows of `signs` (patterns, pairs) put the mean difference as far from 0 as it is."""
    seen = abs(differences.sum())
    slack = 1e-9 * np.abs(differences).sum()  # sums of the same numbers in another order differ by rounding
    return int((np.abs(signs @ differences) >= seen - slack).sum())


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level: {level} must be between 0 and 1, such as 0.95")


def _pairs(a: Sequence[float], b: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    left, right = _finite("a", a), _finite("b", b)
    if len(left) != len(right):
        raise ValueError(f"b: has {len(right)} values, a has {len(left)}; give both for the same seeds or items")
    return left, right


def _finite(name: str, values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{name}: needs one or more numbers in a row, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: holds a value that is not finite; leave such rows out first and count them")
    return array


ALPHAS = (0.01, 10.0)  # below: a logarithm to the eye; above: flat from the second point on
GRID = 400
OPEN = (-math.inf, math.inf)


@dataclass(frozen=True)
class PowerLaw:
    """RPT's scaling law P(C) = A / C^alpha + P* (its eq. 5), fitted: `scale` is A, `limit` is P*.

    intervals: (low, high) of each at 95 %; an end that the data leave open is infinite, or for alpha 0. r2 is the
    coefficient of determination, r2_log that of a straight line in log C, which has a parameter fewer and no limit;
    computes and values are what was fitted.
    """

    scale: float
    alpha: float
    limit: float
    r2: float
    r2_log: float
    intervals: dict[str, tuple[float, float]]
    computes: tuple[float, ...]
    values: tuple[float, ...]

    def predict(self, compute) -> np.ndarray:
        """P at some computes.

        >>> law = PowerLaw(-20.0, 0.5, 60.0, 1.0, 0.9, {}, (), ())
        >>> law.predict([1.0, 4.0]).tolist()
        [40.0, 50.0]
        """
        return self.scale * np.asarray(compute, float) ** -self.alpha + self.limit

    @property
    def decades(self) -> float:
        """The range of compute that was fitted, in powers of ten."""
        return math.log10(max(self.computes) / min(self.computes))

    def __str__(self) -> str:
        """What the fit says and how far it carries, in plain sentences."""
        (low, high), most = self.intervals["limit"], max(self.computes)
        alpha = " to ".join("any" if math.isinf(end) else f"{end:.2g}" for end in self.intervals["alpha"])
        said = f"{len(self.computes)} points over {self.decades:.1f} decades ({min(self.computes):.1e} to {most:.1e} "
        said += f"FLOPs): alpha {self.alpha:.2g} [{alpha}], R² {self.r2:.3f}; a straight line in log C, with one "
        said += f"parameter fewer, has {self.r2_log:.3f}. "
        if math.isinf(low) or math.isinf(high):
            said += "No limit P* can be read off: a logarithm that never ends fits as well."
        elif high - low > max(self.values) - min(self.values):
            said += f"The limit P* lies anywhere in [{low:.1f}, {high:.1f}], wider than all that was seen to change."
        else:
            said += f"The limit P* is {self.limit:.1f} [{low:.1f}, {high:.1f}], if the law holds."
        if self.scale > 0:
            said += " The values fall with compute."
        if self.decades < 2:
            said += " Less than two decades can't tell a power law from other curves that flatten: don't extrapolate."
            return said
        return said + f" Beyond {most:.1e} FLOPs it is a guess."


def power_law(computes: Sequence[float], values: Sequence[float]) -> PowerLaw:
    """The least-squares PowerLaw through points of compute and accuracy.

    computes: of any unit, all above 0; values: of any unit, at least four, not all equal. For a given alpha the rest
    is linear, so alpha alone is searched (within `ALPHAS`). Intervals are by profile: all parameters with which some
    curve is no worse than the best by more than F(1, n - 3) at 95 % allows. With few points that F is large, and an
    interval that is open says that the data don't bound the parameter. Points are taken as independent.
    Errors: ValueError naming what is wrong.

    >>> law = power_law([1, 2, 4, 8, 16], [60 - 20 * c**-0.5 for c in (1, 2, 4, 8, 16)])
    >>> round(law.scale, 3), round(law.alpha, 3), round(law.limit, 3), round(law.r2, 6)
    (-20.0, 0.5, 60.0, 1.0)
    """
    from scipy.optimize import minimize_scalar

    c, p = np.asarray(computes, float), np.asarray(values, float)
    if c.shape != p.shape or c.ndim != 1:
        raise ValueError(f"values: {p.shape} of them for {c.shape} computes; give one for each")
    if not (np.isfinite([c, p]).all() and (c > 0).all()):
        raise ValueError("computes: one is 0, negative or not finite; leave out what was measured before training")
    if len(np.unique(c)) < 4:
        raise ValueError(f"computes: {len(np.unique(c))} different ones are too few for three parameters; give four")
    if np.ptp(p) == 0:
        raise ValueError("values: are all equal, there is nothing to fit")
    middle = math.exp(np.log(c).mean())  # so that A and P* are not nearly the same column
    log = np.log(c / middle)

    def error(alpha):
        return _lines([alpha], log, p)[2].item()

    grid = np.geomspace(*ALPHAS, GRID)
    at = _lines(grid, log, p)[2].argmin()
    near = grid[max(0, at - 1)], grid[min(GRID - 1, at + 1)]
    found = minimize_scalar(error, bounds=near, method="bounded", options={"xatol": 1e-9})
    best = min(float(found.x), float(grid[at]), key=error)  # a bounded search never tries the ends of its bounds
    alphas = np.array([best, *grid])
    scale, limit, errors, *curves = _lines(alphas, log, p)
    allowed = errors[0] * (1 + fdtri(1, len(c) - 3, 0.95) / (len(c) - 3))
    kept, spare = errors <= allowed, np.sqrt(np.maximum(0, allowed - errors))
    ends = {"alpha": alphas[kept]}
    for name, value, curve, unit in zip(("scale", "limit"), (scale, limit), curves, (middle**alphas, 1.0), strict=True):
        reach = spare / np.sqrt(curve)
        ends[name] = (np.array([value - reach, value + reach]) * unit)[:, kept]
    intervals = {name: (float(own.min()), float(own.max())) for name, own in ends.items()}
    low, high = intervals["alpha"]
    if low <= ALPHAS[0]:  # as alpha goes to 0 the curve becomes a logarithm, and A and P* grow without bound
        intervals, low = dict.fromkeys(intervals, OPEN), 0.0
    if high >= ALPHAS[1]:
        intervals["scale"], high = OPEN, math.inf
    intervals["alpha"] = (low, high)
    r2 = 1 - float(errors[0] / ((p - p.mean()) ** 2).sum())
    r2_log = float(np.corrcoef(log, p)[0, 1] ** 2)
    law = float(scale[0] * middle**best), best, float(limit[0])
    return PowerLaw(*law, r2, r2_log, intervals, tuple(c.tolist()), tuple(p.tolist()))


def _lines(alphas, log, p):
    """For each alpha the least-squares A and P* of p = A exp(-alpha log) + P*, the squared error, and the factors of
    d² by which it grows where A, or P*, is d beside its best and the other one follows: (alphas,) each."""
    x = np.exp(-np.outer(alphas, log))  # (alphas, points)
    middle = x.mean(axis=1, keepdims=True)
    spread = ((x - middle) ** 2).sum(axis=1)
    scale = ((x - middle) * (p - p.mean())).sum(axis=1) / spread
    limit = p.mean() - scale * middle[:, 0]
    error = ((p - scale[:, None] * x - limit[:, None]) ** 2).sum(axis=1)
    return scale, limit, error, spread, len(p) * spread / (x**2).sum(axis=1)
