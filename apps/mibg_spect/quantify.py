"""Stage `measure` of mibg_spect: counts, ratios and washout out of images and masks.

Every number comes as a `Quantity`, those that could not be had with the reason.
Nothing is standardised with a guessed collimator coefficient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from apps.mibg_spect.labels import LABELS, Phase
from apps.mibg_spect.planar import regions_on
from apps.mibg_spect.prepare import GriddedVolume
from apps.mibg_spect.segment import Segmentation
from operators.measure.decay import normalised_counts, washout_percent
from operators.measure.planar import (
    PlanarRegions,
    coefficient_of,
    heart_to_mediastinum,
    standardised_ratio,
)
from operators.measure.quantity import Quantity
from operators.measure.region import Box, mediastinal_box, voxel_places_mm_lps
from operators.read.nm import NmAcquisition, NmPlanar, NmVolume

__all__ = ["Measurements", "PlanarRegions", "quantify"]

COUNTS, RATIO, PERCENT = "{counts}", "{ratio}", "%"
DURATION_TOLERANCE = 0.01
"""Acquisition times that differ by more than this fraction are corrected for, with a warning."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurements:
    """Everything measured on one study.

    Args:
        quantities: In the order of the report; names are unique.
        mediastinum_zyx: For each SPECT phase, ``(z, y, x)`` bool in that volume's own grid:
            the reference box of the heart-to-mediastinum ratio.
        planar: For each planar view on which they were found, its regions.
        warnings: Sentences that a reader of the results must see.
    """

    quantities: tuple[Quantity, ...]
    mediastinum_zyx: dict[Phase, NDArray[np.bool_]]
    planar: dict[Phase, PlanarRegions]
    warnings: tuple[str, ...] = ()

    def value(self, name: str) -> float | None:
        """The value of one quantity; None when it could not be had.

        Raises:
            KeyError: No quantity has this name.
        """
        return {quantity.name: quantity.value for quantity in self.quantities}[name]


LEAST_CREDIBLE_WASHOUT_PERCENT = -10.0
"""Noise alone makes a washout a little negative; below this the two volumes do not fit together."""


@dataclass
class _Sheet:
    """What is being filled in."""

    quantities: list[Quantity] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(
        self,
        name: str,
        meaning: str,
        value: float | None,
        unit: str,
        code: str,
        *,
        phase: str = "",
        organ: str = "",
        why_missing: str = "",
    ) -> None:
        usable = value is not None and np.isfinite(value)
        self.quantities.append(
            Quantity(
                name=name,
                meaning=meaning,
                value=float(value) if usable and value is not None else None,
                unit=unit,
                code=code,
                phase=phase,
                organ=organ,
                why_missing="" if usable else why_missing or "it could not be computed",
            )
        )


def quantify(
    volumes: Mapping[Phase, NmVolume],
    segmentation: Segmentation,
    *,
    planar: Mapping[Phase, NmPlanar],
    collimator_coefficients: Mapping[str, float] | None = None,
) -> Measurements:
    """All numbers of the report.

    Args:
        volumes: The SPECT volumes present.
        segmentation: Of the same volumes.
        planar: The anterior views present; may be empty.
        collimator_coefficients: Collimator/Grid Name to conversion coefficient of this site's
            camera: the route's setting ``collimator_coefficients``. A name that is not listed
            leaves the ratio unstandardised, with a warning.
    """
    sheet = _Sheet()
    box = _reference_box(volumes, segmentation)
    boxes: dict[Phase, NDArray[np.bool_]] = {}
    counts: dict[Phase, dict[str, float]] = {}
    for phase in sorted(volumes):
        boxes[phase] = _box_on(phase, volumes[phase], segmentation, box)
        counts[phase] = _mean_counts(volumes[phase], segmentation.labels_zyx[phase], boxes[phase])
        _add_spect(sheet, phase, volumes[phase], segmentation.labels_zyx[phase], counts[phase])
    if len(volumes) == 2:
        _add_spect_washout(sheet, volumes, counts)
    regions = _planar_regions(sheet, volumes, segmentation, planar)
    means = _add_planar(sheet, planar, regions, collimator_coefficients or {})
    if len(means) == 2:
        _add_planar_washout(sheet, planar, means)
    return Measurements(
        quantities=tuple(sheet.quantities),
        mediastinum_zyx=boxes,
        planar=regions,
        warnings=tuple(dict.fromkeys(sheet.warnings)),
    )


