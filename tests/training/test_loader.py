"""Films with values that are not finite are refused: one of them would make all weights NaN."""

from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from magray.errors import UserError
from magray.training.fit import check_finite


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), None])
def test_a_film_with_a_target_that_is_not_finite_is_named(bad: float | None) -> None:
    store: Any = SimpleNamespace(uri="films")
    films = pa.table({"film_id": ["a", "b"], "D": [1e-3, 0.0], "Ms": pa.array([1e6, bad], pa.float64())})
    check_finite(store, films, ["D"])
    with pytest.raises(UserError, match="store films: film b has a Ms that is not a finite number"):
        check_finite(store, films, ["D", "Ms"])
