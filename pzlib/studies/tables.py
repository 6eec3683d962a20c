"""The numbers in the README: printed from data/results between two marks, and nowhere typed by hand.
Left out: prose. What the numbers mean is for a person to write, beside them."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pzlib.evaluation.benchmarks import BENCHMARKS
from pzlib.runs.folder import write_atomic
from pzlib.studies import claims, metrics, real_text, select, study_of, sweeps
from pzlib.studies.claims import as_markdown
from pzlib.studies.claims.verdicts import sampling_variance, word_of
from pzlib.studies.metrics import GROUPS, LEAST, armed, at_equal, label_of, over_seeds, values
from pzlib.studies.results import MARK, blank, load, notes, stored
from pzlib.tiers import WORLDS

WHEN = ("before", "after")
TITLES = ("general", "math", "masked words")  # of GROUPS, on a terminal
OURS = "pretrainzero"  # what the others are compared with
ARMS = ("continued_pretraining", "sft", "random_span", OURS)  # the rows of the paper's Tables 1 and 2, below "Base"
NOT_RUN = "*Not run*: {}: `pzlib study {}` makes the rows of this table."
ONE_BASE = "*One base* so far, not comparable with means over two: {}."
DRAWN = "Drawing the answers leaves up to ±{:.1f} points in each score too, the base's included."
CLOCKS = "*Minutes* are by the runs' own clocks, beside other work; `make bench` measures CPU minutes."
AFTER = "*After RLVR*: {} of {} seeds so far."
NO_GAIN = "*No learning rate of its sweep gains anything*, so it trains at the one that loses least: {}."
OWN_CLOCK, SILENT = "each run's own clock", "no answer reasons"  # in place of a machine that timed steps, of a change
START, END = "<!-- {}: python -m pzlib figures writes this -->", "<!-- end of {} -->"


def interval(values: pd.Series) -> str:
    """A mean over seeds and bases with its 95 % t interval from five seeds on, one digit; "not run" without any."""
    if values.empty:
        return "not run"
    mean, low, high = over_seeds(values)
    few = len(values) < LEAST or high - low < 1e-9  # a base: every seed asks the same model the same questions
    return f"{mean:.1f}" if few else f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def spread(values: pd.Series) -> str:
    """As `interval`, with ± half of it.

    >>> spread(pd.Series([1.0, 2.0, 3.0, 4.0, 5.0])), spread(pd.Series([1.0, 2.0]))
    ('3.0 ± 2.0', '1.5')
    """
    mean, dash, ends = interval(values).partition(" [")
    return f"{mean} ± {(over_seeds(values)[2] - over_seeds(values)[1]) / 2:.1f}" if dash else mean


def each_base(values: pd.Series) -> str:
    """The scores of bases, one digit each: their seeds ask the same model the same questions, so there is no interval.

    >>> each_base(pd.Series([32.1, 32.1, 30.0])), each_base(pd.Series([32.1, 32.1])), each_base(pd.Series([]))
    ('32.1 and 30.0', '32.1', 'not run')
    """
    return " and ".join(f"{value:.1f}" for value in dict.fromkeys(values.round(9))) or "not run"


def _difference(first: pd.Series, second: pd.Series) -> tuple[str, int]:
    """The first minus the second, paired by seed, as text, and how many pairs."""
    gaps = (first - second).dropna()
    if gaps.empty:
        return "not run", 0
    mean, low, high = over_seeds(gaps)
    return f"{mean:+.1f}" + f" [{low:+.1f}, {high:+.1f}]" * (len(gaps) >= LEAST), len(gaps)


def main_table(tinybench: pd.DataFrame, tier: str = "mini", arms: Sequence[str] = ARMS) -> str:
    """Markdown: accuracy of the base and of every arm by group, mean over seeds [95 % t interval], and what
    PretrainZero has more than each other arm, paired by seed. "not run" where there are no rows.

    tinybench: rows with a column `arm`, or else one objective an arm; `arms`: the rows of the table, in order.
    """
    rows = armed(tinybench[tinybench["tier"] == tier])
    trained = rows[rows["step"] > 0]
    found = {"base": [values(rows, group, "base") for group in GROUPS]}
    found |= {arm: [values(trained[trained["arm"] == arm], group) for group in GROUPS] for arm in arms}
    shown = {arm: map(each_base if arm == "base" else interval, own) for arm, own in found.items()}
    lines = [(label_of(arm), max(map(len, own)), *shown[arm]) for arm, own in found.items()]
    for arm in (arm for arm in arms if arm != OURS and OURS in arms):
        cells, seeds = zip(*map(_difference, found[OURS], found[arm]), strict=True)
        if any(seeds):
            lines.append((f"{label_of(OURS)} − {label_of(arm)}, paired", max(seeds), *cells))
    asked = "TinyBench " if set(rows["task"]).isdisjoint(BENCHMARKS) else ""
    heads = [f"{asked}{group}" if group != "spans" else "masked words (reasoning)" for group in GROUPS]
    return noted(as_markdown([f"accuracy, % ({tier})", "seeds", *heads], lines), rows[rows["arm"].isin(arms)])


def noted(table: str, rows: pd.DataFrame) -> str:
    """The markdown table with a line below for arms that lack a base, and for each run that degenerated."""
    alone = ", ".join(map(label_of, metrics.on_fewer_bases(dict(iter(rows.groupby("arm", sort=False)["seed"])))))
    return "\n\n".join([table, *[ONE_BASE.format(alone)] * bool(alone), *notes(rows, label_of)])


def before_and_after(folder) -> str:
    """What a finished RunFolder scored before and after, in a line, of the small world beside the stored runs of its
    method at `mini`; "" where it was not evaluated."""
    found, params = folder.evals(), folder.params()
    if found.empty or found["step"].nunique() < 2:
        return ""
    short = ", a smoke test, too short to learn much" if params["tier"] == "smoke" else ""
    rows = {f"this run, {params['steps']} steps at {params['tier']}{short}": found.assign(seed=params["seed"])}
    try:
        known = select(load("tinybench"), "baselines") if WORLDS[params["tier"]].small else blank("tinybench")
        own = known[known["objective"] == params["objective"]]
        if len(own):
            rows[f"stored, {own['seed'].nunique()} seeds of {own['step'].max()} steps at mini"] = own
    except FileNotFoundError:
        pass
    lines = []
    for name, table in rows.items():
        means = [[values(table, group, moment).mean() for moment in ("base", "end")] for group in GROUPS]
        parts = [f"{g} {a:.1f} → {b:.1f}" for g, (a, b) in zip(TITLES, means, strict=True) if a == a and b == b]
        lines.append(f"accuracy, % ({name}): {', '.join(parts)}")
    return "\n".join(lines)


def verdict_shares(training: pd.DataFrame) -> pd.DataFrame:
    """Shares of a verifier's verdicts in the first and the last fifth of training, by arm."""
    names = [name for name in training if name.startswith("verdict/") and training[name].notna().any()]
    part = training["step"] / training.groupby("run_id")["step"].transform("max")
    when = part.map(lambda share: "first fifth" if share <= 0.2 else "last fifth" if share > 0.8 else "between")
    shares = training[names].fillna(0).groupby([training["arm"], when.rename("part of the run")], sort=False).mean()
    shares = shares.drop("between", level=1, errors="ignore")
    return shares.rename(columns=lambda name: name.removeprefix("verdict/"))


