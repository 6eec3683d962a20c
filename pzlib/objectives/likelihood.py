"""Rewards by likelihood: the target in the answer's place behind the sampled reasoning, scored by teacher forcing.
Leaves out VeriFree's term on the answer and RLPR's debiasing. Advantages stay GRPO's; the papers divide by no std."""

from bisect import bisect_right

from pzlib.objectives.supervised import answer as boxed
from pzlib.prompts import parse_boxed
from pzlib.rewards import likelihood_rewards, predictor_reward

OPENING = "\\boxed{"


def placed(answer, target, template, tokenizer):
    r"""(ids that go on from the prompt up to the target, ids of the target); None for an Answer that was cut or opens
    no box.

    The sampled tokens stay up to the last box; from there on the opening and the target are tokenized together, so that
    a token that holds the brace and the target's first letters counts as the target's, as the model would write it.
    """
    at = answer.text.rfind(OPENING)
    if at < 0 or answer.clipped:
        return None

    def decoded(n):
        return tokenizer.decode(answer.ids[:n], skip_special_tokens=False, clean_up_tokenization_spaces=False)

    kept = bisect_right(range(len(answer.ids) + 1), at, key=lambda n: len(decoded(n))) - 1
    left = answer.text[len(decoded(kept)) : at]
    whole = left + boxed(target, template)
    start = whole.index(target, len(left) + len(OPENING))
    coded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    inside = [i for i, (s, e) in enumerate(coded["offset_mapping"]) if s < start + len(target) and e > start]
    ids = coded["input_ids"]
    return [*answer.ids[:kept], *ids[: inside[0]]], ids[inside[0] : inside[-1] + 1]


def score(method, asked, answers, read):
    """Of each (prompt, target) its G (answer, prediction, reward, {"verdict"}); `read` reaches `method.likelihoods`."""
    run, tokenizer = method.run, method.tokenizer
    places = [
        [placed(answer, target, run.template, tokenizer) for answer in group]
        for (_, target), group in zip(asked, answers, strict=True)
    ]
    questions = [
        (group[0].prompt_ids, [place for place in own if place]) for group, own in zip(answers, places, strict=True)
    ]
    scored = []
    for (_, target), group, own, found in zip(asked, answers, places, read(questions, by="likelihoods"), strict=True):
        found = iter(found)
        tokens = len(tokenizer(target, add_special_tokens=False)["input_ids"])
        rewards = likelihood_rewards([next(found) if place else None for place in own], run.reward, tokens)
        scored.append([])
        for answer, reward in zip(group, rewards, strict=True):
            prediction = parse_boxed(answer.text)
            right = predictor_reward(prediction, target)
            verdict = "no answer" if prediction is None else "right" if right else "wrong"
            scored[-1].append((answer, prediction, reward, {"verdict": verdict}))
    return scored
