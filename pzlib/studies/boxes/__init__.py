"""The *Result* box that opens a notebook: what was asked, what came out, what that does not show.
Left out: prose about why, which the notebook has, and every number: `pzlib.studies.boxes.findings` computes them."""

from __future__ import annotations

from dataclasses import dataclass

from pzlib import studies
from pzlib.errors import flags, near_names
from pzlib.studies import results
from pzlib.studies.boxes import findings
from pzlib.studies.boxes.findings import Finding, against, level, meeting
from pzlib.studies.metrics import LEAST, label_of
from pzlib.studies.records import BASELINES, MASKING
from pzlib.tiers import WORLDS, named_at


@dataclass(frozen=True)
class Box:
    """A question, the studies whose rows answer it, sentences in order of weight, and the limits at `mini`.

    claims: whether it counts the verdicts on the claims that these studies test. tables: further ones that it reads.
    """

    asked: str
    studies: tuple[str, ...]
    found: tuple[Finding, ...]
    limits: str
    claims: bool = True
    tables: tuple[str, ...] = ()


FIRST = 4  # sentences that are in sight; the others unfold
LIMITS = "A real model, real text, longer runs."
PZ, RANDOM, NEXT, ENTROPY = "pretrainzero", *MASKING[1:]
SFT, PLAIN = BASELINES[2:]
OVERALL = ("overall",)
NEW = ("rlpt", "quiet_star", "random_span, logprob")  # the arms of `side_new` that `side` has not
CLEAN, SMALLER = "on clean text", "on the smaller base"
LEFT = ("rlp, deductions", "rlp, running counts")
DOMAINS = tuple(f"rlp, {text}" for text in ("general", "mathematics", "both"))
DEDUCED = "on text that is all deductions"
REASONING = "response length, reasoned"
GUESSED = tuple(f"{PZ}, {n} values" for n in (2, 4))

