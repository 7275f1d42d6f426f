"""Code shared by tests is in tests/support/: splitting, moving or deleting a test never breaks another one."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

TESTS = ROOT / "tests"


def imported_modules(file: Path) -> Iterator[str]:
    """The modules, with the names taken from them, that the file imports from anywhere in tests/."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_shared(module: str, folder: Path) -> bool:
    """Whether a file in `folder` may import it: anything in support, and anything but tests in its own folder."""
    parts = module.split(".")
    if parts[0] != "tests":
        return not (parts[0] == "conftest" or parts[0].startswith("test_"))
    if parts[1] == "support":
        return True
    own = [*folder.relative_to(ROOT).parts]
    return parts[: len(own)] == own and not any(part == "conftest" or part.startswith("test_") for part in parts[1:])


def test_no_test_imports_another() -> None:
    files = sorted(TESTS.rglob("*.py"))
    imports = [(str(file.relative_to(ROOT)), module) for file in files for module in imported_modules(file)]
    assert [(file, module) for file, module in imports if not is_shared(module, (ROOT / file).parent)] == []


@pytest.mark.parametrize(
    ("module", "shared"),
    [
        ("tests.support.reviews.write_corpus", True),
        ("tests.faults.harness.Commands", True),
        ("tests.faults.test_faults_flips.flip", False),
        ("tests.faults.conftest.shim", False),
        ("tests.fuzz.mutate.mutated", False),
        ("test_faults_flips", False),
        ("pyarrow.parquet", True),
    ],
)
def test_the_rule(module: str, shared: bool) -> None:
    assert is_shared(module, TESTS / "faults") == shared
