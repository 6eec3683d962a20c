"""A moving average of the weights: RLP's baseline, a frozen copy that follows the policy and survives a kill with it.
Leaves out sharded weights (FSDP, ZeRO-3): the copy is whole on every process, and so must the policy be."""

import copy

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from pzlib.engine.models import merged

FILE = "average.safetensors"


class Average(TrainerCallback):
    """phi <- keep * phi + (1 - keep) * theta after each optimizer step (RLP section 3.1), phi = theta at the first.

    model: the policy as loaded, before a trainer changes its `forward`: what is copied here must not call what is
    trained. `self.model` is the copy: the weights once more, in eval mode, without gradients or optimizer state. It
    lies in every checkpoint as one more file, which the checkpoint's manifest lists like the others.
    Of a policy with an adapter it follows the merged weights: an average of the adapter's two factors would be another
    one, and would change with how their product is split between them.
    Weights stay float32: in bfloat16 a step of 1 - keep = 0.001 would be lost to rounding.

    >>> theta = torch.nn.Linear(1, 1, bias=False)
    >>> average = Average(theta, keep=0.75)
    >>> with torch.no_grad():
    ...     _ = average.model.weight.fill_(1.0), theta.weight.fill_(5.0)
    >>> average.on_optimizer_step(None, None, None, theta)
    >>> average.model.weight.item()
    2.0
    """

    def __init__(self, model, keep):
        self.model, self.keep = copy.deepcopy(model).requires_grad_(False).eval(), keep

    def on_train_begin(self, args, state, control, model, **_):
        """Goes where the policy is; of a run that goes on, takes what its checkpoint holds."""
        self.model.to(model.device)
        if state.global_step:
            held = load_file(f"{args.output_dir}/checkpoint-{state.global_step}/{FILE}")
            own = dict(self.model.named_parameters())
            if held.keys() != own.keys():
                raise ValueError(f"{FILE}: holds other weights than the model; delete the checkpoint it lies in")
            for name, weight in own.items():
                weight.copy_(held[name])

    @torch.no_grad()
    def on_optimizer_step(self, args, state, control, model, **_):
        own = dict(self.model.named_parameters())  # a tied weight once, while `merged` gives it by both of its names
        for name, weight in merged(model):
            if name in own:
                own[name].lerp_(weight.to(own[name].dtype), 1 - self.keep)

    def on_save(self, args, state, control, **_):
        if state.is_world_process_zero:
            weights = {name: weight.contiguous() for name, weight in self.model.named_parameters()}
            save_file(weights, f"{args.output_dir}/checkpoint-{state.global_step}/{FILE}")
