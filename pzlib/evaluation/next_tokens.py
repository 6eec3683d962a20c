"""How well a model predicts next tokens: after a reasoning and without, by RPT's splits of entropy, and as perplexity.
Left out: the papers' scorers; the splits here are those of whatever model is given."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice

import pandas as pd

from pzlib.engine.models import evaluating, to_ask
from pzlib.engine.packing import entropies, read
from pzlib.evaluation import Evaluation, prompts_digest, small_world
from pzlib.evaluation.along import models
from pzlib.evaluation.cases import held_out_passages
from pzlib.evaluation.small_world import MAX_TOKENS, THINK, complete, row
from pzlib.objectives.rpt import predicted, rpt_prompt, verdict
from pzlib.objectives.targets import Target, cut, target_at, token_offsets, uncertain
from pzlib.paths import root
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.tiers import WORLDS
from pzlib.words import kind_of
from pzlib.world import tinywiki

THRESHOLDS = {"easy": 0.5, "medium": 1.0, "hard": 1.5}  # nats of top-16 entropy at least; nested (RPT sec. 4.1)
REASONING, DIRECT = "next token", "next token, direct"  # their groups in eval.csv
SPLIT_TEXTS, EACH = 64, 4  # held-out passages of a world, and positions of each, for 64 questions a task of TinyBench
SAMPLES = 4  # answers to each position
HELD_OUT = 200  # passages of real text, as many as RPT holds out of OmniMATH


@dataclass(frozen=True)
class Position:
    """A Target, the number and the token ids of its text, and how uncertain the scorer is there, in nats."""

    target: Target
    text: int
    ids: tuple[int, ...]
    nats: float

    def splits(self) -> list[str]:
        """The splits it belongs to: a hard position is a medium and an easy one too."""
        return [name for name, threshold in THRESHOLDS.items() if self.nats >= threshold]


def held_out(
    scorer, tokenizer, texts: Sequence[str], each: int, min_context: int, top: int = 16, seed: int = 0
) -> list[Position]:
    """Up to `each` random positions of every text, text by text, at which `scorer` has at least the entropy of the easy
    split. Raises ValueError where there is none at all."""
    rng, found = random.Random(f"splits/{seed}"), []
    ids, offsets = token_offsets(tokenizer, list(texts))
    for number, (text, own, nats) in enumerate(zip(texts, offsets, entropies(scorer, ids, top), strict=True)):
        places = uncertain(own, nats, min_context, THRESHOLDS["easy"])
        for place in sorted(rng.sample(places, min(each, len(places)))):
            target = target_at(text, own, place)
            found.append(Position(target, number, tuple(ids[number]), nats[target.first]))
    if not found:
        need = f"{min_context} tokens before it and an entropy of {THRESHOLDS['easy']} nats"
        raise ValueError(f"texts: no token of {len(texts)} has {need}; give more text, or a lower min_context")
    return found


def predicted_directly(model, positions: Sequence[Position]) -> list[bool]:
    """Whether the most likely next token is the true one at each position, on the bare text: the standard prediction.
    The positions of one text are together, as `held_out` gives them."""
    found = []
    with evaluating(model):
        for _, here in groupby(positions, key=lambda position: position.text):
            here = list(here)
            best = read(model, here[0].ids[: max(p.target.first for p in here)]).argmax(-1).tolist()
            found += [best[p.target.first - 1] == p.ids[p.target.first] for p in here]
    return found


def rows(
    positions: Sequence[Position], texts: Sequence[str], lengths: Sequence[int], direct: Sequence[bool], template: str
) -> list[dict]:
    """The rows of eval.csv but their step: of every split that has positions one with and one without reasoning.

    texts, lengths: completions and their tokens, equally many to each position in their order; right is a prediction
    that RPT's prefix matching accepts. direct: what `predicted_directly` gave.
    """
    scored, contexts = {}, {}
    answers, repeats = zip(texts, lengths, strict=True), len(texts) // len(positions)
    for position, alone in zip(positions, direct, strict=True):
        own = [
            (float(verdict(text, predicted(text, template), position.target) == "right"), n, text.startswith(THINK))
            for text, n in islice(answers, repeats)
        ]
        for split in position.splits():
            contexts.setdefault(split, []).append(position.target.context)
            scored.setdefault((f"{REASONING}, {split}", REASONING, split), []).extend(own)
            scored.setdefault((f"{REASONING}, {split}, direct", DIRECT, split), []).append((float(alone), 1, False))
    digests = {split: prompts_digest(own) for split, own in contexts.items()}
    return [row(task, group, found, repeats if group == REASONING else 1, digests[split])
            for (task, group, split), found in scored.items()]  # fmt: skip


def splits(model, tokenizer, worlds: Sequence[str], min_context: int) -> pd.DataFrame:
    """What RPT's splits of entropy hold in worlds of ours, 40 passages each: shares of the classes of token, of all
    positions, and how often the most likely token is right; a row per world and split, and for all positions."""
    rows, found = [], []
    for world in worlds:
        passages = tinywiki.passages(world, 40, seed=-1)
        for number, (passage, own, places) in enumerate(
            zip(passages, *token_offsets(tokenizer, [passage.text for passage in passages]), strict=True)
        ):
            (nats,) = entropies(model, [own], 16)
            for place in uncertain(places, nats, min_context, 0.0):
                target = target_at(passage.text, places, place)
                end = target.start + len(target.token)
                kind = next(kind for start, stop, kind in passage.kinds if start < end and target.start < stop)
                at = Position(target, number, tuple(own), nats[target.first])
                rows.append({"world": world, "class": tinywiki.kind_class(kind), "nats": at.nats, "position": at})
    table = pd.DataFrame(rows)
    asked = table.groupby("world", sort=False)["position"]
    table["right"] = [right for _, own in asked for right in predicted_directly(model, list(own))]
    for split, least in ({"all": 0.0} | THRESHOLDS).items():
        inside = table[table["nats"] >= least].groupby("world")
        shares = inside["class"].value_counts(normalize=True).unstack(fill_value=0)
        of_all = {"of all positions": inside.size() / table.groupby("world").size()}
        found.append(shares.assign(split=split, **of_all, **{"right directly": inside["right"].mean()}))
    return pd.concat(found).set_index("split", append=True).sort_index(level=0, sort_remaining=False)


def next_tokens(
    scorer, tokenizer, texts: Sequence[str], each: int, min_context: int, template: str, version: str = "v0",
    max_tokens: int = MAX_TOKENS, draws: int = 1, ends: Sequence[int] = (),
):  # fmt: skip
    """An `evaluate` for `pzlib.train.train`: `rows` of held-out texts, `SAMPLES` answers at temperature 1 to each
    position, at the steps `ends` `draws` times as many. Errors: as `held_out`; ValueError, when asked, for a model of
    another tokenizer than the scorer's."""
    positions = held_out(scorer, tokenizer, texts, each, min_context)
    prompts = [rpt_prompt(position.target.context, template, version) for position in positions]
    words = tokenizer.get_vocab()

    def evaluate(model, tokenizer, step: int) -> list[dict]:
        if tokenizer.get_vocab() != words:
            raise ValueError("model: has another tokenizer than the scorer, whose tokens the positions are")
        repeats = SAMPLES * (draws if step in ends else 1)
        said, lengths = complete(model, tokenizer, prompts, repeats, 1.0, max_tokens=max_tokens)
        return rows(positions, said, lengths, predicted_directly(model, positions), template)

    return evaluate


