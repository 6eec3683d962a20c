"""Figures of scores: PretrainZero's Figs. 3a-b and 7, before and after by seed, by tokens and time, when to search; of
the small world and its base; RPT's Fig. 6. Left out: PretrainZero's Fig. 1, a summary; RPT's bars, never printed.

Each takes rows of the tables that its parameters name, with a column `arm` or else one objective an arm, and `source`,
which is named below it. Accuracies are shares, shown in per cent. Errors: as `forms.checked`."""

from itertools import cycle
from string import ascii_lowercase

import numpy as np
import pandas as pd

from pzlib.figures import forms, style
from pzlib.figures.forms import BASE, TINYBENCH, Panel, by_study, evaluated, explain, joined, lines, marked
from pzlib.figures.style import METHODS, Picture, grid, marks_of, sheet, styled
from pzlib.studies import metrics, tables
from pzlib.studies.boxes import headlines
from pzlib.studies.claims import reported
from pzlib.studies.metrics import GROUPS, METRICS
from pzlib.studies.patterns import KEYWORDS, STRUCTURE

COSTS, BOTH = "costs.csv", f"{TINYBENCH} and training.csv"
ALWAYS = ("direct guess", "no answer", "words")  # of structural marks: shown even where no response has them
TITLES = {"words": "Length (words)", "right": "Right answers (%)", "thinks": "Announced reasoning (%)"}
QUESTIONS = (*metrics.QUESTIONS, "length")
ACCURACY = ("spans", *metrics.QUESTIONS)  # masked words first, where the game is played


@styled
def tinybench_curves(tinybench: pd.DataFrame | dict, source: str = TINYBENCH) -> Picture:
    """PretrainZero's Fig. 7 (of RLVR its Fig. 9, of two studies its Fig. 10): accuracy on general and math questions,
    and the length of the answers that reason, by step."""
    return _curves(by_study(tinybench), QUESTIONS, source)


@styled
def collapse_curves(tinybench: pd.DataFrame | dict, training: pd.DataFrame | dict, source: str = BOTH) -> Picture:
    """PretrainZero's Fig. 3a-b for every masking rule: training reward, and accuracy on masked words and questions, by
    step; of several studies, such as two texts, a row each."""
    both = by_study(tinybench, training)
    trained = {name: metrics.armed(rows) for name, (_, rows) in both.items()}
    return _curves({name: rows for name, (rows, _) in both.items()}, ("reward", *ACCURACY), source, trained)


def _curves(
    studies: dict, wanted: tuple, source: str, trained=None, *, x: str = "step", label: str = "", budget=False, words=""
) -> Picture:
    """A row of panels for each study and a panel for each of `wanted` that its rows have: groups of tasks with their
    base, "length" of answers to questions, "reward" of training. x, label: of the horizontal axis; budget: whether what
    every run has used is dashed."""
    studies = {name: evaluated(rows) for name, rows in studies.items()}
    table = joined(studies).drop_duplicates(["run_id", "arm", "step", "task"])
    groups = {*table["group"]}
    wanted = [one for one in wanted if one in (*groups, *(["length"] if "length" in table else []), "reward")]
    # over all answers the share that reasons would move the mean; older rows have no other length
    length = "length_reasoned" if table.get("length_reasoned", pd.Series()).notna().any() else "length"
    height = 0.6 + (1.85 if len(studies) > 1 else 2.1) * len(studies)
    figure, axes = grid(height, len(studies), len(wanted), squeeze=False)
    marks, letters = marked(table), iter(ascii_lowercase)
    for row, (name, own) in zip(axes, studies.items(), strict=True):
        for ax, one in zip(row, wanted, strict=True):
            title = f"({next(letters)}) {_title(length if one == 'length' else one)}"
            if one == "reward":
                rows, panel = trained[name], Panel("predictor/reward", title, ends=(0, None))
            elif one == "length":
                asked = own[own["group"].isin(metrics.QUESTIONS)].assign(asked="questions")
                rows, panel = forms.group_means(asked, length, "asked"), Panel(length, title, ends=(0, None))
            else:
                rows = forms.group_means(own, ["accuracy", x] if x != "step" else "accuracy")
                rows, panel = rows[rows["group"] == one], Panel("accuracy", title, 100)
                forms.base_line(ax, own, one)
            lines(ax, rows, panel, x=x if one in groups else "step", marks=marks)
            if budget:
                ax.axvline(metrics.at_equal(own, x)["budget"].iloc[0], color="#595959", linestyle="--", linewidth=0.8)
            if label:
                ax.set(xlabel=label, xlim=(0, None))
        row[0].set_ylabel(forms.title_of(name), fontweight="bold")
    forms.legend(figure, axes.flat)
    several = len(studies) > 1 or len(marks) > 4
    asked = ("overall",) if several or "spans" not in wanted else ("spans", "overall")
    said = {name: headlines.against_base(own, asked) for name, own in studies.items()}
    parts = [f"{forms.title_of(name).capitalize()}, {own.partition(', ')[2]}" for name, own in said.items()]
    headline = f"{'. '.join(parts)} (all questions)" if len(said) > 1 else next(iter(said.values()))
    few = forms.few_draws(table, [one for one in wanted if one in GROUPS])
    return explain(figure, table, source, headline, " ".join(filter(None, (BASE, words, few))))