# -------------------------------------------------------------------- SPECT


def _reference_box(volumes: Mapping[Phase, NmVolume], segmentation: Segmentation) -> Box:
    labels = segmentation.labels_zyx[segmentation.reference]
    right, left, heart = (labels == LABELS[name] for name in ("lung_right", "lung_left", "heart"))
    return mediastinal_box(right, left, heart, volumes[segmentation.reference].geometry)


def _box_on(phase: Phase, volume: NmVolume, segmentation: Segmentation, box: Box) -> NDArray[np.bool_]:
    """The reference box in the volume's own grid, without what belongs to an organ."""
    places = voxel_places_mm_lps(volume.geometry)
    if phase is not segmentation.reference:
        back = np.linalg.inv(segmentation.late_from_early_lps)
        places = places @ back[:3, :3].T + back[:3, 3]
    return np.asarray(box.contains(places) & (segmentation.labels_zyx[phase] == 0), dtype=np.bool_)


def _mean_counts(
    volume: NmVolume, labels_zyx: NDArray[np.uint8], box_zyx: NDArray[np.bool_]
) -> dict[str, float]:
    masks = {name: labels_zyx == value for name, value in LABELS.items()}
    masks["lung"] = masks["lung_right"] | masks["lung_left"]
    masks["mediastinum"] = box_zyx
    return {
        name: float(volume.counts_zyx[mask].mean()) if mask.any() else float("nan")
        for name, mask in masks.items()
    }


def _add_spect(
    sheet: _Sheet, phase: Phase, volume: NmVolume, labels_zyx: NDArray[np.uint8], counts: dict[str, float]
) -> None:
    sheet.warnings.extend(volume.warnings)
    when = {"phase": phase.value}
    sheet.add(
        f"minutes_after_injection_{phase}",
        "time after injection",
        volume.minutes_after_injection,
        "min",
        "MINUTES_PI",
        **when,
        why_missing="the times of injection or acquisition are not in the images",
    )
    for organ in ("heart", "lung", "liver", "mediastinum"):
        sheet.add(
            f"{organ}_counts_{phase}",
            f"mean {organ} counts",
            counts[organ],
            COUNTS,
            "TOMO_COUNTS",
            **when,
            organ=organ,
            why_missing=f"no {organ} is in the field of view",
        )
    _add_normalised(sheet, phase, volume, counts["heart"])
    for organ, code in (("mediastinum", "H_MEDIASTINUM"), ("lung", "H_LUNG"), ("liver", "H_LIVER")):
        ratio = counts["heart"] / counts[organ] if counts[organ] > 0 else None
        sheet.add(
            f"heart_{organ}_{phase}",
            f"heart-to-{organ} ratio (SPECT)",
            ratio,
            RATIO,
            code,
            **when,
            organ="heart",
            why_missing=f"no counts of the {organ}",
        )
    for organ, value in LABELS.items():
        millilitres = float((labels_zyx == value).sum()) * volume.geometry.voxel_volume_ml
        sheet.add(
            f"{organ}_volume_{phase}",
            f"volume of {organ.replace('_', ' ')}",
            millilitres,
            "mL",
            "VOLUME",
            **when,
            organ=organ,
        )


