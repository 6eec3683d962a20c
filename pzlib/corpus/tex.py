"""LaTeX to paragraphs of prose: formulas stay, commands go; an empty paragraph is a section break.
Left out: expanding macros. The paper trains on MathPile (PretrainZero sec. 4), cut in a way not said."""

from __future__ import annotations

import re
import unicodedata

_DISPLAY = r"equation|align|alignat|gather|multline|eqnarray|displaymath|flalign|dmath|math"

_FORMULA = re.compile(
    rf"\\begin\{{(?P<env>(?:{_DISPLAY})\*?)\}}(?P<body>.*?)\\end\{{(?P=env)\}}"
    r"|\$\$(?P<double>.+?)\$\$|(?<!\\)\\\[(?P<square>.+?)\\\]"
    r"|(?<!\\)\$(?P<single>(?:\\.|[^$\\\n]|\n(?!\s*\n))+)\$|\\\((?P<round>.+?)\\\)",
    re.DOTALL,
)

_NOT_PROSE = re.compile(  # figures and tables by any name a class gives them, code, bibliographies
    r"\\begin\{(?P<env>[^}]*(?:fig|tab|tikz|picture|verbatim|listing|bibliography|algorithm)[^}]*)\}.*?\\end\{(?P=env)\}",
    re.DOTALL,
)

# Commands whose arguments are not part of the running text.
_SILENT = re.compile(
    r"label|index|glsadd|footnote\w*|input|include\w*|usepackage|documentclass|[vh]space|vskip|hskip|bibliograph\w*|sectionnotes|"
    r"(re)?newcommand|set\w*|addto\w*|pagestyle|thispagestyle|markboth|caption|my?include\w*|title|author|date|thanks|"
    r"enlargethispage|phantom\w*|vphantom|hphantom|color|marginpar|nocite|hypersetup|theoremstyle|newtheorem"
)

_HEADING = re.compile(r"part|chapter|(sub)*section|(sub)?paragraph")

_INLINE_ENVIRONMENTS = {
    "enumerate", "itemize", "description", "samepage", "center", "flushleft", "quote", "quotation",
    "split",
}  # fmt: skip

_REFERENCE = re.compile(r"(\w*?)(?:cite\w*|[rR]ef)")

_REFERENCE_WORDS = {
    "thm": "Theorem", "prop": "Proposition", "cor": "Corollary", "defn": "Definition", "eq": "", "auto":
    "", "c": "", "v": "",
}  # fmt: skip

_ACCENTS = {  # command -> combining mark
    "`": "\u0300", "'": "\u0301", "^": "\u0302", '"': "\u0308", "~": "\u0303", "=": "\u0304", ".": "\u0307",
    "u": "\u0306", "v": "\u030c", "H": "\u030b", "c": "\u0327", "d": "\u0323",
    "b": "\u0331", "r": "\u030a", "k": "\u0328",
}  # fmt: skip

_LETTERS = {
    "ss": "ß", "o": "ø", "O": "Ø", "l": "ł", "L": "Ł", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "aa":
    "å", "AA": "Å", "i": "i", "j": "j",
}  # fmt: skip

_SIGNS = {
    "ldots": "…", "dots": "…", "textellipsis": "…", "S": "§", "P": "¶", "LaTeX": "LaTeX", "TeX": "TeX",
    "textbackslash": "\\", "par": "\n\n",
}  # fmt: skip

_SECTION = "\ue002"

_LONGEST_GROUP = 20_000  # characters; an unbalanced brace is given up there, so that damaged files stay fast

_TOKEN = re.compile(r"\\([a-zA-Z@]+)\*?|\\(.)|([{}])", re.DOTALL)



def latex(source: str) -> list[str]:
    r"""Prose paragraphs of a LaTeX file: the running text, without figures, notes, labels and commands.

    Inline formulas stay as `$...$`, displayed ones become `$$...$$`. References are numbered by first
    appearance, for the printed numbers are known to TeX alone. An empty paragraph is a section break.

    >>> latex("\\section{One} A \\emph{set}\\index{set} is\n$x$, see \\ref{l}.")
    ['', 'A set is $x$, see 1.']
    """
    source = source.replace("\r\n", "\n")
    source = re.sub(r"(?m)^[ \t]*%.*\n?", "", source)  # a whole line of comment breaks no paragraph
    source = re.sub(r"(?<!\\)%.*", "", source)
    source = source.partition(r"\begin{document}")[2] or source
    source = _NOT_PROSE.sub("", source.partition(r"\end{document}")[0])
    formulas: list[str] = []

    def hold(match: re.Match) -> str:
        formulas.append(_formula(match))
        return f"\ue000{len(formulas) - 1}\ue001"  # nothing in it that the rules for prose would touch

    text = _Prose().strip(_FORMULA.sub(hold, source))
    for written, printed in (("---", "—"), ("--", "–"), ("``", "“"), ("''", "”"), ("~", " ")):
        text = text.replace(written, printed)
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text)]
    tidy = [
        "" if part == _SECTION else re.sub(r" +([,.;:?!)])(?=\s|$)", r"\1", part)
        for part in paragraphs
        if part
    ]
    return [re.sub("\ue000(\\d+)\ue001", lambda m: formulas[int(m[1])], part) for part in tidy]



