"""The numbers in the README: printed from data/results between two marks, and nowhere typed by hand.
Left out: prose. What the numbers mean is said by a person, beside them."""

from pathlib import Path

import pandas as pd

from pzlib.folder import write_atomic
from pzlib.stats import bootstrap_ci, paired_test
from pzlib.style import mark_of

START, END = "<!-- results: python -m pzlib figures writes this -->", "<!-- end of results -->"
GROUPS = {"general": "TinyBench general", "math": "TinyBench math", "spans": "masked words (reasoning)"}


def main_table(tinybench: pd.DataFrame, tier: str = "mini") -> str:
    """Markdown: accuracy before and after by method and group, mean over seeds [95 % bootstrap interval], and the
    difference of the methods, paired by seed. "not run" where there are no rows.
    """
    rows = tinybench[tinybench["tier"] == tier]
    means = rows.groupby(["objective", "seed", "run_id", "step", "group"], as_index=False)["accuracy"].mean()
    means["accuracy"] *= 100
    last = means["step"] == means.groupby("run_id")["step"].transform("max")
    after, before = means[last & (means["step"] > 0)], means[means["step"] == 0].drop_duplicates(["seed", "group"])
    lines = [f"| accuracy, % ({tier}) | seeds | " + " | ".join(GROUPS.values()) + " |"]
    lines.append("|---" * (2 + len(GROUPS)) + "|")
    methods = [("base", before)] + [(o, after[after["objective"] == o]) for o in ("random_span", "pretrainzero")]
    for name, part in methods:
        cells = [_interval(part.loc[part["group"] == group, "accuracy"]) for group in GROUPS]
        lines.append(f"| {mark_of(name).label} | {part['seed'].nunique()} | " + " | ".join(cells) + " |")
    pairs = after.pivot_table(index=["group", "seed"], columns="objective", values="accuracy")
    if {"pretrainzero", "random_span"} <= set(pairs):
        pairs = pairs[["pretrainzero", "random_span"]].dropna()
        cells = [_difference(pairs.loc[group]) if group in pairs.index else "not run" for group in GROUPS]
        seeds = pairs.index.get_level_values("seed").nunique()
        lines.append(f"| PretrainZero − random, paired | {seeds} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def refresh(readme: str | Path, tinybench: pd.DataFrame, tier: str = "mini") -> None:
    """Write `main_table` between the marks of the README; the rest of it stays. Raises ValueError without marks."""
    text = Path(readme).read_text()
    if text.count(START) != 1 or text.count(END) != 1:
        raise ValueError(f"{readme}: needs the lines {START!r} and {END!r} once each, for the table of results")
    head, rest = text.split(START)
    write_atomic(readme, f"{head}{START}\n{main_table(tinybench, tier)}\n{END}{rest.split(END)[1]}")


def _interval(values: pd.Series) -> str:
    if values.empty:
        return "not run"
    if values.nunique() == 1:  # the base: every seed asks the same model the same questions
        return f"{values.iloc[0]:.1f}"
    low, high = bootstrap_ci(values)
    return f"{values.mean():.1f} [{low:.1f}, {high:.1f}]"


def _difference(pairs: pd.DataFrame) -> str:
    test = paired_test(pairs["pretrainzero"], pairs["random_span"])
    low, high = test["interval"]
    return f"{test['difference']:+.1f} [{low:+.1f}, {high:+.1f}], p = {test['p']:.2g}"
