"""Make the files that a fuzzer damages: a tiny project, a picture in many formats, the repository's configs."""

import contextlib
import io
import re
from pathlib import Path
from unittest import mock

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image

from magray.config import ScaleSet, read_config
from magray.estimator.estimator import Estimator
from magray.estimator.metadata import Calibration, EstimatorMetadata, Target
from magray.files.atomic import read_table
from magray.films import Film, films_of
from magray.films.plan import PLAN_SCHEMA
from magray.micromagnetics import RelaxedFilm
from magray.network.branches import paper_cnn
from magray.project.stages import Project
from magray.store import create_store, rows_of
from tests.support.configs import tiny_project
from tests.support.stripes import stripes
from tests.support.studies import predictions_of, study_of

CONFIGS = Path(__file__).parents[2] / "configs"
# with this seed, two of the films are for tests
CONFIG = tiny_project("out", 3, 'train_scales: ["0.5"], epochs: 1, views_per_epoch: 16', [0.5], films=14)
PICTURE = "picture.png"


def project_files(folder: Path) -> dict[str, bytes]:
    """Return the files, by path, of a project whose films are drawn and whose estimator is untrained.

    folder: where it is made. No film is simulated, and no cluster is started.
    """
    folder.mkdir(parents=True)
    with contextlib.chdir(folder):
        Path("config.yaml").write_text(CONFIG, encoding="utf-8")
        project = Project(read_config(CONFIG))
        project.plan()
        plan = read_table(project.folder / "plan.parquet", PLAN_SCHEMA)
        store = create_store(project.config.store_uri, project.config.name, plan)
        for rows in (plan.slice(0, 7), plan.slice(7)):
            store.commit(rows_of([_drawn(film) for film in films_of(rows)], rows))
        _untrained().save(project.estimator_folder(ScaleSet.parse("0.5")))
        study = study_of("D", ["0.5"], [0.5])
        with mock.patch(
            "magray.evaluation.study.run_study",
            return_value=(predictions_of(study, plan["film_id"].to_pylist(), [0.5]), study),
        ):
            project.study()
        project.estimate_held_out()
        Path(PICTURE).write_bytes(picture_files()[PICTURE])
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def config_files() -> dict[str, str]:
    """Return the repository's configs by path, with campaigns of a few films."""
    texts = {str(path.relative_to(CONFIGS)): path.read_text(encoding="utf-8") for path in CONFIGS.rglob("*.yaml")}
    return {path: re.sub(r"\bfilms: \d+", "films: 8", text) for path, text in texts.items()}


def picture_files() -> dict[str, bytes]:
    """Return the same picture of stripes in all formats that instruments write, by file name."""
    grey = np.asarray(np.round((stripes(5, 0.4, 1, 128) + 1) * 127.5), np.uint8)
    image, shuffle = Image.fromarray(grey), np.random.default_rng(0).permutation(256).astype(np.uint8)
    palette = Image.fromarray(shuffle[grey], "P")
    palette.putpalette(np.repeat(np.argsort(shuffle), 3).astype(np.uint8).tobytes())
    deep, rgb = Image.fromarray(grey.astype(np.uint16) * 257), image.convert("RGB")
    files = {PICTURE: _saved(image, "png"), "palette.gif": _saved(palette, "gif"), "picture.jpg": _saved(image, "jpeg")}
    for name, one in {"palette": palette, "rgb": rgb, "rgba": rgb.convert("RGBA"), "deep": deep}.items():
        files |= {f"{name}.png": _saved(one, "png"), f"{name}.tif": _saved(one, "tiff")}
    files["alpha.png"] = _saved(image.convert("LA"), "png")
    files["cmyk.tif"] = _saved(rgb.convert("CMYK"), "tiff")
    files["lzw.tif"] = _saved(image, "tiff", compression="tiff_lzw")
    files["inverted.tif"] = _tiff(255 - grey, photometric="miniswhite")
    files["planar.tif"] = _tiff(np.stack([grey] * 3), photometric="rgb", planarconfig="separate")
    files["float.tif"] = _tiff(grey / np.float32(255))
    files["picture.npy"] = _npy(grey / np.float32(255))
    files["postscript.png"] = (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 200 200\n(canary) (w) file closefile\nshowpage\n"
    )
    return files


def _drawn(film: Film) -> RelaxedFilm:
    seed = film.seed % 1000
    mz: NDArray[np.float32] = stripes(2 + seed % 6, 0.4, seed, 128)
    m = np.stack([np.sqrt(1 - mz**2), np.zeros_like(mz), mz])
    return RelaxedFilm(film, m, {"total": 0.0}, 0.0, 1, "converged", "", 0.0, device="none", solver="drawn")


def _untrained() -> Estimator:
    torch.manual_seed(1)
    target = Target("D", "J/m2", mean=5e-4, spread=2e-4, low=1e-4, high=1e-3)
    calibration = Calibration((0.25, 0.5), {"D": (1e-4, 1e-4)}, films=2)
    return Estimator(paper_cnn(1, 0.5), EstimatorMetadata((target,), (0.5,), 4, calibration, {}, width=0.5))


def _saved(image: Image.Image, kind: str, **options: str) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def _npy(pixels: NDArray[np.generic]) -> bytes:
    content = io.BytesIO()
    np.save(content, pixels)
    return content.getvalue()


def _tiff(pixels: NDArray[np.generic], **options: str) -> bytes:
    content = io.BytesIO()
    tifffile.imwrite(content, pixels, **options)  # type: ignore[arg-type]
    return content.getvalue()
