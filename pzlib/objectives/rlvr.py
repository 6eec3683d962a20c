"""RLVR: problems with gold answers, one group of answers to each, rewarded by a verifier (General-Reasoner's recipe).
Leaves out General-Reasoner's verifier model: answers are compared as strings, or as mathematics by math-verify."""

from pzlib.game import Block, Objective, Row
from pzlib.prompts import TEMPLATES, parse_boxed, question_prompt
from pzlib.tiers import WEBINSTRUCT
from pzlib.verify import MathVerifier, exact, final_answer

# RLVR as PretrainZero's follow-on (section 4.3: 400 steps of 128 problems, the General-Reasoner recipe) and, for what
# it leaves unsaid, General-Reasoner's script: rate, lengths, KL, entropy bonus, clip and dual clip, the two penalties.
# Its four updates a batch (mini-batches of a quarter) are so at tier paper; its verifier model is math-verify, and the
# passes over the data are ours.
_RECIPE = {
    **WEBINSTRUCT.settings(), "corpus_limit": 51_200, "steps": 400,
    "passages": 128, "group": 8, "learning_rate": 5e-7, "schedule": "constant", "max_prompt_tokens": 1024,
    "max_completion_tokens": 8192, "verifier": "math", "length_penalty": 0.05, "no_answer_reward": -0.5,
    "filter": "none", "clip_low": 0.3, "clip_high": 0.3, "clip_dual": 10.0, "kl": 1e-4, "entropy_bonus": 1e-3,
    "drop_rows": False,
}  # fmt: skip
# On the small world nothing but right and wrong counts: without KL and bonus, rows of no advantage cost nothing.
_MINI = {"corpus": "tinybench", "steps": 100, "passages": 32, "eval_every": 10}


def rlvr_reward(
    right: bool, answered: bool, longer: int = 0, length_penalty: float = 0.0, no_answer: float = 0.0
) -> float:
    """1 for a right answer, 0 for a wrong one, with General-Reasoner's two amendments where they are not 0.

    longer: tokens by which the answer is longer or shorter than the gold one; up to 10 of them cost a right answer
    `length_penalty` each (its script: 0.05). no_answer: what a completion without an answer gets (its script: -0.5).

    >>> rlvr_reward(True, True), rlvr_reward(True, True, 3, 0.05), rlvr_reward(True, True, 99, 0.05)
    (1.0, 0.85, 0.5)
    >>> rlvr_reward(False, True, 3, 0.05, -0.5), rlvr_reward(False, False, 0, 0.05, -0.5)
    (0.0, -0.5)
    """
    if not answered:
        return float(no_answer)
    return 1.0 - length_penalty * min(10, longer) if right else 0.0


class RLVR(Objective):
    """Questions out, boxed answers in; an episode's `mask` is the gold answer, its `verdict` the verifier's."""

    name, label, paper = "rlvr", "RLVR", "arXiv:2512.03442"
    reads_problems = True
    tiers = {
        "smoke": _MINI | {"steps": 6, "passages": 4, "eval_every": 0, "save_every": 3},
        "mini": _MINI,
        "gpu": _RECIPE | {"corpus_limit": 8000, "steps": 100, "passages": 32, "learning_rate": 1e-6,
                          "max_completion_tokens": 2048},
        "paper": _RECIPE | {"updates_per_batch": 4},
    }  # fmt: skip

    @classmethod
    def groups(cls, run):
        return 1

    @classmethod
    def load_items(cls, run, tokenizer, progress=False):
        from pzlib.corpus import load_problems

        return load_problems(
            run.corpus_source, question_column=run.question_column, answer_column=run.answer_column,
            limit=run.corpus_limit, seed=run.seed, config=run.corpus_config or None, split=run.corpus_split,
        )  # fmt: skip

    @classmethod
    def prompts(cls, run, item):
        return [question_prompt(item.question, TEMPLATES[run.template])]

    def __init__(self, run, items, tokenizer, folder=None, model=None):
        super().__init__(run, items, tokenizer, folder)
        self.math = MathVerifier() if run.verifier == "math" else None

    def fill(self, problems, ask, rng, step=1, read=None):
        """Blocks of `problems`, each the G answers to one."""
        texts = [question_prompt(problem.question, self.template) for problem in problems]
        groups = ask(texts)
        extract = final_answer if self.math else parse_boxed
        predictions = [[extract(answer.text) for answer in group] for group in groups]
        golds = [problem.answer for problem in problems for _ in range(self.run.group)]
        given = [p for row in predictions for p in row]
        verdicts = iter(self.math.grade(golds, given) if self.math else map(exact, golds, given))
        played = [Block(problem) for problem in problems]
        for block, text, group, own in zip(played, texts, groups, predictions, strict=True):
            gold = block.item.answer
            facts = {"mask": gold, "legal": True, "count": None, "kind": block.item.kind, "position": None}
            for answer, prediction in zip(group, own, strict=True):
                verdict = next(verdicts)
                reward, why = self._reward(verdict, prediction, gold), {"verdict": verdict.why}
                block.rows.append(Row.of("predictor", answer, text, prediction, reward, facts | why))
        return played

    def _reward(self, verdict, prediction, gold):
        longer = 0
        if verdict.right and self.run.length_penalty:
            tokens, wanted = self.tokenizer([prediction, gold], add_special_tokens=False)["input_ids"]
            longer = abs(len(tokens) - len(wanted))
        penalties = self.run.length_penalty, self.run.no_answer_reward
        return rlvr_reward(verdict.right, verdict.why != "no answer", longer, *penalties)
