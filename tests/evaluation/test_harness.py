"""Models and protocols for lm-evaluation-harness: what is unfit is refused in words, and weights are told apart."""

import json
import shutil

import pytest
from benchmarkfiles import tiny_bpe

from pzlib.evaluation import harness
from pzlib.evaluation.harness import Protocol

pytest.importorskip("lm_eval.tasks", reason="needs the extra eval")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_bpe(tmp_path_factory.mktemp("models") / "random")


@pytest.mark.parametrize(
    ("broken", "settings", "said"),
    [
        ("other", {}, "cannot read 'broken'; are its files whole, and of one model?"),
        ("none", {}, "no tokenizer.json is beside the weights of 'broken'; add it"),
        ("half", {}, "cannot read 'broken'; are its files whole, and of one model?"),
        ("", {"max_tokens": 2048}, "no room for a prompt in the 2048 tokens that 'broken' reads; give at most 1024"),
        ("", {"chat": True}, "the tokenizer of 'broken' has no chat template"),
        ("", {"backend": "vllm"}, "vLLM is not installed; pip install"),
    ],
)
def test_an_unfit_model_is_said_in_words(tmp_path, model, broken, settings, said):
    folder = tmp_path / "broken"
    shutil.copytree(model, folder)
    if broken == "other":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 40}))
    if broken == "none":
        for path in folder.glob("tokenizer*"):
            path.unlink()
    if broken == "half":
        (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text()[:100])
    with pytest.raises(ValueError, match=said):
        harness.load(harness.find(str(folder)), Protocol(**{"max_tokens": 8} | settings))


def test_the_weights_are_told_apart(tmp_path, model):
    other = tiny_bpe(tmp_path / "random", seed=1)
    one, two = harness.find(model), harness.find(other)
    assert one.label == two.label == "random" and one.revision != two.revision
    with pytest.raises(FileNotFoundError, match="holds no safetensors file"):
        harness.find(str(tmp_path))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"prompts": "boxd"}, "prompts: 'boxd' is not one of boxed, stock, tiny"),
        ({"limit": 0}, "limit: must be at least 1, got 0"),
        ({"samples": 4, "temperature": 0.0}, "at 0 all 4 samples of a question are one"),
        ({"temperature": float("nan")}, "temperature: must be 0 or more"),
    ],
)
def test_impossible_protocols_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        Protocol(**settings)
