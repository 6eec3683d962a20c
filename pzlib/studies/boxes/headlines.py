"""Headlines of figures: what came out, in one sentence, judged by the rules of `pzlib.studies.claims.verdicts`.
Left out: any number or finding that is typed by hand; Holm's correction is over what one headline compares."""

from __future__ import annotations

import pandas as pd

from pzlib.stats import holm, stratified_t
from pzlib.studies import metrics
from pzlib.studies.claims import verdicts
from pzlib.studies.metrics import LEAST, METRICS, bases_of, label_of, over_seeds, values

WORDS = {
    "overall": "all questions", "general": "general questions", "math": "mathematics", "spans": "masked words",
    "spans read": "masked words of the side that runs read",
    "reasoned": "answers that reason first", "dead_wrong": "groups of predictions that are all wrong",
    "noise masks": "masks that hide what nothing can tell", "legal": "legal masks", "perplexity": "perplexity",
    "response length": "length of a response", "next token": "next tokens after a reasoning",
}  # fmt: skip
WAYS = {  # way: its words before a name, and alone
    "above": ("above {}", "above"), "below": ("below {}", "below"),
    "level": ("within the margin of {}", "within the margin"),
    "open": ("no clear difference from {}", "no clear difference"),
}  # fmt: skip
FEW = 4  # names of a way that are listed; of more the number is given


def listed(items: list[str]) -> str:
    """
    >>> listed(["a", "b", "c"]), listed(["a"])
    ('a, b and c', 'a')
    """
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def judged(pairs: dict[str, pd.DataFrame], metric: str) -> dict[str, str]:
    """{name: a key of `WAYS`} of pairs (columns a, b and perhaps error, by seed): in which way a differs from b.

    By a t test and by two against the metric's margin, each by Holm's correction over the names, where the means of all
    bases have one sign; under `LEAST` seeds by whether all of at least three agree.

    >>> pairs = pd.DataFrame({"a": [5.0, 6, 7, 6, 6], "b": 1.0})
    >>> judged({"one": pairs, "two": pairs[:3], "three": pairs[:2]}, "math")
    {'one': 'above', 'two': 'above', 'three': 'open'}
    """
    ways, tests = {}, {}
    for name, own in pairs.items():
        gaps = own["a"] - own["b"]
        if len(gaps) < LEAST:
            some = len(gaps) >= verdicts.LEAST_PAIRS
            ways[name] = "above" if some and gaps.min() > 0 else "below" if some and gaps.max() < 0 else "open"
            continue
        tests[name] = stratified_t([*gaps], [*bases_of(gaps.index)], [*own["error"]] if "error" in own else None)
        margin, effect = verdicts.margin_of(metric, own["b"].mean()), tests[name]["difference"]
        tests[name]["level"] = max(verdicts.within(effect, tests[name]["interval"], tests[name]["df"], margin))
    differ, level = ([*holm([test[p] for test in tests.values()])] for p in ("p", "level")) if tests else ((), ())
    for (name, test), p, q in zip(tests.items(), differ, level, strict=True):
        way = "above" if test["difference"] > 0 else "below"
        apart = p < verdicts.ALPHA and metrics.one_sign(pairs[name]["a"] - pairs[name]["b"])
        ways[name] = way if apart else "level" if q < verdicts.ALPHA else "open"
    return {name: ways[name] for name in pairs}


def sentence(ways: dict[str, str], other: str, seeds: int = LEAST) -> str:
    """How names compare with another one, by `ways`; of few seeds it says that all agree.

    >>> sentence({"A": "above", "B": "above", "C": "open"}, "the base", seeds=3)
    'above the base in all 3 seeds: A and B; no clear difference: C'
    """
    parts, few = [], seeds < LEAST
    for way, (words, alone) in WAYS.items():
        if names := [name for name, own in ways.items() if own == way]:
            words = alone if parts else words.format(other)
            agree = f" in all {seeds} seeds" * (few and way in ("above", "below"))
            who = f"all {len(names)}" if FEW - 1 <= len(names) == len(ways) else f"{len(names)} of {len(ways)}"
            parts.append(f"{words}{agree}: {listed(names) if len(names) < FEW else who}")
    unsaid = few and not {"above", "below"} & {*ways.values()}
    return "; ".join(parts) + f" ({seeds} seed{'s' * (seeds > 1)})" * unsaid


