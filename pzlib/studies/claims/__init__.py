"""The ledger: what the papers claim, tested on the stored results, with a verdict for each claim. What they printed is
in `printed`, the rules of judging in `verdicts`."""

import math
import re
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd

from pzlib import studies
from pzlib.errors import flags, near_names
from pzlib.paths import locate
from pzlib.stats import stratified_t
from pzlib.studies import results
from pzlib.studies.claims import verdicts
from pzlib.studies.claims.printed import PAPERS, errata, printed_tables, reported
from pzlib.studies.claims.verdicts import (
    DIRECTIONS,
    EVERY,
    METRICS,
    QUANTITIES,
    VERDICTS,
    in_words,
    metric_of,
    needed,
    sampling_variance,
)
from pzlib.studies.metrics import MOMENTS, equal_tokens, values
from pzlib.tiers import TIERS, WORLDS

__all__ = ["PAPERS", "errata", "printed_tables", "reported"]  # from `printed`, for those who import claims

CLAIMS = "data/paper/claims.csv"
NAMES = {"pretrainzero": "PretrainZero", "rpt": "RPT", "rlp": "RLP", "ncr": "NCR"}
ALONG, SIGNS = ["effect_along", "low_along", "high_along", "p_along"], "signs_along"
BASE = " · "  # between a base and a seed, where a study has more than one base
NEEDS = re.compile(r"([\w ]+):([^:]+): (.+)@([\w ]+) > (-?[\d.]+)")
OF_SIZE = ", size "  # in a claim's study: with another base of the tier, by its place among `World.sizes`
PLANNED = "planned pairs"  # ends the note of a claim that is judged before all its seeds are run
ONE_BASE = "from one base"  # of a tier that has more: such a verdict hangs on it
LATE = "written after its rows"  # in the column `written` of such a claim
OF_BENCHMARKS = ("MMLU-Pro",)  # metrics that the small world does not ask
EQUAL_TOKENS = "equal tokens"  # after "arm@": a and that arm, both at the tokens that the cheaper of them has used


def load(path: str | Path = CLAIMS) -> pd.DataFrame:
    """The claims, checked: id, paper, section, claim, study, metric, a, b, direction, reported_a, reported_b,
    reported_on, needs, why_not, written.

    A claim compares the metric of `a` with that of `b`, by `verdicts.RULE`. Both are arms of the study; "arm@moment" is
    an arm at one of `MOMENTS`; b may be a moment of a's own runs, or a number. "arm@equal tokens" is that arm, and a
    with it, after as many tokens as both have used. A study may end in ", size 2": with the tier's second further base.
    needs: what a claim rests on, as "study:arm: metric@moment > number". No study: no tier can
    test it, and `why_not` says why. written: `LATE`, where rows of its study were there first. Errors: ValueError
    naming the claim.
    """
    table = pd.read_csv(locate(str(path)), dtype={"b": str})
    words = table.columns.difference(["reported_a", "reported_b"])
    table[words] = table[words].fillna("")
    if table["id"].duplicated().any():
        raise ValueError(f"id: {table.loc[table['id'].duplicated(), 'id'].iloc[0]!r} names two claims; rename one")
    for claim in table.to_dict("records"):
        if bool(claim["study"]) == bool(claim["why_not"]):
            raise ValueError(f"{claim['id']}: give a study, or say in why_not why there is none")
        if not claim["study"]:
            continue
        if claim["direction"] not in DIRECTIONS:
            raise ValueError(f"{claim['id']}: direction {claim['direction']!r} must be one of {', '.join(DIRECTIONS)}")
        if claim["needs"] and not NEEDS.fullmatch(claim["needs"]):
            raise ValueError(f"{claim['id']}: needs {claim['needs']!r} must be as 'study:arm: metric@moment > number'")
        metric_of(claim["metric"])
        arms = studies.study_of(claim["study"].partition(OF_SIZE)[0]).arms
        for name in {_side(claim, end)[0] for end in "ab"} - {None, EVERY, *arms}:
            raise ValueError(f"{claim['id']}: {name!r} is not an arm of {claim['study']}; {near_names(name, arms)}")
    return table


def _side(claim: dict, end: str) -> tuple[str | None, str | float]:
    """The arm and the moment of a claim's end "a" or "b"; of a number None and the number.

    >>> _side({"a": "sft@base", "b": "halfway"}, "b"), _side({"b": "0.5"}, "b")
    (('sft', 'halfway'), (None, 0.5))
    """
    name = claim[end]
    if name in MOMENTS:
        return claim["a"].partition("@")[0], name
    try:
        return None, float(name)
    except ValueError:
        arm, _, moment = name.partition("@")
        return arm, moment or "end"