def of_run(run) -> Evaluation:
    """`small_world`'s, and the next tokens of unseen passages of the run's world.

    The scorer is the shipped base whatever the run starts from, so that every run is asked the same.
    """
    world = run.corpus if tinywiki.is_world(run.corpus) else WORLDS[run.tier].general.name
    shown = tinywiki.held_out(world, SPLIT_TEXTS * run.eval_items // 64 or 1, run.eval_side)
    texts, common = [passage.text for passage in shown], small_world.of_run(run)
    scorer, often = to_ask(Run(tier=run.tier)), {"draws": run.eval_draws, "ends": common.kept}
    own = next_tokens(*scorer, texts, EACH, run.min_context, run.template, **often)
    asked = prompts_digest([common.asked, texts, run.min_context, run.template])
    return Evaluation("next_tokens", lambda *model: common.ask(*model) + own(*model), asked, common.kept)


def along(run_id: str, passages: int = HELD_OUT, each: int = EACH, say: Callable[[str], None] = print) -> pd.DataFrame:
    """Ask every model of a run (its start, those it kept, its end) for next tokens of text that it does not read, after
    a reasoning and without; the rows are added to the run's eval.csv and returned. RPT's Table 1 at real size.

    The scorer of the splits is the model that the run starts from (RPT: R1-Distill-Qwen-14B, its base). How many
    positions the paper takes of each of its 200 texts is not stated: `each`. Errors: as `pzlib.evaluation.along.models`
    and `held_out_passages`; ValueError for a run that reads problems.
    """
    steps = models(run_id)
    folder = RunFolder(root() / "data/runs" / run_id)
    params, found, ask = folder.params(), [], None
    run = Run.from_dict({name: params[name] for name in Run(tier=params["tier"]).to_dict() if name in params})
    if run.method.reads_problems:
        raise ValueError(f"next_tokens: {run_id} reads problems, no text; ask a run that reads text")
    for step, name in steps.items():
        model, tokenizer = to_ask(replace(run, model=name, name=""))
        if ask is None:
            texts = [passage.text for passage in held_out_passages([run], passages)]
            sizes = {"version": run.rpt_template, "max_tokens": run.max_completion_tokens}
            ask = next_tokens(model, tokenizer, texts, each, run.min_context, run.template, **sizes)
        say(f"step {step}: {name}, next tokens of {len(texts)} held-out passages")
        found += [{"step": step, **row} for row in ask(model, tokenizer, step)]
        folder.append_eval(found)
        model = None  # the next one needs its room
    return pd.DataFrame(found)


def perplexity(model, tokenizer, passages) -> pd.DataFrame:
    """exp of the mean surprise: a row for all tokens (`task` "text") and, of labelled text, one for each class of kind.

    Columns task, group ("text" or "classes"), tokens, nats (mean), perplexity. It depends on the tokenizer: compare
    models that share one. Raises ValueError where no text has two tokens.
    """
    texts = [passage.text for passage in passages]
    nats = small_world.next_tokens(model, tokenizer, texts)["surprise"].tolist()
    if not nats:
        raise ValueError("passages: none has two tokens, so there is nothing to predict; give longer text")
    found, each = {"text": nats}, iter(nats)
    for passage, places in zip(passages, token_offsets(tokenizer, texts)[1], strict=True):
        for own, place in zip(islice(each, len(places) - 1), places[1:], strict=True):
            if passage.kinds:
                kind = kind_of(passage.text, passage.kinds, cut(passage.text, *place))
                found.setdefault(tinywiki.kind_class(kind), []).append(own)
    rows = [(task, "text" if task == "text" else "classes", len(own), math.fsum(own) / len(own))
            for task, own in found.items()]  # fmt: skip
    table = pd.DataFrame(rows, columns=["task", "group", "tokens", "nats"])
    return table.assign(perplexity=table["nats"].map(math.exp))
