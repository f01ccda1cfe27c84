"""Draw cases for the fuzzer: input files damaged in the ways of `damage`, and commands that read them."""

import json
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from tests.fuzz.damage import SCALARS, TOKENS, WORDS, changed_table, changed_text, changed_tree, damaged

Files = dict[str, bytes]
STORE, PLAN, WEIGHTS = "out/store", "out/plan.parquet", "out/estimator/network.safetensors"
LOSSY = ("picture.jpg", "postscript.png")
SCALE = "0.512"
# files in the store's folder that magray has not made and must not touch
FOREIGN: Files = {
    f"{STORE}/{name}": b"precious" for name in ("precious.tmp", "deep/precious.tmp", ".precious.unfinished")
}


@dataclass(frozen=True)
class Case:
    """Files in an empty folder, and the command to run there."""

    kind: str
    files: Files
    arguments: tuple[str, ...]
    same_answer: bool = False  # an estimate of the picture that is the specimen's in another format


@dataclass(frozen=True)
class Specimen:
    """Undamaged files by path: a project, configs, and a picture in several formats."""

    project: Files
    configs: dict[str, str]
    pictures: Files


def _config(draw: DrawFn, specimen: Specimen) -> Case:
    path = draw(st.sampled_from(sorted(specimen.configs)))
    text = specimen.configs[path]
    kind = draw(st.sampled_from(["text", "text", "tree", "tree", "bytes"]))
    if kind == "tree":
        content = yaml.dump(draw(changed_tree(yaml.safe_load(text))), allow_unicode=True).encode(
            "utf-8", "surrogatepass"
        )
    else:
        content = draw(changed_text(text) if kind == "text" else damaged(text.encode()))
    beside = {other: specimen.configs[other].encode() for other in specimen.configs if other.rpartition("/")[2] in text}
    command = {"searches": "search", "protocols": "protocols", "studies": "paper"}.get(path.split("/")[0], "plan")
    if command == "protocols" and "projects:" not in text:
        command = "plan"
    return Case("config", beside | {path: content}, (command, "." if command == "paper" else path))


def _override(draw: DrawFn, specimen: Specimen) -> Case:
    tree = yaml.safe_load(specimen.configs["quickstart.yaml"])
    keys = [f"{section}.{key}" for section, content in tree.items() if isinstance(content, dict) for key in content]
    keys += ["simulate.store", "fit.seeds", "fit.width", "fit.microscope", "campaign.protocol.stages", "name", "output"]
    words = st.sampled_from([word for word in (*TOKENS, *WORDS) if "\0" not in word]) | SCALARS.map(
        lambda one: f"{one}"
    )
    chosen = draw(
        st.lists(
            st.tuples(st.sampled_from([*keys, "", ".", "a.b.c", "campaign..films", "name.x"]), words),
            min_size=1,
            max_size=2,
        )
    )
    overrides = [part for key, word in chosen for part in ("--set", f"{key}={word}".replace("\0", ""))]
    return Case("override", {"config.yaml": specimen.project["config.yaml"]}, ("plan", "config.yaml", *overrides))


def _plan(draw: DrawFn, specimen: Specimen) -> Case:
    content = draw(changed_table(specimen.project[PLAN]) | damaged(specimen.project[PLAN]))
    grown = ("--set", "campaign.films=15")
    commands = [
        ("plan", "config.yaml", *grown),
        ("simulate", "config.yaml"),
        ("store", "verify", STORE, "--plan", PLAN),
    ]
    return Case(
        "plan", _some(specimen, "config.yaml", "out/summary", STORE) | {PLAN: content}, draw(st.sampled_from(commands))
    )


def _store(draw: DrawFn, specimen: Specimen) -> Case:
    files = _some(specimen, "config.yaml", "out/summary", STORE, PLAN)
    table = draw(st.sampled_from(sorted(name for name in files if "films-" in name)))
    film_id = json.loads(specimen.project["out/summary.json"])["answer"]["film_id"]
    kind = draw(st.sampled_from(["table", "table", "table", "bytes", "json", "json", "foreign"]))
    if kind in ("table", "bytes"):
        files[table] = draw(changed_table(files[table]) if kind == "table" else damaged(files[table]))
    elif kind == "json":
        name, tree = draw(
            st.sampled_from(
                [
                    ("_campaign", {"format": 3, "campaign": "out", "films": 14, "generation": 1}),
                    ("_driver", {"driver": "x", "beat": 1}),
                ]
            )
        )
        files[f"{STORE}/{name}.json"] = draw(_json(tree))
    else:
        files = {name: content for name, content in files.items() if not name.startswith(STORE) or draw(st.booleans())}
        files |= FOREIGN
    reading = [
        ("ls", STORE),
        ("show", STORE),
        ("show", STORE, film_id),
        ("verify", STORE),
        ("verify", STORE, "--plan", PLAN),
    ]
    writing = [("compact", STORE), *(("export", STORE, "pictures", "--format", name) for name in ("png", "ovf", "hf"))]
    commands = [
        *(("store", *words) for words in (*reading, *writing)),
        ("simulate", "config.yaml"),
        ("fit", "config.yaml"),
    ]
    return Case("store", files, draw(st.sampled_from(commands)))


