"""The architecture is a list of layers; imports go down it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_imports_go_down_the_layers() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr


def test_no_import_hides_from_the_layers_under_type_checking() -> None:
    hidden = [path for path in (ROOT / "src").rglob("*.py") if "TYPE_CHECKING" in path.read_text("utf-8")]
    assert hidden == []
