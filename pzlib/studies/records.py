"""The list of studies: what each asks, which arms it compares over which seeds, which figures show it; plain values.
Leaves out how arms become runs and find their rows again, which is `pzlib.studies`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from pzlib.objectives.likelihood import LIKELIHOODS


@dataclass(frozen=True)
class Figure:
    """One file of `figures/`: `form` is the name of the function in `pzlib.figures` that draws it.

    The names of the form's parameters say which tables it takes, with the rows of the study.
    name: of the file; {} is the study's name. arms: those shown; (): all. others: further studies that it shows; its
    tables are then dicts, study -> rows. main: whether it is one of the main figures; others are in the appendix.
    """

    name: str
    form: str
    arms: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    main: bool = False


RESULT, FOLLOW_ON = Figure("{}_result", "main_result"), Figure("{}_result", "follow_on")
BY_TOKENS = Figure("{}_by_tokens", "by_tokens")
ANATOMY, MASKS = Figure("{}_anatomy", "collapse_anatomy"), Figure("{}_masks", "masks_by_arm")
LEDGER = Figure("claims_{}", "ledger_figure", main=True)  # one a paper, of all studies: drawn of `claims.ledger`
_main = partial(Figure, main=True)


@dataclass(frozen=True)
class Study:
    """Named arms, each the settings in which it differs, run over the same seeds; all else is the tier's.

    An arm may name a `start`: an arm of `baselines`, or "study:arm", whose model of the same seed and tier it goes on
    from ("@half": the one kept at half of the steps). It names what the tier's world has by its role there
    (`pzlib.tiers.World`): "text" general, mathematical or clean, of a small world with its knobs as "general:values=2";
    "base" smaller or early. Its own "passages", "random_span_steps" and "corpus_limit" are those of a run at `mini`,
    and grow with a real tier's.
    question: what it asks, in one line. core: whether `make mini` runs it. real: why small tiers leave it out, whole,
    where they do. steps: of shorter runs at `mini`, where a study says so, which are asked before and after only.
    base_of: the method from whose base, over whose steps and with whose lengths of text all arms train at a real tier,
    so that they compare. rate_of: the method whose learning rate all arms take, where arms should differ in nothing
    else, or {method: whose}; the others, with None all, have that of their own sweep. figures: the files that show it;
    a study without any is in `pzlib.studies.papers`. on_each_base: all its seeds are run from each base of a small
    tier; else more than three are shared out, as `pzlib.studies.seeds_of` does. title: in a joint figure.
    """

    question: str
    arms: dict[str, dict]
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    core: bool = False
    real: str = ""
    steps: int | None = None
    rate_of: str | dict[str, str] | None = None
    base_of: str | None = None
    figures: tuple[Figure, ...] = (RESULT,)
    on_each_base: bool = False
    title: str = ""


def _arms(setting, values, **settings):
    """{arm: value} as arms of one setting."""
    return {arm: {**settings, setting: value} for arm, value in values.items()}


def _objectives(*names, **settings):
    return _arms("objective", {name: name for name in names}, **settings)


def _rlvr_from(**starts):
    """RLVR from the base, and from each start: "the_name" is the arm "from the name"."""
    named = {f"from {name.replace('_', ' ')}": start for name, start in starts.items()}
    return {"from the base": {"objective": "rlvr"}, **_arms("start", named, objective="rlvr")}


THREE = (0, 1, 2)  # seeds of ablations
ELEVEN = tuple(range(11))  # of studies with a claim that by its first spread needed as many
MASKING = ("pretrainzero", "random_span", "random_next_token", "entropy_next_token")
BASELINES = ("pretrainzero", "random_span", "sft", "continued_pretraining")
MAIN = ("pretrainzero", "random_span")
RPT_ARMS = ("rpt", "rpt, clean text")  # the arms that are asked for next tokens

COSTLY, AFTER_BOTH = "an ablation, for what it costs", "side_rlvr has RLVR after both"  # as `Study.real`
RPT_CLEAN = {"objective": "rpt", "text": "clean"}  # most like RPT's own text, worked problems

# x 8 rows a step: about as many tokens as RLP's 256 prompts and thoughts at mini. At real tiers no text comes twice.
SUPERVISED_ROWS = {"passages": 21}
PLAIN_TEXT = {"objective": "continued_pretraining", **SUPERVISED_ROWS, "corpus_limit": 40_000}
SMALL = {"base": "smaller"}


def _rlp(question, setting, values, **more):
    """One of RLP's ablations, drawn with the first of them."""
    more = {"seeds": THREE, "figures": (), "real": COSTLY, **more}
    return Study(question, _arms(setting, values, objective="rlp"), **more)


