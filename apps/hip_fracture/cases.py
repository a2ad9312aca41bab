"""Case folders: what the phantom writes and what a hospital gives for training.

``dicom/`` with the radiographs of one study, any file names, and ``truth.json`` with the answer of each hip:
``{"hips": {"R": {"class": "neck"}, "L": {"class": "none", "operated": true}}}``. Where joints and trochanters
were marked, ``images`` names them by SOP Instance UID (see the card); without marks hips are found by the
detector that ships.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from apps.hip_fracture.labels import SIDES, Fracture
from operators.errors import Refused
from operators.read.case_folders import case_files, read_truth
from operators.read.projection import Side, View
from operators.read.radiograph import Radiograph, read_radiograph

PointYx = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class TrueHip:
    """What is known of a hip.

    Args:
        fracture: The answer.
        is_operated: It holds metal, or cannot be read for another reason: no case of the three answers.
        is_displaced: Of a fracture; False without one.
    """

    fracture: Fracture
    is_operated: bool = False
    is_displaced: bool = False


@dataclass(frozen=True, kw_only=True)
class Marks:
    """Where a hip is in a picture, pixels, row and column.

    Args:
        joint_px_yx: Centre of the joint.
        trochanters_px_yx: Middle between both trochanters.
        is_centred: False for a hip that is in the picture by chance, at its border.
    """

    joint_px_yx: PointYx
    trochanters_px_yx: PointYx
    is_centred: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class TrueImage:
    """A radiograph and what is known of it.

    Args:
        radiograph: The picture.
        view: As truth.json tells, else as the header does.
        marks: Of each hip in it; empty where nobody marked them.
    """

    radiograph: Radiograph
    view: View | None
    marks: dict[Side, Marks]


@dataclass(frozen=True, kw_only=True, eq=False)
class TruthCase:
    """One patient.

    Args:
        name: Of the folder.
        patient_id: From the instances: what splits go by.
        images: Those that can be read.
        hips: The answers.
        truth: All of truth.json.
        problems: Why an image could not be read, a sentence each.
    """

    name: str
    patient_id: str
    images: tuple[TrueImage, ...]
    hips: dict[Side, TrueHip]
    truth: dict[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def read_case(folder: Path) -> TruthCase:
    """One case folder.

    Raises:
        ValueError: truth.json names no hip, or an answer that there is not.
        Refused: None of the images can be read.
    """
    truth = read_truth(folder)
    images, problems = [], []
    for path in case_files(folder):
        try:
            images.append(_true_image(read_radiograph(path), truth))
        except Refused as refused:
            problems.append(f"{folder.name}/{path.name}: {refused.reason}")
    if not images:
        raise Refused(f"{folder.name} holds no radiograph that can be read: {'; '.join(problems)}")
    return TruthCase(
        name=folder.name,
        patient_id=str(images[0].radiograph.header.get("PatientID") or folder.name),
        images=tuple(images),
        hips=true_hips(truth, folder.name),
        truth=truth,
        problems=tuple(problems),
    )


def true_hips(truth: dict[str, Any], name: str) -> dict[Side, TrueHip]:
    """The answers of a case.

    Raises:
        ValueError: There is none, or one that there is not.

    >>> true_hips({"hips": {"R": {"class": "neck"}}}, "x")[Side.RIGHT].fracture
    <Fracture.NECK: 'neck'>
    """
    told = truth.get("hips") or {}
    answers = {fracture.value for fracture in Fracture}
    hips = {}
    for side in SIDES:
        hip = told.get(side.value)
        if hip is None:
            continue
        if hip.get("class") not in answers:
            raise ValueError(f"{name}: hips.{side}.class is {hip.get('class')!r}; allowed: {sorted(answers)}")
        hips[side] = TrueHip(
            fracture=Fracture(hip["class"]),
            is_operated=bool(hip.get("operated") or hip.get("cast")),
            is_displaced=bool(hip.get("displaced")),
        )
    if not hips:
        raise ValueError(f"{name}: truth.json names no hip; it needs {{'hips': {{'R': {{'class': ...}}}}}}")
    return hips


def _true_image(radiograph: Radiograph, truth: dict[str, Any]) -> TrueImage:
    uid = str(radiograph.header.SOPInstanceUID)
    told = next((image for image in truth.get("images", ()) if image.get("sop_instance_uid") == uid), {})
    marks = {
        Side(name): _marks(hip) for name, hip in told.get("hips", {}).items() if "joint_centre_px" in hip
    }
    view = View(told["view"]) if "view" in told else radiograph.view
    return TrueImage(radiograph=radiograph, view=view, marks=marks)


def _marks(hip: dict[str, Any]) -> Marks:
    greater, lesser = (np.array(hip[f"{name}_trochanter_px"], dtype=float) for name in ("greater", "lesser"))
    middle_yx = (greater + lesser) / 2
    return Marks(
        joint_px_yx=(float(hip["joint_centre_px"][0]), float(hip["joint_centre_px"][1])),
        trochanters_px_yx=(float(middle_yx[0]), float(middle_yx[1])),
        is_centred=bool(hip.get("is_centred", True)),
    )
