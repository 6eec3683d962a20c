"""MediaWiki wikitext to paragraphs of plain prose; an empty paragraph is a section break.
Left out: most templates. How the paper cleaned Wikipedia is unknown (PretrainZero sec. 4.1)."""

import re

from pzlib.corpus.cutting import HOLE, LIST, SECTION, tidy

# What files and categories are called where no dump says it; a file is also known by its ending.
NAMES = frozenset(
    "file image media category datei bild kategorie fichier catégorie archivo imagen categoría categoria ficheiro "
    "immagine bestand afbeelding categorie plik kategoria файл категория категорія fil kategori luokka soubor "
    "kategória dosya berkas fájl κατηγορία kategorija категорија kategorio ファイル カテゴリ 文件 檔案 分类 分類 "
    "파일 분류 ملف تصنيف رده קובץ קטגוריה श्रेणी หมวดหมู่".split()
)
_MEDIA = re.compile(
    r"(?i)[^:]+:.*\.(jpe?g|png|gif|svg|tiff?|webp|xcf|og[gav]|opus|mid|webm|mp[34]|wav|flac|pdf|djvu|stl)"
)
_INTERWIKI = re.compile(r"([a-z]{2,3}(-[a-z]+)*|simple):")
_OUTSIDE = set("ref references mapframe graph templatestyles templatedata indicator inputbox includeonly rt rp".split())
_BLOCKS = set("table gallery imagemap timeline pre poem syntaxhighlight source categorytree".split())
_UNRENDERED = set("hiero score ce chem maplink".split())
_LEFTOVER = re.compile(r"\{\{|\}\}|\[\[|\]\]|\{\||\|\}|-\{|</?[a-zA-Z]+[^<>]*>|'''|\b(?:thumb|left|right)\|")

# Signs in a paragraph of what is known of the whole of it alone.
_NOTE, _END = "\ue004", "\ue005"  # around what is left out between round brackets
_ICON, _SUB, _SUB_END = "\ue006", "\ue007", "\ue008"

_SILENT = re.compile(  # templates without output in the running text
    r"cite .*|citation( needed| style)?|harv\w*|sfn\w*|ref\w*|efn.*|rp|r|use .*|pp\b.*|cn|fact|clarify|by whom\??|"
    r"(who|when|which|what)\??|(additional )?citations? .*|page needed|dubious.*|verif.*|not in .*|better source.*|"
    r"(subscrip|registra|disputed|original research|update|weasel|peacock|contradict|inconsistent|attribut).*|"
    r"listen|dead link|wayback|webarchive|anchor|main|see also|further.*|clear|-|0|link note|"
    r"vague|failed verification|inflation-fn|flag ?icon|nowrap (begin|end)|hatnote|short description|about|specify|"
    r"year needed"
)
_PRINTED = {  # what templates print of their arguments; a name that ends with "-" is that of a family
    "{0}": "nowrap,small,smaller,nihongo,flag,abbr,tooltip,ill,interlanguage link,vanchor,code,math,mvar,var,kbd,samp,"
    "tt,nobr,nobold,em,strong,big,lang-,not a typo,as written,citation needed span,cns,clarify span,dubious span",
    "{1}": "lang,langx", "{0} {1}": "sortname", "⟨{0}⟩": "angbr", "10^{0}": "10^", "×10^{0}": "e", "[sic]": "sic",
    "r. {0}–{1}": "reign,r.", "fl. {0} – {1}": "floruit,fl.", "\n\n{0}\n\n": "quote,blockquote",
    f"{_NOTE}{{0}}{_END}": "ipa", f"{_NOTE}[{{0}}]{_END}": "ipa-", f"{_NOTE}{{1}}{_END}": "audio",
    f"{_NOTE}ISBN {{0}}{_END}": "isbn",
    f"{_NOTE}{HOLE}{_END}": "oclc,doi,issn,isfdb,zh,respell,pron,pronunciation,lang-zh,coord,ipac-",
    "US${0}": "us$", "£{0}": "£,gbp", "€{0}": "€,eur", "₹{0}": "₹,inr", " ": "nbsp,thinsp", " · ": "·",
    "–": "ndash,en dash", "—": "mdash,em dash", " – ": "spaced ndash,snd,spnd", "'": "'", "'s": "'s", "|": "!",
    "=": "=",
}  # fmt: skip
_PRINTS = {name: printed for printed, names in _PRINTED.items() for name in names.split(",")}
_MONTHS = "January February March April May June July August September October November December".split()
_RANGES = {
    "-": "–", "–": "–", "+/-": " ± ", "±": " ± ", "to(-)": " to ", "and(-)": " and ", "xx": " × ", "*": " × ",
} | {word: f" {word} " for word in ("to", "and", "or", "by", "x", "×", "to about")}  # fmt: skip
_FORMS = ("disp", "adj", "order", "abbr")  # arguments that may leave out what was given, or put words into it
_TWO_UNITS = {"ft in", "st lb", "lb oz", "mi yd", "mi ch", "yd ft", "mi ft", "km m", "m cm"}