def ledger(
    claims: pd.DataFrame, tables: dict[str, pd.DataFrame], tier: str = "mini", select: Callable = studies.select,
    settings=None,
) -> pd.DataFrame:  # fmt: skip
    """The claims with what was measured and judged by `pzlib.studies.claims.verdicts.RULE`.

    tables: {"tinybench": ..., "training": ..., "runs": ...}, those that there are; select(table, study, tier) gives a
    study's rows with their `arm`; settings: that all runs were given, as of `studies.arms_of`. Further columns: tier,
    unit, n (pairs), effect (mean of a - b), low, high, p (against nothing), margin, p_margin, effect_along, low_along,
    high_along, p_along (of the curves' means), the three p as adjusted (p_holm, p_margin_holm, p_along_holm), spread,
    shared, signs, bases, twin, failed, verdict, small, along, seeds, note.
    """
    source = _Source(tables, tier, select, settings)
    blank = dict.fromkeys(["effect", "low", "high", "p", "p_margin", *ALONG], float("nan"))
    blank |= {"margin": float("nan"), "spread": float("nan"), "shared": 0.0, "signs": True, "bases": 1, "failed": ""}
    rows, first, blank = [], {}, blank | {"n": 0, "stored": 0, "twin": "", SIGNS: True}
    for claim in claims.to_dict("records"):
        row = claim | {"tier": tier, "unit": ""} | blank
        if claim["study"]:
            row |= {"unit": METRICS[claim["metric"]].unit, "twin": _twin(claim, source, first)}
            row |= {} if row["twin"] else _measured(claim, source)
            row["failed"] = _failed(claim["needs"], source)
        rows.append(row)
    table = verdicts.judge(pd.DataFrame(rows), tier)
    notes = [_note(row, tier, settings) for row in table.to_dict("records")]
    return table.assign(note=notes)


def _model_of(size: str, tier: str) -> str:
    """The tier's further base of that place in `pzlib.tiers.World.sizes`, counted from 1; "" where it names none.

    >>> _model_of("1", "paper"), _model_of("1", "mini")
    ('Qwen/Qwen3-8B-Base', '')
    """
    sizes = WORLDS[tier].sizes if size and tier in WORLDS else ()
    return sizes[int(size) - 1] if size and int(size) <= len(sizes) else ""


def every_tier(claims: pd.DataFrame, stored: Callable, tier: str = "mini", settings=None) -> dict[str, pd.DataFrame]:
    """{tier: `ledger`} of this tier, whose runs were given `settings`, and every other but `smoke`; stored(tier) gives
    a tier's tables."""
    tiers = [name for name in TIERS if name == tier or name != "smoke"]
    return {name: ledger(claims, stored(name), name, settings=settings if name == tier else None) for name in tiers}


class _Source:
    """The rows and values that claims ask for, each read once."""

    def __init__(self, tables: dict[str, pd.DataFrame], tier: str, select: Callable, settings=None):
        self.tables, self.tier, self.select, self.settings = tables, tier, select, settings or {}
        self.bases = _bases(tables["runs"]) if "runs" in tables else {}
        self.rows, self.values = cache(self._rows), cache(self._values)

    def _rows(self, study: str, table: str, arm: str | None = None) -> pd.DataFrame:
        """A study's rows of a table, or an arm's; the same seed on two bases is two seeds."""
        if arm is not None:
            rows = self.rows(study, table)
            return rows[rows["arm"] == arm]
        study, _, size = study.partition(OF_SIZE)
        model = _model_of(size, self.tier)
        if table not in self.tables or (size and not model):
            return pd.DataFrame(columns=["arm", "seed", "step", "run_id", "group", "task"])
        given = self.settings | ({"model": model} if size else {})
        rows = self.select(self.tables[table], study, self.tier, **({"settings": given} if given else {}))
        if self.bases and "run_id" in rows:
            own = rows["run_id"].map(self.bases).fillna("")
            if own.groupby(rows["arm"]).nunique().max() > 1:
                rows = rows.assign(seed=own + BASE + rows["seed"].astype(str))
        return rows

    def _values(self, study: str, metric: str, arm: str, moment: str, other: str = "") -> pd.Series:
        """A metric of an arm by seed; other: the arm with which it is compared at equal tokens."""
        if METRICS[metric].table == "study":
            try:
                return QUANTITIES[metric](partial(self.rows, study), arm)
            except (KeyError, ValueError):  # no rows, or rows without what it needs
                return pd.Series(dtype=float)
        rows = self.rows(study, METRICS[metric].table, arm)
        if other:
            both, training = self.rows(study, METRICS[metric].table), self.rows(study, "training")
            both = both[both["arm"].isin([arm, other])]
            if both["arm"].nunique() < 2 or training.empty:
                return pd.Series(dtype=float)
            rows = equal_tokens(both, training)
            rows = rows[rows["arm"] == arm]
        return values(rows, metric, moment)


