"""What the documents need beside Markdown: a list of all flags, and files outside of docs/."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from deep_net_triage.commands import declarations, manual

REPOSITORY = Path(__file__).resolve().parent.parent
# What pages show or link to. Their links begin with `../`, so that they work on GitHub as well.
SHOWN = (
    "figures/own_model/*.png",
    "figures/own_model/report.html",
    "figures/study/*.png",
    "figures/study/README.md",
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the files that pages show."""
    for pattern in SHOWN:
        for file in sorted(REPOSITORY.glob(pattern)):
            name = file.relative_to(REPOSITORY).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(file)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Points links at those files, and lists the flags on their page."""
    if page.file.src_uri == "command-line.md":
        values = declarations.declare()
        values(["run_triage.py"])
        return "\n".join([markdown, *manual.page(values)])
    return re.sub(r"\]\(\s*\.\./figures/", "](figures/", markdown)