def _title(one: str) -> str:
    lengths = {"length": "Answer length (tokens)", "length_reasoned": "Reasoned answers (tokens)"}
    return (lengths | {"reward": "Training reward"}).get(one) or f"{METRICS[one].title} (%)"


@styled
def by_tokens(tinybench: pd.DataFrame, training: pd.DataFrame, source: str = BOTH) -> Picture:
    """Accuracy by what the runs have read and written: prompts and completions of both roles, mean over seeds. A
    generator's masks cost tokens, a rule's none."""
    table = tinybench.assign(used=metrics.tokens_used(tinybench, training) / 1e6)
    look = {"x": "used", "label": "Tokens (millions)", "budget": True, "words": "Dashed: what every run has used."}
    return _curves({"": table}, ACCURACY, source, **look)


@styled
def by_time(tinybench: pd.DataFrame, costs: pd.DataFrame, source: str = f"{TINYBENCH}, {COSTS}") -> Picture:
    """Accuracy by time: steps times the seconds of a step of its method, on the clock that is named below."""
    table, device = tinybench.assign(used=tables.seconds_used(tinybench, costs) / 60), costs["device"].iloc[0]
    own = device == tables.OWN_CLOCK  # which no file of costs has
    look = {"x": "used", "label": "Minutes" if own else "CPU minutes", "budget": True, "words": f"On {device}."}
    return _curves({"": table}, ACCURACY, source.replace(COSTS, "training.csv") if own else source, **look)


