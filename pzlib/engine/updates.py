"""How TRL's trainers learn a step: a batch in several updates, each role over its own tokens, by a method's own loss.
Leaves out which rows meet in an update: TRL shuffles a process's rows and cuts them into equal parts."""

import copy
import os

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from transformers import TrainerCallback
from trl import SFTTrainer


class PerBatch(TrainerCallback):
    """Hands the trainer's events on to `callbacks` as if a batch were one step, though it gets several updates.

    They see steps that count batches, begin before a batch's first update and end after its last. A checkpoint is
    renamed from the number of its update to that of its step; it is written between batches only, so that the trainer
    holds no rows. Each update's own events (before and after the optimizer, between micro-batches) reach them all.
    """

    def __init__(self, callbacks, updates):
        self.callbacks, self.updates = callbacks, updates

    def _hand_on(self, event, args, state, control, kwargs):
        seen = copy.copy(state)
        seen.global_step = state.global_step // self.updates
        for callback in self.callbacks:
            getattr(callback, event)(args, seen, control, **kwargs)

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step % self.updates == 0:
            self._hand_on("on_step_begin", args, state, control, kwargs)

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step % self.updates == 0:
            self._hand_on("on_step_end", args, state, control, kwargs)

    def on_save(self, args, state, control, **kwargs):
        PartialState().wait_for_everyone()  # each process writes its own random state
        if state.is_world_process_zero:
            at = f"{args.output_dir}/checkpoint-"
            os.rename(f"{at}{state.global_step}", f"{at}{state.global_step // self.updates}")
        PartialState().wait_for_everyone()
        self._hand_on("on_save", args, state, control, kwargs)


def _handed_on(event):
    return lambda self, args, state, control, **kwargs: self._hand_on(event, args, state, control, kwargs)


for _event in ("train_begin", "train_end", "substep_end", "pre_optimizer_step", "optimizer_step", "log"):
    setattr(PerBatch, f"on_{_event}", _handed_on(f"on_{_event}"))


def of_generator(inputs, method):
    """Which rows of TRL's batch the generator wrote, (B,) booleans: those whose prompt asked for a mask.

    >>> from types import SimpleNamespace
    >>> asked = SimpleNamespace(mask_prompts={(7, 8)})
    >>> of_generator({"prompt_ids": torch.tensor([[0, 7, 8], [7, 8, 9]]),
    ...               "prompt_mask": torch.tensor([[0, 1, 1], [1, 1, 1]])}, asked).tolist()
    [True, False]
    """
    rows = zip(inputs["prompt_ids"].tolist(), inputs["prompt_mask"].tolist(), strict=True)
    found = [tuple(i for i, m in zip(ids, mask, strict=True) if m) in method.mask_prompts for ids, mask in rows]
    return torch.tensor(found, device=inputs["prompt_ids"].device)


def amended(inputs, method):
    """TRL's batch with the advantages that a run's settings make of TRL's: a role weighed, or each token's own."""
    if method.run.generator_weight:
        return weighted(inputs, method, method.run.generator_weight)
    return each_token(inputs, method.learned) if method.run.answer_term else inputs


def each_token(inputs, learned):
    """TRL's batch with advantages (B, C): of a row in `learned`, by (prompt ids, completion ids), a list of its own,
    of another one TRL's at every token.

    >>> ids, mask = torch.tensor([[5, 6, 0]]), torch.tensor([[1, 1, 0]])
    >>> batch = {"prompt_ids": torch.tensor([[7]]), "prompt_mask": torch.tensor([[1]]), "completion_ids": ids,
    ...          "completion_mask": mask, "advantages": torch.tensor([0.5])}
    >>> [each_token(batch, known)["advantages"].tolist() for known in ({}, {((7,), (5, 6)): [2.0, 3.0]})]
    [[[0.5, 0.5, 0.5]], [[2.0, 3.0, 0.0]]]
    """
    rows = zip(*(inputs[f"{part}_{kind}"].tolist() for part in ("prompt", "completion") for kind in ("ids", "mask")),
               strict=True)  # fmt: skip
    advantages = inputs["advantages"][:, None].repeat(1, inputs["completion_ids"].shape[1])
    for row, (prompt, shown, done, kept) in enumerate(rows):
        key = tuple(tuple(i for i, m in zip(*pair, strict=True) if m) for pair in ((prompt, shown), (done, kept)))
        if key in learned:
            own = learned[key]
            advantages[row] = 0.0
            advantages[row, : len(own)] = advantages.new_tensor(own)
    return inputs | {"advantages": advantages}


