"""The *Result* box that opens a notebook: what was asked, what came out, what that does not show.
Left out: prose about why, which the notebook has, and every number: `pzlib.studies.boxes.findings` computes them."""

from __future__ import annotations

from dataclasses import dataclass

from pzlib import studies
from pzlib.errors import flags, near_names
from pzlib.studies.boxes import findings
from pzlib.studies.boxes.findings import Finding, above_base, against, level, meeting
from pzlib.studies.metrics import LEAST
from pzlib.studies.records import BASELINES, MASKING
from pzlib.studies.second import dropped
from pzlib.tiers import WORLDS, named_at


@dataclass(frozen=True)
class Box:
    """A question, the studies whose rows answer it, sentences in order of weight, and the limits at `mini`.

    claims: whether it counts the verdicts on the claims that these studies test.
    """

    asked: str
    studies: tuple[str, ...]
    found: tuple[Finding, ...]
    limits: str
    claims: bool = True


FIRST = 4  # sentences that are in sight; the others unfold
LIMITS = "A real model, real text, longer runs."
PZ, RANDOM, NEXT, ENTROPY = "pretrainzero", *MASKING[1:]
SFT, PLAIN = BASELINES[2:]
ABLATIONS = ("rlp_rollouts", "rlp_thoughts", "rlp_kl", "rlp_ema")
OVERALL = ("overall",)
NEW = ("rlpt", "quiet_star", "random_span, logprob")  # the arms of `side_new` that `side` has not
CLEAN, OWN_RATE, SMALLER = "on clean text", "each at its own best rate", "on the smaller base"

