r"""A text that no run trains on, asked along training: how likely its hidden words are behind a model's own reasoning,
behind none and behind another item's, the form of the answers, bits a byte. Leaves out right and wrong: `gate` has it.

Scores are likelihoods, so that they fit the table of all scores: exp of the mean of nats, between 0 and 1. `nats` and
`bits` undo it."""

import math
import random
from collections.abc import Sequence

from pzlib.corpus import load_passages
from pzlib.engine.generation import Answer, holding, spoken
from pzlib.engine.packing import likelihoods
from pzlib.evaluation import Evaluation, prompts_digest
from pzlib.evaluation.probes import OWN, reasoning, replacements
from pzlib.evaluation.small_world import ROWS_AT_ONCE, draw, next_tokens
from pzlib.masking import apply_mask, random_span
from pzlib.objectives.likelihood import placed
from pzlib.paths import locate
from pzlib.prompts import OPENING, TEMPLATES, parse_boxed, predictor_prompt
from pzlib.stats import bootstrap_ci, clustered_ci

GROUP = "held out"
NONE, OTHER = "none", "another's"
WAYS = (OWN, NONE, OTHER)  # the reasoning that an answer is put behind
FORM, TEXT = "well-formed answers", "text"  # further tasks


def nats(score: float) -> float:
    """Mean log-likelihood a target token of a row of WAYS.

    >>> round(nats(math.exp(-2.5)), 3)
    -2.5
    """
    return math.log(score)


def bits(score: float) -> float:
    """Bits a byte of the row TEXT.

    >>> bits(0.5)
    1.0
    """
    return -math.log2(score)


def masked(texts: Sequence[str], words: int, seed: int = 0) -> list:
    """A MaskedPassage of each text in which a random span of up to `words` words is legal; the same at every call."""
    rng = random.Random(f"held out/{seed}")
    spans = [(text, random_span(text, rng, words)) for text in texts]
    return [mask for text, span in spans if span and (mask := apply_mask(text, span))]


def answers_to(run, model, tokenizer, prompts: list[list[int]]) -> list[Answer]:
    """One Answer to each prompt in token ids, drawn by seed 0 at the run's temperature."""
    ends = run.method.stop_words(run) or [end for end in [TEMPLATES[run.template].end] if end]
    drawn = draw(
        model, tokenizer, prompts, 1, run.temperature, max_tokens=run.max_completion_tokens, max_rows=ROWS_AT_ONCE,
        stop=holding(tokenizer, tuple(ends)),
    )  # fmt: skip
    texts = spoken(tokenizer, drawn.completion_ids, drawn.clipped, ends)
    each = zip(prompts, drawn.completion_ids, texts, drawn.entropy, drawn.clipped, strict=True)
    return [Answer(*one) for one in each]


def behind(model, tokenizer, answers, targets, texts, template: str) -> list[float]:
    """Mean log p a token of each target in the box that opens behind the text, instead of its Answer's own."""
    coded = tokenizer([text + OPENING for text in texts], add_special_tokens=False)["input_ids"]
    words = tokenizer.batch_decode(coded, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    made = [Answer(a.prompt_ids, ids, said, 0.0, False) for a, ids, said in zip(answers, coded, words, strict=True)]
    places = [placed(answer, target, template, tokenizer) for answer, target in zip(made, targets, strict=True)]
    found = likelihoods(model, [(a.prompt_ids, [place]) for a, place in zip(made, places, strict=True)])
    return [math.fsum(own) / len(own) for (own,) in found]


def rows(run, model, tokenizer, passages) -> list[dict]:
    """The rows of eval.csv but their step: one of each of WAYS, FORM and TEXT, over the passages.

    Errors: ValueError for fewer than two passages that can be masked, or one target for all.
    """
    masks = masked([passage.text for passage in passages], run.span_words)
    prompts = [predictor_prompt(mask.text, TEMPLATES[run.template]) for mask in masks]
    answers = answers_to(run, model, tokenizer, tokenizer(prompts)["input_ids"])
    targets, said = [mask.target for mask in masks], [reasoning(answer.text) for answer in answers]
    other = replacements(said, targets, [len(answer.ids) for answer in answers], run.template)[OTHER]
    digest, found = prompts_digest(prompts), []
    for way, texts in ((OWN, said), (NONE, [" "] * len(masks)), (OTHER, other)):
        logps = behind(model, tokenizer, answers, targets, texts, run.template)
        low, high = bootstrap_ci(logps)
        ends = {"accuracy": math.exp(sum(logps) / len(logps)), "low": math.exp(low), "high": math.exp(high)}
        found.append({"task": way, **ends})
    boxed = [float(bool((parse_boxed(answer.text) or "").strip())) for answer in answers]
    low, high = clustered_ci(boxed)
    found.append({
        "task": FORM, "correct": int(sum(boxed)), "accuracy": sum(boxed) / len(boxed), "low": low, "high": high,
        "length": sum(len(answer.ids) for answer in answers) / len(answers),
        "reasoned": sum(bool(text.strip()) for text in said) / len(said),
    })  # fmt: skip
    found = [{"n": len(masks), **row, "prompts": digest} for row in found]
    texts = [passage.text for passage in passages]
    surprise = next_tokens(model, tokenizer, texts)["surprise"].sum()
    size = sum(len(text.encode()) for text in texts)
    found.append({"task": TEXT, "n": size, "accuracy": math.exp(-surprise / size), "prompts": prompts_digest(texts)})
    return [{"group": GROUP, "k": 1, **row} for row in found]


def of_run(run) -> Evaluation:
    """`rows` of `run.eval_items` passages of the text `run.held_out`, the same for every run of its lengths."""
    passages = []

    def ask(model, tokenizer, step: int) -> list[dict]:
        if not passages:
            passages.extend(load_passages(
                locate(run.held_out), limit=run.eval_items, column=run.corpus_column, tokenizer=tokenizer,
                min_tokens=run.min_tokens, max_tokens=run.max_tokens, progress=False,
            ))  # fmt: skip
        return rows(run, model, tokenizer, passages)

    return Evaluation("held_out", ask)
