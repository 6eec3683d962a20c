"""Sentences of a *Result* box, computed from stored rows: comparisons of arms, levels, counts of verdicts.
Left out: which sentences a notebook shows, which is in `pzlib.studies.boxes`; any number that is typed by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import pandas as pd

from pzlib import studies
from pzlib.studies import claims, metrics, results
from pzlib.studies.boxes import headlines
from pzlib.studies.boxes.headlines import WORDS, listed
from pzlib.studies.metrics import LEAST, METRICS, label_of, values
from pzlib.studies.tables import each_base

Rows = Callable[[str, str], pd.DataFrame]  # (table, study) -> its rows with a column `arm`; empty where none is stored
Finding = Callable[[Rows], str]  # a sentence; "" where its rows are not stored

ASKED = ("spans", "general", "math")
BEFORE = {"direct": "the prediction without reasoning, before training, of {}"}  # of a moment: what is compared with


def _interval(low: float, high: float, sign: str = "+", digits: int = 1) -> str:
    return f"[{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]".replace("-", "−")


def _digits(low: float, high: float) -> int:
    """Behind the point: one, or as many as it takes to see that an interval without 0 in it has none; four at most.

    >>> _digits(-0.9, 0.01), _digits(0.03, 0.4), _digits(-0.0024, -0.0013)
    (1, 2, 3)
    """
    nearest = min(abs(low), abs(high))
    return min(4, max(1, -math.floor(math.log10(nearest)))) if low * high > 0 else 1


def _compared(first: pd.Series, second: pd.Series, errors: pd.Series | None = None) -> tuple[str, str] | None:
    """(in which way the first differs from the second, by how much) over the seeds that both have, and by base where a
    base is outside the interval, which is of the mean over both; errors: of b."""
    gaps = (first - second).dropna()
    if gaps.empty:
        return None
    mean, low, high = metrics.over_seeds(gaps, errors)
    n, digits = len(gaps), _digits(gaps.min(), gaps.max()) if len(gaps) < LEAST else _digits(low, high)
    amount = f"{mean:+.{digits}f}".replace("-", "−")
    if n < LEAST:
        way = "above" if gaps.min() > 0 else "below" if gaps.max() < 0 else "not clearly different"
        same = f" in {'all ' * (n > 1)}{n} seed{'s' * (n > 1)}" if way != "not clearly different" else ""
        return way + same, amount
    way = "above" if low > 0 else "below" if high < 0 else "not clearly different"
    if way != "not clearly different" and not metrics.one_sign(gaps):
        way = "of another sign on each base, and so not clearly different,"
    own = gaps.groupby(metrics.bases_of(gaps.index)).mean()
    apart = f"; by base {listed([f'{x:+.{digits}f}' for x in own])}".replace("-", "−")
    return way, f"{amount} {_interval(low, high, digits=digits)}{apart * bool(own.min() < low or own.max() > high)}"


def _seeds(means: pd.Series) -> str:
    return f"{len(means)} seed{'s' * (len(means) > 1)}"


def _name(arm: str) -> str:
    """The label of an arm in a sentence: one that goes on from another method's model is a run of RLVR."""
    return f"RLVR {arm}" if arm.startswith("from ") else label_of(arm)


def against(study: str, a: str, b: str, asked=ASKED, at: str = "end", b_at: str = "", where: str = "") -> Finding:
    """A sentence that compares two arms by metrics, paired by seed.

    b: an arm, or "base": what a started from. at, b_at: moments of a and b, as of `metrics.values`; where: words that
    follow the names.
    """

    def sentence(rows: Rows) -> str:
        ways: dict[str, list[str]] = {}
        other, moment = (a, "base") if b == "base" else (b, b_at or at)
        for metric in asked:
            table = rows(METRICS[metric].table, study)
            own, theirs = (table[table["arm"] == arm] for arm in (a, other))
            found = None
            if len(own) and len(theirs):
                errors = headlines.base_error(own, metric) if b == "base" else None
                found = _compared(values(own, metric, at), values(theirs, metric, moment), errors)
            if found:
                ways.setdefault(found[0], []).append(f"{WORDS[metric]} ({found[1]})")
        name = BEFORE.get(moment, "{}").format("its base" if b == "base" else _name(b))
        parts = [f"{way} on {listed(items)}" for way, items in ways.items()]
        return f"**{_name(a)}** against {name}{where and ', ' + where}: {'; '.join(parts)}." if parts else ""

    return sentence


