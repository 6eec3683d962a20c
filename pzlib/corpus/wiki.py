"""MediaWiki wikitext to paragraphs of plain prose; an empty paragraph is a section break.
Left out: rendering templates. How the paper cleaned Wikipedia is unknown (PretrainZero sec. 4.1)."""

from __future__ import annotations

import re

HOLE = "\ufffc"  # a template that cannot be rendered here: its paragraph is dropped, not shown with a gap
LIST = "\ue003"  # starts the line of a list item, which is not prose
SECTION = "\ue002"

# Without output in the running text, or only a note to it: citations, maintenance, pronunciation.
_SILENT = re.compile(
    r"(cite|citation|harv|sfn|ref|efn|rp$|r$|ipa|respell|pron|audio|listen|use |pp-|"
    r"cn$|fact$|clarify|who$|when$|which$|by whom|page needed|dubious|verify|not in|"
    r"better source|dead link|wayback|webarchive|subscription|anchor|vanchor|coord|main|"
    r"see also|further|clear|-$|link note|oclc|isbn|issn|doi|isfdb|contradict|failed|"
    r"vague|attribution|sic$|inflation-fn|inconsistent)"
)
_INLINE = {
    "lang": lambda p: p[1],
    "transl": lambda p: p[-1],
    "convert": lambda p: " ".join(p[:4] if p[1] in {"to", "-", "–", "and", "or", "by", "x"} else p[:2]),
    "as of": lambda p: "As of " + " ".join(reversed(p)),
    "circa": lambda p: " ".join(["c.", *p[:1]]),
    "c.": lambda p: " ".join(["c.", *p[:1]]),
    "chem": lambda p: "".join(p),
    "'s": lambda p: "'s",
    "nbsp": lambda p: " ",
    "·": lambda p: " · ",
    "ndash": lambda p: "–",
    "spaced ndash": lambda p: " – ",
    "snd": lambda p: " – ",
    "mdash": lambda p: "—",
    "sic": lambda p: p[0] if p else "",
} | dict.fromkeys(
    ("nowrap", "small", "smaller", "nihongo", "flag", "angbr", "abbr", "ill", "vanchor", "code"),
    lambda p: p[0],
)
_DROPPED_TAGS = {
    "ref",
    "references",
    "table",
    "gallery",
    "timeline",
    "imagemap",
    "source",
    "syntaxhighlight",
    "pre",
    "poem",
    "score",
    "hiero",
}
_LEFTOVER = re.compile(r"\{\{|\}\}|\[\[|\]\]|\{\||\|\}|</?[a-zA-Z]+[^<>]*>|'''|\b(?:thumb|left|right)\|")


def wikitext(text: str) -> list[str]:
    """Prose paragraphs of a MediaWiki page; lists, tables, templates, references and file links are left out.

    Formulas stay as `$...$`. A paragraph whose sense hangs on a template that only MediaWiki could render is
    dropped whole. An empty paragraph is a section break.

    >>> wikitext("'''Albedo''' ({{IPA|x}}) is a [[x|power]].<ref>Note</ref>\\n* item\\n==A==\\nMore.")
    ['Albedo is a power.', '', 'More.']
    """
    import mwparserfromhell

    paragraphs, lines = [], []

    def close(*after: str) -> None:
        paragraph = _tidy(" ".join(lines))
        lines.clear()
        if HOLE in paragraph or _LEFTOVER.search(paragraph):
            paragraph = ""
        if paragraph:
            paragraphs.append(paragraph)
        paragraphs.extend(after)

    for line in re.sub(r"__[A-Z]+__", "", _render(mwparserfromhell.parse(text))).split("\n"):
        if SECTION in line:
            close("")
        elif LIST in line or not line.strip(f" \t{HOLE}"):  # a template alone on its line is a block of its own
            close()
        else:
            lines.append(line)
    close()
    return paragraphs


def _render(code) -> str:
    from mwparserfromhell import nodes

    out = []
    for node in code.nodes if code else ():
        match node:
            case nodes.Text():
                out.append(node.value)
            case nodes.HTMLEntity():
                out.append(node.normalize())
            case nodes.Heading():
                out.append(f"\n{SECTION}\n")
            case nodes.ExternalLink():
                out.append(_render(node.title))
            case nodes.Wikilink():
                out.append(_link(str(node.title).strip(), node.text))
            case nodes.Tag():
                out.append(_tag(node))
            case nodes.Template():
                out.append(_template(node))
            case nodes.Argument():
                out.append(HOLE)
    return "".join(out)


def _link(title: str, text) -> str:
    if re.match(r"(?i)(file|image|category|media)\s*:", title) or (
        text is None and re.match(r"[a-z]{2,3}(-[a-z]+)?:", title)
    ):
        return ""
    return _render(text) if text is not None else title.lstrip(":")


def _tag(node) -> str:
    name = str(node.tag).strip().lower()
    if name in _DROPPED_TAGS:
        return ""
    content = _render(node.contents)
    if name == "math":
        return f"${' '.join(str(node.contents).split())}$"
    if name in {"li", "dd", "dt"}:
        return f"{LIST}{content}\n" if content else LIST
    if name == "sup" and re.fullmatch(r"[-−+]?\d+", content):
        return "^" + content  # 10<sup>8</sup> must not read 108
    if name in {"p", "div", "blockquote", "center"}:
        return f"\n\n{content}\n\n"
    return " " if name == "br" else content


def _template(node) -> str:
    name = str(node.name).strip().lower().replace("_", " ")
    given = [_render(p.value).strip() for p in node.params if not p.showkey]
    if name.startswith("lang-"):
        return given[0] if given else ""
    if name in _INLINE:
        try:
            return _INLINE[name](given)
        except IndexError:
            return HOLE
    return "" if _SILENT.match(name) or node.has("date") else HOLE


def _tidy(text: str) -> str:
    """One space between words, and none of the empty brackets and stray commas that removed notes leave."""
    text = " ".join(text.split())
    for pattern, by in (
        (r"([(\[])[\s;,:]+", r"\1"),
        (r"[\s;,]+([)\]])", r"\1"),
        (r"\(\)|\[\]", ""),
        (r"\s+([,.;:?!])(?=\s|$)", r"\1"),
    ):
        text = re.sub(pattern, by, text)
    return " ".join(re.sub(r"([,;])(\s*[,;])+", r"\1", text).split())
