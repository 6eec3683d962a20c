"""Checkpoints that a kill cannot spoil: each is listed and hashed once it is whole, and only such are used; and the
models that a run keeps. Leaves out what a checkpoint holds: it is as transformers saves it."""

import json
import shutil

import torch
from accelerate import PartialState
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from pzlib.paths import sha256
from pzlib.runs.folder import write_atomic

MANIFEST = "manifest.json"
KEPT = 2  # should the newest be damaged later, there is the one before it


def write_manifest(checkpoint, run_id, step):
    """List every file of the folder `checkpoint` (a Path) with size and SHA-256, once all of them are written."""
    paths = [path for path in sorted(checkpoint.rglob("*")) if path.is_file() and path.name != MANIFEST]
    files = {str(p.relative_to(checkpoint)): {"size": p.stat().st_size, "sha256": sha256(p)} for p in paths}
    write_atomic(checkpoint / MANIFEST, json.dumps({"run_id": run_id, "step": step, "files": files}, indent=1) + "\n")


def latest_good(folder, run_id, say=print):
    """(path, step) of the newest whole checkpoint under `folder`, or (None, 0) where there is none.

    One that was never finished, since the run was killed while writing, is deleted; one that was damaged since is
    renamed to `broken-...`; `say` gets a line for each, and the one before is tried. Raises ValueError for another
    run's checkpoint.
    """
    for path in reversed(_oldest_first(folder)):
        manifest, wrong = _check(path)
        if not wrong and manifest["run_id"] != run_id:
            raise ValueError(f"{path}: a checkpoint of run {manifest['run_id']}, not of {run_id}; move it elsewhere")
        if not wrong:
            return path, manifest["step"]
        if (path / MANIFEST).exists():
            aside = path.with_name(f"broken-{path.name}")
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
            done = f"set aside as {aside.name}"
        else:
            shutil.rmtree(path)
            done = "deleted"
        say(f"{path}: {wrong}; {done}, the one before it is used")
    return None, 0


def _oldest_first(folder):
    numbered = [(path.name.removeprefix("checkpoint-"), path) for path in folder.glob("checkpoint-*")]
    return [path for _, path in sorted((int(step), path) for step, path in numbered if step.isdigit())]


def _check(checkpoint):
    """(manifest, what is wrong with it as text or None)."""
    try:
        manifest = json.loads((checkpoint / MANIFEST).read_text())
    except (FileNotFoundError, ValueError):
        return None, "was never finished"
    if not isinstance(manifest, dict) or not {"run_id", "step", "files"} <= manifest.keys():
        return None, "has a manifest that is not ours"
    for name, listed in manifest["files"].items():
        path = checkpoint / name
        if not path.is_file():
            return manifest, f"{name} is missing"
        if path.stat().st_size != listed["size"]:
            return manifest, f"{name} has {path.stat().st_size} bytes, not {listed['size']}"
        if sha256(path) != listed["sha256"]:
            return manifest, f"{name} has changed"
    return manifest, None


class Manifests(TrainerCallback):
    """Lists each checkpoint once the trainer has written it, and only then deletes all but the newest KEPT.

    The trainer's own `save_total_limit` must stay unset: it deletes before the new one is listed, and the one changed
    longest ago first. One whose deletion a kill broke off has just been changed, so the last whole one went before it.
    """

    def __init__(self, folder, run_id):
        self.folder, self.run_id = folder, run_id

    def on_save(self, args, state, control, **_):
        PartialState().wait_for_everyone()  # each process writes its own random state
        if not state.is_world_process_zero:
            return
        write_manifest(self.folder / f"checkpoint-{state.global_step}", self.run_id, state.global_step)
        for path in _oldest_first(self.folder)[:-KEPT]:
            shutil.rmtree(path)


def thin(model, dtype):
    """Store the weights of a saved model (the folder, a Path) in `dtype`, and nothing that only training needs.

    A head that is the embedding is stored once; FSDP gathers it twice."""
    (model / "training_args.bin").unlink(missing_ok=True)
    config = json.loads((model / "config.json").read_text())
    kind, doubled = getattr(torch, dtype), "lm_head.weight" if config.get("tie_word_embeddings") else None
    for path in model.glob("*.safetensors"):
        weights = {name: w.to(kind) if w.is_floating_point() else w for name, w in load_file(path).items()}
        weights.pop(doubled, None)
        save_file(weights, path, metadata={"format": "pt"})
    index = model / "model.safetensors.index.json"
    if index.is_file():
        listed = json.loads(index.read_text())
        listed["weight_map"].pop(doubled, None)
        write_atomic(index, json.dumps(listed, indent=2) + "\n")
    write_atomic(model / "config.json", json.dumps(config | {"dtype": dtype}, indent=2) + "\n")


def kept(folder):
    """{step: path} of the models that the run in the RunFolder `folder` has kept whole, its last included; sorted."""
    numbered = [(path.name.removeprefix("model-"), path) for path in folder.path.glob("model-*")]
    found = {int(step): path for step, path in numbered if step.isdigit()}
    if (folder.path / "model").is_dir():
        found[folder.params()["steps"]] = folder.path / "model"
    return dict(sorted(found.items()))


class Kept(TrainerCallback):
    """Keeps the model as `model-<step>` at half of the steps, for PretrainZero's RLVR (Table 3), and at every
    `keep_every`, in the dtype of the run's arithmetic: what a curve along training asks.

    save: `save(name, dtype)` writes the model; dtype None is its own.
    """

    def __init__(self, run, save):
        self.run, self.save = run, save

    def on_step_end(self, args, state, control, **_):
        step, run = state.global_step, self.run
        if step == run.steps // 2:
            self.save(f"model-{step}", None)
        elif run.keep_every and step % run.keep_every == 0 and step < run.steps:
            self.save(f"model-{step}", run.dtype)
