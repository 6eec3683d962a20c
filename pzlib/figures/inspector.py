"""The mask inspector: run, step and passage to unfold; its masks over the text by accuracy, their episodes behind them.
Left out: scripts, so that an executed copy, an export and an untrusted notebook show it too."""

from __future__ import annotations

import html
import re
from itertools import pairwise

import numpy as np
import pandas as pd

from pzlib.masking import MASK
from pzlib.prompts import TEMPLATES, Template, parse_boxed
from pzlib.runs.episodes import is_right

LONG = 900  # characters: a longer text folds

ENDS = 300  # characters of its beginning and of its end that stay in sight

# Both names of "no formulas here": MathJax 2 (exported HTML) and MathJax 3 (JupyterLab). Colours of text and ground are
# inherited, so a dark theme stays dark; what has a ground of its own has a text colour too.
FRAME = '<div class="tex2jax_ignore mathjax_ignore" style="text-align:left;max-width:1100px">{}</div>'

# Of what holds texts; set once around many of them, since a style on each would double a page.
TEXT = "white-space:pre-wrap;overflow-wrap:anywhere;font-family:monospace;font-size:12px;line-height:1.6"

MARKED = '<mark style="background-color:{};color:#000000">{}</mark>'

MASKED, BOXED = "#ffe08a", "#bfe0ff"  # grounds of a mask and of a box, also told apart by their words

WORDS = {True: "✓ right", False: "✗ wrong", None: "not judged"}


def escaped(text: str) -> str:
    """Text as HTML that shows it and does nothing: no tag, no quote, no control character survives.

    >>> escaped('<script>alert("$x$")</script>')
    '&lt;script&gt;alert(&quot;$x$&quot;)&lt;/script&gt;'
    """
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "\N{REPLACEMENT CHARACTER}", html.escape(text))


def passage(text: str) -> str:
    """A prompt or passage with every `[mask]` marked; of a long one, the part around the first mask is in sight."""
    at = max(0, text.find(MASK) - ENDS)
    return _folded(text, _with_masks, text[at : at + 2 * ENDS] if len(text) > LONG else None, at)


def completion(text: str) -> str:
    r"""A completion with the box that counts (`prompts.parse_boxed`) marked; of a long one both ends are in sight."""
    answer = parse_boxed(text)
    boxes = [] if answer is None else [*re.finditer(r"\\boxed\s*\{" + re.escape(answer) + r"\}", text)]
    if not boxes:
        return _folded(text, escaped, _ends(text))
    start, end = boxes[-1].span()
    box = MARKED.format(BOXED, escaped(text[start:end]))
    whole = escaped(text[:start]) + box + escaped(text[end:])
    return _folded(text, lambda part: whole if part is text else escaped(part), _ends(text))


def _ends(text: str) -> str | None:
    return f"{text[:ENDS]} … {text[-ENDS:]}" if len(text) > LONG else None


def _with_masks(text: str) -> str:
    return MARKED.format(MASKED, MASK).join(escaped(part) for part in text.split(MASK))


def _folded(text: str, mark, glimpse: str | None, at: int = 0) -> str:
    """`text`, or where there is a `glimpse` of it, that in sight and the whole behind it."""
    if glimpse is None:
        return f"<div>{mark(text)}</div>"
    seen = f"<div>{'… ' if at else ''}{mark(glimpse)}</div>"
    return f"{seen}<details><summary>all {len(text):,} characters</summary><div>{mark(text)}</div></details>"


def judged(right: float | None) -> str:
    """A verdict in words and a sign, not by colour alone: 1, 0, or null where nobody judged.

    >>> judged(1.0), judged(0.0), judged(None)
    ('✓ right', '✗ wrong', 'not judged')
    """
    return WORDS[None if right is None or right != right else right > 0]


MANY = 8  # different answers of one source that are listed; more are counted

CELL = "text-align:left;vertical-align:top;padding:4px 8px;border:1px solid #8c8c8c"


def casebook(table: pd.DataFrame, chosen: dict[str, list[str]], labels: dict[str, str] | None = None) -> str:
    """HTML of the `chosen` cases (rule -> case ids, as `pzlib.studies.patterns.chosen` gives) of a table of completions.

    A column a source, in the table's order, headed by its label and its share of right answers; its first answer (of
    the lowest seed) in full, the others below it to unfold, equal ones once with their number. Everything is escaped.
    Errors: ValueError for a case that the table lacks.
    """
    parts = []
    for rule, cases in chosen.items():
        if not cases:
            parts.append(f"<p><b>{escaped(rule)}</b>: no such case</p>")
        for case in cases:
            rows = table[table["case"] == case]
            if rows.empty:
                raise ValueError(f"case: {case!r} is not in the table; choose from the same one")
            parts.append(_case(rows, rule, labels or {}))
    return FRAME.format("".join(parts))


def _case(rows: pd.DataFrame, rule: str, labels: dict[str, str]) -> str:
    one = rows.iloc[0]
    facts = [f"<b>{escaped(rule)}</b>", f"case {escaped(str(one['case']))}"]
    facts += [f"{name} <b>{escaped(str(one[name]))}</b>" for name in ("kind", "target") if pd.notna(one[name])]
    asked = passage(one["prompt"]) if isinstance(one["prompt"], str) else "(the prompt is not stored)"
    sources = [(labels.get(name, name), own) for name, own in rows.groupby("source", sort=False)]
    heads = "".join(f'<th style="{CELL}">{escaped(str(label))}<br>{_score(own)}</th>' for label, own in sources)
    cells = "".join(f'<td style="{CELL};{TEXT}">{_answers(own)}</td>' for _, own in sources)
    table = f'<table style="width:100%;table-layout:fixed"><tr>{heads}</tr><tr>{cells}</tr></table>'
    head = f'<p style="margin:4px 0px">{" · ".join(facts)}</p><div style="{TEXT}">{asked}</div>'
    return f'<div style="margin:16px 0px">{head}{table}</div>'


def _score(rows: pd.DataFrame) -> str:
    known = rows["right"].dropna()
    counted = f"{int((known > 0).sum())} of {len(known)} right" if len(known) else f"{len(rows)} not judged"
    seeds = rows["seed"].nunique()
    return f'<span style="font-weight:normal">{counted}{f", {seeds} seeds" if seeds > 1 else ""}</span>'


def _answers(rows: pd.DataFrame) -> str:
    rows = rows.sort_values(["seed", "sample"], kind="stable")
    first, others = rows.iloc[0], rows.iloc[1:]
    html = f"<b>{judged(first['right'])}</b>{completion(first['completion'])}"
    if others.empty:
        return html
    counted = others.groupby(["completion", "right"], sort=False, dropna=False).size().sort_values(ascending=False)
    listed = [f"{times} × {judged(right)}{completion(said)}" for (said, right), times in counted.items()]
    rest = f"and {len(listed) - MANY} more, each different" if len(listed) > MANY else ""
    return f"{html}<details><summary>{len(others)} more</summary>{''.join(listed[:MANY])}{rest}</details>"


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
    from matplotlib.colors import to_hex

    from pzlib.figures.run_view import ACCURACY

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
    from pzlib.figures.run_view import heat_of

    if MASK not in group["prompt"].iloc[0]:
        raise ValueError(f"prompt: holds no {MASK}; only masked passages can be inspected")
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
