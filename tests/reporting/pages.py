"""Runs to report on, and a reader of pages that knows HTML and nothing of the template."""

from html.parser import HTMLParser

import numpy as np

VOID = {"meta", "link", "img", "input", "br", "hr"}


def draws(chains=4, length=200, seed=0, **event):
    """A posterior of normal draws, one variable for each keyword of its event shape."""
    random = np.random.default_rng(seed)
    return {"posterior": {name: random.normal(size=(chains, length, *shape)) for name, shape in event.items()}}


def troubled(seed=0):
    """A run with one chain elsewhere in `tau`, with energies and diverging draws."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(4, 300))
    x[2] += 4
    return {
        "posterior": {"mu": random.normal(size=(4, 300)), "tau": np.exp(x), "theta": random.normal(size=(4, 300, 3))},
        "sample_stats": {"energy": random.normal(size=(4, 300)), "diverging": x > 5.5},
    }


class Page(HTMLParser):
    """What a page holds: tags with attributes, the words by section, the rows of its tables."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.rows, self.scripts, self.texts = [], [], {}, [], {}
        self.feed(text)
        self.close()
        self.words = {section: " ".join(texts) for section, texts in self.texts.items()}

    @property
    def section(self):
        return next((i for tag, i in reversed(self.open) if tag in ("section", "dl", "header") and i), "")

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        for closed in {"tr": ("td", "th", "tr"), "td": ("td", "th"), "th": ("td", "th")}.get(tag, ()):
            if self.open[-1][0] == closed:
                self.open.pop()
        self.tags.append((tag, attrs))
        if tag == "tr":
            self.rows.setdefault(self.section, []).append([])
        if tag in ("td", "th"):
            self.rows[self.section][-1].append("")
        if tag == "script":
            self.scripts.append("")
        if tag not in VOID:
            self.open.append((tag, attrs.get("id", "")))

    def handle_endtag(self, tag):
        while self.open and self.open[-1][0] != tag and any(name == tag for name, _ in self.open):
            self.open.pop()
        if self.open and self.open[-1][0] == tag:
            self.open.pop()

    def handle_data(self, data):
        inside = [tag for tag, _ in self.open]
        if "script" in inside:
            self.scripts[-1] += data
        elif "style" not in inside:
            self.texts.setdefault(self.section, []).append(" ".join(data.split()))
            if "tr" in inside and ("td" in inside or "th" in inside):
                self.rows[self.section][-1][-1] += data.strip()

    def table(self, section):
        """Rows below the head, as lists of cells."""
        return self.rows[section][1:]
