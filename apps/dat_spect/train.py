"""Training: cases to a bundle, bit for bit the same from the same cases and seed.

Three steps: the template from cases with outlined structures (or that of another bundle, where
a site has outlined none), every scan measured with it, then classifiers, ranges of normal and the
calibration of Bolt's ratio from what was measured. No case of the evaluation's hospital is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from apps.dat_spect.cases import TruthCase, read_case
from apps.dat_spect.classifiers import KINDS, save_classifiers
from apps.dat_spect.features import regions_of
from apps.dat_spect.fit import COMPONENTS, COPIES, OUTER_FOLDS, ROUNDS, TREES, fit_classifiers
from apps.dat_spect.labels import Feature
from apps.dat_spect.make_template import LEAST_CASES, Outlined, make_template
from apps.dat_spect.make_template import ROUNDS as TEMPLATE_ROUNDS
from apps.dat_spect.model import ScannerLine, settings_of
from apps.dat_spect.normal import NormalRange, TooFewNormals, fit_normal_range
from apps.dat_spect.ratios import STANDARD_STRIATUM_ML
from apps.dat_spect.scan import corrected_counts, measure_scan
from apps.dat_spect.table import Row, row_of
from apps.dat_spect.template import Template, load_template, save_template
from operators.bundle import described_model, write_configuration
from operators.errors import Refused
from operators.read.case_folders import find_cases, training_kind
from operators.train.loop import bars

TEMPLATE_CASES = 30
"""Of those with outlines, evenly over the folder."""
LEAST_STRIATA = 20
"""Striata of known binding that a calibration needs."""
MOST_REFUSED = 0.05
"""Share of cases that may be left out; more means that something is wrong with all of them."""
OWN_BUNDLE = Path(__file__).parent / "model"


def train(data: Path, bundle: Path, *, seed: int = 0, device: str = "auto") -> None:  # noqa: ARG001
    """Learns from cases and writes the bundle.

    Args:
        data: Folder of case folders, see `apps.dat_spect.cases`.
        bundle: Folder to write: configs and models.
        seed: Of everything random.
        device: Of no use here: nothing that is learned needs an accelerator.

    Raises:
        FileNotFoundError: The folder holds no case.
        Refused: More than `MOST_REFUSED` of the scans cannot be used; fewer are named and left out.
        ValueError: There are too few cases with an answer.
    """
    folders = find_cases(data)
    with bars() as progress:
        template = _template(folders, progress)
        save_template(template, bundle)
        # What inference will read, quantisation included, is what scans are measured with.
        template = load_template(bundle)
        rows, measured = _measured(folders, template, progress)
        calibration = calibrate(rows)
        known = [row for row in rows if row.is_abnormal is not None and len(row.answers) == len(Feature)]
        bar = progress.add_task(
            "fitting classifiers", total=len(KINDS) * (OUTER_FOLDS + 1), loss=float("nan")
        )
        fitted = fit_classifiers(
            [row for row in known if np.isfinite(row.age_years)],
            regions_of(template),
            seed=seed,
            mean_ratio=lambda row: calibration(row.mean_bolt),
            advance=lambda: progress.advance(bar),
        )
    save_classifiers(fitted.classifiers, bundle)
    normal = normal_ranges(rows, calibration)
    training = {
        "kind": training_kind(measured),
        "seed": seed,
        "cases": len(folders),
        "cases_with_answers": len(known),
        "normal_subjects": sum(row.is_normal_subject for row in rows),
        "held_out_auc": {name: round(value, 4) for name, value in fitted.held_out.items()},
    }
    _write_configs(bundle, settings_of(normal, calibration, STANDARD_STRIATUM_ML, fitted.chosen), training)


def _template(folders: Sequence[Path], progress: Progress) -> Template:
    """Of evenly chosen cases with outlines; where there are too few, the one that ships."""
    outlined = [folder for folder in folders if (folder / "truth.nii.gz").is_file()]
    if len(outlined) < LEAST_CASES:
        return load_template(OWN_BUNDLE)
    steps = np.unique(
        np.linspace(0, len(outlined) - 1, min(TEMPLATE_CASES, len(outlined))).round().astype(int)
    )
    cases = []
    for index in steps:
        case = read_case(outlined[int(index)])
        if case.labels_zyx is not None:
            counts, _ = corrected_counts(case.volume)
            cases.append(
                Outlined(counts_zyx=counts, labels_zyx=case.labels_zyx, geometry=case.volume.geometry)
            )
    bar = progress.add_task("template", total=TEMPLATE_ROUNDS * len(cases), loss=float("nan"))
    return make_template(cases, lambda: progress.advance(bar))


def _measured(
    folders: Sequence[Path], template: Template, progress: Progress
) -> tuple[list[Row], list[Path]]:
    """Every case that can be used as a row, and their folders."""
    bar = progress.add_task("measuring scans", total=len(folders), loss=float("nan"))
    rows: list[Row] = []
    measured: list[Path] = []
    refused: list[str] = []
    for folder in folders:
        case = read_case(folder)
        try:
            rows.append(measured_row(case, template))
        except Refused as not_usable:
            refused.append(f"{case.name}: {not_usable.reason}")
            progress.console.print(f"left out of training: {refused[-1]}", markup=False)
            progress.advance(bar)
            continue
        measured.append(folder)
        progress.advance(bar)
    if len(refused) > MOST_REFUSED * len(folders):
        raise Refused(
            f"{len(refused)} of {len(folders)} cases cannot be used; first {refused[0]}",
            attribute="PixelData",
        )
    return rows, measured


def measured_row(case: TruthCase, template: Template) -> Row:
    """A case measured.

    Raises:
        Refused: No brain is found in the scan.
    """
    return row_of(case, measure_scan(case.volume, template, striatum_ml=STANDARD_STRIATUM_ML))


def calibrate(rows: Sequence[Row]) -> ScannerLine:
    """Least squares of true on measured ratios; nothing where too few true ones are known."""
    pairs = np.array([(row.bolt[side], true) for row in rows for side, true in row.true_ratios.items()])
    if len(pairs) < LEAST_STRIATA:
        return ScannerLine()
    slope, offset = np.polyfit(pairs[:, 0], pairs[:, 1], 1)
    return ScannerLine(slope=round(float(slope), 6), offset=round(float(offset), 6), n=len(pairs))


def normal_ranges(rows: Sequence[Row], calibration: ScannerLine) -> dict[str, NormalRange]:
    """Ranges of normal of striatum, caudate and putamen; none where there are too few subjects."""
    subjects = [row for row in rows if row.is_normal_subject and np.isfinite(row.age_years)]
    quantities: dict[str, Callable[[Row], float]] = {
        "striatum": lambda row: calibration(row.mean_bolt),
        "caudate": lambda row: (row.structures["caudate_right"] + row.structures["caudate_left"]) / 2,
        "putamen": lambda row: (row.structures["putamen_right"] + row.structures["putamen_left"]) / 2,
    }
    try:
        return {
            name: fit_normal_range(
                [value(row) for row in subjects],
                [row.age_years for row in subjects],
                [row.sex for row in subjects],
            )
            for name, value in quantities.items()
        }
    except TooFewNormals:
        return {}


def _write_configs(bundle: Path, settings: dict[str, Any], training: dict[str, Any]) -> None:
    write_configuration(bundle, "inference", settings)
    write_configuration(bundle, "metadata", metadata(training))


def metadata(training: dict[str, Any]) -> dict[str, Any]:
    """Content of metadata.json, in the terms of the MONAI bundle specification."""
    return described_model(
        app="dat_spect",
        task="Binding ratios and readable features of I-123 ioflupane SPECT",
        description="A striatal template; F1 low uptake by gradient boosting, F2 asymmetry by nearest "
        "neighbours, F3 dot shape by logistic regression, fused with age; F4 directly by gradient boosting. "
        "Research use only.",
        data_source=training["kind"],
        data_type="NM",
        training=training
        | {"components": COMPONENTS, "copies": COPIES, "boosting_rounds": ROUNDS, "boosting": TREES},
        libraries=("monai", "numpy", "xgboost"),
    )
