"""The ids of films are those of version 0.1: they name films in stores that exist."""

from dataclasses import replace

import pytest

from magray import Film, Minimize, Protocol, Quench, Uniform

FILM = Film(cells=(64, 32), cell_size=(4e-9, 4e-9, 2e-9), Ms=1.5e6, Ku1=1.6e6, Aex=31e-12, seed=7)
QUENCHED = Protocol(stages=(Quench(duration=1e-9, alpha=0.3), Minimize()))
IN_A_FIELD = Protocol(Uniform((0.0, 0.0, 1.0), 0.02), (Minimize(1e-3, field=(0.0, 0.0, 1e5)),))
FILMS = {
    "cbe8aff483dce8003a5fd7c7": FILM,
    "9293cfcd8a889c929ee86dd4": replace(FILM, D=0.5e-3, dmi="bulk"),
    "0d18b25501b3c63e1f0c7e8e": replace(FILM, D=0.5e-3, dmi="interfacial"),
    "74938f97cbfda5364c550dbf": replace(FILM, sigma=0.05),
    "db7c6ae082aef9c8e4bdb3aa": replace(FILM, sigma=0.05, grain_size=20e-9),
    "17396e4a33dfbb494322e37d": replace(FILM, field=(0.0, 0.0, 1e4)),
    "04ab54a299ec856560880b26": replace(FILM, open_edges="x"),
    "96e6153ce671f0bee0968eba": replace(FILM, demag=False, seed=2**40),
    "9340f65aa0142baaffe421ef": replace(FILM, protocol=QUENCHED),
    "add15937fcfa3a24291aa4ae": replace(
        FILM, protocol=Protocol(Uniform((0.0, 0.0, 1.0), 0.02), (Minimize(1e-3, field=(0.0, 0.0, 1e5)),))
    ),
}


@pytest.mark.parametrize(("film_id", "film"), FILMS.items())
def test_a_film_keeps_its_id(film_id: str, film: Film) -> None:
    assert film.film_id == film_id
