"""A finished run as a folder that the Hugging Face hub takes: its model, its settings and a model card.
Leaves out a licence: that of the base model holds, which nobody here can know."""

import json
import shutil
from pathlib import Path

from pzlib.paths import root
from pzlib.run import Run
from pzlib.runs.folder import RunFolder, write_atomic

NOT_SHARED = ("training_args.bin",)  # a pickle, and with the paths of this machine
COPIED = ("params.json", "env.json", "eval.csv", "metrics.jsonl")
ACCURACY = "| task | step | questions | accuracy, % | 95 % interval |\n|---|---|---|---|---|"
LIMITS = (
    "Trained for research on reinforcement pretraining. It is a base model: it does not follow instructions, and "
    "nobody checked it for safety. Intervals are over questions of one run; they leave out what another seed would "
    "change."
)


def export(run_id: str, output: Path | None = None) -> Path:
    """Write a finished run's model, settings, scores and card into `output`; returns that folder.

    The model is in safetensors, with an adapter merged into it. output: None for data/exports/<run id>; an existing
    folder must be an earlier export or empty. Errors: ValueError for a run that is unknown or not complete, and for a
    folder that holds something else.
    """
    folder = RunFolder(root() / "data/runs" / run_id)
    if folder.state() != "complete":
        what = "there is no such run here" if folder.state() == "new" else f"it is {folder.state()}"
        raise ValueError(f"run: {run_id}: {what}; `pzlib results` lists the runs, and only a complete one is exported")
    target = Path(output or root() / "data/exports" / run_id)
    if target.is_dir() and any(target.iterdir()) and not (target / "params.json").is_file():
        raise ValueError(f"output: {target} holds other files; give an empty or a new folder")
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted((folder.path / "model").iterdir()):
        if path.name not in NOT_SHARED:
            shutil.copy2(path, target)
    for name in COPIED:
        if (folder.path / name).is_file():
            shutil.copy2(folder.path / name, target)
    write_atomic(target / "README.md", card(folder))
    return target


def upload(folder, name, public=False):
    """Put an export on the Hugging Face hub as `name`, private unless `public`; returns its address."""
    from huggingface_hub import HfApi

    hub = HfApi()
    hub.create_repo(name, private=not public, exist_ok=True)
    return hub.upload_folder(repo_id=name, folder_path=folder)


def card(folder: RunFolder) -> str:
    """The model card of a finished run, as Markdown with the hub's header."""
    params = folder.params()
    run = Run.from_dict({name: params[name] for name in Run(tier="mini").to_dict() if name in params})
    own = {name: value for name, value in run.differences().items() if name not in Run.HOW}
    local = Path(run.model_source).exists()
    head = ["---", "library_name: transformers", "pipeline_tag: text-generation", "tags: [reinforcement-pretraining]"]
    head += [] if local else [f"base_model: {json.dumps(run.model)}"]
    settings = "".join(f"| {name} | {json.dumps(value)} |\n" for name, value in own.items()) or "| none | |\n"
    return "\n".join([
        *head, "---", f"# {params['run_id']}", "",
        f"{run.method.label} ({run.method.paper}) for {run.steps} steps from `{run.model}` on the text `{run.corpus}`.",
        "", f"Settings that differ from the tier {run.tier} (all are in `params.json`):", "",
        "| setting | value |", "|---|---|", settings,
        f"Digest of the text (SHA-256): `{params.get('corpus_digest', 'not stored')}`", "", "## Scores", "",
        _scores(folder.evals()), "", "## Limits", "", LIMITS, "",
    ])  # fmt: skip


def _scores(table) -> str:
    if table.empty:
        return "The run was not evaluated."
    rows = []
    for row in table[table["step"].isin([table["step"].min(), table["step"].max()])].itertuples():
        asked = f"{row.n / (row.k if row.k == row.k else 1):.0f}"  # n counts answers, k of them to each question
        interval = f"{100 * row.low:.1f} to {100 * row.high:.1f}" if row.low == row.low else "not stored"
        rows.append(f"| {row.task} | {row.step} | {asked} | {100 * row.accuracy:.1f} | {interval} |")
    return "\n".join([ACCURACY, *rows])