BOXES = {
    "03": Box(
        "Which rule should choose the words to mask, on noisy and on clean text?",
        ("collapse", "collapse_clean", "collapse_own_rate", "entropy_model"),
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
            against("collapse_own_rate", ENTROPY, "base", where=OWN_RATE),
            against("collapse_own_rate", NEXT, "base", where=OWN_RATE),
            level("entropy_model", "overall", words="Accuracy on all questions by whose entropy chooses"),
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
        "Which text, which occurrences of a word to hide, and when does a learned search beat chance?",
        ("domain", "mask_rule", "occurrences", "map"),
        (
            findings.searching,
            against("domain", "pretrainzero, TinyMath", PZ),
            against("mask_rule", "one mask", "all occurrences"),
            findings.real_text,
            against("mask_rule", "whole words", "all occurrences"),
            against("domain", "random spans, TinyMath", RANDOM),
            against("occurrences", "one occurrence", "fewer than 8"),
        ),
        LIMITS + " Three seeds give no interval. A large model knows names and facts that are noise to a small one.",
    ),
    "07": Box(
        "How do the answers change, on the same masked passages?",
        ("baselines",),
        (
            findings.habits,
            level("baselines", "reasoned", (PZ,), "base", "Answers to questions that reason first, before training"),
            level("baselines", "reasoned", words="Answers to questions that reason first, after training"),
        ),
        LIMITS + " RPT's reasoning keywords are not words of the small world, so claims on them are untested.",
    ),
    "08": Box(
        "What does each reward make the generator mask, and how often must the generator be trained?",
        ("generator_reward", "guessable_noise", "group", "balance", "spice"),
        (
            level("balance", "noise masks", words="Masks that hide what nothing can tell, by how often it is trained"),
            level("generator_reward", "noise masks", words="Masks that hide what nothing can tell, by reward"),
            level("guessable_noise", "noise masks", words="The same, by how many values a noise word can have"),
            against("balance", "never", "every step"),
            against("generator_reward", "eq. 9, no zero rule", "eq. 9, zero rule"),
            against("generator_reward", "min(p, 1 - p)", "eq. 9, zero rule"),
            against("group", "G = 4", "G = 8"),
            against("group", "G = 16", "G = 8"),
            against("spice", "SPICE's bell", "eq. 9, zero rule"),
            level("spice", "noise masks", words="Masks that hide what nothing can tell, with SPICE's bell"),
        ),
        LIMITS + " Three seeds give no interval.",
    ),
    "09": Box(
        "Is the next token better predicted after a reasoning, and does learning that carry over?",
        ("rpt", "rlvr_after"),
        (
            against("rpt", "rpt", "base", ("next token", *findings.ASKED)),
            against("rpt", "rpt, clean text", "base", ("next token", *findings.ASKED)),
            against("rpt", "rpt, clean text", "random_span, clean text"),
            against("rlvr_after", "from RPT", "from continued pretraining", ("overall", "math")),
            against("rpt", "rpt, clean text", "rpt, clean text", ("next token",), b_at="direct"),
            meeting("rlvr_after"),
        ),
        LIMITS + " RPT's own model reasons at length and reads worked problems; ours does neither.",
    ),
    "10": Box(
        "Does a thought before the next token teach more than the text itself?",
        ("rlp", "rlvr_after_rlp"),
        (
            against("rlp", "rlp", "base"),
            against("rlp", "rlp", "continued_pretraining, equal tokens"),
            above_base(ABLATIONS),
            against("rlvr_after_rlp", "from RLP", "from continued pretraining", ("overall", "math")),
            level("rlp", "response length", ("rlp",), "start", "Tokens of a thought, first fifth of training"),
            level("rlp", "response length", ("rlp",), words="Tokens of a thought, last fifth"),
            against("rlp", "rlp", "base", ("perplexity",)),
            against("rlp", "rlp", "continued_pretraining"),
            meeting("rlvr_after_rlp"),
        ),
        LIMITS + " Few words of the small world can be deduced from the left, where RLP reads.",
    ),
    "11": Box(
        "What does each way of learning from the same text do to the same base model?",
        ("baselines", "baselines_small", "warmup", "side", "side_rlvr"),
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
            *(against("baselines_small", arm, "base", ("general",), where=SMALLER) for arm in (PLAIN, SFT, RANDOM, PZ)),
            against("baselines_small", PZ, RANDOM, where=SMALLER),
            against("warmup", "random spans first", PZ, where=SMALLER),
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
    seeds = {name: table["seed"].nunique() for name, table in tables.items()}
    found = [sentence for finding in own.found if (sentence := finding(rows))]
    counts = findings.verdicts(own.studies, at, settings) if own.claims else ""
    lines = [f"**Result** (stored runs at {at})", "", f"* **Asked.** {own.asked}"]
    if found or not own.studies:
        fewest, most = min((n for n in seeds.values() if n), default=0), max(seeds.values(), default=0)
        of = f"{fewest} to {most} seeds" if fewest < most else f"{most} seeds"
        rule = f"in brackets 95 % t intervals over seeds and bases, from {LEAST} seeds on; a base is a sample too."
        head = f" {of[0].upper()}{of[1:]}; {rule}" if most else ""
        lines += [f"* **Found.**{head}", *(f"    * {sentence}" for sentence in found[:FIRST])]
        lines += [f"    * Claims of the papers tested here: {counts} (notebook 12)."] if counts else []
        lines += [f"* **Not shown.** {own.limits if WORLDS[at].small else 'Other models, texts and questions.'}"]
    for name, table in tables.items():
        left, arms = studies.left_out(name, at), studies.study_of(name).arms
        absent = [arm for arm in arms if arm not in left and arm not in set(table["arm"])]
        if absent or len(left) == len(arms) or dropped(name, at):  # an arm may be another study's run
            which = f"{', '.join(absent)}: " * (len(absent) < len(arms) - len(left))
            words = f"not run yet: {which}`pzlib study {name} --tier {at}{flags(settings)}`"
            if len(left) == len(arms):
                words = f"left out at {at}: {next(iter(left.values()))}"
            lines.append(f"* `{name}`: {dropped(name, at) or words}")
    if rest := found[FIRST:]:
        lines += ["", "<details><summary>More numbers</summary>", "", *(f"* {one}" for one in rest), "", "</details>"]
    return named_at("\n".join(lines), at)


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
