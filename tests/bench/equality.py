"""How far row dropping moves the gradient from TRL's own, beside what TRL's own rounding moves it.
Leaves out the loss's value: two equal gradients may belong to losses that differ by a constant."""

import torch
from torch.nn.functional import pad
from trl import GRPOTrainer

MORE_PADDING = 7  # columns



def gradient_changes(trainer, batches):
    """The largest relative change ||g' - g|| / ||g|| over TRL batches, by name, 0.0 where g is zero both times.

    * "float32": row dropping against TRL as it is.
    * "padding": TRL as it is against itself with 7 more columns of padding. It gives the model no positions, so
      padding shifts them, and the rounding of the rotary angles with them: this is the noise in its gradient.
    * "exact": row dropping against TRL's loss over all rows, both at the same positions and in float64 weights;
      what is left is the float32 of transformers' norms and of TRL's log-probabilities.

    The trainer's model is in float32 and train mode before and after; its gradients are overwritten.
    """
    model, worst = trainer.model.train(), {"float32": 0.0, "padding": 0.0, "exact": 0.0}
    dropped = trainer.drop_rows

    def placed(attention_mask, **rest):
        return model(attention_mask=attention_mask, position_ids=(attention_mask.cumsum(1) - 1).clamp_min(0), **rest)

    def gradient(inputs, drop, called=model):
        trainer.drop_rows = drop
        model.zero_grad()
        compute = trainer.compute_loss if drop else lambda *x: GRPOTrainer.compute_loss(trainer, *x)
        compute(called, inputs).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()]).double()

    def note(name, changed, reference):
        size = reference.norm().item()
        worst[name] = max(worst[name], (changed - reference).norm().item() / (size or 1.0))

    for inputs in batches:
        plain = gradient(inputs, drop=False)
        note("float32", gradient(inputs, drop=True), plain)
        wider = {k: pad(inputs[k], (MORE_PADDING, 0)) for k in ("prompt_ids", "prompt_mask")}
        note("padding", gradient(inputs | wider, drop=False), plain)
    model.double()
    for inputs in batches:
        exact = {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()}
        note("exact", gradient(exact, drop=True), gradient(exact, drop=False, called=placed))
    model.float()
    trainer.drop_rows = dropped
    return worst
