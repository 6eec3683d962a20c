"""What a model finds in texts, each text that continuations share read once: log-probabilities, for the loss too.
Leaves out of the loss rows that teach nothing; no gradient moves. Models whose branches mix read each row by itself."""

import math
from itertools import compress

import torch
from accelerate.utils import gather
from transformers.utils import ModelOutput

from pzlib.engine.memory import LONGEST, TOKENS_AT_ONCE
from pzlib.engine.models import evaluating
from pzlib.engine.sampling import PROMPT, can_branch, visibility

PER_ROW = ("advantages", "prompt_ids", "prompt_mask")  # (B,) or (B, P)
PER_TOKEN = (
    "completion_ids", "completion_mask", "tool_mask", "old_per_token_logps", "ref_per_token_logps",
    "sampling_per_token_logps", "importance_sampling_ratio",
)  # (B, C), or (B, 1)  # fmt: skip


def check_drop_rows(args):
    """ValueError, naming `drop_rows`, where leaving out rows of zero advantage would change the gradient.

    args: the GRPOConfig. With a loss that is a sum of advantage x ratio over tokens, divided by a count fixed before
    dropping (TRL's `dapo` and `cispo`), such a row adds exactly nothing. A KL term or an entropy bonus acts on all
    rows, an entropy quantile ranks all tokens: there every row is needed. Dropout, which draws for all rows, and a loss
    that balances experts are off in every run.
    """
    reasons = {
        f"loss_type is {args.loss_type}, not dapo or cispo": args.loss_type not in ("dapo", "cispo"),
        f"beta is {args.beta}": args.beta != 0.0,
        "an entropy bonus is on": args.entropy_coef != 0.0 or args.use_adaptive_entropy,
        f"top_entropy_quantile is {args.top_entropy_quantile}": args.top_entropy_quantile < 1.0,
    }
    found = [why for why, holds in reasons.items() if holds]
    if found:
        raise ValueError(f"drop_rows: would change the gradient, since {' and '.join(found)}; set drop_rows to False")


def keep_moving_rows(inputs):
    """TRL's batch without the rows that add nothing to the gradient, and without all-padding columns.

    A row adds nothing if its advantage is 0 or no token of it is in the loss. Where all rows are so, one is kept, so
    that every parameter still gets its (zero) gradient and the optimizer takes the same step. Every process keeps as
    many as the one with the most: TRL gathers numbers of each row, from all in equal parts. `num_items_in_batch`, the
    loss's divisor, stays what it was.
    """
    in_loss = inputs["completion_mask"] * inputs.get("tool_mask", 1)
    own = inputs["advantages"]  # (B,), or (B, C): each token's own
    moving = (((own if own.dim() > 1 else own[:, None]) != 0) & (in_loss != 0)).any(dim=1)
    count = max(1, int(gather(moving.sum()).max()))
    rows = moving.int().argsort(descending=True, stable=True)[:count].sort().values
    kept = {k: v[rows] if k in PER_ROW + PER_TOKEN else v for k, v in inputs.items()}
    first = int(kept["prompt_mask"].any(dim=0).int().argmax())  # prompts are padded on the left
    for name in ("prompt_ids", "prompt_mask"):
        kept[name] = kept[name][:, first:]
    last = int(kept["completion_mask"].sum(dim=1).max())
    for name in PER_TOKEN:
        if name in kept:
            kept[name] = kept[name][:, :last]
    if own.dim() > 1:
        kept["advantages"] = kept["advantages"][:, :last]
    return kept


def prompts_together(trainer, inputs):
    """What TRL's next micro-batch has once the rows of its update are in the order of their prompts; `inputs` where the
    update has one micro-batch.

    TRL shuffles the rows of a batch before it cuts micro-batches, so a shared prompt would hardly ever meet itself. Its
    buffer is put in order when an update begins: the same rows, so the same gradient up to the order of summation.
    """
    parts, at = trainer.args.gradient_accumulation_steps, trainer._step % trainer.args.steps_per_generation
    if parts == 1:
        return inputs
    buffer = trainer._buffered_inputs
    if at % parts == 0:
        buffer[at : at + parts] = in_prompt_order(buffer[at : at + parts], trainer.drop_rows)
    return buffer[at]


def in_prompt_order(batches, moving_first):
    """The rows of `batches`, cut into as many again, those of one prompt side by side.

    moving_first: rows whose advantage is 0 come last, so that the last micro-batches have next to nothing to read.
    """
    rows = {name: torch.cat([batch[name] for batch in batches]) for name in PER_ROW + PER_TOKEN if name in batches[0]}
    prompts = rows["prompt_ids"].unique(dim=0, return_inverse=True)[1]
    still = (rows["advantages"] == 0) & moving_first
    order = (prompts + still * (prompts.max() + 1)).argsort(stable=True)
    parts = {name: values[order].chunk(len(batches)) for name, values in rows.items()}
    return [batch | {name: own[at] for name, own in parts.items()} for at, batch in enumerate(batches)]