# In the order in which `pzlib study --all` makes them: what others start from, and what the README shows, first.
STUDIES = {
    "baselines": Study(
        "Tables 1 and 2: what does each way of learning from text do?",
        _objectives(*BASELINES), core=True, on_each_base=True, figures=(
            _main("case", "case", MAIN), _main("main_result", "main_result"),
            _main("{}_beside_the_paper", "baselines_beside", (), ("baselines_small",)),
            _main("tinybench_curves", "tinybench_curves"), _main("training_dynamics", "training_dynamics", MAIN),
            Figure("generator_dynamics", "generator_dynamics", MAIN), Figure("{}_patterns", "structure_by_arm"),
        ),
    ),
    "side": Study(
        "Every way of learning from the same text: which leaves the best model, by steps, by tokens and by time?",
        {
            "continued_pretraining": {**PLAIN_TEXT, "text": "general"},
            **_objectives("sft", "mixed_sft", **SUPERVISED_ROWS, text="general"),
            **_objectives("random_span", "pretrainzero", "rpt", "rlp", text="general"),
        }, figures=(replace(BY_TOKENS, main=True), Figure("{}_by_time", "by_time"), RESULT), base_of="pretrainzero",
        on_each_base=True,
    ),
    "side_new": Study(
        "And sentences (RLPT), a thought after every token (Quiet-STaR), likelihoods: by steps, tokens and time?",
        {
            "continued_pretraining": {**PLAIN_TEXT, "text": "general"},
            **_objectives("random_span", "rlpt", "quiet_star", text="general"),
            "random_span, logprob": {"objective": "random_span", "reward": "logprob", "text": "general"},
        }, figures=(BY_TOKENS, Figure("{}_by_time", "by_time"), RESULT), base_of="pretrainzero",
    ),
    "spice": Study(
        "And SPICE's reward for the generator, a bell around an accuracy of one half?",
        _arms("generator_reward", {"eq. 9, zero rule": "zero_rule", "SPICE's bell": "spice"}),
        seeds=THREE, figures=(RESULT, MASKS),
    ),
    "occurrences": Study(
        "And if only rare words may be masked: fewer than 8 occurrences in the passage, or one?",
        _arms("max_occurrences", {"fewer than 8": 7, "one occurrence": 1}), seeds=THREE, figures=(RESULT, MASKS),
    ),
    "side_rlvr": Study(
        "And which of them is the best start for the same RLVR?",
        _rlvr_from(
            continued_pretraining="side:continued_pretraining", SFT="side:sft", mixed_SFT="side:mixed_sft",
            random_spans="side:random_span", PretrainZero="side:pretrainzero", RPT="side:rpt", RLP="side:rlp",
        ), figures=(replace(FOLLOW_ON, main=True),),
    ),
    "rlvr": Study(
        "Fig. 9, Tables 3 and 4: from which start does RLVR get furthest?",
        {
            **_rlvr_from(random_spans="random_span"),
            "from PretrainZero, half way": {"objective": "rlvr", "start": "pretrainzero@half"},
            "from PretrainZero": {"objective": "rlvr", "start": "pretrainzero"},
        }, on_each_base=True, figures=(
            _main("{}_curves", "tinybench_curves"), _main("{}_beside_the_paper", "rlvr_beside"), FOLLOW_ON,
        ),
    ),
    # 300 steps: a rule that comes alive and dies does so late.
    "collapse_noise": Study(
        "Along training, where noise can be guessed: does entropy masking come alive and die, and do others live on?",
        {
            f"{rule}, {n} values": {"objective": rule, "text": f"general:values={n}"}
            for n in (2, 4) for rule in ("pretrainzero", "random_next_token", "entropy_next_token")
        } | {
            f"entropy_next_token, {n} values, no filter":
                {"objective": "entropy_next_token", "text": f"general:values={n}", "filter": "none"} for n in (2, 4)
        }, core=True, on_each_base=True, steps=300, rate_of="pretrainzero",
        figures=(RESULT, *(Figure(f"{{}}_{n}", "collapse_anatomy", tuple(
                f"{rule}, {n} values" for rule in ("pretrainzero", *MASKING[2:])
            ) + (f"entropy_next_token, {n} values, no filter",)) for n in (2, 4)),
        ),
    ),
    # At one rate, as in the paper, which names one: a rule's own sweep can prefer a rate at which nothing moves.
    "collapse": Study(
        "Does entropy masking collapse on noisy text, and do random next tokens beat random spans?",
        _objectives(*MASKING), title="noisy text", core=True, rate_of="pretrainzero", seeds=ELEVEN, figures=(
            _main("{}_curves", "collapse_curves", (), ("collapse_clean",)), replace(ANATOMY, main=True),
            _main("{}_masks", "masks_by_arm", (), ("collapse_clean",)), BY_TOKENS, RESULT,
        ),
    ),
    "collapse_clean": Study(
        "And on clean text, where high entropy is no noise?",
        _objectives(*MASKING[1:], text="clean"), title="clean text", core=True, rate_of="pretrainzero",
        on_each_base=True, figures=(BY_TOKENS, ANATOMY, RESULT),
    ),
    "rpt": Study(
        "RPT's Tables 1 and 3: is the next token better predicted after a reasoning, and does learning it carry over?",
        {
            **_objectives("rpt", "random_span", text="general"),
            "rpt, clean text": RPT_CLEAN,
            "random_span, clean text": {**RPT_CLEAN, "objective": "random_span"},
            "continued_pretraining, clean text": {**RPT_CLEAN, "objective": "continued_pretraining"},
        }, figures=(
            _main("{}_next_tokens", "next_tokens_beside", RPT_ARMS), _main("{}_scaling", "scaling", RPT_ARMS), RESULT,
        ), base_of="rpt",
    ),
    "rlp": Study(
        "RLP's Table 1: does a thought before the next token teach more than the text, at equal text and equal tokens?",
        {**_objectives("rlp", "continued_pretraining"), "continued_pretraining, equal tokens": PLAIN_TEXT},
        figures=(RESULT, Figure("{}_thoughts_along", "thoughts", ("rlp",)), Figure("{}_perplexity", "perplexities")),
        base_of="rlp", on_each_base=True,
    ),
    # RLP's own sweep is on text whose next words leave a thought little to tell, and prefers the rate that moves the
    # base least; where there is more to tell RLP trains at RPT's. A base knows running counts without a thought.
    "left": Study(
        "How much must a thought be able to tell of the next token before it pays?",
        {
            "rlp, deductions": {"objective": "rlp", "text": "general:density=1"},
            "rlp, running counts": {"objective": "rlp", "text": "general:density=1,left=1"},
            "rpt, deductions": {"objective": "rpt", "text": "general:density=1"},
        }, rate_of={"rlp": "rpt"},
    ),
    # All at RPT's rate: that of continued pretraining was chosen on bases which the text has nothing more to teach.
    "rlp_early": Study(
        "RLP's Table S.4: does RLP lift an early checkpoint of its base, and more than the text itself does?",
        _objectives("rlp", "continued_pretraining", base="early", text="mathematical"),
        seeds=THREE, steps=100, rate_of="rpt",
    ),
    "rlp_domains": Study(
        "RLP's Tables S.2 and 4: general text, mathematics or both?",
        {
            "rlp, general": {"objective": "rlp", "text": "general"},
            "rlp, mathematics": {"objective": "rlp", "text": "mathematical"},
            "rlp, both": {"objective": "rlp", "text": "both"},
            "continued_pretraining, mathematics": {"objective": "continued_pretraining", "text": "mathematical"},
            "rpt, mathematics": {"objective": "rpt", "text": "mathematical"},
        }, base_of="rlp", rate_of={"rlp": "rpt"}, on_each_base=True,
    ),
    "domain": Study(
        "Fig. 10a: encyclopaedia or mathematics as RL corpus?",
        {
            "pretrainzero": {},
            "pretrainzero, TinyMath": {"text": "mathematical"},
            "random_span": {"objective": "random_span"},
            "random_span, TinyMath": {"objective": "random_span", "text": "mathematical"},
        }, title="text", figures=(_main("{}_curves", "tinybench_curves", (), ("mask_rule",)), RESULT),
    ),
    "mask_rule": Study(
        "Fig. 10b: which occurrences should a mask hide?",
        _arms("mask_rule", {"all occurrences": "all", "one mask": "one", "whole words": "words"}),
        title="mask rule", on_each_base=True, figures=(RESULT, MASKS),
    ),
    # Negative accuracy has no arm: it gives the runs of "no zero rule" to the digit: a constant cancels in advantages.
    "generator_reward": Study(
        "What does each reward make the generator mask?",
        _arms("generator_reward", {
            "eq. 9, zero rule": "zero_rule", "eq. 9, no zero rule": "no_zero_rule", "min(p, 1 - p)": "learnability",
        }) | {"generator untrained": {"generator_every": 0}, "random_span": {"objective": "random_span"}},
        title="reward of the generator", on_each_base=True,
        figures=(_main("generator_masks", "masks_by_arm"), RESULT),
    ),
    # The world's chains take one to four steps, which its kinds of masks name: chain_1 to chain_4.
    "depth": Study(
        "Fig. 6b: do reasonings grow where harder masks need longer ones, and room is left for them?",
        _arms("objective", {name: name for name in MAIN}, text="clean", max_completion_tokens=48),
        figures=(RESULT, Figure("{}_training", "training_dynamics")),
    ),
    "baselines_small": Study(
        "PretrainZero's Table 1, SmolLM3: the same two methods from a smaller base model",
        _objectives(*MAIN, **SMALL), core=True, seeds=ELEVEN,
    ),
    # Mixed SFT is what makes a reasoner of the small base; RPT's own base is one already.
    "rpt_continual": Study(
        "RPT's Table 2: does next-token training of a model that was trained to reason lose its reasoning?",
        {"continued_pretraining, reasoning base": {
            "objective": "continued_pretraining", "start": "side:mixed_sft", "text": "general",
        }}, seeds=THREE, base_of="pretrainzero",
    ),
    "warmup": Study(
        "Do random spans first help a base whose masks are seldom legal (the paper's SmolLM3 recipe)?",
        _arms("random_span_steps", {"pretrainzero": 0, "random spans first": 10}, **SMALL), seeds=THREE,
        real="masks of the small bases are legal from the start",
    ),
    "likelihood": Study(
        "Is a target's likelihood after the reasoning a better reward than being right, and which likelihood?",
        {
            "exact": {"objective": "random_span"},
            **_arms("reward", {name: name for name in LIKELIHOODS}, objective="random_span"),
            "VeriFree": {"objective": "random_span", "reward": "prob", "answer_term": True, "filter": "none"},
            "RLPR": {"objective": "random_span", "reward": "avg_prob", "debias": True, "std_filter": 0.5},
        }, seeds=THREE, real="side_new has one of its arms; no claim rests on the others",
    ),
    "rpt_rewards": Study(
        "RPT's App. A: do its four rewards teach alike?",
        {
            "prefix matching": RPT_CLEAN,
            **_arms("rpt_reward", {"first token": "first_token", "dense": "dense"}, **RPT_CLEAN),
            "dense where one is right": {**RPT_CLEAN, "rpt_reward": "conditional_dense"},
        }, seeds=THREE, base_of="rpt", real=COSTLY,
    ),
    "rlvr_after": Study(
        "RPT's Table 2: is RPT a better start for RLVR than next-token training on the same (clean) text?",
        _rlvr_from(continued_pretraining="rpt:continued_pretraining, clean text", RPT="rpt:rpt, clean text"),
        figures=(Figure("{}_beside_the_paper", "rlvr_after_beside"), FOLLOW_ON), base_of="rpt", real=AFTER_BOTH,
    ),
    "rlvr_after_rlp": Study(
        "RLP's Table 1, + Post: does its gain survive the same RLVR?",
        _rlvr_from(continued_pretraining="rlp:continued_pretraining, equal tokens", RLP="rlp:rlp"),
        figures=(_main("rlp_beside_the_paper", "rlp_beside"), FOLLOW_ON), base_of="rlp", real=AFTER_BOTH,
    ),
    "rlp_rollouts": _rlp(
        "RLP's Fig. 2 and Table S.1: how many thoughts a token?",
        "group", {f"rlp, rollouts {g}": g for g in (4, 8, 16, 32)},
        figures=(_main("rlp_ablations", "ablations", (), ("rlp_thoughts", "rlp_kl", "rlp_ema")),),
    ),
    "rlp_thoughts": _rlp(
        "RLP's Fig. 2 and Table S.1: how long may a thought be?",
        "max_completion_tokens",
        {f"rlp, completion tokens {n}": n for n in (64, 128, 256, 512, 1024, 2048, 4096)},
    ),
    "rlp_kl": _rlp(
        "RLP's Fig. 2 and Table S.1: does a KL term help?",
        "kl", {f"rlp, KL {kl}": float(kl) for kl in ("0", "1e-4", "1e-3")},
    ),
    "rlp_ema": _rlp(
        "RLP's Table S.6: how slow a baseline?", "ema",
        {f"rlp, tau {tau:g}": tau for tau in (0.99, 0.995, 0.999, 0.9995)},
        real="these runs part by rounding alone",
    ),
    "rlp_rpt": Study(
        "RLP's Table 3: does RLP teach more than RPT, from one base, at equal text and at equal compute?",
        _objectives("rpt", "rlp", text="general"), base_of="rlp", figures=(), real="its runs are in side",
    ),
    "rlp_corpora": Study(
        "RLP's Table 4: which corpus? OmniMATH is the one of its texts that is public under a name known to us.",
        {
            "rlp, OmniMath": {"objective": "rlp", "text": "clean"},
            "cpt, OmniMath": {"objective": "continued_pretraining", "text": "clean"},
        }, seeds=THREE, base_of="rlp", real="its text is of the hub", figures=(),
    ),
    "rlp_context": Study(
        "RLP's Table S.5: does continued pretraining gain from longer rows?",
        _arms(
            "max_tokens", {"cpt, 8K context": 8192, "cpt, 32K context": 32_768}, objective="continued_pretraining",
        ), seeds=THREE, base_of="rlp", real="its text is of the hub", figures=(),
    ),
}  # fmt: skip

STUDIES = {
    name: replace(study, figures=tuple(replace(figure, name=figure.name.format(name)) for figure in study.figures))
    for name, study in STUDIES.items()
}
