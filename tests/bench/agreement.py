"""How far our extractor and graders agree with graded answers: `python -m tests.bench.agreement FOLDER`.
Leaves out who is right: every difference is printed, for a reader to judge. The stored table holds counts only."""

from __future__ import annotations

import argparse
import csv
import io
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pzlib.corpus.formats import records
from pzlib.paths import root
from pzlib.runs.folder import write_atomic
from pzlib.stats import wilson
from pzlib.verify import MathVerifier, final_answer, stock_letter

END = 160  # characters of an answer's end that are shown


@dataclass
class Measure:
    """One count: `hits` of `n` answers of a file; `seconds` it took, where it was timed."""

    file: str
    measure: str
    n: int
    hits: int
    seconds: float | None = None

    @property
    def share(self) -> float:
        return self.hits / self.n

    def row(self) -> dict:
        """A row of the table, with the share's 95 % Wilson interval.

        >>> Measure("a.jsonl", "letter", 10, 8, 0.5).row()["low"]
        0.4902
        """
        low, high = wilson(self.hits, self.n)
        numbers = {"share": self.share, "low": low, "high": high}
        seconds = "" if self.seconds is None else round(self.seconds, 3)
        return asdict(self) | {name: round(value, 4) for name, value in numbers.items()} | {"seconds": seconds}


@dataclass
class Difference:
    """An answer on which we and the file differ."""

    where: str
    gold: object
    ours: object
    theirs: object
    end: str

    def __str__(self) -> str:
        head = f"{self.where}: gold {self.gold!r}, ours {self.ours!r}, theirs {self.theirs!r}"
        return f"{head}\n    ...{self.end[-END:]!r}"


def letters(path: Path) -> tuple[list[Measure], list[Difference]]:
    """MMLU-Pro's answers: our letter against `pred`, and the accuracy of both where the authors read one and not.

    How many of the authors' three patterns made the file's `pred` shows in the agreement over all answers, None
    included, with 1, 2 and 3 of them. Columns read: answer, pred, output.
    """
    rows = _rows(path, "answer", "pred", "output")
    started = time.perf_counter()
    ours = [stock_letter(row["output"]) for row in rows]
    seconds = time.perf_counter() - started
    matched = [i for i, row in enumerate(rows) if row["pred"]]
    unmatched = [i for i, row in enumerate(rows) if not row["pred"]]

    def count(measure, of, hit, seconds=None):
        return Measure(path.name, measure, len(of), sum(hit(rows[i], ours[i]) for i in of), seconds)

    measures = [count("letter, where theirs matched", matched, lambda row, letter: letter == row["pred"], seconds)]
    for tried in ("1 pattern", "2 patterns", "3 patterns"):
        measures.append(
            count(
                f"letter or none, {tried}",
                range(len(rows)),
                lambda row, _, patterns=int(tried[0]): stock_letter(row["output"], patterns=patterns) == row["pred"],
            )
        )
    measures += [
        count("accuracy of theirs, where matched", matched, lambda row, _: row["pred"] == row["answer"]),
        count("accuracy of ours, where matched", matched, lambda row, letter: letter == row["answer"]),
        count("letter of ours, where theirs did not match", unmatched, lambda _, letter: letter is not None),
        count("accuracy of ours, where theirs did not match", unmatched, lambda row, letter: letter == row["answer"]),
    ]
    differences = [
        Difference(f"{path.name} {i + 1}", rows[i]["answer"], ours[i], rows[i]["pred"], rows[i]["output"])
        for i in matched
        if ours[i] != rows[i]["pred"]
    ]
    return [found for found in measures if found.n], differences


