"""The phantom: same seed, same bytes; valid objects; a truth that the pictures bear out."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from apps.hip_fracture.acquire import _turned
from apps.hip_fracture.fracture import draw_fracture
from apps.hip_fracture.labels import Fracture as HipClass
from apps.hip_fracture.phantom import (
    HEADER,
    PERSON,
    POPULATIONS,
    WORLD,
    draw_person,
    generate,
)
from operators.phantom.bones import BoneShape
from operators.phantom.hospital import Hospital
from operators.phantom.identity import generator
from operators.read.projection import view_of

SEEDS = ((4, False), (3, True))
"""A neck with an AP of a hip, and a case of hospital B with several laterals."""


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folders = []
    for seed, shift in SEEDS:
        folder = tmp_path_factory.mktemp(f"case_{seed}")
        generate(seed, folder, shift=shift)
        folders.append(folder)
    return folders


def truth(folder: Path) -> dict[str, Any]:
    """truth.json of a case."""
    found: dict[str, Any] = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    return found


def digest(folder: Path) -> str:
    """Of all bytes of a case."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()


def test_the_same_seed_gives_the_same_bytes(cases: list[Path], tmp_path: Path) -> None:
    generate(SEEDS[0][0], tmp_path / "again", shift=SEEDS[0][1])

    assert digest(tmp_path / "again") == digest(cases[0])
    assert digest(cases[0]) != digest(cases[1])


def test_every_object_is_valid(cases: list[Path]) -> None:
    verifier = shutil.which("dciodvfy")
    assert verifier, "dciodvfy (package dicom3tools) is part of the set-up"
    files = [path for folder in cases for path in sorted((folder / "dicom").iterdir())]
    assert files
    for path in files:
        said = subprocess.run([verifier, str(path)], capture_output=True, text=True, check=False).stderr
        assert "Error" not in said, f"{path.name}: {said}"


def test_truth_names_every_image_and_its_view(cases: list[Path]) -> None:
    for folder in cases:
        told = {image["sop_instance_uid"]: image for image in truth(folder)["images"]}
        read = {str(d.SOPInstanceUID): d for d in map(dcmread, sorted((folder / "dicom").iterdir()))}
        assert set(told) == set(read)
        for uid, dataset in read.items():
            assert view_of(dataset) == told[uid]["view"]
            assert (dataset.Rows, dataset.Columns) == (told[uid]["rows"], told[uid]["columns"])
            assert str(dataset.SeriesInstanceUID) == told[uid]["series_instance_uid"]


def test_the_head_is_brighter_than_the_air_beside_the_body(cases: list[Path]) -> None:
    for folder in cases:
        for image in truth(folder)["images"]:
            dataset = dcmread(folder / image["file"])
            bright = dataset.pixel_array.astype(float)
            if dataset.PhotometricInterpretation == "MONOCHROME1":
                bright = bright.max() - bright
            for hip in image["hips"].values():
                y, x = (round(value) for value in hip["head_px"])
                patch = bright[max(y - 8, 0) : y + 9, max(x - 8, 0) : x + 9]
                assert np.median(patch) > np.percentile(bright, 10)


def test_landmarks_keep_their_anatomical_order_in_an_ap(cases: list[Path]) -> None:
    seen = 0
    for folder in cases:
        for image in truth(folder)["images"]:
            if image["view"] != "AP":
                continue
            for side, hip in image["hips"].items():
                outwards = -1 if side == "R" else 1
                seen += 1
                assert hip["lesser_trochanter_px"][0] > hip["joint_centre_px"][0]
                assert outwards * (hip["greater_trochanter_px"][1] - hip["joint_centre_px"][1]) > 0
                y0, x0, y1, x1 = hip["box_px"]
                assert y0 <= hip["head_px"][0] <= y1
                assert x0 <= hip["head_px"][1] <= x1
    assert seen >= 2


def test_a_turned_picture_carries_its_landmarks_along() -> None:
    picture = np.zeros((7, 11))
    picture[2, 5] = 1
    for quarter in range(4):
        (there,) = np.argwhere(np.rot90(picture, quarter))
        assert _turned((2.0, 5.0), picture.shape, quarter) == tuple(map(float, there))


def test_the_pieces_of_an_unmoved_fracture_do_not_overlap_and_leave_the_gap() -> None:
    shape = BoneShape()
    rng = np.random.default_rng(0)
    points = tuple(rng.uniform(-60, 10, (3, 20_000)).astype(np.float32))
    assert len(points) == 3
    checked = 0
    for seed in range(40):
        fracture = draw_fracture(
            np.random.default_rng(seed), HipClass.TROCHANTERIC, shape, undisplaced_share=0.5
        )
        inside = [piece.beyond(points) < 0 for piece in fracture.fragments]
        assert np.sum(inside, axis=0).max() == 1
        checked += int(inside[0].any() and inside[1].any())
    assert checked >= 30


def test_an_impacted_fracture_is_denser_because_its_pieces_overlap() -> None:
    points = tuple(np.random.default_rng(0).uniform(-40, 5, (3, 50_000)).astype(np.float32))
    assert len(points) == 3
    impacted = [
        fracture
        for seed in range(60)
        if (
            fracture := draw_fracture(
                np.random.default_rng(seed), HipClass.NECK, BoneShape(), undisplaced_share=1.0
            )
        ).garden
        == 1
    ]
    assert impacted
    for fracture in impacted:
        inside = [piece.beyond(points) < 0 for piece in fracture.fragments]
        assert (inside[0] & inside[1]).any()


def test_without_a_fracture_none_can_be_drawn() -> None:
    with pytest.raises(ValueError, match="none"):
        draw_fracture(np.random.default_rng(0), HipClass.NONE, BoneShape(), undisplaced_share=0.2)


def test_a_fifth_of_fractures_is_undisplaced_and_views_do_not_tell_the_class() -> None:
    people = [
        draw_person(generator(WORLD, Hospital.A.number, seed, PERSON), POPULATIONS[Hospital.A])
        for seed in range(1500)
    ]
    broken = [hip.fracture for person in people for hip in person.hips.values() if hip.fracture]
    assert 0.16 < np.mean([not fracture.displaced for fracture in broken]) < 0.26

    is_broken = np.array([person.hips[person.painful].hip_class is not HipClass.NONE for person in people])
    for has in (
        lambda person: any(technique == "cross-table" for technique, _ in person.views),
        lambda person: person.views[0][0] == "ap pelvis",
        lambda person: person.hips["L" if person.painful == "R" else "R"].implant is not None,
    ):
        shown = np.array([has(person) for person in people])
        assert abs(shown[is_broken].mean() - shown[~is_broken].mean()) < 0.08


def test_metal_is_never_in_a_broken_hip() -> None:
    assert HEADER != PERSON
    operated = 0
    for seed in range(600):
        person = draw_person(generator(WORLD, Hospital.B.number, seed, PERSON), POPULATIONS[Hospital.B])
        for hip in person.hips.values():
            operated += hip.implant is not None
            assert hip.implant is None or hip.hip_class is HipClass.NONE
    assert operated > 40
