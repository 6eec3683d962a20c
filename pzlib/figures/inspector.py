"""The mask inspector: run, step and passage to unfold; its masks over the text by accuracy, their episodes behind them.
And the casebook: the same question to several models. All of it works without scripts, in an executed copy, an export
and an untrusted notebook; the one script is that of the step slider, without which the steps unfold one by one."""

import html
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from pzlib.masking import MASK
from pzlib.prompts import TEMPLATES, Template, parse_boxed
from pzlib.runs.episodes import is_right
from pzlib.world.tinywiki import kind_class

LONG = 900  # characters: a longer text folds
ENDS = 300  # characters of its beginning and of its end that stay in sight
MANY = 8  # different answers that are listed; more are counted

# Both names of "no formulas here": MathJax 2 (exported HTML) and MathJax 3 (JupyterLab). Colours of text and ground are
# inherited, so a dark theme stays dark; what has a ground of its own has a text colour too.
FRAME = '<div class="tex2jax_ignore mathjax_ignore" style="text-align:left;max-width:1100px">{}</div>'
# Of what holds texts; set once around many of them, since a style on each would double a page.
TEXT = "white-space:pre-wrap;overflow-wrap:anywhere;font-family:monospace;font-size:12px;line-height:1.6"
CELL = "text-align:left;vertical-align:top;padding:4px 8px;border:1px solid #8c8c8c"
LIGHT = '<span style="font-weight:normal">{}</span>'
NESTED = "margin:4px 0px 4px 18px"
MARKED = '<mark style="background-color:{};color:#000000">{}</mark>'
# Shows one step of a run at a time, by the slider before them. The bar is hidden where no script runs.
BAR = '<div hidden><label>step <input type="range" min="0" max="{}" value="0" style="width:60%"></label></div>'
SCRIPT = """<script>
document.querySelectorAll("[data-pzlib-steps]").forEach(box => {
  const steps = [...box.children].slice(1), bar = box.children[0], input = bar.querySelector("input");
  input.oninput = () => steps.forEach((step, i) => {
    step.style.display = i == input.value ? "" : "none";
    step.open = i == input.value;
  });
  bar.hidden = false;
  input.oninput();
});
</script>"""
MASKED, BOXED = "#ffe08a", "#bfe0ff"  # grounds of a mask and of a box, also told apart by their words


def escaped(text: str) -> str:
    """Text as HTML that shows it and does nothing: no tag, no quote, no control character survives.

    >>> escaped('<script>alert("$x$")</script>')
    '&lt;script&gt;alert(&quot;$x$&quot;)&lt;/script&gt;'
    """
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "\N{REPLACEMENT CHARACTER}", html.escape(text))


def passage(text: str) -> str:
    """A prompt or passage with every `[mask]` marked; of a long one, the part around the first mask is in sight."""

    def mark(part):
        return MARKED.format(MASKED, MASK).join(map(escaped, part.split(MASK)))

    at = max(0, text.find(MASK) - ENDS)
    return _folded(text, mark(text), ("… " if at else "") + mark(text[at : at + 2 * ENDS]))


def labelled(passage) -> str:
    """A labelled passage as a paragraph of HTML: words to deduce in blue and bold, from both sides only in light blue
    and italic, words that nothing determines grey and small; the tag says it where colours are lost."""
    words = []
    for start, end, kind in passage.kinds:
        tag, ground = ("i", "#cfe4f3") if kind.endswith("_inverse") else ("b", "#6db3dc")
        tag, ground = ("small", "#bbbbbb") if kind_class(kind) == "irreducible" else (tag, ground)
        look = f'style="background-color:{ground};color:#000000" title="{kind}"'
        word = escaped(passage.text[start:end])
        words.append(word if kind == "trivial" else f"<{tag} {look}>{word}</{tag}>")
    return FRAME.format(f"<p>{' '.join(words)}</p>")


def completion(text: str) -> str:
    r"""A completion with the box that counts (`prompts.parse_boxed`) marked; of a long one both ends are in sight."""
    answer, whole = parse_boxed(text), escaped(text)
    boxes = [] if answer is None else [*re.finditer(r"\\boxed\s*\{" + re.escape(answer) + r"\}", text)]
    if boxes:
        start, end = boxes[-1].span()
        whole = escaped(text[:start]) + MARKED.format(BOXED, escaped(text[start:end])) + escaped(text[end:])
    return _folded(text, whole, escaped(f"{text[:ENDS]} … {text[-ENDS:]}"))


def _folded(text: str, whole: str, glimpse: str) -> str:
    """The HTML of a text; where it is long, a glimpse of it in sight and the whole behind that."""
    if len(text) <= LONG:
        return f"<div>{whole}</div>"
    head = f"<summary>all {len(text):,} characters</summary>"
    return f"<div>{glimpse}</div><details>{head}<div>{whole}</div></details>"


