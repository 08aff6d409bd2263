"""The pictures of the page on steps: `python docs/steps_pictures.py` runs its code, which saves them."""

import argparse
import contextlib
import re
from pathlib import Path

PAGE = Path(__file__).parent / "steps.md"
IMAGES = Path(__file__).parent / "images"


def run(folder: Path) -> dict:
    """Run the page's code in a folder; the names that it defines."""
    names: dict = {"__name__": "page"}
    with contextlib.chdir(folder):
        for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
            exec(compile(code, PAGE.name, "exec"), names)
    return names


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=IMAGES)
    run(parser.parse_args().out)
