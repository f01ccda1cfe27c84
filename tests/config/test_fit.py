"""Training, microscope and test scales: refused in one line where no estimator can come of them."""

from pathlib import Path

import pytest

from magray.config import load_config
from magray.errors import UserError
from tests.support.configs import QUICKSTART, check_refusal


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("fit.learningrate=1", "unknown key fit.learningrate; did you mean learning_rate?"),
        ("fit.train_scales=[big]", "'big' is not a set of scales"),
        ("fit.train_scales=['0.5+1.0', '1.0+0.5']", "a set is given twice"),
        ("fit.microscope={blur: [0 nm, 20 nm]}", "fit.microscope.noise is missing"),
        ("fit.microscope={blur: [0, 20 nm], noise: [0, 0]}", "blur: 0 has no unit; write for example 4 nm"),
        ("fit.microscope={blur: 20 nm, noise: [0, 0]}", "fit.microscope.blur: input should be a valid tuple"),
        ("fit.microscope={blur: [20 nm, 5 nm], noise: [0, 0]}", "microscope.blur: give [least, most], both 0 or more"),
        ("fit.microscope={blur: [0 nm, 5 nm], noise: [-1, 0]}", "microscope.noise: give [least, most], both 0 or more"),
        ("fit.microscope={blurr: [0 nm, 5 nm]}", "unknown key fit.microscope.blurr; did you mean blur?"),
        ("fit.targets=[E]", "fit.targets.0: input should be 'D', 'Ms'"),
        ("fit.seeds=100000000000000000000", "fit.seeds: input should be at most 1,000, since each seed is a fit"),
        ("fit.epochs=100000000000", "fit.epochs: input should be at most 1,000,000, since"),
        ("fit.checkpoint_epochs=100000000000", "fit.checkpoint_epochs: input should be at most"),
        ("fit.views_per_epoch=100000000000", "fit.views_per_epoch: input should be at most"),
        ("fit.batch=100000000", "fit.batch: input should be at most 65,536, since a GPU holds a batch at once"),
        ("fit.workers=100000000", "fit.workers: input should be at most"),
        ("fit.films_at_once=100000000", "fit.films_at_once: input should be at most"),
        (
            "fit.learning_rate=1e30",
            "fit.learning_rate: input should be at most 1, since larger steps diverge, not 1e+30",
        ),
        ("fit.learning_rate=1e-310", "fit.learning_rate: input should be at least"),
        ("fit.weight_decay=1e30", "fit.weight_decay: input should be at most 1"),
        ("fit.targets=[D, D]", "targets: one is given twice"),
        ("fit.train_scales=['1e-310']", "is not a set of scales"),
        ("fit.microscope={blur: [0 nm, 1 m], noise: [0, 1]}", "both 0 or more and up to 0.0001"),
        ("fit.microscope={blur: [0 nm, 1 nm], noise: [0, 1e300]}", "both 0 or more and up to 100"),
        ("study.test_scales=[1e300]", "input should be at most 10,000 µm, since films are smaller"),
        ("study.test_scales=[1e-310]", "input should be at least 0.001 µm, since domains are larger"),
        ("fit.start_from=''", "fit.start_from: string should have at least 1 character"),
        ("fit.start_from=3", "fit.start_from: input should be a valid string, not 3"),
        ("fit.learning_rate=true", "fit.learning_rate: input should be a valid number, not True"),
        ("fit.learning_rate=.inf", "fit.learning_rate: input should be a valid number, not '.inf'"),
    ],
)
def test_a_fit_that_cannot_be_is_refused_in_one_line(override: str, complaint: str) -> None:
    check_refusal(override, complaint)


def test_a_fit_starts_from_a_name_or_a_path_as_written_but_for_the_home() -> None:
    """./co-like is a folder of the user's, and co-like an estimator of magray's."""
    for written in ("co-like", "./co-like"):
        assert load_config(QUICKSTART, [f"fit.start_from={written}"]).fit.start_from == written
    at_home = load_config(QUICKSTART, ["fit.start_from=~/mine"]).fit.start_from
    assert at_home == str(Path.home() / "mine")


def test_the_last_seed_is_a_seed_too() -> None:
    with pytest.raises(UserError, match=r"seed: 9223372036854775807 and the 2 seeds from it on pass 2\*\*63 - 1"):
        load_config(QUICKSTART, ["fit.seed=9223372036854775807", "fit.seeds=2"])


def test_a_range_needs_a_number_of_views() -> None:
    overrides = ["fit.train_scales=['0.5', 0.25..1.0]", "fit.views_per_epoch=null"]
    with pytest.raises(UserError, match=r"a range such as 0.25..1.0 needs views_per_epoch"):
        load_config(QUICKSTART, overrides)
