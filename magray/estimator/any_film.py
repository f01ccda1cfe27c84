"""The estimator of every perpendicular film: it is told what is known of a film, and answers with all that is left."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter

from magray.errors import UserError
from magray.estimator.baselines import Baselines, baselines
from magray.estimator.folders import ANY_FILM, DESCRIPTION, WEIGHTS, folder_of, shipped
from magray.estimator.inputs import GivenPicture, check_length, different_pictures, pictures_of
from magray.estimator.knowns import CONSTANTS, INSTRUMENTS, NOT_TOLD, Knowledge, Range
from magray.estimator.posterior import (
    Estimate,
    Samples,
    SeenPicture,
    Stretch,
    Trained,
    asked_of,
    error_budget,
    estimate_of,
    log_consistency,
    sample,
)
from magray.estimator.resimulation import Resimulation, resimulated
from magray.estimator.shown import ShownPicture, seen_squares
from magray.estimator.trust import Trust
from magray.estimator.weights import load_weights
from magray.files.records import read_record
from magray.films.reduced import critical_dmi, neel_threshold, stray_energy, wall_width
from magray.imaging import VIEW_SIZE, check_picture
from magray.imaging.instruments import RANGES, RESOLUTIONS
from magray.imaging.views import NM_PER_SCALE_UM
from magray.network.any_film import AnyFilmNetwork, AnyFilmSettings, symmetric
from magray.units import in_practice, practical

Array = NDArray[np.float64]

KIND, FORMAT = "any-film", 1
IMPROBABLE = math.log(0.01)  # a ratio of evidences that true knowns fall below in at most 1 % of all cases (Markov)
TOUCHING, STRONG, HALF = 10.0, 0.7, 0.5  # period over Δ, D over Dc, where a spiral may be meant; share of the draws
MANY, SOME = 0.5, 0.05  # shares of draws outside of the training: refused, doubtful
UNUSUAL, STRANGE = "0.99", "0.999"  # of the training's pictures are nearer to the middle of what the network sees
FACTORS = np.exp(np.linspace(-1.5, 1.5, 61))  # of the size of a pixel, when another one is looked for
NAMES = {"D": "|D|", "thickness": "thickness"}


@dataclass(frozen=True)
class AnyFilmDescription:
    """The content of estimator.json, beside the weights; further keys are for people."""

    kind: str
    format: int
    settings: AnyFilmSettings
    trained: Mapping[str, tuple[float, float]]
    calibration: Mapping[str, Any]


@dataclass(frozen=True)
class Posterior:
    """The posterior of a film's parameters, from pictures and knowns. SI units; 68 and 95 % intervals.

    parameters: all that was not known. samples: films that fit, by constant. correlation: of D and Aex, NaN unless both
    are asked for. budget: the shares of each error. reasons: why the answer is doubtful or refused. notes: what cannot
    be known from these pictures. baselines: D, J/m², by stripe theory and by rescaling. side: of the squares that the
    network saw of the first picture, m. resimulation: how films of this
    answer compare with the first picture, if that was asked for and the answer is not refused.
    """

    parameters: Mapping[str, Estimate]
    samples: Mapping[str, Array] = field(repr=False)
    correlation: float
    budget: Mapping[str, Mapping[str, float]]
    trust: Trust
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    baselines: Mapping[str, float]
    side: float
    resimulation: Resimulation | None = None

    def __str__(self) -> str:
        lines = [*map(_line, self.parameters.items()), *self._budget_lines(), *self._baseline_lines()]
        return "\n".join(lines if self.resimulation is None else [*lines, str(self.resimulation)])

    def to_json(self) -> dict[str, Any]:
        """Return the answer without its samples, in SI units, as JSON has it: null for what is no number."""
        baselines = {name: {"D": {"value": value, "unit": "J/m2"}} for name, value in self.baselines.items()}
        found = {
            "parameters": {name: asdict(estimate) for name, estimate in self.parameters.items()},
            "correlation": {"D, Aex": self.correlation},
            "budget": {name: dict(shares) for name, shares in self.budget.items()},
            "trust": self.trust,
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "baselines": baselines,
            "resimulation": None if self.resimulation is None else self.resimulation.to_json(),
        }
        finite: dict[str, Any] = json.loads(json.dumps(found), parse_constant=lambda _: None)
        return finite

    def _budget_lines(self) -> list[str]:
        lines = []
        for name, shares in self.budget.items():
            if len(shares) > 1:
                factor, _ = in_practice(self.parameters[name].unit)
                parts = ", ".join(f"{one} {share * factor:.2g}" for one, share in shares.items())
                lines.append(f"of {name}'s error: {parts}")
        return lines

    def _baseline_lines(self) -> list[str]:
        names = {"stripe_theory": "stripe theory, from the period alone", "rescaling": "rescaling, from the domains"}
        return [
            f"{names[name]}: |D| = {practical(value, None, 'J/m2')}"
            for name, value in self.baselines.items()
            if math.isfinite(value)
        ]


def _line(parameter: tuple[str, Estimate]) -> str:
    name, estimate = parameter
    factor, unit = in_practice(estimate.unit)
    low, high = estimate.low95 * factor, estimate.high95 * factor
    value = practical(estimate.value, estimate.error, estimate.unit)
    return f"{NAMES.get(name, name)} = {value}   95 %: {low:.3g} … {high:.3g} {unit}"


class AnyFilmEstimator:
    """A network that is told what is known of a film, with its calibration."""

    def __init__(self, network: AnyFilmNetwork, description: AnyFilmDescription) -> None:
        self.network, self.description = network.eval().requires_grad_(False), description
        ranges = description.trained
        ratio = ranges.get("t_over_wall_width", (0.0, math.inf))
        self.trained = Trained(
            ranges["Q1"], ranges["tau"], ranges["delta"], ranges["d"][1], ratio, description.settings.instruments
        )

    @classmethod
    def load(cls, folder: str | Path = ANY_FILM) -> "AnyFilmEstimator":
        """Return the estimator in a folder, or the one that comes with magray. Raises UserError where there is none."""
        folder = folder_of(folder)
        if not (folder / DESCRIPTION).is_file():
            raise UserError(f"{folder}: there is no such estimator; with magray come {', '.join(shipped())}")
        description = read_record(
            folder / DESCRIPTION, TypeAdapter(AnyFilmDescription), "does not describe an estimator of any film"
        )
        if description.kind != KIND or description.format > FORMAT:
            raise UserError(f"{folder}: this magray does not read its kind or format; update magray")
        network = AnyFilmNetwork(description.settings)
        load_weights(network, folder / WEIGHTS)
        return cls(network, description)

    def estimate(
        self,
        pictures: GivenPicture | Iterable[GivenPicture],
        knowledge: Knowledge,
        scale_um: float | None = None,
        pixel_nm: float | None = None,
        resimulate: bool = False,
    ) -> Posterior:
        """Return what pictures of one film, and what is known of it, say of all that is not known.

        Their scale is `scale_um`, the length of the shorter side, or the size of a pixel, `pixel_nm`. Pictures that are
        given twice count once. resimulate: simulate films of the answer and compare them with the first picture, unless
        it is refused; how long that takes is logged beforehand. Raises UserError for pictures that are none, without a
        scale, and for films that the training cannot have shown.
        """
        if (scale_um is None) == (pixel_nm is None):
            raise UserError("give the size of the picture: either its scale, µm, or the size of a pixel, nm")
        check_length(pixel_nm, "size of a pixel, nm")
        check_length(scale_um, "scale, µm")
        if (instrument := knowledge.instrument or NOT_TOLD) not in self.trained.instruments:
            return self._through_another(instrument, pictures, knowledge, scale_um, pixel_nm)
        if resimulate and instrument in RANGES:
            raise UserError(f"films of the answer cannot be shown through {instrument} yet; leave --resimulate out")
        shown = [self._shown(one, scale_um, pixel_nm, knowledge) for one in different_pictures(pictures_of(pictures))]
        if not asked_of(knowledge):
            raise UserError("everything is known of this film; leave out what the pictures should tell")
        seen = [SeenPicture(self._features(view[None]), one.pixel) for one in shown for view in one.views]
        samples = sample(self.network, seen, knowledge, self.trained)
        posterior = self._posterior(seen, shown, knowledge, samples)
        if not resimulate or posterior.trust == "refused":
            return posterior
        found = resimulated(shown[0].views[0], shown[0].pixel, samples.constants, knowledge)
        reasons = (*posterior.reasons, *found.reasons())
        return replace(posterior, resimulation=found, reasons=reasons, trust="doubtful" if reasons else "trusted")

    def _through_another(
        self,
        instrument: str,
        pictures: GivenPicture | Iterable[GivenPicture],
        knowledge: Knowledge,
        scale_um: float | None,
        pixel_nm: float | None,
    ) -> Posterior:
        """Return a refused answer for pictures of an instrument that the training has not shown."""
        known = self.trained.instruments
        nearest = next(one for one in (NOT_TOLD, *INSTRUMENTS) if one in known)
        posterior = self.estimate(pictures, replace(knowledge, instrument=nearest), scale_um, pixel_nm)
        reason = f"the estimator has seen no pictures of {instrument}, only of {', '.join(known)}"
        return replace(posterior, trust="refused", reasons=(reason, *posterior.reasons))

    def _shown(
        self, picture: NDArray[Any], scale_um: float | None, pixel_nm: float | None, knowledge: Knowledge
    ) -> ShownPicture:
        """Return views of a picture as the network knows them.

        The largest squares are seen in which the picture shows domains as simulated pictures do.
        """
        check_picture(picture)
        shorter = int(min(picture.shape))
        if shorter < VIEW_SIZE:
            size = f"{picture.shape[1]} × {picture.shape[0]}"
            raise UserError(f"picture: {size} pixels; take it with at least {VIEW_SIZE} × {VIEW_SIZE}")
        pixel = 1e-9 * (pixel_nm if pixel_nm is not None else (scale_um or 0) * NM_PER_SCALE_UM / shorter)
        return seen_squares(picture, pixel, knowledge.instrument, lambda seen: self._resolves(seen, knowledge))

    def _resolves(self, pixel: float, knowledge: Knowledge) -> bool:
        """Return whether the walls, as far as these constants tell, are as wide as those of the training."""
        known = knowledge.constants
        if "Aex" not in known or "Keff" not in known:
            return True
        delta = float(wall_width(known["Aex"].mean, known["Keff"].mean)) / pixel
        return self.trained.delta[0] <= delta

    def _features(self, views: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return symmetric(self.network.features)(views.float())

    def _posterior(
        self,
        seen: Sequence[SeenPicture],
        shown: Sequence[ShownPicture],
        knowledge: Knowledge,
        samples: Samples,
    ) -> Posterior:
        plain = {name: estimate_of(samples.constants[name], CONSTANTS[name].unit) for name in asked_of(knowledge)}
        shares = error_budget(self.network, seen, knowledge, self.trained, samples, plain)
        estimates = {
            name: self._calibrated(name, samples, knowledge, seen[0].pixel, shares[name], plain[name].error)
            for name in plain
        }
        budget = {
            name: {one: share * estimates[name].error / max(plain[name].error, 1e-300) for one, share in parts.items()}
            for name, parts in shares.items()
        }
        theory = baselines(shown[0].views, shown[0].pixel, samples.constants, knowledge)
        refusals = self._refusals(seen, shown, knowledge, samples)
        doubts = self._doubts(samples, estimates, theory)
        if not refusals and self._strange(seen, knowledge, UNUSUAL):
            doubts.append("the network sees something that few films of the training show")
        both = "D" in estimates and "Aex" in estimates
        pair = np.corrcoef(samples.constants["D"], samples.constants["Aex"])[0, 1] if both else math.nan
        return Posterior(
            estimates,
            samples.constants,
            float(pair),
            budget,
            "refused" if refusals else "doubtful" if doubts else "trusted",
            (*refusals, *doubts),
            _notes(samples, estimates, knowledge),
            theory.values(),
            VIEW_SIZE * shown[0].pixel,
        )

    def _calibrated(
        self, name: str, samples: Samples, knowledge: Knowledge, pixel: float, shares: Mapping[str, float], error: float
    ) -> Estimate:
        """Return an estimate whose part of the error that the picture makes is stretched as the calibration says."""
        films, values = samples.constants, samples.constants[name]
        Dc = float(np.median(critical_dmi(films["Aex"], films["Keff"])))
        factors = (1.0, 1.0)
        if name == "D":
            mode = "D, Aex known" if "Aex" in knowledge.constants else "D, Aex unknown"
            factors = self._stretch(knowledge, mode)(float(np.median(values)) / Dc)
        elif name == "Aex":
            delta = float(np.median(wall_width(values, films["Keff"]))) / pixel
            factors = self._stretch(knowledge, "wall width")(delta)
        share = (shares["picture"] / error) ** 2 if error > 0 else 0.0
        low, high = (math.sqrt(1 + (factor**2 - 1) * share) for factor in factors)
        top = Dc if name == "D" else math.inf
        told = knowledge.constants.get(name)
        return estimate_of(
            values, CONSTANTS[name].unit, (low, high), min(top, told.high) if isinstance(told, Range) else top
        )

    def _stretch(self, knowledge: Knowledge, of: str) -> Stretch:
        found = self.description.calibration.get(knowledge.instrument or NOT_TOLD, {}).get(of)
        return Stretch() if found is None else Stretch(*(tuple(found[key]) for key in ("at", "factors68", "factors95")))

    def _refusals(
        self,
        seen: Sequence[SeenPicture],
        shown: Sequence[ShownPicture],
        knowledge: Knowledge,
        samples: Samples,
    ) -> list[str]:
        """Return why the answer cannot be trusted."""
        reasons = [reason for reason in dict.fromkeys(one.no_domains for one in shown) if reason is not None]
        if not reasons and self._strange(seen, knowledge, STRANGE):
            reasons.append("the network sees something that no film of the training shows")
        reasons += [self._outside(name, samples) for name, share in samples.outside.items() if share > MANY]
        reasons += self._unresolved(shown[0].pixel, knowledge)
        if len(seen) > 1 and samples.log_agreement < IMPROBABLE:
            reasons.append("the pictures contradict each other: they do not show one film, or not at this scale")
        evidence = samples.log_evidence - (max(samples.log_agreement, 0.0) if len(seen) > 1 else 0.0)
        if not reasons and evidence < IMPROBABLE:
            reasons.append(self._contradiction(seen[0], samples))
        return reasons

    def _strange(self, seen: Sequence[SeenPicture], knowledge: Knowledge, level: str) -> bool:
        """Return whether most pictures are farther from the training's, for the network, than so many of these."""
        distances = self.description.calibration.get(knowledge.instrument or NOT_TOLD, {}).get("distances", {})
        limit = float(distances.get(level, math.inf))
        with torch.inference_mode():
            found = torch.stack([self.network.distance(picture.features)[0] for picture in seen])
        return float(found.median()) > limit

    def _unresolved(self, pixel: float, knowledge: Knowledge) -> list[str]:
        """Return that the instrument resolves less or more of a view than any of the training did, if it is told."""
        limits = self.description.calibration.get(knowledge.instrument or NOT_TOLD, {}).get("resolution")
        if knowledge.resolution is None or limits is None or limits[0] <= knowledge.resolution / pixel <= limits[1]:
            return []
        assert knowledge.instrument is not None
        what, found = RESOLUTIONS[knowledge.instrument], knowledge.resolution / pixel
        ends = "{:.2g} to {:.2g}".format(*limits)
        return [f"{what} is {found:.2g} pixels of the network's view, and the training had {ends}"]

    def _outside(self, name: str, samples: Samples) -> str:
        share = f"{samples.outside[name]:.0%} of what the"
        if name == "d":
            return (
                f"D is above {self.trained.d:.3g} of the critical D in {share} picture allows: walls cost next to "
                "nothing there, and how far D is above it cannot be told"
            )
        number, limits, said = {
            "Q1": ("Keff / (µ0 Ms² / 2)", self.trained.Q1, "knowns allow"),
            "tau": ("the thickness over the size of a pixel", self.trained.tau, "knowns allow"),
            "t_over_wall_width": ("the thickness over √(Aex / Keff)", self.trained.t_over_wall_width, "picture allows"),
        }[name]
        return f"{number} of {share} {said} lies outside of the {limits[0]:.3g} to {limits[1]:.3g} of the training"

    def _contradiction(self, picture: SeenPicture, samples: Samples) -> str:
        """Return that picture and constants do not fit, and the size of a pixel with which they would."""
        said = "picture and constants contradict each other"
        films = samples.constants
        Q1 = float(np.median(films["Keff"] / stray_energy(films["Ms"])))
        taus = float(np.median(films["thickness"])) / picture.pixel / FACTORS
        inside = (self.trained.tau[0] <= taus) & (taus <= self.trained.tau[1])
        logs = log_consistency(
            self.network,
            picture,
            torch.full((len(taus),), math.log(Q1)),
            torch.as_tensor(np.log(taus), dtype=torch.float32),
        )
        fits = np.where(inside, logs.detach().numpy(), -np.inf)
        if fits.max() > 0:
            return f"{said}: they would fit with pixels {FACTORS[int(fits.argmax())]:.2g} times as large"
        return said

    def _doubts(self, samples: Samples, estimates: Mapping[str, Estimate], theory: Baselines) -> list[str]:
        """Return what speaks against the answer without forbidding it."""
        reasons = [self._outside(name, samples) for name, share in samples.outside.items() if SOME < share <= MANY]
        if "Aex" in estimates and (spirals := _share_of_spirals(samples, theory.period)) > HALF:
            reasons.append(
                f"{spirals:.0%} of the films that fit have walls that touch each other: with a D above the critical D "
                "they would look alike; give Aex"
            )
        if "D" in estimates and theory.contradict(estimates["D"].value, estimates["D"].error):
            reasons.append(
                f"stripe theory says |D| = {practical(theory.stripe_theory, theory.error, 'J/m2')}: perhaps the film's "
                "history, or its constants, are not as told"
            )
        return reasons


