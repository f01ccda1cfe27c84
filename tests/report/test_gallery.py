"""The gallery shows films where they lie in the plane of two numbers, and needs nothing but itself."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest

from magray.errors import UserError
from magray.films import plan_table
from magray.micromagnetics import RelaxedFilm
from magray.report.gallery import MOST_COLUMNS, MOST_ROWS, Axis, write_gallery
from magray.report.labels import Quantity
from magray.store import Store, create_store, rows_of
from tests.support.specimens import co_like
from tests.support.stripes import labyrinth, striped_store

if TYPE_CHECKING:
    from tests.support.chromium import ChromiumTab

SIDE = 32


def labyrinths(
    folder: Path, steps: int, status: Literal["converged", "not_converged"] = "converged", wide: bool = False
) -> Store:
    """Return a store of steps² films, evenly spread over D and Ms; the more D, the narrower the domains.

    wide: every other film is twice as long and as high as the others.
    """
    films = []
    for column, row in itertools.product(range(steps), range(steps)):
        side = SIDE * (2 if wide and (column + row) % 2 else 1)
        films.append(co_like((side, side), D=(1 + column) * 1e-4, Ms=(200 + 50 * row) * 1e3, seed=column * steps + row))
    plan, relaxed = plan_table(films, "labyrinths"), []
    for film in films:
        mz = labyrinth(20 - 8e3 * film.D, film.seed, film.cells[0])
        m = np.stack([np.sqrt(1 - mz**2), np.zeros_like(mz), mz])
        relaxed.append(RelaxedFilm(film, m, {}, 0.0, 1, status, "", 0.0, device="none", solver="drawn"))
    store = create_store(str(folder), "labyrinths", plan)
    store.commit(rows_of(relaxed, plan))
    return store


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of 36 films."""
    folder = tmp_path_factory.mktemp("gallery")
    write_gallery(labyrinths(folder / "store", 6), "D", "Ms", folder / "gallery.html")
    return folder / "gallery.html"


def test_every_film_of_an_even_grid_is_at_its_place(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    cells = re.findall(r'data-column="(\d+)" data-row="(\d+)" aria-label="D ([\d.]+) mJ/m², Ms ([\d.]+) kA/m', text)
    assert len(cells) == 36
    for column, row, D, Ms in cells:
        assert float(D) == pytest.approx(0.1 + 0.1 * int(column))
        assert float(Ms) == 200 + 50 * int(row)


def test_the_page_tells_constants_reduced_numbers_and_protocol(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in ("Aex", "thickness", "|D|/Dc", "t/Δ", "Q1", "protocol", "film"):
        assert f"<dt>{name}</dt>" in text
    assert "<dd>start: random; minimised to 0.0001 Ms</dd>" in text


def test_many_films_make_no_larger_page(tmp_path: Path) -> None:
    """One film for each part of the plane, whichever is nearest to its middle."""
    shown, films = write_gallery(labyrinths(tmp_path / "store", 16), "D", "Ms", tmp_path / "gallery.html")
    assert (shown, films) == (MOST_COLUMNS * MOST_ROWS, 256)
    assert (tmp_path / "gallery.html").stat().st_size < 1.2e6


def test_all_thumbnails_have_one_scale(tmp_path: Path) -> None:
    """A larger film shows a part as large as the smallest film."""
    write_gallery(labyrinths(tmp_path / "store", 2, wide=True), "D", "Ms", tmp_path / "gallery.html")
    text = (tmp_path / "gallery.html").read_text(encoding="utf-8")
    assert f"shows {SIDE * 4} nm of its film" in text
    assert "64 × 64 of 4 nm" in text


def test_numbers_over_decades_have_a_logarithmic_axis() -> None:
    """A median far below the largest value tells; one small value does not."""
    decades, even = np.geomspace(0.02, 4, 50), np.linspace(1e-4, 1, 50)
    made = Axis.over(Quantity("Q1", 1.0, ""), decades, 4)
    assert made.logarithmic
    assert made.ticks == ["0.0388", "0.146", "0.548", "2.06"]
    assert list(made.places(np.array([0.02, 4.0]))) == pytest.approx([0, 4])
    assert not Axis.over(Quantity("d", 1.0, ""), even, 4).logarithmic


def test_reduced_numbers_make_a_plane_too(tmp_path: Path) -> None:
    shown, _ = write_gallery(labyrinths(tmp_path / "store", 3), "t_over_wall_width", "d", tmp_path / "gallery.html")
    assert shown > 3
    assert "t/Δ →" in (tmp_path / "gallery.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        ("D", "colour", "films have no number 'colour'; choose one of dx, dy, dz, Ms"),
        ("D", "protocol", "films have no number 'protocol'; choose one of"),
        ("D", "Aex", "Aex is the same in all films; choose another number by --y: Ms, Q1"),
        ("Ms", "Ms", "both numbers are Ms; choose two of"),
    ],
)
def test_numbers_that_make_no_plane_are_refused_with_those_that_do(x: str, y: str, said: str, tmp_path: Path) -> None:
    store = labyrinths(tmp_path / "store", 2)
    with pytest.raises(UserError, match=f"^{said}"):
        write_gallery(store, x, y, tmp_path / "gallery.html")
    assert not (tmp_path / "gallery.html").exists()


def test_a_store_without_a_converged_film_is_refused(tmp_path: Path) -> None:
    store = labyrinths(tmp_path / "store", 2, "not_converged")
    with pytest.raises(UserError, match="has no film that converged"):
        write_gallery(store, "D", "Ms", tmp_path / "gallery.html")


def test_a_name_with_markup_is_text(tmp_path: Path) -> None:
    store = striped_store(tmp_path / "store", 6)
    shown = Store(store.location, "<img src=x onerror=alert(1)>", store.planned)
    write_gallery(shown, "D", "Ms", tmp_path / "gallery.html")
    assert "<img src=x" not in (tmp_path / "gallery.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator["ChromiumTab"]:
    """Return a browser."""
    from tests.support.chromium import chromium

    with chromium(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


def test_a_film_is_found_by_mouse_and_by_arrow_keys_in_the_light_and_in_the_dark(
    tab: "ChromiumTab", page: Path
) -> None:
    tab.open(page.as_uri(), dark=True)
    assert tab.run("Number(getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0])") < 64
    tab.click("[data-column='2'][data-row='3']")
    assert "0.3 mJ/m²" in tab.text("#film")
    assert "350 kA/m" in tab.text("#film")
    for key, code in (("ArrowRight", 39), ("ArrowUp", 38)):
        tab.key(key, code)
    assert "0.4 mJ/m²" in tab.text("#film")
    assert "400 kA/m" in tab.text("#film")
    assert tab.run("document.querySelectorAll('#plane button[tabindex=\"0\"]').length") == 1
    assert tab.run("performance.getEntriesByType('resource').length") == 0
    tab.open(page.as_uri(), width=360)
    assert tab.run("document.documentElement.scrollWidth") <= 360
    assert tab.run("document.querySelector('#film').getBoundingClientRect().bottom <= innerHeight")
    assert tab.errors == []