def _bases(runs: pd.DataFrame) -> dict[str, str]:
    """{run id: the model that its first start began from}."""
    models = runs.set_index("run_id")["model"].to_dict()

    def root(model):
        start = str(model).partition("@")[0]
        return root(models[start]) if start in models else model

    return {run: root(model) for run, model in models.items()}


def _twin(claim: dict, source: _Source, first: dict) -> str:
    """The claim before this one that compares the same runs, or "": a test made twice would weigh twice in Holm's."""
    key, metric = [claim["study"], claim["metric"], claim["direction"]], METRICS[claim["metric"]]
    for arm, moment in (_side(claim, end) for end in "ab"):
        key += [moment, arm and frozenset(source.rows(claim["study"], metric.table, arm).get("run_id", ()))]
    found = first.setdefault(tuple(key), claim["id"]) if key[4] and all(key[6:]) else claim["id"]
    return found * (found != claim["id"])


def _measured(claim: dict, source: _Source) -> dict:
    """What a claim's rows say: n, effect, interval, both tests, and the same of the curves' means."""
    metric = claim["metric"]
    a, b = (_of_end(claim, end, source) for end in "ab")
    pairs = pd.concat([a, pd.Series(b, a.index)], axis=1, join="inner", keys=["a", "b"]).dropna()
    if len(pairs) < 2:
        arms = {_side(claim, end)[0] for end in "ab"} - {None}
        return {"n": len(pairs), "stored": min(len(source.rows(claim["study"], "runs", arm)) for arm in arms)}
    errors, once = _errors(claim, pairs, source)
    base = _of_base(pairs.index)
    found = {"n": base.nunique() if once else len(pairs)}
    if len(pairs) < verdicts.LEAST_PAIRS or (once and not errors.any()):
        return found
    differences = pairs["a"] - pairs["b"]
    test, means = stratified_t(differences, [*base], [*errors]), differences.groupby(base).mean()
    effect, (low, high) = test["difference"], test["interval"]
    spread = math.sqrt(((differences - base.map(means)) ** 2).sum() / (len(pairs) - len(means)))
    found |= {"effect": effect, "low": low, "high": high, "p": test["p"], "spread": spread}
    found |= {"shared": float((errors.groupby(base).first() ** 2).sum()) / len(means) ** 2}
    found |= {"signs": bool((means * effect > 0).all()), "bases": len(means)}
    found["margin"] = verdicts.margin_of(metric, pairs["b"].mean())
    if found["margin"]:
        above, below = verdicts.within(effect, test["interval"], test["df"], found["margin"])
        found["p_margin"] = {">=": above, "<=": below}.get(claim["direction"], max(above, below))
    return found | _along(claim, pairs["b"], source, errors)


def _of_end(claim: dict, end: str, source: _Source, moment: str = "") -> pd.Series | float:
    """The claim's metric at its end "a" or "b", by seed, or the number that is there; moment: another one."""
    (arm, own), (other, others) = _side(claim, end), _side(claim, "b" if end == "a" else "a")
    if arm is None:
        return own
    if EQUAL_TOKENS in (own, others):
        return source.values(claim["study"], claim["metric"], arm, "end", other)
    return source.values(claim["study"], claim["metric"], arm, moment or own)


def _of_base(index: pd.Index) -> pd.Series:
    return pd.Series([str(seed).rpartition(BASE)[0] for seed in index], index)


def _errors(claim: dict, pairs: pd.DataFrame, source: _Source) -> tuple[pd.Series, bool]:
    """The standard error that all pairs of a base share, for each pair, since an end is a model that was measured once
    for all of them; and whether both ends are."""
    base, once = _of_base(pairs.index), True
    variance = pd.Series(0.0, pairs.index)
    for end in "ab":
        arm, moment = _side(claim, end)
        shared = moment in ("base", "direct") and (pairs[end].groupby(base).agg(np.ptp) == 0).all()
        once &= bool(shared)
        if not shared or moment == "direct":  # the most likely token is not drawn
            continue
        rows = source.rows(claim["study"], METRICS[claim["metric"]].table, arm)
        rows = rows[rows["step"] == 0]
        for _, own in base.groupby(base):
            found = sampling_variance(rows[rows["seed"] == own.index[0]], claim["metric"])
            if found is None:  # at most that of one trained run's value, which is drawn too; a lone one: of all's
                found = float((pairs["a"] - pairs["b"])[own.index if len(own) > 1 else pairs.index].var())
            variance[own.index] += found
    return variance**0.5, once


