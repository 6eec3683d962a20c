"""One learning curve on real text: a real model of 135 million parameters, leads of Wikipedia, 500 articles held out.
No study of the list: it has a model, a text and an exam of its own, whatever the tier. `make test-real` fetches both.

`python -m pzlib.studies.real_text` makes its runs one at a time (20 minutes each on one core), goes on where it was
stopped, and brings each finished run into data/results/real_text."""

import sys

import pandas as pd

from pzlib.paths import REPO, root
from pzlib.run import Run
from pzlib.studies.claims import as_markdown
from pzlib.studies.results import load

FOLDER = "data/results/real_text"
SEEDS = (0, 1)
OTHERS = "own - another's"
# Adapters: their checkpoints are small. Passages, groups and lengths are what a core can do in 20 minutes.
SETTINGS = {
    "tier": "gpu", "model": "data/models/smollm2-135m", "corpus": "data/corpus/leads.jsonl", "corpus_config": "",
    "held_out": "data/corpus/leads_held_out.jsonl", "corpus_limit": 4000, "min_tokens": 32, "max_tokens": 64,
    "template": "three_shot", "span_words": 3, "steps": 60, "passages": 1, "group": 4, "lora_rank": 16,
    "learning_rate": 2e-4, "schedule": "constant", "max_prompt_tokens": 320, "max_completion_tokens": 32,
    "micro_batch_rows": 16, "dtype": "float32", "eval_every": 20, "eval_items": 32, "save_every": 10, "keep_every": 0,
}  # fmt: skip
ARMS = {
    "random spans, likelihood": {"objective": "random_span", "reward": "avg_logprob"},
    "continued pretraining": {"objective": "continued_pretraining", "passages": 4, "micro_batch_rows": 4},
    "random spans, random reward": {"objective": "random_span", "reward": "random"},
}


def runs() -> list[tuple[str, Run]]:
    """(arm, Run) of every arm and seed, whole seeds first.

    >>> [(arm, run.seed) for arm, run in runs()][:2]
    [('random spans, likelihood', 0), ('continued pretraining', 0)]
    """
    return [(arm, Run(**SETTINGS | own, seed=seed)) for seed in SEEDS for arm, own in ARMS.items()]


def curve(folder=None) -> pd.DataFrame:
    """A row per arm and step of the stored runs, means over seeds: nats per token of the hidden words behind each of
    WAYS, what the own reasoning adds to none and to another's, well-formed answers (%), tokens per answer, bits per
    byte.

    folder: default FOLDER. Empty where no run is stored.
    """
    from pzlib.evaluation.held_out import FORM, TEXT, WAYS, bits, nats

    arms = {run.run_id: arm for arm, run in runs()}
    try:
        rows = load("tinybench", folder=folder or REPO / FOLDER)
    except FileNotFoundError:
        rows = pd.DataFrame(columns=["run_id", "seed", "step", "task", "accuracy", "length"])
    rows = rows[rows["run_id"].isin(arms)]
    rows = rows.assign(arm=pd.Categorical(rows["run_id"].map(arms), list(ARMS)))
    each = rows.pivot(index=["arm", "step", "seed"], columns="task", values="accuracy").reindex(
        columns=[*WAYS, FORM, TEXT]
    )
    own, none, other = (each[way].map(nats) for way in WAYS)
    lengths = rows[rows["task"] == FORM].set_index(["arm", "step", "seed"])["length"]
    found = pd.DataFrame({
        "own": own, "none": none, "another's": other, "own - none": own - none, OTHERS: own - other,
        "well-formed": 100 * each[FORM], "length": lengths.reindex(each.index), "bits": each[TEXT].map(bits),
        "seeds": 1,
    })  # fmt: skip
    by = found.astype(float).groupby(["arm", "step"], observed=True)
    return by.mean().assign(seeds=by["seeds"].sum().astype(int))


