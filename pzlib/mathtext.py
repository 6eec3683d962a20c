"""What mathematics a string holds: signs, spaces, typed functions, numbers and their units put in TeX for math-verify.
Leaves out numbers that are spelled out, conversion between units, and variables of two letters."""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

from pzlib.prompts import parse_boxed


@dataclass(frozen=True)
class Reading:
    """An answer in two readings: `text` is all of it, `value` is without its unit; both are for math-verify.

    unit: how often each unit occurs in it (negative: divided by), None for words that are not a known unit, {} where it
    has none. sure: whether it must be a unit; the m of "5 m" and "5m" may be a variable.
    """

    text: str
    value: str
    unit: dict[str, int] | None
    sure: bool = True


def read(answer: str) -> Reading:
    r"""What an answer holds, as texts in which math-verify finds the answer and nothing else.

    An answer is *whole* if it has a box, several formulas or one between words, or four words outside of TeX: it keeps
    its words, except that of a single box only the content counts. Everything else is *bare*, such as the content of a
    box, a gold from a table or one formula in dollars. It comes back in dollars: without them math-verify would read
    ``7\pi`` as 7. Of a text with ``####`` only what follows counts (GSM8K's golds).

    In every text Unicode's signs become TeX's, digits in groups one number, repeating decimals fractions and a number
    with a base a name of its own, for math-verify drops the base. A bare answer loses full stops, per-cent signs, lone
    dollars (12.5% is 12.5, as in the golds) and, in `value`, its unit. Typed mathematics is put in TeX, and so are
    words and capitals in a row, which would be products of letters.

    >>> [read(answer).value for answer in (r"\frac{1}{2}", "3e8", "BAC", r"\$18.50.", "-2*pi", "60 km/h", "4½")]
    ['$\\frac{1}{2}$', '$3 \\times 10^{8}$', '$\\text{BAC}$', '$18.50$', '$-2 \\cdot \\pi$', '$60$', '$4 \\frac{1}{2}$']
    >>> read("It is $7$, I hope.").value, read(r"So $x = \boxed{7}$.").value, read("Each pays.\n#### 1,080").value
    ('It is $7$, I hope.', '$7$', '$1,080$')
    >>> read("12 m/s").unit, read("18 eggs").unit, read("5 m").sure
    ({'m': 1, 's': -1}, None, False)
    """
    answer = re.sub(r"\s+", lambda blank: "\n" if "\n" in blank[0] else " ", answer.rpartition("####")[2].strip())
    text = _in_tex(answer).strip()
    if text.count("\\boxed") == 1:
        content = parse_boxed(text)
        return _one(text) if content is None else read(content)
    formula = _FORMULA.fullmatch(text)
    if formula:
        text = next(filter(None, formula.groups())).strip()
    elif _DELIMITED.search(text):
        return _one(text)
    bare = _without_signs(text)
    value, unit, sure = measured(bare)
    if value == bare and not formula and len(_WORD.findall(_COMMAND.sub(" ", bare))) >= 4:
        return _one(rf"$\text{{{text}}}$" if _SEVERAL.search(text) else text)
    return Reading(_formula(bare), _formula(value), unit, sure)


def _one(text: str) -> Reading:
    return Reading(text, text, {})


# --- signs of Unicode, digits in groups, repeating decimals, bases, powers: in every text

_GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau phi chi psi omega"
_CAPITALS = "Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega"
_SIGNS = dict(zip("αβγδεζηθικλμνξπρστφχψωΓΔΘΛΞΠΣΦΨΩ", f"{_GREEK} {_CAPITALS}".split(), strict=True)) | {
    "×": "times", "·": "cdot", "⋅": "cdot", "∙": "cdot", "÷": "div", "≤": "le", "⩽": "le", "≦": "le", "≥": "ge",
    "⩾": "ge", "≧": "ge", "≠": "neq", "≈": "approx", "±": "pm", "∓": "mp", "∞": "infty", "∪": "cup", "∩": "cap",
    "∈": "in", "∅": "emptyset", "⌀": "emptyset", "∖": "setminus", "∧": "land", "∨": "lor", "⌊": "lfloor", "⌋": "rfloor",
    "⌈": "lceil", "⌉": "rceil", "⟨": "langle", "⟩": "rangle", "∠": "angle", "△": "triangle", "→": "to", "√": "sqrt",
    "…": "ldots",
}  # fmt: skip
_SIGNS = {sign: rf"\{name} " for sign, name in _SIGNS.items()} | {
    "∛": r"\sqrt[3] ", "∜": r"\sqrt[4] ", "°": r"^{\circ}", "º": r"^{\circ}", "∕": "/", "⁄": "/", "∗": "*", "∣": "|",
    "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℚ": r"\mathbb{Q}", "ℕ": r"\mathbb{N}", "ℂ": r"\mathbb{C}", "′": "'",
    **dict.fromkeys("−‐‑‒–—―", "-"), **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff€£¥₹₩₽¢", ""),
}  # fmt: skip
_TO_TEX = str.maketrans(_SIGNS)
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱˣ", "0123456789+-()nix")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋₍₎ₙₓ", "0123456789+-()nx")
_BASES = "two three four five six seven eight nine ten eleven twelve".split()

_GROUPED = re.compile(
    r"(?<![\d.,\\])([1-9]\d{0,2})((?:(?:,?\\[,;:!] *|\\ |~|\{,\}|[\u00a0\u2000-\u200a\u202f\u205f])\d{3})+)(?!\d)"
)
_REPEATING = re.compile(
    r"(?<![\d.])(\d{0,40})\.(\d{0,40})(?:\\(?:overline|bar|dot)\s*(?:\{(\d{1,40})\}|(\d))|\((\d{1,40})\)(?![\w(^]))"
)
_GOING_ON = re.compile(r"(?<![\d.])(\d{1,40})\.(\d{0,20}?)(?:(\d)\3\3+|(\d{2,9})\4+)(?:\.\.\.|\\l?dots(?![A-Za-z]))")
_BASED = re.compile(
    r"(?<![\w.\\^])(?<![_^]\{)\(?((?=[A-F]*\d)[0-9A-F]++(?:\.[0-9A-F]++)?|[A-F]{2,}+)\)?"
    r"(?:_\s*\{\s*(?:\\text\w*\{)?\s*(?:base\s*)?\(?(\w+)\)?\s*\}{1,2}|_(\d{1,2})(?!\d)"
    r"|\s*(?:\\text\w*\{)?\s*\(?(?:in )?base (\w+)\)?\}?)"
)
_POWER = re.compile(
    r"\^\s*(?:([+-]\s*)(\{[^{}]*\}|\d+(?:\.\d+)?|[A-Za-z]|\\[A-Za-z]+(?:\{[^{}]*\}){0,2})|(\d+(?:\.\d+)?))"
)


def _in_tex(text: str) -> str:
    text = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱˣ]+", lambda found: f"^{{{found[0].translate(_RAISED)}}}", text)
    text = re.sub(r"[₀₁₂₃₄₅₆₇₈₉₊₋₍₎ₙₓ]+", lambda found: f"_{{{found[0].translate(_LOWERED)}}}", text)
    text = re.sub(r"[¼-¾⅐-⅞]", lambda found: f" {unicodedata.normalize('NFKC', found[0])}", text)
    text = re.sub(r"(?<![√\d])(\d+)\s*⁄\s*(\d+)", r"\\frac{\1}{\2}", text)
    text = _GROUPED.sub(lambda found: found[1] + re.sub(r"\D", "", found[2]), text)
    text = unicodedata.normalize("NFKC", text.translate(_TO_TEX)).translate(_TO_TEX)
    text = _GOING_ON.sub(lambda found: _fraction(found[1], found[2], found[3] or found[4]), text)
    text = _REPEATING.sub(lambda found: _fraction(found[1], found[2], found[3] or found[4] or found[5]), text)
    text = _POWER.sub(_braced, text)
    for typed, sign in ((r"\varnothing", r"\emptyset"), (">=", r"\ge "), ("<=", r"\le "), ("!=", r"\neq ")):
        text = text.replace(typed, sign)
    return _BASED.sub(_based, text)


