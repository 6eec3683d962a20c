"""LaTeX to paragraphs of prose: formulas stay, commands go; an empty paragraph is a section break.
Left out: expanding macros. The paper trains on MathPile (PretrainZero sec. 4), cut in a way that it does not state."""

import re
from functools import cache

from pzlib.corpus.cutting import HOLE, SECTION, tidy

_TEXT = r"\\(?:text\w*|mbox|hbox|intertext)\s*\{[^{}]*\}"  # in a formula; may hold dollars of its own
_DISPLAY = r"equation|align|alignat|gather|multline|eqnarray|displaymath|flalign|dmath|math"
_FORMULA = re.compile(
    rf"\\begin\{{(?P<env>(?:{_DISPLAY})\*?)\}}(?P<body>.*?)\\end\{{(?P=env)\}}"
    r"|\$\$(?P<double>.+?)\$\$|(?<!\\)\\\[(?P<square>.+?)\\\]"
    rf"|(?<!\\)\$(?P<single>(?:{_TEXT}|\\.|[^$\\\n]|\n(?!\s*\n))+)\$|\\\((?P<round>.+?)\\\)",
    re.DOTALL,
)
_OPTION = r"(?:\[[^\]\n]*\])?"
_VERBATIM = re.compile(  # printed as written, per cent signs too
    rf"\\(?:verb\*?|path|lstinline{_OPTION}|mintinline{_OPTION}\{{\w+\}})(?P<sign>[^\w\s{{}}\\*])(?P<code>[^\n]*?)(?P=sign)"
    rf"|\\(?:url|nolinkurl|path|lstinline{_OPTION}|mintinline{_OPTION}\{{\w+\}})\s*\{{(?P<braced>[^{{}}]*)\}}"
)
_ADDRESS = re.compile(rf"\\href\s*{_OPTION}\s*\{{[^{{}}]*\}}\s*(?=\{{)")
_CONDITIONAL = re.compile(r"\\(else|fi|if *0|if(?!f\b|thenelse\b)[a-zA-Z@]*)(?![a-zA-Z@])[ \t]?")
_NOT_PROSE = re.compile(  # figures and tables by any name a class gives them, code, bibliographies, hidden text
    r"\\begin\{(?P<env>[^}]*(?:fig|tab|tikz|picture|verbatim|listing|minted|filecontents|bibliography|algorithm|comment)"
    r"[^}]*)\}.*?\\end\{(?P=env)\}",
    re.DOTALL,
)
# Commands whose arguments are not part of the running text.
_SILENT = re.compile(
    r"label|index|glsadd|foot(note|cite)\w*|input|my?include\w*|usepackage|documentclass|[vh]space|[vh]skip|todo|rule|"
    r"bibliograph\w*|sectionnotes|set\w*|addto\w*|addcontentsline|pdfbookmark|(this)?pagestyle|pagenumbering|fontsize|"
    r"mark(both|right)|caption\w*|title|author|date|thanks|enlargethispage|[vh]?phantom\w*|color|margin(par|note)|"
    r"nocite|hypersetup|theoremstyle|newtheorem|selectlanguage|hyphenation|(re)?new(environment|length|counter)|"
    r"\w*stepcounter"
)
_DEFINITION = re.compile(r"[gex]?def|let|(re|provide)?newcommand|(re)?newrobustcmd|Declare\w+")
_HEADING = re.compile(r"part|chapter|(sub)*section|(sub)?paragraph")
_PRINTED = {  # what commands print of their arguments, with the number of these
    (2, "{1}"): "textcolor colorbox hypertarget hyperlink href parbox raisebox scalebox rotatebox adjustbox "
    "foreignlanguage",
    (3, "{2}"): "fcolorbox resizebox multicolumn", (2, "{0}"): "texorpdfstring",
    (2, "{0}/{1}"): "frac nicefrac sfrac tfrac dfrac",
    (1, HOLE): "nameref gls glspl Gls ac acs acl acf acrshort ifthenelse citeauthor citeyear citeyearpar citetitle SI "
    "si qty unit num ang",
}  # fmt: skip
_PRINTS = {name: printed for printed, names in _PRINTED.items() for name in names.split()}
_INLINE = set("enumerate itemize description samepage center flushleft quote quotation split".split())
_REFERENCE = re.compile(r"(\w*?)(?:cite\w*|[rR]ef)")
_REFERENCE_WORDS = {
    "thm": "Theorem", "prop": "Proposition", "cor": "Corollary", "defn": "Definition",
} | dict.fromkeys(("eq", "auto", "c", "labelc", "v", "page", "sub"), "")  # fmt: skip
_LETTER = r"\\[ij](?![a-zA-Z])|[^\W\d_]"
_ACCENT = re.compile(
    rf"""(?<!\\)\\(?:[`'^"~=.]|[uvHcdbrk](?![a-zA-Z]))\s*(?:\{{\s*(?:(?:{_LETTER})[^\W\d_]*)?\s*\}}|{_LETTER})"""
)
_SIGNS = {
    "S": "§", "P": "¶", "LaTeX": "LaTeX", "TeX": "TeX", "pounds": "£", "euro": "€", "copyright": "©", "ddag": "‡",
    "textbar": "|", "slash": "/", "par": "\n\n", "newline": " ", "linebreak": " ", "quad": " ", "qquad": " ",
}  # fmt: skip
_FONT = re.compile(
    r"emph|text\w+|math\w+|[mhf]box|u?underline|uline|uwave|sout|hl|enquote|MakeUppercase|large|bf|it|sc|tt"
)
_LONGEST_GROUP = 20_000  # characters; an unbalanced brace is given up there, so that damaged files stay fast
_BLANK = re.compile(r"\s*(?=[\[{])|")  # up to a bracket or brace, or nothing
_TOKEN = re.compile(r"\\([a-zA-Z@]+)\*?|\\(.)|([{}])", re.DOTALL)


