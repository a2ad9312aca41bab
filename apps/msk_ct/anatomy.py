"""From a person to labels on the grid of a CT: every structure's field, and who owns a voxel.

All fields are made on a working grid of a few millimetres in the person's pose, box by box,
and brought to the CT's grid before any decision is taken, so edges are as fine as the CT's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.msk_ct import body, muscles
from apps.msk_ct.population import Person
from apps.msk_ct.structures import SEGMENTS, Side, segment_number
from operators.phantom import bones
from operators.phantom.fields import (
    FAR_MM,
    Axis,
    Field,
    Path3,
    Points,
    Refiner,
    Slices,
    at,
    box_of,
    distance_ratio,
    distance_to_path,
    ellipsoid,
)

WORKING_MM = 2.8
SIDES = (Side.RIGHT, Side.LEFT)

OTHER: dict[str, int] = {
    "fat": 50,
    "skin": 51,
    "muscle_other": 52,
    "mesentery": 53,
    "bowel": 54,
    "bowel_gas": 55,
    "bowel_contents": 56,
    "bladder": 57,
    "prostate_or_uterus": 58,
    "rectum": 59,
    "vessel": 60,
    "kidney": 61,
    "liver": 62,
    "nerve": 63,
    "genitals": 64,
    "table": 65,
    "arm": 66,
    "cloth": 67,
    "cartilage": 68,
    "cortical_bone": 70,
    "spongy_bone": 71,
    "marrow": 72,
    "vertebra": 73,
    "rib": 74,
    "patella": 75,
    "tibia": 76,
    "fibula": 77,
    "arm_bone": 78,
    "disc": 79,
    "spinal_canal": 80,
    "metal": 81,
}
"""Values of `anatomy.nii.gz` beside 0 (air) and the muscles' segment numbers."""

MEDIAN_GAP = 0.075
"""Difference of the two least distance ratios below which a voxel lies in the plane between muscles."""


@dataclass
class Anatomy:
    """What is where, on the CT's grid.

    Args:
        segments_zyx: uint8, 0 to 43.
        fine_zyx: uint8, values of `OTHER` and segment numbers of muscles; bone as its parts.
        plane_zyx: float32 0..1, how much a muscle voxel lies in an intermuscular plane.
        bone_depth_zyx: float32, mm inside the nearest bone, 0 elsewhere.
        cortex_zyx: float32, mm of cortex at a bone voxel.
        skin_zyx: float32, signed distance to the skin, mm.
    """

    segments_zyx: NDArray[np.uint8]
    fine_zyx: NDArray[np.uint8]
    plane_zyx: Field
    bone_depth_zyx: Field
    cortex_zyx: Field
    skin_zyx: Field


