"""The list of the papers' figures and tables: what each shows, which function draws it, which commands make its rows.
Left out: pictures of ideas and prompts (PretrainZero's Figs. 1, 2, 4, 5, RPT's 1 to 3, RLP's 1), and RLP's Fig. S.1 and
Table S.7, whose content is not known to us."""

from pzlib.errors import flags
from pzlib.studies import study_of
from pzlib.studies.claims import NAMES
from pzlib.studies.papers import ALL, EQUAL, OUTRIGHT, Curve, Exhibit, sources
from pzlib.tiers import NINE, WORLDS

REAL = tuple(tier for tier in ALL if not WORLDS[tier].small)

_LADDER = {name: name for name in ("continued_pretraining", "sft", "random_span", "pretrainzero")}
_LADDER = {"base": "pretrainzero@base"} | _LADDER
_FOUR_MODELS = (
    ("baselines", {}), ("baselines", {"model": "Qwen/Qwen3-8B-Base"}), ("baselines_small", {}),
    ("baselines", {"model": "Qwen/Qwen3-30B-A3B-Base"}),
)  # fmt: skip
_AFTER = {
    "base + rlvr": "from the base",
    "random_span, 2000 steps + rlvr": "from random spans",
    "pretrainzero, 1000 steps + rlvr": "from PretrainZero, half way",
    "pretrainzero, 2000 steps + rlvr": "from PretrainZero",
}
_POST = {
    "base": "rlp@base", "cpt": "continued_pretraining", "rlp": "rlp", "base + post": "from the base",
    "cpt + post": "from continued pretraining", "rlp + post": "from RLP",
}  # fmt: skip
_THINKS = {  # RPT's rows: the base and RPT, each after a reasoning
    "R1-Distill-Qwen-14B: reasoning": "rpt, clean text@base", "RPT-14B: reasoning": "rpt, clean text"
}  # fmt: skip
_MATH = ("math500", "gsm8k", "amc23", "minerva")
_SCIENCE = ("mmlu", "mmlu_pro", "gpqa", "mmlu_1of4", "mmlu_pro_1of4", "gpqa_1of4")
_RLP_ASKED, _CURVE = (*_MATH, *_SCIENCE), ("mmlu_pro_tenth",)
_TABLE_1, _TABLE_3 = ("pretrainzero 1", "{}", ("MMLU-Pro",)), ("pretrainzero 3", "{} + rlvr", ("MMLU-Pro",))


def _ends(table, **methods):
    """{arm: where the MMLU-Pro of a method is printed}."""
    name, words, columns = table
    return {arm: (name, words.format(method), columns) for arm, method in methods.items()}


_PZ, _RS = "pretrainzero", "random_span"
_MMLU_3 = _ends(_TABLE_3, **{
    "from the base": "base", "from random spans": "random_span, 2000 steps",
    "from PretrainZero, half way": "pretrainzero, 1000 steps", "from PretrainZero": "pretrainzero, 2000 steps",
})  # fmt: skip
_GENERAL = {arm: ("pretrainzero 1", arm, ("SuperGPQA", "BBEH", "MMLU-Pro")) for arm in (_PZ, _RS)}
_AVG = {arm: ("pretrainzero 2", arm, ("AVG",)) for arm in (_PZ, _RS)}
_RLVR_ARMS = tuple(_AFTER.values())
_NTP = "random_next_token"


def _sizes(number, what, *studies, note=""):
    """A table of RLP's appendix whose rows are arms of studies, by their own names."""
    arms = {arm: arm for study in studies for arm in study_of(study).arms}
    arms |= {"base": f"{next(iter(arms))}@base"}
    printed = (f"rlp {number.removeprefix('Table ')}",)
    return Exhibit(
        "rlp", number, what, "table_beside", tuple((study, {}) for study in studies), _RLP_ASKED, printed, arms,
        tiers=REAL, note=note,
    )  # fmt: skip


def _of_model(number, what, model, **more):
    """A table of RLP on another model: the study rlp with it."""
    return Exhibit(
        "rlp", number, what, "table_beside", (("rlp", {"model": model}),), _RLP_ASKED,
        (f"rlp {number.removeprefix('Table ')}",), {"base": "rlp@base", "rlp": "rlp"}, tiers=REAL, **more,
    )  # fmt: skip


