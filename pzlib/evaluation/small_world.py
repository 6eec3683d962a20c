"""The small world's questions, TinyBench and masked spans by kind, and what is measured of it and of its bases.
Left out: the papers' benchmarks; the properties that they must have, which are in `pzlib.evaluation.bases`."""

import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import pandas as pd
import torch

from pzlib.engine.models import evaluating, to_ask
from pzlib.engine.packing import read
from pzlib.engine.sampling import sample
from pzlib.evaluation import Evaluation, prompts_digest, sampling_error
from pzlib.masking import Passage, apply_mask
from pzlib.prompts import OPENING, TINY, generator_prompt, parse_boxed, parse_mask, predictor_prompt, question_prompt
from pzlib.rewards import predictor_reward
from pzlib.stats import clustered_ci, pass_at_k
from pzlib.words import kind_of
from pzlib.world.facts import GENERAL, MATH, TASKS
from pzlib.world.tinywiki import exam, held_out, kind_class, unread

THINK, DIRECT = "Think :", OPENING  # how tinybase's text begins an answer with a reasoning, and one without
MAX_TOKENS = 32
TRAINING_SIDE = "reasoning, training side"  # masked words of the side that runs read
ROWS_AT_ONCE = 1024  # answers: more fall out of a CPU's cache; it changes no answer


def draw(
    model, tokenizer, prompt_ids, repeats: int, temperature: float, seed: int = 0, max_tokens: int = MAX_TOKENS,
    top_p: float = 1.0, max_rows: int = ROWS_AT_ONCE, stop: Sequence[int] = (),
):  # fmt: skip
    """The `Samples` of prompts in token ids (`pzlib.engine.sampling.sample`); stop: ids that end an answer too."""
    return sample(
        model, prompt_ids, repeats, max_new_tokens=max_tokens, eos_ids=[tokenizer.eos_token_id, *stop],
        pad_id=tokenizer.pad_token_id, temperature=temperature, top_p=top_p, max_rows=max_rows,
        generator=torch.Generator(device=model.device).manual_seed(seed),
    )  # fmt: skip


def complete(model, tokenizer, prompts: list[str], repeats: int = 1, temperature: float = 0.0, seed: int = 0, **sizes):
    """Completions of text prompts, prompt-major: `len(prompts) * repeats` texts, and their lengths in tokens.
    sizes: those of `draw`."""
    drawn = draw(model, tokenizer, tokenizer(prompts)["input_ids"], repeats, temperature, seed, **sizes)
    texts = tokenizer.batch_decode(drawn.completion_ids, skip_special_tokens=True)
    return texts, [len(ids) for ids in drawn.completion_ids]


def spans(
    passages: Sequence[Passage], per_kind: int, seed: int = 0, apart: bool = False
) -> list[tuple[str, str, str]]:
    """(kind, masked text, target): up to `per_kind` one-word masks of every kind that labelled passages hold.

    apart: no two masks of a kind are of one passage, and so not of one instance either.
    """
    rng, found = random.Random(f"spans/{seed}"), defaultdict(list)
    for passage in passages:
        places, here = list(passage.kinds), set()
        rng.shuffle(places)
        for start, end, kind in places:
            masked = apply_mask(passage.text, passage.text[start:end])
            if masked is not None and len(found[kind]) < per_kind and not (apart and kind in here):
                found[kind].append((kind, masked.text, masked.target))
                here.add(kind)
    return [item for kind in sorted(found) for item in found[kind]]