def _estimator(draw: DrawFn, specimen: Specimen) -> Case:
    files = _some(specimen, "picture.png", "out/estimator")
    kind = draw(st.sampled_from(["json", "json", "weights", "values"]))
    if kind == "json":
        name = "out/estimator/estimator.json"
        files[name] = draw(_json(json.loads(files[name])))
    elif kind == "weights":
        files[WEIGHTS] = draw(damaged(files[WEIGHTS]) | _other_header(files[WEIGHTS]))
    else:
        number = struct.pack("<f", draw(st.sampled_from([float("nan"), float("inf"), 3e38, 0.0])))
        start = 8 + struct.unpack("<Q", files[WEIGHTS][:8])[0]
        first = start + 4 * draw(st.integers(0, (len(files[WEIGHTS]) - start) // 4 - 1))
        files[WEIGHTS] = files[WEIGHTS][:first] + number * ((len(files[WEIGHTS]) - first) // 4)
    return Case(
        "estimator", files, ("estimate", "picture.png", "--estimator", "out/estimator", "--scale-um", SCALE, "--force")
    )


def _results(draw: DrawFn, specimen: Specimen) -> Case:
    files = dict(specimen.project)
    if draw(st.booleans()):
        files["out/summary.json"] = draw(_json(json.loads(files["out/summary.json"])))
    else:
        name = draw(st.sampled_from(["out/study.parquet", "out/predictions.parquet"]))
        files[name] = draw(changed_table(files[name]) | damaged(files[name]))
    command = draw(st.sampled_from(["plan", "study", "study", "study", "report"]))
    return Case("results", files, (command, "config.yaml"))


def _picture(draw: DrawFn, specimen: Specimen) -> Case:
    name = draw(st.sampled_from(sorted(specimen.pictures)))
    intact = draw(st.integers(0, 5)) == 0
    content = specimen.pictures[name] if intact else draw(damaged(specimen.pictures[name]))
    suffix = name if intact else draw(st.sampled_from([name, name, name, "a.tif", "a.png", "[/x].png"]))
    scale = draw(st.sampled_from([SCALE] * 8 + ["0", "-1", "nan", "inf", "1e-46", "1e-310", "1e308"]))
    size = ("--scale-um", SCALE if intact else scale) if intact or draw(st.booleans()) else ("--pixel-nm", scale)
    same = intact and name not in LOSSY
    return Case("picture", {suffix: content}, ("estimate", suffix, "--estimator", "co-like", *size, "--force"), same)


# how each kind is drawn, and its share of all inputs
KINDS: dict[str, tuple[Callable[[DrawFn, Specimen], Case], float]] = {
    "config": (_config, 0.26),
    "override": (_override, 0.12),
    "plan": (_plan, 0.13),
    "store": (_store, 0.22),
    "estimator": (_estimator, 0.12),
    "picture": (_picture, 0.13),
    "results": (_results, 0.02),  # a report takes as long as a hundred others
}


def cases(kind: str, specimen: Specimen) -> SearchStrategy[Case]:
    """Return the strategy that draws the cases of a kind."""
    return st.composite(lambda draw: KINDS[kind][0](draw, specimen))()


def _json(tree: Any) -> SearchStrategy[bytes]:
    """Return a JSON file with changed content, or one that is not JSON."""
    content = json.dumps(tree, indent=1).encode()
    changed = changed_tree(tree).map(lambda one: json.dumps(one).encode())
    tokens = st.sampled_from([b"1e999", b"NaN", b"-1", b"9" * 5000, b"[" * 2000, b'"\\ud800"', b"{}"])
    return (
        changed
        | changed
        | tokens.map(lambda token: re.sub(rb": \d+", lambda _: b": " + token, content, count=1))
        | tokens
        | damaged(content)
    )


@st.composite
def _other_header(draw: DrawFn, content: bytes) -> bytes:
    """Return weights whose header has other names, types, shapes or offsets."""
    size = struct.unpack("<Q", content[:8])[0]
    header = json.dumps(draw(changed_tree(json.loads(content[8 : 8 + size])))).encode()
    return struct.pack("<Q", len(header)) + header + content[8 + size :]


def _some(specimen: Specimen, *names: str) -> Files:
    """Return the files of the project whose paths begin with one of the prefixes."""
    return {name: content for name, content in specimen.project.items() if name.startswith(names)}
