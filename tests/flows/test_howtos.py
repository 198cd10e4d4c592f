"""The guides do what they say: their code is run, and their tests are."""

import importlib.util
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.only_on("sqlite", reason="the guides speak of files")

DOCS = Path(__file__).parents[2] / "docs"
GUIDES = (
    "test-your-app",
    "say-who-may-do-what",
    "end-and-renew-sessions",
    "check-tokens",
    "let-other-sites-in",
    "sign-people-up-and-in",
    "change-what-an-action-does",
    "say-where-a-resource-stands",
    "see-who-changed-what",
    "relate-records",
    "keep-records-anywhere",
    "serve-older-clients",
    "delete-and-restore",
    "validate-what-comes",
    "write-a-handler",
    "show-who-is-there",
    "mount-in-fastapi",
    "monitor-an-application",
)
PLACES = (*(f"howto/{guide}" for guide in GUIDES), "coming-from/booster", "coming-from/wheelhouse-resource")


def module_of(guide: str, directory: Path) -> ModuleType:
    """All Python code of a guide, as one module."""
    text = (DOCS / f"{guide}.md").read_text()
    name = guide.replace("-", "_").replace("/", "_")
    file = directory / f"{name}.py"
    file.write_text("\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)))
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient`")
@pytest.mark.parametrize("guide", PLACES)
async def test_every_example_of_a_guide_runs(guide: str, tmp_path: Path) -> None:
    module = module_of(guide, tmp_path)
    tests = [value for name, value in vars(module).items() if name.startswith("test_")]
    assert tests
    for test in tests:
        if inspect.iscoroutinefunction(test):
            await test()
        else:
            test()
