"""Tables as runs leave them, made up: for tests of what draws them. No number here is a result."""

import numpy as np
import pandas as pd

from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.studies.claims import ALONG
from pzlib.studies.claims.verdicts import METRICS

KINDS = ("trivial", "irreducible", "sum", "sum_inverse", "weekday", "two_hop")
ACCURACY = {"trivial": 0.8, "irreducible": 0.05}
PASSIVE = {"random_span": 0.0, "random_next_token": 0.2, "entropy_next_token": 3.0}
SUPERVISED = ("sft", "continued_pretraining")
TASKS = {"sum": "math", "count": "math", "two_hop": "general", "weekday": "general", "reasoning": "spans"}
TEXT = (
    "Belmora is a town in the land of Teska . Its market is held on Friday , two days after the fair . "
    "The old mill had 12 wheels and lost 5 of them , so 7 remain . The people of Teska speak Orvian ."
)


def training(objectives=("pretrainzero", "random_span"), seeds=5, steps=60, tier="mini", every=1, group=8):
    """A training.csv: one row a run and `every` steps. Any name not in PASSIVE or SUPERVISED plays a generator."""
    rng, tables = np.random.default_rng(0), []
    for objective in objectives:
        for seed in range(seeds):
            step = np.arange(every, steps + 1, every)
            grown, spread = step / steps, (0, 0.1 / np.sqrt(every), len(step))
            table = {"run_id": f"{objective}-{seed}", "objective": objective, "tier": tier, "seed": seed}
            table |= {"step": step, "seconds": 0.5}
            if objective in SUPERVISED:
                tables.append(pd.DataFrame(table))
                continue
            plays = objective not in PASSIVE
            table |= {"tokens_prompt": 17000.0 + 3000 * plays, "tokens_completion": 2000.0 + 500 * plays}
            table["mask/words"] = 1.5 - 0.3 * grown + rng.normal(*spread)
            table["mask/position"] = 0.5 + 0.1 * grown + rng.normal(*spread)
            for role in ("predictor", "generator") if plays else ("predictor",):
                for key, scale in (("reward", 0.3), ("dead_groups", 0.6), ("length", 12), ("entropy", 0.8)):
                    table[f"{role}/{key}"] = scale * (1 + 0.3 * grown + rng.normal(*spread))
            table["predictor/accuracy"] = table["predictor/reward"]
            if plays:
                table["generator/legal"] = np.full(len(step), 0.95)
            drift = PASSIVE.get(objective, -0.4)  # where the masks drift: above 0 to the irreducible
            noise = 1 + rng.normal(*spread) + drift * grown
            weights = np.array([1 + (noise if kind == "irreducible" else 0 * grown) for kind in KINDS])
            table |= {f"mask/{kind}": share for kind, share in zip(KINDS, weights / weights.sum(axis=0), strict=True)}
            for kind in KINDS:
                right = ACCURACY.get(kind, 0.3 + 0.3 * grown) * (1 - drift * grown / 6)
                table[f"accuracy/{kind}"] = right + rng.normal(*spread) / 4
            wrong = 4 - 3 * grown + 2 * drift * grown + rng.normal(*spread)
            hits = np.array([1 + wrong * (k == 0) + (k == group) for k in range(group + 1)])
            hits = hits / hits.sum(axis=0)
            table |= {f"hits/{k}": share for k, share in enumerate(hits)}
            table |= {"predictor/dead_wrong": hits[0], "predictor/dead_right": hits[group]}
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


def fill(folder, objective="pretrainzero", steps=3):
    """A run folder as a run of three steps leaves it."""
    folder = RunFolder(folder).open(Run(tier="smoke", objective=objective, seed=3))
    for row in training((objective,), seeds=1, steps=steps).to_dict("records"):
        metrics = {key: value for key, value in row.items() if key not in ("run_id", "objective", "tier", "seed")}
        folder.append_metrics(metrics)
        rows = episodes(step=row["step"], objective=objective).drop(columns="step")
        folder.write_episodes(row["step"], 0, rows.astype(object).where(rows.notna(), None).to_dict("records"))
    folder.set_status("running", step=steps, steps=12)
    return folder


def curve(shares, arm="a", seeds=3, **more):
    """Rows of one arm: step -> accuracy of the general task; math is half of it; seed s is 0.01 s above."""
    rows = []
    for seed in range(seeds):
        for step, share in shares.items():
            for task, group, part in (("east", "general", 1), ("sum", "math", 0.5), ("noise", "other spans", 9)):
                row = {"arm": arm, "seed": seed, "step": step, "task": task, "group": group, "length": 8 + step / 10}
                rows.append(row | {"accuracy": part * (share + 0.01 * seed), "reasoned": 0.25} | more)
    return pd.DataFrame(rows)


def bins(**columns):
    """Twenty bins of one run: step 10 to 200."""
    return pd.DataFrame({"arm": "a", "seed": 0, "step": range(10, 201, 10)} | columns)


