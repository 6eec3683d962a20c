"""RPT's scaling law P(C) = A / C^alpha + P* (its eq. 5): fitted, with intervals, R², and how far the data carry it.
Left out: noise that differs between points or is shared along one run; the intervals take points as independent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.stats import f as f_distribution

from pzlib.studies.metrics import tokens_used

ALPHAS = (0.01, 10.0)  # below: a logarithm to the eye; above: flat from the second point on
GRID = 400
OPEN = (-math.inf, math.inf)


@dataclass(frozen=True)
class PowerLaw:
    """A fit: `scale` is A, `limit` is P* in the unit of the values, `intervals` (low, high) of each at 95 %.

    An end that the data leave open is infinite, or for alpha 0. r2 is the coefficient of determination, r2_log that of
    a straight line in log C, which has a parameter fewer and no limit; computes and values are what was fitted.
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


def fit(computes: Sequence[float], values: Sequence[float]) -> PowerLaw:
    """The least-squares PowerLaw through points of compute and accuracy.

    computes: of any unit, all above 0; values: of any unit, at least four, not all equal. For a given alpha the rest
    is linear, so alpha alone is searched (within `ALPHAS`). Intervals are by profile: all parameters with which some
    curve is no worse than the best by more than F(1, n - 3) at 95 % allows. With few points that F is large, and an
    interval that is open says that the data don't bound the parameter.
    Errors: ValueError naming what is wrong.

    >>> law = fit([1, 2, 4, 8, 16], [60 - 20 * c**-0.5 for c in (1, 2, 4, 8, 16)])
    >>> round(law.scale, 3), round(law.alpha, 3), round(law.limit, 3), round(law.r2, 6)
    (-20.0, 0.5, 60.0, 1.0)
    """
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
    allowed = errors[0] * (1 + f_distribution.ppf(0.95, 1, len(c) - 3) / (len(c) - 3))
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


def words(law: PowerLaw) -> str:
    """What the fit says and how far it carries, in plain sentences.

    >>> law = fit([1, 2, 4, 8, 16], [60 - 20 * c**-0.5 for c in (1, 2, 4, 8, 16)])
    >>> words(law).split(": ")[0]
    '5 points over 1.2 decades (1.0e+00 to 1.6e+01 FLOPs)'
    """
    (low, high), most = law.intervals["limit"], max(law.computes)
    alpha = " to ".join("any" if math.isinf(end) else f"{end:.2g}" for end in law.intervals["alpha"])
    said = f"{len(law.computes)} points over {law.decades:.1f} decades ({min(law.computes):.1e} to {most:.1e} FLOPs): "
    said += f"alpha {law.alpha:.2g} [{alpha}], R² {law.r2:.3f}; a straight line in log C, with one parameter fewer, "
    said += f"has {law.r2_log:.3f}. "
    if math.isinf(low) or math.isinf(high):
        said += "No limit P* can be read off: a logarithm that never ends fits as well."
    elif high - low > max(law.values) - min(law.values):
        said += f"The limit P* lies anywhere in [{low:.1f}, {high:.1f}], wider than all that was seen to change."
    else:
        said += f"The limit P* is {law.limit:.1f} [{low:.1f}, {high:.1f}], if the law holds."
    if law.scale > 0:
        said += " The values fall with compute."
    if law.decades < 2:
        return said + " Less than two decades can't tell a power law from other curves that flatten: don't extrapolate."
    return said + f" Beyond {most:.1e} FLOPs it is a guess."


WAYS = {"next token": "reasoning", "next token, direct": "outright"}  # group of tinybench.csv -> how it was predicted
FLOPS = 8  # a weight and token: 2 to draw or read it, 6 to learn from it (Kaplan et al., arXiv:2001.08361, section 2.1)


def next_token_accuracy(tinybench: pd.DataFrame) -> pd.DataFrame:
    """One row an arm, seed, step, split and way ("reasoning", "outright"): accuracy in %, of n answers.

    tinybench: rows with a column `arm`; runs that were not asked for next tokens have none here.

    >>> row = {"arm": "rpt", "run_id": "a", "tier": "mini", "seed": 0, "step": 25, "n": 9, "accuracy": 0.5}
    >>> asked = pd.DataFrame([row | {"group": "next token, direct", "task": "next token, hard, direct"}])
    >>> next_token_accuracy(asked)[["split", "way", "accuracy"]].to_numpy().tolist()
    [['hard', 'outright', 50.0]]
    """
    rows = tinybench[tinybench["group"].isin(list(WAYS))]
    split = rows["task"].str.split(", ").str[1]
    found = rows.assign(split=split, way=rows["group"].map(WAYS), accuracy=100 * rows["accuracy"])
    return found[["arm", "run_id", "tier", "seed", "step", "split", "way", "n", "accuracy"]].reset_index(drop=True)


def along_compute(tinybench: pd.DataFrame, training: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """`next_token_accuracy` with a column `flops`: what the run had spent on RL by then.

    `FLOPS` for each weight and each token of prompts and completions, as a trainer spends that reads every prompt for
    every row and leaves no row out: ours spends less, in nearly the same proportion. runs: of runs.csv, for the number
    of weights. Errors as in `tokens_used`.
    """
    table = next_token_accuracy(tinybench)
    weights = runs.drop_duplicates("run_id").set_index("run_id")["parameters"]
    return table.assign(flops=FLOPS * tokens_used(table, training) * table["run_id"].map(weights))


def laws(table: pd.DataFrame) -> dict[tuple[str, str], PowerLaw]:
    """{(arm, split): the PowerLaw of accuracy after a reasoning, mean over seeds, along compute}; absent where there
    are fewer than four points that differ.

    table: of `along_compute`. Step 0 has spent nothing and is left out, as RPT fits checkpoints of training only.
    """
    found = {}
    trained = table[(table["way"] == "reasoning") & (table["step"] > 0)]
    for key, rows in trained.groupby(["arm", "split"], sort=False):
        means = rows.groupby("step")[["flops", "accuracy"]].mean()
        if len(means) >= 4 and means["accuracy"].nunique() > 1:
            found[key] = fit(means["flops"], means["accuracy"])
    return found


def laws_table(found: dict[tuple[str, str], PowerLaw]) -> pd.DataFrame:
    """The laws with their 95 % intervals, a row each: what RPT's Fig. 5 prints (R²) and what it doesn't."""
    rows = []
    for (arm, split), law in found.items():
        row = {"arm": arm, "split": split, "points": len(law.computes), "decades": law.decades}
        for name in ("alpha", "limit", "scale"):
            ends = law.intervals[name]
            row |= {name: getattr(law, name), f"{name}, low": ends[0], f"{name}, high": ends[1]}
        rows.append(row | {"R²": law.r2, "R² of a line in log C": law.r2_log})
    return pd.DataFrame(rows)
