"""Folders as mumax3 and Ubermag write them, drawn here."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.support.stripes import stripes

LOG = """\
//mumax 3.10 linux_amd64 go1.14(gc)
//output directory: film.out/
SetGridSize(64, 64, 2)
SetCellSize(4e-9, 4e-9, 1e-9)
SetPBC(5, 5, 0)
Msat = 580e3 // A/m
Aex = 15e-12
Dind = 3.0e-3
Ku1 = 0.8e6
anisU = vector(0, 0, 1)
B_ext = vector(0, 0, 0.02)
relax()
saveas(m, "m")
"""
MIF = """\
# MIF 2.1
# PeriodicRectangularMesh
Specify Oxs_PeriodicRectangularMesh:mesh {
  cellsize { 4e-09 4e-09 2e-09 }
  atlas :main_atlas
  periodic xy
}

# UniformExchange
Specify Oxs_UniformExchange:exchange {
  A 1.5e-11
}

# UniaxialAnisotropy
Specify Oxs_UniaxialAnisotropy:uniaxialanisotropy {
  K1 800000.0
  axis {0 0 1}
}

# DMI of crystallographic class Cnv
Specify Oxs_DMI_Cnv:dmi {
  default_D 0.003
  atlas :main_atlas
  D {
    main main 0.003
  }
}

# FixedZeeman
Specify Oxs_FixedZeeman:zeeman {
  field {0 0 15915.494309189535}
}

# Demag
Specify Oxs_Demag:demag {
}
"""


def state(seed: int) -> NDArray[np.float64]:
    """Return m (1, 64, 64, 3) of stripes."""
    mz = stripes(4, 0.5, seed).astype(float)
    return np.stack([np.sqrt(1 - mz**2), np.zeros_like(mz), mz], axis=-1)[None]


def write_field(path: Path, m: NDArray[np.float64], dz: float) -> None:
    """Write a field as OVF 2.0, binary 8."""
    nz, ny, nx, _ = m.shape
    header = (
        "# OOMMF OVF 2.0\n# Segment count: 1\n# Begin: Segment\n# Begin: Header\n# Title: m\n# meshtype: rectangular\n"
        "# meshunit: m\n# valuedim: 3\n# valuelabels: m_x m_y m_z\n# valueunits: 1 1 1\n"
        f"# xnodes: {nx}\n# ynodes: {ny}\n# znodes: {nz}\n"
        f"# xstepsize: 4e-09\n# ystepsize: 4e-09\n# zstepsize: {dz}\n# End: Header\n# Begin: Data Binary 8\n"
    )
    data = np.array([123456789012345.0, *m.ravel()], "<f8").tobytes()
    path.write_bytes(header.encode() + data + b"\n# End: Data Binary 8\n# End: Segment\n")


def mumax3_output(folder: Path, seed: int = 0, log: str | None = LOG, table: str | None = None) -> Path:
    """Write a folder of two states, of which the last one counts, in two layers."""
    folder.mkdir(parents=True)
    write_field(folder / "m000000.ovf", np.repeat(state(seed + 100), 2, axis=0), 1e-9)
    write_field(folder / "m000012.ovf", np.repeat(state(seed), 2, axis=0), 1e-9)
    write_field(folder / "B_demag000012.ovf", np.repeat(state(seed + 200), 2, axis=0), 1e-9)
    (folder / "table.txt").write_text(table or "# t (s)\tmx ()\tmy ()\tmz ()\n0\t0\t0\t0.1\n1e-09\t0\t0\t0.2\n")
    if log is not None:
        (folder / "log.txt").write_text(log)
    return folder


def ubermag_drive(folder: Path, seed: int = 0, mif: str = MIF) -> Path:
    """Write the folder of a drive, whose field is in A/m."""
    folder.mkdir(parents=True)
    info = {"drive_number": 0, "date": "2026-01-01", "time": "12:00:00", "driver": "MinDriver", "adapter": "oommfc"}
    (folder / "info.json").write_text(json.dumps(info))
    (folder / "film.mif").write_text(mif)
    write_field(folder / "m0.omf", 580e3 * state(seed + 100), 2e-9)
    name = "film-Oxs_MinDriver-Magnetization-00-{:07d}.omf"
    write_field(folder / name.format(7), 580e3 * state(seed + 200), 2e-9)
    write_field(folder / name.format(12), 580e3 * state(seed), 2e-9)
    return folder
