"""Results as markdown tables: means over seeds, intervals, paired differences.
Left out: every method side by side (`sidetables`), and where the tables go (`readme`)."""

from collections.abc import Sequence

import pandas as pd

from pzlib.claims import values
from pzlib.curves import armed
from pzlib.stats import bootstrap_ci, paired_test
from pzlib.style import mark_of, marks_of

GROUPS = {"general": "TinyBench general", "math": "TinyBench math", "spans": "masked words (reasoning)"}
OURS = "pretrainzero"  # what the others are compared with
ARMS = ("continued_pretraining", "sft", "random_span", OURS)  # the rows of the paper's Tables 1 and 2, below "Base"


def main_table(tinybench: pd.DataFrame, tier: str = "mini", arms: Sequence[str] = ARMS) -> str:
    """Markdown: accuracy of the base and of every arm by group, mean over seeds [95 % bootstrap interval], and what
    PretrainZero has more than each other arm, paired by seed. "not run" where there are no rows.

    tinybench: rows with a column `arm`, or else one objective an arm; `arms`: the rows of the table, in order.
    """
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