def _formula(match: re.Match) -> str:
    body = next(match[g] for g in ("body", "double", "square", "single", "round") if match[g] is not None)
    body = " ".join(re.sub(r"\\label\{[^}]*\}|\\(?:nonumber|notag|qedhere|displaybreak)\b", "", body).split())
    if match["single"] or match["round"]:
        return f"${body}$"
    many_lines = match["env"] and match["env"].rstrip("*") not in {"equation", "displaymath", "math"}
    return f"$$\\begin{{aligned}} {body} \\end{{aligned}}$$" if many_lines else f"$${body}$$"



class _Prose:
    """One pass over the text outside formulas; keeps list counters and the numbers given to labels."""

    def __init__(self):
        self.counters: list[int | None] = []
        self.numbers: dict[str, int] = {}

    def strip(self, text: str) -> str:
        out, at = [], 0
        while match := _TOKEN.search(text, at):
            out.append(text[at : match.start()])
            name, sign, _ = match.groups()
            at = match.end()
            if name:
                printed, at = self.command(name, text, at)
                out.append(printed)
            elif sign and sign in _ACCENTS:
                printed, at = self.accent(sign, text, at)
                out.append(printed)
            elif sign:  # \% prints the sign itself, "\ " and \, a space, \- and \/ nothing
                out.append(" " if sign in " \n\t,;:\\" else "" if sign in "-/!@" else sign)
        return "".join([*out, text[at:]])

    def command(self, name: str, text: str, at: int) -> tuple[str, int]:
        """What a command prints, and where the text goes on; the argument of an unknown one is text."""
        if name in _LETTERS or name in _SIGNS:
            return _LETTERS.get(name) or _SIGNS[name], re.compile(r"[ \t]*(?:\{\})?").match(text, at).end()
        if name in _ACCENTS:
            return self.accent(name, text, at)
        if name in {"begin", "end"}:
            environment, at = _group(text, at)
            return self.environment(name, (environment or "").rstrip("*"), text, at)
        if name == "item":
            given, at = _group(text, at, "[]")
            if given is None and self.counters and self.counters[-1] is not None:
                self.counters[-1] += 1
                given = f"({self.counters[-1]})"
            return f" {self.strip(given or '')} ", at
        if _HEADING.fullmatch(name) or _SILENT.fullmatch(name):
            return f"\n\n{_SECTION}\n\n" if _HEADING.fullmatch(name) else "", _arguments(text, at)
        if name == "hyperref":
            return "", _group(text, at, "[]")[1]
        if name == "href":
            return "", _group(text, at)[1]
        if reference := _REFERENCE.fullmatch(name):
            return self.reference(name, reference[1], text, at)
        return "", at

    def environment(self, side: str, name: str, text: str, at: int) -> tuple[str, int]:
        if name in {"enumerate", "itemize", "description"}:
            if side == "begin":
                self.counters.append(0 if name == "enumerate" else None)
            elif self.counters:
                self.counters.pop()
        if side == "begin":
            at = _group(text, at, "[]")[1]
        return " " if name in _INLINE_ENVIRONMENTS else "\n\n", at

    def reference(self, name: str, what: str, text: str, at: int) -> tuple[str, int]:
        _, at = _group(text, at, "[]")
        key, at = _group(text, at)
        if key is None:
            return "", at
        number = self.numbers.setdefault(key, len(self.numbers) + 1)
        if "cite" in name:
            return f"[{number}]", at
        word = _REFERENCE_WORDS.get(what, what.capitalize())
        return f"({number})" if what == "eq" else f"{word} {number}".strip(), at

    def accent(self, sign: str, text: str, at: int) -> tuple[str, int]:
        letter, end = _group(text, at)
        if letter is None:
            plain = re.compile(
                r"\s*(\\[ij](?![a-zA-Z])|[^\W\d_])" if sign.isalpha() else r"(\\[ij](?![a-zA-Z])|\w)"
            ).match(text, at)
            if plain is None or (sign.isalpha() and text[at : at + 1].strip()):
                return "", at
            letter, end = plain[1], plain.end()
        letter = self.strip(letter)
        return unicodedata.normalize("NFC", letter[:1] + _ACCENTS[sign] + letter[1:]), end



def _group(text: str, at: int, braces: str = "{}") -> tuple[str | None, int]:
    """Content of the balanced group that starts at `at`, and its end; (None, at) where there is none."""
    if text[at : at + 1] != braces[0]:
        return None, at
    depth = 0
    for match in re.compile(r"\\.|[{}\[\]]", re.DOTALL).finditer(text, at, at + _LONGEST_GROUP):
        depth += (match[0] == braces[0]) - (match[0] == braces[1])
        if depth == 0:
            return text[at + 1 : match.start()], match.end()
    return None, at



def _arguments(text: str, at: int) -> int:
    """Where the run of [...] and {...} at `at` ends."""
    while text[at : at + 1] in {"[", "{"}:
        content, end = _group(text, at, "[]" if text[at] == "[" else "{}")
        if content is None:
            break
        at = end
    return at