def follow_on(arms, seeds=5, shift=0.01):
    """Made-up rows: every start lies 5 points above the one before; RLVR adds 20 to the first, 5 less to the next."""
    found = []
    for place, arm in enumerate(arms):
        for seed in range(seeds):
            for step in (0, 10, 20):
                for task, group in (("east", "general"), ("sum", "math"), ("reasoning", "spans")):
                    gain = (0.20 - 0.05 * place) * step / 20
                    accuracy = 0.3 + 0.05 * place + gain + shift * seed * (step > 0) + 0.2 * (group == "general")
                    row = {"arm": arm, "run_id": f"{arm}-{seed}", "objective": "rlvr", "tier": "mini", "seed": seed}
                    row |= {"step": step, "task": task, "group": group, "n": 64, "accuracy": accuracy, "length": 9.0}
                    found.append(row)
    return pd.DataFrame(found)


RPT = ("rpt", "rpt, clean text")
STEPS = (0, 25, 50, 75, 100, 150, 200)


def next_tokens(arms=RPT, seeds=3, steps=STEPS):
    """(tinybench, training, runs): reasoning follows 50 - 20 / sqrt(step) points, seed s is s points above."""
    asked, trained, runs = [], [], []
    for arm in arms:
        for seed in range(seeds):
            run = {"arm": arm, "run_id": f"{arm}-{seed}", "objective": "rpt", "tier": "mini", "seed": seed}
            runs.append(run | {"parameters": 1000})
            trained.append(run | {"step": max(steps), "tokens_prompt": 90.0, "tokens_completion": 10.0})
            for step in steps:
                for place, split in enumerate(("easy", "medium", "hard")):
                    right = (0.5 - 0.2 / np.sqrt(step) - 0.1 * place + 0.01 * seed) if step else 0.05
                    row = run | {"step": step, "n": 64, "length": 9.0}
                    task = {"task": f"next token, {split}", "group": "next token", "accuracy": right}
                    direct = {"task": f"next token, {split}, direct", "group": "next token, direct"}
                    asked += [row | task, row | direct | {"accuracy": 0.4 - 0.1 * place}]
                asked.append(row | {"task": "sum", "group": "math", "accuracy": 0.3})
    return pd.DataFrame(asked), pd.DataFrame(trained), pd.DataFrame(runs)


def thoughts(seeds):
    """A training.csv of RLP: thoughts that are empty less and less often."""
    rows = training(("rlp",), seeds=seeds)
    share = rows["step"] / rows["step"].max()
    return rows.assign(**{"thought/empty": 0.5 - 0.4 * share, "thought/naming": 0.1 * share, "predictor/parsed": 1.0})


def costs(arms):
    """A costs.csv: the later the arm, the dearer."""
    return pd.DataFrame({"arm": list(arms), "seconds": 2.0 + np.arange(len(arms)), "device": "made up"})


def perplexity(arms, seeds):
    """A perplexity.csv: training makes every text a little less likely."""
    rows = []
    for arm in arms:
        for seed in range(seeds):
            for step in (0, 200):
                for task, level in (("text", 4), ("trivial", 1.5), ("reasoning", 9), ("irreducible", 140)):
                    key = {"run_id": f"{arm}-{seed}", "objective": "rlp", "tier": "mini", "seed": seed, "step": step}
                    rows.append(key | {"arm": arm, "task": task, "perplexity": level + (step > 0) * (0.1 + seed / 50)})
    return pd.DataFrame(rows)


def judged_claims(claims, shift=6.0):
    """The real claims with made-up effects and verdicts."""
    rng, rows = np.random.default_rng(0), []
    words = ("reproduced", "contradicted", "inconclusive", "no difference", "precondition failed")
    for place, row in enumerate(claims.to_dict("records")):
        row |= {"verdict": "not run at this tier", "n": 0, "unit": "", "note": row["why_not"] or "too few runs"}
        row |= dict.fromkeys(["effect", "low", "high", "p_holm", "seeds", "margin", *ALONG], float("nan"))
        if row["study"]:
            effect, half = rng.normal(shift, 4) * (-1 if row["direction"] == "<" else 1), rng.uniform(0.5, 5)
            word = words[place % len(words)]
            row |= {"effect": effect, "low": effect - half, "high": effect + half, "p": 0.01, "p_holm": 0.04, "n": 5}
            row |= {"unit": METRICS[row["metric"]].unit, "verdict": f"{word} at mini", "margin": 2.0, "note": ""}
            row |= {"seeds": 12.0} if word == "inconclusive" else {}
        rows.append(row | {"tier": "mini", "small": False, "along": ""})
    return pd.DataFrame(rows)


def case():
    """A case.csv: the masks of a passage, and what a base and two methods answer to the one on "Friday"."""
    hidden = [(TEXT.replace(mask, "[mask]", 1), mask) for mask in ("Friday", "7 remain", "Orvian")]
    key = {"run_id": "a", "objective": "pretrainzero", "arm": "pretrainzero", "tier": "mini", "seed": 0, "step": 200}
    rows = [key | {"kind": "weekday", "target": mask, "masked": masked, "n": 8, "right": share, "completion": None}
            for (masked, mask), share in zip(hidden, (0.5, 1.0, 0.0), strict=True)]  # fmt: skip
    said = rows[0] | {"completion": "Think : two days after . \\boxed{ Friday }"}
    other = {"objective": "random_span", "arm": "random_span", "right": 0.75}
    return pd.DataFrame([*rows, said | {"step": 0, "right": 0.25}, said | {"right": 1.0}, said | other])