def level(study: str, metric: str, arms=(), at: str = "end", words: str = "") -> Finding:
    """A sentence with the mean of a metric of each arm, marked where it has runs from fewer bases than another's.

    arms: () for all; words: its beginning, else the metric's."""

    def sentence(rows: Rows) -> str:
        table, parts = rows(METRICS[metric].table, study), []
        unit = " %" if METRICS[metric].unit == "points" else ""
        own = {arm: table[table["arm"] == arm] for arm in arms or studies.study_of(study).arms}
        found = {arm: values(part, metric, at) for arm, part in own.items() if len(part)}
        found = {arm: means for arm, means in found.items() if len(means)}
        fewer = metrics.on_fewer_bases({arm: means.index for arm, means in found.items()})
        alike = len({len(means) for means in found.values()}) == 1  # of how many seeds they are, is said once
        for arm, means in found.items():
            mean, *ends = metrics.over_seeds(means)
            ends = [min(max(end, 0), 100) for end in ends] if unit else ends  # a share has limits, its t interval none
            more = f" {_interval(*ends, sign='')}" if len(means) >= LEAST and ends[0] < ends[1] else ""
            marks = [_seeds(means)] * (len(means) < LEAST and not alike) + ["one base"] * (arm in fewer)
            parts.append(f"{_name(arm)} {mean:.1f}{unit}{more}{f' ({listed(marks)})' * bool(marks)}")
        if alike and len(means) < LEAST:
            parts[-1] += f" ({_seeds(means)} each)" if len(found) > 1 else f" ({_seeds(means)})"
        some = len(parts) > (not arms)  # of a study that is not run, one arm may be another's run
        return f"{words or WORDS[metric].capitalize()}: {', '.join(parts)}." if some else ""

    return sentence


def gains(study: str, arms) -> Finding:
    """A sentence with what a thought pays, by arm: the means over seeds of the first and the last fifth of training."""

    def sentence(rows: Rows) -> str:
        table, parts = rows("training", study), []
        for arm in arms:
            ends = [values(table[table["arm"] == arm], "gain", at) for at in ("start", "end")]
            if len(ends[0]):
                start, end = (f"{own.mean():+.2f}".replace("-", "−") for own in ends)
                parts.append(f"{_name(arm)} {start} → {end} ({_seeds(ends[0])})")
        said = f"What a thought pays, in nats, from the first to the last fifth of training: {', '.join(parts)}."
        return said * bool(parts)

    return sentence


def real_text(rows: Rows) -> str:
    """How often a model trained from scratch on a text predicts its most uncertain fifth."""
    table = rows("scratch", "")
    if table.empty:
        return ""
    last = table[table["step"] == table.groupby("corpus")["step"].transform("max")]
    shares = ", ".join(f"{row.corpus} {row.top_fifth_right:.1f} %" for row in last.itertuples())
    return f"Of its most uncertain fifth, a small model trained from scratch on a text gets right: {shares}."


def habits(rows: Rows) -> str:
    """How the answers of the arms of `baselines` to the same masked passages differ."""
    table = rows("patterns", "baselines")
    if table.empty:
        return ""
    found = [headlines.habits(table, pattern) for pattern in headlines.HABITS]
    return " ".join(f"{sentence}." for sentence in found if sentence)


def meeting(study: str, metric: str = "overall") -> Finding:
    """How far the starts of a study of RLVR are apart before and after it."""

    def sentence(rows: Rows) -> str:
        table = rows("tinybench", study)
        found = "" if table.empty else headlines.meeting(table, (metric,))
        return f"{found}." if found else ""

    return sentence


def bases(rows: Rows) -> str:
    """What the two base models answer, before any training."""
    parts = []
    for name, words in {"baselines": "the base model", "baselines_small": "the smaller one"}.items():
        table = rows("tinybench", name)
        if len(table):
            scores = [f"{each_base(values(table, metric, 'base'))} % on {WORDS[metric]}" for metric in ASKED]
            parts.append(f"{words} {listed(scores)}")
    return f"Before any training: {'; '.join(parts)}." if parts else ""


def verdicts(names: tuple[str, ...], tier: str, settings=None) -> str:
    """How many claims of the papers these studies test, by verdict; "" where they test none. names: () for all."""
    ledger = claims.ledger(claims.load(), results.stored(tier), tier, settings=settings)
    own = ledger[ledger["study"].str.partition(",")[0].isin(names)] if names else ledger  # "side, size 1" is of side
    counts = own["verdict"].str.replace(r" at .*", "", regex=True).value_counts()
    order = sorted(counts.index, key=lambda word: [*claims.VERDICTS, word].index(word))
    return ", ".join(f"{counts[word]} {word}" for word in order)


def rows_at(tier: str, settings=None) -> Rows:
    """The stored rows of a tier, by table and study; settings: that its runs were given, as of `studies.arms_of`."""

    @cache
    def table_of(table):
        try:
            return results.load(table, tier)
        except FileNotFoundError:
            return results.blank(table)

    @cache
    def rows(table, study):
        found = table_of(table)
        if study and "run_id" in found:
            return studies.select(found, study, tier, settings=settings)
        return found if "arm" in found else found.assign(arm=None)

    return rows
