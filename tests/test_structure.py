import ast
import re

from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "deep_net_triage"


def imported_by(file):
    """Names of this package's modules that a file imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "deep_net_triage":
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update(re.findall(r"^deep_net_triage\.(\w+)", node.module))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                found.update(re.findall(r"^deep_net_triage\.(\w+)", alias.name))
    return found


def test_each_module_imports_only_from_the_floors_below_it():
    readme = (REPOSITORY / "README.md").read_text()
    floors = {
        module: int(floor)
        for floor, modules in re.findall(r"^\| (\d) \| (.*) \|$", readme, re.MULTILINE)
        for module in re.findall(r"`(\w+)`", modules)
    }
    files = {file.stem: file for file in PACKAGE.glob("*.py") if file.stem != "__init__"}
    assert set(floors) == set(files)
    upwards = [
        f"{name} imports {other}"
        for name, file in files.items()
        for other in imported_by(file)
        if floors[other] >= floors[name]
    ]
    assert upwards == []
    assert imported_by(files["triage"]) > {"parents", "trials", "results"}
