"""The quickstart's config, a check of the messages about changes of it, and the config of a tiny project."""

from pathlib import Path

import pytest

from magray.config import load_config
from magray.errors import UserError

QUICKSTART = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
_TINY = """\
name: {name}
output: {name}
campaign:
  films: {films}
  seed: {seed}
  cells: [128, 128]
  cell_size: [4 nm, 4 nm, 4 nm]
  Ms: 1500 kA/m
  Ku1: 1.6 MJ/m3
  Aex: 31 pJ/m
  dmi: bulk
  D: {{uniform: [0.1 mJ/m2, 1.0 mJ/m2]}}
  sigma: {{uniform: [0.05, 0.2]}}
  protocol:
    initial: random
    stages:
      - quench: {{alpha: 0.5, duration: {picoseconds} ps}}
simulate: {{backend: cpu, block_films: 2}}
fit: {{{fit}, learning_rate: 1.0e-3, width: 0.5}}
study: {{test_scales: {test_scales}}}
"""


def tiny_project(
    name: str, seed: int, fit: str, test_scales: list[float], films: int = 16, picoseconds: int = 20
) -> str:
    """Return the YAML of a project whose stages take seconds, in the folder `name`. fit: further keys of `fit`."""
    return _TINY.format(name=name, seed=seed, fit=fit, test_scales=test_scales, films=films, picoseconds=picoseconds)


def check_refusal(override: str, complaint: str) -> None:
    """Check that the quickstart with `override` is refused in one line with the file's name and `complaint`."""
    with pytest.raises(UserError) as error:
        load_config(QUICKSTART, [override])
    message = str(error.value)
    assert message.startswith(f"{QUICKSTART}: ")
    assert complaint in message
    assert "\n" not in message
