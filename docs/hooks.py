"""For the site: the pages that the package itself ships, `mcmc explain CODE`, shown under troubleshooting/CODE."""

from mkdocs.structure.files import File

from mcmc import help

FOLDER = "troubleshooting"
INDEX = "Troubleshooting"


def on_config(config):
    """List the pages in the navigation, below their index."""
    for part in config.nav:
        if isinstance(part, dict) and INDEX in part:
            part[INDEX] = [f"{FOLDER}/index.md", *({code: f"{FOLDER}/{code}.md"} for code in help.codes())]
    return config


def on_files(files, config):
    """Add the pages, and their titles to the index."""
    for code in help.codes():
        files.append(File.generated(config, f"{FOLDER}/{code}.md", content=help.page(code)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Put the table of codes where the index asks for it."""
    if page.file.src_uri != f"{FOLDER}/index.md":
        return markdown
    rows = [f"| [`{code}`]({code}.md) | {help.title(code)} |" for code in help.codes()]
    return markdown.replace("<!-- codes -->", "\n".join(["| code | what it says |", "|---|---|", *rows]))