class Builder:
    """Builds the anatomy of one person on one CT grid."""

    def __init__(
        self,
        person: Person,
        z: NDArray[np.float64],
        y: NDArray[np.float64],
        x: NDArray[np.float64],
        *,
        working_mm: float = WORKING_MM,
    ) -> None:
        """Prepare the working grid around ascending CT positions, LPS mm."""
        self.person = person
        starts, counts, axes = [], [], []
        for fine in (z, y, x):
            start = float(fine[0]) - 2 * working_mm
            n = int(np.ceil((float(fine[-1]) - start) / working_mm)) + 3
            starts.append(start)
            counts.append(n)
            axes.append(Axis.between(start, working_mm, n, fine))
        self.refiner = Refiner((axes[0], axes[1], axes[2]))
        grid = [
            np.float32(s) + np.arange(n, dtype=np.float32) * np.float32(working_mm)
            for s, n in zip(starts, counts, strict=True)
        ]
        self.whole: Slices = (slice(0, counts[0]), slice(0, counts[1]), slice(0, counts[2]))
        self.shape = (z.size, y.size, x.size)
        self.frames = body.frames_of(person, grid[0], grid[1], grid[2])
        self.best = np.ones(self.shape, dtype=np.float32)
        self.second = np.full(self.shape, 2.0, dtype=np.float32)
        self.owner = np.zeros(self.shape, dtype=np.uint8)

    def build(self, *, with_muscles: bool = True) -> Anatomy:
        """Everything, in the order in which it overrides; without muscles to measure their room."""
        person, frames = self.person, self.frames
        fascia = body.fascia(frames, person)
        skin = fascia - body.fat_mm(frames, person)
        hollow = body.cavity(frames, fascia, person)
        fine_fascia = self.refiner.refine(fascia, self.whole)
        fine_skin = self.refiner.refine(skin, self.whole)
        if with_muscles:
            self._muscles()
        self._competitors(fascia, hollow)
        inside = fine_fascia < 0
        owner = np.where(inside, self.owner, 0)
        plane = np.clip(1 - (self.second - self.best) / MEDIAN_GAP, 0, 1)
        segments = np.where(owner <= 43, owner, 0).astype(np.uint8)
        fine = np.zeros(self.shape, dtype=np.uint8)
        fine[fine_skin < 0] = OTHER["fat"]
        fine[(fine_skin < 0) & (fine_skin > -2.2)] = OTHER["skin"]
        painted = (owner > 0) & (fine_skin < -2.2)
        fine[painted] = owner[painted]
        segments[~painted] = 0
        del inside, fine_fascia
        anatomy = Anatomy(
            segments,
            fine,
            plane,
            np.zeros(self.shape, np.float32),
            np.zeros(self.shape, np.float32),
            fine_skin,
        )
        self._organs(anatomy)
        self._bones(anatomy)
        return anatomy

    # -------------------------------------------------------------- muscles

    def _muscles(self) -> None:
        radii = muscles.standard_radii_mm()
        scale = float(np.sqrt(self.person.muscle))
        for side, points in zip(SIDES, self.frames.soft, strict=True):
            for name, standard in radii.items():
                number = segment_number(name, side)
                own = standard * scale * float(np.sqrt(1 - self.person.atrophy.get(number, 0.0)))
                self._compete(points, number, *tube_bundle(name, own))

    def _compete(
        self, points: Points, value: int, lines: list[NDArray[np.float32]], radii: list[NDArray[np.float32]]
    ) -> None:
        margin = max(float(r.max()) for r in radii)
        everything = np.concatenate(lines)
        box = box_of(points, everything.min(0) - margin, everything.max(0) + margin)
        if box is None:
            return
        ratio = bundle_ratio(at(points, box), lines, radii)
        self._offer(box, ratio, value)

    def _offer(self, box: Slices, ratio: Field, value: int) -> None:
        """Lets a field of distance ratios compete for the voxels of a box."""
        fine = self.refiner.fine_box(box)
        if any(s.start >= s.stop for s in fine):
            return
        ratio = self.refiner.refine(ratio, box)
        best, second = self.best[fine], self.second[fine]
        wins = ratio < best
        np.copyto(second, np.minimum(second, np.maximum(ratio, best)))
        np.copyto(best, ratio, where=wins)
        np.copyto(self.owner[fine], np.uint8(value), where=wins)

    def _competitors(self, fascia: Field, hollow: Field) -> None:
        """Soft tissue that is no labelled muscle."""
        x, p, s = self.frames.trunk
        wall = self.person.wall_mm
        line = np.float32(70) * (np.float32(65 - bones.MIDLINE_MM) + np.abs(x)) / 106 + np.float32(4)
        lateral = np.clip(np.abs(x) - 118, 0, None)
        over_crest = s > np.where(np.abs(x) > 118, 92 + 0.4 * lateral + np.clip(p + 20, 0, 40) * 0.5, line)
        front = p < np.where(s > 118, 62, np.where(s > 60, -18 - np.clip(100 - s, 0, 40) * 0.6, -40))
        shell = np.abs(fascia + np.float32(wall / 2)) / np.float32(wall * 0.56)
        shell = np.where(over_crest & front, shell, 9).astype(np.float32)
        # The rectus stays beside the white line.
        shell += np.where((np.abs(x) < 4) & (p < 0), 1.0, 0).astype(np.float32)
        self._offer(self.whole, shell, OTHER["muscle_other"])
        self._offer(self.whole, np.maximum(1 + hollow / np.float32(14), 0.3), OTHER["mesentery"])
        mirrored = (np.abs(x), p, s)
        # The pelvic floor and the walls that hang from it.
        for path, radii in (
            ([(36, 76, 70), (38, 72, 110), (42, 64, 170), (40, 60, 330)], [7, 24, 27, 27]),
            ([(18, 76, 110), (16, 66, 170), (16, 62, 330)], [12, 16, 15]),
            ([(72, 40, 122), (62, 34, 180), (54, 30, 250)], [13, 17, 13]),
            ([(12, -30, -38), (15, 12, -44), (13, 42, -46), (4, 62, -30)], [5, 6, 7, 8]),
        ):
            self._tube(mirrored, path, radii, OTHER["muscle_other"])
        for points in self.frames.soft:
            for path, radii in (
                ([(26, 26, -380), (20, 40, -410), (18, 42, -480), (16, 40, -560)], [7, 15, 19, 20]),
                ([(-22, 26, -380), (-18, 40, -410), (-16, 42, -480), (-14, 40, -560)], [7, 14, 18, 20]),
                ([(-30, -8, -450), (-24, -8, -560)], [10, 16]),
                ([(4, 24, -440), (4, 28, -560)], [8, 16]),
                ([(22, 50, -10), (34, 40, -4)], [5, 5]),
            ):
                self._tube(points, path, radii, OTHER["muscle_other"])

    def _tube(self, points: Points, path: Path3, radii: Sequence[float], value: int) -> None:
        self._compete(
            points, value, [np.asarray(path, dtype=np.float32)], [np.asarray(radii, dtype=np.float32)]
        )

    # -------------------------------------------------------------- organs

    def _paint(
        self,
        anatomy: Anatomy,
        box: Slices | None,
        distance: Field | None,
        value: int,
        over: NDArray[np.bool_] | None = None,
    ) -> None:
        """Gives the voxels inside a field to an organ."""
        if box is None or distance is None:
            return
        fine = self.refiner.fine_box(box)
        if any(s.start >= s.stop for s in fine):
            return
        inside = self.refiner.refine(distance, box) < 0
        part = anatomy.fine_zyx[fine]
        inside &= (part != 0) & (part != OTHER["skin"])
        if over is not None:
            inside &= over[fine]
        part[inside] = value
        anatomy.segments_zyx[fine][inside] = 0

    def _paint_tube(
        self,
        anatomy: Anatomy,
        points: Points,
        path: Path3,
        radii: Sequence[float],
        value: int,
        over: NDArray[np.bool_] | None = None,
    ) -> None:
        a, m = np.asarray(path), max(radii)
        box = box_of(points, a.min(0) - m, a.max(0) + m)
        if box is not None:
            self._paint(anatomy, box, distance_to_path(at(points, box), path, radii), value, over)

    def _organs(self, anatomy: Anatomy) -> None:
        rng = np.random.default_rng([self.person.tissue_seed, 1])
        trunk = self.frames.trunk
        cave = anatomy.fine_zyx == OTHER["mesentery"]
        self._bowel(anatomy, rng, cave)
        j = lambda sd: float(rng.normal(0, sd))  # noqa: E731 - a name for a frequent draw
        size = float(rng.uniform(0.55, 1.25))
        blob = (58.0 * size, 40.0 * size, 46.0 * size)
        centre = (j(4), -26 + 14 * size + j(3), 2 + 34 * size)
        box = box_of(
            trunk,
            [c - r for c, r in zip(centre, blob, strict=True)],
            [c + r for c, r in zip(centre, blob, strict=True)],
        )
        if box is not None:
            self._paint(anatomy, box, ellipsoid(at(trunk, box), centre, blob, 2.3), OTHER["bladder"], cave)
        female = self.person.sex == "F"
        middle = (j(4), 18 + j(3), 44 + j(8)) if female else (0.0, 8 + j(3), -16.0)
        radii = (27 + j(4), 20 + j(2), 33 + j(4)) if female else (22 + j(2), 17 + j(2), 19 + j(2))
        box = box_of(trunk, [c - 45 for c in middle], [c + 45 for c in middle])
        if box is not None:
            self._paint(
                anatomy,
                box,
                ellipsoid(at(trunk, box), middle, radii),
                OTHER["prostate_or_uterus"],
                cave,
            )
        wide = float(rng.uniform(10, 19))
        path = [
            (j(3), 56, 96),
            (j(5), 66, 62),
            (j(3), 66, 24),
            (0.0, 56, -12),
            (0.0, 44, -40),
            (0.0, 56, -66),
        ]
        radii_r = [wide, wide, wide * 1.1, wide, 10.0, 7.0]
        self._paint_tube(anatomy, trunk, path, radii_r, OTHER["rectum"], None)
        inner = OTHER["bowel_gas"] if rng.random() < 0.4 else OTHER["bowel_contents"]
        self._paint_tube(anatomy, trunk, path[:-2], [r - 4 for r in radii_r[:-2]], inner, None)
        both = (np.abs(trunk[0]), trunk[1], trunk[2])
        self._paint_tube(
            anatomy, both, [(58, 42, 205), (54, 32, 262), (50, 36, 290)], [22, 27, 22], OTHER["kidney"]
        )
        box = box_of(trunk, (-170, -120, 205), (60, 100, 400))
        if box is not None:
            liver = ellipsoid(at(trunk, box), (-75, -10, 310), (92, 90, 92), 2.4)
            self._paint(anatomy, box, liver, OTHER["liver"], cave)
        self._vessels(anatomy)
        if self.person.sex == "M":
            box = box_of(trunk, (-40, -130, -110), (40, -20, 0))
            if box is not None:
                spot = at(trunk, box)
                testes = ellipsoid((np.abs(spot[0]), spot[1], spot[2]), (17, -58, -86), (17, 17, 22))
                self._paint(anatomy, box, testes, OTHER["genitals"])
                self._paint_tube(
                    anatomy,
                    trunk,
                    [(0.0, -20, -44), (0.0, -62, -44), (0.0, -84, -62)],
                    [11, 12, 12],
                    OTHER["genitals"],
                )

    def _bowel(self, anatomy: Anatomy, rng: np.random.Generator, cave: NDArray[np.bool_]) -> None:
        trunk = self.frames.trunk
        box = box_of(trunk, (-150, -160, 10), (150, 90, 400))
        if box is None:
            return
        shape = tuple(s.stop - s.start for s in box)
        loops = body.smooth_noise(rng, (shape[0], shape[1], shape[2]), (3.2, 3.2, 3.2))
        filled = body.smooth_noise(rng, (shape[0], shape[1], shape[2]), (5.0, 5.0, 5.0))
        share = float(rng.uniform(-0.2, 0.95))
        height = trunk[2][box]
        # Loops fill the upper pelvis and the abdomen, not the space beside the rectum.
        low = np.clip((40 - height) / 25, 0, 3) + np.clip(trunk[1][box] / 30 - 1.2, 0, 3)
        here = share - (np.abs(loops) * 1.0) + 0.35 - low
        self._paint(anatomy, box, np.asarray(-here, dtype=np.float32), OTHER["bowel"], cave)
        bowel = anatomy.fine_zyx == OTHER["bowel"]
        inner = here - 0.28
        self._paint(
            anatomy,
            box,
            np.asarray(-np.minimum(inner, filled - 0.6), dtype=np.float32),
            OTHER["bowel_contents"],
            bowel,
        )
        self._paint(
            anatomy,
            box,
            np.asarray(-np.minimum(inner, -filled - float(rng.uniform(0.9, 1.8))), dtype=np.float32),
            OTHER["bowel_gas"],
            bowel,
        )
        for side in (-1.0, 1.0):
            out, wide = float(rng.uniform(84, 104)), float(rng.uniform(14, 27))
            path = [
                (side * (out - 18), -50.0, 70.0),
                (side * out, -30.0, 120.0),
                (side * out, 2.0, 200.0),
                (side * out, 0.0, 330.0),
            ]
            if side > 0:
                path = [(20.0, 20.0, 78.0), (48.0, -30.0, 66.0), *path]
                wide *= 0.75
            radii = [wide] * len(path)
            self._paint_tube(anatomy, trunk, path, radii, OTHER["bowel"], cave)
            inside = OTHER["bowel_contents"] if rng.random() < 0.6 else OTHER["bowel_gas"]
            self._paint_tube(anatomy, trunk, path, [r - 3.0 for r in radii], inside, cave)

    def _vessels(self, anatomy: Anatomy) -> None:
        trunk = self.frames.trunk
        both = (np.abs(trunk[0]), trunk[1], trunk[2])
        fine = OTHER["vessel"]
        self._paint_tube(
            anatomy, trunk, [(8.0, -6.0, 330), (6.0, -16, 200), (2.0, -14.0, 150)], [9, 9, 8], fine
        )
        self._paint_tube(
            anatomy, trunk, [(-14.0, -4.0, 330), (-14.0, -12, 200), (-8.0, -6.0, 135)], [10, 10, 10], fine
        )
        self._paint_tube(
            anatomy,
            both,
            [(3, -14, 150), (30, -12, 105), (48, -18, 70), (58, -34, 40), (66, -52, 14)],
            [6, 5, 5, 5, 5],
            fine,
        )
        self._paint_tube(
            anatomy,
            both,
            [(4, -2, 138), (34, 0, 100), (50, -6, 68), (54, -26, 38), (58, -50, 12)],
            [7, 6.5, 6.5, 6.5, 6.5],
            fine,
        )
        self._paint_tube(anatomy, both, [(40, 6, 92), (46, 40, 56), (40, 52, 20)], [4, 3.5, 2.5], fine)
        for points in self.frames.soft:
            self._paint_tube(
                anatomy,
                points,
                [
                    (17, -53, 12),
                    (12, -54, -50),
                    (22, -38, -150),
                    (28, -16, -230),
                    (18, 14, -310),
                    (6, 32, -380),
                    (2, 34, -460),
                ],
                [4.8, 4.6, 4, 3.8, 3.8, 3.6, 3.4],
                fine,
            )
            self._paint_tube(
                anatomy,
                points,
                [
                    (26, -50, 10),
                    (22, -50, -40),
                    (24, -30, -150),
                    (26, -9, -230),
                    (12, 20, -310),
                    (0, 38, -380),
                    (-2, 40, -460),
                ],
                [6, 5.5, 4.6, 4.4, 4.4, 4, 4],
                fine,
            )
            self._paint_tube(
                anatomy,
                points,
                [(40, -62, -10), (50, -58, -120), (60, -20, -280), (56, 20, -420)],
                [2.2] * 4,
                fine,
            )
            self._paint_tube(
                anatomy,
                points,
                [(36, 62, 30), (4, 52, -20), (-4, 46, -80), (-4, 42, -200), (-2, 46, -330), (-4, 46, -430)],
                [5, 5.5, 5, 4.5, 4, 3.5],
                OTHER["nerve"],
            )

    # -------------------------------------------------------------- bones

    def _bones(self, anatomy: Anatomy) -> None:
        ilium: list[tuple[Slices, Field] | None] = [self._hip_bone(anatomy, i) for i in range(2)]
        self._sacrum(anatomy, ilium)
        for i in range(2):
            self._femur(anatomy, i)
        self._spine(anatomy)
        self._ribs(anatomy)
        for i in range(2):
            self._knee(anatomy, i)

    def _fill(
        self, anatomy: Anatomy, box: Slices, distance: Field, number: int, value: int, cortex: Field | float
    ) -> None:
        """Writes a bone: `distance` is on the fine voxels of the box."""
        fine = box
        inside = (distance < 0) & (anatomy.skin_zyx[fine] < -2)
        anatomy.segments_zyx[fine][inside] = number
        anatomy.fine_zyx[fine][inside] = value
        anatomy.bone_depth_zyx[fine][inside] = -distance[inside]
        anatomy.cortex_zyx[fine][inside] = cortex[inside] if isinstance(cortex, np.ndarray) else cortex

    def _hip_bone(self, anatomy: Anatomy, i: int) -> tuple[Slices, Field] | None:
        points, shape = self.frames.pelvis[i], self.person.bones[i]
        box = box_of(points, (-75, -75, -85), (95, 95, 145))
        if box is None:
            return None
        fine = self.refiner.fine_box(box)
        if any(s.start >= s.stop for s in fine):
            return None
        spot = at(points, box)
        signed, half, outline = (self.refiner.refine(f, box) for f in bones.wing_fields(spot, shape))
        below = self.refiner.refine(bones.hip_bone_below(spot, shape), box)
        joint = shape.head_mm + shape.joint_space_mm
        ball = self.refiner.refine(ellipsoid(spot, (0, 0, 0), (joint,) * 3), box)
        midline = self.refiner.refine(spot[0] - np.float32(bones.MIDLINE_MM), box)
        distance = bones.hip_bone(below, bones.wing(signed, half, outline), ball, midline)
        cortex = self.person.cortex * np.clip(np.float32(1.25) + (half < 4) * np.float32(0.1), 0.9, 2.2)
        self._fill(
            anatomy,
            fine,
            distance,
            segment_number("pelvis", SIDES[i]),
            OTHER["spongy_bone"],
            cortex.astype(np.float32),
        )
        near = (ball < 0.5) & (distance > 0) & (anatomy.fine_zyx[fine] > 0)
        anatomy.fine_zyx[fine][near] = OTHER["cartilage"]
        anatomy.segments_zyx[fine][near] = 0
        return fine, distance

    def _sacrum(self, anatomy: Anatomy, ilium: list[tuple[Slices, Field] | None]) -> None:
        points = self.frames.trunk
        box = box_of(points, (-72, 0, -40), (72, 125, 130))
        if box is None:
            return
        fine = self.refiner.fine_box(box)
        if any(s.start >= s.stop for s in fine):
            return
        distance = self.refiner.refine(bones.sacrum(at(points, box), self.person.bones[0]), box)
        for part in ilium:
            if part is None:
                continue
            where, other = part
            shared = tuple(
                slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(fine, where, strict=True)
            )
            if any(s.start >= s.stop for s in shared):
                continue
            mine = tuple(
                slice(s.start - f.start, s.stop - f.start) for s, f in zip(shared, fine, strict=True)
            )
            theirs = tuple(
                slice(s.start - f.start, s.stop - f.start) for s, f in zip(shared, where, strict=True)
            )
            distance[mine] = np.maximum(distance[mine], np.float32(2.4) - other[theirs])
        self._fill(
            anatomy, fine, distance, segment_number("sacrum"), OTHER["spongy_bone"], 1.1 * self.person.cortex
        )

    def _femur(self, anatomy: Anatomy, i: int) -> None:
        points, shape = self.frames.femur[i], self.person.bones[i]
        box = box_of(points, (-80, -45, -425), (55, 55, 34))
        if box is None:
            return
        fine = self.refiner.fine_box(box)
        if any(s.start >= s.stop for s in fine):
            return
        spot = at(points, box)
        distance = self.refiner.refine(bones.femur(spot, shape), box)
        cortex = self.refiner.refine(bones.femur_cortex_mm(spot, self.person.cortex), box)
        self._fill(anatomy, fine, distance, segment_number("femur", SIDES[i]), OTHER["spongy_bone"], cortex)
        height = self.refiner.refine(np.ascontiguousarray(spot[2]), box)
        # Spongy bone thins out into marrow over some centimetres: voxels of both, mixed.
        rng = np.random.default_rng([self.person.tissue_seed, 4, i])
        mixed = rng.random(distance.shape, dtype=np.float32) * 32
        hollow = (distance < -cortex - 0.5) & (height < -62 - mixed) & (height > -340 + mixed)
        anatomy.fine_zyx[fine][hollow] = OTHER["marrow"]
        if self.person.implant is SIDES[i]:
            nail = [(-30, 9, 0), (-42, 8, -60), (-37, -1, -110), (-31, -6, -170)]
            screw = [(-62, 18, -52), (-3, 1, -4)]
            metal = np.minimum(
                distance_to_path(spot, nail, [6, 7, 5.5, 5]), distance_to_path(spot, screw, [5, 5])
            )
            inside = (self.refiner.refine(metal, box) < 0) & (
                anatomy.segments_zyx[fine] == segment_number("femur", SIDES[i])
            )
            anatomy.fine_zyx[fine][inside] = OTHER["metal"]

    def _spine(self, anatomy: Anatomy) -> None:
        points = self.frames.trunk
        for index, (height, back, _, _) in enumerate(bones.LUMBAR):
            box = box_of(points, (-50, back - 30, height - 32), (50, back + 80, height + 32))
            if box is None:
                continue
            fine = self.refiner.fine_box(box)
            if any(s.start >= s.stop for s in fine):
                continue
            spot = at(points, box)
            disc = ellipsoid(spot, (0, back + 1, height - 17.5), (24, 16, 8), 3.0)
            self._paint(anatomy, box, disc, OTHER["disc"])
            distance, canal = (self.refiner.refine(f, box) for f in bones.vertebra(spot, index))
            inside = (canal < 0) & (anatomy.fine_zyx[fine] > 0) & (anatomy.segments_zyx[fine] == 0)
            anatomy.fine_zyx[fine][inside] = OTHER["spinal_canal"]
            free = np.where(anatomy.segments_zyx[fine] == segment_number("sacrum"), 9.0, distance).astype(
                np.float32
            )
            self._fill(anatomy, fine, free, 0, OTHER["vertebra"], 0.9 * self.person.cortex)

    def _ribs(self, anatomy: Anatomy) -> None:
        x, p, s = self.frames.trunk
        both = (np.abs(x), p, s)
        for top in (300, 334, 368):
            path = [
                (24, 46, top + 6),
                (70, 80, top - 8),
                (112, 56, top - 34),
                (128, 10, top - 58),
                (122, -40, top - 74),
            ]
            path = path[:3] if top == 300 else path
            a = np.asarray(path)
            box = box_of(both, a.min(0) - 9, a.max(0) + 9)
            if box is None:
                continue
            fine = self.refiner.fine_box(box)
            if any(v.start >= v.stop for v in fine):
                continue
            distance = self.refiner.refine(distance_to_path(at(both, box), path, [5.5] * len(path)), box)
            self._fill(anatomy, fine, distance, 0, OTHER["rib"], 1.1)

    def _knee(self, anatomy: Anatomy, i: int) -> None:
        points = self.frames.femur[i]
        box = box_of(points, (-55, -70, -620), (55, 60, -355))
        if box is None:
            return
        fine = self.refiner.fine_box(box)
        if any(v.start >= v.stop for v in fine):
            return
        for name, field in bones.knee_neighbours(at(points, box)).items():
            distance = self.refiner.refine(field, box)
            distance = np.where(anatomy.bone_depth_zyx[fine] > 0, 9.0, distance).astype(np.float32)
            self._fill(anatomy, fine, distance, 0, OTHER[name], 1.6 if name != "tibia" else 1.8)


def tube_bundle(name: str, radius_mm: float) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Lines of a muscle with their radii at each point, mm, right side coordinates."""
    lines = muscles.lines_of(name)
    return lines, [muscles.spindle(len(line)) * np.float32(radius_mm) for line in lines]


def bundle_ratio(points: Points, lines: list[NDArray[np.float32]], radii: list[NDArray[np.float32]]) -> Field:
    """Least distance over radius to any of the lines."""
    best = np.full(points[0].shape, FAR_MM, dtype=np.float32)
    for line, radius in zip(lines, radii, strict=True):
        np.minimum(best, distance_ratio(points, line, radius), out=best)
    return best


def names_of_values() -> dict[str, str]:
    """What each value of the fine labels means, by value as text; muscles by segment name."""
    out = {"0": "air"}
    out |= {str(s.number): s.name for s in SEGMENTS if not s.structure.is_bone}
    return out | {str(v): k for k, v in OTHER.items()}