BOXES = {
    "03": Box(
        "Which rule should choose the words to mask, on noisy and on clean text?",
        ("collapse", "collapse_clean", "collapse_noise"),
        (
            against("collapse", ENTROPY, "base"),
            against("collapse", NEXT, RANDOM),
            against("collapse_clean", ENTROPY, "base", where=CLEAN),
            against("collapse", PZ, RANDOM),
            level("collapse", "noise masks"),
            level("collapse", "dead_wrong", at="start", words="Groups that are all wrong, first fifth of training"),
            level("collapse", "dead_wrong", words="Groups that are all wrong, last fifth"),
            against("collapse", NEXT, "base"),
            against("collapse_clean", ENTROPY, RANDOM, where=CLEAN),
            level("collapse_noise", "dead_groups", at="second fifth", words="Guessable noise: dead groups, early"),
            level("collapse_noise", "dead_groups", words="Guessable noise: dead groups, last fifth"),
        ),
        LIMITS + " Steps, predictions and learning rate are equal; section 2 compares at equal tokens.",
    ),
    "04": Box(
        "Does a model get better at questions that it was never trained on by playing the game of masks on plain text?",
        ("baselines",),
        (
            against("baselines", PZ, "base"),
            against("baselines", PZ, RANDOM),
            level("baselines", "noise masks", (PZ,), "start", "Masks that hide what nothing can tell, first fifth"),
            level("baselines", "noise masks", (PZ,), words="Masks that hide what nothing can tell, last fifth"),
            against("baselines", PZ, "base", ("spans read",)),
        ),
        LIMITS + " Steps and masks are equal, tokens are not (notebook 11).",
    ),
    "05": Box(
        "From which start does the same RLVR get furthest?",
        ("rlvr",),
        (
            meeting("rlvr"),
            meeting("rlvr", "math"),
            against("rlvr", "from PretrainZero", "from the base", ("overall", "general", "math", "spans")),
            against("rlvr", "from random spans", "from the base", OVERALL),
            level("rlvr", "overall", ("from PretrainZero",), "base", "Before RLVR, all questions"),
            level("rlvr", "overall", ("from the base", "from PretrainZero"), words="After RLVR, all questions"),
        ),
        LIMITS + " RLVR trains the very form of question that is measured; other questions were not asked.",
    ),
    "06": Box(
        "Which text, and which occurrences of a word to hide?",
        ("domain", "mask_rule", "occurrences"),
        (
            against("domain", "pretrainzero, TinyMath", PZ),
            against("mask_rule", "one mask", "all occurrences"),
            findings.real_text,
            against("mask_rule", "whole words", "all occurrences"),
            against("domain", "random_span, TinyMath", RANDOM),
            against("occurrences", "one occurrence", "fewer than 8"),
        ),
        LIMITS + " Limits on occurrences have three seeds, so no interval."
        " A large model knows names that are noise to a small one.",
    ),
    "07": Box(
        "How do the answers change, on the same masked passages?",
        ("baselines", "depth"),
        (
            findings.habits,
            level("baselines", "reasoned", words="Answers to questions that reason first, after training"),
            level("baselines", REASONING, (PZ, RANDOM), "start", "Tokens of reasoned responses, first fifth of runs"),
            level("baselines", REASONING, (PZ, RANDOM), words="The same, last fifth"),
            level("baselines", "reasoned", (PZ,), "base", "Answers to questions that reason first, before training"),
            level("depth", "reasoned length, masks", (PZ,), "base", "Tokens on equal masks, with room for long chains"),
            level("depth", "reasoned length, masks", words="And after training"),
        ),
        LIMITS + " RPT's reasoning keywords are not words of the small world, so claims on them are untested.",
        tables=("patterns",),
    ),
    "08": Box(
        "What does each reward make the generator mask?",
        ("generator_reward", "spice", "collapse_noise"),
        (
            level("generator_reward", "noise masks", words="Masks that hide what nothing can tell, by reward"),
            level("collapse_noise", "noise masks", GUESSED, words="The same masks, where a noise word has few values"),
            against("generator_reward", "eq. 9, no zero rule", "eq. 9, zero rule"),
            against("generator_reward", "min(p, 1 - p)", "eq. 9, zero rule"),
            against("generator_reward", "generator untrained", "eq. 9, zero rule"),
            against("generator_reward", "generator untrained", RANDOM),
            level("spice", "noise masks", words="Masks that hide what nothing can tell, with SPICE's bell"),
            against("spice", "SPICE's bell", "eq. 9, zero rule"),
        ),
        LIMITS + " SPICE's bell has three seeds, which give no interval.",
    ),
    "09": Box(
        "Is the next token better predicted after a reasoning, and does learning that carry over?",
        ("rpt", "side_rlvr", "left", "rpt_continual"),
        (
            against("rpt", "rpt", "base", ("next token", *findings.ASKED)),
            against("rpt", "rpt, clean text", "base", ("next token", *findings.ASKED)),
            against("rpt", "rpt, clean text", "random_span, clean text"),
            against("side_rlvr", "from RPT", "from continued pretraining", ("overall", "math")),
            against("rpt", "rpt, clean text", "rpt, clean text", ("next token",), b_at="direct"),
            against("left", "rpt, deductions", "base", OVERALL, where=DEDUCED),
            against("rpt_continual", "continued_pretraining, reasoning base", "base", ("math",)),
            meeting("side_rlvr"),
        ),
        LIMITS + " RPT's own model reasons at length and reads worked problems; ours does neither.",
    ),
    "10": Box(
        "Does a thought before the next token teach more than the text itself?",
        ("rlp", "side_rlvr", "left", "rlp_domains", "rlp_early"),
        (
            against("rlp", "rlp", "base"),
            against("rlp_domains", DOMAINS[1], "base", OVERALL),
            against("rlp_domains", DOMAINS[0], "base", OVERALL),
            findings.gains("rlp_domains", DOMAINS),
            findings.gains("left", LEFT),
            *(against("left", arm, "base", OVERALL) for arm in LEFT),
            against("rlp_domains", DOMAINS[2], "base", OVERALL),
            *(against("rlp_domains", DOMAINS[1], f"{arm}, mathematics", OVERALL) for arm in ("rpt", PLAIN)),
            against("rlp_early", "rlp", "base", OVERALL, where="on an early checkpoint"),
            against("rlp", "rlp", "continued_pretraining"),
            against("rlp", "rlp", "base", ("perplexity",)),
            level("rlp", "response length", ("rlp",), "start", "Tokens of a thought, first fifth of training"),
            level("rlp", "response length", ("rlp",), words="Tokens of a thought, last fifth"),
            against("side_rlvr", "from RLP", "from continued pretraining", ("overall", "math")),
            meeting("side_rlvr"),
        ),
        LIMITS + " Where RLP reads, on the left, a thought can tell little of most words of the small world.",
        tables=("perplexity",),
    ),
    "11": Box(
        "What does each way of learning from the same text do to the same base model?",
        ("baselines", "baselines_small", "side", "side_rlvr"),
        (
            against("baselines", PZ, "base"),
            against("baselines", PZ, RANDOM),
            level("side", "overall", words="All questions, after equal steps of every method"),
            meeting("side_rlvr"),
            against("baselines", RANDOM, "base"),
            against("baselines", SFT, "base"),
            against("baselines", PLAIN, "base"),
            against("baselines", PZ, RANDOM, at="halfway", where="half way"),
            level("baselines", "reasoned", (PZ,), "base", "Answers that reason first, before training"),
            level("baselines", "reasoned", words="Answers that reason first, after training"),
            *(against("baselines_small", arm, "base", ("general",), where=SMALLER) for arm in (RANDOM, PZ)),
            against("baselines_small", PZ, RANDOM, where=SMALLER),
            against("side", "mixed_sft", PZ, ("overall",)),
            against("side", "rpt", "base", ("overall",)),
            against("side", "rlp", "base", ("overall",)),
            meeting("side_rlvr", "spans"),
            against("side_rlvr", "from mixed SFT", "from the base", ("math", "general")),
            against("side_rlvr", "from PretrainZero", "from the base", ("spans", "overall")),
        ),
        LIMITS + " Text in which most words can be deduced, or RLVR on other questions than those that are measured.",
    ),
    "12": Box(
        "Which claims of the papers hold here?",
        (),
        (),
        "That a paper is wrong: a claim that is contradicted at mini does not hold for a small model in a small world.",
    ),
    "13": Box(
        "Which of two models answers more questions right?",
        ("baselines", "baselines_small"),
        (findings.bases,),
        LIMITS + " A base has no seeds; section 2 has intervals over questions, section 3 the paired test.",
        claims=False,
    ),
    "15": Box(
        "Do sentences, a thought after every token, or likelihoods teach more than random spans, from the same text?",
        ("side_new", "likelihood"),
        (
            *(against("side_new", arm, RANDOM) for arm in NEW),
            *(against("side_new", arm, "base") for arm in NEW),
            level("side_new", "overall", words="All questions, after equal steps of every method"),
        ),
        LIMITS + " Steps are equal; section 4 compares at equal tokens and equal time.",
    ),
}