def latex(source: str) -> list[str]:
    r"""Prose paragraphs of a LaTeX file: the running text, without figures, notes, labels and commands.

    Inline formulas stay as `$...$`, displayed ones become `$$...$$`. References are numbered by first appearance, for
    the printed numbers are known to TeX alone. A paragraph with a command whose print is not known is dropped whole. An
    empty paragraph is a section break.

    >>> latex("\\section{One} A \\emph{set}\\index{set} is\n$x$, see \\ref{l}.")
    ['', 'A set is $x$, see 1.']
    """
    return [paragraph for paragraph in paragraphs(source) if HOLE not in paragraph]


def paragraphs(source: str) -> list[str]:
    """As `latex`, but a paragraph that is to be dropped is there too, with a HOLE in it."""
    held: list[str] = []

    def hold(text: str) -> str:
        held.append(text)
        return f"\ue000{len(held) - 1}\ue001"  # nothing in it that the rules for prose would touch

    def shown(text: str) -> str:
        return re.sub("\ue000(\\d+)\ue001", lambda match: shown(held[int(match[1])]), text)

    source = _VERBATIM.sub(lambda m: hold(m["code"] or m["braced"] or ""), source.replace("\r\n", "\n"))
    source = re.sub(r"(?m)^[ \t]*%.*\n?", "", _ADDRESS.sub("", source))  # a whole line of comment breaks no paragraph
    source = _shown(re.sub(r"(?<!\\)((?:\\\\)*)%.*", r"\1", source))
    source = source.partition(r"\begin{document}")[2] or source
    source = _NOT_PROSE.sub("", re.split(r"\\end\{document\}|\\endinput\b", source)[0])
    source = _FORMULA.sub(lambda match: hold(_formula(match)), source)
    text = _Prose().strip(_ACCENT.sub(lambda match: _text_of_leaves().latex_to_text(match[0]), source))
    for written, printed in (("---", "—"), ("--", "–"), ("``", "“"), ("''", "”"), ("~", " ")):
        text = text.replace(written, printed)
    found = ["" if part == SECTION else part for part in map(tidy, re.split(r"\n\s*\n", text)) if part]
    return [shown(part) for part in found]


def _shown(source: str) -> str:
    r"""The source without what conditionals hide: all of `\iffalse` and `\if0`, of others what follows `\else`."""
    shown, at, branches = "", 0, []
    for match in _CONDITIONAL.finditer(source):
        shown += source[at : match.start()] if all(branches) else ""
        at, name = match.end(), match[1].replace(" ", "")
        if name.startswith("if"):
            branches.append(name not in {"iffalse", "if0"})
        elif branches and name == "else":
            branches[-1] = not branches[-1]
        elif branches:
            branches.pop()
    return shown + (source[at:] if all(branches) else "")


def _formula(match: re.Match) -> str:
    body = next(match[g] for g in ("body", "double", "square", "single", "round") if match[g] is not None)
    body = " ".join(re.sub(r"\\label\{[^}]*\}|\\(?:nonumber|notag|qedhere|displaybreak)\b", "", body).split())
    if match["single"] or match["round"]:
        return f"${body}$"
    if match["env"] and match["env"].rstrip("*") not in {"equation", "displaymath", "math"}:
        body = f"\\begin{{aligned}} {body} \\end{{aligned}}"
    return f"$${body}$$"