class PackedModel:
    """Takes the model's place in TRL's `compute_loss`: same log-probabilities, each shared prompt read once.

    Completions of one prompt become branches of one sequence, prompt[:-1] + (prompt[-1] + completion[:-1]) for each,
    every branch seeing the prompt and itself only: P - 1 + sum(C) tokens instead of G (P + C). A sequence takes
    branches until it is `longest` tokens long, since attention grows with its square; sequences of like length are read
    together, about `at_once` tokens at a time (None: all in one call, as sharded training needs, where every process
    must call the model equally often). Models that `can_branch` refuses are called as they are, with explicit
    positions, so that trimmed padding moves no token.
    """

    def __init__(self, model, plain, width, longest=None, at_once=None):
        """model: what TRL calls (perhaps wrapped); plain: the bare model; width: columns of completion tokens."""
        self.model, self.plain, self.width, self.at_once = model, plain, width, at_once
        self.longest = longest or longest_of(plain)

    def __call__(self, input_ids, attention_mask, labels, fused_lm_head=True, **rest):
        """input_ids, attention_mask, labels (B, P + width) -> log_probs and entropy (B, width), 0 at padding."""
        if rest or not can_branch(self.plain):
            rest |= {"position_ids": (attention_mask.cumsum(1) - 1).clamp_min(0), "fused_lm_head": fused_lm_head}
            return self.model(input_ids=input_ids, attention_mask=attention_mask, labels=labels, **rest)
        sequences = self._sequences(input_ids.tolist(), attention_mask.tolist())
        where, found = [], []
        for batch in batches(sequences, self.at_once):
            tensors, targets, places = lay_out(batch, self.plain.dtype, input_ids.device)
            out = self.model(**tensors, shift_labels=targets, fused_lm_head=True, use_cache=False)
            found.append(torch.stack([out.log_probs, out.entropy])[:, targets != -100])  # (2, tokens)
            where += places
        rows, columns = torch.tensor(where, device=input_ids.device).T
        both = torch.arange(2, device=rows.device)[:, None]
        empty = found[0].new_zeros(2, len(input_ids), self.width)
        log_probs, entropy = empty.index_put((both, rows, columns), torch.cat(found, dim=1))
        return ModelOutput(log_probs=log_probs, entropy=entropy)

    def _sequences(self, ids, masks):
        """[(prompt, [(row, completion), ...])]: rows with one prompt together, cut where a sequence gets too long."""
        groups = {}
        for row, (tokens, mask) in enumerate(zip(ids, masks, strict=True)):
            prompt = tuple(t for t, m in zip(tokens[: -self.width], mask, strict=False) if m)
            done = [t for t, m in zip(tokens[-self.width :], mask[-self.width :], strict=True) if m]
            groups.setdefault(prompt, []).append((row, done))
        return split(groups.items(), self.longest)


def longest_of(model):
    """Tokens of a sequence up to which its dense attention costs no more than the matrix products that it spares."""
    return LONGEST * model.config.get_text_config().hidden_size


def split(groups, longest):
    """[(prompt, [(row, completion), ...])]: the groups, cut into sequences of at most about `longest` tokens."""
    sequences = []
    for prompt, branches in groups:
        length = longest + 1
        for branch in branches:
            if length + len(branch[1]) > longest:
                sequences.append((prompt, []))
                length = len(prompt) - 1
            sequences[-1][1].append(branch)
            length += len(branch[1])
    return sequences


def batches(sequences, at_once):
    """Sequences of like length together, so that little is padded; `at_once` tokens a batch, padding included.

    None: all in one batch.
    """
    found = [[]]
    for sequence in sorted(sequences, key=_length):  # each is the longest of its batch so far
        if at_once and found[-1] and (len(found[-1]) + 1) * _length(sequence) > at_once:
            found.append([])
        found[-1].append(sequence)
    return found


def lay_out(sequences, dtype, device):
    """The model's inputs (S, L), the target of every position (-100: none), and each target's (row, column)."""
    width = max(map(_length, sequences))
    lines, places = [], []
    for prompt, branches in sequences:
        at = len(prompt) - 1
        ids, owner, position, target = list(prompt[:-1]), [PROMPT] * at, list(range(at)), [-100] * at
        for number, (row, done) in enumerate(branches):
            ids += [prompt[-1], *done[:-1]]
            owner += [number] * len(done)
            position += range(at, at + len(done))
            target += done
            places += [(row, column) for column in range(len(done))]
        rest = width - len(ids)  # padding is a branch of its own that nobody sees
        padding = ((ids, 0), (owner, len(branches)), (position, 0), (target, -100))
        lines.append([line + [filler] * rest for line, filler in padding])
    ids, owner, positions, targets = torch.tensor(lines, device=device).transpose(0, 1).contiguous()
    mask = visibility(owner, owner, dtype, causal=True)  # a prompt position is its own owner's: it sees up to itself
    return {"input_ids": ids, "attention_mask": mask, "position_ids": positions}, targets, places


