"""A case is chosen from a stored step, kept as a table, and drawn: passage, masks, and the answers to one of them."""

import pandas as pd
import synthetic
from readable import assert_readable, texts

from pzlib.figures.paper import case
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.studies.measured import collect_case
from pzlib.train import train
from pzlib.world.tinywiki import kind_class


def run_rows(run):
    rows = RunFolder(run.folder).episodes([run.steps])
    return rows[rows["role"] == "predictor"]


def test_a_case_of_a_stored_run_has_its_masks_and_an_answer_a_model(tiny_model, home):
    sizes = {"steps": 1, "passages": 6, "group": 2, "eval_items": 2, "max_completion_tokens": 6}
    text = "tinywiki:density=1"  # much to deduce, so that some spans take reasoning
    run = Run(tier="smoke", objective="random_span", model=str(tiny_model), corpus=text, **sizes)
    train(run)
    kept = collect_case([run], home / "answers", samples=2)
    assert kept.equals(pd.read_csv(home / "data/results/smoke/case.csv").astype(kept.dtypes.to_dict()))
    masks, answers = kept[kept["completion"].isna()], kept[kept["completion"].notna()]
    assert answers["step"].tolist() == [0, 1] and answers["target"].nunique() == 1
    passages = {row.masked.replace("[mask]", row.target) for row in kept.itertuples()}
    assert len(passages) == 1 and set(answers["target"]) <= set(masks["target"])
    assert_readable(case(kept.assign(arm="random_span")))
    rows = run_rows(run)
    reasons = {mask for mask, kind in zip(rows["mask"], rows["kind"], strict=True) if kind_class(kind) == "reasoning"}
    assert 0 < len(reasons) < rows["mask"].nunique() and set(answers["target"]) <= reasons
    (run.folder / "model").rename(run.folder / "gone")
    assert collect_case([run], home / "answers", samples=2) is None


def test_a_case_shows_whose_answers_were_right():
    figure = case(synthetic.case())
    said = [text.get_text() for text, _ in texts(figure)]
    for words in ("Base: 2 of 8", "PretrainZero: 8 of 8", "Random spans: 6 of 8"):
        assert said.count(f"{words} answers right") == 1, words
    assert figure.headline == "One mask, right answers: Base 2 of 8, PretrainZero 8 of 8, Random spans 6 of 8"
    colours = {patch.get_facecolor() for patch in figure.axes[0].patches}
    assert len(figure.axes[0].patches) == 3 and len(colours) == 3  # half, all and none of the predictions were right