_NEMOTRON = "nvidia/NVIDIA-Nemotron-Nano-12B-v2-Base"
EXHIBITS = (
    Exhibit(
        _PZ, "Fig. 3", "training reward and MMLU-Pro by step for the passive rules; where nothing is left to learn",
        "curves_beside", (("collapse", {}),), _CURVE, curves=(
            Curve("Training reward", "reward", "collapse", (_NTP, _RS, "entropy_next_token"), stop=True),
            Curve("Tokens, spans", "curve", "collapse", (_NTP, _RS), _ends(_TABLE_1, random_span=_RS)),
            Curve("Uncertain tokens", "curve", "collapse", (_NTP, "entropy_next_token"), stop=True),
        ),
    ),
    Exhibit(
        _PZ, "Fig. 6", "entropy, response length and reward by step", "training_dynamics", (("baselines", {}),),
        note="its curves are known as images only",
    ),
    Exhibit(
        _PZ, "Fig. 7", "general and math means by step, answer length on a fixed tenth of MMLU-Pro", "curves_beside",
        (("baselines", {}),), (*NINE, *_CURVE), curves=(
            Curve("General", "general", "baselines", (_RS, _PZ), _GENERAL),
            Curve("Math", "math", "baselines", (_RS, _PZ), _AVG),
            Curve("Answer length", "length", "baselines", (_RS, _PZ)),
        ), note="which tenth is not known: ours is drawn by a seeded hash, category by category",
    ),
    Exhibit(
        _PZ, "Fig. 8", "one passage and what models answer to it", "casebook", (("baselines", {}),),
        note="any passage, target and models: `pzlib.evaluation.cases.of_passage`; the paper's own passage is not in "
        "full in our notes",
    ),
    Exhibit(
        _PZ, "Fig. 9", "MMLU-Pro and answer length along RLVR, by start", "curves_beside", (("rlvr", {}),), _CURVE,
        curves=(
            Curve("Three starts", "curve", "rlvr", (*_RLVR_ARMS[:2], _RLVR_ARMS[3]), _MMLU_3),
            Curve("Half and whole", "curve", "rlvr", (_RLVR_ARMS[0], *_RLVR_ARMS[2:]), _MMLU_3),
            Curve("Answer length", "length", "rlvr", _RLVR_ARMS),
        ),
    ),
    Exhibit(
        _PZ, "Fig. 10", "MMLU-Pro by step: MathPile or Wikipedia; which occurrences a mask hides", "curves_beside",
        (("domain", {}), ("mask_rule", {})), _CURVE, curves=(
            Curve("Text", "curve", "domain", (_PZ, f"{_PZ}, TinyMath"), _ends(_TABLE_1, pretrainzero=_PZ)),
            Curve(
                "Rule", "curve", "mask_rule", ("all occurrences", "one mask", "whole words"),
                _ends(_TABLE_1, **{"all occurrences": _PZ}),
            ),
        ), note="at real tiers the mathematical text is MathPile; whether the paper trained PretrainZero or random "
        "spans on it is not stated",
    ),
    Exhibit(
        _PZ, "Table 1", "general benchmarks by model and method", "table_beside", _FOUR_MODELS, NINE,
        ("pretrainzero 1",), _LADDER,
    ),
    Exhibit(
        _PZ, "Table 2", "math benchmarks by model and method", "table_beside", _FOUR_MODELS, NINE,
        ("pretrainzero 2",), _LADDER,
    ),
    Exhibit(
        _PZ, "Table 3", "general benchmarks after RLVR", "table_beside", (("rlvr", {}),), NINE, ("pretrainzero 3",),
        _AFTER,
    ),
    Exhibit(
        _PZ, "Table 4", "math benchmarks after RLVR", "table_beside", (("rlvr", {}),), NINE, ("pretrainzero 4",),
        _AFTER, note="the printed row of random spans is Table 2's, from before RLVR",
    ),
    Exhibit(
        "rpt", "Table 1", "next-token accuracy on held-out text by split", "table_beside", (("rpt", {}),),
        ("next_tokens",), ("rpt 1",), _THINKS | {"R1-Distill-Qwen-14B: next token": f"rpt, clean text@{OUTRIGHT}"},
        note="on 200 passages of OmniMATH that the run does not read",
    ),
    Exhibit(
        "rpt", "Fig. 4", "the same, before and after, both ways", "next_tokens_beside", (("rpt", {}),),
        ("next_tokens",), ("rpt 1",), _THINKS,
    ),
    Exhibit(
        "rpt", "Fig. 5", "next-token accuracy by RL compute, with the law that fits it", "scaling", (("rpt", {}),),
        ("next_tokens",), note="its points are known as an image only",
    ),
    Exhibit(
        "rpt", "Fig. 6", "share of responses with a keyword, by group", "keyword_bars", (("rpt", {}),),
        note="from a file of completions: `pzlib run 07 -p transcripts FILE`",
    ),
    Exhibit(
        "rpt", "Table 2", "RLVR from the base, from next-token training and from RPT", "table_beside",
        (("rlvr_after", {}),), NINE, ("rpt 2",), {
            "R1-Distill-Qwen-14B: base": "from the base",
            "R1-Distill-Qwen-14B: continual next-token training": "from continued pretraining",
            "RPT-14B: rpt": "from RPT",
        }, tiers=REAL,
        note="the paper's 200 problems of Skywork-OR1 are not listed: ours is the mean of six math benchmarks",
    ),
    Exhibit(
        "rpt", "Table 3", "SuperGPQA and MMLU-Pro, zero-shot", "table_beside", (("rpt", {}),),
        ("supergpqa", "mmlu_pro"), ("rpt 3",), _THINKS, note="scores without a reasoning are not asked",
    ),
    Exhibit(
        "rpt", "Tables 6-7", "the same by category", "table_beside", (("rpt", {}),), ("supergpqa", "mmlu_pro"),
        ("rpt 6-7",), _THINKS, tiers=REAL, note="scores without a reasoning are not asked",
    ),
    Exhibit(
        "rlp", "Table 1", "benchmarks before and after the same post-training", "table_beside",
        (("rlp", {}), ("rlvr_after_rlp", {})), (*_RLP_ASKED, "aime25"), ("rlp 1",), _POST,
        note="its printed Math Avg is a sum of five over 6, ours their mean; post-training is RLVR here, in the paper "
        "SFT and RLVR",
    ),
    Exhibit(
        "rlp", "Table 2", "the same on a hybrid model of 12B", "table_beside",
        (("rlp", {"model": _NEMOTRON}), ("rlvr_after_rlp", {"model": _NEMOTRON})), (*_RLP_ASKED, "aime25"),
        ("rlp 2",), _POST, tiers=REAL, note="the paper starts from a checkpoint that is not public; RLP needs whole "
        "weights on each GPU, which 8 of 80 GB have no room for at this size",
    ),
    Exhibit(
        "rlp", "Table 3", "RLP beside RPT at equal text and at equal compute", "table_beside", (("rlp_rpt", {}),),
        _RLP_ASKED, ("rlp 3",), {
            "base": "rlp@base", "rpt, token-matched": "rpt", "rlp, token-matched": "rlp",
            "rpt, FLOP-matched": f"rpt@{EQUAL}", "rlp, FLOP-matched": f"rlp@{EQUAL}",
        }, tiers=REAL, note="equal compute: as many tokens of prompts and completions",
    ),
    _sizes("Table 4", "RLP on other corpora", "rlp_corpora",
           note="its other corpora are not public, or not as plain text: `-p corpus FILE` of the study rlp reads any"),
    Exhibit(
        "rlp", "Fig. 2", "mean accuracy by rollouts, length of a thought and KL", "ablations",
        tuple((study, {}) for study in ("rlp_rollouts", "rlp_thoughts", "rlp_kl")), _RLP_ASKED, ("rlp S.1",),
        tiers=REAL, note="one picture a study; its math and science panels are not printed",
    ),
    _sizes("Table S.1", "the same as a table", "rlp_rollouts", "rlp_thoughts", "rlp_kl"),
    Exhibit(
        "rlp", "Table S.2", "only math, only science, both", "table_beside", (), _RLP_ASKED, ("rlp S.2",), tiers=(),
        note="the two halves of its corpus are not known: `-p corpus FILE` of the study rlp reads any",
    ),
    _of_model("Table S.3", "RLP on a model of 14B", "Qwen/Qwen3-14B-Base"),
    Exhibit(
        "rlp", "Table S.4", "RLP on an early checkpoint", "table_beside", (("rlp_early", {}),), _RLP_ASKED,
        ("rlp S.4",), {"base": "rlp@base", "rlp": "rlp"}, tiers=tuple(tier for tier in ALL if tier not in REAL),
        note="the paper's checkpoint is not public",
    ),
    _sizes("Table S.5", "continued pretraining on longer rows", "rlp_context",
           note="a row is one passage here and never packed: it needs a corpus of long texts"),
    _sizes("Table S.6", "how slow a baseline", "rlp_ema", note="what it averages is not known: as Table 3"),
    Exhibit(
        "rlp", "Table S.8", "perplexity of held-out text before and after", "perplexities", (("rlp", {}),),
        printed=("rlp S.8",), note="`pzlib run 10` measures it, at real tiers on text that the run does not read",
    ),
)  # fmt: skip


