"""Run the examples and refresh what the pages of the gallery show of them: `python docs/gallery/build.py [name ...]`.

In a page, the lines between `<!-- output: name -->` and `<!-- end -->` become what examples/name.py prints, and those
between `<!-- code: name function ... -->` and `<!-- end -->` the source of those functions and values. Pictures go to
images/. The exit status is 1 where a verdict is not good.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"
BLOCK = re.compile(r"(<!-- (output|code): ([^\n]*?) -->\n).*?(<!-- end -->)", re.DOTALL)


def output(name: str) -> str:
    """What the example prints; its picture is saved among the images."""
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), "--out", str(HERE / "images")]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.rstrip()


def code(name: str, wanted: list[str]) -> str:
    """The source of the example's functions and values of these names, in the order of the file."""
    source = (EXAMPLES / f"{name}.py").read_text()
    lines, parts = source.splitlines(), []
    for node in ast.parse(source).body:
        names = [t.id for t in node.targets if isinstance(t, ast.Name)] if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.FunctionDef):
            names = [node.name]
        if set(names) & set(wanted):
            parts.append("\n".join(lines[node.lineno - 1 : node.end_lineno]))
    if len(parts) != len(wanted):
        raise ValueError(f"{name}.py has not all of {', '.join(wanted)}: correct the page")
    return "\n\n\n".join(parts)


def refresh(page: Path) -> bool:
    """Fill the page's blocks; whether every verdict in it is good."""
    good = True

    def fill(match: re.Match) -> str:
        nonlocal good
        start, kind, arguments, end = match.groups()
        name, *wanted = arguments.split()
        text = output(name) if kind == "output" else code(name, wanted)
        good &= kind == "code" or "\nGood" in text
        return f"{start}```{'text' if kind == 'output' else 'python'}\n{text}\n```\n{end}"

    page.write_text(BLOCK.sub(fill, page.read_text()))
    return good


if __name__ == "__main__":
    pages = [HERE / f"{name}.md" for name in sys.argv[1:]] or sorted(HERE.glob("*.md"))
    verdicts = {page.stem: refresh(page) for page in pages}
    print("\n".join(f"{name}: {'good' if ok else 'NOT GOOD'}" for name, ok in verdicts.items()))
    sys.exit(not all(verdicts.values()))
