"""Wikitext to prose: what MediaWiki shows, or nothing."""

import json

import pytest
from prose import dump, load, write

from pzlib.corpus import wikitext


def prose(source):
    return [paragraph for paragraph in wikitext(source) if paragraph]


@pytest.mark.parametrize(
    ("markup", "shown"),
    [
        (
            "'''Bold''' and ''italic'' [[link|text]]s, [[plain]] & [http://x.y site].",
            "Bold and italic texts, plain & site.",
        ),
        ("A word{{citation needed|date=May 2015}} ({{IPA|x}}; {{lang-la|albus}}).", "A word (albus)."),
        ("It is {{convert|10|km|mi}} or {{convert|2|to|3|ft}} away.", "It is 10 km or 2 to 3 ft away."),
        ("In {{lang|fr|''Le Mot''}} H<sub>2</sub>O is 10<sup>8</sup>&nbsp;m.", "In Le Mot H2O is 10^8 m."),
        ("[[File:A.jpg|thumb|A [[cat]].]]A cat.[[Category:Cats]][[fr:Chat]]<!-- no -->", "A cat."),
        ("{|\n|a||b\n|}\nAfter the table.", "After the table."),
        ("Energy is <math>E = mc^2</math> here.", "Energy is $E = mc^2$ here."),
        ("The value is {{some unknown|thing}} today.", None),
        ("A {{broken template.", None),
        ("* item one\n# item two\n: indented\n; term", None),
        # names and link prefixes of other wikis
        ("[[Fichier:Chat.JPG|vignette|Un [[chat]] noir]] Le chat dort ici.", "Le chat dort ici."),
        ("Le chat dort ici. [[Catégorie:Chat|Noir]]", "Le chat dort ici."),
        ("[[Файл:Кот.png|мини]] Кот спит. [[Категория:Коты]]", "Кот спит."),
        ("[[zh-min-nan:Niau]][[fiu-vro:Kass]] The cat sat here.", "The cat sat here."),
        ("[[:Category:Cats]] is said of [[User:Anna|Anna]].", "Category:Cats is said of Anna."),
        ("__KEIN_INHALTSVERZEICHNIS__ Die Katze sitzt.", "Die Katze sitzt."),
        # templates that hold a number
        ("It weighs {{convert|12|st|4|lb|kg}} in all.", "It weighs 12 st 4 lb in all."),
        ("It is {{cvt|6|ft|m|0}} by {{convert|1+1/2|in|mm}}.", "It is 6 ft by 1 1/2 in."),
        ("It is {{convert|5|-|7|km|mi}} and {{convert|20|C|F}}.", "It is 5–7 km and 20 °C."),
        ("It has {{convert|300|sqmi|km2}} and {{convert|2|km2}}.", "It has 300 sq mi and 2 km²."),
        ("It has {{convert|22|e6acre}} of it.", None),
        ("It is {{convert|6.2|mi|km|disp=out}} away.", None),
        ("A {{convert|6|ft|m|adj=mid|-tall}} man came.", None),
        ("{{As of|2011|5|12|df=US}}, and {{as of|2010|since=y|lc=y}}.", "As of May 12, 2011, and since 2010."),
        ("It is so {{as of|2011|alt=in early 2011}} there.", "It is so in early 2011 there."),
        ("He lived {{circa|1200|1300}} in Rome.", "He lived c. 1200 – c. 1300 in Rome."),
        ("It has {{formatnum:1234.5}} of {{frac|3|1|2}} and {{frac|4}}.", "It has 1234.5 of 3 1/2 and 1/4."),
        ("It has {{formatnum:{{NUMBEROFPAGES}}}} pages.", None),
        ("The log<sub>2</sub>8 is 3, and 42<sub>5</sub> is 22.", "The log2 8 is 3, and 42_5 is 22."),
        ("H{{sub|2}}O and 10{{sup|-6}} and the 5<sup>th</sup>.", "H2O and 10^-6 and the 5th."),
        ("His age is {{age|1970|1|1}} now.", None),
        ("It costs {{INR|500}} or {{US$|5 million}}.", "It costs ₹500 or US$5 million."),
        # words in templates that are silent elsewhere
        ("He was {{dubious span|born|date=May 2011}} and {{as written|dyed}}.", "He was born and dyed."),
        ("The word {{IPAc-en|k|æ|t}} is said so.", None),
        ("The cat ({{IPAc-en|k|æ|t}}, {{langx|la|cattus}}) sat.", "The cat (cattus) sat."),
        ("He ({{lang-ru|Иван}}, {{transliteration|ru|Ivan}}) was king.", "He (Иван, Ivan) was king."),
        ("It is {{lang|1=fr|2=mot}} or {{lang|fr|text=mots}}.", "It is mot or mots."),
        ("A {{math|1=x = 2}} is {{Template:nowrap|a sum}}.", "A x = 2 is a sum."),
        ("It is at {{coord|57|N|4|W|display=inline}} now.", None),
        ("It is here.{{coord|57|N|4|W|display=title}}", "It is here."),
        # tags
        ("Water is <ce>H2O</ce> here.", None),
        ("Cats <span style='display: none'>not </span>sat.<timeline>a</timeline>", "Cats sat."),
        ("The sign [[File:x.svg|20px]] is used for it.", None),
        ("[[File:x.svg|20px]] France won the cup.", "France won the cup."),
        ("-{zh-hans:猫;zh-hant:貓}- 在这里。", None),
        ("貓坐在墊\n子上。", "貓坐在墊子上。"),
    ],
)
def test_wikitext(markup, shown):
    assert prose(markup) == ([shown] if shown else [])


