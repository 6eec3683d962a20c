"""Our tasks for lm-evaluation-harness: a YAML file a benchmark, all over `_problems_yaml`, and the hook they call.
Leaves out columns, prompts and scoring, which are the library's: `pzlib.evaluation.benchmarks` and `pzlib.evaluation.scores`."""
