"""What the documents need beside Markdown: all flags, the notebook, files outside of docs/."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from deep_net_triage.commands import declarations, manual

REPOSITORY = Path(__file__).resolve().parent.parent
# What pages show or link to. Their links begin with `../`, so that they work on GitHub as well.
SHOWN = (
    "figures/folds/*.png",
    "figures/folds/README.md",
    "figures/own_model/*.png",
    "figures/own_model/*.html",
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
    """Points links at those files, and puts the flags and the notebook on their pages."""
    if page.file.src_uri == "command-line.md":
        values = declarations.declare()
        values(["run_triage.py"])
        return "\n".join([markdown, *manual.page(values)])
    if page.file.src_uri == "quickstart.md":
        return "\n\n".join(_cells(REPOSITORY / "docs" / "quickstart.ipynb"))
    markdown = re.sub(r"\]\(\s*\.\./figures/", "](figures/", markdown)
    return re.sub(r"\]\(\s*\.\./\.\./docs/", "](../../", markdown)


def _cells(notebook: Path) -> Iterator[str]:
    """Yields a notebook's cells as Markdown, with the outputs that are stored in it."""
    for cell in json.loads(notebook.read_text())["cells"]:
        source = "".join(cell["source"])
        yield f"```python\n{source}\n```" if cell["cell_type"] == "code" else source
        for output in cell.get("outputs", ()):
            if output["output_type"] == "stream":
                yield f"```text\n{''.join(output['text']).rstrip()}\n```"
            else:
                picture = "".join(output["data"]["image/png"]).replace("\n", "")
                yield f"![what the cell draws](data:image/png;base64,{picture})"
