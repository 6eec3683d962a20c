"""Reinforcement pretraining on plain text, with the text itself as the verifier: PretrainZero and its neighbours.
Leaves out everything heavy: importing the package loads no torch, each module is imported where it is used."""

import warnings

# tqdm's advice to install widgets; the bars are text, here and in the executed copy of a notebook
warnings.filterwarnings("ignore", message="IProgress not found")