def _length(sequence):
    prompt, branches = sequence
    return len(prompt) - 1 + sum(len(done) for _, done in branches)


def read(model, tokens):
    """Logits (T, V) of what comes after each of the token ids of one text."""
    return model(input_ids=torch.tensor([tokens], device=model.device), use_cache=False).logits[0]


def entropies(model, ids: list[list[int]], top: int | None = None) -> list[list[float]]:
    """For each text and token the entropy in nats of what `model` expects there; infinite at the first token.

    The text alone is read, with no prompt around it. top: None for the full softmax; else of so many most likely tokens
    only (RPT sec. 3.3: 16), renormalised, so at most log(top). Whether RPT renormalises is not stated. Without it a
    spread over a hundred tokens would count as nearly certain, since the top 16 hold little of it.
    """
    found = []
    with evaluating(model):
        for tokens in ids:  # passages differ in length, and a step has few: no padding to reason about
            logits = read(model, tokens)[:-1]
            if top is not None:
                logits = logits.topk(min(top, logits.shape[-1])).values
            logp = logits.float().log_softmax(-1)  # (T - 1, V), or (T - 1, top)
            found.append([math.inf, *(-(logp.exp() * logp).sum(-1)).tolist()])
    return found


def probabilities(model, ids: list[list[int]], wanted: list[list[tuple[int, int]]]) -> list[list[float]]:
    """How likely `model` finds tokens that are not there: for each text and each (place, token id) of its `wanted` the
    probability of that token at that place, which counts in tokens from 1."""
    found = [[] for _ in ids]
    with evaluating(model):
        for tokens, asked, own in zip(ids, wanted, found, strict=True):
            if asked:
                places, others = torch.tensor(asked, device=model.device).T  # (N,), (N,)
                likely = read(model, tokens)[places - 1].float().softmax(-1)
                own += likely.gather(1, others[:, None])[:, 0].tolist()
    return found


def after(model, questions):
    """log p(token | text + branch) in nats: for each question a list with one number a branch.

    questions: (text, branches, token) each: token ids of the text (at least one), a list of lists of ids that go on
    from it (empty ones too), and the id asked for.
    """
    found = likelihoods(model, [(text, [(b, [token]) for b in branches]) for text, branches, token in questions])
    return [[own for (own,) in each] for each in found]


def likelihoods(model, questions):
    """log p(target token | text + branch + target tokens before it) in nats: for each question and branch a list.

    questions: (text, [(branch, target), ...]) each: token ids of the text (at least one), ids that go on from it (empty
    ones too), and the ids to be scored after those. Equal pairs are read once and get the very same numbers. A model
    that `can_branch` refuses (a recurrent state, a window) reads every branch with its text, padded on the right: a
    causal model does not see what comes later.
    """
    slots, together = {}, can_branch(model)  # slots: (question, branch, target) -> where its numbers will be
    for number, (_, pairs) in enumerate(questions):
        for branch, target in pairs:
            slots.setdefault((number, tuple(branch), tuple(target)), len(slots))
    groups, first, found = [(text, []) for text, _ in questions], {}, {}
    for (number, branch, target), slot in slots.items():  # as `PackedModel` reads completions, the target at the end
        groups[number][1].append((slot, [*branch, *target]))
        first[slot], found[slot] = len(branch), []
    with evaluating(model):
        if not slots:  # no answer was opened anywhere
            return [[] for _ in questions]
        for batch in batches(split(groups, longest_of(model) if together else 0), TOKENS_AT_ONCE):
            tensors, targets, places = lay_out(batch, model.dtype, model.device)
            scored = [column >= first[slot] for slot, column in places]
            asked = torch.tensor(scored, device=model.device)
            rows, columns = (index[asked] for index in (targets != -100).nonzero(as_tuple=True))
            if together:
                wanted, at = columns.unique(return_inverse=True)
                logits = model(**tensors, use_cache=False, logits_to_keep=wanted).logits[rows, at]
            else:
                logits = model(input_ids=tensors["input_ids"], use_cache=False).logits[rows, columns]
            logp = logits.float().log_softmax(-1).gather(1, targets[rows, columns][:, None])[:, 0]
            for (slot, _), value in zip(compress(places, scored), logp.tolist(), strict=True):
                found[slot].append(value)
    return [[found[slots[n, tuple(b), tuple(t)]] for b, t in pairs] for n, (_, pairs) in enumerate(questions)]