def weighted(inputs, method, weight):
    """TRL's batch with advantages under which its loss is the predictor's over the predictor's tokens plus `weight`
    times the generator's over the generator's, as a sum of two GRPO losses is.

    TRL divides by all N tokens in the loss; a role with n of them is multiplied by N / n. A per-token loss without KL
    or bonus is proportional to the advantage, so the factor may be the advantage's.
    """
    generator, total = of_generator(inputs, method), inputs["num_items_in_batch"].clamp(min=1.0)
    own, other = (total / max(1, method.loss_tokens[role]) for role in ("generator", "predictor"))
    return inputs | {"advantages": inputs["advantages"] * torch.where(generator, weight * own, other)}


class Clips(TrainerCallback):
    """Counts the tokens that a clip stops, role by role, and gives their share to the step's metrics.

    `<role>/ratio_clipped` is the share, of the role's tokens in rows with an advantage, whose ratio to the policy that
    sampled them is beyond the clip on the side where it acts; over all updates of a batch and all processes. None
    where the role had no such token. With one update a batch the ratio is 1, so nobody counts.
    """

    def __init__(self, method, args):
        self.method, self.args = method, args
        self.counts = torch.zeros(2, 2, dtype=torch.long)  # predictor, generator: (clipped, tokens)

    def listening(self, model):
        """The model as TRL calls it; what it finds is kept for `count`."""

        def call(**inputs):
            out = model(**inputs)
            self.found = out.log_probs.detach()
            return out

        return call

    def count(self, inputs):
        """Adds a batch of TRL's, whose log-probabilities the model has just given."""
        mask = (inputs["completion_mask"] * inputs.get("tool_mask", 1)).bool()
        mask &= inputs["advantages"][:, None] != 0
        log_ratio = (self.found[:, -mask.shape[1] :] - inputs["old_per_token_logps"]) * mask
        if self.args.importance_sampling_level == "sequence":
            log_ratio = (log_ratio.sum(1) / mask.sum(1).clamp(min=1))[:, None].expand_as(log_ratio)
        clipped = mask & self._stopped(log_ratio.exp(), inputs["advantages"][:, None])
        generator = of_generator(inputs, self.method)
        for role, rows in enumerate((~generator, generator)):
            self.counts[role] += torch.stack([clipped[rows].sum(), mask[rows].sum()]).cpu()

    def _stopped(self, ratio, advantages):
        """Where TRL's loss has no gradient, or for cispo a capped one."""
        args = self.args
        if args.loss_type == "cispo":
            return (ratio > args.epsilon_high) & (advantages > 0)
        low = (ratio < 1 - args.epsilon) | (ratio > (args.delta or float("inf")))
        return (low & (advantages < 0)) | ((ratio > 1 + args.epsilon_high) & (advantages > 0))

    def on_step_end(self, args, state, control, **_):
        counts = sum(torch.tensor(own) for own in gather_object([self.counts.tolist()]))
        for role, (clipped, tokens) in zip(("predictor", "generator"), counts.tolist(), strict=True):
            if role == "predictor" or self.method.has_generator:
                self.method.metrics[f"{role}/ratio_clipped"] = clipped / tokens if tokens else None
        self.counts.zero_()


class OwnLoss(SFTTrainer):
    """SFTTrainer whose loss may be the method's own."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if not self.method.compute_loss:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        loss = self.method.compute_loss(model, inputs, self.accelerator.num_processes)
        return loss * self.current_gradient_accumulation_steps  # by which the trainer divides a loss without a count
