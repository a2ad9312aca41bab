"""Finds the muscles' radii that give the target volumes in the standard body.

``python -m apps.msk_ct.tune`` rewrites `muscle_radii.json`; needed only when paths, bones or
targets change. A distance ratio is inverse to the radius, so each muscle's field is made once
and the multiplicative updates r <- r (target / volume)^0.3 of science.md A30 cost nothing.
"""

from __future__ import annotations

import json

import numpy as np

from apps.msk_ct import body, muscles
from apps.msk_ct.anatomy import Builder, bundle_ratio, tube_bundle
from apps.msk_ct.population import Person
from operators.phantom.bones import BoneShape
from operators.phantom.fields import at, box_of

STEP_MM = 3.0
LARGEST_MM = 60.0


def standard_person() -> Person:
    """The standard body: as in the tables, without atrophy."""
    return Person(
        age_years=50,
        sex="M",
        height_m=1.70,
        bmi=24,
        size_xyz=(1, 1, 1),
        thigh_length=1,
        lie_rad=(0, 0, 0),
        pelvic_tilt_rad=0,
        hips_rad=((0, 0, 0), (0, 0, 0)),
        wobble_seed=0,
        wobble_mm=0,
        wobble_length_mm=70,
        bones=(BoneShape(), BoneShape()),
        girth=1,
        girth_thigh=1,
        belly_mm=0,
        fat_mm=12,
        wall_mm=14,
        muscle=1,
        atrophy={},
        hu_drop={},
        affected=None,
        muscle_hu=55,
        fat_hu=-100,
        infiltration=0.03,
        bmd=1,
        cortex=1,
        contrast_hu=0,
        oral_contrast=False,
        arms=False,
        tissue_seed=0,
        implant=None,
    )


def tuned_radii(iterations: int = 120) -> tuple[dict[str, float], dict[str, float]]:
    """Radii in mm and the volumes in ml that they give, by muscle."""
    z, y, x = (np.arange(a, b, STEP_MM) for a, b in ((-445.0, 285.0), (-130.0, 140.0), (-190.0, 1.0)))
    builder = Builder(standard_person(), z, y, x)
    anatomy = builder.build(with_muscles=False)
    # What is neither bone, organ nor outside may be muscle.
    free = np.isin(anatomy.fine_zyx, (50, 52, 53)) & (anatomy.segments_zyx == 0)
    fascia = builder.refiner.refine(body.fascia(builder.frames, builder.person), builder.whole)
    free &= fascia < 0
    points = builder.frames.soft[0]
    fields = {}
    for name in muscles.PATHS:
        lines, ones = tube_bundle(name, 1.0)
        everything = np.concatenate(lines)
        box = box_of(points, everything.min(0) - LARGEST_MM, everything.max(0) + LARGEST_MM)
        if box is None:
            raise ValueError(f"the path of {name} lies outside the grid")
        fine = builder.refiner.fine_box(box)
        ratio = builder.refiner.refine(bundle_ratio(at(points, box), lines, ones), box)
        mine = free[fine]
        fields[name] = (fine, ratio, mine)
    radii = {name: 14.0 for name in fields}
    volumes: dict[str, float] = {}
    voxel_ml = STEP_MM**3 / 1000
    for _ in range(iterations):
        best = np.minimum(builder.best, 1.0)
        owner = np.zeros(best.shape, dtype=np.int16)
        for i, (name, (fine, ratio, mine)) in enumerate(fields.items(), start=1):
            scaled = ratio / np.float32(radii[name])
            wins = (scaled < best[fine]) & mine
            best[fine][wins] = scaled[wins]
            owner[fine][wins] = i
        counts = np.bincount(owner.ravel(), minlength=len(fields) + 1)
        for i, name in enumerate(fields, start=1):
            volumes[name] = float(counts[i] * voxel_ml)
            target = muscles.VOLUME_ML[name] * muscles.SHARE_OF_YOUNG
            factor = np.clip((target / max(volumes[name], 1e-3)) ** 0.3, 0.85, 1.18)
            radii[name] = float(min(radii[name] * factor, LARGEST_MM))
    return radii, volumes


def main() -> None:
    """Rewrite the radii and print what volumes they give."""
    radii, volumes = tuned_radii()
    text = json.dumps({name: round(r, 2) for name, r in radii.items()}, indent=2)
    muscles.RADII_FILE.write_text(text + "\n", encoding="utf-8")
    for name, volume in volumes.items():
        target = muscles.VOLUME_ML[name] * muscles.SHARE_OF_YOUNG
        print(f"{name:42s} r {radii[name]:5.1f} mm  {volume:6.0f} ml  target {target:6.0f} ml")  # noqa: T201


if __name__ == "__main__":
    main()