def _add_normalised(sheet: _Sheet, phase: Phase, volume: NmVolume, heart_counts: float) -> None:
    minutes = volume.minutes_after_injection
    known = {
        "RadiopharmaceuticalStartDateTime": minutes,
        "PatientWeight": volume.patient_weight_kg,
        "RadionuclideTotalDose": volume.administered_activity_mbq,
    }
    missing = [name for name, value in known.items() if value is None]
    value = None
    if minutes is not None and volume.patient_weight_kg and volume.administered_activity_mbq:
        value = normalised_counts(
            heart_counts,
            hours_after_injection=minutes / 60,
            weight_kg=volume.patient_weight_kg,
            activity_mbq=volume.administered_activity_mbq,
        )
    else:
        sheet.warnings.append(f"{phase} heart counts are not normalised: {', '.join(missing)} missing")
    sheet.add(
        f"heart_counts_norm_{phase}",
        "heart counts for decay, dose and weight",
        value,
        "{propcounts}",
        "HEART_COUNT_NORM",
        phase=phase.value,
        organ="heart",
        why_missing=f"{', '.join(missing)} missing",
    )


def _add_spect_washout(
    sheet: _Sheet, volumes: Mapping[Phase, NmVolume], counts: dict[Phase, dict[str, float]]
) -> None:
    hours = _hours_between(volumes[Phase.EARLY], volumes[Phase.LATE])
    scale = _duration_scale(sheet, "SPECT", volumes[Phase.EARLY], volumes[Phase.LATE])
    for name, meaning, with_background in (
        ("washout_spect", "washout rate (SPECT)", False),
        ("washout_spect_bg", "washout rate (SPECT), mediastinum subtracted", True),
    ):
        value, reason = _washout(
            counts[Phase.EARLY], counts[Phase.LATE], hours, scale, with_background=with_background
        )
        sheet.add(name, meaning, value, PERCENT, name.upper(), organ="heart", why_missing=reason)
        if not with_background and value is not None and value < LEAST_CREDIBLE_WASHOUT_PERCENT:
            sheet.warnings.append(
                f"the SPECT washout is {value:.0f} %, which no heart does: early and late are most likely "
                "not on one scale (another reconstruction, correction or Rescale Slope)"
            )


def _washout(
    early: dict[str, float],
    late: dict[str, float],
    hours: float | None,
    scale: float,
    *,
    with_background: bool,
) -> tuple[float | None, str]:
    """The washout in percent, or None and why."""
    if hours is None:
        return None, "the times of the acquisitions are not in the images"
    share = 1.0 if with_background else 0.0
    try:
        value = washout_percent(
            early["heart"],
            late["heart"] * scale,
            hours_between=hours,
            early_background=share * early["mediastinum"] if share else 0.0,
            late_background=share * late["mediastinum"] * scale if share else 0.0,
        )
    except ValueError as impossible:
        return None, str(impossible)
    return value, ""


def _hours_between(early: NmAcquisition, late: NmAcquisition) -> float | None:
    if early.acquisition_datetime is None or late.acquisition_datetime is None:
        return None
    return (late.acquisition_datetime - early.acquisition_datetime).total_seconds() / 3600


def _duration_scale(sheet: _Sheet, kind: str, early: NmAcquisition, late: NmAcquisition) -> float:
    """What late counts are multiplied with when the late acquisition was longer or shorter."""
    if not (early.acquisition_duration_s and late.acquisition_duration_s):
        return 1.0
    scale = early.acquisition_duration_s / late.acquisition_duration_s
    if abs(scale - 1) <= DURATION_TOLERANCE:
        return 1.0
    sheet.warnings.append(
        f"early and late {kind} differ in duration ({early.acquisition_duration_s:.0f} and "
        f"{late.acquisition_duration_s:.0f} s); the washout is corrected for it"
    )
    return scale


# ------------------------------------------------------------------- planar


def _planar_regions(
    sheet: _Sheet,
    volumes: Mapping[Phase, NmVolume],
    segmentation: Segmentation,
    planar: Mapping[Phase, NmPlanar],
) -> dict[Phase, PlanarRegions]:
    """Regions of each view, from the SPECT of the same phase or else of the other."""
    out: dict[Phase, PlanarRegions] = {}
    for phase in sorted(planar):
        source = phase if phase in volumes else segmentation.reference
        volume = GriddedVolume(counts_zyx=volumes[source].counts_zyx, geometry=volumes[source].geometry)
        try:
            out[phase] = regions_on(planar[phase], volume, segmentation.labels_zyx[source])
        except ValueError as lost:
            sheet.warnings.append(f"the {phase} planar view is not measured: {lost}")
    return out


