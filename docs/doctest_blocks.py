"""For the pages of the reference: examples and formulas in docstrings are shown as code."""

import re
from typing import Any

import griffe


def fenced(text: str) -> str:
    """The text with a fence around every run of lines from `>>>` to an empty line, and formulas as code."""
    lines: list[str] = []
    indent: str | None = None
    for line in [*text.splitlines(), ""]:
        if indent is None and line.lstrip().startswith(">>> "):
            indent = line[: len(line) - len(line.lstrip())]
            lines.append(f"{indent}```pycon")
        elif indent is not None and not line.strip():
            lines.append(f"{indent}```")
            indent = None
        lines.append(re.sub(r"^(\s*)\.\. math:: (.*)$", r"\1`\2`", line))
    return "\n".join(lines[:-1])


class DoctestBlocks(griffe.Extension):
    """Rewrites every docstring before it is read."""

    def on_object(self, *, obj: griffe.Object, **settings: Any) -> None:
        """Called for each module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)
