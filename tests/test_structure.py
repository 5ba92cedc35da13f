"""Wings stand on floors, and the table of them in `docs/code.md` is the plan of the house."""

import ast
import functools
import re

from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "deep_net_triage"
FILES = {file.stem: file for file in PACKAGE.rglob("*.py") if file.stem != "__init__"}
MOST_FLOORS = 10
LONGEST_FILE = 350
MOST_METHODS = 12
MOST_PARAMETERS = 7


def imported_by(name):
    """Names of this package's modules that a module imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            named = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        else:
            continue
        for path in named:
            top, *inner = path.split(".")
            if top == "deep_net_triage" and inner and inner[-1] in FILES:
                found.add(inner[-1])
    return found


@functools.cache
def floor(name):
    """A module stands above all that it imports; a circle never ends."""
    return 1 + max(map(floor, imported_by(name)), default=0)


def wing(name):
    """The folder of a module; a module at the package's top is a wing of its own."""
    folder = FILES[name].parent
    return name if folder == PACKAGE else folder.name


def functions():
    for file in FILES.values():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef):
                yield file, node


def test_no_two_modules_share_a_name():
    files = [file for file in PACKAGE.rglob("*.py") if file.stem != "__init__"]
    assert len(files) == len(FILES)


def test_each_wing_imports_only_from_the_floors_below_it():
    page = (REPOSITORY / "docs" / "code.md").read_text()
    floors = {
        name: int(number)
        for number, wings in re.findall(r"^\| (\d+) \| ([^|]*) \|", page, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", wings)
    }
    assert set(floors) == set(map(wing, FILES))
    upward = [
        f"{name} imports {other}"
        for name in FILES
        for other in imported_by(name)
        if wing(name) != wing(other) and floors[wing(other)] >= floors[wing(name)]
    ]
    assert upward == []
    assert imported_by("study") > {"plan", "ledger", "results"}


def test_there_are_few_floors():
    # `__main__` is the program, which nothing imports; it stands on the house.
    highest = max(FILES.keys() - {"__main__"}, key=floor)
    assert floor(highest) <= MOST_FLOORS, highest


def test_files_and_classes_are_small():
    long = [file.name for file in FILES.values() if file.read_text().count("\n") > LONGEST_FILE]
    assert long == []
    for file in FILES.values():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef):
                public = [
                    part.name
                    for part in node.body
                    if isinstance(part, ast.FunctionDef) and not part.name.startswith("_")
                ]
                assert len(public) <= MOST_METHODS, node.name


def test_functions_take_few_parameters():
    """Options of the library count as one: they are one `TypedDict`."""
    for file, node in functions():
        taken = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        taken = [one.arg for one in taken if one.arg not in ("self", "cls")]
        assert len(taken) <= MOST_PARAMETERS, (file.name, node.name)