def _convert(given, named) -> str:
    """The quantity as it was given, which `{{convert}}` shows before the converted one."""
    if re.search(r"out|num|unit|pre|mid|tbl|table|values", " ".join(map(str, map(named.get, _FORMS)))):
        return HOLE
    said, at = "", 0
    while re.fullmatch(r"[-−+]?[\d,]*\.?\d+|([\d,]+\+)?\d+//?\d+", given[at]):
        said += re.sub(r"(?<=.)\+", " ", given[at]).replace("//", "/")
        if given[at + 1] in _RANGES:
            said, at = said + _RANGES[given[at + 1]], at + 2
            continue
        unit = f"°{given[at + 1]}" if given[at + 1] in {"C", "F"} else given[at + 1]
        unit = re.sub(r"^(sq|cu)(?=\w)", r"\1 ", re.sub(r"(?<=[a-z])2\b", "²", re.sub(r"(?<=[a-z])3\b", "³", unit)))
        if " ".join(given[at + 1 : at + 4 : 2]) not in _TWO_UNITS:
            return HOLE if re.match(r"e\d", unit) else f"{said} {unit}"
        said, at = f"{said} {unit} ", at + 2
    return HOLE


def _as_of(given, named) -> str:
    year, month, day = (*given, "", "")[:3]
    month = _MONTHS[int(month) - 1] if month.isdecimal() else month
    american = day and named.get("df", "").lower() in {"us", "mdy"}
    date = f"{month} {day}, {year}" if american else " ".join(filter(None, (day, month, year)))
    words = "" if named.get("bare") else "Since " if named.get("since") else "As of "
    return named.get("alt") or (words.lower() if named.get("lc") else words) + date + named.get("post", "")


def _fraction(given, named) -> str:
    over, under = ["1", *given][-2:]
    return " ".join([*given[:-2], f"{over}/{under}"]) if 0 < len(given) < 4 else HOLE


def _raised(text: str) -> str:
    return "^" + text if re.fullmatch(r"[-−+]?\d[\d.,/]*n?|n", text) else text  # 10<sup>8</sup> must not read 108


def _lowered(text: str) -> str:
    return f"{_SUB}{text}{_SUB_END}" if text[:1].isdecimal() or text[-1:].isdecimal() else text


_RENDERED = {"convert": _convert, "cvt": _convert, "as of": _as_of, "asof": _as_of} | {
    "circa": lambda given, named: "c. " + " – c. ".join(given[:2]) if given else "c.",
    "chem": lambda given, named: "".join(given) if all(part.isalnum() for part in given) else HOLE,
    "sup": lambda given, named: _raised(given[0]),
    "sub": lambda given, named: _lowered(given[0]),
}
_RENDERED |= dict.fromkeys(("c.", "ca."), _RENDERED["circa"]) | dict.fromkeys(("frac", "sfrac", "fraction"), _fraction)


def wikitext(source: str) -> list[str]:
    """Prose paragraphs of a MediaWiki page; lists, tables, templates, references and file links are left out.

    Formulas stay as `$...$`. A paragraph whose sense hangs on a template that only MediaWiki could render is dropped
    whole. An empty paragraph is a section break.

    >>> wikitext("'''Albedo''' ({{IPA|x}}) is a [[x|power]].<ref>Note</ref>\\n* item\\n==A==\\nMore.")
    ['Albedo is a power.', '', 'More.']
    """
    return [paragraph for paragraph in paragraphs(source) if HOLE not in paragraph and LIST not in paragraph]


def paragraphs(source: str, names: frozenset[str] = NAMES) -> list[str]:
    """As `wikitext`, but what is to be dropped is there too: a paragraph with a HOLE, a list item as a LIST sign.

    names: what the wiki calls its namespaces of files and categories, in lower case.
    """
    import mwparserfromhell

    found, lines = [], []

    def close(*after: str) -> None:
        paragraph = _tidy("\n".join(lines))
        lines.clear()
        found.extend([HOLE if _LEFTOVER.search(paragraph) else paragraph] if paragraph else [])
        found.extend(after)

    page = _Page(names).render(mwparserfromhell.parse(source))
    switch = re.compile(r"__[^\W\d_]+(?:_[^\W\d_]+)*__")  # such as __NOTOC__, in any language
    for line in switch.sub(lambda match: "" if match[0].upper() == match[0] else match[0], page).split("\n"):
        if SECTION in line:
            close("")
        elif LIST in line:
            close(LIST)
        elif not line.strip(f" \t{HOLE}"):  # a template alone on its line is a block of its own
            close()
        else:
            lines.append(line)
    close()
    return found


