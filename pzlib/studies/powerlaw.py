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
    if not (np.isfinite(c).all() and np.isfinite(p).all() and (c > 0).all()):
        raise ValueError("computes: one is 0, negative or not finite; leave out what was measured before training")
    if len(np.unique(c)) < 4:
        raise ValueError(f"computes: {len(np.unique(c))} different ones are too few for three parameters; give four")
    if np.ptp(p) == 0:
        raise ValueError("values: are all equal, there is nothing to fit")
    middle = math.exp(np.log(c).mean())  # so that A and P* are not nearly the same column
    log = np.log(c / middle)

    def linear(alpha):
        return _line(np.exp(-alpha * log), p)

    grid = np.geomspace(*ALPHAS, GRID).tolist()
    errors = np.array([linear(alpha).error for alpha in grid])
    at = int(errors.argmin())
    near = grid[max(0, at - 1)], grid[min(GRID - 1, at + 1)]
    found = minimize_scalar(lambda alpha: linear(alpha).error, bounds=near, method="bounded", options={"xatol": 1e-9})
    # a bounded search never tries the ends of its bounds
    alpha = min(float(found.x), grid[at], key=lambda alpha: linear(alpha).error)
    best = linear(alpha)
    total = float(((p - p.mean()) ** 2).sum())
    allowed = best.error * (1 + f_distribution.ppf(0.95, 1, len(c) - 3) / (len(c) - 3))
    kept = [alpha, *(other for other, error in zip(grid, errors, strict=True) if error <= allowed)]
    return PowerLaw(
        best.slope * middle**alpha, alpha, best.level, 1 - best.error / total, 1 - _line(log, p).error / total,
        _intervals(kept, linear, allowed, middle), tuple(c.tolist()), tuple(p.tolist()),
    )  # fmt: skip


@dataclass(frozen=True)
class _Line:
    """value = slope x + level, its squared error, and how the error grows around the best slope and level."""

    slope: float
    level: float
    error: float
    slope_curve: float
    level_curve: float


def _line(x, y):
    spread, n = float(((x - x.mean()) ** 2).sum()), len(x)
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread
    level = float(y.mean() - slope * x.mean())
    error = float(((y - slope * x - level) ** 2).sum())
    # error(slope) = error + spread d^2 where the level follows; likewise for the level, by the second column's share
    return _Line(slope, level, error, spread, n * spread / float((x**2).sum()))


def _intervals(kept, linear, allowed, middle):
    ends = {"scale": [], "limit": []}
    for alpha in kept:
        line = linear(alpha)
        spare = max(0.0, allowed - line.error)
        for name, value, curve, unit in (
            ("scale", line.slope, line.slope_curve, middle**alpha), ("limit", line.level, line.level_curve, 1.0),
        ):  # fmt: skip
            reach = math.sqrt(spare / curve)
            ends[name] += [(value - reach) * unit, (value + reach) * unit]
    found = {name: (min(own), max(own)) for name, own in ends.items()}
    low, high = min(kept), max(kept)
    if low <= ALPHAS[0]:  # as alpha goes to 0 the curve becomes a logarithm, and A and P* grow without bound
        low, found = 0.0, dict.fromkeys(found, OPEN)
    if high >= ALPHAS[1]:
        high, found["scale"] = math.inf, OPEN
    return {"alpha": (low, high), **found}


def words(law: PowerLaw, unit: str = "FLOPs") -> str:
    """What the fit says and how far it carries, in plain sentences.

    >>> law = fit([1, 2, 4, 8, 16], [60 - 20 * c**-0.5 for c in (1, 2, 4, 8, 16)])
    >>> words(law).split(": ")[0]
    '5 points over 1.2 decades (1.0e+00 to 1.6e+01 FLOPs)'
    """
    low, high = law.intervals["limit"]
    alpha = " to ".join("any" if math.isinf(end) else f"{end:.2g}" for end in law.intervals["alpha"])
    said = [
        f"{len(law.computes)} points over {law.decades:.1f} decades ({min(law.computes):.1e} to "
        f"{max(law.computes):.1e} {unit}): alpha {law.alpha:.2g} [{alpha}], R² {law.r2:.3f}; a straight line in log C, "
        f"with one parameter fewer, has {law.r2_log:.3f}."
    ]
    reached = max(law.values) - min(law.values)
    if math.isinf(low) or math.isinf(high):
        said.append("No limit P* can be read off: a logarithm that never ends fits as well.")
    elif high - low > reached:
        said.append(f"The limit P* lies anywhere in [{low:.1f}, {high:.1f}], wider than all that was seen to change.")
    else:
        said.append(f"The limit P* is {law.limit:.1f} [{low:.1f}, {high:.1f}], if the law holds.")
    if law.scale > 0:
        said.append("The values fall with compute.")
    if law.decades < 2:
        said.append("Less than two decades can't tell a power law from other curves that flatten: don't extrapolate.")
    else:
        said.append(f"Beyond {max(law.computes):.1e} {unit} it is a guess.")
    return " ".join(said)


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


def laws(table: pd.DataFrame, way: str = "reasoning") -> dict[tuple[str, str], PowerLaw]:
    """{(arm, split): the PowerLaw of the means over seeds along compute}; absent where it can't be fitted.

    table: of `along_compute`. Step 0 has spent nothing and is left out, as RPT fits checkpoints of training only. A law
    needs four of them that differ.
    """
    found = {}
    trained = table[(table["way"] == way) & (table["step"] > 0)]
    for (arm, split), rows in trained.groupby(["arm", "split"], sort=False):
        means = rows.groupby("step")[["flops", "accuracy"]].mean()
        if len(means) >= 4 and means["accuracy"].nunique() > 1:
            found[arm, split] = fit(means["flops"], means["accuracy"])
    return found


def laws_table(found: dict[tuple[str, str], PowerLaw]) -> pd.DataFrame:
    """The laws with their 95 % intervals, a row each: what RPT's Fig. 5 prints (R²) and what it doesn't."""
    rows = []
    for (arm, split), law in found.items():
        row = {"arm": arm, "split": split, "points": len(law.computes), "decades": law.decades}
        for name, value in (("alpha", law.alpha), ("limit", law.limit), ("scale", law.scale)):
            low, high = law.intervals[name]
            row |= {name: value, f"{name}, low": low, f"{name}, high": high}
        rows.append(row | {"R²": law.r2, "R² of a line in log C": law.r2_log})
    return pd.DataFrame(rows)
