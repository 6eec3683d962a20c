"""Any text as passages or problems: one loader for every kind of file and data set."""

from pzlib.corpus.passages import Corpus, load_passages
from pzlib.corpus.problems import Problem, load_problems
from pzlib.corpus.tex import latex
from pzlib.corpus.wiki import wikitext

__all__ = ["Corpus", "Problem", "latex", "load_passages", "load_problems", "wikitext"]
