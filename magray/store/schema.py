"""The columns of a store: the plan's, the relaxed film, and the cost of simulating it."""

import pyarrow as pa

from magray.films.plan import PLAN_SCHEMA

SPLITS = ("train", "test")
STATUSES = ("converged", "not_converged", "failed")
ENERGY_TERMS = ("total", "exchange", "anisotropy", "dmi", "demag", "zeeman")

_IMAGE = {
    "dtype": "uint8",
    "shape": "height, width",
    "layout": "row-major; row is y, column is x",
    "range": "mz -1..1 is 0..255",
}

# a point of a hysteresis loop: the applied field, and the mean m of the film's cells
_POINT = pa.struct([pa.field(name, pa.float64(), nullable=False) for name in ("Hx", "Hy", "Hz", "mx", "my", "mz")])
LOOP = pa.field("loop", pa.list_(pa.field("element", _POINT, nullable=False)), metadata={"unit": "H in A/m, m in Ms"})

STORE_SCHEMA = pa.schema(
    [
        *PLAN_SCHEMA,
        pa.field("image", pa.binary(), metadata=_IMAGE),  # null for a film that failed
        pa.field("height", pa.int32(), nullable=False, metadata={"unit": "cells"}),
        pa.field("width", pa.int32(), nullable=False, metadata={"unit": "cells"}),
        pa.field("pixel_nm", pa.float64(), nullable=False, metadata={"unit": "nm"}),
        *(pa.field(f"energy_{term}", pa.float64(), metadata={"unit": "J/m3"}) for term in ENERGY_TERMS),
        pa.field("max_torque", pa.float64(), metadata={"unit": "Ms"}),
        pa.field("evaluations", pa.int64(), nullable=False),
        pa.field("status", pa.string(), nullable=False, metadata={"values": ", ".join(STATUSES)}),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("solver", pa.string(), nullable=False),
        pa.field("device", pa.string(), nullable=False),
        pa.field("seconds", pa.float64(), nullable=False, metadata={"unit": "s"}),
        LOOP,  # null for a film whose protocol has no sweep
    ]
)
SCALARS = [name for name in STORE_SCHEMA.names if name not in ("image", "loop")]
LATER = ("loop",)  # columns that older files lack: null there