def commands(exhibit: Exhibit, tier: str = "paper") -> list[str]:
    """The commands that make an exhibit's rows at a tier; none where it cannot be made there.

    >>> commands(EXHIBITS[0])
    ['pzlib study collapse --tier paper', 'pzlib evaluate collapse --along --tier paper --tasks mmlu_pro_tenth']
    """
    if tier not in exhibit.tiers:
        return []
    lines, small = [], WORLDS[tier].small
    for study, own in sources(exhibit, tier):
        given = flags(own)
        lines.append(f"pzlib study {study} --tier {tier}{given}")
        if exhibit.asked and not small:
            lines.append(f"pzlib evaluate {study} --along --tier {tier}{given} --tasks {' '.join(exhibit.asked)}")
    return lines


def title(exhibit: Exhibit) -> str:
    """The paper and the number.

    >>> title(EXHIBITS[0])
    'PretrainZero Fig. 3'
    """
    return f"{NAMES[exhibit.paper]} {exhibit.number}"


PAGE = "docs/papers_figures.md"
HEAD = """# The papers' figures and tables

`pzlib figures --papers` prints this list and draws every entry of a tier into `figures/papers`; for the papers'
settings, `pzlib figures --papers --tier paper`. It writes this page too. Every printed value is drawn; what we have no
rows for is marked *not run*. Curves that the papers show as images only have no printed values.

An entry takes three steps: the commands of its row, `pzlib results`, and `pzlib figures --papers --tier paper`. Add
`--seeds 0` for one seed, as the papers have; `--tier gpu` for one GPU; `--jobs 8` to use eight. What a run needs to fit
([gpu.md](gpu.md#what-the-papers-main-runs-cost)) is given to each of these commands, such as `-p use_vllm true`, since
it is part of the run; `-p processes 8` and `-p sharding fsdp` are only given to `study`. In the small world
(`--tier mini`) the first command of a row is enough, and TinyBench replaces the benchmarks.
*Not run*: every entry at the tiers `gpu` and `paper`.

| figure | shows | drawn by | tiers | rows at `paper` | note |
|---|---|---|---|---|---|
"""


def markdown() -> str:
    """The text of PAGE."""
    lines = []
    for one in EXHIBITS:
        rows = "<br>".join(f"`{line}`" for line in commands(one)) or "–"
        small = ["small"] if set(one.tiers) - set(REAL) else []
        tiers = ", ".join([*small, *(tier for tier in one.tiers if tier in REAL)]) or "none"
        lines.append(f"| {title(one)} | {one.what} | `{one.form}` | {tiers} | {rows} | {one.note} |")
    return HEAD + "\n".join(lines) + "\n"