def qwen_math(path: Path, verifier: MathVerifier) -> tuple[list[Measure], list[Difference]]:
    """Chains of thought on MATH: our answer against `pred`, our verdict on it against `score`.

    Their `pred` is rewritten (units and spaces off), so answers agree if math-verify says so. Columns read: gt, and
    lists of equal length code, pred, score.
    """
    rows = [
        (f"{path.name} {i + 1}.{k + 1}", row["gt"], text, pred, bool(score))
        for i, row in enumerate(_rows(path, "gt", "code", "pred", "score"))
        for k, (text, pred, score) in enumerate(zip(row["code"], row["pred"], row["score"], strict=True))
    ]
    _, golds, texts, preds, _ = zip(*rows, strict=True)
    started = time.perf_counter()
    ours = [final_answer(text) for text in texts]
    verdicts = verifier.grade(golds, ours)
    seconds = time.perf_counter() - started
    agreed = [verdict.right == score for verdict, (*_, score) in zip(verdicts, rows, strict=True)]
    same = [verdict.right for verdict in verifier.grade(preds, ours)]
    differences = [
        Difference(where, gold, f"{ours[i]} ({verdicts[i].why})", f"{pred} ({score})", text)
        for i, (where, gold, text, pred, score) in enumerate(rows)
        if not (agreed[i] and same[i])
    ]
    answered = Measure(path.name, "answer", len(rows), sum(same))
    return [Measure(path.name, "verdict", len(rows), sum(agreed), seconds), answered], differences


def triples(path: Path, verifier: MathVerifier) -> tuple[list[Measure], list[Difference]]:
    """math-verify's own test cases: our verdict against `expected`. Columns read: gold, pred, expected."""
    rows = _rows(path, "gold", "pred", "expected")
    started = time.perf_counter()
    verdicts = verifier.grade([row["gold"] for row in rows], [row["pred"] for row in rows])
    seconds = time.perf_counter() - started
    differences = [
        Difference(f"{path.name} {i + 1}", row["gold"], verdict.why, row["expected"], row["pred"])
        for i, (row, verdict) in enumerate(zip(rows, verdicts, strict=True))
        if verdict.right != bool(row["expected"])
    ]
    return [Measure(path.name, "verdict", len(rows), len(rows) - len(differences), seconds)], differences


def measure(folder: Path, verifier: MathVerifier) -> Iterator[tuple[list[Measure], list[Difference]]]:
    """Everything that can be measured in `folder`, a pair for each file. Errors: FileNotFoundError if it is nothing."""
    kinds = {
        "mmlu_pro_outputs_*.jsonl": letters,
        "qwen_math_outputs*.jsonl": lambda path: qwen_math(path, verifier),
        "math_verify_cases*.jsonl": lambda path: triples(path, verifier),
    }
    found = [(kind, path) for pattern, kind in kinds.items() for path in sorted(folder.glob(pattern))]
    if not found:
        raise FileNotFoundError(f"{folder}: holds no {', '.join(kinds)}; name the folder of the graded answers")
    for kind, path in found:
        yield kind(path)


def _rows(path: Path, *columns: str) -> list[dict]:
    rows = records(path, "graded")
    for i, row in enumerate(rows):
        missing = [column for column in columns if column not in row]
        if missing:
            raise ValueError(f"{path.name}: line {i + 1} has no {', '.join(missing)}; its columns: {', '.join(row)}")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.agreement", description=__doc__)
    parser.add_argument("folder", type=Path, help="holds mmlu_pro_outputs_*, qwen_math_outputs, math_verify_cases")
    rows = []
    with MathVerifier() as verifier:
        for measures, differences in measure(parser.parse_args().folder, verifier):
            for found in measures:
                row = found.row()
                rows.append(row)
                span = f"{row['share']:.1%} [{row['low']:.1%}, {row['high']:.1%}]"
                took = f" in {row['seconds']} s" if row["seconds"] != "" else ""
                print(f"{found.file}: {found.measure}: {found.hits} of {found.n}, {span}{took}")
            print("\n".join(map(str, differences)) or "no difference", end="\n\n", flush=True)
        print("verdicts:", dict(verifier.counts))
    table = io.StringIO()
    writer = csv.DictWriter(table, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    (root() / "data/results").mkdir(parents=True, exist_ok=True)
    write_atomic(root() / "data/results/graders.csv", table.getvalue())


if __name__ == "__main__":
    main()
