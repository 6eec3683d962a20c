r"""What mathematics a string holds, worked by hand: what is put in TeX, what is right, what is wrong.
Verdicts are asked of one worker, as a user asks."""

import time

import pytest

from pzlib.mathtext import read
from pzlib.verify import MAX_CHARACTERS, MathVerifier, Verdict


@pytest.fixture(scope="module")
def verifier():
    with MathVerifier(workers=1, seconds=30) as verifier:
        yield verifier


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (" 420 ", "$420$"),
        (r"7\pi", r"$7\pi$"),
        ("$7$", "$7$"),
        ("$$7$$", "$7$"),
        (r"\(7\)", "$7$"),
        (r"\[7\]", "$7$"),
        (r"x = \boxed{7}", "$7$"),
        (r"\boxed{1}, \boxed{2}", r"\boxed{1}, \boxed{2}"),
        (r"\boxed{1", r"\boxed{1"),  # cut in mid-brace
        ("$69$,$84$", "$69$,$84$"),
        (r"\$18.50", "$18.50$"),
        ("$18.50", "$18.50$"),
        (r"62.5\%", "$62.5$"),
        ("62.5 %.", "$62.5$"),
        ("28 pct", "$28$"),
        ("5.", "$5$"),
        ("-3./2", "$-3/2$"),
        (r"0.\overline{3}", r"$\frac{3}{9}$"),
        ("4.5e33", r"$4.5 \times 10^{33}$"),
        ("-1E-5", r"$-1 \times 10^{-5}$"),
        ("2e", "$2e$"),
        ("2e-3x", "$2e-3x$"),
        ("1 000 000.5", "$1000000.5$"),
        ("1 2", r"$\text{1 2}$"),
        ("12 3/5", r"$12\frac{3}{5}$"),
        ("Evelyn", r"$\text{Evelyn}$"),
        ("red and blue", r"$\text{red and blue}$"),
        ("xyz", "$xyz$"),  # a product
        (r"5\text{ cents for each of the boys}", "$5$"),
        ("It is 5 or so, I think", "It is 5 or so, I think"),
        ("18 or 20 dollars per day", r"$\text{18 or 20 dollars per day}$"),  # no number of its own
        ("", "$$"),
    ],
)
def test_read(answer, text):
    assert read(answer).value == text


@pytest.mark.parametrize(
    ("gold", "prediction", "why"),
    [
        ("420", "420", "right"),
        ("420", "421", "wrong"),
        (r"\frac{1}{2}", "0.5", "right"),
        (r"\frac12", r"\dfrac{2}{4}", "right"),
        ("1/3", "0.333333", "right"),
        ("1/3", "0.33", "wrong"),
        (r"7\pi", r"7 \pi", "right"),
        (r"7\pi", "7", "wrong"),
        (r"2\sqrt{2}", r"\sqrt{8}", "right"),
        ("2n-2", "2(n-1)", "right"),
        ("1,3,5", "5, 3, 1", "right"),
        ("1,3,5", "1,3", "wrong"),
        ("(1,2)", "(2,1)", "wrong"),
        ("[0,1)", "(0,1)", "wrong"),
        (r"x \in [-2,7]", "[-2,7]", "right"),
        ("[-2,7]", r"-2 \le x \le 7", "right"),
        ("5", "x = 5", "right"),
        ("5", r"5 \text{ cm}", "right"),
        ("90", r"90^\circ", "right"),
        ("4.5e33", r"4.5 \times 10^{33}", "right"),
        ("4.5e33", r"4.5 \times 10^{32}", "wrong"),
        ("1.1e-9", "1e-9", "wrong"),  # below the 6 decimals that floats are compared to
        ("12 3/5", "12.6", "right"),
        ("12 3/5", "3", "wrong"),
        ("1,000", "1000", "right"),
        (r"\$18.50", "18.5", "right"),
        ("62.5%", r"62.5\%", "right"),
        (r"\text{east}", "East", "right"),
        ("Evelyn", r"\text{Evelyn}", "right"),
        ("Evelyn", "Carla", "wrong"),
        ("a + b + c", "c + b + a", "right"),  # "b + c" is no unit
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{bmatrix} 1 \\ 2 \end{bmatrix}", "right"),
        ("x > 5", "5 < x", "right"),
        ("x > 5", "x < 5", "wrong"),
        ("420", r"I find $400$, no: $\boxed{420}$.", "right"),
        ("420", "The final answer is $420$. I hope it is correct.", "right"),
        ("420", r"\boxed{420", "unparsable answer"),  # cut in mid-brace
        (["4", "5"], "5", "right"),
        (["4", "5"], "6", "wrong"),
        (["{", "5"], "6", "wrong"),  # one of the golds can be read
        ("{", "5", "unparsable gold"),
        (["{", "}"], "5", "unparsable gold"),
        ("", "5", "unparsable gold"),
        ("{", "{", "right"),  # to the letter
        ("5", r"\frac{1}{", "unparsable answer"),
        ("1", "1/2}", "unparsable answer"),  # and no 1
        ("5", "\ud800\udcff\x00", "unparsable answer"),
        ("5", None, "no answer"),
        ("5", " \n", "no answer"),
    ],
)
def test_verdicts(verifier, gold, prediction, why):
    assert verifier.grade([gold], [prediction]) == [Verdict(why)]


@pytest.mark.parametrize(
    "piece",
    ["1", "12", " ", "$", "a", "a ", "A ", "{", "(", "%", "1 000 ", r"1\,", "1_", ".", "0.3", "1e", r"\$", r"\text{",
     r"\text", r"\(", "^-", "sqrt(", "x or ", "x<", "1<x<", "√", "base ", "m/", "cm ", "-", "#", "*"],
)  # fmt: skip
def test_the_longest_answers_are_read_in_linear_time(piece):
    many = piece * (MAX_CHARACTERS // len(piece))
    for text in (many, f"$x{many}x", f"18 {many}", f"{many} cm", f"x<{many} or x>3"):
        started = time.perf_counter()
        read(text)
        assert time.perf_counter() - started < 5  # quadratic time would be half a minute
