"""A thought after every token of a text, grown and read in parallel: branches of one sequence that open all along it.
Leaves out batches of texts: each is read alone, its branches together; so a GPU is kept busy by long texts only."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import DynamicCache, TrainerCallback

from pzlib.engine.models import bare, evaluating
from pzlib.engine.packing import longest_of
from pzlib.engine.sampling import can_branch, draw

FILE = "thoughts.safetensors"  # beside a model's weights and in every checkpoint
START, END = 0, 1  # rows of `Head.marks`


class Head(torch.nn.Module):
    """What Quiet-STaR learns beside the model: the start and the end of a thought, and how far a thought is believed.

    marks: two embeddings (2, H), kept divided by `scale`, so that Adam moves them `scale` times as fast. mix: an MLP of
    three layers with ReLU, from the states of a text token and of its thought's end (2H) to a logit.
    """

    def __init__(self, model, dash, scale, seed):
        """dash: ids of the tokens whose mean embedding both marks start from; seed: of the MLP's weights."""
        super().__init__()
        embeddings = model.get_input_embeddings().weight.detach()
        width, self.scale = embeddings.shape[1], scale
        self.marks = torch.nn.Parameter(embeddings[dash].mean(0).repeat(2, 1) / scale)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers = [(2 * width, width), (width, width), (width, 1)]
            first, second, last = (torch.nn.Linear(*sizes) for sizes in layers)
        self.mix = torch.nn.Sequential(first, torch.nn.ReLU(), second, torch.nn.ReLU(), last)

    def believed(self, state, thought):
        """The weight in 0..1 of a thought's prediction, (B, 1), from two states (B, H)."""
        return torch.sigmoid(self.mix(torch.cat([state, thought], dim=-1).to(self.marks.dtype)))

    def load(self, folder):
        """Take the weights in `folder`, where it holds some."""
        path = Path(folder) / FILE
        if path.is_file():
            self.load_state_dict(load_file(path))

    def save(self, folder):
        save_file({name: weight.contiguous() for name, weight in self.state_dict().items()}, Path(folder) / FILE)


class HeadKept(TrainerCallback):
    """Writes the Head into every checkpoint, and takes it from the one that a run goes on from."""

    def __init__(self, head):
        self.head = head

    def on_train_begin(self, args, state, control, **_):
        if state.global_step:
            self.head.load(f"{args.output_dir}/checkpoint-{state.global_step}")

    def on_save(self, args, state, control, **_):
        if state.is_world_process_zero:
            self.head.save(f"{args.output_dir}/checkpoint-{state.global_step}")


def attach(model, head):
    """Make the Head a part of the model that is trained, but not of the model that is saved: any program that reads the
    plain model reads what is left."""
    model.thoughts = head
    own = [f"thoughts.{name}" for name in head.state_dict()]
    model._keys_to_ignore_on_save = [*(model._keys_to_ignore_on_save or ()), *own]


def seen(places, prefix, width, dtype, device):
    """The additive mask (1, 1, L, L), L = prefix + B x width, of B branches that open behind the tokens `places` (B,).

    A text token sees the text up to itself, a branch the text up to its place and itself.

    >>> mask = seen(torch.tensor([0, 1]), 2, 1, torch.float32, "cpu")
    >>> (mask[0, 0] == 0).int().tolist()
    [[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 0, 1]]
    """
    text = torch.arange(prefix, device=device)
    last = torch.cat([text, places.repeat_interleave(width)])  # of the text that each position sees
    owner = torch.cat([torch.full_like(text, -1), torch.arange(len(places), device=device).repeat_interleave(width)])
    of_text = torch.arange(len(owner), device=device) < prefix
    visible = torch.where(of_text, torch.arange(len(owner), device=device) <= last[:, None], owner == owner[:, None])
    return torch.zeros(visible.shape, dtype=dtype, device=device).masked_fill_(~visible.tril(), torch.finfo(dtype).min)[
        None, None
    ]


