"""The nearest of a store's films are shown with an answer, as the scaled copies that they stand for."""

import io
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from magray.errors import UserError
from magray.estimator.any_film import estimate
from magray.films.design import draw, reduced_numbers
from magray.serve.answers import estimate_record
from magray.serve.nearest import SIDE, NearestFilms, nearest_films
from magray.serve.requests import FILMS, EstimateRequest
from magray.serve.uploads import Upload
from magray.store import Store
from tests.support.any_films import design, designed_store
from tests.support.http_service import needs_serve
from tests.support.stripes import labyrinth

pytestmark = needs_serve
TOLD = {"Ms": "1.0 MA/m", "Keff": "0.2 MJ/m3", "thickness": "2 nm"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return designed_store(tmp_path_factory.mktemp("films") / "store", 60)


def test_the_nearest_film_of_a_films_own_constants_is_that_film(store: Store) -> None:
    """A copy twice as long of 1.5 times the Ms: it has the same picture, and is shown with the copy's constants."""
    answer = estimate(labyrinth(20, side=128), pixel_nm=4.0, known=TOLD)
    films = NearestFilms(store)
    for film in draw(design(60))[:5]:
        Ms, length = 1.5 * film.Ms, 2.0
        copy = {
            "Ms": Ms,
            "Keff": 1.5**2 * film.Keff,
            "Aex": (1.5 * length) ** 2 * film.Aex,
            "D": 1.5**2 * length * film.D,
            "thickness": length * film.cell_size[2],
        }
        samples = {name: np.array([value]) for name, value in copy.items()}
        side = length * film.cells[0] * film.cell_size[0]
        ((record, picture),) = films.of(replace(answer, samples=samples, side=side), film.dmi, 1)
        assert record["film_id"] == film.film_id
        for name in ("Aex", "D", "thickness"):
            assert record[name] == pytest.approx(copy[name])
        whole = store.images([film.film_id])[0]
        chosen = ((np.arange(SIDE) + 0.5) * len(whole) / SIDE).astype(int)
        assert (picture == whole[np.ix_(chosen, chosen)]).mean() > 0.95  # but for pixels at the edge of two cells


def test_films_of_another_kind_of_dmi_come_last(store: Store) -> None:
    answer = estimate(labyrinth(20, side=128), pixel_nm=4.0, known=TOLD)
    films = NearestFilms(store)
    for dmi in ("bulk", "interfacial"):
        kinds = [record["dmi"] == dmi for record, _ in films.of(answer, dmi, 100)]
        assert kinds == sorted(kinds, reverse=True)
        assert 8 < sum(kinds) < len(kinds)
    assert len(films.of(answer, None, 100)) == len(reduced_numbers(store.films())["d"])


def test_an_answer_has_the_films_that_are_asked_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    request = EstimateRequest(pixel_nm=4.0, nearest=3, force=True, **TOLD)
    upload = Upload("a.npy", _npy(labyrinth(20, side=128)))
    nearest_films.cache_clear()
    with pytest.raises(UserError, match="this server has no simulated films; start it with magray serve --films STORE"):
        estimate_record(request, [upload])
    monkeypatch.setenv(FILMS, store.uri)
    nearest_films.cache_clear()
    record = estimate_record(request, [upload])
    nearest_films.cache_clear()
    assert len(record["nearest"]) == 3
    assert all(one["picture"].startswith("data:image/png;base64,") for one in record["nearest"])


def _npy(values: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()