def box(notebook: str, tier: str = "mini", settings=None) -> str:
    """Markdown of the box of a notebook of studies, "03" for instance, from the rows stored at a tier; at `smoke` from
    those at `mini`.

    settings: that the tier's runs were given, as of `studies.arms_of`; not at `smoke`. What has no rows is named, with
    the command that makes them. Errors: ValueError for a notebook without a box.
    """
    if notebook not in BOXES:
        raise ValueError(f"notebook: {notebook!r} has no result box; {near_names(notebook, BOXES)}")
    own, at, settings = BOXES[notebook], *(("mini", None) if tier == "smoke" else (tier, settings))
    rows = findings.rows_at(at, settings)
    tables = {name: rows("tinybench", name) for name in own.studies}
    seeds = [n for table in tables.values() for n in table.groupby("arm")["seed"].nunique()]
    found = [sentence for finding in own.found if (sentence := finding(rows))]
    counts = findings.verdicts(own.studies, at, settings) if own.claims else ""
    lines = [f"**Result** (stored runs at {at})", "", f"* **Asked.** {own.asked}"]
    if found or not own.studies:
        fewest, most = min(seeds, default=0), max(seeds, default=0)
        of = f"{fewest} to {most} seeds an arm" if fewest < most else f"{most} seeds"
        rule = f"in brackets 95 % t intervals over seeds and bases, from {LEAST} seeds on; a base is a sample too."
        head = f" {of[0].upper()}{of[1:]}; {rule}" if most else ""
        lines += [f"* **Found.**{head}", *(f"    * {sentence}" for sentence in found[:FIRST])]
        lines += [f"    * The papers' claims that belong here: {counts} (notebook 12)."] if counts else []
        lines += [f"* **Not shown.** {own.limits if WORLDS[at].small else 'Other models, texts and questions.'}"]
    given = f"{at}{flags(settings)}"
    lines += [f"* `{name}`: {words}" for name, table in tables.items() if (words := _lacking(table, name, at, given))]
    for name in own.tables:
        if rows(name, own.studies[0]).empty:
            lines.append(f"* `{name}.csv`: not run yet: `{results.MADE_BY[name]} -p tier {given}`")
    if rest := found[FIRST:]:
        lines += ["", "<details><summary>More numbers</summary>", "", *(f"* {one}" for one in rest), "", "</details>"]
    return named_at("\n".join(lines), at)