class _Page:
    """The nodes of one page to text; keeps the number of links without a text."""

    def __init__(self, names: frozenset[str]):
        self.names, self.links = names, 0

    def render(self, code) -> str:
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
                case nodes.ExternalLink() if node.title is None and node.brackets:
                    self.links += 1
                    out.append(f"[{self.links}]")
                case nodes.ExternalLink():
                    out.append(str(node.url) if node.title is None else self.render(node.title))
                case nodes.Wikilink():
                    out.append(self.link(str(node.title).strip(), node.text))
                case nodes.Tag():
                    out.append(self.tag(node))
                case nodes.Template():
                    out.append(self.template(node))
                case nodes.Argument():
                    out.append(HOLE)
        return "".join(out)

    def link(self, title: str, text) -> str:
        name = title.partition(":")[0].strip().replace("_", " ").lower()
        if (":" in title and name in self.names) or _MEDIA.fullmatch(title):
            small = re.compile(r"\d*x?\d+px|(alt|link)=.*|baseline|middle|none")
            return _ICON if all(map(small.fullmatch, str(text or "none").split("|"))) else ""
        if text is None and _INTERWIKI.match(title):
            return ""
        return self.render(text) if text is not None else title.lstrip(":")

    def tag(self, node) -> str:
        name = str(node.tag).strip().lower()
        hidden = any("display:none" in str(a.value).replace(" ", "") for a in node.attributes)
        if name in _OUTSIDE or hidden:
            return ""
        if name in _UNRENDERED:
            return HOLE
        if name in _BLOCKS and not node.has("inline"):
            return "\n\n"
        content = self.render(node.contents)
        if name == "math":
            return f"${' '.join(str(node.contents).split())}$"
        if name in {"li", "dd", "dt"}:
            return f"{LIST}{content}\n" if content else LIST
        if name in {"p", "div", "blockquote", "center"}:
            return f"\n\n{content}\n\n"
        return {"sup": _raised, "sub": _lowered}.get(name, str)(content) if name != "br" else " "

    def template(self, node) -> str:
        name = " ".join(self.render(node.name).lower().replace("_", " ").split()).removeprefix("template:")
        named = {str(p.name).strip(): self.render(p.value).strip() for p in node.params}
        given = []
        while (value := named.pop(str(len(given) + 1), None)) is not None:
            given.append(value)
        if name.startswith("formatnum:"):
            number = name.partition(":")[2].strip()
            return number if re.fullmatch(r"[-−]?[\d,]*\.?\d+", number) and not given else HOLE
        if "text" in named and (name.startswith("lang") or _SILENT.fullmatch(name)):
            return named["text"]
        if name == "sic" and given:
            return "".join(given[:2])
        if name.startswith("transl"):
            return given[-1] if given else HOLE
        if name == "coord" and named.get("display", "").startswith("t"):
            return ""
        try:
            if name in _RENDERED:
                return _RENDERED[name](given, named)
            if (printed := _PRINTS.get(name) or _PRINTS.get(name.partition("-")[0] + "-")) is not None:
                return printed.format(*given)
        except IndexError:  # an argument that must be there is not
            return HOLE
        return "" if _SILENT.fullmatch(name) or ("date" in named and not given) else HOLE


def _tidy(text: str) -> str:
    """A paragraph without signs of ours and without the empty brackets and stray commas that left-out notes leave."""
    note = f"{_NOTE}[^{_END}]*{_END}"
    text = re.sub(rf"\((?:[^(){_NOTE}]|{note})*\)", lambda bracket: re.sub(note, "", bracket[0]), text)
    text = re.sub(rf"(?<=[\w,])\s*{_ICON}(?=\s*\w)", HOLE, text)
    text = re.sub(rf"(?<=\d){_SUB}", "_", re.sub(rf"{_SUB_END}(?=\d)", " ", text))
    text = re.sub(f"[{_NOTE}{_END}{_ICON}{_SUB}{_SUB_END}]", "", tidy(text))
    text = re.sub(r"\(\)|\[\]", "", re.sub(r"[\s;,]+([)\]])", r"\1", re.sub(r"([(\[])[\s;,:]+", r"\1", text)))
    return tidy(re.sub(r"([,;])(\s*[,;])+", r"\1", tidy(text)))
