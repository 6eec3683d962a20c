"""The numbers in the README: printed from data/results between two marks, and nowhere typed by hand.
Left out: prose. What the numbers mean is said by a person, beside them."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pzlib.runs.folder import write_atomic
from pzlib.stats import bootstrap_ci, paired_test
from pzlib.studies import claims, select, study_of
from pzlib.studies.claims import values
from pzlib.studies.metrics import at_equal, tokens_used
from pzlib.studies.results import load, stored

GROUPS = {"general": "TinyBench general", "math": "TinyBench math", "spans": "masked words (reasoning)"}

OURS = "pretrainzero"  # what the others are compared with

ARMS = ("continued_pretraining", "sft", "random_span", OURS)  # the rows of the paper's Tables 1 and 2, below "Base"



def main_table(tinybench: pd.DataFrame, tier: str = "mini", arms: Sequence[str] = ARMS) -> str:
    """Markdown: accuracy of the base and of every arm by group, mean over seeds [95 % bootstrap interval], and what
    PretrainZero has more than each other arm, paired by seed. "not run" where there are no rows.

    tinybench: rows with a column `arm`, or else one objective an arm; `arms`: the rows of the table, in order.
    """
    from pzlib.figures.forms import armed
    from pzlib.figures.style import mark_of, marks_of

    rows = armed(tinybench[tinybench["tier"] == tier])
    means = rows.groupby(["arm", "seed", "run_id", "step", "group"], as_index=False)["accuracy"].mean()
    means["accuracy"] *= 100
    last = means["step"] == means.groupby("run_id")["step"].transform("max")
    after, before = means[last & (means["step"] > 0)], means[means["step"] == 0].drop_duplicates(["seed", "group"])
    lines = [f"| accuracy, % ({tier}) | seeds | " + " | ".join(GROUPS.values()) + " |"]
    lines.append("|---" * (2 + len(GROUPS)) + "|")
    marks = marks_of(["base", *arms])
    for arm, mark in marks.items():
        part = before if arm == "base" else after[after["arm"] == arm]
        cells = [interval(part.loc[part["group"] == group, "accuracy"]) for group in GROUPS]
        lines.append(f"| {mark.label} | {part['seed'].nunique()} | " + " | ".join(cells) + " |")
    values = after.pivot_table(index=["group", "seed"], columns="arm", values="accuracy")
    for arm in arms:
        if arm == OURS or not {arm, OURS} <= set(values):
            continue
        pairs = values[[OURS, arm]].dropna()
        cells = [_difference(*pairs.loc[group].to_numpy().T) if group in pairs.index else "not run" for group in GROUPS]
        seeds = pairs.index.get_level_values("seed").nunique()
        lines.append(f"| {mark_of(OURS).label} − {marks[arm].label}, paired | {seeds} | " + " | ".join(cells) + " |")
    return "\n".join(lines)



def follow_on_table(tinybench: pd.DataFrame) -> str:
    """Markdown: every arm of the study rlvr before and after, mean over seeds [95 % bootstrap interval after], and what
    it has after RLVR more than the first arm, paired by seed.

    tinybench: rows of one tier, with a column `arm`; step 0 of an arm is the model that it started from.
    """
    metrics = ("overall", "general", "math")
    columns = [f"{metric}, {when}" for metric in metrics for when in ("before", "after")]
    lines = ["| accuracy, % | seeds | " + " | ".join(columns) + " | overall after, − first row, paired |"]
    lines.append("|---" * (3 + len(columns)) + "|")
    first = None
    for arm, rows in tinybench.groupby("arm", sort=False):
        cells = []
        for metric in metrics:
            before, after = (values(rows, metric, moment) for moment in ("base", "end"))
            cells += [f"{before.mean():.1f}", interval(after)]
        overall = values(rows, "overall")
        first = overall if first is None else first
        pairs = pd.concat([overall, first], axis=1, join="inner").to_numpy().T
        cells.append("" if overall is first else _difference(*pairs))
        lines.append(f"| {arm} | {rows['seed'].nunique()} | " + " | ".join(cells) + " |")
    return "\n".join(lines)



def interval(values: pd.Series) -> str:
    """A mean over seeds with its 95 % bootstrap interval, one digit; "not run" where there is none."""
    if values.empty:
        return "not run"
    if values.nunique() == 1:  # the base: every seed asks the same model the same questions
        return f"{values.iloc[0]:.1f}"
    low, high = bootstrap_ci(values)
    return f"{values.mean():.1f} [{low:.1f}, {high:.1f}]"



def _difference(ours, theirs) -> str:
    test = paired_test(ours, theirs)
    low, high = test["interval"]
    return f"{test['difference']:+.1f} [{low:+.1f}, {high:+.1f}], p = {test['p']:.2g}"


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
    from pzlib.figures.style import marks_of

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
    from pzlib.figures.style import marks_of

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


START, END = "<!-- {}: python -m pzlib figures writes this -->", "<!-- end of {} -->"



def readme_tables() -> dict[str, str]:
    """Markdown of every table in the README, by the name between its marks, from data/results at `mini`."""
    tables = stored()
    baselines, rlvr, side, after = (
        select(tables["tinybench"], study) for study in ("baselines", "rlvr", "side", "side_rlvr")
    )
    spent = select(tables["training"], "side")
    methods = side_by_side(side, spent, costs_of(spent), after)
    return {
        "results": main_table(baselines),
        "side": side_table(methods),
        "rlvr": follow_on_table(rlvr),
        "claims": claims.summary(claims.ledger(claims.load(), tables)),
    }



def refresh(readme: str | Path, tables: dict[str, str]) -> None:
    """Write each markdown table between the marks of its name in the README; the rest of it stays.

    Raises ValueError, and writes nothing, where the marks of a name are not there once each.
    """
    text = Path(readme).read_text()
    for name, table in tables.items():
        start, end = START.format(name), END.format(name)
        if text.count(start) != 1 or text.count(end) != 1 or text.index(end) < text.index(start):
            raise ValueError(f"{readme}: needs the lines {start!r} and {end!r} once each, for the table {name!r}")
        head, rest = text.split(start)
        text = f"{head}{start}\n{table}\n{end}{rest.split(end)[1]}"
    write_atomic(readme, text)