@styled
def main_result(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """Accuracy of every arm's last models, seed by seed, and of the base; the headline compares with the first row.
    All seeds answer one fixed set of questions."""
    table = evaluated(tinybench, "n")
    starts = metrics.values(table, "overall", "base").round(9).nunique() > 2  # runs of runs, not of one or two bases
    words = "Tick and arrow: from the mean of the starts." if starts else BASE
    return _result(table, source, headlines.against_first(table), words, starts)


@styled
def follow_on(tinybench: pd.DataFrame, source: str = TINYBENCH) -> Picture:
    """Accuracy after RLVR, seed by seed, and before it; step 0 of an arm is the model that it starts from."""
    table = evaluated(tinybench, "n")
    return _result(table, source, headlines.meeting(table), "Tick and arrow: from the mean before RLVR.", True)


def _result(table: pd.DataFrame, source: str, headline: str, words: str, starts: bool = False) -> Picture:
    """An axis a group, a row per arm; `starts`: each arm has a base of its own, shown by a tick in its row."""
    arms = forms.by_arm(table if starts else table[table["step"] > 0])
    groups = [group for group in GROUPS if group in set(table["group"])]
    figure = sheet(0.75 + 0.44 * max(len(arms), 2))
    for ax, group in zip(figure.subplots(1, len(groups), squeeze=False, sharey=True)[0], groups, strict=True):
        before = [metrics.over_seeds(metrics.values(own, group, "base"))[0] for own, _ in arms] if starts else ()
        tasks = table.loc[table["group"] == group, "task"].nunique()
        title = f"{METRICS[group].title} ({tasks} task{'s' * (tasks > 1)})"
        forms.dots(ax, [(mark, metrics.values(own, group)) for own, mark in arms], title, before=before)
        if not starts:
            forms.base_line(ax, table, group, upright=True)
        ax.set_xlabel("Accuracy (%)")
    return explain(figure, table, source, headline, words, lines=False)


@styled
def perplexities(perplexity: pd.DataFrame, source: str = "data/results/perplexity.csv") -> Picture:
    """RLP's Table S.8 and ours: perplexity of held-out text after training and of the base, for all tokens and for each
    class of word. Text is read without a prompt, from the left; lower is better."""
    table = forms.checked(perplexity, "perplexity", ["task", "perplexity"])
    titles = {"text": "All tokens"} | {n: title for n, title in metrics.CLASSES.items() if n in set(table["task"])}
    arms = forms.by_arm(table)
    figure = sheet(1.0 + 0.42 * max(len(arms), 2))
    *axes, paper = figure.subplots(1, len(titles) + 1, squeeze=False, sharey=True)[0]
    for ax, (task, title) in zip(axes, titles.items(), strict=True):
        ends = {at: table[(table["task"] == task) & at_(table)] for at, at_ in _AT.items()}
        after = ends["after"].groupby(["arm", "seed"])["perplexity"].mean()
        found = [(mark, after.get(own["arm"].iloc[0], after[:0])) for own, mark in arms]
        forms.dots(ax, found, title)
        for score in ends["base"]["perplexity"].unique():
            ax.axvline(score, **forms.BASE_LOOK)
    printed = reported("rlp S.8").set_index(["method", "benchmark"])["value"]
    before, after = (printed[method, "Wikitext-103 perplexity"] for method in ("base", "rlp"))
    shown = [(mark, [after] if mark.label == METHODS["rlp"].label else []) for _, mark in arms]
    forms.dots(paper, shown, "RLP's paper")
    paper.axvline(before, **forms.BASE_LOOK)
    for ax in (*axes, paper):
        ax.set_xlabel("Perplexity")
        ax.locator_params(axis="x", nbins=3)
        ax.margins(x=0.15)
    words = f"{BASE} The paper's is Qwen3-1.7B-Base on Wikitext-103 (Table S.8)."
    return explain(figure, table, source, headlines.perplexity(table), words, lines=False)


_AT = {"base": lambda table: table["step"] == 0, "after": lambda table: table["step"] > 0}


@styled
def structure_by_arm(patterns: pd.DataFrame, source: str = "data/results/patterns.csv") -> Picture:
    """Structural marks of the answers of the base (step 0) and of every arm's last models, seed by seed; a panel a mark
    that any response has, and always direct guesses, missing answers and length. The base is asked with every seed."""
    table = forms.checked(patterns, "patterns", ["pattern", "mean", "n", "cases"])
    some = table.groupby("pattern")["mean"].max() > 0
    wanted = [name for name in (*STRUCTURE, "words", "right") if name in some and (some[name] or name in ALWAYS)]
    after, base = forms.ends(table)
    rows_of = dict([*after.groupby("arm", sort=False)]) | {"base": base.drop_duplicates(["seed", "pattern"])}
    deep = -(-len(wanted) // 3)
    figure, axes = grid(0.5 + deep * (0.5 + 0.3 * len(rows_of)), deep, 3, squeeze=False, sharey=True)
    for ax, letter, name in zip(axes.flat, ascii_lowercase, wanted, strict=False):
        unit = 1 if name == "words" else 100
        own = [rows[rows["pattern"] == name].set_index("seed")["mean"] * unit for rows in rows_of.values()]
        title = f"({letter}) {TITLES.get(name, f'{name.capitalize()} (%)')}"
        forms.dots(ax, [*zip(marks_of(rows_of).values(), own, strict=True)], title)
    for ax in axes.flat[len(wanted) :]:
        ax.set_axis_off()
    words = f"{int(after['n'].max())} answers of each run to {int(after['cases'].max())} masked passages."
    return explain(figure, table, source, headlines.habits(table), words, lines=False)


@styled
def entropy_of_worlds(tables: dict[str, pd.DataFrame]) -> Picture:
    """What an entropy rule would pick: for each world the kinds of all its positions and of its high-entropy fifth.

    tables: world -> `small_world.next_token_entropy` of it.
    """
    figure = sheet(0.75 + 0.55 * len(tables))
    ax, rows = figure.subplots(), {}
    for world, table in tables.items():
        rows |= {f"{world}, all positions": table, f"{world}, highest fifth": table[table.top_fifth]}
    places = [number + 0.4 * (number // 2) for number in range(len(rows))]
    for place, table in zip(places, rows.values(), strict=True):
        shares = table.from_left.value_counts(normalize=True).reindex(list(style.CLASS_COLOURS), fill_value=0.0)
        forms.bar(ax, place, shares, style.CLASS_COLOURS.values(), place == 0, height=0.7)
        for kind, end in shares.cumsum().items():
            if (share := shares[kind]) > 0.06:
                look = {"ha": "center", "va": "center", "color": "black" if kind == "trivial" else "white"}
                ax.text(end - share / 2, place, f"{share:.0%}", **look)
    words = "Share of positions, by what can be said of them from the left"
    ax.set(yticks=places, yticklabels=list(rows), xlim=(0, 1), xlabel=words)
    ax.invert_yaxis()
    ax.grid(False)
    figure.legend(loc="outside upper center", ncols=3)
    return figure


@styled
def spans_by_kind(table: pd.DataFrame) -> Picture:
    """Base accuracy on masked spans by kind: answered directly, as it likes, and with a reasoning (`base_spans`)."""
    kinds = table[table.way == "free"].sort_values(["class", "pass@1"])["kind"].tolist()
    figure, axes = grid(1.2 + 0.24 * len(kinds), 1, 2, sharey=True)
    for ax, score in zip(axes, ("pass@1", "pass@8"), strict=True):
        for way, (colour, marker) in style.WAY_LOOKS.items():
            scores = table[table.way == way].set_index("kind").loc[kinds, score]
            ax.plot(scores, range(len(kinds)), marker, color=colour, ms=5, label=way if ax is axes[0] else None)
        ax.set(title=f"{score} at temperature 1", xlim=(-0.03, 1.03), xlabel="Share right")
    axes[0].set_yticks(range(len(kinds)), kinds)
    figure.legend(loc="outside upper center", ncols=3)
    return figure


@styled
def keyword_bars(table: pd.DataFrame, source: str) -> Picture:
    """RPT's Fig. 6: for each of its six keyword groups the share of responses with a keyword of it, a bar a source.

    table: of `pzlib.studies.patterns.means` by a column `source`, one row a source and group, else ValueError.
    """
    rows = table[table["pattern"].isin(list(KEYWORDS))]
    if rows.duplicated(["source", "pattern"]).any():
        raise ValueError("table: a source has two rows of one keyword group; take the means by source alone")
    marks = marks_of(rows["source"])
    figure = sheet(3.2)
    ax, width = figure.subplots(), 0.8 / len(marks)
    for place, ((name, mark), hatch) in enumerate(zip(marks.items(), cycle(style.HATCHES), strict=False)):
        own = rows[rows["source"] == name].set_index("pattern").reindex(list(KEYWORDS))
        mean, low, high = own[["mean", "low", "high"]].to_numpy(float).T * 100
        at = np.arange(len(KEYWORDS)) + (place - (len(marks) - 1) / 2) * width
        reach = np.maximum([mean - low, high - mean], 0)
        look = {"color": mark.colour, "label": mark.label, "edgecolor": "white", "hatch": hatch}
        ax.bar(at, mean, width, yerr=reach, capsize=2, error_kw={"linewidth": 0.9}, **look)
    ax.set_xticks(range(len(KEYWORDS)), [name.replace(" ", "\n").capitalize() for name in KEYWORDS])
    ax.set(ylabel="Responses with a keyword (%)", ylim=(0, None))
    ax.grid(axis="x", visible=False)
    figure.legend(loc="outside upper left", ncols=4)
    words = "Whole words of RPT's Table 9, case ignored; whiskers: 95 % interval over cases."
    counts = rows.groupby("source", sort=False)[["n", "cases"]].max()
    told = "; ".join(f"{marks[name].label} {row.n} responses to {row.cases} cases" for name, row in counts.iterrows())
    return style.caption(figure, "", words, f"{source}: {told}.")
