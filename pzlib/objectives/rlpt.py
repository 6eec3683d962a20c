"""RLPT (arXiv:2509.19249): a sentence predicted from those before it (ASR), or from both sides of it (MSR).
Leaves out the cold start, NLTK's sentences. MSR's weight and the judge are not stated; reward by likelihood is ours."""

import json
import re
import urllib.request
from dataclasses import replace
from itertools import chain

from pzlib.engine.generation import in_turn
from pzlib.engine.memory import ROLLOUT_TOKENS
from pzlib.game import Block, Row
from pzlib.masking import MASK, MaskedPassage
from pzlib.objectives import likelihood
from pzlib.objectives.targets import facts_of
from pzlib.prompts import TINY, after_thought, next_token_prompt, parse_boxed, predictor_prompt

OPENING_TAG, CLOSING_TAG = "<|startofprediction|>", "<|endofprediction|>"
# The paper's prompts, as far as its quotation of the second goes.
ASR = (
    "Complete the text provided under ### Context by predicting the next most probable sentence. Please reason step by "
    f"step to determine the best possible continuation, and then enclose your final answer within {OPENING_TAG} and "
    f"{CLOSING_TAG} tags.\n### Context\n{{before}}"
)
MSR = (
    "## Text Material ##:\n{before} <MASK> {after}\n## Task ##: Fill in the <MASK> section of the material with "
    "appropriate sentences or a solution step. Carefully reason step by step. Enclose your final answer for the <MASK> "
    f"part within {OPENING_TAG} and {CLOSING_TAG}."
)
# The criterion is the paper's, the words are ours.
JUDGE = (
    "A continuation of a text is compared with the text itself. Is the prediction, in its meaning, a beginning of the "
    'reference? Answer with "Score: 1" if it is, else with "Score: 0".\n'
    "Reference: {reference}\nPrediction: {prediction}\n"
)
AHEAD = 3  # sentences of the reference that a judged prediction may be a beginning of
SHORT = 3  # words that a sentence has at least, to be asked for
SCORE, JUDGE_TOKENS = re.compile(r"Score:\s*([01])"), 16  # what a judge says, within so many tokens
PATIENCE = 16  # predictions that a judge may read without scoring one, before the run is stopped


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """(start, end) of each sentence: it ends after ., ! or ? and a blank, or with the text (the paper takes NLTK's).

    >>> text = "It was old . Who knew ? Nobody"
    >>> [text[start:end] for start, end in sentence_spans(text)]
    ['It was old .', 'Who knew ?', 'Nobody']
    """
    return [match.span() for match in re.finditer(r"\S.*?(?:[.!?。！？](?=\s)|\Z|(?<=[。！？]))", text, re.DOTALL)]


def parse_prediction(completion: str, template: str) -> str | None:
    """What is between the paper's tags behind the reasoning, or in the tiny template's box; None where nothing is.

    >>> parse_prediction(f"so {OPENING_TAG} It rained. {CLOSING_TAG}", "paper"), parse_prediction("so it is", "paper")
    ('It rained.', None)
    """
    if template == "tiny":
        return parse_boxed(completion)
    found = re.findall(rf"{re.escape(OPENING_TAG)}(.*?){re.escape(CLOSING_TAG)}", after_thought(completion), re.DOTALL)
    return found[-1].strip() if found else None


