"""Read what the folder of a drive of Ubermag tells of its film: info.json, and the script that it gave to OOMMF, *.mif.

The script is as Ubermag's calculator oommfc writes it (oommfc/scripts/energy.py, util.py and mesh.py). A constant that
varies in space is not known. The calculator mumax3c leaves a folder of mumax3's output in the drive's.
"""

import json
import re
from dataclasses import replace
from pathlib import Path

from magray.errors import UserError
from magray.films.film import Dmi, OpenEdges
from magray.interchange.known import NUMBER, Known, Vector, agreed

INFO = "info.json"
_CLASSES: dict[str, Dmi] = {"DMI_T": "bulk", "DMI_Cnv": "interfacial"}  # OOMMF's extensions, by class of the crystal
_EDGES: dict[frozenset[str], OpenEdges] = {frozenset("xy"): "none", frozenset("x"): "y", frozenset("y"): "x"}
_VECTOR = re.compile(rf"\{{\s*({NUMBER})\s+({NUMBER})\s+({NUMBER})\s*\}}")


def is_drive(folder: Path) -> bool:
    """Return whether a folder is one of a drive."""
    try:
        info = json.loads((folder / INFO).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(info, dict) and {"drive_number", "driver"} <= info.keys()


def known(folder: Path) -> Known:
    """Return what the script of a drive tells. Raises UserError for films that magray has no constants for."""
    path = next(iter(sorted(folder.glob("*.mif"))), None)
    if path is None:
        return Known()
    script = path.read_text(encoding="utf-8", errors="replace")
    for axis in _values(script, "UniaxialAnisotropy", "axis"):
        vector = _vector(axis)
        if vector is None or vector[:2] != (0, 0):
            raise UserError(f"{path}: the anisotropy is not along z, as that of magray's films is")
    periodic = re.search(r"(?m)^\s*periodic\s+([xyz]+)\s*$", script)
    exchange = _values(script, "UniformExchange", "A")
    told = Known(
        Ku1=_sum(_values(script, "UniaxialAnisotropy", "K1")),
        Aex=agreed(exchange),
        field=_field(script),
        open_edges=_EDGES.get(frozenset(periodic[1]) - {"z"}, "xy") if periodic else "xy",
        demag="Oxs_Demag:" in script,
    )
    return _with_dmi(told, script)


def _with_dmi(told: Known, script: str) -> Known:
    """Return what is known, with the DMI; not that of the other classes of crystals, or of regions."""
    if not re.search(r"Oxs_DM", script):
        return replace(told, D=0.0, dmi="none")
    for name, kind in _CLASSES.items():
        if values := _values(script, name, "default_D"):
            regions = re.findall(rf"(?m)^\s*\w+\s+\w+\s+({NUMBER})\s*$", script)
            return replace(told, D=agreed([*values, *regions]), dmi=kind)
    return told


def _field(script: str) -> Vector | None:
    """Return the applied field, A/m; None if it varies, in space or time."""
    if "Zeeman:" not in script:
        return 0.0, 0.0, 0.0
    values = _values(script, "FixedZeeman", "field")
    return _vector(values[0]) if len(values) == 1 and script.count("Zeeman:") == 1 else None


def _values(script: str, term: str, key: str) -> list[str]:
    """Return the values of a key in all blocks of a kind."""
    blocks = re.findall(rf"(?ms)^Specify Oxs_{term}:\S*\s*\{{\n(.*?)^\}}", script)
    return [value for block in blocks for value in re.findall(rf"(?m)^\s*{key}\s+(.*?)\s*$", block)]


def _sum(values: list[str]) -> float | None:
    """Return the constant of no term, 0, or of one."""
    return 0.0 if not values else agreed(values) if len(values) == 1 else None


def _vector(text: str) -> Vector | None:
    found = _VECTOR.fullmatch(text)
    return (float(found[1]), float(found[2]), float(found[3])) if found else None
