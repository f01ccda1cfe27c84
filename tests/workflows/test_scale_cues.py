"""The settings of a study of scale cues share their films, and a random phase moves these by less than a cell."""

from pathlib import Path

import numpy as np
import pytest

from magray.config import load_scale_cues
from magray.errors import UserError
from magray.workflows.scale_cues import settings_of, with_random_phase
from tests.support.stripes import SIDE, striped_store

CONFIGS = Path(__file__).parents[2] / "configs" / "scale-cues"


@pytest.mark.parametrize("name", ["dmi", "ms"])
def test_settings_of_one_campaign_share_its_films(name: str) -> None:
    settings = {
        setting.config.name: setting for setting in settings_of(load_scale_cues(CONFIGS / f"{name}.yaml"), CONFIGS)
    }
    stores = {name: setting.project.config.store_uri for name, setting in settings.items()}
    assert stores["as-simulated"] == stores["blur-and-noise-in-pixels"]
    assert len(set(stores.values())) == 4  # as simulated, with grains, and both at a random phase
    simulated = {name: str(setting.simulated) for name, setting in settings.items()}
    assert simulated["random-phase"] == stores["as-simulated"]
    assert simulated["all-of-these"] == stores["grains"]
    for setting in settings.values():
        assert str(setting.project.config.fit.train_scales[0]) == "0.5+1.0+1.5+2.0"
        assert setting.project.config.fit.seeds == 3


def test_two_settings_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cues.yaml"
    path.write_text("{project: a.yaml, output: runs, settings: [{name: grains}, {name: grains}]}", encoding="utf-8")
    with pytest.raises(UserError, match=r"cues.yaml: .*two have the same name; rename one"):
        load_scale_cues(path)


def test_a_random_phase_moves_every_film_by_another_part_of_a_cell(tmp_path: Path) -> None:
    simulated = striped_store(tmp_path / "simulated", films=8)
    ids = simulated.ids().to_pylist()
    copy = with_random_phase(simulated, str(tmp_path / "copy"))
    files = copy.files()
    with_random_phase(simulated, str(tmp_path / "copy"))
    assert copy.files() == files
    assert sorted(copy.ids().to_pylist()) == sorted(ids)
    before, after = (store.images(ids).astype(float) for store in (simulated, copy))
    assert after.shape == (8, SIDE, SIDE)
    parts = [_moved(one, two) for one, two in zip(before, after, strict=True)]
    assert all(0 <= part <= 1 for part in parts)
    assert len({round(part, 3) for part in parts}) == 8


def _moved(before: np.ndarray, after: np.ndarray) -> float:
    """Return how far stripes moved across themselves, in cells: the part of the next cell in each new one."""
    axis = int(np.ptp(before[:, :1]) == 0)  # stripes vary along it
    step = np.roll(before, -1, axis) - before
    return float(np.sum(step * (after - before)) / np.sum(step * step))