def tinybench(
    model, tokenizer, items: int = 64, samples: int = 4, seed: int = 0, side: str = "test"
) -> list[dict]:
    """One row per task of TinyBench: mean@`samples` at temperature 1; the columns of a run's eval.csv but `step`.
    The chains are scored once more by their steps, as group "depth".

    `n` counts answers. Sampled and not greedy, because the base reasons in half of its answers: to which half the most
    likely one belongs is decided by a hair. The questions depend on `items`, `seed` and `side` (see `exam`) alone.
    """
    facts = [fact for task in TASKS for fact in exam(task, items, seed, side)]
    asked = [(fact.task, question_prompt(fact.question, TINY), fact.answer) for fact in facts]
    scored, prompts = _scored(model, tokenizer, asked, samples, seed), _prompts(asked)
    instances = {task: [fact.instance for fact in facts if fact.task == task] for task in TASKS}
    found = [row(task, "math" if task in MATH else "general", scored[task], samples, prompts[task], instances[task])
             for task in (*GENERAL, *MATH)]  # fmt: skip
    depths = [len(instance.split()) - 2 for instance in instances["chain"]]
    for depth in sorted({*depths}):  # the same answers again, by the steps that a chain takes
        own = [i for i, steps in enumerate(depths) if steps == depth]
        answers = [one for i in own for one in scored["chain"][i * samples : (i + 1) * samples]]
        at = [instances["chain"][i] for i in own]
        found.append(row(f"chain, {depth} steps", "depth", answers, samples, prompts["chain"], at))
    return found


def described(run) -> str:
    """What a run asks, of its model, as `pzlib evaluate` prints it: a line per task, and the mean of each group."""
    asked, model = small_world(run.eval_items, run.eval_side), to_ask(run)
    print(f"asking {run.eval_items} questions per task, and masked words, four answers each", file=sys.stderr)
    table = pd.DataFrame(asked.ask(*model, step=0))
    table = table[["task", "group", "n", "correct", "accuracy", "length", "reasoned"]]
    table[["accuracy", "reasoned"]] *= 100
    table["group"] = table["group"].replace({"spans": "masked words", "other spans": "other words"})
    names = {"accuracy": "accuracy, %", "length": "tokens per answer", "reasoned": "reasoned first, %"}
    lines = [table.rename(columns=names).to_string(index=False, float_format="{:.1f}".format)]
    for group, accuracy in table.groupby("group", sort=False)["accuracy"].mean().items():
        lines.append(f"{group}: {accuracy:.1f} %, the mean over its tasks")
    return "\n".join(lines)


