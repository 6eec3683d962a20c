"""One step's episodes in numbers, each role apart: an average over both says nothing in a zero-sum game.
Leaves out everything of the optimizer: the recorder adds loss, gradient norm and rate."""

from collections import Counter, defaultdict

from pzlib.prompts import OPENING


def summary(shares, group, opening=OPENING):
    """The metrics of one step over all processes, by the names of metrics.jsonl; a role that did not play is absent.

    shares: one (episodes, trained, rows, refilled, prompt_tokens) per process: episode dicts, a 0/1 flag for each
    whether it moves the weights, all rows with the fillers, blocks replaced, tokens of the prompts. `fillers` are
    rows that keep the place of an illegal mask, or of a passage without a target. `dead_groups` is the share of
    scored groups whose G rewards are all equal (`dead_wrong`, `dead_right`: whose answers are all wrong or right);
    `loss_token_share` a role's share of the completion tokens that move the weights; `mask/kind` the share of legal
    masks that hide that kind and `accuracy/kind` the accuracy on them; `hits/k` the share of masks that k of their
    G predictions found; `verdict/why` the share of answers of which a verifier found so; entropies are nats a token,
    lengths tokens, `length_reasoned` of the predictions with text before `opening`, which opens an answer; None is
    undefined.
    """
    episodes = [e for share in shares for e in share[0]]
    trained = [flag for share in shares for flag in share[1]]
    moving = [e for e, flag in zip(episodes, trained, strict=True) if flag]
    tokens_moving = _tokens(moving)
    metrics = {
        "rows": sum(share[2] for share in shares),
        "rows_trained": sum(trained),
        "fillers": sum(share[2] - len(share[0]) for share in shares),
        "tokens_prompt": sum(share[4] for share in shares),
        "tokens_completion": _tokens(episodes),
        "refilled": sum(share[3] for share in shares),
    }
    for role in ("predictor", "generator"):
        rows = [e for e in episodes if e["role"] == role]
        if rows or role == "predictor":
            metrics |= {f"{role}/{name}": value for name, value in _role(rows, group, opening).items()}
            mine = _tokens(e for e in moving if e["role"] == role)
            metrics[f"{role}/loss_token_share"] = mine / tokens_moving if tokens_moving else None
    verdicts = Counter(e["verdict"] for e in episodes if e.get("verdict"))
    metrics |= _masks([e for e in episodes if e["role"] == "predictor"], group)
    return metrics | {f"verdict/{why}": count / verdicts.total() for why, count in sorted(verdicts.items())}


def masks_of(episodes):
    """A step's masks as a DataFrame: mask, kind, legal, how often it occurs, reward, advantage, and the share of its
    predictions that are right (`found by`); of a method without a generator mask and share alone."""
    said = episodes[episodes["role"] == "predictor"]
    found = said.groupby("mask", sort=False)["reward"].mean().rename("found by").reset_index()
    masks = episodes[episodes["role"] == "generator"].drop_duplicates("mask")
    columns = ["mask", "kind", "legal", "count", "reward", "advantage"]
    return masks[columns].merge(found, how="left", on="mask") if len(masks) else found


def _role(rows, group, opening):
    tokens, rewards = _tokens(rows), [e["reward"] for e in rows]
    found = {
        "reward": _mean(rewards),
        "dead_groups": _mean([len(set(same)) == 1 for same in _groups(rewards, group)]),
        "length": _mean([e["length"] for e in rows]),
        "clipped": _mean([e["clipped"] for e in rows]),
        "entropy": sum(e["entropy"] * e["length"] for e in rows) / tokens if tokens else None,
    }
    if rows and rows[0]["role"] == "generator":
        found["parsed"] = _mean([e["mask"] is not None for e in rows])
        return found | {"legal": _mean([e["legal"] for e in rows])}
    right = [is_right(e) for e in rows]
    return found | {
        "length_reasoned": _mean([e["length"] for e in rows if reasons(e["completion"], opening)]),
        "dead_wrong": _mean([not any(same) for same in _groups(right, group)]),
        "dead_right": _mean([all(same) for same in _groups(right, group)]),
        "accuracy": _mean(right),
        "parsed": _mean([e["prediction"] is not None for e in rows]),
    }


def _masks(predictions, group):
    """What was masked, and how well it was found: each legal mask once, seen through its G predictions."""
    masks = predictions[::group]
    hits = [sum(right) for right in _groups([is_right(e) for e in predictions], group)]
    by_kind = defaultdict(list)
    for mask, right in zip(masks, hits, strict=True):
        by_kind[mask["kind"]].append(right / group)
    return {
        "mask/words": _mean([len(e["mask"].split()) for e in masks]),
        "mask/position": _mean([e["position"] for e in masks]),
        **{f"mask/{kind}": len(shares) / len(masks) for kind, shares in sorted(by_kind.items())},
        **{f"accuracy/{kind}": _mean(shares) for kind, shares in sorted(by_kind.items())},
        **{f"hits/{k}": _mean([right == k for right in hits]) for k in range(group + 1)},
    }


def reasons(completion, opening=OPENING):
    r"""Whether a completion says anything before its answer opens. Where the share that reasons grows, so does the mean
    length over all; among these it need not.

    >>> reasons(r"Think : 2 plus 3 is 5 . \boxed{ 5 }"), reasons("Think : 2 plus"), reasons(r"\boxed{ 5 }")
    (True, True, False)
    """
    return bool(completion.partition(opening)[0].strip())


def is_right(episode):
    """Whether a prediction is right: the verifier's verdict, or else the reward of an exact match; of a thought whether
    it helped.

    >>> is_right({"reward": 1.0}), is_right({"reward": 0.85, "verdict": "right"}), is_right({"reward": 0.0})
    (True, True, False)
    >>> is_right({"reward": 0.2, "verdict": "helped"}), is_right({"reward": -1.5, "verdict": "hurt"})
    (True, False)
    """
    verdict = episode.get("verdict")  # None, or NaN in a table, where nobody judged
    return verdict in ("right", "helped") if isinstance(verdict, str) else episode["reward"] == 1.0


def _groups(values, group):
    return [values[i : i + group] for i in range(0, len(values), group)]


def _tokens(episodes):
    return sum(e["length"] for e in episodes)


def _mean(values):
    values = [value for value in values if value is not None]
    return sum(values) / len(values) if values else None