def _seeds(table: pd.DataFrame) -> int:
    return int(metrics.armed(table).groupby("arm")["seed"].nunique().max())


def _joined(sentences: dict[str, str]) -> str:
    """{metric: sentence} as text; metrics of one and the same sentence share it."""
    alike: dict[str, list[str]] = {}
    for metric, own in sentences.items():
        alike.setdefault(own, []).append(WORDS[metric])
    return ". ".join(
        f"{words[0].upper()}{words[1:]}, {own}" for own, names in alike.items() if (words := listed(names))
    )


def _arms(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    table = metrics.armed(table)
    return {arm: table[table["arm"] == arm] for arm in dict.fromkeys(table["arm"])}


def _asked(table: pd.DataFrame, wanted) -> list[str]:
    groups = {*table["group"]}
    return [metric for metric in wanted if groups & {*METRICS[metric].groups}]


def base_error(rows: pd.DataFrame, metric: str) -> pd.Series:
    """The standard error by seed that sampling leaves in what their base scores, one model that was asked once for all
    runs from it; 0 where each run has a start of its own."""
    start = values(rows, metric, "base")
    if start.groupby(bases_of(start.index)).nunique().max() > 1:
        return 0 * start
    asked = rows.assign(n=rows["n"] if "n" in rows else float("inf"))[rows["step"] == 0].groupby("seed")
    return pd.Series({seed: verdicts.sampling_variance(own, metric) or 0.0 for seed, own in asked}, dtype=float) ** 0.5


def against_base(table: pd.DataFrame, wanted=("spans", "overall")) -> str:
    """How each arm's end compares with what it started from: a clause a metric. Rows of tinybench.csv."""
    found, arms = {}, {arm: own for arm, own in _arms(table).items() if own["step"].max() > 0}
    other = "their starts" if any(arm.startswith("from ") for arm in arms) else "the base"
    for metric in _asked(table, wanted):
        pairs = {}
        for arm, own in arms.items():
            parts = {"a": values(own, metric), "b": values(own, metric, "base"), "error": base_error(own, metric)}
            pairs[label_of(arm)] = pd.concat(parts, axis=1).dropna()
        found[metric] = sentence(judged(pairs, metric), other, _seeds(table))
    return _joined(found)


def against_first(table: pd.DataFrame, wanted=("spans", "overall")) -> str:
    """How each arm's end compares with that of the first arm, paired by seed: a clause a metric."""
    arms = [(arm, own) for arm, own in _arms(table).items() if own["step"].max() > 0]
    if len(arms) < 2:
        return against_base(table, wanted)
    (first, reference), *others = arms
    found = {}
    for metric in _asked(table, wanted):
        b = values(reference, metric)
        pairs = {label_of(arm): pd.concat({"a": values(own, metric), "b": b}, axis=1).dropna() for arm, own in others}
        ways = judged(pairs, metric)
        found[metric] = sentence(ways, label_of(first), _seeds(table))
    return _joined(found)


def moving(training: pd.DataFrame, names: tuple[str, ...]) -> str:
    """From the first to the last fifth of training: what rises, falls or does not clearly move, by arm."""
    clauses = []
    for metric in names:
        parts = []
        for arm, own in _arms(training).items():
            start, end = (values(own, metric, moment) for moment in ("start", "end"))
            pairs = pd.concat({"a": end, "b": start}, axis=1).dropna()
            if len(pairs):
                way = judged({arm: pairs}, metric)[arm]
                unit = " %" if METRICS[metric].unit == "points" else ""
                sign = {"above": "↑", "below": "↓"}.get(way, "≈")
                parts.append(f"{label_of(arm)} {over_seeds(start)[0]:.2g} {sign} {over_seeds(end)[0]:.2g}{unit}")
        if parts:
            clauses.append(f"{METRICS[metric].title}: {', '.join(parts)}")
    return ". ".join(clauses)


def shares(studies: dict[str, pd.DataFrame], metric: str = "noise masks") -> str:
    """The mean of a share at the end of training, arm by arm; of several studies the least and the most of each."""
    clauses = []
    for title, table in studies.items():
        found = {label_of(arm): values(own, metric).mean() for arm, own in _arms(table).items()}
        found = sorted(((name, x) for name, x in found.items() if x == x), key=lambda pair: pair[1])
        if found and found[-1][1] > 0:
            picked = found if len(studies) == 1 and len(found) <= FEW else [found[0], found[-1]]
            clauses.append(f"{title}: " * bool(title) + ", ".join(f"{x:.0f} % ({name})" for name, x in picked))
    return f"{WORDS[metric].capitalize()}: {'; '.join(clauses)}" if clauses else ""


def perplexity(table: pd.DataFrame) -> str:
    """How each arm's perplexity of all tokens compares with the base's. Rows of perplexity.csv."""
    text, pairs = table[table["task"] == "text"].assign(group="text"), {}
    for arm, own in _arms(text).items():
        a, b = (values(own, "perplexity", moment) for moment in ("end", "base"))
        pairs[label_of(arm)] = pd.concat({"a": a, "b": b}, axis=1).dropna()
    ways = judged(pairs, "perplexity")
    return f"Perplexity of all tokens, {sentence(ways, 'the base', _seeds(text))}"


def meeting(table: pd.DataFrame, wanted=("overall",)) -> str:
    """How far the means of the starts of RLVR are apart before and after it, over the seeds that all of them have; ""
    of one start, of none such, or not asked."""
    shared = set.intersection(set(table["seed"]), *(set(own["seed"]) for own in _arms(table).values()))
    found, arms = {}, _arms(table[table["seed"].isin(shared)]).values()
    for metric in _asked(table, wanted):
        ends = [[over_seeds(values(own, metric, at))[0] for own in arms] for at in ("base", "end")]
        found[metric] = [max(means) - min(means) for means in ends]
    if not found or len(arms) < 2:
        return ""
    (first, (before, after)), *others = found.items()
    more = "".join(f"; {WORDS[metric]}: {b:.1f} and {a:.1f}" for metric, (b, a) in others)
    where = f"means on {WORDS[first]}{more}"
    return f"{len(arms)} starts are {before:.1f} points apart before RLVR and {after:.1f} after it ({where})"


def case(answers: pd.DataFrame) -> str:
    """How many answers to one mask were right, model by model, from the base on. Rows of case.csv."""
    names = ["Base" if row.step == 0 else label_of(row.arm) for row in answers.itertuples()]
    rows = zip(names, answers.itertuples(), strict=True)
    return (
        f"One mask, right answers: {', '.join(f'{name} {round(row.right * row.n)} of {row.n}' for name, row in rows)}"
    )


HABITS = {"direct guess": "Answers that guess without a reasoning", "right": "Right answers"}


def habits(patterns: pd.DataFrame, pattern: str = "direct guess") -> str:
    """How many answers are such, before and after. Rows of patterns.csv; pattern: of `HABITS`."""
    own = patterns[patterns["pattern"] == pattern]
    if own.empty:
        return ""
    last = own[(own["step"] > 0) & (own["step"] == own.groupby("run_id")["step"].transform("max"))]
    after = last.groupby("arm", sort=False)["mean"].mean()
    words = ", ".join(f"{label_of(arm)} {100 * x:.0f} %" for arm, x in after.items())
    base = own.loc[own["step"] == 0, "mean"].mean()
    return f"{HABITS[pattern]}: {words}; before training {100 * base:.0f} %"


def laws(found: dict) -> str:
    """How well a power law fits next-token accuracy along compute, and over how short a range."""
    if not found:
        return "Too few evaluations along training to fit a law"
    fits = [law.r2 for law in found.values()]
    decades = max(law.decades for law in found.values())
    return (
        f"A power law of compute fits with R² from {min(fits):.2f} to {max(fits):.2f}, over {decades:.1f} decades only"
    )


def above_base(studies: dict[str, pd.DataFrame], metric: str = "overall") -> str:
    """How many arms of studies end above and below the base. Rows of tinybench.csv."""
    pairs = {}
    for table in studies.values():
        for arm, own in _arms(table).items():
            parts = {"a": values(own, metric), "b": values(own, metric, "base"), "error": base_error(own, metric)}
            pairs[label_of(arm)] = pd.concat(parts, axis=1).dropna()
    every = pd.concat(studies.values())
    ways = judged(pairs, metric)
    words = sentence(ways, "the base", _seeds(every))
    return f"{WORDS[metric].capitalize()}, {words} settings"