def _braced(power: re.Match[str]) -> str:
    return f"^{{{(power[1] or '').strip()}{power[2] or power[3]}}}"


def _fraction(whole: str, start: str, cycle: str) -> str:
    rest = int(whole + start + cycle) - int("0" + whole + start)
    return rf"\frac{{{rest}}}{{{(10 ** len(cycle) - 1) * 10 ** len(start)}}}"


def _based(found: re.Match[str]) -> str:
    base = found[2] or found[3] or found[4]
    base = str(_BASES.index(base) + 2) if base in _BASES else base
    digits = found[1].replace(".", "")
    known = base.isdecimal() and 2 <= int(base) <= 16 and all(int(digit, 16) < int(base) for digit in digits)
    return f"N_{{{found[1].replace('.', 'point')}base{base}}}" if known else found[0]


# --- what is bare, and its unit

_DELIMITED = re.compile(r"\\boxed|(?<!\\)\\[(\[]|(?<!\\)\$.*(?<!\\)\$", re.DOTALL)
_FORMULA = re.compile(r"\$\$?([^$]+)\$\$?|\\\(((?:(?!\\[()]).)+)\\\)|\\\[((?:(?!\\[\[\]]).)+)\\\]", re.DOTALL)
_COMMAND = re.compile(r"\\(?:text\w*|mbox|mathrm|operatorname)\s*\{[^{}]*\}|\\[A-Za-z]+")
_WORD = re.compile(r"[A-Za-z]{2,}")
_SEVERAL = re.compile(  # of a text: it begins with a number that its words change, or tells a range or a bound
    r"^\W*\d|\d\W*(?:\w+\W+)?(?:or|to|and)\W+\d|\b(?:than|least|most|up to)\W{1,3}\d", re.IGNORECASE
)
_NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?|\.\d+"
_NUMERIC = re.compile(
    r"(?:\\?[A-Za-z]\w* ?(?:=|\\approx) ?)?(?:\\approx ?)?[+-]? ?"
    rf"(?:(?:{_NUMBER})(?:[eE][+-]?\d+| ?(?:\\times|\\cdot|\*|x) ?10\^\{{[+-]?\d+\}}|/\d+| \d+/\d+)?"
    rf"|\d* ?\\[dt]?frac\{{-?(?:{_NUMBER})\}}\{{(?:{_NUMBER})\}}|(?:[1-9]\d{{0,2}})(?: \d{{3}})+(?:\.\d+)?)"
)
_UNITS = {
    symbol: words.split()[0]
    for words in (
        "m meter metre|km kilometer kilometre|cm centimeter centimetre|mm millimeter millimetre|nm nanometer|dm"
        "|ft foot feet|in inch inche|yd yard|mi mile|g gram gm|kg kilogram|mg milligram|lb lbs pound|oz ounce"
        "|s sec second|min minute|h hr hour|ms millisecond|ns|day|week wk|month|year yr|L l liter litre"
        "|mL ml milliliter|gal gallon|qt quart|pt pint|N newton|kN|J joule|kJ|MJ|eV|keV|MeV|W watt|kW|MW|V volt|kV|mV"
        "|A amp ampere|mA|K kelvin|C celsius|F fahrenheit|Pa|kPa|MPa|atm|bar|Hz hertz|kHz|MHz|GHz|mol mole|mmol|T tesla"
        "|H henry|ohm|kohm|rad radian|degree deg|um|us|ug|uF|mph|kph kmh kmph|rpm|cal|kcal|dB|dollar USD|cent|euro EUR"
        "|GBP|acre|ha hectare|amu|am AM|pm PM"
    ).split("|")
    for symbol in words.split()
}
_NO_UNITS = set(  # words after a number that make it another number, or join it with one
    "and or to plus minus times over by squared cubed factorial hundred thousand million billion trillion dozen score "
    "half halves third quarter fourth fifth sixth seventh eighth ninth tenth twelfth hundredth thousandth millionth "
    "power mod modulo base choose sqrt than if when where unless except without remainder not infinity double twice "
    "triple one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty sixty seventy "
    "eighty ninety sin cos tan cot sec csc log exp abs abcd abcde less more fewer raised divided multiplied lakh crore "
    f"negative otherwise {_GREEK}".split()
)
_SHORT_WORDS = set("a an of the for in on at per each old egg ant ink pie all is as are was".split())
_WRAPPER = re.compile(r"\\(?:text\w*|math(?:rm|bf|it|sf)|mbox|operatorname|rm|unit|si|left|right)(?![A-Za-z])|[{}()]")
_BLANK = re.compile(r"\\[ ,;:!]|~|\\cdot(?![A-Za-z])|\\times(?![A-Za-z])|\*|\\q?quad(?![A-Za-z])|-")
_LETTERS = re.compile(r"[A-Za-z]|(?:[A-Za-z] ?)+(?:[/^]|\\c?dot|\\times).*|(?:N|C|T) m|[AW] h|[JNAV] s|V A", re.DOTALL)
_UNIT_TOKEN = re.compile(r"\s*(?:(/)|([A-Za-z]+)\.?(?:\^ ?([+-]?\d+))?)")


