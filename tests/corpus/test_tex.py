"""LaTeX to prose: what TeX prints, or nothing."""

import json

import pytest
from prose import load

from pzlib.corpus import latex


@pytest.mark.parametrize(
    ("source", "prose"),
    [
        (r"\emph{Real \textbf{numbers}}\index{real} are {\it here}. % remark", "Real numbers are here."),
        (
            r"Erd\H{o}s, G\"odel, \'Etale, na\"{\i}ve \& 5\% of \$3---so ``quoted''~x.",
            "Erdős, Gödel, Étale, naïve & 5% of $3—so “quoted” x.",
        ),
        (
            r"See \cite{B} and \thmref{t}, Lemma \ref{l}, Theorem \ref{t}.",
            "See [1] and Theorem 2, Lemma 3, Theorem 2.",
        ),
        (
            "Take $x \\in\n \\R$ and\n\\begin{equation*}\nx = 1 . % c\n\\end{equation*}",
            r"Take $x \in \R$ and $$x = 1 .$$",
        ),
        (
            "\\begin{align}\\label{a}\na &= b \\\\\nc &= d\n\\end{align}",
            r"$$\begin{aligned} a &= b \\ c &= d \end{aligned}$$",
        ),
        (
            r"We ask: \begin{enumerate}[(i)] \item first, \item second. \end{enumerate}",
            "We ask: (1) first, (2) second.",
        ),
        ("A.\\footnote{With {nested} braces.} B.", "A. B."),
        (r"Unbalanced \emph{brace stays.", "Unbalanced brace stays."),
        (r"\begin{figure}\caption{No.}\end{figure}Text.", "Text."),
    ],
)
def test_latex(source, prose):
    assert [p for p in latex(source) if p] == [prose]


def test_latex_sections_and_theorems_are_paragraphs():
    source = "\\section{One}\nText\n%comment\nwraps.\n\n"
    source += "\\begin{lemma}[Zorn] \\label{l}\nA lemma.\n\\end{lemma}\nAfter."
    assert [p for p in latex(source) if p] == ["Text wraps.", "A lemma.", "After."]


@pytest.mark.parametrize(
    ("source", "prose"),
    [
        (r"\fcolorbox{red}{white}{Boxed} and \textcolor [rgb]{1,0,0} {red}.", "Boxed and red."),
        (r"\rotatebox{90}{Turned}, \raisebox{2pt}[1pt]{up}, \parbox[t]{3cm}{boxed}.", "Turned, up, boxed."),
        (r"\begin{minipage}[t][5cm]{0.5\textwidth}Inside it.\end{minipage}", "Inside it."),
        (r"\begin{multicols}{2} In it. \end{multicols}", "In it."),
        (r"\foreignlanguage{german}{Hallo} to \texorpdfstring{$x$}{x}.", "Hallo to $x$."),
        (r"It is \SI{5}{km} long.", None),
        (r"It has \num{12345} parts.", None),
        (r"The \term{x}{y} is here.", None),
        (r"\citeauthor{smith} says so.", None),
        (r"\nicefrac{1}{2} of 10\textsuperscript{6}, the 5\textsuperscript{th}.", "1/2 of 10^6, the 5th."),
        (r"At 20\textdegree C for \pounds5 or \texteuro 6.", "At 20°C for £5 or €6."),
        (r"\def\foo#1{bar #1}\newcommand\x[1]{y #1}Text is here.", "Text is here."),
        (r"\begin{comment}No \begin{x} {one.\end{comment}Shown one.", "Shown one."),
        (r"\iftrue Shown. \else No. \fi \if0 No. \fi More.", "Shown. More."),
        (r"\iffalse \ifx a \fi No. \else Shown. \fi $a \iff b$.", r"Shown. $a \iff b$."),
        (r"\citet*[p.~5]{a}, \cites[see][]{a}{b}, \cite{b, c}.", "[1], [1, 2], [2, 3]."),
        (r"\autoref{a} on page~\pageref{b}, \Cref{c}.", "1 on page 2, 3."),
        (r"See \url{http://x.org/a%20b_c} and \href[x]{y%20z}{this}.", "See http://x.org/a%20b_c and this."),
        (r"\lstinline|x_1 = 5%2|, \verb+a{b+ and \mintinline{c}{int x;}.", "x_1 = 5%2, a{b and int x;."),
        (r"Let $x = \mbox{a $y$ b}$ be.", r"Let $x = \mbox{a $y$ b}$ be."),
        ("A line\\\\% gone\nof \\underline{two} \\vspace*{1cm}parts.", "A line of two parts."),
        ("貓坐在墊\n子上。", "貓坐在墊子上。"),
    ],
)
def test_latex_prints_what_tex_prints_or_nothing(source, prose):
    assert [p for p in latex(source) if p] == ([prose] if prose else [])


def test_reported_cases(cases):
    for line in (cases / "latex.jsonl").read_text("utf-8").splitlines():
        case = json.loads(line)
        found = latex(case["source"])
        assert found in case["allowed"], case
        assert not any(words in " ".join(found) for words in case["never"]), case


def test_a_command_whose_print_is_not_known_is_counted(tmp_path):
    (tmp_path / "a.tex").write_text("The cat sat on the mat all day.\n\nIt is \\citeyear{x} or so.")
    corpus = load(tmp_path / "a.tex")
    assert [p.text for p in corpus] == ["The cat sat on the mat all day."] and corpus.report["unrendered"] == 1


@pytest.mark.parametrize("damage", ["{" * 5000, "\\emph{a " * 1000, "\\begin{x} " * 800, "\\cite[ a " * 1000, "$a "])
def test_damaged_files_stay_whole_behind_the_damage(damage):
    assert any("The last words are $x$." in paragraph for paragraph in latex(damage + "\n\nThe last words are $x$."))