def _share_of_spirals(samples: Samples, period: float) -> float:
    """Return the share of films whose walls fill their domains' period (m), so that a spiral has the same picture."""
    films = samples.constants
    touching = period < TOUCHING * wall_width(films["Aex"], films["Keff"])
    strong = films["D"] > STRONG * critical_dmi(films["Aex"], films["Keff"])
    return float((touching & strong).mean())


def _notes(samples: Samples, estimates: Mapping[str, Estimate], knowledge: Knowledge) -> tuple[str, ...]:
    """Return what the picture cannot say: the sign of D, and D where walls do not feel it."""
    if "D" not in estimates:
        return ()
    notes, D, films = ["the picture does not show the sign of D"], estimates["D"], samples.constants
    threshold = float(np.median(neel_threshold(films["Ms"], films["thickness"])))
    if D.low68 < threshold and D.value < threshold and knowledge.dmi != "bulk":
        notes.append(
            f"below the Bloch-Néel threshold, {practical(threshold, None, 'J/m2')}, walls hardly feel D: "
            f"|D| < {practical(D.high95, None, 'J/m2')}"
        )
    return tuple(notes)


def is_any_film(folder: str | Path) -> bool:
    """Return whether this is the name or the folder of an estimator of any film."""
    if folder == ANY_FILM:
        return True
    try:
        described = json.loads((folder_of(folder) / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False  # what is wrong with it is told when it is loaded
    return isinstance(described, dict) and described.get("kind") == KIND


@lru_cache(maxsize=2)
def _loaded(folder: str) -> AnyFilmEstimator:
    return AnyFilmEstimator.load(folder)


def estimate(
    pictures: GivenPicture | Iterable[GivenPicture],
    pixel_nm: float | None = None,
    scale_um: float | None = None,
    known: Mapping[str, object] | None = None,
    dmi: str | None = None,
    history: str | None = None,
    instrument: str | None = None,
    estimator: str | Path = ANY_FILM,
    resimulate: bool = False,
    resolution_nm: float | None = None,
) -> Posterior:
    """Return what pictures of a perpendicular film, and what is known of it, say of its other constants.

    known: by constant (Ms, Ku1, Keff, Hk, Aex, D, thickness) a number (SI), a text such as "1.20 ± 0.05 MA/m", a
    `Normal` or a `Range`. dmi: interfacial or bulk. history: minimised, quenched, thermal or demagnetised. instrument:
    microscope (blur and noise), none for a picture of a simulation, or a real one (kerr, mfm, peem, stxm, sempa, nv):
    an answer is refused unless the estimator was trained on it. resimulate: simulate films of the answer (minutes on a
    CPU) and compare them with the first picture. resolution_nm: what limits a real instrument, if known: the lift of
    mfm, the height of nv, λ / (2 NA) of kerr, the full width at half maximum of the others.
    """
    knowledge = Knowledge.of(known or {}, dmi, history, instrument or NOT_TOLD, resolution_nm)
    return _loaded(str(estimator)).estimate(pictures, knowledge, scale_um, pixel_nm, resimulate)
