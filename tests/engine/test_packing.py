"""Row dropping and packing against TRL's own forward: the same log-probabilities and the same gradient."""

from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM, MistralConfig, MistralForCausalLM
from trl import GRPOConfig
from trl.trainer.utils import add_fused_lm_head

from pzlib.engine.packing import PackedModel, check_drop_rows, in_prompt_order, keep_moving_rows, prompts_together


def batch(prompts, completions):
    """TRL's layout: prompts padded on the left, completions on the right; advantages 0 for every third
    row."""
    P, C = (
        max(map(len, prompts)) + 2,
        max(map(len, completions)) + 3,
    )  # more padding than needed, as beside longer rows

    def pad(rows, width, left):
        full = [[0] * (width - len(r)) + r if left else r + [0] * (width - len(r)) for r in rows]
        mask = [
            [0] * (width - len(r)) + [1] * len(r) if left else [1] * len(r) + [0] * (width - len(r))
            for r in rows
        ]
        return torch.tensor(full), torch.tensor(mask)

    (p, pm), (c, cm) = pad(prompts, P, True), pad(completions, C, False)
    advantages = torch.tensor([0.0 if i % 3 == 2 else (-1.0) ** i * (1 + i) for i in range(len(prompts))])
    return {
        "prompt_ids": p,
        "prompt_mask": pm,
        "completion_ids": c,
        "completion_mask": cm,
        "advantages": advantages,
        "tool_mask": torch.ones_like(c),
        "num_items_in_batch": cm.sum(),
    }


PROMPTS = [[5, 6, 7, 8]] * 4 + [[9]] * 3 + [[5, 6, 7]] * 2
COMPLETIONS = [
    [10, 11, 1],
    [12, 1],
    [13, 14, 15, 16, 17],
    [1],
    [18, 19],
    [20],
    [21, 22, 23, 1],
    [24, 25],
    [26],
]


@pytest.fixture
def model(tiny_model):
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    return model.train()


def scored(model, inputs):
    """(log-probabilities, entropies, loss, gradients) as TRL's compute_loss gets them from what stands for
    the model."""
    width = inputs["completion_ids"].shape[1]
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :-width] = -100
    out = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
    logp, entropy = out.log_probs[:, -width:], out.entropy[:, -width:]
    weight = inputs["completion_mask"] * inputs["tool_mask"] * inputs["advantages"][:, None]
    loss = -(logp.sub(logp.detach()).exp() * weight).sum() / inputs["num_items_in_batch"]
    bare = getattr(model, "plain", model)
    bare.zero_grad()
    loss.backward()
    return (
        logp.detach(),
        entropy.detach(),
        loss.detach(),
        torch.cat([p.grad.flatten() for p in bare.parameters()]),
    )


@pytest.mark.parametrize("sizes", [{}, {"longest": 8}, {"at_once": 16}, {"longest": 1, "at_once": 1}])
def test_packed_equals_plain_token_by_token(model, sizes):
    inputs = batch(PROMPTS, COMPLETIONS)
    want = scored(model, inputs)
    packed = PackedModel(model, model, inputs["completion_ids"].shape[1], **sizes)
    got = scored(packed, inputs)
    real = inputs["completion_mask"].bool()
    assert torch.allclose(got[0][real], want[0][real], atol=2e-6) and torch.allclose(
        got[1][real], want[1][real], atol=2e-6
    )
    assert not got[0][~real].any() and not got[1][~real].any()
    assert (got[3] - want[3]).norm() < 1e-6 * want[3].norm()


def test_dropping_and_packing_leave_the_gradient_equal_to_a_millionth(model):
    inputs = batch(PROMPTS, COMPLETIONS)
    inputs["tool_mask"][4] = 0  # a row outside the loss, though its advantage is not 0
    want = scored(model, inputs)
    kept = keep_moving_rows(inputs)
    assert len(kept["advantages"]) == 5 < len(PROMPTS)
    got = scored(PackedModel(model, model, kept["completion_ids"].shape[1]), kept)
    assert want[3].norm() > 0 and (got[3] - want[3]).norm() < 1e-6 * want[3].norm()
    assert got[2] == pytest.approx(want[2].item(), rel=1e-5)


def test_keep_moving_rows_by_hand():
    inputs = batch([[5, 6, 7, 8], [9], [5, 6]], [[1], [10, 11, 1], [12, 13, 14, 15]])
    inputs["advantages"] = torch.tensor([0.0, 1.0, -1.0])
    kept = keep_moving_rows(inputs)
    assert kept["prompt_ids"].tolist() == [[0, 9], [5, 6]] and kept["prompt_mask"].tolist() == [
        [0, 1],
        [1, 1],
    ]
    assert kept["completion_ids"].tolist() == [[10, 11, 1, 0], [12, 13, 14, 15]]
    assert kept["num_items_in_batch"] == 8, "the divisor counts all rows, dropped ones too"


