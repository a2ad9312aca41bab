"""Evaluation of a bundle on case folders, patient-wise, with bootstrap intervals.

Every study is read, and refused, as the app does it; only the rules of app.toml, which choose its images, are
not asked. A hip that could be read and was not, and one of which nothing was decided, counts as wrong. Hips
that were operated on are no cases of the three answers: of these only whether they were left out is counted.
For phantoms the folder should hold hospital B: seeds from 100000 on and ``--shift``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from apps.hip_fracture.cases import TrueHip, TruthCase, read_case, true_hips
from apps.hip_fracture.findings import Findings, Limits, analyse, judged, limits_of
from apps.hip_fracture.labels import CLASSES, SIDE_TITLES, VIEW_TITLES, VIEWS, Fracture
from operators.bundle import choose_device
from operators.errors import Refused
from operators.evaluate import Evaluation, Metric
from operators.evaluate.bootstrap import bootstrap, mean_of
from operators.evaluate.cases import UnreadCase, read_or_unread
from operators.evaluate.classification import INDETERMINATE, classification_metrics, confusion
from operators.read.projection import Side, View
from operators.select.digests import bundle_digest


def unknown_of(fracture: Fracture) -> NDArray[np.float64]:
    """Probabilities that count for a hip of which the app says nothing: wrong ones.

    A refused hip must not be ranked better than one that was answered wrongly.

    >>> unknown_of(Fracture.NECK).tolist()
    [0.5, 0.0, 0.5]
    """
    wrong = np.full(len(CLASSES), 1 / (len(CLASSES) - 1))
    wrong[CLASSES.index(fracture)] = 0.0
    return wrong


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """A hip of a patient, and what was said of it.

    Args:
        patient_id: Of the patient.
        side: Of the hip.
        truth: Of the hip.
        views: In which the study shows it.
        said: Probabilities and decision (index or `INDETERMINATE`) by the views used: all, or one alone.
        is_left_out: The app said nothing of it.
    """

    patient_id: str
    side: Side
    truth: TrueHip
    views: tuple[View, ...]
    said: dict[View | None, tuple[NDArray[np.float64], int]]
    is_left_out: bool

    def is_read(self, view: View | None) -> bool:
        """True where the app said something by all views, or by one alone."""
        return view in self.said


def evaluate(data: Path, *, bundle: Path, device: str = "auto") -> Evaluation:
    """The metrics of the outside interface over the cases of a folder.

    Of hips with both views are ``accuracy``, ``auc`` (mean of the three, one answer against the others; a hip
    of which nothing was said has 0 for its true answer), ``auc_read`` and ``ece`` (without such hips), and
    ``accuracy_ap`` and ``accuracy_lateral``, which take one view alone.
    ``accuracy_every_hip`` is of all hips, AP alone included. Indeterminate counts as wrong;
    ``indeterminate_share`` says how often, ``accuracy_decided`` leaves it out. ``accuracy_displaced`` and
    ``accuracy_undisplaced`` are of fractures, ``operated_left_out`` of hips with metal, ``left_out_share``
    of readable ones.

    Raises:
        FileNotFoundError: The folder holds no case.
        BrokenBundle: The bundle cannot be used.
    """
    where = choose_device(device)
    limits = limits_of(bundle)
    rows: list[Row] = []
    notes: list[str] = []
    for case in read_or_unread(data, read_case, notes):
        if isinstance(case, UnreadCase):
            rows += rows_of(unread_case(case), None, limits)
            continue
        found, reason = analysed(case, bundle, where)
        if reason:
            notes.append(f"{case.name} was refused: {reason}")
        rows += rows_of(case, found, limits)
    return Evaluation(
        app="hip_fracture",
        n=len({row.patient_id for row in rows}),
        model_digest=bundle_digest(bundle),
        metrics=metrics_of(rows),
        notes=(*notes, *counts(rows)),
    )


def analysed(case: TruthCase, bundle: Path, device: torch.device) -> tuple[Findings | None, str]:
    """What the app finds in a case, or why it finds nothing."""
    try:
        return analyse([image.radiograph for image in case.images], bundle, device, looks=False), ""
    except Refused as refused:
        return None, refused.reason


def rows_of(case: TruthCase, found: Findings | None, limits: Limits) -> list[Row]:
    """A row for each hip that the study is of."""
    hips = {} if found is None else {hip.side: hip for hip in found.hips}
    rows = []
    for side, truth in case.hips.items():
        views = shown_views(case, side)
        if not views:
            continue
        said: dict[View | None, tuple[NDArray[np.float64], int]] = {}
        hip = hips.get(side)
        if hip is not None:
            said[None] = hip.probabilities, _decided(hip.decision.class_index)
            for view in {reading.hip.view for reading in hip.readings}:
                of_view = tuple(reading for reading in hip.readings if reading.hip.view is view)
                alone = judged(side, of_view, limits)
                said[view] = alone.probabilities, _decided(alone.decision.class_index)
        rows.append(
            Row(
                patient_id=case.patient_id,
                side=side,
                truth=truth,
                views=views,
                said=said,
                is_left_out=hip is None,
            )
        )
    return rows


def unread_case(case: UnreadCase) -> TruthCase:
    """A case of which truth.json is all that is known.

    Raises:
        ValueError: It names no hip, or an answer that there is not.
    """
    return TruthCase(
        name=case.name,
        patient_id=case.patient_id,
        images=(),
        hips=true_hips(dict(case.truth), case.name),
        truth=dict(case.truth),
    )


def shown_views(case: TruthCase, side: Side) -> tuple[View, ...]:
    """Views in which the study shows a hip, also those whose image cannot be read.

    As truth.json tells of its images; where it tells of none, those of all images of the hip's side.
    """
    told = [image for image in case.truth.get("images", ()) if "view" in image and "hips" in image]
    shown = {
        View(image["view"])
        for image in told
        if image["hips"].get(side.value, {}).get("is_centred", side.value in image["hips"])
    }
    if not told:
        shown = {
            image.view
            for image in case.images
            if image.view is not None and image.radiograph.side in (side, Side.BOTH)
        }
    return tuple(view for view in VIEWS if view in shown)


def _decided(class_index: int | None) -> int:
    return INDETERMINATE if class_index is None else class_index


def metrics_of(rows: Sequence[Row]) -> dict[str, Metric]:
    """See `evaluate`."""
    readable = [row for row in rows if not row.truth.is_operated]
    both = [row for row in readable if len(row.views) == len(VIEWS)]
    metrics = _classified(both, None)
    metrics["auc_read"] = _classified([row for row in both if row.is_read(None)], None)["auc"]
    for view in VIEWS:
        of_view = _classified(both, view)
        name = VIEW_TITLES[view].lower()
        metrics |= {f"accuracy_{name}": of_view["accuracy"], f"auc_{name}": of_view["auc"]}
    every = _classified(readable, None)
    metrics |= {"accuracy_every_hip": every["accuracy"], "ece_every_hip": every["ece"]}
    broken = [row for row in both if CLASSES[0] is not row.truth.fracture]
    shares = {
        "accuracy_displaced": [row for row in broken if row.truth.is_displaced],
        "accuracy_undisplaced": [row for row in broken if not row.truth.is_displaced],
        "operated_left_out": [row for row in rows if row.truth.is_operated],
        "left_out_share": readable,
    }
    for name, chosen in shares.items():
        is_about_leaving = name in {"operated_left_out", "left_out_share"}
        values = [row.is_left_out if is_about_leaving else _is_right(row) for row in chosen]
        metrics[name] = bootstrap(
            {"x": np.array(values, dtype=float)},
            mean_of("x"),
            patient_ids=[row.patient_id for row in chosen],
        )
    return metrics


def _is_right(row: Row) -> bool:
    return None in row.said and row.said[None][1] == CLASSES.index(row.truth.fracture)


def _classified(rows: Sequence[Row], view: View | None) -> dict[str, Metric]:
    """Metrics of these rows with all views, or with one alone; the calibration of those that were read."""
    metrics = _metrics(rows, view)
    return metrics | {"ece": _metrics([row for row in rows if row.is_read(view)], view)["ece"]}


def _metrics(rows: Sequence[Row], view: View | None) -> dict[str, Metric]:
    said = [row.said.get(view, (unknown_of(row.truth.fracture), INDETERMINATE)) for row in rows]
    return classification_metrics(
        np.array([CLASSES.index(row.truth.fracture) for row in rows], dtype=np.int64),
        np.array([probabilities for probabilities, _ in said]).reshape(-1, len(CLASSES)),
        patient_ids=[row.patient_id for row in rows],
        decided=np.array([decided for _, decided in said], dtype=np.int64),
    )


def counts(rows: Sequence[Row]) -> list[str]:
    """How many hips there are, which answers were mistaken for which, and which hips were left out."""
    both = [row for row in rows if not row.truth.is_operated and len(row.views) == len(VIEWS)]
    table = confusion(
        np.array([CLASSES.index(row.truth.fracture) for row in both], dtype=np.int64),
        np.array([row.said[None][1] if None in row.said else INDETERMINATE for row in both], dtype=np.int64),
        classes=len(CLASSES),
    )
    read = sum(row.is_read(None) for row in both)
    told = [
        f"{len(rows)} hips, {len(both)} of them readable and in both views",
        f"{read} of these {len(both)} were read: auc_read and ece are theirs; in auc the others are worst",
    ]
    for fracture, row in zip(CLASSES, table.tolist(), strict=True):
        names = [*(other.title for other in CLASSES), "indeterminate"]
        answers = ", ".join(f"{n} {name}" for n, name in zip(row, names, strict=True) if n)
        told.append(f"true {fracture.title}: {answers or 'none'}")
    told += [
        f"{row.patient_id}, {SIDE_TITLES[row.side]}: readable, but left out"
        for row in rows
        if row.is_left_out and not row.truth.is_operated
    ]
    return told
