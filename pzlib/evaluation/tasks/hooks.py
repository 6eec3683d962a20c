"""What the YAML tasks of this folder call: the questions of a benchmark as documents that lm-evaluation-harness reads.
Leaves out scoring: a task only asks."""

from pathlib import Path

from pzlib.evaluation.benchmarks import items, prompt, rows


def problems(benchmark, source=None, style="boxed", limit=None, **_):
    """{"test": a data set of id, prompt and gold}: from the file `source`, or from the hub.

    The harness passes a task's `dataset_kwargs` and its manager's `metadata`, which holds more than is read here. So
    `lm_eval --include_path pzlib/evaluation/tasks --tasks pz_math500` asks the same questions by itself.
    """
    import datasets

    path = Path(source) if source else None
    asked = items(benchmark, rows(benchmark, path)[0], str(path or benchmark))[:limit]
    style = "tiny" if benchmark == "tinybench" else style
    documents = [{"id": i.id, "prompt": prompt(benchmark, i, style), "gold": i.gold or ""} for i in asked]
    return {"test": datasets.Dataset.from_list(documents)}