def _along(claim: dict, b: pd.Series, source: _Source, errors: pd.Series) -> dict:
    """The same test of the means along training, of claims that compare two curves, or one with the base."""
    moments = [_side(claim, end)[1] for end in "ab"]
    curves = METRICS[claim["metric"]].table == "tinybench" and claim["metric"] != "setback"
    if not curves or moments not in (["end", "end"], ["end", "base"]):
        return {}
    a, b = (_of_end(claim, "a", source, "along"), b if moments[1] == "base" else _of_end(claim, "b", source, "along"))
    pairs = pd.concat([a, b], axis=1, join="inner", keys=[0, 1]).dropna()
    if len(pairs) < verdicts.LEAST_PAIRS:
        return {}
    errors = errors.reindex(pairs.index).fillna(0.0)
    more = (errors**2 + _drawn_along(claim, source, pairs.index) ** 2) ** 0.5 if moments[1] == "base" else errors
    gaps, base = pairs[0] - pairs[1], _of_base(pairs.index)
    tests = [stratified_t(gaps, [*base], [*each]) for each in (errors, more)]
    test = max(tests, key=lambda test: test["p"])  # an error taken as known gives degrees of freedom; a bound must not
    signs = bool((gaps.groupby(base).mean() * test["difference"] > 0).all())
    return dict(zip([*ALONG, SIGNS], (test["difference"], *test["interval"], test["p"], signs), strict=True))


def _drawn_along(claim: dict, source: _Source, index: pd.Index) -> pd.Series:
    """The standard error that drawing leaves in the mean along training, for each pair: at most, as if all runs and
    steps erred alike, since the same random numbers serve them all."""
    rows, found = source.rows(claim["study"], "tinybench", _side(claim, "a")[0]), pd.Series(0.0, index)
    for _, own in _of_base(index).groupby(_of_base(index)):
        each = rows[(rows["seed"] == own.index[0]) & (rows["step"] > 0)].groupby("step")
        drawn = pd.Series({step: sampling_variance(part, claim["metric"]) for step, part in each}, dtype=float).dropna()
        if len(drawn) > 1:
            found[own.index] = np.trapezoid(drawn**0.5, drawn.index) / np.ptp(drawn.index)
    return found


def _failed(needs: str, source: _Source) -> str:
    """The precondition, with what was measured, where it does not hold; "" where it holds or has no rows."""
    if not needs:
        return ""
    study, arm, metric, moment, bound = NEEDS.fullmatch(needs).groups()
    found = source.values(study, metric, arm, moment)
    if found.empty or found.mean() > float(bound):
        return ""
    return f"needs {metric} of {arm} > {bound} at the {moment}, is {found.mean():.2f}"


def _note(row: dict, tier: str, settings=None) -> str:
    """What a reader must know beside the verdict, or why there is none."""
    study, _, size = row["study"].partition(OF_SIZE)
    if not row["verdict"].startswith("not run"):
        seeds = studies.seeds_of(studies.study_of(study), tier) if tier in WORLDS else ()
        small = tier in WORLDS and WORLDS[tier].small  # whose rows are stored here
        alone = ONE_BASE * (small and row.get("bases", 1) < len(WORLDS[tier].bases))
        part = f"{row['n']} of {len(seeds)} {PLANNED}" * (verdicts.LEAST_PAIRS <= row["n"] < len(seeds))
        first = row["failed"] or ("" if row["signs"] else "the bases differ in sign")
        return "; ".join(filter(None, (first, row.get("written", "") * small, alone, part)))
    if not row["study"] or row["twin"]:
        return row["why_not"] or f"at this tier its runs are those of {row['twin']}"
    command = f"`pzlib study {study} --tier {tier}{flags(settings)}`"
    if tier not in WORLDS:
        return command
    if size and not (model := _model_of(size, tier)):
        return "the tier names no base of this size"
    out = studies.left_out(study, tier)
    for arm in (_side(row, end)[0] for end in "ab"):
        if arm in out:
            return f"{arm}: {out[arm]}"
    if row["metric"] in OF_BENCHMARKS and WORLDS[tier].small:
        return f"the small world does not ask {row['metric']}"
    if (table := METRICS[row["metric"]].table) in results.MADE_BY and table not in results.TABLES:
        command = f"`{results.MADE_BY[table]} -p tier {tier}`"
    if size:
        command = command[:-1] + f" -p model {model}`"
    of_stored = f"; of {row['stored']} stored runs {row['n']} tell it" * (row["stored"] > row["n"])
    return f"{row['n']} of {verdicts.LEAST_PAIRS} pairs{of_stored}: {command}"