class RLPT(likelihood.ByLikelihood):
    """G sentences of a passage, G predictions of each: from what is before, or from both sides.

    J = ASR + weight x MSR: a group asks for the middle with probability weight / (1 + weight), so that its expected
    gradient is the paper's up to a factor. The target is a sentence of at least SHORT words with one before it, for the
    middle with one after it too. A passage without one keeps its place with rows that teach nothing.

    Rewards: the likelihood of the sentence (ours), `judge` (the paper's: is the prediction, in meaning, a beginning of
    the next AHEAD sentences), or `exact`.
    """

    name, label, paper = "rlpt", "RLPT", "arXiv:2509.19249"
    rewards = (*likelihood.LIKELIHOODS, "judge", "exact")
    _ALL = {"reward": "avg_logprob"}
    _PAPER = {"learning_rate": 1e-6, "schedule": "constant", "passages": 64, "max_completion_tokens": 8192}
    tiers = {"smoke": _ALL, "mini": _ALL, "gpu": _ALL | {"schedule": "constant"}, "paper": _ALL | _PAPER}

    @classmethod
    def check(cls, run):
        if (run.reward == "judge") != bool(run.judge):
            raise ValueError("judge: name a model or an endpoint for reward 'judge', and for that reward only")
        super().check(run)

    @classmethod
    def prompts(cls, run, item):
        return [_prompt(item.text, "", run.template), _prompt("", item.text, run.template)]

    @classmethod
    def frozen(cls, run):
        return super().frozen(run) | ({"judge": run.judge} if run.judge and "://" not in run.judge else {})

    @classmethod
    def stop_words(cls, run):
        return []  # it asks in its paper's form, whatever the template

    def __init__(self, run, items, tokenizer, folder=None, model=None):
        super().__init__(run, items, tokenizer, folder, model)
        self.judge = Judge(run) if run.judge else None
        if run.template != "tiny":
            self.opening = OPENING_TAG

    def fill(self, passages, ask, rng, step=1, read=None):
        """Blocks of `passages`, G groups each."""
        G = self.run.group
        with in_turn(rng):
            chosen = [[self._draw(passage.text, rng) for _ in range(G)] for passage in passages]
        asked = [target for row in chosen for target in row if target]
        answers = ask([prompt for prompt, *_ in asked])
        scored = iter(self._score(asked, answers, read))
        played = [Block(passage) for passage in passages]
        for block, passage, targets in zip(played, passages, chosen, strict=True):
            for target in targets:
                if not target:
                    block.rows += self.fillers()
                    continue
                prompt, (start, end), _ = target
                facts = facts_of(passage, MaskedPassage("", passage.text[start:end], 1, (start,)), count=None)
                for answer, prediction, reward, why in next(scored):
                    block.rows.append(Row.of("predictor", answer, prompt, prediction, reward, facts | why))
        return played

    def _draw(self, text, rng):
        """(prompt, span of the sentence, the text from it on as far as a judge reads); None where none can be asked."""
        spans = sentence_spans(text)
        middle = rng.random() < self.run.middle_weight / (1 + self.run.middle_weight)
        fit = [i for i in range(1, len(spans) - middle) if self._can_be_asked(text[slice(*spans[i])])]
        if not fit:
            return None
        i = rng.choice(fit)
        start, end = spans[i]
        after = text[slice(*spans[i + 1])] if middle else ""
        ahead = text[start : spans[min(i + AHEAD, len(spans)) - 1][1]]
        return _prompt(text[:start].rstrip(), after, self.run.template), (start, end), ahead

    def _can_be_asked(self, sentence):
        """Whether it is long enough, and is read back from what wraps an answer."""
        wrapped = f"{self.opening} {sentence} {'}' if self.run.template == 'tiny' else CLOSING_TAG}"
        found = parse_prediction(wrapped, self.run.template)
        return len(sentence.split()) >= SHORT and found is not None and found.strip() == sentence.strip()

    def _score(self, asked, answers, read):
        """Of each target its G (answer, prediction, reward, {"verdict"})."""
        run = self.run
        found = [[parse_prediction(answer.text, run.template) for answer in group] for group in answers]
        targets = [ahead[: end - start] for _, (start, end), ahead in asked]
        right = [
            [float(p is not None and p.split() == target.split()) for p in group]
            for target, group in zip(targets, found, strict=True)
        ]
        if run.reward == "judge":
            pairs = [(ahead, p) for (_, _, ahead), group in zip(asked, found, strict=True) for p in group]
            verdicts = iter(self.judge.scores(pairs))
            right = [[next(verdicts) for _ in group] for group in found]
        rewards = right
        if run.reward in likelihood.LIKELIHOODS:
            rewards, answers = likelihood.rewards_of(self, targets, answers, read)
        scored = likelihood.scored(answers, found, rewards, right)
        for *_, reward, why in chain(*scored):
            if reward is None:  # the row has no reward, and its group the others'
                why["verdict"] = "not judged"
        return scored


class Judge:
    """Whether predictions begin their references, by `Run.judge`: a model's folder or name, or http://host:port/NAME of
    an endpoint that speaks OpenAI's completions, as vLLM's does. Raises RuntimeError where it does not answer, or gives
    none of the first PATIENCE predictions a score."""

    def __init__(self, run):
        self.run, self.model, self.unscored = run, None, 0  # predictions since the beginning; None: it has scored one

    def scores(self, pairs):
        """1.0 or 0.0 for each (reference, prediction), None where the judge says neither; a prediction that is None is
        0.0 without being asked."""
        asked = [JUDGE.format(reference=r, prediction=p) for r, p in pairs if p is not None]
        said = (self._by_endpoint if "://" in self.run.judge else self._by_model)(asked) if asked else []
        found = [SCORE.search(text) for text in said]
        if self.unscored is not None:
            self.unscored = None if any(found) else self.unscored + len(found)
        if (self.unscored or 0) >= PATIENCE:
            words = f"none of {self.unscored} predictions a score, but answers {said[-1].strip()!r}"
            raise RuntimeError(f"judge: {self.run.judge} gives {words}; name a model that follows instructions")
        scores = (None if one is None else float(one[1]) for one in found)
        return [0.0 if p is None else next(scores) for _, p in pairs]

    def _by_endpoint(self, prompts):
        base, _, name = self.run.judge.rpartition("/")
        body = {"model": name, "prompt": prompts, "max_tokens": JUDGE_TOKENS, "temperature": 0}
        request = urllib.request.Request(f"{base}/v1/completions", json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=600) as reply:
                found = [choice["text"] for choice in json.load(reply)["choices"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RuntimeError(f"judge: {self.run.judge} does not answer ({error!r}); is the server up?") from error
        if len(found) != len(prompts):
            words = f"{len(found)} of {len(prompts)} questions"
            raise RuntimeError(f"judge: {self.run.judge} answers {words}; name an endpoint that completes prompts")
        return found

    def _by_model(self, prompts):
        import torch

        from pzlib.engine.models import from_source
        from pzlib.engine.sampling import sample

        if self.model is None:
            source = replace(self.run, model=self.run.judge).model_source
            try:
                self.model, self.tokenizer = from_source(source, self.run.judge)
            except (ValueError, FileNotFoundError) as error:
                raise type(error)(f"judge: {str(error).removeprefix('model: ')}") from error
            self.model.to("cuda" if torch.cuda.is_available() else "cpu")
        ids = self.tokenizer(prompts)["input_ids"]
        drawn = sample(
            self.model, ids, 1, max_new_tokens=JUDGE_TOKENS, eos_ids=[self.tokenizer.eos_token_id],
            pad_id=self.tokenizer.pad_token_id, temperature=0, generator=torch.Generator(),
            max_rows=max(1, ROLLOUT_TOKENS // (max(map(len, ids)) + JUDGE_TOKENS)),
        )  # fmt: skip
        return self.tokenizer.batch_decode(drawn.completion_ids)


def _prompt(before, after, template):
    if template == "tiny":
        return predictor_prompt(f"{before} {MASK} {after}", TINY) if after else next_token_prompt(before, TINY)
    return MSR.format(before=before, after=after) if after else ASR.format(before=before)
