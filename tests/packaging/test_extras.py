"""What error messages advise to install is what the extra of that name has."""

import re
import tomllib

from conftest import REPOSITORY

from mcmc.errors import OPTIONAL_LIBRARIES, how_to_install

EXTRAS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def plain(requirement):
    """A requirement without its version."""
    return re.split("[<>=]", requirement)[0]


def test_messages_name_the_libraries_of_the_extra():
    for extra, libraries in OPTIONAL_LIBRARIES.items():
        assert list(libraries) == [plain(each) for each in EXTRAS[extra]]
        assert how_to_install(extra).startswith(f"pip install {' '.join(libraries)} ")


def test_the_page_on_installing_names_every_extra_and_its_libraries():
    page = (REPOSITORY / "docs" / "install.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|.*\| `([^`]*)` \|$", page, re.MULTILINE)
    assert {name: libraries.split() for name, libraries in rows} == {
        name: [plain(each) for each in libraries] for name, libraries in EXTRAS.items()
    }
