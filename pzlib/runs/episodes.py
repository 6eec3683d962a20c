"""One step's episodes in numbers, each role apart: an average over both says nothing in a zero-sum game.
Leaves out everything of the optimizer: the recorder adds loss, gradient norm and rate."""

from collections import Counter, defaultdict


def summary(shares, group):
    """The metrics of one step over all processes, by the names of metrics.jsonl; a role that did not play is
    absent.

    shares: one (episodes, trained, rows, refilled, prompt_tokens) per process: episode dicts, a 0/1 flag for
    each whether it moves the weights, all rows with the fillers, blocks replaced, tokens of the prompts. `fillers` are
    rows that keep the place of an illegal mask, or of a passage without a target. `dead_groups` is the share of scored
    groups whose G rewards are all equal (`dead_wrong`, `dead_right`:
    whose answers are all wrong or right); `loss_token_share` a role's share of the completion tokens that move the
    weights; `mask/kind` the share of legal masks that hide that kind and `accuracy/kind` the accuracy on them; `hits/k`
    the share of masks that k of their G predictions found; `verdict/why` the share of answers of which a verifier said
    so; entropies are nats a token, lengths tokens; None is undefined.
    """
    episodes = [e for share in shares for e in share[0]]
    trained = [flag for share in shares for flag in share[1]]
    moving = sum(e["length"] for e, flag in zip(episodes, trained, strict=True) if flag)
    metrics = {
        "rows": sum(share[2] for share in shares),
        "rows_trained": sum(trained),
        "fillers": sum(share[2] - len(share[0]) for share in shares),
        "tokens_prompt": sum(share[4] for share in shares),
        "tokens_completion": sum(e["length"] for e in episodes),
        "refilled": sum(share[3] for share in shares),
    }
    for role in ("predictor", "generator"):
        own = [(e, flag) for e, flag in zip(episodes, trained, strict=True) if e["role"] == role]
        rows = [e for e, _ in own]
        if rows or role == "predictor":
            mine = sum(e["length"] for e, flag in own if flag)
            metrics |= {f"{role}/{k}": v for k, v in _role(rows, group).items()}
            metrics[f"{role}/loss_token_share"] = mine / moving if moving else None
    return metrics | _masks(episodes, group) | _verdicts(episodes)



def _role(rows, group):
    tokens = sum(e["length"] for e in rows)
    rewards = [e["reward"] for e in rows]
    groups = [rewards[i : i + group] for i in range(0, len(rows), group)]
    found = {
        "reward": _mean(rewards),
        "dead_groups": _mean([len(set(g)) == 1 for g in groups]),
        "length": _mean([e["length"] for e in rows]),
        "clipped": _mean([e["clipped"] for e in rows]),
        "entropy": sum(e["entropy"] * e["length"] for e in rows) / tokens if tokens else None,
    }
    if rows and rows[0]["role"] == "generator":
        return found | {
            "parsed": _mean([e["mask"] is not None for e in rows]),
            "legal": _mean([e["legal"] for e in rows]),
        }
    right = [[is_right(e) for e in rows[i : i + group]] for i in range(0, len(rows), group)]
    return found | {
        "dead_wrong": _mean([not any(g) for g in right]),
        "dead_right": _mean([all(g) for g in right]),
        "accuracy": _mean([is_right(e) for e in rows]),
        "parsed": _mean([e["prediction"] is not None for e in rows]),
    }



def _masks(episodes, group):
    """What was masked, and how well it was found: each legal mask once, seen through its G predictions."""
    predictions = [e for e in episodes if e["role"] == "predictor"]
    masks = predictions[::group]
    hits = [sum(map(is_right, predictions[i : i + group])) for i in range(0, len(predictions), group)]
    by_kind = defaultdict(list)
    for mask, right in zip(masks, hits, strict=True):
        by_kind[mask["kind"]].append(right / group)
    found = {"mask/words": _mean([len(e["mask"].split()) for e in masks])}
    found["mask/position"] = _mean([e["position"] for e in masks])
    found |= {f"mask/{kind}": len(shares) / len(masks) for kind, shares in sorted(by_kind.items())}
    found |= {f"accuracy/{kind}": _mean(shares) for kind, shares in sorted(by_kind.items())}
    return found | {f"hits/{k}": _mean([right == k for right in hits]) for k in range(group + 1)}



def _verdicts(episodes):
    said = Counter(e["verdict"] for e in episodes if e.get("verdict"))
    return {f"verdict/{why}": count / said.total() for why, count in sorted(said.items())}



def is_right(episode):
    """Whether a prediction is right: what the verifier said, or else the reward of an exact match; of a thought whether
    it helped.

    >>> is_right({"reward": 1.0}), is_right({"reward": 0.85, "verdict": "right"}), is_right({"reward": 0.0})
    (True, True, False)
    >>> is_right({"reward": 0.2, "verdict": "helped"}), is_right({"reward": -1.5, "verdict": "hurt"})
    (True, False)
    """
    verdict = episode.get("verdict")  # None, or NaN in a table, where nobody judged
    return verdict in ("right", "helped") if isinstance(verdict, str) else episode["reward"] == 1.0



def _mean(values):
    values = [value for value in values if value is not None]
    return sum(values) / len(values) if values else None
