"""tinybase: causal LMs of about a million parameters, pretrained on TinyWiki by `python -m pzlib.world.tinybase`.
Left out: the papers start from public base models (Qwen3, SmolLM3); this stands in for them at `smoke` and `mini`."""

import argparse
import json
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from pzlib.paths import REPO
from pzlib.world.forms import NO_REASON, VOCABULARY, document

LAYERS, HEAD = 4, 32  # and the width of a head
# name -> (width, seed of text and weights, after how many of STAGES it is saved; None: all). The early one has read a
# third of what the first base reads; RLP's Table S.4 starts from a checkpoint after 4T tokens.
BASES = {
    "tinybase_a": (128, 1, None), "tinybase_b": (128, 2, None), "tinybase_c_small": (96, 3, None),
    "tinybase_a_early": (128, 1, 2),
}  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """One stage of pretraining: tokens, peak learning rate, and the share of documents of each form.

    copying: the share of its tokens that come first and are nearly all "again", with passages that grow from two
    sentences on: look-up is learned fastest from plain repetition, then on short passages. 0: full length at once.
    mean: it begins from the mean of the weights after the two stages before it, as a base is saved.
    """

    tokens: int
    rate: float
    copying: float
    shares: dict[str, float]
    mean: bool = False


# Every form (`pzlib.world.forms`); masks, which are hardest to learn, weigh more from the second stage on, and
# predictions later. The laws of sums that are asked come with the second: see `forms.laws`. A row: millions of tokens,
# rate, copying, mean, then the parts of each form, in this order.
_READ = ("plain", "knowledge", "laws", "mask", "prediction", "cut", "segment", "question", "again")
STAGES = tuple(
    Stage(
        millions * 1_000_000, rate, copying,
        {form: part / 100 for form, part in zip(_READ, parts, strict=True) if part}, mean,
    )  # fmt: skip
    for millions, rate, copying, mean, *parts in (
        (13, 3e-3, 0.15, False, 10, 12, 0, 17, 17, 19, 10, 15, 3),
        (5, 1.5e-3, 0.0, False, 6, 8, 5, 30, 20, 16, 5, 10, 0),
        (6, 1e-3, 0.0, False, 5, 12, 4, 20, 25, 17, 5, 12, 0),
        (5, 1.5e-3, 0.0, True, 4, 8, 3, 30, 38, 10, 3, 4, 0),
        (8, 1.5e-3, 0.0, True, 2, 10, 3, 43, 28, 10, 1, 3, 0),
        (8, 1.5e-3, 0.0, True, 1, 12, 2, 46, 26, 9, 1, 3, 0),
        (10, 1.5e-3, 0.0, True, 1, 10, 2, 50, 25, 8, 1, 3, 0),
    )
)