def gate_sentence(folder=None) -> str:
    """What the gate's stored rows state of the model at both templates, as the README prints it; "not run" without.

    folder: default that of the tier gpu.
    """
    try:
        rows = load("gate", "gpu", folder)
    except FileNotFoundError:
        rows = pd.DataFrame(columns=["model", "template", "number", "value"])
    rows = rows[rows["model"] == SETTINGS["model"]].drop_duplicates(["template", "number"], keep="last")
    found, parts = rows.pivot(index="number", columns="template", values="value"), []
    for template, how in (("paper", "asked zero-shot"), ("three_shot", "after three examples")):
        if template not in found:
            parts.append(f"{how}: *not run*")
            continue
        own = found[template]
        shares = [own["legal"], own["random_span/parsed"], own["random_span/pass@1"], own["random_span/alive"]]
        legal, parsed, right, alive = (f"{100 * share:.1f} %" for share in shares)
        parts.append(
            f"{how} (`{template}`), {legal} of its masks are legal; on {own['random_span/masks']:.0f} random spans "
            f"{parsed} of the answers parse, pass@1 is {right}, and {alive} of the groups have signal"
        )
    return f"SmolLM2-135M-Instruct at 4 bits on leads of Wikipedia: {'; '.join(parts)}."


NO_CURVE = "Its learning curve on that text is *not run* (`make test-real`, then `python -m pzlib.studies.real_text`)."


def curve_sentences(folder=None) -> str:
    """The curve as the README prints it, in three sentences: before, and at each arm's last step."""
    table = curve(folder)
    if table.empty:
        return NO_CURVE
    before, ends = table.xs(0, level="step").mean(), table.groupby("arm", observed=True).last()
    form = "; ".join(f"{arm} {share:.0f} %" for arm, share in ends["well-formed"].items())
    words = "; ".join(f"{arm} {nats:.2f}" for arm, nats in ends["own"].items())
    lacking = "".join(f"; {arm}: *not run*" for arm in ARMS if arm not in ends.index)
    return (
        f"Its learning curve has {SETTINGS['steps']} steps and {ends['seeds'].max()} seeds, too few for an interval"
        f"{lacking}. Well-formed answers, before {before['well-formed']:.0f} %: {form}. Hidden words behind own "
        f"reasoning, before {before['own']:.2f} nats per token: {words}."
    ).replace(" -", " −")


def curve_summary(folder=None) -> str:
    """The curve as notebook 06 prints it, a sentence and a table: before, and at each arm's last step."""
    table = curve(folder)
    if table.empty:
        return NO_CURVE
    shown = {"own": ".2f", "own - none": ".2f", OTHERS: ".2f", "well-formed": ".0f", "bits": ".3f"}
    head = ["", "hidden words behind own reasoning", "than behind none", "than behind another's",
            "well-formed answers, %", "bits per byte", "seeds"]  # fmt: skip
    cells = {"before": (table.xs(0, level="step").mean(), "")}
    cells |= {arm: (table.loc[arm].iloc[-1], f"{table['seeds'][arm].iloc[-1]}") for arm in ARMS if arm in table.index}
    lines = [[name, *(f"{row[column]:{form}}".replace("-", "−") for column, form in shown.items()), seeds]
             for name, (row, seeds) in cells.items()]  # fmt: skip
    lines += [[arm, *["*not run*"] * len(shown), "0"] for arm in ARMS if arm not in table.index]
    return (
        f"Its learning curve: {SETTINGS['steps']} steps, {SETTINGS['eval_items']} passages of 500 articles held out, "
        "too few seeds for an interval. Hidden words: log-likelihood in nats per token, and how much more than behind "
        f"no reasoning or another passage's.\n\n{as_markdown(head, lines)}"
    )


def main() -> int:
    from pzlib.studies import queue

    found = queue.play([run for _, run in runs()], jobs=1, results=root() / FOLDER)
    print(curve(root() / FOLDER).round(3))
    return int(any(what.startswith("failed") for what in found.values()))


if __name__ == "__main__":
    sys.exit(main())
