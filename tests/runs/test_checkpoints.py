"""Files of foreign origin run no code: a checkpoint's pickles, weights that are no safetensors, a model's modules."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from peft import get_peft_model
from skilled import write_corpus
from transformers import AutoModelForCausalLM

from pzlib.engine import models
from pzlib.engine.models import load
from pzlib.run import Run
from pzlib.runs.callbacks import write_manifest
from pzlib.runs.folder import RunFolder
from pzlib.train import train


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


@pytest.fixture
def gone_off(tmp_path):
    return tmp_path / "gone_off"


@pytest.fixture
def run(tiny_model, tmp_path):
    sizes = {"min_tokens": 4, "max_prompt_tokens": 32, "max_completion_tokens": 8, "steps": 3, "save_every": 1}
    settings = {"tier": "smoke", "objective": "sft", "passages": 1, "group": 2, **sizes}
    corpus = str(write_corpus(tmp_path / "corpus.jsonl"))
    return lambda **changes: Run(**settings | {"model": str(tiny_model), "corpus": corpus} | changes)


@pytest.fixture
def stopped(run):
    """A run that was stopped after its second step, and that step's checkpoint."""

    def evaluate(model, tokenizer, step):
        if step == 3:
            raise RuntimeError("stop")
        return []

    with pytest.raises(RuntimeError, match="stop"):
        train(run(eval_every=1), evaluate=evaluate)
    return run(eval_every=1), run(eval_every=1).folder / "checkpoints/checkpoint-2"


def test_a_bomb_goes_off_where_pickles_are_loaded_freely(gone_off):
    pickle.loads(pickle.dumps(Bomb(gone_off)))
    assert gone_off.exists()


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"])
def test_a_pickle_in_a_checkpoint_is_not_executed_even_if_its_manifest_lists_it(stopped, gone_off, name):
    run, checkpoint = stopped
    assert (checkpoint / name).is_file()
    torch.save(Bomb(gone_off), checkpoint / name)
    write_manifest(checkpoint, run.run_id, 2)  # whoever can write the one file can write the other
    if name == "training_args.bin":  # written by transformers, read by nobody
        assert train(run).state() == "complete"
    else:
        with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
            train(run)
        assert "Weights only load failed" in RunFolder(run.folder).status()["error"]
    assert not gone_off.exists()


def test_weights_that_are_no_safetensors_are_not_read(run, tiny_model, tmp_path, gone_off):
    for file in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "pickled").mkdir(exist_ok=True)
        shutil.copy(tiny_model / file, tmp_path / "pickled" / file)
    torch.save(Bomb(gone_off), tmp_path / "pickled/pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match="model: cannot load"):
        load(run(model=str(tmp_path / "pickled")))

    model = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model), models.config(run(lora_rank=2)))
    model.save_pretrained(tmp_path / "adapter")
    (tmp_path / "adapter/adapter_model.safetensors").unlink()
    torch.save(Bomb(gone_off), tmp_path / "adapter/adapter_model.bin")
    with pytest.raises(ValueError, match="model: the adapter .* has no adapter_model.safetensors"):
        load(run(model=str(tmp_path / "adapter")))
    assert not gone_off.exists()


@pytest.mark.parametrize("kind", ["qwen3", "unheard_of"])
def test_code_beside_the_weights_is_not_executed(run, tiny_model, tmp_path, gone_off, kind):
    folder = shutil.copytree(tiny_model, tmp_path / "coded")
    (folder / "own.py").write_text(f"from pathlib import Path\nPath({str(gone_off)!r}).touch()\nclass Own: pass\n")
    config = json.loads((folder / "config.json").read_text())
    classes = {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": kind, "auto_map": classes}))
    if kind == "qwen3":
        load(run(model=str(folder)))  # transformers' own class does
    else:
        with pytest.raises((ValueError, OSError), match="trust_remote_code"):
            load(run(model=str(folder)))
    assert not gone_off.exists()