def _without_signs(text: str) -> str:
    bare = re.sub(r"^(?:US|CA|AU)?\\?\$|\\?\$|^(?:USD|EUR|GBP|Rs\.?)\s*(?=\d)|^\\(?:approx|sim)\s*|^=", "", text)
    bare = re.sub(r"^\\(?:text\w*|mbox|mathrm)\s*\{([^{}]*[ \d][^{}]*)\}$", r"\1", bare)
    bare = re.sub(r"(?:\\?%|(?i:percent|pct))$", "", bare.rstrip(". \n")).strip()
    return re.sub(r"(?<=\d)\.(?![\d\\(.])", "", bare)


def measured(bare: str) -> tuple[str, dict[str, int] | None, bool]:
    r"""A bare answer's value, unit and whether that must be one: see `Reading`. Without a unit, all of it and {}.

    After a number any words are its unit, unless they change it ("2 dozen", "18 or so"); after another value only known
    units, of two letters at least or in TeX's text.

    >>> measured("18 dollars per day"), measured(r"5\pi\text{ cm}^2"), measured("3 xy"), measured("2 dozen")
    (('18', {'dollar': 1, 'day': -1}, True), ('5\\pi', {'cm': 2}, True), ('3 xy', {}, True), ('2 dozen', {}, True))
    """
    bare = re.sub(r"(?<![A-Za-z\\])pi(?![A-Za-z])", r"\\pi", bare)
    for cut in range(max(1, len(bare) - 80), len(bare) if len(bare) < 500 else 0):
        value, rest = re.sub(r"(?:\\[ ,;:!]|~|\s)+$", "", bare[:cut]), bare[cut:]
        if not re.search(r"[\d})]$|\\pi$", value) or not rest.strip(" \\,;:~{}^0123456789."):
            continue
        if rest.startswith("{") and not rest.startswith("{\\rm"):
            continue
        if any(value.count(left) != value.count(right) for left, right in ("{}", "()", "[]")):
            continue
        numeric = _NUMERIC.fullmatch(value) is not None
        if not numeric and _WORD.search(_COMMAND.sub(" ", value)):
            continue
        glued = rest[0].isalpha() and not bare[cut - 1].isspace()
        wrapped = re.search(r"\\(?:text|math|mbox|rm|unit|si|Omega|mu|circ)", rest) is not None
        letters = not wrapped and re.search(r"[A-Za-z]{2}", rest) is None  # which may all be variables: "2 m g"
        known, unit = _unit(rest, words=numeric and not glued)
        if letters and not (rest in "mghsLl" if glued else numeric and _LETTERS.fullmatch(rest.strip(" ~\\,.()"))):
            continue
        if known and (numeric or wrapped or not glued):
            return value, unit, not letters or re.search("m ?/ ?s", rest) is not None
    return bare, {}, True


