"""All methods side by side: at equal steps, tokens and time, after the same RLVR, and what a point costs.
Left out: pictures (`studyfigures`, `followfigures`), and how the seconds of a step are measured (`costs`)."""

import pandas as pd

from pzlib.claims import values
from pzlib.report import interval
from pzlib.results import load
from pzlib.studies import study_of
from pzlib.studytables import at_equal, tokens_used
from pzlib.style import marks_of

METRICS = {"overall": "overall", "general": "general", "math": "math", "spans": "masked words"}


def costs_of(training: pd.DataFrame, tier: str = "mini") -> pd.DataFrame:
    """Seconds a step of each arm: columns arm, seconds, device; from the tier's costs.csv, which `make bench` makes, or
    where there is none from the runs' own clocks, which other work on the machine slows."""
    try:
        return load("costs", tier)
    except FileNotFoundError:
        own = training.groupby("arm", sort=False)["seconds"].mean().reset_index()
        return own.assign(device="each run's own clock")


def seconds_used(tinybench: pd.DataFrame, costs: pd.DataFrame) -> pd.Series:
    """For every row of `tinybench` the seconds its run had used by that step: steps x what its arm's step costs.

    costs: one row an arm (arm, seconds), measured one after the other on one machine: the seconds that runs themselves
    have noted depend on what else the machine did. Raises ValueError for an arm without a cost.
    """
    seconds = costs.set_index("arm")["seconds"]
    absent = sorted(set(tinybench["arm"]) - set(seconds.index))
    if absent:
        raise ValueError(f"costs: {absent[0]!r} has no seconds a step; `make bench` measures them")
    return tinybench["step"] * tinybench["arm"].map(seconds)


def budgets(tinybench: pd.DataFrame, training: pd.DataFrame, costs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """{"steps", "tokens", "time"} -> the rows of each run's last evaluation within the least that any run has used.

    tinybench, training: rows of one study, with a column `arm`. Errors as in `tokens_used` and `seconds_used`.
    """
    table = tinybench.assign(tokens=tokens_used(tinybench, training), time=seconds_used(tinybench, costs))
    return {"steps": at_equal(table, "step"), "tokens": at_equal(table, "tokens"), "time": at_equal(table, "time")}


def after_rlvr(follow_on: pd.DataFrame, study: str = "side_rlvr") -> dict[str, pd.DataFrame]:
    """{arm: rows of RLVR from its model} of a study whose arms go on from those of another; "base" for the one that
    starts from none."""
    starts = {arm: own.get("start", "base").rpartition(":")[2] for arm, own in study_of(study).arms.items()}
    return {start: follow_on[follow_on["arm"] == arm] for arm, start in starts.items()}


def side_by_side(
    tinybench: pd.DataFrame, training: pd.DataFrame, costs: pd.DataFrame, follow_on: pd.DataFrame
) -> pd.DataFrame:
    """One row a method, at (steps, tokens, time, RLVR) and metric: mean over seeds in %, its interval in words, seeds.

    follow_on: rows of the study `side_rlvr`. Step 0 is the row "base". Methods come in the order of `tinybench`.
    Errors as in `budgets`.
    """
    found = []
    after = after_rlvr(follow_on)
    within = budgets(tinybench, training, costs)
    for arm, mark in marks_of(["base", *dict.fromkeys(tinybench["arm"])]).items():
        for metric in METRICS:
            for at, rows in within.items():
                own = tinybench if arm == "base" else rows[rows["arm"] == arm]
                found.append((mark.label, at, metric, values(own, metric, "base" if arm == "base" else "end")))
            if len(after.get(arm, ())):
                found.append((mark.label, "RLVR", metric, values(after[arm], metric)))
    rows = [(*key, scores.mean(), interval(scores), len(scores)) for *key, scores in found]
    return pd.DataFrame(rows, columns=["method", "at", "metric", "mean", "interval", "seeds"])


def told_before(table: pd.DataFrame, metric: str = "overall") -> tuple[float, int]:
    """Spearman's rank correlation over methods of their means before RLVR (at equal steps) and after it, and how many
    methods. `table` of `side_by_side`."""
    means = table[table["metric"] == metric].pivot(index="method", columns="at", values="mean")
    means = means.reindex(columns=["steps", "RLVR"]).dropna()
    return float(means.corr(method="spearman").loc["steps", "RLVR"]), len(means)


def side_table(table: pd.DataFrame, metric: str = "overall") -> str:
    """Markdown of `side_by_side`: a row a method; at equal steps, tokens and time, and after RLVR."""
    titles = {"steps": "equal steps", "tokens": "equal tokens", "time": "equal time", "RLVR": "after the same RLVR"}
    lines = [f"| {METRICS[metric]}, % | seeds | " + " | ".join(titles.values()) + " |", "|---" * 6 + "|"]
    for method, rows in table[table["metric"] == metric].groupby("method", sort=False):
        cells = rows.set_index("at")["interval"].reindex(titles).fillna("not run")
        lines.append(f"| {method} | {rows['seeds'].min()} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cost_table(tinybench: pd.DataFrame, training: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """A row a method: tokens and CPU seconds a step, gain over the base in points (overall, mean over seeds), and the
    tokens (thousands) and CPU seconds that a point of gain cost; NaN where nothing was gained. Errors as in `budgets`.
    """
    rows, seconds_of = [], costs.set_index("arm")["seconds"]
    within = budgets(tinybench, training, costs)["steps"]
    for arm, mark in marks_of(dict.fromkeys(tinybench["arm"])).items():
        own = within[within["arm"] == arm]
        steps, tokens = own["step"].max(), own["tokens"].mean()
        gain = (values(own, "overall") - values(tinybench[tinybench["arm"] == arm], "overall", "base")).mean()
        paid = gain if gain > 0 else float("nan")
        seconds = seconds_of[arm] * steps
        rows.append((mark.label, tokens / steps, seconds_of[arm], gain, tokens / 1000 / paid, seconds / paid))
    columns = ["method", "tokens a step", "CPU s a step", "gain", "thousand tokens a point", "CPU s a point"]
    return pd.DataFrame(rows, columns=columns).set_index("method")
