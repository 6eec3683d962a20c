"""Reads an HTML fragment as a browser that runs nothing: its text, its tags, and whether they close in order."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """`.text` (as shown when all is unfolded), `.tags`, `.marked` (texts in <mark>); AssertionError if it is broken."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.text, self.tags, self.marked, self.open = "", [], [], []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on") or name in ("src", "href")]
        if tag != "br":
            self.open.append(tag)
        if tag == "mark":
            self.marked.append("")

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.text += data
        if "mark" in self.open:
            self.marked[-1] += data

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")