def _add_planar(
    sheet: _Sheet,
    planar: Mapping[Phase, NmPlanar],
    regions: Mapping[Phase, PlanarRegions],
    coefficients: Mapping[str, float],
) -> dict[Phase, dict[str, float]]:
    means: dict[Phase, dict[str, float]] = {}
    for phase in sorted(regions):
        view = planar[phase]
        sheet.warnings.extend(view.warnings)
        heart, mediastinum = heart_to_mediastinum(view.counts_yx, regions[phase])
        ratio = heart / mediastinum if mediastinum > 0 else None
        means[phase] = {"heart": heart, "mediastinum": mediastinum, "ratio": ratio or float("nan")}
        when = {"phase": phase.value}
        sheet.add(
            f"planar_heart_counts_{phase}",
            "mean heart counts (planar)",
            heart,
            COUNTS,
            "PLANAR_COUNTS",
            **when,
            organ="heart",
        )
        sheet.add(
            f"planar_mediastinum_counts_{phase}",
            "mean mediastinum counts (planar)",
            mediastinum,
            COUNTS,
            "PLANAR_COUNTS",
            **when,
            organ="mediastinum",
        )
        sheet.add(
            f"hmr_{phase}",
            "heart-to-mediastinum ratio (planar), as measured",
            ratio,
            RATIO,
            "HMR_RAW",
            **when,
            organ="heart",
            why_missing="no counts of the mediastinum",
        )
        _add_standardised(sheet, phase, view, ratio, coefficients)
    return means


def _add_standardised(
    sheet: _Sheet, phase: Phase, view: NmPlanar, ratio: float | None, coefficients: Mapping[str, float]
) -> None:
    coefficient = coefficient_of(view.collimator_name, coefficients)
    reason = ""
    if coefficient is None:
        named = f"collimator {view.collimator_name!r}" if view.collimator_name else "an unnamed collimator"
        reason = f"the site has no conversion coefficient for {named}"
        sheet.warnings.append(f"the {phase} planar ratio is not standardised: {reason}")
    when = {"phase": phase.value, "organ": "heart", "why_missing": reason}
    sheet.add(
        f"collimator_coefficient_{phase}",
        "conversion coefficient of the collimator",
        coefficient,
        RATIO,
        "CC_COLL",
        **when,
    )
    value = None if coefficient is None or ratio is None else standardised_ratio(ratio, coefficient)
    sheet.add(
        f"hmr_std_{phase}",
        "heart-to-mediastinum ratio (planar), standardised to medium energy",
        value,
        RATIO,
        "HMR_STD",
        **when,
    )


def _add_planar_washout(
    sheet: _Sheet, planar: Mapping[Phase, NmPlanar], means: dict[Phase, dict[str, float]]
) -> None:
    early, late = means[Phase.EARLY], means[Phase.LATE]
    hours = _hours_between(planar[Phase.EARLY], planar[Phase.LATE])
    scale = _duration_scale(sheet, "planar views", planar[Phase.EARLY], planar[Phase.LATE])
    for name, meaning, code, with_background in (
        ("washout_planar_bg", "washout rate (planar), background subtracted", "WR_BG", True),
        ("washout_planar", "washout rate (planar), no background", "WR_NOBG", False),
    ):
        value, reason = _washout(early, late, hours, scale, with_background=with_background)
        sheet.add(name, meaning, value, PERCENT, code, organ="heart", why_missing=reason)
    fall = 100 * (early["ratio"] - late["ratio"]) / early["ratio"]
    sheet.add("washout_hmr", "fall of the planar ratio", fall, PERCENT, "WR_HMR", organ="heart")