def test_wikitext_sections_break():
    assert wikitext("One.\n\n== Two ==\n{{main|X}}\nThree\nfour.") == ["One.", "", "Three four."]


def test_reported_cases(cases):
    for line in (cases / "wikitext.jsonl").read_text("utf-8").splitlines():
        case = json.loads(line)
        found = wikitext(case["source"])
        assert found in case["allowed"], case
        assert not any(words in " ".join(found) for words in case["never"]), case


NAMES = '<namespaces><namespace key="6">Skrá</namespace><namespace key="14">Flokkur</namespace></namespaces>'


def test_a_dump_says_what_its_files_and_categories_are_called(tmp_path):
    page = dump(("Köttur", 0, "", "[[Skrá:K|thumb|Köttur]] Kötturinn sefur hér í dag. [[Flokkur:Kettir]]"))
    path = write(tmp_path / "is.xml", page.replace("<page>", f"<siteinfo>{NAMES}</siteinfo><page>"))
    assert [p.text for p in load(path)] == ["Kötturinn sefur hér í dag."]


@pytest.mark.parametrize("newest", [0, 1, 2])
def test_the_newest_revision_of_a_history_is_read(tmp_path, newest):
    dates = ["2001-01-01T00:00:00Z", "2005-01-01T00:00:00Z", "2003-01-01T00:00:00Z"]
    dates[1], dates[newest] = dates[newest], dates[1]
    revisions = "".join(
        f"<revision><id>{n}</id><timestamp>{date}</timestamp><text>The text number {n} is here.</text></revision>"
        for n, date in enumerate(dates)
    )
    path = write(
        tmp_path / "h.xml", f"<mediawiki><page><title>A</title><ns>0</ns><id>1</id>{revisions}</page></mediawiki>"
    )
    assert [p.text for p in load(path)] == [f"The text number {newest} is here."]


def test_reported_dumps(cases):
    assert [p.text for p in load(cases / "history.xml")] == ["The new text stands here for a while."]
    german = load(cases / "de.xml")
    assert [p.text for p in german] == ["Die Katze sitzt heute auf der alten Matte im Garten. Sie schläft dort lange."]


def test_what_is_left_out_of_a_page_is_counted_by_reason(tmp_path):
    kept = "The cat sat on the mat for a long day."
    pages = f"{kept}\n\nIt has {{{{unknown|5}}}} legs.\n\n* one\n* two"
    report = load(write(tmp_path / "a.xml", dump(("Cat", 0, "", pages)))).report
    assert (report["unrendered"], report["lists"], report["kept"]) == (1, 2, 1)