def as_markdown(head: Sequence, rows: Sequence[Sequence]) -> str:
    """A markdown table of the texts of these cells."""
    lines = ["| " + " | ".join(map(str, cells)).replace("\n", " ") + " |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def summary(ledger: pd.DataFrame) -> str:
    """Markdown: how many claims of each paper have which verdict.

    >>> rows = {"paper": ["rlp", "rlp"], "verdict": ["not run at this tier", "reproduced at mini"]}
    >>> print(summary(pd.DataFrame(rows)))
    | claims of | reproduced | contradicted | no difference | inconclusive | precondition failed | not run | all |
    |---|---|---|---|---|---|---|---|
    | RLP | 1 | 0 | 0 | 0 | 0 | 1 | 2 |
    | all | 1 | 0 | 0 | 0 | 0 | 1 | 2 |
    """
    lines = []
    for paper in [*dict.fromkeys(ledger["paper"]), "all"]:
        own = ledger.loc[(ledger["paper"] == paper) | (paper == "all"), "verdict"]
        counts = [own.str.startswith(verdict).sum() for verdict in VERDICTS]
        lines.append([NAMES.get(paper, paper), *counts, len(own)])
    return as_markdown(["claims of", *VERDICTS, "all"], lines)


def counted(ledger: pd.DataFrame) -> str:
    """How many claims have which verdict; of how many the effect is small (`verdicts.RULE`); and how many verdicts ask
    for care: written when their rows were there, from one base, on a part of the planned seeds.

    >>> rows = {"verdict": ["not run at this tier", "reproduced at mini"], "note": ["", f"3 of 5 {PLANNED}"]}
    >>> counted(pd.DataFrame(rows | {"small": [False, True]}))
    'Of 2 claims: 1 reproduced (1 small), 1 not run. Of these, 1 on a part of the planned seeds.'
    """
    words, counts = ledger["verdict"].map(verdicts.word_of), []
    for word, small in ((word, ledger.loc[words == word, "small"]) for word in VERDICTS):
        counts += [f"{len(small)} {word}" + f" ({small.sum()} small)" * bool(small.any())] * bool(len(small))
    cares = {LATE: "written after their rows", ONE_BASE: ONE_BASE, PLANNED: "on a part of the planned seeds"}
    found = {said: int(ledger["note"].str.contains(note).sum()) for note, said in cares.items()}
    rest = ", ".join(f"{n} {said}" for said, n in found.items() if n)
    return f"Of {len(ledger)} claims: {', '.join(counts)}." + f" Of these, {rest}." * bool(rest)


def markdown(ledger: pd.DataFrame) -> str:
    """The ledger as a markdown table: what is claimed, what the paper printed, what was measured, the verdict; claims
    that are contradicted first, then those reproduced."""
    lines, first = [], ("contradicted", "reproduced", "no difference", "inconclusive", "")
    place = {own: [own.startswith(word) for word in first].index(True) for own in ledger["verdict"].unique()}
    for row in sorted(ledger.to_dict("records"), key=lambda row: place[row["verdict"]]):
        printed, measured, p, verdict = row["reported_a"] - row["reported_b"], row["note"], "", row["verdict"]
        if not pd.isna(row["effect"]):
            measured = f"{row['metric']}: {in_words(row)}" + (f"; {row['note']}" if row["note"] else "")
        if not pd.isna(row["p_holm"]):
            p = f"{row['p_holm']:.2g}"
            verdict += ", small" if row["small"] else ""
        if row["along"]:
            verdict += f"; along training {row['along']}: {in_words(row, ALONG[:3])}"
        printed = "" if pd.isna(printed) else f"{printed:+.2f}, {row['reported_on']}"
        where = f"{NAMES[row['paper']]}, {row['section']}"
        lines.append([f"**{row['id']}**: {row['claim']}", where, printed, measured, row["n"], p, verdict, needed(row)])
    heads = ["claim", "where", "printed, a − b", "measured, a − b", "pairs", "p (Holm)", "verdict", "seeds needed"]
    return as_markdown(heads, lines)
