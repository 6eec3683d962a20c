"""Any text as passages or problems: one loader for every kind of file and data set."""

from pzlib.corpus.passages import Corpus, load_passages
from pzlib.corpus.problems import load_problems

__all__ = ["Corpus", "load_passages", "load_problems"]
