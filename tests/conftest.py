"""What several tests share: the real data where it is at hand, a tiny model, a home to write runs to."""

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test asks the network
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny tensors, and two test processes share two cores

import pytest

REPO = Path(__file__).resolve().parent.parent
# The tiny model's words: what the `tiny` template needs, then enough of a vocabulary to write passages with.
MARKERS = "Passage Mask Question Answer : . [mask] \\mask{ \\boxed{ } <think> </think>".split()
WORDS = (
    "Anna Bela Carl Dora lives works in at near the a of old new town river bank school Rome Oslo "
    "Lima Kyiv is was has seven five two three nine days books cats dogs and then she he it red blue tall"
).split()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """No test writes into the repository: data/runs lies under a temporary home, in subprocesses too."""
    monkeypatch.setenv("PZLIB_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def real_data():
    """The folder of real texts beside the checkout, or PZLIB_REAL_DATA; its tests are skipped elsewhere."""
    folder = Path(os.environ.get("PZLIB_REAL_DATA") or REPO.parent / "shared/data")
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set PZLIB_REAL_DATA")
    return folder


@pytest.fixture(scope="session")
def cases():
    """The folder of reported faults beside the checkout, or PZLIB_CASES; its tests are skipped elsewhere."""
    folder = Path(os.environ.get("PZLIB_CASES") or REPO.parent / "shared/cases")
    if not folder.is_dir():
        pytest.skip(f"no reported cases at {folder}; set PZLIB_CASES")
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A folder with a random Qwen3 (2 layers of 32) and a word-level tokenizer of MARKERS and WORDS."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("tiny_model")
    vocab = {word: i for i, word in enumerate(["<pad>", "<eos>", "<unk>", *MARKERS, *WORDS])}
    words = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>",
        padding_side="left", clean_up_tokenization_spaces=False,
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    config = Qwen3Config(
        vocab_size=len(vocab), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=16, max_position_embeddings=256,
        tie_word_embeddings=True, pad_token_id=0, eos_token_id=1, bos_token_id=None,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def skilled(tiny_model, tmp_path_factory):
    """A folder with `model`, the tiny one taught the game's two forms, `corpus.jsonl` and `problems.jsonl` for it."""
    from skilled import taught

    return taught(tiny_model, tmp_path_factory.mktemp("skilled"))
