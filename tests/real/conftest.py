"""The made-up benchmark files serve here too."""

from tests.benchmarkfiles import benchmark_files  # noqa: F401
