"""Pages whose code runs: `python docs/pages.py [page ...]` runs them, and refreshes their output and pictures.

The ```python blocks of a page run in their order, as one program. A ```text block right after one is what it prints.
pictures.py beside the pages has a function for each that has a picture; it is given the program's names.
"""

import argparse
import contextlib
import io
import os
import re
import sys
import tempfile
import time
from pathlib import Path

DOCS = Path(__file__).parent
FOLDERS = ("tutorial", "recipes", "coming_from")
BLOCK = re.compile(r"```python\n(?P<code>.*?)```(?P<printed>\n\n```text\n.*?```)?", re.DOTALL)
DPI, MOST_BYTES = 75, 60_000


def blocks(page: Path) -> list[str]:
    """The program of a page, block by block."""
    return [match["code"] for match in BLOCK.finditer(page.read_text(encoding="utf-8"))]


def run(page: Path, printed: list[str] | None = None) -> dict:
    """Run a page in a folder of its own; the names that it defines. What each block prints is appended to `printed`."""
    names: dict = {"__name__": "page"}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for i, code in enumerate(blocks(page)):
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(code, f"{page.name}, block {i + 1}", "exec"), names)
            if printed is not None:
                printed.append(out.getvalue().rstrip())
    return names


def picture(page: Path, names: dict):
    """The page's picture by its function in pictures.py beside it, or None."""
    source = page.parent / "pictures.py"
    if not source.is_file():
        return None
    sys.path.insert(0, str(DOCS))  # for drawing.py
    functions: dict = {}
    exec(compile(source.read_text(encoding="utf-8"), str(source), "exec"), functions)
    sys.path.remove(str(DOCS))
    draw = functions.get(f"page_{page.stem}")
    return draw and draw(names)


def save(figure, path: Path) -> None:
    """Write a picture, and say if it is too large."""
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=DPI)
    if path.stat().st_size > MOST_BYTES:
        print(f"{path.name}: {path.stat().st_size} bytes, more than {MOST_BYTES}", file=sys.stderr)


def refresh(page: Path) -> None:
    """Run a page, put what it prints into it, and draw its picture."""
    printed: list[str] = []
    names = run(page, printed)
    said = iter(printed)

    def fill(match: re.Match) -> str:
        text = next(said)
        shown = f"\n\n```text\n{text}\n```" if match["printed"] else ""
        return f"```python\n{match['code']}```{shown}"

    page.write_text(BLOCK.sub(fill, page.read_text(encoding="utf-8")), encoding="utf-8")
    figure = picture(page, names)
    if figure is not None:
        save(figure, page.parent / "images" / f"{page.stem}.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", nargs="*", type=Path)
    os.environ.setdefault("COLUMNS", "120")
    for page in parser.parse_args().page or sorted(p for f in FOLDERS for p in (DOCS / f).glob("*.md")):
        start = time.perf_counter()
        refresh(page.resolve())
        print(f"{page.stem}: {time.perf_counter() - start:.1f} s")