def grow(model, head, ids, uniforms, temperature=1.0):
    """Thoughts (T, G, M) after each token of a text but its last, as token ids.

    ids (T + 1,); uniforms (T, G, M) in [0, 1). As `sampling.sample` does for one place, by the same inverse CDF. A
    model that `can_branch` refuses reads each thought with its text, without a cache.
    """
    places, thoughts, length = uniforms.shape
    device, text = ids.device, ids[:-1]
    at = torch.arange(places, device=device).repeat_interleave(thoughts)  # (B,), B = T x G
    drawn, uniforms = [], uniforms.flatten(0, 1).to(device)
    with evaluating(model), torch.no_grad():
        if not can_branch(model):
            for step in range(length):
                found = [_alone(model, head, text[: p + 1], [d[b] for d in drawn]) for b, p in enumerate(at.tolist())]
                drawn.append(draw(torch.stack(found), uniforms[:, step], temperature)[0])
            return torch.stack(drawn, 1).view(places, thoughts, length)
        cache, embed = DynamicCache(), model.get_input_embeddings()
        model(input_ids=text[None], past_key_values=cache, use_cache=True, logits_to_keep=1)
        low = torch.finfo(model.dtype).min
        own = torch.zeros(len(at), len(at), dtype=model.dtype, device=device).fill_(low).fill_diagonal_(0)
        before = torch.arange(places, device=device) <= at[:, None]
        mask = torch.zeros(before.shape, dtype=model.dtype, device=device).masked_fill_(~before, low)
        for step in range(length):
            tokens = embed(drawn[-1]) if drawn else (head.marks[START] * head.scale).expand(len(at), -1)
            mask = torch.cat([mask, own], dim=1)
            out = model(
                inputs_embeds=tokens[None].to(embed.weight.dtype), attention_mask=mask[None, None],
                position_ids=(at + 1 + step)[None], past_key_values=cache, use_cache=True,
            )  # fmt: skip
            drawn.append(draw(out.logits[0], uniforms[:, step], temperature)[0])
    return torch.stack(drawn, 1).view(places, thoughts, length)


def _alone(model, head, text, thought):
    """Logits (V,) behind one text and the start of its thought."""
    embed = model.get_input_embeddings()
    parts = [embed(text), head.marks[START:END] * head.scale, *(embed(token)[None] for token in thought)]
    return model(inputs_embeds=torch.cat(parts)[None], use_cache=False).logits[0, -1]


def read(model, head, ids, thoughts, talk):
    """What a text and its thoughts predict, with gradients: a dict.

    ids (T + 1,), thoughts (T, G, M), talk: how many true tokens a thought is tried on, each after the true ones before
    it. `bare` (T, talk, V): logits without a thought of the tokens 1 ... talk further on; `after` (T, G, talk, V): with
    it; `thought` (T, G, M, V): logits of the thought's own tokens; `weight` (T, G, 1): how far it is believed;
    `targets` (T, talk): the true tokens, -100 beyond the end.
    """
    plain, device = bare(getattr(model, "module", model)), ids.device
    places, count, length = thoughts.shape
    ahead = torch.arange(places, device=device)[:, None] + torch.arange(1, talk + 1, device=device)  # (T, talk)
    inside = ahead <= places
    targets = torch.where(inside, ids[ahead.clamp(max=places)], -100)
    out = model(input_ids=ids[None, :-1], output_hidden_states=True, use_cache=False)
    logits, states = out.logits[0], out.hidden_states[-1][0]
    found = {"bare": logits[(ahead - 1).clamp(max=places - 1)], "targets": targets}
    embed, marks, width = plain.get_input_embeddings(), head.marks * head.scale, length + 1 + talk
    start, end = (mark.expand(places * count, 1, -1) for mark in marks)
    future = ids[ahead[:, :-1].clamp(max=places)].repeat_interleave(count, 0)  # (B, talk - 1)
    branches = torch.cat([start, embed(thoughts.flatten(0, 1)), end, embed(future)], dim=1)  # (B, M + 1 + talk, H)
    at = torch.arange(places, device=device).repeat_interleave(count)
    together, ends, parts = can_branch(plain), [], []
    most = max(1, (longest_of(plain) - places) // width) if together else 1
    for first in range(0, len(at), most):
        part, own = branches[first : first + most], at[first : first + most]
        prefix = int(own.max()) + 1
        line = torch.cat([embed(ids[:prefix]), part.flatten(0, 1)])[None]
        how = {}
        if together:
            place = (own[:, None] + 1 + torch.arange(width, device=device)).flatten()
            how["position_ids"] = torch.cat([torch.arange(prefix, device=device), place])[None]
            how["attention_mask"] = seen(own, prefix, width, plain.dtype, device)
            how["logits_to_keep"] = len(own) * width
        out = model(inputs_embeds=line.to(embed.weight.dtype), output_hidden_states=True, use_cache=False, **how)
        parts.append(out.logits[0, -len(own) * width :].unflatten(0, (len(own), width)))
        ends.append(out.hidden_states[-1][0, prefix:].unflatten(0, (len(own), width))[:, length + 1])
    logits = torch.cat(parts).unflatten(0, (places, count))  # (T, G, width, V)
    weight = head.believed(states[at], torch.cat(ends)).unflatten(0, (places, count))
    return found | {"thought": logits[:, :, :length], "after": logits[:, :, length + 1 :], "weight": weight}
