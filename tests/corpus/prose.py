"""Sentences, articles and files that the tests of the corpus share."""

import bz2
import gzip
import json
import lzma

from pzlib.corpus import load_passages

SENTENCE = "The river {n} runs from the hills to the sea and turns {n} mills along it."  # 16 words
ARTICLE = "\n".join(" ".join(SENTENCE.format(n=10 * p + s) for s in range(3)) for p in range(4))


def load(source, **named):
    return load_passages(source, **({"min_tokens": 4, "max_tokens": 100} | named))


def texts(source, **named):
    return sorted(p.text for p in load(source, **named))


class Bytes:
    """A tokenizer of bytes: many tokens a word, so that bounds in tokens differ from bounds in words."""

    def encode(self, text, **_):
        return list(text.encode())


def write(path, data):
    opened = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(path.suffix, open)
    with opened(path, "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())
    return path


def jsonl(rows):
    return "\n".join(json.dumps(row) for row in rows) + "\n"


def dump(*pages):
    body = "".join(
        f"<page><title>{title}</title><ns>{ns}</ns><id>{n}</id>{extra}<revision><id>9</id><text>{text}</text></revision></page>"
        for n, (title, ns, extra, text) in enumerate(pages)
    )
    return f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/">{body}</mediawiki>'