def _unit(text: str, words: bool) -> tuple[bool, dict[str, int] | None]:
    """Whether `text` is a unit or, with `words`, at least words; and which one, None for words."""
    text = re.sub(r"\\frac\s*\{((?:[^{}]|\{[^{}]*\})*)\}\s*\{((?:[^{}]|\{[^{}]*\})*)\}", r"\1/\2", text)
    text = re.sub(r"\^\s*\{?\s*\\circ\s*\}?\s*([CFK]?)", lambda found: f" {found[1] or 'degree'}", text)
    text = re.sub(r"\\mu\s*(?:\\(?:text|mathrm)\s*\{)?\s*", "u", text).replace("\\Omega", "ohm")
    text = _BLANK.sub(" ", re.sub(r"\^\s*\{\s*([+-]?\d+)\s*\}", r"^\1", text))
    text = re.sub(r"\s+", " ", _WRAPPER.sub(" ", text)).replace("^ ", "^").replace(" ^", "^").strip(" .,")
    text = re.sub(r"\b([ap])\. ?m\b\.?", r"\1m", text)
    end, unit, last, sign, power, known = 0, Counter(), None, 1, 1, True
    if not text:
        return False, {}
    while end < len(text):
        token = _UNIT_TOKEN.match(text, end)
        if token is None:
            return False, {}
        end = token.end()
        if token[1] or token[2] in ("per", "a", "an", "each", "every"):
            sign = -1
        elif token[2] in ("square", "sq", "cubic", "cu"):
            power = 3 if token[2].startswith("cu") else 2
        elif token[2] in ("squared", "cubed") and last:
            unit[last] *= 3 if token[2] == "cubed" else 2
        elif (name := _named(token[2])) is not None:
            unit[name] += sign * (int(token[3]) if token[3] else power)
            last, power = name, 1
        elif words and token[3] is None and _is_word(token[2]):
            known = False
        else:
            return False, {}
    return True, dict(unit) if known else None


def _named(word: str) -> str | None:
    lower = word.lower() if len(word) > 3 else word
    found = _UNITS.get(word) or _UNITS.get(lower)
    return found or (_UNITS.get(lower[:-1]) if lower.endswith("s") and len(lower) > 2 else None)


def _is_word(word: str) -> bool:
    lower = word.lower()
    if not _NO_UNITS.isdisjoint((lower, lower.removesuffix("s"))) or (word.isupper() and len(word) > 1):
        return False
    like_words = r"(?=.*[aeiouy])[a-z]{4,}|(?![a-d]+$)[^aeiou][aeiou][^aeiouy]"
    return lower in _SHORT_WORDS or re.fullmatch(like_words, lower) is not None


# --- typed mathematics, words and capitals

