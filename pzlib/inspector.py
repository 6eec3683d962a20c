"""The mask inspector: run, step and passage to unfold; its masks over the text by accuracy, their episodes behind them.
Left out: scripts, so that an executed copy, an export and an untrusted notebook show it too."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from pzlib.gamestats import is_right
from pzlib.markup import FRAME, TEXT, completion, escaped, judged
from pzlib.masking import MASK
from pzlib.prompts import TEMPLATES, Template
from pzlib.runview import ACCURACY, heat_of

MANY = 8  # different predictions of one mask that are listed; more are counted
NESTED = "margin:4px 0px 4px 18px"


def inspector(runs: dict, steps: int = 3, passages: int = 2) -> str:
    """HTML of what the runs masked: {label: RunFolder}, of each so many steps (first, last, evenly between) and of each
    step its first passages, which is a random choice since passages are shuffled. What is left out is counted.

    Works without a generator too. Errors: ValueError for a run without episodes (supervised ones store none).
    """
    parts = [_legend()]
    for number, (label, folder) in enumerate(runs.items()):
        stored = folder.episode_steps()
        if not stored:
            raise ValueError(f"run {folder.path.name}: has no episodes; supervised runs store none, leave it out")
        shown = sorted({stored[round(place)] for place in np.linspace(0, len(stored) - 1, steps)})
        template = TEMPLATES[folder.params()["template"]]
        inner = [_step(step, folder.episodes([step]), template, passages, step == shown[0] and not number)
                 for step in shown]  # fmt: skip
        head = f"<b>{escaped(label)}</b> · {len(stored)} steps stored, {len(shown)} shown"
        parts.append(_unfolding(head, "".join(inner), opened=number == 0))
    return FRAME.format("".join(parts))


def _unfolding(head: str, body: str, opened: bool = False) -> str:
    return f'<details style="{NESTED}"{" open" * opened}><summary>{head}</summary>{body}</details>'


def _legend() -> str:
    scale = "".join(_coloured(f" {share:.0%} ", share) for share in (0.0, 0.25, 0.5, 0.75, 1.0))
    return (
        f"<p>Share of right predictions of the masks that cover a word: {scale}; under a word the number of its mask "
        "and that share. No colour: never masked.</p>"
    )


def _coloured(text: str, share: float) -> str:
    return f'<span style="background-color:{to_hex(ACCURACY(share))};color:#000000">{escaped(text)}</span>'


def _step(step: int, rows: pd.DataFrame, template: Template, limit: int, opened: bool) -> str:
    names = list(dict.fromkeys(zip(rows["block"], rows["passage_id"], strict=True)))
    masks = rows[rows["role"] == "generator"]
    legal = f" · {int(masks['legal'].astype(bool).sum())} of {len(masks)} masks legal" if len(masks) else ""
    predicted = rows[rows["role"] == "predictor"].to_dict("records")
    right = sum(map(is_right, predicted)) / len(predicted) if predicted else float("nan")
    said = f" · {right:.0%} of predictions right" if pd.notna(right) else ""
    inner = []
    for place, (block, name) in enumerate(names[:limit]):
        own = rows[(rows["block"] == block) & (rows["passage_id"] == name)]
        inner.append(_passage(str(name), own, template, opened and not place))
    head = f"step {step} · {len(names)} passages, {len(inner)} shown{legal}{said}"
    return _unfolding(head, "".join(inner), opened)


def _passage(name: str, rows: pd.DataFrame, template: Template, opened: bool) -> str:
    predicted = rows[(rows["role"] == "predictor") & rows["mask"].notna() & rows["reward"].notna()]
    made = rows[rows["role"] == "generator"]
    text, covered, lines = "", [], []
    groups = [group for _, group in predicted.groupby("group_index")]
    for number, group in enumerate(groups, 1):
        heat = _heat(group, template)
        text = max(text, heat.text, key=len)  # before a next token the passage is cut off: the longest holds the others
        covered += [(start, end, share, number) for start, end, share in heat.masks]
        # `row` counts over the whole step, `group_index` within the block, whose masks come in its order.
        place = int(group["group_index"].iloc[0])
        lines.append(_mask(number, group, made.iloc[place : place + 1]))
    illegal = made[~made["legal"].astype(bool)]
    if len(illegal):
        said = "".join(completion(row.completion) for row in illegal.itertuples())
        lines.append(_unfolding(f"{len(illegal)} not legal: nobody was asked", f'<div style="{TEXT}">{said}</div>'))
    head = f"passage {escaped(name)} · {len(groups)} masks that were predicted"
    return _unfolding(head, f'<div style="{TEXT}">{_over(text, covered)}</div>{"".join(lines)}', opened)


def _heat(group: pd.DataFrame, template: Template):
    if MASK not in group["prompt"].iloc[0]:
        raise ValueError(
            f"prompt: holds no {MASK}; only masked passages can be inspected"
        )
    return heat_of(group, template)


def _over(text: str, covered: list[tuple[int, int, float, int]]) -> str:
    """The text with its masks: every stretch in the colour of the mean over its masks, their numbers behind it.

    covered: (start, end, share of right predictions, number) by characters; masks may overlap.
    """
    edges = sorted({0, len(text), *(edge for start, end, _, _ in covered for edge in (start, end))})
    html = []
    for left, right in pairwise(edges):
        over = [share for start, end, share, _ in covered if start <= left and right <= end]
        html.append(_coloured(text[left:right], sum(over) / len(over)) if over else escaped(text[left:right]))
        ending = [f"{number}: {share:.0%}" for _, end, share, number in covered if end == right]
        html += [f"<sub>{', '.join(ending)}</sub>"] if ending else []
    return "".join(html)


def _mask(number: int, group: pd.DataFrame, made: pd.DataFrame) -> str:
    """One mask to unfold: who chose it, and its predictions, equal ones once with their number."""
    one, share = group.iloc[0], group["reward"].mean()
    kind = f" · {escaped(one['kind'])}" if isinstance(one["kind"], str) else ""
    hits = f"{int(group['reward'].sum())} of {len(group)} right"
    head = f"{number} · {_coloured(one['mask'], share)} · {hits}{kind}"
    lines = []
    for row in made.itertuples():
        earned = f"<b>generator</b> · reward {row.reward:.3f} · advantage {row.advantage:+.2f}"
        lines.append(f"{earned}{completion(row.completion)}")
        head += f" · reward of the mask {row.reward:.2f}"
    keys = ["completion", "reward", "advantage"]
    counted = group.groupby(keys, sort=False, dropna=False).size().sort_values(ascending=False)
    for (said, reward, advantage), times in list(counted.items())[:MANY]:
        lines.append(f"<b>{times} × {judged(reward)}</b> · advantage {advantage:+.2f}{completion(said)}")
    if len(counted) > MANY:
        lines.append(f"<i>and {len(counted) - MANY} more, each different</i>")
    return _unfolding(head, f'<div style="{NESTED};{TEXT}">{"".join(lines)}</div>')
