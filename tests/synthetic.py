"""Tables as runs leave them, made up: for tests of what draws them. No number here is a result."""

import numpy as np
import pandas as pd

KINDS = ("trivial", "irreducible", "sum", "sum_inverse", "weekday", "two_hop")
TASKS = {"sum": "math", "count": "math", "two_hop": "general", "weekday": "general", "reasoning": "spans"}
TEXT = (
    "Belmora is a town in the land of Teska . Its market is held on Friday , two days after the fair . "
    "The old mill had 12 wheels and lost 5 of them , so 7 remain . The people of Teska speak Orvian ."
)


def training(objectives=("pretrainzero", "random_span"), seeds=5, steps=60, tier="mini"):
    """A training.csv: one row a run and step."""
    rng, tables = np.random.default_rng(0), []
    for objective in objectives:
        for seed in range(seeds):
            step = np.arange(1, steps + 1)
            table = {"run_id": f"{objective}-{seed}", "objective": objective, "tier": tier, "seed": seed}
            table |= {"step": step, "seconds": 0.5, "mask/words": 1.5}
            for role in ("predictor", "generator") if objective == "pretrainzero" else ("predictor",):
                for key, scale in (("reward", 0.3), ("dead_groups", 0.6), ("length", 12), ("entropy", 0.8)):
                    table[f"{role}/{key}"] = scale * (1 + 0.3 * step / steps + rng.normal(0, 0.1, steps))
            table["predictor/accuracy"] = table["predictor/reward"]
            if objective == "pretrainzero":
                table["generator/legal"] = np.full(steps, 0.95)
            table |= {f"mask/{kind}": np.full(steps, 1 / len(KINDS)) for kind in KINDS}
            tables.append(pd.DataFrame(table))
    return pd.concat(tables, ignore_index=True)


def tinybench(objectives=("pretrainzero", "random_span"), seeds=5, steps=(0, 20, 40, 60), tier="mini"):
    """A tinybench.csv: one row a run, step and task; at step 0 all runs are the same base."""
    rng, rows = np.random.default_rng(1), []
    for objective in objectives:
        for seed in range(seeds):
            for step in steps:
                for task, group in TASKS.items():
                    accuracy = 0.4 + (0.1 * step / 60 + rng.normal(0, 0.03) if step else 0.0)
                    row = {"run_id": f"{objective}-{seed}", "objective": objective, "tier": tier}
                    row |= {"seed": seed, "step": step, "task": task, "group": group, "n": 64}
                    row |= {"accuracy": accuracy, "correct": round(accuracy * 64)}
                    rows.append(row | {"length": 12.0 + rng.normal(0, 0.5)})
    return pd.DataFrame(rows)


def episodes(step=57, objective="pretrainzero", text=TEXT, passage_id="belmora"):
    """One passage in one step: four masks, four predictions for each, under the template TINY."""
    masks = {"Friday": 0.5, "7": 0.25, "the": 1.0, "Orvian": 0.0}
    common = {"step": step, "passage_id": passage_id, "block": 0, "kind": "weekday", "legal": True}
    common |= {"length": 4, "clipped": False, "entropy": 0.5, "advantage": 0.0, "prediction": None}
    rows = []
    if objective == "pretrainzero":
        for row, (mask, accuracy) in enumerate(masks.items()):
            rows.append(common | {"role": "generator", "group_index": 0, "row": row, "mask": mask})
            rows[-1] |= {"prompt": f"Passage : {text} Mask :", "completion": f"\\mask{{ {mask} }}"}
            rows[-1] |= {"reward": 1 - accuracy if accuracy else 0.0, "count": text.count(mask)}
    for group, (mask, accuracy) in enumerate(masks.items()):
        for row in range(4):
            right = row < 4 * accuracy
            said = mask if right else "Monday"
            rows.append(common | {"role": "predictor", "group_index": group, "row": row, "mask": mask})
            rows[-1] |= {"prompt": f"Passage : {text.replace(mask, '[mask]')} Answer :", "prediction": said}
            rows[-1] |= {"completion": f"two days on is {said} \\boxed{{ {said} }}", "reward": float(right)}
            rows[-1] |= {"count": text.count(mask)}
    return pd.DataFrame(rows)
