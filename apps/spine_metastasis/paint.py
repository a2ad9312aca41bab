"""Paints a patient onto a canvas: fat, organs, muscles, canal, discs, bones, lesions, in this order."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from apps.spine_metastasis.anatomy import Disc, Spine, Vertebra, canal_half_depth_mm
from apps.spine_metastasis.canvas import Canvas, Value, Volume, Window
from apps.spine_metastasis.lesions import Fracture, Kind
from apps.spine_metastasis.population import Person

Rng = np.random.Generator
Tissues = dict[str, tuple[float, float, float]]

CORTEX_MM = 0.9
_BAND_ROWS = 40
"""Boxes of this height follow the curve of the spine closely, and fit into the processor's cache."""
_COARSE_MM = 2.0
"""Grid on which the distance from the canal is measured."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Course:
    """The canal as a coordinate system of the sagittal plane, each ``(1, row, column)`` float32.

    Args:
        along: Length of the canal from its upper end, mm.
        behind: Distance from its middle, positive behind, mm.
        body_depth: Of the vertebrae at this length, mm.
        half_depth: Half the canal's own.
        back_y: ``(1, row, 1)`` y of the fascia of the back.
        skin_y: ``(1, row, 1)`` y of the skin.
        from_level: Part of the way from the middle of one body to that of the next, 0..1.
        at: Length of the canal beside the middle of each level.
        bend_x: ``(1, row, 1)`` x of the spine's middle.
    """

    along: Volume
    behind: Volume
    body_depth: Volume
    half_depth: Volume
    back_y: Volume
    skin_y: Volume
    from_level: Volume
    at: dict[str, float]
    bend_x: Volume

    def bands(
        self, canvas: Canvas, nearest_mm: float, farthest_mm: float, half_x_mm: float = 1e3
    ) -> Iterator[tuple[Window, Course]]:
        """Boxes of a few rows that together hold what lies beside the canal, with this course in each.

        Args:
            canvas: The course is of.
            nearest_mm: Least distance behind the canal, negative in front of it.
            farthest_mm: Greatest.
            half_x_mm: To each side of the spine's middle.
        """
        for start in range(0, canvas.shape[1], _BAND_ROWS):
            rows = slice(start, start + _BAND_ROWS)
            behind = self.behind[0, rows]
            columns = np.flatnonzero(((behind > nearest_mm) & (behind < farthest_mm)).any(axis=0))
            planes = np.flatnonzero(np.abs(canvas.x_mm - self.bend_x[0, rows].mean()) < half_x_mm)
            if columns.size and planes.size:
                box = slice(int(columns[0]), int(columns[-1]) + 1)
                window = Window(slice(int(planes[0]), int(planes[-1]) + 1), rows, box)
                yield window, self._cut(rows, box)

    def _cut(self, rows: slice, columns: slice) -> Course:
        of_rows = {name: getattr(self, name)[:, rows] for name in ("back_y", "skin_y", "bend_x")}
        of_plane = {
            name: getattr(self, name)[:, rows, columns]
            for name in ("along", "behind", "body_depth", "half_depth", "from_level")
        }
        return replace(self, **of_rows, **of_plane)


def paint_patient(canvas: Canvas, person: Person, spine: Spine, tissues: Tissues, rng: Rng) -> Volume:
    """Everything that is in the picture; gives y of the skin of the back for each row."""
    course = _course(canvas, person, spine)
    _paint_trunk(canvas, person, course, tissues, rng)
    for window, part in course.bands(canvas, -75, 85):
        _paint_muscles(canvas, window, person, part, tissues)
    vessels = _draw_vessels(rng)
    for window, part in course.bands(canvas, -110, -12):
        _paint_vessels(canvas, window, vessels, part, tissues)
    for window, part in course.bands(canvas, -18, 18, 20):
        _paint_canal(canvas, window, part, tissues)
    for disc in spine.discs:
        _paint_disc(canvas, disc, tissues)
    modic = [0, *(disc.modic for disc in spine.discs)]
    for vertebra, above, below in zip(spine.vertebrae, modic, [*modic[1:], 0], strict=True):
        _Bone(canvas, vertebra, person, tissues, (above, below), rng).paint()
    return np.asarray(course.skin_y[0, :, 0])


def _course(canvas: Canvas, person: Person, spine: Spine) -> Course:
    line = spine.canal_yz()
    step = max(round(_COARSE_MM / canvas.pixel_mm), 1)
    z, y = np.meshgrid(canvas.z_mm[::step], canvas.y_mm[::step], indexing="ij")
    distance, nearest = cKDTree(line).query(np.stack([y, z], axis=-1))
    direction = np.gradient(line, axis=0)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    off = np.stack([y, z], axis=-1) - line[nearest]
    # The canal runs down: behind it is where the cross product is positive.
    behind = direction[nearest][..., 1] * -off[..., 0] + direction[nearest][..., 0] * off[..., 1]
    along = nearest + np.einsum("...i,...i", direction[nearest], off)
    rows, columns = canvas.shape[1:]
    source = np.meshgrid(
        np.arange(columns, dtype=np.float32) / step, np.arange(rows, dtype=np.float32) / step
    )
    enlarge = lambda field: cv2.remap(  # noqa: E731 - a name for a call
        np.asarray(field, dtype=np.float32),
        source[0],
        source[1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )[None]
    tree = cKDTree(line)
    at = {v.level: float(tree.query(v.centre_yz)[1]) for v in spine.vertebrae}
    places = np.array([at[v.level] for v in spine.vertebrae])
    along = np.clip(along, -20, len(line) + 20)
    signed = np.where(np.abs(behind) > 0, np.sign(behind), 1) * distance
    back, skin = _back(canvas, person, line, at)
    return Course(
        along=enlarge(along),
        behind=enlarge(signed),
        body_depth=enlarge(np.interp(along, places, [v.depth_mm for v in spine.vertebrae])),
        half_depth=enlarge(np.interp(along, places, [canal_half_depth_mm(v) for v in spine.vertebrae])),
        back_y=back[None, :, None],
        skin_y=skin[None, :, None],
        from_level=np.modf(enlarge(np.interp(along, places, np.arange(len(places)))))[0],
        at=at,
        bend_x=spine.posture.x_mm(canvas.z_mm.astype(float)).astype(np.float32)[None, :, None],
    )


def _back(
    canvas: Canvas, person: Person, line: NDArray[np.float64], at: dict[str, float]
) -> tuple[Volume, Volume]:
    """Y of fascia and skin for each row."""
    order = np.argsort(line[:, 1])
    lengths = np.interp(canvas.z_mm, line[order, 1], order.astype(float))
    canal_y = np.interp(canvas.z_mm, line[order, 1], line[order, 0])
    size = person.posture.size
    depth = np.interp(
        lengths,
        [at["T3"], at["T10"], at["L2"], at["L5"], at["S1"], at["S2"], at["S4"]],
        np.array([34.0, 38.0, 52.0, 50.0, 40.0, 27.0, 15.0]) * size,
    )
    fat = person.fat_mm * np.interp(lengths, [at["T8"], at["L2"], at["L5"], at["S2"]], [0.7, 0.9, 1.25, 1.35])
    smooth = lambda row, mm: cv2.GaussianBlur(  # noqa: E731 - a name for a call
        row.astype(np.float32)[None], (0, 0), mm / canvas.pixel_mm, borderType=cv2.BORDER_REPLICATE
    )[0]
    fascia = smooth(canal_y + depth, 14.0)
    return fascia, np.maximum(smooth(canal_y + depth + fat, 26.0), fascia + 4)


def _paint_trunk(canvas: Canvas, person: Person, course: Course, tissues: Tissues, rng: Rng) -> None:
    y = canvas.y_mm[None, None, :]
    z = canvas.z_mm[None, :, None]
    belly = 150 + 1.6 * (person.weight_kg - 55) + 12 * np.sin(z / 60 + float(rng.uniform(0, 6)))
    front = course.back_y - belly - 45
    inside = canvas.soft(np.minimum(course.skin_y - y, y - front))
    septa = 1 - 0.1 * np.clip(canvas.streaks - 1.0, 0, 1.5)
    water, fat, stir = tissues["fat"]
    canvas.paint(canvas.whole, inside, (water, fat * septa, stir))
    canvas.paint(canvas.whole, canvas.soft(1.3 - np.abs(course.skin_y - y - 1.3)), (0.35, 0.1, 0.3))
    before_spine = -course.behind - course.half_depth - course.body_depth
    wall = y - front - 0.8 * person.fat_mm - 6
    # Vessels and folds of the mesentery.
    strands = 0.75 * np.clip(canvas.coarse + 0.5 * canvas.fine - 0.5, 0, 1)
    belly_inside = canvas.soft(np.minimum(before_spine - 14, wall - 9))
    canvas.paint(canvas.whole, strands * belly_inside, (0.3, 0.02, 0.3))
    canvas.paint(canvas.whole, canvas.soft(np.minimum(wall, 9 - wall)), tissues["muscle"])
    dome = _height_of(canvas, course, "T11") + float(rng.normal(-5, 12))
    dome = dome + 42 * (1 - np.exp(-np.clip(before_spine, 0, 200) / 35)) + 3 * np.sin(y / 17)
    liver = np.minimum.reduce(
        np.broadcast_arrays(
            before_spine - 30 - 0.2 * (dome - z),
            dome - z,
            0.8 * (z - dome + float(rng.uniform(40, 80)) + 0.7 * before_spine),
            wall - 9,
        )
    )
    liver = liver + 1.5 * canvas.coarse
    rough = 1 + 0.05 * canvas.coarse + 0.04 * canvas.fine
    canvas.paint(
        canvas.whole,
        canvas.soft(liver),
        (float(rng.uniform(0.36, 0.5)) * rough, 0.02, float(rng.uniform(0.2, 0.4)) * rough),
    )
    _paint_organs(canvas, course, np.minimum(before_spine - 26, wall - 10), rng)
    # The lungs reach back beside the bodies.
    beside = np.minimum(np.abs(canvas.x_mm[:, None, None] - course.bend_x) - 21, -course.behind - 6)
    edge = np.maximum(before_spine - 5.0 + 2 * canvas.coarse, beside)
    lung = canvas.soft(np.minimum.reduce(np.broadcast_arrays(edge, (z - dome) * 0.7, wall - 9)))
    marks = np.clip(0.03 + 0.05 * np.clip(canvas.coarse - 0.8, 0, 2), 0, 1)
    canvas.paint(canvas.whole, lung, (marks, 0.0, 1.6 * marks))
    heart_y = float(np.median(course.back_y)) - float(rng.uniform(125, 150))
    heart_z = _height_of(canvas, course, "T8") + float(rng.normal(0, 10))
    heart_size = float(rng.uniform(36, 56))
    heart = canvas.window((heart_y, heart_z), 70.0, (-60, 60))
    if heart is not None:
        _, hy, hz = canvas.axes(heart)
        index = heart.index
        way = np.sqrt(((hy - heart_y) / heart_size) ** 2 + ((hz - heart_z) / 50) ** 2)
        way = way + 0.02 * canvas.coarse[index]
        canvas.paint(heart, canvas.soft((1 - way) * 48), (0.33, 0.1, 0.3))
        canvas.paint(heart, canvas.soft((0.8 - way) * 48), (0.12 + 0.06 * canvas.coarse[index], 0.0, 0.15))


def _height_of(canvas: Canvas, course: Course, level: str) -> float:
    """About the z of a level, also when it is outside of the picture."""
    on_line = np.abs(course.behind[0]) + np.abs(course.along[0] - course.at[level])
    row = int(np.argmin(on_line.min(axis=1)))
    missing = float(on_line.min())
    z = float(canvas.z_mm[row])
    if missing > 10:
        return z + (missing if row == 0 else -missing)
    return z


def _paint_organs(canvas: Canvas, course: Course, room: Volume, rng: Rng) -> None:
    """Loops of bowel and parts of solid organs, anywhere well in front of the spine."""
    z_low, z_high = float(canvas.z_mm[-1]), float(canvas.z_mm[0])
    spine_y = float(np.median(course.back_y)) - 100
    for _ in range(int(rng.integers(26, 44))):
        centre = (spine_y - float(rng.uniform(0, 110)), float(rng.uniform(z_low, z_high)))
        radius = rng.uniform(6, 24)
        stretch = rng.uniform(0.5, 1.6)
        angle = rng.uniform(0, np.pi)
        x0 = float(rng.uniform(-40, 40))
        window = canvas.window(centre, float(radius * 1.7), (x0 - radius, x0 + radius))
        water, stir, edge = rng.uniform(0.2, 0.5), rng.uniform(0.2, 0.75), rng.uniform(0.7, 1.2)
        if rng.random() < 0.2:
            water, stir = 0.03, 0.03
        if window is None:
            continue
        x, y, z = canvas.axes(window)
        dy, dz = y - centre[0], z - centre[1]
        a = dy * math.cos(angle) + dz * math.sin(angle)
        b = -dy * math.sin(angle) + dz * math.cos(angle)
        way = np.sqrt((a / radius / stretch) ** 2 + (b * stretch / radius) ** 2 + ((x - x0) / radius) ** 2)
        depth = (1 - way + 0.05 * canvas.coarse[window.index]) * radius * 0.7
        allowed = canvas.soft(room[:, window.rows, window.columns])
        noise = 1 + 0.12 * canvas.coarse[window.index] + 0.06 * canvas.fine[window.index]
        canvas.paint(window, canvas.soft(depth) * allowed, (0.35, 0.0, 0.35))
        canvas.paint(window, canvas.soft(depth - 1.8) * allowed, (water * noise * edge, 0.0, stir * noise))


def _paint_muscles(canvas: Canvas, window: Window, person: Person, course: Course, tissues: Tissues) -> None:
    x = canvas.axes(window)[0] - course.bend_x
    y = canvas.axes(window)[1]
    coarse, streaks = canvas.coarse[window.index], canvas.streaks[window.index]
    water, fat, stir = tissues["muscle"]
    fatty = np.clip(person.muscle_fat * (0.8 + 1.0 * coarse + 1.2 * streaks), 0, 0.9)
    value: Value = (water * (1 - fatty), fatty * tissues["fat"][1] + fat, stir * (1 - 0.6 * fatty))
    behind = np.minimum(course.behind - course.half_depth - 5 + 0.25 * np.abs(x), course.back_y - y)
    lumbar = 0.25 * (course.at["S4"] - course.along) - 0.5 * np.clip(course.behind - 12, 0, 60) * (
        course.along > course.at["S1"]
    )
    canvas.paint(window, canvas.soft(np.minimum(behind, lumbar)), value)
    midline = np.clip(1.35 - np.abs(x) / 3.5, 0, 0.85) * canvas.soft(behind)
    mixed = 0.5 + 0.5 * np.tanh(0.6 * coarse + 0.8 * streaks)
    canvas.paint(window, midline, (0.2, 0.08 + 0.3 * mixed, 0.16 + 0.08 * mixed))
    # The thoracolumbar fascia: a dark line under the skin's fat.
    canvas.paint(window, 0.8 * canvas.soft(0.9 - np.abs(y - course.back_y)), tissues["ligament"])
    psoas_at = -course.half_depth - course.body_depth * 0.55
    low = np.clip((course.along - course.at["T12"]) / 60, 0, 1) * np.clip(
        (course.at["S2"] - course.along) / 30, 0, 1
    )
    way = np.sqrt(
        ((course.behind - psoas_at + 12 * (low - 0.5)) / (19 * low + 0.1)) ** 2
        + ((np.abs(x) - 36) / (15 * low + 0.1)) ** 2
    )
    canvas.paint(window, canvas.soft((1 - way) * 15), (water * 1.02, 0.02, stir))


@dataclass(frozen=True, kw_only=True)
class _Vessels:
    """Where aorta and vena cava lie: radii, distances in front of the spine, to the left, and signal."""

    aorta_mm: float
    aorta_x_mm: float
    aorta_off_mm: float
    wave_rad: float
    vein_mm: float
    vein_x_mm: float
    vein_signal: float


def _draw_vessels(rng: Rng) -> _Vessels:
    return _Vessels(
        aorta_mm=float(rng.uniform(7.5, 11)),
        aorta_x_mm=float(rng.uniform(5, 17)),
        aorta_off_mm=float(rng.uniform(1, 6)),
        wave_rad=float(rng.uniform(0, 6)),
        vein_mm=float(rng.uniform(6, 11)),
        vein_x_mm=-float(rng.uniform(10, 20)),
        vein_signal=float(rng.uniform(0.06, 0.17)),
    )


def _paint_vessels(
    canvas: Canvas, window: Window, vessels: _Vessels, course: Course, tissues: Tissues
) -> None:
    x = canvas.axes(window)[0] - course.bend_x
    before = -course.behind - course.half_depth - course.body_depth
    aorta_x = vessels.aorta_x_mm + np.clip((course.at["T11"] - course.along) / 12, 0, 9)
    off = vessels.aorta_off_mm + 4 * np.sin(course.along / 45 + vessels.wave_rad)
    way = np.hypot(before - vessels.aorta_mm - off, x - aorta_x)
    # It ends where it divides, in front of L4.
    narrow = vessels.aorta_mm * np.clip((course.at["L4"] + 8 - course.along) / 30, 0, 1) ** 0.4
    tube = narrow - way - 2 * (narrow < 1)
    canvas.paint(window, canvas.soft(tube + 1.2), (0.3, 0.05, 0.3))
    flow = np.clip(0.05 + 0.03 * canvas.coarse[window.index], 0, 1)
    canvas.paint(window, canvas.soft(tube), (flow, 0.0, flow * 1.2))
    way = np.hypot((before - vessels.vein_mm - 2) / 0.8, x - vessels.vein_x_mm)
    narrow = vessels.vein_mm * np.clip((course.at["L5"] - course.along) / 25, 0, 1) ** 0.5
    tube = narrow - way - 2 * (narrow < 1)
    canvas.paint(window, canvas.soft(tube), (vessels.vein_signal, 0.0, vessels.vein_signal * 1.5))
    # The anterior longitudinal ligament.
    line = 0.6 * canvas.soft(0.8 - np.abs(before - 2.0)) * (np.abs(x) < 14)
    canvas.paint(window, line, tissues["ligament"])


def _paint_canal(canvas: Canvas, window: Window, course: Course, tissues: Tissues) -> None:
    x = canvas.axes(window)[0] - course.bend_x
    # Conus and roots lie towards the back of the sac when the patient is supine.
    half = course.half_depth
    sac_end = course.at["S2"]
    taper = np.clip((sac_end - course.along) / 25, 0, 1) ** 0.5
    # Fat fills the back of the canal between the laminae, and its front at the sacrum.
    between = np.sin(np.pi * np.clip(course.from_level, 0, 1)) ** 2
    low = np.clip((course.along - course.at["L4"]) / 50, 0, 1)
    room = half + np.where(course.behind > 0, 0.8 + 5.0 * between, 0.8 + 3.5 * low)
    wide = np.sqrt((course.behind / room) ** 2 + (x / (half + 6.5)) ** 2)
    canvas.paint(window, canvas.soft((1 - wide) * half), tissues["epidural_fat"])
    sac = np.sqrt(
        ((course.behind + 0.8) / (half * 0.86 * taper + 0.05)) ** 2 + (x / ((half + 2.0) * taper + 0.05)) ** 2
    )
    depth = (1 - sac) * half
    canvas.paint(window, canvas.soft(depth + 0.9), tissues["ligament"])
    water, fat, stir = tissues["csf"]
    flow = 1 - 0.1 * np.clip(canvas.coarse[window.index], 0, 2)
    canvas.paint(window, canvas.soft(depth), (water, fat, stir * flow))
    conus = course.at["L1"] + 4
    cord = np.clip((conus + 18 - course.along) / 26, 0, 1) ** 0.6
    lie = np.clip((course.along - course.at["T10"]) / 90, 0, 1) * 2.4
    way = np.sqrt(((course.behind - lie) / (3.7 * cord + 0.01)) ** 2 + (x / (4.9 * cord + 0.01)) ** 2)
    roots = np.clip((course.along - conus + 12) / 20, 0, 1)
    spread = np.clip((course.behind + 1.5 - 0.02 * (sac_end - course.along)) / 3.0, 0, 1)
    stripes = 0.5 + 0.5 * np.sin(course.behind * 2.6 + 1.7 * x + 0.03 * course.along)
    canvas.paint(window, 0.6 * roots * spread * stripes * canvas.soft(depth - 0.6), tissues["roots"])
    canvas.paint(window, canvas.soft((1 - way) * 3.7), tissues["cord"])


def _local(
    canvas: Canvas, window: Window, centre_yz: tuple[float, float], tilt_rad: float
) -> tuple[Volume, Volume]:
    """U and v of a box, ``(1, row, column)``."""
    _, y, z = canvas.axes(window)
    c, s = np.float32(math.cos(tilt_rad)), np.float32(math.sin(tilt_rad))
    dy, dz = y - np.float32(centre_yz[0]), z - np.float32(centre_yz[1])
    return c * dy + s * dz, -s * dy + c * dz


def _paint_disc(canvas: Canvas, disc: Disc, tissues: Tissues) -> None:
    half_x = disc.width_mm / 2
    window = canvas.window(disc.centre_yz, disc.depth_mm / 2 + 16, (disc.x_mm - half_x, disc.x_mm + half_x))
    if window is None:
        return
    x = canvas.axes(window)[0]
    u, v = _local(canvas, window, disc.centre_yz, disc.tilt_rad)
    w = x - np.float32(disc.x_mm)
    half_u = disc.depth_mm / 2 + 0.5
    rim = (np.abs(w) / (half_x + 0.5)) ** 2.6
    back = half_u + disc.bulge_mm * np.clip(1 - (w / 14) ** 2, 0, 1)
    reach = np.where(u > 0, back, half_u + 0.4 * disc.bulge_mm)
    radius = ((np.abs(u) / reach) ** 2.6 + rim) ** (1 / 2.6)
    radial = (1 - radius) * half_u
    half_v = disc.height_mm / 2 + (0.4 if disc.is_sacral else 7.0 * np.clip(radial / 8, 0, 1))
    depth = np.minimum(radial, half_v - np.abs(v))
    canvas.paint(window, canvas.soft(depth + 0.6), tissues["ligament"])
    nucleus = np.clip(radial / half_u * 2.2 - 0.45, 0, 1) * np.clip(
        1.1 - np.abs(v) / (disc.height_mm / 2 + 2.5), 0, 1
    )
    wet = 1 - disc.degeneration
    noise = 1 + 0.12 * canvas.fine[window.index] + 0.08 * canvas.coarse[window.index]
    cleft = 1 - 0.35 * wet * np.exp(-((v / 0.9) ** 2))
    stir = (0.08 + nucleus * (0.05 + 0.62 * wet**1.4) * cleft) * noise
    water = (
        tissues["disc"][0]
        * (0.72 + 0.25 * np.clip(radial / half_u * 3, 0, 1))
        * (1 - 0.12 * disc.degeneration)
    ) * noise
    canvas.paint(window, canvas.soft(depth), (water, 0.0, stir))


class _Bone:
    """Paints one vertebra with all that belongs to it."""

    def __init__(
        self,
        canvas: Canvas,
        vertebra: Vertebra,
        person: Person,
        tissues: Tissues,
        modic: tuple[int, int],
        rng: Rng,
    ) -> None:
        self.canvas, self.vertebra, self.tissues, self.modic = canvas, vertebra, tissues, modic
        fat = person.marrow_fat * float(rng.normal(1, 0.05))
        self.marrow_fat = float(np.clip(fat, 0.15, 0.85))
        self.patchiness = person.marrow_patchiness
        self.fat_of_old = float(rng.uniform(0.9, 1.25))
        self.spine_tilt, self.spine_x, self.spine_size = (
            float(v) for v in rng.normal((0, 0, 1), (0.12, 1.4, 0.1))
        )

    def paint(self) -> None:
        vertebra = self.vertebra
        if not vertebra.is_sacral:
            self._paint_arch()
        self._paint_body()
        if not vertebra.is_sacral:
            self._paint_pedicles(has_cortex=False)
        fracture = vertebra.fracture
        if fracture is not None and fracture.epidural_mm > 0:
            self._paint_epidural(fracture)

    def _marrow(self, window: Window) -> tuple[Volume, Volume, Volume]:
        coarse, fine = self.canvas.coarse[window.index], self.canvas.fine[window.index]
        fat = self.marrow_fat * (1 + self.patchiness * (1.5 * coarse + 0.7 * fine) + 0.03 * fine)
        fat = np.clip(fat, 0.05, 0.95)
        water, bright, stir = self.tissues["marrow"]
        return water * (1 - fat), bright * fat, stir * (1.25 - fat)

    def _lump(
        self,
        at_uvw: tuple[float, float, float],
        radii: tuple[float, float, float],
        slope: float = 0.0,
        *,
        lesion: float = 0.0,
        exponent: float = 2.6,
        has_cortex: bool = True,
    ) -> None:
        """A part of the arch: a rounded box with cortex and marrow, or with a lesion instead."""
        canvas, vertebra = self.canvas, self.vertebra
        place = vertebra.place(at_uvw[0], at_uvw[1])
        x0 = vertebra.x_mm + at_uvw[2]
        window = canvas.window(place, max(radii[:2]) * 1.45 + 2, (x0 - radii[2] - 1, x0 + radii[2] + 1))
        if window is None:
            return
        u, v = _local(canvas, window, place, vertebra.tilt_rad + slope)
        w = canvas.axes(window)[0] - np.float32(x0)
        way = (
            (np.abs(u) / radii[0]) ** exponent
            + (np.abs(v) / radii[1]) ** exponent
            + (np.abs(w) / radii[2]) ** exponent
        ) ** (1 / exponent)
        depth = (1 - way) * min(radii[:2])
        if has_cortex:
            canvas.paint(window, 0.85 * canvas.soft(depth), self.tissues["cortex"])
        water, fat, stir = self._marrow(window)
        fat = fat * (0.72 + 0.2 * np.clip(canvas.coarse[window.index], -1, 1))
        fracture = vertebra.fracture
        if lesion and fracture is not None:
            water = water * (1 - lesion) + lesion * fracture.t1.signal
            fat = fat * (1 - lesion)
            stir = stir * (1 - lesion) + lesion * fracture.stir.signal
        canvas.paint(window, canvas.soft(depth - 0.6), (water, fat, stir))

    def _paint_arch(self) -> None:
        vertebra = self.vertebra
        half_u, height = vertebra.depth_mm / 2, vertebra.height_mm
        size = vertebra.width_mm / 44
        is_thoracic = vertebra.is_thoracic
        apart = self._pedicle_x_mm
        canal = 2 * canal_half_depth_mm(vertebra)
        self._paint_pedicles(has_cortex=True)
        for side in (-1, 1):
            lesion = 0.5 * self._pedicle_lesion(side)
            superior = (half_u + canal - 2, 0.42 * height, side * (apart + 2))
            self._lump(superior, (5.0, 0.3 * height, 5.0 * size), -0.2, lesion=lesion)
            isthmus = (half_u + canal + 1, -0.05 * height, side * (apart + 1))
            self._lump(isthmus, (4.0, 0.35 * height, 4.6 * size), -0.25, lesion=lesion)
            inferior = (half_u + canal + 3, -0.5 * height, side * apart)
            self._lump(inferior, (5.0, 0.32 * height, 5.0 * size), -0.1)
            lamina = (half_u + canal + 3, -0.12 * height, side * apart * 0.5)
            self._lump(lamina, (3.6, 0.3 * height, apart * 0.6), -0.3)
        if is_thoracic:
            steep = -0.85 if vertebra.level in ("T5", "T6", "T7", "T8", "T9") else -0.55
            long = (19 * size + 4) * self.spine_size
            self._lump(
                (half_u + canal + 16, -0.62 * height, self.spine_x),
                (long, 4.6, 3.4),
                steep + self.spine_tilt,
                exponent=2.4,
            )
        else:
            long, high = 16.5 * size * self.spine_size, 0.33 * height * (2 - self.spine_size)
            if vertebra.level in ("L5", "L6"):
                long, high = 0.75 * long, 0.75 * high
            at = (half_u + canal + 3 + long, -0.32 * height, self.spine_x)
            self._lump(at, (long, high, 3.6), -0.18 + self.spine_tilt, exponent=2.3)
            self._lump(
                (at[0] + 0.45 * long, at[1] - 0.25 * high, at[2]),
                (0.55 * long, 0.95 * high, 3.8),
                self.spine_tilt,
                exponent=2.3,
            )
        # The nerve root and its vein in the fat below the pedicle.
        for side in (-1, 1):
            place = vertebra.place(half_u + 5, -0.32 * height)
            x0 = vertebra.x_mm + side * (apart + 1)
            window = self.canvas.window(place, 6.0, (x0 - 6, x0 + 6))
            if window is not None:
                u, v = _local(self.canvas, window, place, vertebra.tilt_rad)
                self.canvas.paint(window, self.canvas.soft(2.6 - np.hypot(u, v)), (0.4, 0.0, 0.33))

    @property
    def _pedicle_x_mm(self) -> float:
        return self.vertebra.width_mm * 0.295

    def _pedicle_lesion(self, side: int) -> float:
        """Part of a pedicle's marrow that is replaced."""
        fracture = self.vertebra.fracture
        if fracture is None or fracture.pedicle not in (side, 2):
            return 0.0
        return fracture.pedicle_signal

    def _paint_pedicles(self, *, has_cortex: bool) -> None:
        """Between body and arch; painted without cortex once more where they open into the body."""
        vertebra = self.vertebra
        fracture = vertebra.fracture
        for side in (-1, 1):
            lesion = self._pedicle_lesion(side)
            is_swollen = lesion and fracture is not None and fracture.kind is Kind.MALIGNANT
            thick = 1.18 if is_swollen else 1.0
            self._lump(
                (vertebra.depth_mm / 2 + 4, 0.18 * vertebra.height_mm, side * self._pedicle_x_mm),
                (10.5, 0.27 * vertebra.height_mm * thick, 0.1 * vertebra.width_mm * thick),
                lesion=lesion,
                has_cortex=has_cortex,
            )

    def _paint_body(self) -> None:
        canvas, vertebra = self.canvas, self.vertebra
        half_u, half_x = vertebra.depth_mm / 2, vertebra.width_mm / 2
        fracture = vertebra.fracture
        swell = (
            max(fracture.convex_mm, fracture.retropulsion_mm, fracture.paravertebral_mm) if fracture else 0.0
        )
        reach = math.hypot(half_u, vertebra.height_mm / 2) + 5 + swell
        window = canvas.window(
            vertebra.centre_yz, reach, (vertebra.x_mm - half_x - swell, vertebra.x_mm + half_x + swell)
        )
        if window is None:
            return
        u, v = _local(canvas, window, vertebra.centre_yz, vertebra.tilt_rad)
        w = canvas.axes(window)[0] - np.float32(vertebra.x_mm)
        t, q = u / np.float32(half_u), w / np.float32(half_x)
        top = vertebra.plate_mm(t, 1) - self._dents(t, q, 1)
        bottom = vertebra.plate_mm(t, -1) + self._dents(t, q, -1)
        s = (2 * v - top - bottom) / np.maximum(top - bottom, 4)
        radial = self._radial(u, w, s)
        axial = np.minimum(top - v, v - bottom)
        corner = np.float32(2.6 if not vertebra.is_sacral else 1.2)
        depth = corner - np.hypot(np.maximum(corner - radial, 0), np.maximum(corner - axial, 0))
        if fracture is not None and fracture.paravertebral_mm > 0:
            self._paint_beside(window, fracture, radial, axial)
        is_eaten = fracture is not None and fracture.kind is Kind.MALIGNANT
        canvas.paint(window, (0.55 if is_eaten else 1.0) * canvas.soft(depth), self.tissues["cortex"])
        canvas.paint(window, canvas.soft(depth - np.float32(CORTEX_MM)), self._inside(window, t, s, q))

    def _dents(self, t: Volume, q: Volume, end: int) -> Volume:
        """How far an end-plate is sunk in, mm."""
        wear = self.vertebra.wear
        if self.vertebra.is_sacral:
            return np.zeros_like(t + q)
        back = 0.15 if end < 0 else -0.05
        sunk = wear.concavity_mm * np.clip(1 - ((t - back) / 0.95) ** 2, 0, 1) * np.clip(1 - q * q, 0, 1)
        node = wear.schmorl if end > 0 else wear.schmorl_below
        if node is not None:
            sunk = sunk + node[0] * np.exp(-(((t - node[1]) / 0.24) ** 2) - ((q - node[2]) / 0.3) ** 2)
        return np.asarray(sunk, dtype=np.float32)

    def _radial(self, u: Volume, w: Volume, s: Volume) -> Volume:
        """Depth below the side walls, mm."""
        vertebra = self.vertebra
        half_u, half_x = vertebra.depth_mm / 2, vertebra.width_mm / 2
        if vertebra.is_sacral:
            narrow = 1 - 0.1 * s if vertebra.level in ("S2", "S3", "S4", "S5") else 1 + 0.08 * s
            reach = half_u * narrow
        else:
            waist = 1 - 0.075 * np.clip(1 - s * s, 0, 1)
            lips = vertebra.wear.osteophyte_mm * np.exp(-(((1 - np.abs(s)) / 0.22) ** 2))
            reach = half_u * waist + np.where(u < 0, lips, 0.3 * lips)
        fracture = vertebra.fracture
        if fracture is not None:
            across = np.clip(1 - (w / (half_x * 0.85)) ** 2, 0, 1)
            behind = fracture.convex_mm * np.clip(1 - s * s, 0, 1) * across
            edge = 0.8 if fracture.superior_share >= 0.5 else -0.8
            behind = behind + fracture.retropulsion_mm * np.exp(-(((s - edge) / 0.4) ** 2)) * across
            ahead = 0.25 * fracture.convex_mm * np.clip(1 - s * s, 0, 1)
            reach = reach + np.where(u > 0, behind, ahead)
        way = ((np.abs(u) / reach) ** 2.6 + (np.abs(w) / half_x) ** 2.6) ** (1 / 2.6)
        return np.asarray((1 - way) * half_u, dtype=np.float32)

    def _inside(self, window: Window, t: Volume, s: Volume, q: Volume) -> Value:
        """Signals of the spongy bone with everything in it."""
        vertebra, canvas = self.vertebra, self.canvas
        water, fat, stir = self._marrow(window)
        coarse, fine = canvas.coarse[window.index], canvas.fine[window.index]
        mixed = lambda old, new, weight: old + weight * (new - old)  # noqa: E731 - a name for a formula
        for modic, toward in zip(self.modic, (s, -s), strict=True):
            if modic:
                band = np.clip((toward - 0.5 + 0.1 * coarse) / 0.15, 0, 1) * np.clip(
                    (0.3 - t) / 0.3 + 0.5, 0, 1
                )
                now = (0.36, 0.06, 0.42) if modic == 1 else (0.08, 0.85, 0.08)
                water, fat, stir = (
                    mixed(old, new, 0.8 * band) for old, new in zip((water, fat, stir), now, strict=True)
                )
        if not vertebra.is_sacral:
            vein = np.exp(-((s / 0.13) ** 2) - (q / 0.16) ** 2) * np.clip((t - 0.3) / 0.4, 0, 1)
            water, fat, stir = (
                mixed(water, 0.12, 0.6 * vein),
                mixed(fat, 0.3, 0.6 * vein),
                mixed(stir, 0.5, 0.7 * vein),
            )
        if vertebra.haemangioma is not None:
            weight = vertebra.haemangioma.weight(t, s, q)
            grain = 0.75 + 0.25 * np.sin(t * 19)
            water, fat = mixed(water, 0.12, weight), mixed(fat, 0.85 * grain, weight)
            stir = mixed(stir, vertebra.haemangioma.stir_signal * grain, weight)
        if vertebra.deposit is not None:
            weight = vertebra.deposit.weight(t, s, q, coarse)
            look = vertebra.deposit
            water, fat = mixed(water, look.t1.signal, weight), mixed(fat, 0.0, weight)
            stir = mixed(stir, look.stir.signal * (1 + look.stir.variation * coarse), weight)
        fracture = vertebra.fracture
        if fracture is None or fracture.kind is Kind.OLD:
            return water, fat * (self.fat_of_old if fracture else 1.0), stir
        weight = fracture.weight(fracture.t1, t, s, q, coarse)
        rough = 1 + fracture.t1.variation * (coarse + 0.5 * fine)
        water, fat = mixed(water, fracture.t1.signal * rough, weight), mixed(fat, 0.0, 0.97 * weight)
        weight = fracture.weight(fracture.stir, t, s, q, -coarse)
        rough = 1 + fracture.stir.variation * (1.6 * coarse + 0.8 * fine)
        stir = mixed(stir, fracture.stir.signal * rough, weight)
        if fracture.line:
            middle = 0.66 if fracture.superior_share >= 0.5 else -0.66
            line = np.exp(-(((s - middle + 0.07 * coarse) / 0.09) ** 2)) * np.clip(
                (0.75 - np.abs(t)) / 0.2, 0, 1
            )
            water, stir = water * (1 - 0.6 * line), stir * (1 - 0.65 * line)
        if fracture.fluid_mm > 0:
            fluid = fracture.fluid(t, s, q, vertebra.height_mm)
            water, fat, stir = mixed(water, 0.14, fluid), mixed(fat, 0.0, fluid), mixed(stir, 1.05, fluid)
        return water, fat, stir

    def _paint_beside(self, window: Window, fracture: Fracture, radial: Volume, axial: Volume) -> None:
        """Soft tissue or bleeding around the body."""
        t = (
            _local(self.canvas, window, self.vertebra.centre_yz, self.vertebra.tilt_rad)[0]
            * 2
            / self.vertebra.depth_mm
        )
        thick = np.maximum(np.float32(fracture.paravertebral_mm) * np.clip((0.75 - t) / 0.5, 0, 1), 0.05)
        out = np.maximum(-radial, 0) / thick
        up = np.maximum(6.0 - axial, 0) / 7.0
        depth = (1 - np.hypot(out, up) + 0.15 * self.canvas.coarse[window.index]) * thick
        opacity = self.canvas.soft(depth) * (0.95 if fracture.kind is Kind.MALIGNANT else 0.7)
        self.canvas.paint(window, opacity, (fracture.t1.signal * 1.05, 0.02, fracture.stir.signal * 0.85))

    def _paint_epidural(self, fracture: Fracture) -> None:
        """A mass in the canal behind the body, wider than the body is high."""
        vertebra, canvas = self.vertebra, self.canvas
        place = vertebra.place(vertebra.depth_mm / 2 + 0.35 * fracture.epidural_mm, vertebra.middle_v_mm)
        x0 = vertebra.x_mm + fracture.epidural_side
        window = canvas.window(place, vertebra.height_mm, (x0 - 12, x0 + 12))
        if window is None:
            return
        u, v = _local(canvas, window, place, vertebra.tilt_rad)
        w = canvas.axes(window)[0] - np.float32(x0)
        way = np.sqrt(
            (u / fracture.epidural_mm) ** 2 + (v / (0.62 * vertebra.height_mm)) ** 2 + (w / 11) ** 2
        )
        depth = (1 - way + 0.05 * canvas.coarse[window.index]) * fracture.epidural_mm
        depth = np.minimum(depth, u + 0.35 * fracture.epidural_mm + 1)
        rough = 1 + 0.08 * canvas.coarse[window.index]
        canvas.paint(
            window,
            canvas.soft(depth),
            (fracture.t1.signal * 1.08 * rough, 0.0, fracture.stir.signal * 0.9 * rough),
        )