def per_step(training: pd.DataFrame) -> pd.DataFrame:
    """Mean tokens, seconds and trained rows of a step, by arm."""
    table = training.assign(tokens=training["tokens_prompt"] + training["tokens_completion"])
    means = table.groupby("arm", sort=False)[["tokens", "seconds", "rows_trained"]].mean()
    return means.rename(columns=lambda name: f"{name.replace('_', ' ')} per step")


def _ends(evals: pd.DataFrame) -> pd.DataFrame:
    """The rows of a run's first and last evaluation, with a column `when`."""
    ends = evals[evals["step"].isin([evals["step"].min(), evals["step"].max()])]
    return ends.assign(when=ends["step"].eq(evals["step"].min()).map(dict(zip((True, False), WHEN, strict=True))))


def by_task(evals: pd.DataFrame) -> pd.DataFrame:
    """A row per task of a run's eval.csv: accuracy with its 95 % interval over questions, mean tokens of an answer and
    the share of answers that reason first, each before and after."""
    ends = _ends(evals)
    shares = [f"{row.accuracy:.0%} [{row.low:.0%}, {row.high:.0%}]" for row in ends.itertuples()]
    shown = {"accuracy": shares, "length (tokens)": ends["length"].round(1), "reasoned": ends["reasoned"].round(2)}
    wide = ends[["group", "task", "when"]].assign(**shown)
    wide = wide.pivot(index=["group", "task"], columns="when", values=list(shown)).rename_axis(columns=[None, None])
    return wide.reindex(columns=pd.MultiIndex.from_product([shown, WHEN])).astype(object).fillna("–")