@cache
def _text_of_leaves():
    from pylatexenc.latex2text import LatexNodes2Text

    return LatexNodes2Text()


def _symbol(name: str) -> str | None:
    """The sign that a command without arguments prints, such as … of `ldots`; None where it is none."""
    if name in _SIGNS:
        return _SIGNS[name]
    printed = getattr(_text_of_leaves().latex_context.get_macro_spec(name), "simplify_repl", None)
    return printed if isinstance(printed, str) and re.fullmatch(r"[^\s%]{1,2}", printed) else None


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
            elif sign:  # \% prints the sign itself, "\ " and \, a space, \- and \/ nothing
                out.append(" " if sign in " \n\t,;:\\" else "" if sign in "-/!@" else sign)
        return "".join([*out, text[at:]])

    def command(self, name: str, text: str, at: int) -> tuple[str, int]:
        """What a command prints, and where the text goes on; the one argument of an unknown command is text."""
        if (sign := _symbol(name)) is not None:
            return sign, re.compile(r"[ \t]*(?:\{\})?").match(text, at).end()
        if name in {"begin", "end"}:
            environment, at = _group(text, at)
            return self.environment(name, (environment or "").rstrip("*"), text, at)
        if name == "item":
            given, at = _group(text, at, "[]")
            if given is None and self.counters and self.counters[-1] is not None:
                self.counters[-1] += 1
                given = f"({self.counters[-1]})"
            return f" {self.strip(given or '')} ", at
        if _DEFINITION.fullmatch(name):
            return "", _arguments(text, re.compile(r"\s*\\[a-zA-Z@]+[^{\[\n]*|").match(text, at).end())
        if _HEADING.fullmatch(name) or _SILENT.fullmatch(name):
            return f"\n\n{SECTION}\n\n" if _HEADING.fullmatch(name) else "", _arguments(text, at)
        if name in _PRINTS:
            return self.printed(*_PRINTS[name], text, at)
        if name == "textsuperscript":
            raised, at = _group(text, at)
            return ("^" if re.fullmatch(r"[-−+]?\d+", raised or "") else "") + self.strip(raised or ""), at
        if name == "hyperref":
            return "", _options(text, at)
        if reference := _REFERENCE.fullmatch(name):
            return self.reference(name, reference[1], text, _options(text, at))
        second = _group(text, at)[1]
        if second > at and not _FONT.fullmatch(name) and text[second : second + 1] == "{":
            return HOLE, _arguments(text, at)  # which of several arguments is text nobody knows
        return "", at

    def printed(self, number: int, pattern: str, text: str, at: int) -> tuple[str, int]:
        given = []
        for _ in range(number):
            argument, at = _group(text, _BLANK.match(text, _options(text, _BLANK.match(text, at).end())).end())
            given.append(self.strip(argument or ""))
        return pattern.format(*given) if all(given[-1:]) else HOLE, at

    def environment(self, side: str, name: str, text: str, at: int) -> tuple[str, int]:
        if name in {"enumerate", "itemize", "description"}:
            if side == "begin":
                self.counters.append(0 if name == "enumerate" else None)
            elif self.counters:
                self.counters.pop()
        if side == "begin":
            at = (_options if name in _INLINE else _arguments)(text, at)
        return " " if name in _INLINE else "\n\n", at

    def reference(self, name: str, what: str, text: str, at: int) -> tuple[str, int]:
        keys, at = _group(text, at)
        while keys and name.endswith("cites") and (more := _group(text, _options(text, at)))[0]:
            keys, at = f"{keys},{more[0]}", more[1]
        if keys is None:
            return "", at
        numbers = ", ".join(str(self.numbers.setdefault(key.strip(), len(self.numbers) + 1)) for key in keys.split(","))
        if "cite" in name:
            return f"[{numbers}]", at
        word = _REFERENCE_WORDS.get(what.lower(), what.capitalize())
        return f"({numbers})" if what == "eq" else f"{word} {numbers}".strip(), at


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


def _options(text: str, at: int) -> int:
    """Where the run of [...] at `at` ends."""
    while text[at : at + 1] == "[" and (end := _group(text, at, "[]")[1]) > at:
        at = end
    return at


def _arguments(text: str, at: int) -> int:
    """Where the run of [...] and {...} at `at` ends."""
    while (end := _group(text, _options(text, at))[1]) > at:
        at = end
    return at
