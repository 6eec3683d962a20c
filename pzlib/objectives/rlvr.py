"""RLVR: problems with gold answers, one group of answers to each, paid by a verifier (General-Reasoner's recipe).
Leaves out General-Reasoner's verifier model: answers are compared as strings, or as mathematics by math-verify."""

from __future__ import annotations

from pzlib.game import Block, Rollout, episode_row
from pzlib.prompts import parse_boxed, question_prompt
from pzlib.verify import MathVerifier, exact, final_answer


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


class Exam(Rollout):
    """Questions out, boxed answers in; an episode's `mask` is the gold answer, its `verdict` what the verifier said."""

    def __init__(self, run, problems, tokenizer, folder=None):
        super().__init__(run, problems, tokenizer, folder)
        self.math = MathVerifier() if run.verifier == "math" else None

    def play(self, problems, ask, rng, step=1, read=None):
        """Blocks of `problems`, each the G answers to one."""
        texts = [question_prompt(problem.question, self.template) for problem in problems]
        asked = ask(texts)
        extract = final_answer if self.math else parse_boxed
        predictions = [[extract(answer[2]) for answer in answers] for answers in asked]
        golds = [problem.answer for problem in problems for _ in range(self.run.group)]
        verdicts = iter(self._verdicts(golds, [p for row in predictions for p in row]))
        played = [Block(problem) for problem in problems]
        for b, (block, text) in enumerate(zip(played, texts, strict=True)):
            gold = block.passage.answer
            facts = {"mask": gold, "legal": True, "count": None, "kind": block.passage.kind, "position": None}
            for answer, prediction in zip(asked[b], predictions[b], strict=True):
                verdict = next(verdicts)
                told = facts | {"verdict": verdict.why}
                reward = self._reward(verdict, prediction, gold)
                block.rows.append(episode_row("predictor", answer, text, prediction, reward, told))
            self.weigh(block, b)
        return played

    def _verdicts(self, golds, predictions):
        if self.math:
            return self.math.grade(golds, predictions)
        return [exact(gold, prediction) for gold, prediction in zip(golds, predictions, strict=True)]

    def _reward(self, verdict, prediction, gold):
        longer = 0
        if verdict.right and self.run.length_penalty:
            said, wanted = self.tokenizer([prediction, gold], add_special_tokens=False)["input_ids"]
            longer = abs(len(said) - len(wanted))
        penalties = self.run.length_penalty, self.run.no_answer_reward
        return rlvr_reward(verdict.right, verdict.why != "no answer", longer, *penalties)
