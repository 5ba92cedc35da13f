import ast
import re

from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "deep_net_triage"
FILES = {file.stem: file for file in PACKAGE.rglob("*.py") if file.stem != "__init__"}


def imported_by(file):
    """Names of this package's modules that a file imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            named = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        else:
            continue
        for name in named:
            top, *inner = name.split(".")
            if top == "deep_net_triage" and inner and inner[-1] in FILES:
                found.add(inner[-1])
    return found


def test_no_two_modules_share_a_name():
    files = [file for file in PACKAGE.rglob("*.py") if file.stem != "__init__"]
    assert len(files) == len(FILES)


def test_each_module_imports_only_from_the_floors_below_it():
    readme = (REPOSITORY / "README.md").read_text()
    floors = {
        module: int(floor)
        for floor, modules in re.findall(r"^\| (\d+) \| (.*) \|$", readme, re.MULTILINE)
        for module in re.findall(r"`(\w+)`", modules)
    }
    assert set(floors) == set(FILES)
    upwards = [
        f"{name} imports {other}"
        for name, file in FILES.items()
        for other in imported_by(file)
        if floors[other] >= floors[name]
    ]
    assert upwards == []
    assert imported_by(FILES["study"]) > {"parents", "trials", "results"}