def change_by_group(evals: pd.DataFrame) -> pd.DataFrame:
    """A row per group of a run's eval.csv: accuracy in % before, after, and the change in points."""
    means = metrics.comparable(_ends(evals).assign(seed=0)).groupby(["group", "when"])["accuracy"].mean().unstack()
    means = 100 * means.reindex(columns=WHEN).rename_axis(columns=None)
    return means.assign(change=means["after"] - means["before"]).round(1)


def beside_seeds(evals: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """Accuracy in % of one run at its end, beside the mean of each arm's stored runs with its interval over seeds.

    evals: of the run's eval.csv; known: rows of tinybench.csv with a column `arm`.
    """
    after = change_by_group(evals)["after"].map("{:.1f}".format)
    rows = [{"who": "this run", "runs": 1, **after[[group for group in GROUPS if group in after]]}]
    for arm, own in known[known["step"] > 0].groupby("arm", sort=False):
        scores = {group: interval(values(own, group)) for group in GROUPS}
        rows.append({"who": f"{label_of(arm)}, stored", "runs": own["seed"].nunique(), **scores})
    return pd.DataFrame(rows).set_index("who").astype(object).fillna("–")


def follow_on_table(tinybench: pd.DataFrame) -> str:
    """Markdown: every arm of the study rlvr before and after, mean over seeds [95 % t interval after], and what
    it has after RLVR more than the first arm, paired by seed.

    tinybench: rows of one tier, with a column `arm`; step 0 of an arm is the model that it started from. "" of none.
    """
    shown, lines, first = ("overall", "general", "math"), [], None
    for arm, rows in tinybench.groupby("arm", sort=False):
        cells, overall = [], values(rows, "overall")
        for metric in shown:
            cells += [f"{over_seeds(values(rows, metric, 'base'))[0]:.1f}", interval(values(rows, metric))]
        more, first = ("", overall) if first is None else (_difference(overall, first)[0], first)
        lines.append((arm, rows["seed"].nunique(), *cells, more))
    columns = [f"{metric}, {when}" for metric in shown for when in ("before", "after")]
    heads = ["accuracy, %", "seeds", *columns, "overall after, − first row, paired"]
    return noted(as_markdown(heads, lines), tinybench) if lines else ""


def costs_of(training: pd.DataFrame, tier: str = "mini", study: str = "side", folder=None) -> pd.DataFrame:
    """Seconds per step of each arm: columns arm, seconds, device; from costs.csv of the tier or in `folder`, which
    `make bench` makes, of another study from costs_STUDY.csv, or where there is none from the runs' own clocks, which
    other work on the machine slows."""
    try:
        return load("costs" if study == "side" else f"costs_{study}", tier, folder)
    except FileNotFoundError:
        own = training.groupby("arm", sort=False)["seconds"].mean().reset_index()
        return own.assign(device=OWN_CLOCK)


def seconds_used(tinybench: pd.DataFrame, costs: pd.DataFrame) -> pd.Series:
    """For every row of `tinybench` the seconds its run had used by that step: steps x what its arm's step costs.

    costs: one row per arm (arm, seconds), measured one after the other on one machine: the seconds that runs themselves
    have noted depend on what else the machine did. Raises ValueError for an arm without a cost.
    """
    seconds = costs.set_index("arm")["seconds"]
    absent = sorted(set(tinybench["arm"]) - set(seconds.index))
    if absent:
        raise ValueError(f"costs: {absent[0]!r} has no seconds per step; `make bench` measures them")
    return tinybench["step"] * tinybench["arm"].map(seconds)


def budgets(tinybench: pd.DataFrame, training: pd.DataFrame, costs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """{"steps", "tokens", "time"} -> rows of each run at the least that any run has used, as of `at_equal` (between).

    tinybench, training: rows of one study, with a column `arm`. Errors as in `tokens_used` and `seconds_used`.
    """
    tokens, time = metrics.tokens_used(tinybench, training), seconds_used(tinybench, costs)
    table = tinybench.assign(steps=tinybench["step"], tokens=tokens, time=time)
    return {used: at_equal(table, used, used != "steps") for used in ("steps", "tokens", "time")}


def after_rlvr(follow_on: pd.DataFrame, study: str = "side_rlvr") -> dict[str, pd.DataFrame]:
    """{arm: rows of RLVR from its model} of a study whose arms go on from those of another; "base" for the one that
    starts from none."""
    starts = {arm: own.get("start", "base").rpartition(":")[2] for arm, own in study_of(study).arms.items()}
    return {start: follow_on[follow_on["arm"] == arm] for arm, start in starts.items()}


def side_by_side(
    tinybench: pd.DataFrame, training: pd.DataFrame, costs: pd.DataFrame, follow_on: pd.DataFrame
) -> pd.DataFrame:
    """One row a method, at (steps, tokens, time, RLVR) and metric: mean over seeds in %, its interval as text, seeds.

    follow_on: rows of the study `side_rlvr`. Step 0 is the row "base". Methods come in the order of `tinybench`.
    Errors as in `budgets`.
    """
    found = []
    after, within = after_rlvr(follow_on), budgets(tinybench, training, costs)
    for arm in dict.fromkeys(["base", *tinybench["arm"]]):
        for metric in metrics.ACCURACIES:
            for at, rows in within.items():
                own, moment = (tinybench, "base") if arm == "base" else (rows[rows["arm"] == arm], "end")
                found.append((label_of(arm), at, metric, values(own, metric, moment)))
            if len(after.get(arm, ())):
                found.append((label_of(arm), "RLVR", metric, values(after[arm], metric)))
    untrained = lambda key: key[0] == label_of("base") and key[1] != "RLVR"  # noqa: E731
    rows = [(*key, over_seeds(scores)[0], each_base(scores) if untrained(key) else interval(scores), len(scores))
            for *key, scores in found]  # fmt: skip
    return pd.DataFrame(rows, columns=["method", "at", "metric", "mean", "interval", "seeds"])


def rank_correlation(table: pd.DataFrame, metric: str = "overall") -> tuple[float, int]:
    """Spearman's rank correlation over methods of means before (equal steps) and after RLVR, and how many they are."""
    means = table[table["metric"] == metric].pivot(index="method", columns="at", values="mean")
    means = means.reindex(columns=["steps", "RLVR"]).dropna()
    return float(means.corr(method="spearman").loc["steps", "RLVR"]), len(means)


def probe_table(rows: pd.DataFrame) -> str:
    """Markdown of rows of probes.csv: what replacing a reasoning changes, with its 95 % interval over questions."""
    lines = []
    for row in rows.itertuples():
        scale, unit = (100, "points") if row.measure == "right" else (1, "nats")
        own, low, high = (f"{scale * x:+.2f}" for x in (row.change, row.low, row.high))
        change = f"{own} [{low}, {high}] {unit}" if row.n else SILENT
        lines.append((row.objective, row.seed, row.step, row.about, row.way, row.n, change))
    heads = ["method", "seed", "step", "targets", "own reasoning replaced by", "questions", "change"]
    return as_markdown(heads, lines) if lines else "not run"


def lost_without(probes: pd.DataFrame | None, way: str = "another's") -> dict[str, str]:
    """{label of an arm: change of its accuracy with another reasoning, in points, mean [interval] over its seeds;
    or that no answer of its models reasons}. probes: rows of probes.csv with a column `arm`; None: not run."""
    if probes is None or probes.empty:
        return {}
    asked = (probes["way"] == way) & (probes["measure"] == "right") & (probes["about"] == "all") & (probes["step"] > 0)
    by_arm = probes[asked].set_index("seed").groupby("arm")["change"]
    found = {label_of(arm): 100 * change.dropna() for arm, change in by_arm}
    text = lambda own: f"{interval(own)} ({len(own)} seed{'s' * (len(own) > 1)})" if len(own) else SILENT  # noqa: E731
    return {label: text(own) for label, own in found.items()}


def side_table(table: pd.DataFrame, metric: str = "overall", probes: pd.DataFrame | None = None) -> str:
    """Markdown of `side_by_side`: a row a method; at equal steps, tokens and time, and after RLVR; last, what it loses
    with another item's reasoning in place of its own (`lost_without`)."""
    lost, lines = lost_without(probes), []
    titles = {"steps": "equal steps", "tokens": "equal tokens", "time": "equal time", "RLVR": "after the same RLVR"}
    for method, rows in table[table["metric"] == metric].groupby("method", sort=False):
        rows = rows.set_index("at")
        before, after = rows["seeds"].drop("RLVR", errors="ignore").min(), rows["seeds"].get("RLVR")
        seeds = before if after in (None, before) else f"{before}; {after} after RLVR"
        lines.append((method, seeds, *rows["interval"].reindex(titles).fillna("not run"), lost.get(method, "not run")))
    heads = [f"{metrics.METRICS[metric].title.lower()}, %", "seeds", *titles.values()]
    return as_markdown([*heads, "with another's reasoning, points"], lines)


def cost_table(tinybench: pd.DataFrame, training: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """A row a method: tokens and seconds per step, gain over the base in points (overall, mean over seeds), and the
    tokens (thousands) and seconds that a point of gain cost; NaN where nothing was gained. Seconds are CPU seconds,
    unless `costs` has the runs' own clocks (`costs_of`). Errors as in `budgets`.
    """
    rows, seconds_of = [], costs.set_index("arm")["seconds"]
    within = budgets(tinybench, training, costs)["steps"]
    for arm in dict.fromkeys(tinybench["arm"]):
        own = within[within["arm"] == arm]
        steps, tokens, seconds = own["step"].max(), own["tokens"].mean(), seconds_of[arm]
        gain = over_seeds(values(own, "overall") - values(tinybench[tinybench["arm"] == arm], "overall", "base"))[0]
        paid = gain if gain > 0 else float("nan")
        rows.append((label_of(arm), tokens / steps, seconds, gain, tokens / 1000 / paid, seconds * steps / paid))
    cpu = "" if OWN_CLOCK in {*costs.get("device", ())} else "CPU "
    columns = ["method", "tokens a step", f"{cpu}s a step", "gain", "thousand tokens a point", f"{cpu}s a point"]
    return pd.DataFrame(rows, columns=columns).set_index("method")


def overview_table(
    tinybench: pd.DataFrame, training: pd.DataFrame, costs: pd.DataFrame, follow_on: pd.DataFrame
) -> str:
    """Markdown, a row a method of the study `side`: accuracy by group at the last step, tokens and CPU minutes until
    then, and overall accuracy after the same RLVR; mean over seeds ± half of the 95 % t interval.

    Arguments and errors as in `side_by_side`.
    """
    after, spent = after_rlvr(follow_on), budgets(tinybench, training, costs)["steps"]
    lines, alone = [], metrics.on_fewer_bases(dict(iter(tinybench.groupby("arm")["seed"])))
    for arm in dict.fromkeys(["base", *tinybench["arm"]]):
        rows, moment = (tinybench, "base") if arm == "base" else (tinybench[tinybench["arm"] == arm], "end")
        own = spent[spent["arm"] == arm]
        used = ("–", "–") if arm == "base" else (f"{own['tokens'].mean() / 1e6:.1f}", f"{own['time'].mean() / 60:.1f}")
        later = values(after[arm], "overall") if len(after.get(arm, ())) else pd.Series(dtype=float)
        shown = each_base if arm == "base" else spread
        scores = [shown(values(rows, group, moment)) for group in GROUPS]
        seeds = f"{rows['seed'].nunique()}{', one base' * (arm in alone)}"
        lines.append((label_of(arm), seeds, *scores, *used, spread(later)))
    clock = "minutes" if OWN_CLOCK in {*costs.get("device", ())} else "CPU minutes"
    mark = f" {MARK}" * bool(notes(follow_on))
    return as_markdown(["method", "seeds", *TITLES, "M tokens", clock, f"general and math after RLVR{mark}"], lines)


def overview(tables: dict[str, pd.DataFrame], tier: str = "mini") -> str:
    """`overview_table` of the arms of `side`, then of `side_new`; below it what to know of them, what is not run."""
    made_by = {"side": "side side_rlvr", "side_new": "side_new"}
    found = {name: tables.get(name, blank(name)) for name in ("tinybench", "training")}
    own = {name: [select(table, study, tier) for study in made_by] for name, table in found.items()}
    scores, spent = (pd.concat(parts, ignore_index=True).drop_duplicates() for parts in own.values())
    costs = pd.concat([costs_of(part, tier, study) for part, study in zip(own["training"], made_by, strict=True)])
    after, parts = select(found["tinybench"], "side_rlvr", tier), []
    if len(scores):
        shown = overview_table(scores, spent, costs.drop_duplicates("arm"), after)
        still = ", ".join(map(label_of, sweeps.without_gain(scores["arm"].unique())))
        base = scores[(scores["run_id"] == scores["run_id"].iloc[0]) & (scores["step"] == 0)]
        drawn = 1.96 * max(sampling_variance(base, group) for group in GROUPS) ** 0.5
        parts = [noted(shown, scores), *notes(after, label_of, "RLVR"), DRAWN.format(drawn)]
        parts += [NO_GAIN.format(still)] * bool(still) + [CLOCKS] * ("| minutes |" in shown)
        later, seeds = after["seed"].nunique(), scores["seed"].nunique()
        parts += [AFTER.format(later, seeds)] * (0 < later < seeds)
    lacking = {study: [arm for arm in study_of(study).arms if arm not in {*scores["arm"]}] for study in made_by}
    if absent := [arm for arms in lacking.values() for arm in arms]:
        commands = " ".join(made_by[study] for study, arms in lacking.items() if arms)
        parts.append(NOT_RUN.format("; ".join(dict.fromkeys(map(label_of, absent))), commands))
    return "\n\n".join(filter(None, parts))


def tiers_table(ledgers: dict[str, pd.DataFrame]) -> str:
    """Markdown: a row a claim, a column a tier with its verdict and effect; "not run" where there are no rows.

    ledgers: {tier: `ledger` of the same claims}.
    """
    lines, size = [], lambda row: "" if pd.isna(row["effect"]) else f": {claims.in_words(row)}"
    for rows in zip(*(ledger.to_dict("records") for ledger in ledgers.values()), strict=True):
        cells = [word_of(row["verdict"]) + size(row) for row in rows]
        lines.append([claims.NAMES[rows[0]["paper"]], rows[0]["id"], *cells])
    return as_markdown(["paper", "claim", *ledgers], lines)


def readme_tables() -> dict[str, str]:
    """Markdown of every table in the README, by the name between its marks, from the rows stored at `mini`."""
    tables = stored()
    return {
        "overview": overview(tables),
        "claims": claims.counted(claims.ledger(claims.load(), tables)),
        "real": f"{real_text.gate_sentence()} {real_text.curve_sentences()}",
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