def test_where_no_row_moves_one_is_kept_and_its_gradient_is_zero(model):
    inputs = batch(PROMPTS, COMPLETIONS)
    inputs["advantages"].zero_()
    kept = keep_moving_rows(inputs)
    assert len(kept["advantages"]) == 1
    gradient = scored(PackedModel(model, model, kept["completion_ids"].shape[1]), kept)[3]
    assert not gradient.any() and all(p.grad is not None for p in model.parameters())


def test_a_sliding_window_is_read_row_by_row_with_the_same_gradient():
    torch.manual_seed(0)
    model = MistralForCausalLM(
        MistralConfig(
            vocab_size=60,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            sliding_window=3,
        )
    )
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    inputs = batch(PROMPTS, COMPLETIONS)
    want, kept = scored(model, inputs), keep_moving_rows(inputs)
    got = scored(PackedModel(model, model, kept["completion_ids"].shape[1]), kept)
    assert (got[3] - want[3]).norm() < 1e-6 * want[3].norm()


@pytest.mark.parametrize(
    "changes, why",
    [
        ({"beta": 0.1}, "beta is 0.1"),
        ({"loss_type": "grpo"}, "loss_type is grpo"),
        ({"entropy_coef": 0.01}, "entropy bonus"),
        ({"top_entropy_quantile": 0.2}, "top_entropy_quantile is 0.2"),
    ],
)
def test_losses_that_need_every_row_refuse_in_words(tmp_path, changes, why):
    args = GRPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, **changes)
    with pytest.raises(ValueError, match=f"drop_rows: .*{why}.*; set drop_rows to False"):
        check_drop_rows(args)


def test_a_process_keeps_as_many_rows_as_the_one_with_the_most(monkeypatch):
    """TRL gathers numbers of each row from all processes in equal parts."""
    monkeypatch.setattr("pzlib.engine.packing.gather", lambda moving: torch.stack([moving, moving + 2]))
    kept = keep_moving_rows(batch(PROMPTS, COMPLETIONS))["advantages"]
    assert len(kept) == 8 and (kept != 0).sum() == 6


def micro_batches(owners, advantages, parts):
    """Rows that are told apart by their completion, as TRL's buffer has them: `parts` micro-batches of an update."""
    count = len(owners)
    rows = {
        "prompt_ids": torch.tensor([[0, own] for own in owners]), "prompt_mask": torch.tensor([[0, 1]] * count),
        "completion_ids": torch.arange(count)[:, None], "completion_mask": torch.ones(count, 1),
        "advantages": torch.tensor(advantages),
    }  # fmt: skip
    cut = {name: values.chunk(parts) for name, values in rows.items()}
    return [{name: own[i] for name, own in cut.items()} | {"num_items_in_batch": count} for i in range(parts)]


def test_the_rows_of_an_update_stay_its_own():
    """Four micro-batches of two rows make two updates; each is put in order as it begins, and not across its end."""
    given = micro_batches([7, 5, 7, 5, 9, 5, 7, 9], [1.0] * 8, 4)
    args = SimpleNamespace(gradient_accumulation_steps=2, steps_per_generation=4)
    trainer = SimpleNamespace(args=args, _buffered_inputs=list(given), drop_rows=False)
    read = []
    for step, inputs in enumerate(given):
        trainer._step = step
        read.append(prompts_together(trainer, inputs)["completion_ids"].flatten().tolist())
    assert read == [[1, 3], [0, 2], [5, 6], [4, 7]]


def test_rows_of_one_prompt_come_together_and_those_without_signal_last():
    owners, advantages = [7, 5, 7, 5, 9, 9, 7, 5], [1.0, 2.0, -1.0, -2.0, 0.0, 0.0, 0.0, 1.0]
    given = micro_batches(owners, advantages, 4)
    found = in_prompt_order(given, moving_first=True)
    assert [batch["completion_ids"].flatten().tolist() for batch in found] == [[1, 3], [7, 0], [2, 6], [4, 5]]
    assert [batch["advantages"].tolist() for batch in found] == [[2, -2], [1, 1], [-1, 0], [0, 0]]
    assert [batch["prompt_ids"][:, 1].tolist() for batch in found] == [[5, 5], [5, 7], [7, 7], [9, 9]]
    assert all(batch["num_items_in_batch"] == 8 for batch in found)
    by_prompt = in_prompt_order(given, moving_first=False)
    assert [batch["completion_ids"].flatten().tolist() for batch in by_prompt] == [[1, 3], [7, 0], [2, 6], [4, 5]]
    kept = in_prompt_order(micro_batches([7, 5, 7, 5], [0.0, 1.0, 1.0, 1.0], 2), moving_first=False)
    assert [batch["completion_ids"].flatten().tolist() for batch in kept] == [[1, 3], [0, 2]]