def small_world(items: int, side: str = "test", draws: int = 1, steps: int = 0) -> Evaluation:
    """TinyBench, and as group "spans" the accuracy on masked words of unseen passages that reasoning can deduce, at
    temperature 1 ("other spans": trivial and irreducible words).

    draws: how often 4 answers are drawn to each question before the first step and after the last, `steps`; along
    training once. Then passages of the side that runs read are asked too, as group "training side": some of their
    sentences are in a run's text, of the other passages none but set phrases.
    """
    each = max(4, items // 4)
    asked, read = (_masked(held_out("tinywiki", 400, of), each) for of in (side, "train"))
    read = [(TRAINING_SIDE, *rest) for name, *rest in read if name == "reasoning"]
    groups = {"reasoning": "spans", TRAINING_SIDE: "training side"}

    def ask(model, tokenizer, step: int) -> list[dict]:
        at_end = step in (0, steps)
        k, own = 4 * draws if at_end else 4, asked + read if at_end else asked
        scored, prompts = _scored(model, tokenizer, own, k), _prompts(own)
        shown = {name: [masked.replace("[mask]", target) for n, masked, target in own if n == name] for name in scored}
        found = [row(name, groups.get(name, "other spans"), scored[name], k, prompts[name], shown[name])
                 for name in sorted(scored)]  # fmt: skip
        return tinybench(model, tokenizer, items, k, side=side) + found

    return Evaluation("small_world", ask, prompts_digest([items, side, draws, asked, read]), (0, steps))


def _masked(passages, each):
    """(class of kind, prompt, target) of `each` masks of every kind."""
    masked = spans(passages, each, -1, apart=True)
    return [(kind_class(kind), predictor_prompt(text, TINY), target) for kind, text, target in masked]


def of_run(run) -> Evaluation:
    """`small_world` with as many questions per task, and as many draws, as the run wants."""
    return small_world(run.eval_items, run.eval_side, run.eval_draws, run.steps)


def _scored(model, tokenizer, asked, repeats, seed=0, start=""):
    """{name: (right, tokens, whether it reasoned) of each answer} of (name, prompt, target) triples; start: how every
    answer is made to begin."""
    prompts = [f"{prompt} {start}".strip() for _, prompt, _ in asked]
    texts, lengths = complete(model, tokenizer, prompts, repeats, temperature=1.0, seed=seed)
    found = defaultdict(list)
    for i, (text, length) in enumerate(zip(texts, lengths, strict=True)):
        name, _, target = asked[i // repeats]
        found[name].append((predictor_reward(parse_boxed(start + text), target), length, text.startswith(THINK)))
    return found


def _prompts(asked):
    """{name: the digest of its prompts} of (name, prompt, target) triples."""
    found = defaultdict(list)
    for name, prompt, _ in asked:
        found[name].append(prompt)
    return {name: prompts_digest(prompts) for name, prompts in found.items()}


def row(task: str, group: str, scored: list[tuple[float, int, bool]], k: int, prompts: str, clusters=None) -> dict:
    """A row of eval.csv but its step: scored holds (right, tokens, whether it reasoned) of each answer, k to a question
    in turn; prompts: their digest; clusters: the instance of each question. The interval is over questions, by
    `clustered_ci`; the error is of sampling alone, and 0 for one answer to each, which is the most likely one."""
    n, (right, length, reasoned) = len(scored), map(sum, zip(*scored, strict=True))
    means = {"accuracy": round(right / n, 6), "length": round(length / n, 3), "reasoned": round(reasoned / n, 6)}
    shares = [sum(own[0] for own in scored[i : i + k]) / k for i in range(0, n, k)]
    low, high = clustered_ci(shares, clusters)
    thought = [tokens for _, tokens, reasons in scored if reasons]
    own = round(sum(thought) / len(thought), 3) if thought else None
    ends = {"k": k, "low": round(low, 6), "high": round(high, 6), "prompts": prompts}
    ends |= {"length_reasoned": own, "error": sampling_error(shares, k)}
    return {"task": task, "group": group, "n": n, "correct": int(right), **means, **ends}


def span_accuracy(
    model, tokenizer, items: list[tuple[str, str, str]], repeats: int = 8, start: str = "", seed: int = 0
) -> list[tuple[str, int]]:
    """(kind, hits of `repeats`) for every item of `spans`, sampled at temperature 1.

    start: how every answer is made to begin: "" (as it likes), `THINK` or `DIRECT`.
    """
    asked = [(i, predictor_prompt(masked, TINY), target) for i, (_, masked, target) in enumerate(items)]
    scored = _scored(model, tokenizer, asked, repeats, seed, start)
    return [(kind, int(sum(right for right, *_ in scored[i]))) for i, (kind, *_) in enumerate(items)]


def position_kinds(name: str, limit: int = 300, seed: int = 99) -> pd.Series:
    """Share of the positions of a world that are of each kind."""
    counts = Counter(kind for passage in unread(name, limit, seed) for _, _, kind in passage.kinds)
    return pd.Series(counts).sort_values(ascending=False) / sum(counts.values())


def next_tokens(model, tokenizer, texts: Iterable[str]) -> pd.DataFrame:
    """One row per token but the first of each text, of any causal model: passage, entropy (nats, of what comes before
    the token, as entropy masking reads), whether that is in the text's top fifth, whether the most likely token is the
    right one ("predictable without thinking"), and the right one's -log p in nats."""
    tables = []
    for number, text in enumerate(texts):
        ids = tokenizer(text)["input_ids"]
        with evaluating(model):
            logp = read(model, ids)[:-1].float().log_softmax(-1)  # (T-1, V)
        entropy = -(logp.exp() * logp).sum(-1)
        top = torch.zeros_like(entropy, dtype=torch.bool)
        top[entropy.topk(len(entropy) // 5).indices] = True
        true = torch.tensor(ids[1:], dtype=torch.long, device=logp.device)
        surprise = -logp.gather(1, true[:, None])[:, 0]
        columns = {"entropy": entropy, "top_fifth": top, "right": logp.argmax(-1) == true, "surprise": surprise}
        tables.append(pd.DataFrame({"passage": number} | {name: x.cpu().numpy() for name, x in columns.items()}))
    return pd.concat(tables, ignore_index=True)


def next_token_entropy(model, tokenizer, name: str, limit: int = 100, seed: int = 99) -> pd.DataFrame:
    """`next_tokens` of a small world's passages, with the kind of each word, and what it is read `from_left`.

    Read from the left, what only follows from both sides can't be deduced either: it counts as irreducible here.
    """
    shown = unread(name, limit, seed)
    kinds = [kind for passage in shown for _, _, kind in passage.kinds[1:]]
    seen = ["irreducible" if kind.endswith("_inverse") else kind_class(kind) for kind in kinds]
    return next_tokens(model, tokenizer, [p.text for p in shown]).assign(kind=kinds, from_left=seen)


def places(model, tokenizer, names: Iterable[str], limit: int = 100) -> pd.DataFrame:
    """Where each world is, in %: positions that are deducible, and of the top fifth by entropy what nothing determines
    from the left and what the model gets right without thinking; all positions it gets right."""
    rows = {}
    for name in names:
        table, kinds = next_token_entropy(model, tokenizer, name, limit), position_kinds(name)
        top = table[table["top_fifth"]]
        rows[name] = {
            "deducible positions": sum(share for kind, share in kinds.items() if kind_class(kind) == "reasoning"),
            "top fifth: irreducible": (top["from_left"] == "irreducible").mean(),
            "top fifth: right": top["right"].mean(),
            "all: right": table["right"].mean(),
        }
    return 100 * pd.DataFrame(rows).T


def base_spans(model, tokenizer, per_kind: int = 24, seed: int = 99, name: str = "tinywiki") -> pd.DataFrame:
    """One row per kind and way of answering (free, reasoning, direct): n, pass@1 and pass@8 at temperature 1."""
    items = spans(held_out(name, 800, seed=seed), per_kind, seed)
    rows = []
    for way, start in (("free", ""), ("reasoning", THINK), ("direct", DIRECT)):
        for kind, hits in span_accuracy(model, tokenizer, items, repeats=8, start=start, seed=seed):
            rows.append((kind, kind_class(kind), way, pass_at_k(8, hits, 1), pass_at_k(8, hits, 8)))
    table = pd.DataFrame(rows, columns=["kind", "class", "way", "pass@1", "pass@8"])
    groups = table.groupby(["way", "kind", "class"], sort=False)[["pass@1", "pass@8"]]
    means = groups.mean().assign(n=groups.size()).reset_index()
    return means[["kind", "class", "way", "n", "pass@1", "pass@8"]]


def base_masks(
    model, tokenizer, limit: int = 100, repeats: int = 8, seed: int = 99, name: str = "tinywiki"
) -> pd.Series:
    """Share of the generator's masks by class of what they hide; "illegal" is a class too. Sums to 1."""
    shown = held_out(name, limit, seed=seed)
    texts, _ = complete(model, tokenizer, [generator_prompt(p.text, TINY) for p in shown], repeats, 1.0, seed)
    classes = Counter({"illegal": 0})
    for i, text in enumerate(texts):
        passage = shown[i // repeats]
        masked = apply_mask(passage.text, parse_mask(text) or "")
        classes["illegal" if masked is None else kind_class(kind_of(passage.text, passage.kinds, masked))] += 1
    return pd.Series(classes).sort_values(ascending=False) / len(texts)