_FUNCTIONS = "sin cos tan cot sec csc sinh cosh tanh coth arcsin arccos arctan ln log exp".split()
_NAMES = {name: name for name in [*_GREEK.split(), *_CAPITALS.split(), *_FUNCTIONS]} | {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "infinity": "infty", "inf": "infty", "oo": "infty",
}  # fmt: skip
_NAME = re.compile(
    r"(?<![A-Za-z\\])(?:(?P<log>log)_?(?P<base>2|10)(?=\s*\()|(?P<run>sin|cos|tan|ln|log)(?=[xyznt](?![A-Za-z]))"
    rf"|(?P<name>{'|'.join(sorted(_NAMES, key=len, reverse=True))})(?![A-Za-z]))"
)
_TEXTS = re.compile(r"(\\(?:text\w*|mbox|mathrm|operatorname|mathbf)\s*\{[^{}]*\})")
_CALL = re.compile(r"(?<![A-Za-z\\])(sqrt|cbrt|abs|exp|floor|ceil)\s*\(|(\\sqrt(?:\[\d\])?\s*\(|\^\s*\()|([()])")
_OPENS = {
    "sqrt": (r"\sqrt{", "}"), "cbrt": (r"\sqrt[3]{", "}"), "abs": ("|", "|"), "exp": ("e^{", "}"), "^": ("^{", "}"),
    "floor": (r"\lfloor ", r"\rfloor "), "ceil": (r"\lceil ", r"\rceil "),
}  # fmt: skip
_SCIENTIFIC = re.compile(
    r"(^|[=,(\[{<>~]|\\approx|\\pm)(\s*[+-]?(?:\d+(?:\.\d*)?|\.\d+))[eE]([+-]?\d+)(?=\s*(?:[,)\]}<>]|$))"
)
_MIXED = re.compile(r"([+-]?\d+) (\d+)/(\d+)")
_SPACED = re.compile(r"((?:[A-Za-z] ?= ?)?[+-]?[1-9]\d{0,2})((?: \d{3})+(?:\.\d+)?)")
_SIDE_BY_SIDE = re.compile(r"[+-]?[\d.]+(?:(?:\\[ ,;:!]|~|\s)+[\d.]+)+")
_WORDS = re.compile(r"(?i:yes|no)|(?=.*[A-Za-z]{4})[A-Za-z]+(?:[ -][A-Za-z]+)*")  # "xyz" and "x y" are products
_ORDERED = re.compile(
    r"(?:\\(angle|triangle|overline|overrightarrow|vec|widehat)\s*\{?\s*)?([A-Z](?: ?[A-Z])+|[A-Z](?:-[A-Z]){2,})\}?"
)
_VARIABLE, _OR = r"[A-Za-z]|\\[a-z]+", r"(?:,?\s*\\text\w*\s*\{\s*%s\s*\}\s*|,?\s*\b%s\b\s*|\\l%s(?![a-z])\s*)"
_OPERATOR = r"\s*(<|>|=|\\[lg](?:t|e|eq|eqslant)(?![A-Za-z])|\\neq?(?![A-Za-z]))\s*"
_RELATION = re.compile(
    rf"(?:([^<>=]+?){_OPERATOR})??({_VARIABLE}){_OPERATOR}([^<>=]+)|([^<>=]+?){_OPERATOR}({_VARIABLE})"
)
_BUILDER = re.compile(rf"\\\{{\s*(?:{_VARIABLE})\s*(?:\\in\s*\\mathbb\{{R\}})?\s*(?:\\mid|\||:)\s*(.*)\\\}}")


def _formula(bare: str) -> str:
    """A bare answer in dollars."""
    mixed, spaced, ordered = _MIXED.fullmatch(bare), _SPACED.fullmatch(bare), _ORDERED.fullmatch(bare)
    if mixed:
        return rf"${mixed[1]}\frac{{{mixed[2]}}}{{{mixed[3]}}}$"
    if spaced:
        return f"${spaced[1]}{spaced[2].replace(' ', '')}$"
    if ordered:
        return rf"$\text{{{ordered[1] or ''}{re.sub('[ -]', '', ordered[2])}}}$"
    if _SIDE_BY_SIDE.fullmatch(bare):  # math-verify would add or multiply them
        return rf"$\text{{{bare}}}$"
    words = re.split("[ -]", bare) if _WORDS.fullmatch(bare) else ()
    if not all(_NAME.match(word) or word in ("and", "or") for word in words):
        return r"$\emptyset$" if re.fullmatch(r"(?i)(?:the )?empty set|no solutions?", bare) else rf"$\text{{{bare}}}$"
    return f"${_typed(_sets(bare))}$"


def _sets(text: str) -> str:
    """Inequalities and intervals joined by "or" and "and", and a set of them, as intervals."""
    built = _BUILDER.fullmatch(text)
    text = built[1].strip() if built else text
    for word in ("or", "and"):
        parts = [_interval(part.strip()) for part in re.split(_OR.replace("%s", word), text)]
        if not all(parts) or (len(parts) == 1 and not built) or len({variable for variable, _ in parts} - {None}) > 1:
            continue
        intervals = [interval for _, interval in parts]
        if word == "or" and not all(interval.startswith("\\{") for interval in intervals):
            return r" \cup ".join(intervals)
        low = [interval for interval in intervals if interval.endswith(r"\infty)")]
        high = [interval for interval in intervals if interval.startswith(r"(-\infty")]
        if len(low) == len(high) == 1 and len(parts) == 2:
            return f"{low[0].split(',')[0]},{high[0].split(',')[1]}"
    return text


