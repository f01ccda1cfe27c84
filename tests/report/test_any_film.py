"""The figure of the any-film estimator's calibration."""

from pathlib import Path

from PIL import Image

from magray.report.any_film import draw_ranks


def test_ranks_are_drawn_for_each_number_and_set_of_pictures(tmp_path: Path) -> None:
    flat, steep = [100] * 20, list(range(20, 220, 10))
    ranks = {"as they are": {"D": flat, "wall width": flat}, "microscope": {"D": steep, "wall width": flat}}
    draw_ranks(ranks, tmp_path / "ranks.png")
    width, height = Image.open(tmp_path / "ranks.png").size
    draw_ranks({"as they are": {"D": flat}}, tmp_path / "one.png")
    assert Image.open(tmp_path / "one.png").size[0] < width
    assert Image.open(tmp_path / "one.png").size[1] < height
