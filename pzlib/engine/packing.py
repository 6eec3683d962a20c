"""Rows that teach nothing are left out of the loss, and prompts that completions share are read once.
No gradient moves by that. Leaves out models whose branches mix: those read every row by itself."""

import torch
from accelerate.utils import gather
from transformers.utils import ModelOutput

from pzlib.engine.sampling import PROMPT, can_branch, visibility
from pzlib.engine.shares import longest

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
    moving = (inputs["advantages"] != 0) & in_loss.any(dim=1)
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
    return kept


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
        """input_ids, attention_mask, labels (B, P + width) -> log_probs and entropy (B, width), 0 at
        padding."""
        if rest or not can_branch(self.plain):
            positions = (attention_mask.cumsum(1) - 1).clamp_min(0)
            given = {"input_ids": input_ids, "attention_mask": attention_mask, "position_ids": positions}
            return self.model(**given, labels=labels, fused_lm_head=fused_lm_head, **rest)
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
    return longest(model.config.get_text_config().hidden_size)


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
    sequences = sorted(sequences, key=_length)
    if at_once is None:
        return [sequences]
    found = [[]]
    for sequence in sequences:  # each is the longest of its batch so far
        if found[-1] and (len(found[-1]) + 1) * _length(sequence) > at_once:
            found.append([])
        found[-1].append(sequence)
    return found


def lay_out(sequences, dtype, device):
    """The model's inputs (S, L), the target of every position (-100: none), and each target's (row, column)."""
    width = max(map(_length, sequences))
    ids, owners, positions, targets, places = [], [], [], [], []
    for prompt, branches in sequences:
        at = len(prompt) - 1
        line, owner, place, target = list(prompt[:-1]), [PROMPT] * at, list(range(at)), [-100] * at
        for number, (row, done) in enumerate(branches):
            line += [prompt[-1], *done[:-1]]
            owner += [number] * len(done)
            place += range(at, at + len(done))
            target += done
            places += [(row, column) for column in range(len(done))]
        rest = width - len(line)
        ids.append(line + [0] * rest)
        owners.append(owner + [len(branches)] * rest)  # padding is a branch of its own that nobody sees
        positions.append(place + [0] * rest)
        targets.append(target + [-100] * rest)
    owner, targets = torch.tensor(owners, device=device), torch.tensor(targets, device=device)
    # A prompt position's own owner is PROMPT, so it sees the prompt up to itself.
    mask = visibility(owner, owner, dtype, causal=True)
    tensors = {
        "input_ids": torch.tensor(ids, device=device),
        "attention_mask": mask,
        "position_ids": torch.tensor(positions, device=device),
    }
    return tensors, targets, places


def _length(sequence):
    prompt, branches = sequence
    return len(prompt) - 1 + sum(len(done) for _, done in branches)