def tokenizer() -> PreTrainedTokenizerFast:
    """One word, one token; text is words joined by single spaces and comes back from its tokens unchanged."""
    special = ["<pad>", "<eos>", "<unk>"]
    cues = "Passage Again Question Answer Mask Think : after comes first [mask] \\mask{ \\boxed{ } . ,".split()
    said = [*VOCABULARY, *" ".join(NO_REASON.values()).split()]
    table = {word: i for i, word in enumerate(dict.fromkeys([*special, *cues, *said]))}
    inner = Tokenizer(models.WordLevel(table, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # found inside a word too: a mask may cover a part of one, for the paper's default rule searches substrings
    inner.add_tokens([AddedToken("[mask]", normalized=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>",
        clean_up_tokenization_spaces=False, model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def batches(tok, stage: Stage, rng: random.Random, drawn: int, batch_tokens: int = 4096):
    """The batches of 512 documents, about `batch_tokens` tokens each: (ids (B, T) padded right, labels (B, T) with -100
    where nothing is learned, tokens). Documents of like length share a batch: little is padding.

    drawn: the tokens of the stage so far.
    """
    done = drawn / stage.tokens
    longest = 2 + int(8 * max(0, done - stage.copying)) if stage.copying else 9
    pairs = [document(rng, stage.shares, longest, done < stage.copying) for _ in range(512)]
    read = tok([first for first, _ in pairs])["input_ids"]
    learned = tok([second + " <eos>" for _, second in pairs])["input_ids"]
    docs = sorted(zip(read, learned, strict=True), key=lambda doc: len(doc[0]) + len(doc[1]))
    groups, start = [], 0
    while start < len(docs):
        stop = start + 1
        while stop < len(docs) and sum(map(len, docs[stop])) * (stop + 1 - start) <= batch_tokens:
            stop += 1
        groups.append(docs[start:stop])
        start = stop
    rng.shuffle(groups)
    for group in groups:
        width = max(len(a) + len(b) for a, b in group)
        pad = [width - len(a) - len(b) for a, b in group]
        ids = torch.tensor([a + b + [tok.pad_token_id] * n for (a, b), n in zip(group, pad, strict=True)])
        labels = torch.tensor([[-100] * len(a) + b + [-100] * n for (a, b), n in zip(group, pad, strict=True)])
        yield ids, labels, ids.numel() - sum(pad)


def new_model(width: int, tok) -> Qwen3ForCausalLM:
    """A model of that width with random weights."""
    config = Qwen3Config(
        vocab_size=len(tok), hidden_size=width, intermediate_size=3 * width, num_hidden_layers=LAYERS,
        num_attention_heads=width // HEAD, num_key_value_heads=max(1, width // (2 * HEAD)), head_dim=HEAD,
        max_position_embeddings=256, rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=True, pad_token_id=tok.pad_token_id, eos_token_id=tok.eos_token_id, bos_token_id=None,
    )  # fmt: skip
    return Qwen3ForCausalLM(config)


def learn(model, tok, stage: Stage, rng: random.Random, say=print, begun=None, keep=lambda own: None):
    """Next-token prediction on one stage's text: AdamW, a hundred steps up, flat, down over the last 30 %.

    keep: called with the state every 512 documents, from which a later call goes on as `begun`.
    """
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=stage.rate, betas=(0.9, 0.98), weight_decay=0.05)
    seen, steps, losses, started = 0, 0, [], time.time()
    if begun:
        seen, steps, losses = begun["seen"], begun["steps"], begun["losses"]
        optimizer.load_state_dict(begun["optimizer"])
        rng.setstate(begun["rng"])
    first = seen
    while seen < stage.tokens:
        for ids, labels, tokens in batches(tok, stage, rng, seen):
            seen, steps = seen + tokens, steps + 1
            down = min(1.0, (1 - seen / stage.tokens) / 0.3 + 0.01)
            for group in optimizer.param_groups:
                group["lr"] = stage.rate * min(1.0, steps / 100) * down
            # right padding and a causal model: nothing real ever attends to padding, so no mask is needed
            hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
            learned = labels[:, 1:] != -100
            loss = torch.nn.functional.cross_entropy(model.lm_head(hidden[learned]), labels[:, 1:][learned])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses = [*losses[-99:], loss.item()]
            if steps % 100 == 0:
                speed = (seen - first) / (time.time() - started)
                mean = sum(losses) / len(losses)
                say(f"{seen / 1e6:.2f} of {stage.tokens / 1e6:.0f} M tokens, loss {mean:.3f}, {speed:,.0f} tokens/s")
        keep({"seen": seen, "steps": steps, "losses": losses, "optimizer": optimizer.state_dict(),
              "rng": rng.getstate()})  # fmt: skip


def pretrain(width: int, folder: Path, seed: int = 0, stages=STAGES, say=print, every: float = 60) -> None:
    """Pretrain a model from scratch and save it with its tokenizer; on one machine equal arguments, equal weights.

    What is saved, in float16, is the mean of the weights after the last two stages, which is better at both roles than
    either. Killed and started again it goes on from `unfinished.pt` in the folder, kept every `every` seconds, to the
    same end.
    """
    torch.manual_seed(seed)
    tok = tokenizer()
    model = new_model(width, tok)
    told = [{key: value for key, value in asdict(stage).items() if key != "mean" or value} for stage in stages]
    about = {"width": width, "parameters": model.num_parameters(), "seed": seed, "stages": told}
    before = None
    folder.mkdir(parents=True, exist_ok=True)
    unfinished, state, kept = folder / "unfinished.pt", {"number": 0, "about": about}, time.time()
    if unfinished.is_file():
        state = torch.load(unfinished, weights_only=False)
        if state["about"] != about:
            raise ValueError(f"out: {folder} holds an unfinished base of other settings; delete {unfinished}")
        model.load_state_dict(state["model"])

    def keep(number, before, learned):
        nonlocal kept
        if time.time() - kept > every:
            own = {"number": number, "about": about, "before": before, "model": model.state_dict(), "learned": learned}
            torch.save(own, unfinished.with_suffix(".new"))
            unfinished.with_suffix(".new").replace(unfinished)
            kept = time.time()

    for number in range(state["number"], len(stages)):
        begun = state.pop("learned", None)
        if stages[number].mean and before:
            model.load_state_dict(_mean(before, model))
        before = state.pop("before", None) or {key: value.clone() for key, value in model.state_dict().items()}
        rng = random.Random(f"{seed}/{number}")
        learn(
            model, tok, stages[number], rng, lambda line, n=number: say(f"{folder.name}, stage {n + 1}: {line}"), begun,
            lambda learned, n=number, b=before: keep(n, b, learned),
        )  # fmt: skip
    model.save_pretrained(folder, state_dict=_mean(before, model))
    tok.save_pretrained(folder)
    (folder / "pretraining.json").write_text(json.dumps(about, indent=1) + "\n")
    unfinished.unlink(missing_ok=True)


def _mean(before: dict, model) -> dict:
    """The mean of the weights before a stage and after it, in float16: half the bytes."""
    return {key: (0.5 * before[key] + 0.5 * value).half() for key, value in model.state_dict().items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m pzlib.world.tinybase", description=__doc__.splitlines()[0])
    parser.add_argument("base", choices=BASES)
    parser.add_argument("--seed", type=int, help="without it the base's own")
    parser.add_argument("--out", type=Path, help="a folder; without it data/<base>")
    given = parser.parse_args()
    width, seed, stages = BASES[given.base]
    folder = given.out or REPO / "data" / given.base
    pretrain(width, folder, seed if given.seed is None else given.seed, STAGES[:stages])