def _interval(text: str) -> tuple[str | None, str] | None:
    """A relation's variable and interval; None and itself for what is an interval already."""
    if re.fullmatch(r"[(\[][^()\[\],]+,[^()\[\],]+[)\]]", text):
        return None, text
    found = _RELATION.fullmatch(text)
    if found is None:
        return None
    low, high, flipped = ("(", r"-\infty"), (r"\infty", ")"), {"<": ">", ">": "<"}
    sides = ((3, 4, 5, False), (3, 2, 1, True), (8, 7, 6, True))
    for variable, operator, bound, turned in ((found[v], found[o], found[b], turned) for v, o, b, turned in sides):
        if operator is None or bound is None:
            continue
        if operator.startswith("\\n"):
            return variable, rf"(-\infty,{bound}) \cup ({bound},\infty)"
        if operator == "=":
            return variable, rf"\{{{bound}\}}"
        closed, sense = operator[2:3] == "e", "<" if operator == "<" or operator.startswith("\\l") else ">"
        if (flipped[sense] if turned else sense) == "<":
            high = bound, "]" if closed else ")"
        else:
            low = "[" if closed else "(", bound
    return found[3] or found[8], f"{low[0]}{low[1]},{high[0]}{high[1]}"


def _typed(text: str) -> str:
    upright = r"\\(?:operatorname\*?|mathrm|text)\s*\{(\w+)\}"
    text = re.sub(upright, lambda found: rf"\{_NAMES[found[1]]} " if found[1] in _NAMES else found[0], text)
    text = _SCIENTIFIC.sub(r"\1\2 \\times 10^{\3}", text).replace("**", "^")
    text = re.sub(r"(?<=\d)\s*x\s*(?=10\s*\^)", r" \\times ", text)
    text = re.sub(r"(?<![\d.])1i(?![A-Za-z])", "i", text)
    text = re.sub(r"\*\s*I(?![A-Za-z])|(?<=\d)i(?![A-Za-z])", " i", text)  # only a lone i is the imaginary unit
    for typed, sign in (("+/-", r"\pm "), ("*", r" \cdot ")):
        text = text.replace(typed, sign)
    text = re.sub(r"\+\s*-", "-", re.sub(r"(?<![\d.])(\d+)\.0+(?![\d.])", r"\1", text))
    root = r"(?:(?<![A-Za-z\\])sqrt|\\sqrt(\[\d\])? )\s*(\d+(?:\.\d+)?|[A-Za-z](?![A-Za-z])|\\[a-z]+)"
    text = re.sub(root, r"\\sqrt\1{\2}", _called(text))
    pieces = _TEXTS.split(text)
    pieces[::2] = [_NAME.sub(_command, piece) for piece in pieces[::2]]
    return _POWER.sub(_braced, "".join(pieces))


def _command(found: re.Match[str]) -> str:
    if found["log"]:
        return rf"\log_{{{found['base']}}}"
    return rf"\{found['run'] or _NAMES[found['name']]} "


def _called(text: str) -> str:
    """Typed functions whose parentheses TeX writes otherwise; unchanged where parentheses do not match."""
    pieces, closings, end = [], [], 0
    for found in _CALL.finditer(text):
        pieces.append(text[end : found.start()])
        end = found.end()
        if found[3] == ")":
            if not closings:
                return text
            pieces.append(closings.pop())
            continue
        name = found[1] or (found[2] or "(")[:1]
        opening, closing = _OPENS.get(name, ("(", ")"))
        if name == "\\":
            opening, closing = found[2].rstrip("( ") + "{", "}"
        pieces.append(opening)
        closings.append(closing)
    return text if closings else "".join([*pieces, text[end:]])