def _lacking(table, study: str, tier: str, given: str) -> str:
    """Which arms of a study have no rows, how many runs are stored, and what makes the rest; "" where all are.

    given: the tier with the settings that runs were given, as the command takes them.
    """
    left, every = studies.left_out(study, tier), studies.study_of(study).arms
    if len(left) == len(every):
        return f"left out at {tier}: {next(iter(left.values()))}"
    absent = [label_of(arm) for arm in every if arm not in {*left, *table["arm"]}]
    planned = (len(every) - len(left)) * len(studies.seeds_of(studies.study_of(study), tier))
    found = len(table[["arm", "seed"]].drop_duplicates())  # some may be another study's runs
    which = ["not run yet"] * bool(absent) + ["; ".join(absent)] * bool(absent and found)
    part = f"{found} of {planned} runs are stored" * bool(found)
    words = "; ".join(filter(None, [": ".join(which), part]))
    return f"{words}: `pzlib study {study} --tier {given}`" if found < planned else ""


def candidates(tier: str = "mini") -> str:
    """What the README's sentences may be made of: those that each box has in sight, with numbers and intervals."""
    rows = findings.rows_at(tier)
    found = {finding(rows): number for number, own in BOXES.items() for finding in own.found[:FIRST]}
    return "\n".join(f"* {sentence} (notebook {number})" for sentence, number in found.items() if sentence)


def shown_by(names) -> str:
    """A line: which notebooks show these studies.

    >>> shown_by(["collapse", "side"])
    'shown by: notebook 03 (collapse), notebook 11 (side); `pzlib figures` draws the figures again'
    """
    found = {number: [name for name in own.studies if name in names] for number, own in BOXES.items()}
    words = ", ".join(f"notebook {number} ({', '.join(own)})" for number, own in found.items() if own)
    return f"shown by: {words}; `pzlib figures` draws the figures again" if words else "`pzlib figures` draws them"


def result(notebook: str, tier: str = "mini", settings=None):
    """`box` as a notebook shows it."""
    from IPython.display import Markdown

    return Markdown(box(notebook, tier, settings))
