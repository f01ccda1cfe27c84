"""Check what is published: the files of the wheel, what names the version, and what a command imports."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

from magray._version import __version__
from magray.imaging import write_picture
from tests.support.stripes import labyrinth

ROOT = Path(__file__).parents[2]

COMMAND = """
import sys
from magray.cli.app import main
try:
    main()
finally:
    print([name for name in ("ray", "torch") if name in sys.modules], file=sys.stderr)
"""


def files_of_the_package() -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for path in (ROOT / "magray").rglob("*")
        if path.is_file() and path.parent.name != "__pycache__" and not path.name.startswith(".")
    }


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else() -> None:
    """Estimators, page templates, CUDA sources and starting configs are no Python files, but the package reads them."""
    packed = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert packed == files_of_the_package() | {"magray/workflows/quickstart.yaml"}
    assert {Path(name).suffix for name in packed} >= {
        ".safetensors",
        ".json",
        ".html",
        ".css",
        ".cu",
        ".yaml",
        ".typed",
    }


def test_the_source_distribution_holds_what_its_tests_need() -> None:
    packed = {file.distribution_path for file in SdistBuilder(str(ROOT)).recurse_included_files()}
    assert packed >= files_of_the_package() | {"constraints.txt", "configs/quickstart.yaml", "tests/cli/test_app.py"}


def test_the_citation_names_the_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["license"]) == (__version__, "Apache-2.0")


@pytest.mark.parametrize(
    ("words", "imported"),
    [(["doctor"], []), (["init", "film"], []), (["estimate", "film.png", "--pixel-nm", "8"], ["torch"])],
    ids=lambda words: words[0] if words else "",
)
def test_a_command_imports_only_what_it_needs(words: list[str], imported: list[str], tmp_path: Path) -> None:
    """Ray takes seconds to import, and so does torch."""
    write_picture(tmp_path / "film.png", (127.5 * (1 + labyrinth())).astype("uint8"))
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *words],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.splitlines()[-1] == str(imported), done.stderr
