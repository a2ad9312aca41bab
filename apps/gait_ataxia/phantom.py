"""Phantom studies of gait_ataxia: a filmed walker as a DICOM video, with the truth.

`generate` writes one case of hospital A, or with ``shift`` of hospital B, whose people, rooms,
cameras and light differ: ``dicom/walk.dcm`` and ``truth.json`` with the SARA items, the gait
parameters, the heel strikes and every joint in every frame.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset

from apps.gait_ataxia.film import (
    STUDIO_A,
    STUDIO_ANY,
    STUDIO_B,
    Figure,
    Shot,
    Studio,
    draw_look,
    draw_shot,
    film,
    placed,
)
from apps.gait_ataxia.walker import (
    POPULATION_A,
    POPULATION_ANY,
    POPULATION_B,
    Motion,
    Walker,
    draw_walker,
    truth_of,
    walk,
)
from operators.encode.codes import private_coding_scheme
from operators.phantom.hospital import Hospital
from operators.phantom.identity import generator, phantom_uid
from operators.video.photographic import acquisition_context, put_video
from operators.video.write_h264 import write_h264

WORLD = 5_150_025
"""First part of every random generator here, so that no other phantom shares its numbers."""
GENERATOR = "dicom-node phantom 1"
TASK = "SARA gait"
POPULATIONS = {Hospital.A: POPULATION_A, Hospital.B: POPULATION_B, Hospital.ANY: POPULATION_ANY}
"""Whose patients."""
STUDIOS = {Hospital.A: STUDIO_A, Hospital.B: STUDIO_B, Hospital.ANY: STUDIO_ANY}
"""Whose rooms and cameras."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A walker and how he or she was filmed.

    Args:
        seed: Of the case.
        hospital: Of the case.
        walker: Who.
        shot: From where.
        motion: How.
        points_m: ``(frame, 26, 3)`` in the world.
    """

    seed: int
    hospital: Hospital
    walker: Walker
    shot: Shot
    motion: Motion
    points_m: NDArray[np.float64]

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """The frames of the clip, ``(row, column, 3)`` uint8 RGB."""
        rng = generator(WORLD, self.hospital.number, self.seed, 1)
        figure = Figure(walker=self.walker, look=draw_look(rng), points_m=self.points_m)
        return film([figure], self.shot.camera, STUDIOS[self.hospital], rng)

    @property
    def joints_px(self) -> NDArray[np.float64]:
        """``(frame, 25, 2)`` pixels of the true joints."""
        return self.shot.camera.project(self.points_m[:, :25])[0]


def simulate(
    seed: int, hospital: Hospital = Hospital.A, *, view: str | None = None, studio: Studio | None = None
) -> Case:
    """One case in memory, not yet drawn; the same arguments give the same numbers.

    Args:
        seed: Of the case.
        hospital: Whose patients and cameras.
        view: ``frontal`` or ``sagittal``; None draws one.
        studio: Cameras other than the hospital's.
    """
    rng = generator(WORLD, hospital.number, seed)
    walker = draw_walker(rng, POPULATIONS[hospital])
    shot = draw_shot(rng, walker, studio or STUDIOS[hospital], view)
    motion = walk(walker, shot.duration_s, shot.camera.frame_rate, rng)
    return Case(
        seed=seed, hospital=hospital, walker=walker, shot=shot, motion=motion, points_m=placed(motion, shot)
    )


def generate(seed: int, output: Path, *, shift: bool = False) -> None:
    """Writes one case into a folder: ``dicom/walk.dcm`` and ``truth.json``.

    Args:
        seed: Same seed, same files.
        output: Folder of the case; made if needed.
        shift: A patient of hospital B.
    """
    case = simulate(seed, Hospital.B if shift else Hospital.A)
    stream, facts = write_h264(case.frames(), Fraction(case.shot.camera.frame_rate).limit_denominator(1001))
    instance = header_of(case)
    put_video(instance, stream, facts)
    instance.AcquisitionContextSequence = acquisition_context(
        view=case.shot.camera.view, task=TASK, aid="none"
    )
    (output / "dicom").mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(output / "dicom" / "walk.dcm", instance, enforce_file_format=True)
    text = json.dumps(case_truth(case), separators=(",", ":"))
    (output / "truth.json").write_text(text + "\n", encoding="utf-8")


def case_truth(case: Case) -> dict[str, Any]:
    """Everything that the app is to find, and more."""
    camera = case.shot.camera
    return {
        "app": "gait_ataxia",
        "kind": "synthetic phantom",
        "seed": case.seed,
        "hospital": case.hospital.name,
        "view": camera.view,
        "frame_rate": camera.frame_rate,
        **truth_of(case.walker),
        "gait": case.motion.realised,
        "heel_strikes_s": {side: np.round(times, 4).tolist() for side, times in case.motion.strikes.items()},
        "toe_offs_s": {side: np.round(times, 4).tolist() for side, times in case.motion.lifts.items()},
        "joint_order": "BODY_25",
        "joints_px": np.round(case.joints_px, 1).tolist(),
    }


def header_of(case: Case) -> Dataset:
    """Patient, study, series and equipment of a case; the video itself is put in by the caller."""
    station = f"HOSPITAL_{case.hospital.name}"
    parts = ("GAIT", station, case.seed)
    when = datetime(2024, 1, 8, 9) + timedelta(days=case.seed % 360, minutes=case.seed % 419)  # noqa: DTZ001 - DICOM times are local
    instance = Dataset()
    instance.file_meta = FileMetaDataset()
    instance.SpecificCharacterSet = "ISO_IR 192"
    instance.SOPInstanceUID = phantom_uid(*parts, "walk")
    instance.file_meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
    instance.PatientName = f"PHANTOM^GAIT^{station} {case.seed}"
    instance.PatientID = f"PHANTOM-GAIT-{station}-{case.seed}"
    instance.PatientBirthDate = f"{when.year - case.walker.age_years}0101"
    instance.PatientSex = case.walker.sex
    instance.PatientAge = f"{case.walker.age_years:03d}Y"
    instance.PatientSize = f"{case.walker.body.height:.2f}"
    instance.PatientIdentityRemoved = "YES"
    instance.DeidentificationMethod = "Synthetic phantom: there is no person"
    instance.StudyInstanceUID = phantom_uid(*parts, "study")
    instance.StudyDate, instance.StudyTime = f"{when:%Y%m%d}", f"{when:%H%M%S}"
    instance.StudyID = f"{case.seed % 10**8}"
    instance.AccessionNumber = f"PH{case.seed % 10**10}"
    instance.ReferringPhysicianName = ""
    instance.StudyDescription = "Gait video (phantom)"
    instance.SeriesInstanceUID = phantom_uid(*parts, "series")
    instance.SeriesNumber = 1
    instance.SeriesDescription = f"Walk, {case.shot.camera.view} view"
    for kind in ("Series", "Content", "Acquisition"):
        setattr(instance, f"{kind}Date", f"{when:%Y%m%d}")
        setattr(instance, f"{kind}Time", f"{when:%H%M%S}")
    instance.AcquisitionDateTime = f"{when:%Y%m%d%H%M%S}"
    instance.Manufacturer = "dicom-node phantom"
    instance.ManufacturerModelName = "Simulated video camera"
    instance.StationName = station
    instance.DeviceSerialNumber = f"PHANTOM-{station}"
    instance.SoftwareVersions = GENERATOR
    instance.InstanceNumber = 1
    instance.PatientOrientation = ""
    instance.BurnedInAnnotation = "NO"
    instance.RecognizableVisualFeatures = "NO"
    instance.ImageComments = "Synthetic phantom, a drawn figure"
    instance.CodingSchemeIdentificationSequence = [private_coding_scheme()]
    return instance