def judged(right: float | None) -> str:
    """A verdict as text and a sign, not by colour alone: 1, 0, or null where nobody judged.

    >>> judged(1.0), judged(0.0), judged(None)
    ('✓ right', '✗ wrong', 'not judged')
    """
    return "not judged" if pd.isna(right) else "✓ right" if right > 0 else "✗ wrong"


def _equal_once(rows: pd.DataFrame, words: str, *keys: str) -> Iterator[str]:
    """Equal rows once, the most frequent first; of more than `MANY` the rest are counted.

    words: how often, the verdict and the completion are put into it; keys: the completion, its reward, and others.
    """
    counted = rows.groupby([*keys], sort=False, dropna=False).size().sort_values(ascending=False)
    for (said, right, *others), times in list(counted.items())[:MANY]:
        yield words.format(times, judged(right), completion(said), *others)
    if len(counted) > MANY:
        yield f"<i>and {len(counted) - MANY} more, each different</i>"


def casebook(table: pd.DataFrame, chosen: dict[str, list[str]], labels: dict[str, str] | None = None) -> str:
    """HTML of cases of a table of completions; chosen: rule -> case ids, as `pzlib.studies.patterns.chosen` gives.

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
    heads, cells = "", ""
    for name, own in rows.groupby("source", sort=False):
        known, seeds = own["right"].dropna(), own["seed"].nunique()
        score = f"{int((known > 0).sum())} of {len(known)} right" if len(known) else f"{len(own)} not judged"
        score += f", {seeds} seeds" if seeds > 1 else ""
        heads += f'<th style="{CELL}">{escaped(str(labels.get(name, name)))}<br>{LIGHT.format(score)}</th>'
        own = own.sort_values(["seed", "sample"], kind="stable")
        first, others = own.iloc[0], own.iloc[1:]
        cells += f'<td style="{CELL};{TEXT}"><b>{judged(first["right"])}</b>{completion(first["completion"])}'
        listed = "".join(_equal_once(others, "{} × {}{}", "completion", "right"))
        cells += f"<details><summary>{len(others)} more</summary>{listed}</details>" * bool(listed) + "</td>"
    table = f'<table style="width:100%;table-layout:fixed"><tr>{heads}</tr><tr>{cells}</tr></table>'
    head = f'<p style="margin:4px 0px">{" · ".join(facts)}</p><div style="{TEXT}">{asked}</div>'
    return f'<div style="margin:16px 0px">{head}{table}</div>'


class Heat(NamedTuple):
    """A passage and the masks tried on it: (start, end, share of right predictions), by characters."""

    passage_id: str
    text: str
    masks: list[tuple[int, int, float]]


def mask_places(masked: str, target: str) -> list[tuple[int, int]]:
    """(start, end) of each place that a masked text hides, in the text itself.

    >>> mask_places("a [mask] c [mask]", "bb")
    [(2, 4), (7, 9)]
    """
    found, pieces, start = [], masked.split(MASK), 0
    for piece in pieces[:-1]:
        start += len(piece)
        found.append((start, start + len(target)))
        start += len(target)
    return found


def heat_of(episodes: pd.DataFrame, template: Template) -> Heat | None:
    """The first passage of the latest step and its masks, read back from the predictor's prompts; None where no mask
    was legal. The prompts themselves say where the masks are, so this holds for every rule of `pzlib.masking`.

    >>> rows = {"role": "predictor", "passage_id": "p", "mask": "two", "block": 0, "group_index": 0}
    >>> rows |= {"step": 1, "prompt": "Passage : one [mask] . Answer :", "reward": [1.0, 0.0]}
    >>> heat_of(pd.DataFrame(rows), Template("{text}", "Passage : {text} Answer :", "{text}"))
    Heat(passage_id='p', text='one two .', masks=[(4, 7, 0.5)])
    """
    rows = episodes[(episodes["role"] == "predictor") & episodes["mask"].notna() & episodes["reward"].notna()]
    rows = rows[rows["step"] == rows["step"].max()]
    if rows.empty:
        return None
    chosen = rows["passage_id"].iloc[0]
    before, after = template.predictor.split("{text}")
    text, masks = "", []
    groups = rows[rows["passage_id"] == chosen].groupby(["block", "group_index", "mask"], sort=False)
    for (_, _, mask), group in groups:
        masked = group["prompt"].iloc[0].removeprefix(before).removesuffix(after)
        text = masked.replace(MASK, mask)
        masks += [(*place, float(group["reward"].mean())) for place in mask_places(masked, mask)]
    return Heat(str(chosen), text, masks)


def sample_episodes(episodes: pd.DataFrame) -> pd.DataFrame:
    """A generator's mask of the latest step, a right and a wrong prediction of it, where there are any.

    The first mask on which predictions differ, since only there something is learned, and among these the first that
    can be deduced, where the kinds of words are known; else the first of all.
    """
    latest = episodes[episodes["step"] == episodes["step"].max()]
    predictions = latest[(latest["role"] == "predictor") & latest["reward"].notna()]
    if predictions.empty:
        return latest.head(1)
    keys = ["passage_id", "block", "group_index"]
    mixed = predictions.groupby(keys)["reward"].transform("nunique") > 1
    deduced = predictions["kind"].map(lambda kind: isinstance(kind, str) and kind_class(kind) == "reasoning")
    first = predictions.loc[(2 * mixed + deduced.astype(int)).idxmax()]
    group = predictions[(predictions[keys] == first[keys]).all(axis=1)].sort_values("reward", ascending=False)
    masks = latest[(latest["role"] == "generator") & (latest[keys[:2]] == first[keys[:2]]).all(axis=1)]
    chosen = [masks[masks["mask"] == first["mask"]].head(1), group.drop_duplicates("reward")]
    return pd.concat([part for part in chosen if len(part)])


def first_and_last(folder) -> str:
    """HTML of the `sample_episodes` of a run's first and of its last stored step, side by side.

    Errors: ValueError for a run without episodes.
    """
    heads, cells = "", ""
    for step in dict.fromkeys(_steps_of(folder)[:: max(1, len(folder.episode_steps()) - 1)]):
        rows = sample_episodes(folder.episodes([step])).to_dict("records")
        heads += f'<th style="{CELL}">step {step}</th>'
        cells += f'<td style="{CELL};{TEXT}">'
        asked = [row["prompt"] for row in rows if row["role"] == "predictor"]
        for row in rows:
            made = row["role"] == "generator"
            verdict = f"mask {escaped(repr(row['mask']))}" if made else judged(float(is_right(row)))
            kind = f", {escaped(row['kind'])}" if made and isinstance(row["kind"], str) else ""
            reward = "none" if pd.isna(row["reward"]) else f"{row['reward']:.2f}"
            cells += f"<b>{row['role']}</b> · {verdict}{kind} · reward {reward}{completion(row['completion'])}"
            if made and asked:
                cells += passage(asked[0])
        cells += "</td>"
    return FRAME.format(f'<table style="width:100%;table-layout:fixed"><tr>{heads}</tr><tr>{cells}</tr></table>')


def _steps_of(folder) -> list[int]:
    if not (stored := folder.episode_steps()):
        raise ValueError(f"run {folder.path.name}: has no episodes; supervised runs store none, leave it out")
    return stored


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def inspector(runs: dict, steps: int = 3, passages: int = 2, slider: bool = False) -> str:
    """HTML of what the runs masked: {label: RunFolder}, of each so many steps (first, last, evenly between) and of each
    step its first passages, which is a random choice since passages are shuffled. What is left out is counted.
    slider: shows one step at a time, where scripts run; elsewhere the steps unfold.

    Works without a generator too. Questions that are not masked passages, such as a next token, a thought or a problem,
    are listed with their prompts, as no text can be laid under them. Errors: ValueError for a run without episodes
    (supervised ones store none).
    """
    scale = "".join(_coloured(f" {share:.0%} ", share) for share in (0.0, 0.25, 0.5, 0.75, 1.0))
    parts = [
        f"<p>Share of right predictions of the masks that cover a word: {scale}; under a word the number of its mask "
        "and that share. No colour: never masked.</p>"
    ]
    for number, (label, folder) in enumerate(runs.items()):
        stored = _steps_of(folder)
        shown = sorted({stored[round(place)] for place in np.linspace(0, len(stored) - 1, steps)})
        template, inner = TEMPLATES[folder.params()["template"]], ""
        for step in shown:
            inner += _step(step, folder.episodes([step]), template, passages, step == shown[0] and not number)
        if slider and len(shown) > 1:
            inner = f"<div data-pzlib-steps>{BAR.format(len(shown) - 1)}{inner}</div>"
        head = f"<b>{escaped(label)}</b> · {_count(len(stored), 'step')} stored, {len(shown)} shown"
        parts.append(_unfolding(head, inner, opened=number == 0))
    return FRAME.format("".join(parts)) + SCRIPT * slider


def _unfolding(head: str, body: str, opened: bool = False) -> str:
    return f'<details style="{NESTED}"{" open" * opened}><summary>{head}</summary>{body}</details>'


def _coloured(text: str, share: float) -> str:
    from matplotlib.colors import to_hex

    from pzlib.figures.run_view import ACCURACY

    return f'<span style="background-color:{to_hex(ACCURACY(share))};color:#000000">{escaped(text)}</span>'


def _step(step: int, rows: pd.DataFrame, template: Template, limit: int, opened: bool) -> str:
    names = list(dict.fromkeys(zip(rows["block"], rows["passage_id"], strict=True)))
    masks = rows[rows["role"] == "generator"]
    predicted = rows[rows["role"] == "predictor"].to_dict("records")
    head = f"step {step} · {_count(len(names), 'passage')}, {min(limit, len(names))} shown"
    if len(masks):
        head += f" · {int(masks['legal'].astype(bool).sum())} of {len(masks)} masks legal"
    if predicted:
        head += f" · {sum(map(is_right, predicted)) / len(predicted):.0%} of predictions right"
    inner = ""
    for place, (block, name) in enumerate(names[:limit]):
        own = rows[(rows["block"] == block) & (rows["passage_id"] == name)]
        inner += _passage(str(name), own, template, not place)
    return _unfolding(head, inner, opened)


def _passage(name: str, rows: pd.DataFrame, template: Template, opened: bool) -> str:
    predicted = rows[(rows["role"] == "predictor") & rows["mask"].notna() & rows["reward"].notna()]
    made = rows[rows["role"] == "generator"]
    text, covered, lines = "", [], []
    groups = [group for _, group in predicted.groupby("group_index")]
    for number, group in enumerate(groups, 1):
        if MASK in group["prompt"].iloc[0]:
            heat = heat_of(group, template)
            text = max(text, heat.text, key=len)  # before a next token the passage is cut off: the longest has them all
            covered += [(start, end, _share(group), number) for start, end, _ in heat.masks]
        # `row` counts over the whole step, `group_index` within the block, whose masks come in its order.
        place = int(group["group_index"].iloc[0])
        lines.append(_mask(number, group, made.iloc[place : place + 1]))
    illegal = made[~made["legal"].astype(bool)]
    if len(illegal):
        said = "".join(map(completion, illegal["completion"]))
        lines.append(_unfolding(f"{len(illegal)} not legal: nobody was asked", f'<div style="{TEXT}">{said}</div>'))
    head = f"passage {escaped(name)} · {len(groups)} masks that were predicted"
    return _unfolding(head, f'<div style="{TEXT}">{over(text, covered)}</div>{"".join(lines)}', opened)


def over(text: str, covered: list[tuple[int, int, float, int]]) -> str:
    """The text with its masks: every stretch in the colour of the mean over its masks, their numbers behind it.

    covered: (start, end, share of right predictions, number) by characters; masks may overlap.
    """
    edges, page = sorted({0, len(text), *(edge for mask in covered for edge in mask[:2])}), ""
    for left, right in pairwise(edges):
        shares = [share for start, end, share, _ in covered if start <= left and right <= end]
        page += _coloured(text[left:right], sum(shares) / len(shares)) if shares else escaped(text[left:right])
        ending = [f"{number}: {share:.0%}" for _, end, share, number in covered if end == right]
        page += f"<sub>{', '.join(ending)}</sub>" if ending else ""
    return page


def _share(group: pd.DataFrame) -> float:
    """Of right predictions: a reward that is a likelihood or a gain is not a share."""
    return sum(map(is_right, group.to_dict("records"))) / len(group)


def _mask(number: int, group: pd.DataFrame, made: pd.DataFrame) -> str:
    """One mask to unfold: who chose it, and its predictions, equal ones once with their number."""
    one, share = group.iloc[0], _share(group)
    kind = f" · {escaped(one['kind'])}" if isinstance(one["kind"], str) else ""
    head = f"{number} · {_coloured(one['mask'], share)} · {round(share * len(group))} of {len(group)} right{kind}"
    lines = [] if MASK in one["prompt"] else [passage(one["prompt"])]
    for row in made.itertuples():
        earned = f"<b>generator</b> · reward {row.reward:.3f} · advantage {row.advantage:+.2f}"
        lines.append(f"{earned}{completion(row.completion)}")
        head += f" · reward of the mask {row.reward:.2f}"
    group = group.assign(right=[float(is_right(row)) for row in group.to_dict("records")])
    words = "<b>{0} × {1}</b> · advantage {3:+.2f}{2}"
    if not set(group["reward"]) <= {0.0, 1.0}:
        words = "<b>{0} × {1}</b> · reward {4:.3f} · advantage {3:+.2f}{2}"
    lines += _equal_once(group, words, "completion", "right", "advantage", "reward")
    return _unfolding(head, f'<div style="{NESTED};{TEXT}">{"".join(lines)}</div>')
