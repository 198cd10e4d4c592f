"""The architecture is a list of layers; imports go down it."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_imports_go_down_the_layers() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr


def hidden_imports(path: Path) -> list[str]:
    """The modules of ours that a file imports only for type checkers."""
    blocks = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.If)]
    shielded = [node for block in blocks if "TYPE_CHECKING" in ast.unparse(block.test) for node in ast.walk(block)]
    names = [node.module or "" for node in shielded if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in shielded if isinstance(node, ast.Import) for alias in node.names]
    return [name for name in names if name.partition(".")[0] == "crudite"]


def test_no_import_hides_from_the_layers_under_type_checking() -> None:
    hidden = {str(path): found for path in (ROOT / "src").rglob("*.py") if (found := hidden_imports(path))}

    assert hidden == {}
