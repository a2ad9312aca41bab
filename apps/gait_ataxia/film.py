"""Filming a walker: where the camera stands, what is behind, and how a shaded figure is drawn.

A pinhole camera that stands still looks at the walker from the side or from the front. Limbs
are shaded tapered capsules, drawn from far to near; the clothes, the body, the place and the
light differ from walker to walker and between hospitals A and B.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from apps.gait_ataxia.walker import Motion, Walker
from operators.pose.body25 import Joint

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Camera:
    """A pinhole camera that stands still.

    Args:
        position_m: World.
        axes: ``(3, 3)``, rows: right, down and forward of the camera in the world.
        focal_px: Focal length.
        columns: Of the video.
        rows: Of the video.
        frame_rate: Of the video.
        view: ``frontal`` or ``sagittal``.
    """

    position_m: Array
    axes: Array
    focal_px: float
    columns: int
    rows: int
    frame_rate: float
    view: str

    def project(self, points_m: Array) -> tuple[Array, Array]:
        """Pixels ``(..., 2)`` and depth in metres ``(...)`` of points in the world."""
        seen = (points_m - self.position_m) @ self.axes.T
        depth = np.maximum(seen[..., 2], 0.05)
        centre = np.array([self.columns / 2, self.rows / 2])
        return seen[..., :2] * (self.focal_px / depth)[..., None] + centre, depth


@dataclass(frozen=True, kw_only=True)
class Studio:
    """How a hospital films.

    Args:
        formats: Columns, rows and frame rate, one is drawn.
        near_share: Height of the person over the frame's height when nearest (frontal).
        far_share: The same when farthest, and the range from the side.
        camera_height_m: Lowest, highest.
        yaw_deg: Largest angle off the ideal view.
        outdoors: Share of clips filmed outdoors.
        warmth: Range of the light's colour, red over blue.
        contrast: Range.
        noise: Range of the sensor's noise, grey levels.
    """

    formats: tuple[tuple[int, int, float], ...]
    near_share: tuple[float, float]
    far_share: tuple[float, float]
    camera_height_m: tuple[float, float]
    yaw_deg: float
    outdoors: float
    warmth: tuple[float, float]
    contrast: tuple[float, float]
    noise: tuple[float, float]


STUDIO_A = Studio(
    formats=((1280, 720, 30.0), (960, 540, 30.0)),
    near_share=(0.75, 0.90), far_share=(0.30, 0.44), camera_height_m=(0.9, 1.4), yaw_deg=7,
    outdoors=0.15, warmth=(0.92, 1.08), contrast=(0.85, 1.05), noise=(0.5, 2.5),
)  # fmt: skip
STUDIO_B = Studio(
    formats=((1280, 720, 25.0), (1024, 576, 30.0), (1280, 720, 24.0)),
    near_share=(0.70, 0.93), far_share=(0.29, 0.42), camera_height_m=(1.2, 1.75), yaw_deg=11,
    outdoors=0.5, warmth=(0.82, 1.2), contrast=(0.7, 1.0), noise=(1.5, 4.0),
)  # fmt: skip


STUDIO_ANY = Studio(
    formats=((1280, 720, 30.0), (960, 540, 30.0), (1280, 720, 25.0), (1024, 576, 24.0)),
    near_share=(0.65, 0.95), far_share=(0.26, 0.52), camera_height_m=(0.8, 1.9), yaw_deg=14,
    outdoors=0.4, warmth=(0.8, 1.2), contrast=(0.7, 1.1), noise=(0.5, 4.0),
)  # fmt: skip
"""A world wider than both hospitals, for training on simulated points."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Shot:
    """A camera, the walk's start in the world, and how long is filmed."""

    camera: Camera
    start_m: Array
    duration_s: float


LONGEST_S = 12.0


def draw_shot(rng: np.random.Generator, walker: Walker, studio: Studio, view: str | None = None) -> Shot:
    """Where the camera stands for a walker; from the side or from the front."""
    columns, rows, frame_rate = studio.formats[int(rng.integers(len(studio.formats)))]
    view = view or ("frontal" if rng.random() < 0.5 else "sagittal")
    make = _frontal if view == "frontal" else _sagittal
    return make(rng, walker, studio, (columns, rows, frame_rate))


def _between(rng: np.random.Generator, low_high: tuple[float, float]) -> float:
    return float(rng.uniform(*low_high))


def _axes(forward: Array, roll: float) -> Array:
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    cos, sin = np.cos(roll), np.sin(roll)
    return np.stack([cos * right + sin * down, cos * down - sin * right, forward])


def _frontal(rng: np.random.Generator, walker: Walker, studio: Studio, size: tuple[int, int, float]) -> Shot:
    columns, rows, frame_rate = size
    height = walker.body.height
    near, far = _between(rng, studio.near_share), _between(rng, studio.far_share) * 0.9
    near_m = float(rng.uniform(4.5, 7.0))
    focal = near * rows * near_m / height
    far_m = focal * height / (far * rows)
    speed = walker.signs["speed_m_s"]
    duration = min(LONGEST_S, (far_m - near_m) / speed)
    begin = near_m + speed * duration  # it ends near the camera
    offset = np.deg2rad(rng.uniform(-1, 1) * studio.yaw_deg)
    camera_height = _between(rng, studio.camera_height_m)
    position = np.array([begin, begin * np.tan(offset) * 0.5, camera_height])
    aim_m = begin - near_m * 1.25
    aim = np.array([aim_m, 0.0, height * rng.uniform(0.47, 0.53)])
    camera = Camera(
        position_m=position, axes=_axes(aim - position, np.deg2rad(rng.normal(0, 0.7))), focal_px=focal,
        columns=columns, rows=rows, frame_rate=frame_rate, view="frontal",
    )  # fmt: skip
    return Shot(camera=camera, start_m=np.zeros(3), duration_s=duration)


def _sagittal(rng: np.random.Generator, walker: Walker, studio: Studio, size: tuple[int, int, float]) -> Shot:
    columns, rows, frame_rate = size
    height = walker.body.height
    share = _between(rng, studio.far_share)
    distance = float(rng.uniform(5.0, 9.0))
    focal = share * rows * distance / height
    width_m = columns / focal * distance
    speed = walker.signs["speed_m_s"]
    duration = min(LONGEST_S, 0.86 * (width_m - 0.8) / speed)
    length = speed * duration
    side = 1.0 if rng.random() < 0.5 else -1.0
    yaw = np.deg2rad(rng.uniform(-1, 1) * studio.yaw_deg)
    aim = np.array([length / 2, 0.0, height * rng.uniform(0.47, 0.55)])
    position = aim + distance * np.array([np.sin(yaw), side * np.cos(yaw), 0.0])
    position[2] = _between(rng, studio.camera_height_m)
    camera = Camera(
        position_m=position, axes=_axes(aim - position, np.deg2rad(rng.normal(0, 0.7))), focal_px=focal,
        columns=columns, rows=rows, frame_rate=frame_rate, view="sagittal",
    )  # fmt: skip
    return Shot(camera=camera, start_m=np.zeros(3), duration_s=duration)


def placed(motion: Motion, shot: Shot) -> Array:
    """``(frame, 26, 3)`` joints and head centre in the world of the shot, walk starting at its start."""
    points = np.concatenate([motion.joints_m, motion.head_m[:, None]], axis=1)
    origin = np.array([points[0, Joint.MID_HIP, 0], 0.0, 0.0])
    return np.asarray(points - origin + shot.start_m)


# ---------------------------------------------------------------------- places


def background(rng: np.random.Generator, camera: Camera, studio: Studio) -> NDArray[np.uint8]:
    """``(row, column, 3)`` uint8 RGB: what is behind the walker."""
    is_outdoors = rng.random() < studio.outdoors
    rows, columns = camera.rows, camera.columns
    picture = np.zeros((rows, columns, 3), np.float32)
    horizon = _horizon(camera, far_m=60.0 if is_outdoors else 14.0 + 6 * rng.random())
    sky, grass = np.array([-25, 0, 20]), np.array([0, 15, -15])
    upper = _colour(rng, (150, 225), 25) if not is_outdoors else _colour(rng, (150, 235), 10) + sky
    lower = _colour(rng, (90, 185), 25) if not is_outdoors else _colour(rng, (80, 150), 20) + grass
    y = np.arange(rows, dtype=np.float32)[:, None, None]
    above = np.clip((horizon - y) / 4 + 0.5, 0, 1)
    gradient = 1 + 0.15 * (y / rows - 0.5)
    picture[:] = (upper * above + lower * (1 - above)) * gradient
    _floor_lines(rng, picture, camera, lower * rng.uniform(0.75, 1.15))
    for _ in range(int(rng.integers(3, 9))):
        _thing(rng, picture, horizon, is_outdoors)
    texture = sum(
        cv2.resize(rng.standard_normal((rows // k + 2, columns // k + 2)).astype(np.float32), (columns, rows))
        * weight
        for k, weight in ((3, 2.0), (17, 3.0), (71, 5.0))
    )
    picture += texture[..., None] * rng.uniform(0.4, 1.4)
    picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.6, 1.8)))
    return np.clip(picture, 0, 255).astype(np.uint8)


def _horizon(camera: Camera, far_m: float) -> float:
    """Row where the floor ends, ``far_m`` metres from the camera."""
    ahead = camera.axes[2].copy()
    ahead[2] = 0
    point = camera.position_m + far_m * ahead / np.linalg.norm(ahead)
    point[2] = 0.0
    return float(camera.project(point)[0][1])


def _colour(rng: np.random.Generator, grey: tuple[float, float], spread: float) -> Array:
    return np.asarray(np.clip(rng.uniform(*grey) + rng.uniform(-spread, spread, 3), 10, 250))


def _floor_lines(
    rng: np.random.Generator, picture: NDArray[np.float32], camera: Camera, colour: Array
) -> None:
    gap = float(rng.uniform(0.4, 1.5))
    ahead = camera.axes[2].copy()
    ahead[2] = 0
    ahead /= np.linalg.norm(ahead)
    right = np.array([ahead[1], -ahead[0], 0.0])
    ground = camera.position_m * [1, 1, 0]
    spans = [
        (ground + d * ahead - 20 * right, ground + d * ahead + 20 * right) for d in np.arange(1.5, 16, gap)
    ]
    spans += [
        (ground + 1.5 * ahead + s * right, ground + 16 * ahead + s * right) for s in np.arange(-8, 8, gap)
    ]
    for span in spans:
        ends, _ = camera.project(np.stack(span))
        if np.abs(ends).max() < 30000:
            cv2.line(picture, *(tuple(int(v) for v in end) for end in ends), colour.tolist(), 1, cv2.LINE_AA)


def _thing(rng: np.random.Generator, picture: NDArray[np.float32], horizon: float, is_outdoors: bool) -> None:
    rows, columns = picture.shape[:2]
    colour = _colour(rng, (40, 215), 40).tolist()
    x = int(rng.uniform(0, columns))
    width, height = int(rng.uniform(0.03, 0.16) * columns), int(rng.uniform(0.08, 0.5) * rows)
    if is_outdoors and rng.random() < 0.6:
        green = [30 + 50 * rng.random(), 70 + 70 * rng.random(), 30 + 40 * rng.random()]
        cv2.ellipse(
            picture, (x, int(horizon - height / 2)), (width, height), 0, 0, 360, green, -1, cv2.LINE_AA
        )
        return
    foot = int(horizon) if rng.random() < 0.6 else int(horizon - rng.uniform(0.1, 0.35) * rows)
    cv2.rectangle(picture, (x, foot - height), (x + width, foot), colour, -1)
    cv2.rectangle(picture, (x, foot - height), (x + width, foot), [0.6 * c for c in colour], 2)


# --------------------------------------------------------------------- figures


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """Colours and cut of a person's clothes, and the light on them."""

    skin: Array
    hair: Array
    shirt: Array
    trousers: Array
    shoes: Array
    has_long_sleeves: bool
    has_short_trousers: bool
    light: Array
    ambient: float
    texture: NDArray[np.float32]


def draw_look(rng: np.random.Generator) -> Look:
    """A person's clothes and light."""
    tone = rng.uniform(0.35, 1.0)
    light = np.array([rng.uniform(-0.8, 0.8), rng.uniform(-1.0, -0.3), rng.uniform(-1.0, -0.4)])
    noise = rng.standard_normal((64, 32)).astype(np.float32)
    texture = cv2.GaussianBlur(noise, (0, 0), 1.2) * 0.10
    if rng.random() < 0.3:
        texture += (0.10 * np.sign(np.sin(np.arange(64) * rng.uniform(0.4, 1.2))))[:, None].astype(np.float32)
    return Look(
        skin=np.array([232.0, 190.0, 160.0]) * (0.35 + 0.65 * tone),
        hair=np.array([60.0, 45.0, 35.0]) * rng.uniform(0.4, 3.2),
        shirt=_colour(rng, (35, 225), 70),
        trousers=_colour(rng, (30, 150), 40),
        shoes=_colour(rng, (25, 220), 20),
        has_long_sleeves=bool(rng.random() < 0.55),
        has_short_trousers=bool(rng.random() < 0.2),
        light=light / np.linalg.norm(light),
        ambient=float(rng.uniform(0.45, 0.7)),
        texture=texture,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """A tapered capsule in the image; ``cap`` squashes its round ends."""

    ends_px: Array
    radii_px: tuple[float, float]
    colour: Array
    depth: float
    cap: float = 1.0
    textured: bool = False


def _paint(picture: NDArray[np.float32], part: _Part, look: Look, offset: tuple[int, int]) -> None:
    """Blend one part into the picture, whose top left is at ``offset`` (x, y)."""
    (ax, ay), (bx, by) = part.ends_px - np.array(offset)
    ra, rb = part.radii_px
    reach = max(ra, rb) + 1
    rows, columns = picture.shape[:2]
    x0, x1 = max(0, int(min(ax, bx) - reach)), min(columns, int(max(ax, bx) + reach) + 2)
    y0, y1 = max(0, int(min(ay, by) - reach)), min(rows, int(max(ay, by) + reach) + 2)
    if x0 >= x1 or y0 >= y1:
        return
    px = np.arange(x0, x1, dtype=np.float32)[None, :] - np.float32(ax)
    py = np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(ay)
    dx, dy = bx - ax, by - ay
    length = max(float(np.hypot(dx, dy)), 1e-3)
    ux, uy = np.float32(dx / length), np.float32(dy / length)
    along = px * ux + py * uy
    across = py * ux - px * uy
    t = np.clip(along / np.float32(length), 0, 1)
    radius = np.float32(ra) + t * np.float32(rb - ra)
    beyond = (along - t * np.float32(length)) / np.float32(part.cap)
    distance = np.sqrt(across * across + beyond * beyond)
    alpha = np.clip(radius - distance + np.float32(0.5), 0, 1)
    nx = (-across * uy + beyond * ux) / radius
    ny = (across * ux + beyond * uy) / radius
    nz = -np.sqrt(np.clip(1 - nx * nx - ny * ny, 0, 1))
    shade = look.ambient + (1 - look.ambient) * np.clip(
        nx * np.float32(look.light[0]) + ny * np.float32(look.light[1]) + nz * np.float32(look.light[2]), 0, 1
    )
    if part.textured:
        row = (t * 63).astype(np.int32)
        column = np.clip((across / radius * 15.5 + 15.5), 0, 31).astype(np.int32)
        shade = shade * (1 + look.texture[row, column])
    region = picture[y0:y1, x0:x1]
    region += alpha[..., None] * (shade[..., None] * part.colour.astype(np.float32) - region)


def _parts(px: Array, depth: Array, walker: Walker, look: Look, camera: Camera, facing: Array) -> list[_Part]:
    """Every part of a figure, farthest first, in one frame."""
    scale = camera.focal_px / depth
    h, girth = walker.body.height, walker.body.girth
    parts: list[_Part] = []

    def limb(
        a: int, b: int, ra: float, rb: float, colour: Array, *, shift: float = 0.0, textured: bool = False
    ) -> None:
        parts.append(
            _Part(
                ends_px=px[[a, b]], radii_px=(ra * h * scale[a], rb * h * scale[b]), colour=colour,
                depth=float((depth[a] + depth[b]) / 2) + shift, textured=textured,
            )
        )  # fmt: skip

    g = np.sqrt(girth)
    shank = look.skin if look.has_short_trousers else look.trousers
    fore = look.shirt if look.has_long_sleeves else look.skin
    for hip, knee, ankle, heel, toe, small, shoulder, elbow, wrist in (
        (Joint.L_HIP, Joint.L_KNEE, Joint.L_ANKLE, Joint.L_HEEL, Joint.L_BIG_TOE, Joint.L_SMALL_TOE,
         Joint.L_SHOULDER, Joint.L_ELBOW, Joint.L_WRIST),
        (Joint.R_HIP, Joint.R_KNEE, Joint.R_ANKLE, Joint.R_HEEL, Joint.R_BIG_TOE, Joint.R_SMALL_TOE,
         Joint.R_SHOULDER, Joint.R_ELBOW, Joint.R_WRIST),
    ):  # fmt: skip
        limb(heel, toe, 0.020, 0.014, look.shoes)
        limb(heel, small, 0.020, 0.012, look.shoes)
        limb(ankle, heel, 0.022, 0.021, look.shoes)
        limb(knee, ankle, 0.031 * g, 0.020, shank, textured=not look.has_short_trousers)
        limb(hip, knee, 0.047 * girth, 0.033 * g, look.trousers, textured=True)
        limb(shoulder, elbow, 0.030 * g, 0.022 * g, look.shirt, textured=True)
        limb(elbow, wrist, 0.021, 0.015, fore, textured=look.has_long_sleeves)
        hand = px[wrist] + 0.35 * (px[wrist] - px[elbow])
        zoom = h * float(scale[wrist])
        parts.append(_stroke(px[wrist], hand, (0.015 * zoom, 0.018 * zoom), look.skin, float(depth[wrist])))
    limb(Joint.L_HIP, Joint.R_HIP, 0.052 * girth, 0.052 * girth, look.trousers, shift=-0.01)
    parts.append(_torso(px, depth, scale, walker, look))
    limb(Joint.NECK, 25, 0.030, 0.030, look.skin, shift=-0.02)
    parts += _head_parts(px, depth, scale, h, look, facing)
    return sorted(parts, key=lambda part: -part.depth)


def _torso(px: Array, depth: Array, scale: Array, walker: Walker, look: Look) -> _Part:
    h, girth = walker.body.height, walker.body.girth
    thick = 0.062 * girth * h
    shoulders = 0.42 * abs(px[Joint.L_SHOULDER, 0] - px[Joint.R_SHOULDER, 0])
    hips = 0.55 * abs(px[Joint.L_HIP, 0] - px[Joint.R_HIP, 0])
    upper, lower = scale[Joint.NECK], scale[Joint.MID_HIP]
    top = px[Joint.NECK] + 0.12 * (px[Joint.MID_HIP] - px[Joint.NECK])
    return _Part(
        ends_px=np.stack([top, px[Joint.MID_HIP]]),
        radii_px=(float(np.hypot(shoulders, thick * upper)), float(np.hypot(hips, thick * lower))),
        colour=look.shirt, depth=float(depth[Joint.NECK] + depth[Joint.MID_HIP]) / 2, cap=0.55, textured=True,
    )  # fmt: skip


def _head_parts(px: Array, depth: Array, scale: Array, h: float, look: Look, facing: Array) -> list[_Part]:
    """Head, hair and face; ``facing`` is the direction of the nose: right, down, away in the camera."""
    centre, zoom = px[25], scale[25]
    at = float(depth[25]) - 0.12

    def blob(dx: float, dy: float, r: float, colour: Array, near: float, stretch: float = 0.0) -> _Part:
        middle = centre + np.array([dx, dy]) * zoom * h
        reach = np.array([0, stretch * zoom * h])
        ends = np.stack([middle - reach, middle + reach])
        return _Part(ends_px=ends, radii_px=(r * h * zoom, r * h * zoom), colour=colour, depth=at - near)

    fx = float(facing[0])
    is_away = facing[2] > 0.5
    parts = [
        blob(-0.016 * fx, -0.020, 0.0565, look.hair, 0.03 if is_away else 0.0, 0.006),
        blob(0.010 * fx, 0.008, 0.049, look.skin, 0.01, 0.018),
    ]
    if is_away:
        return parts
    size = float(zoom * h)
    return parts + _face(px, depth, size, look, facing, at)


def _stroke(a: Array, b: Array, radii_px: tuple[float, float], colour: Array, depth: float) -> _Part:
    return _Part(ends_px=np.stack([a, b]), radii_px=radii_px, colour=colour, depth=depth)


def _face(px: Array, depth: Array, size: float, look: Look, facing: Array, at: float) -> list[_Part]:
    """Ears, eyes, nose and mouth, as far as they face the camera; ``size`` is the body's, in pixels."""
    parts = []
    dark, red = look.skin * 0.25, look.skin * [0.85, 0.5, 0.5]
    for ear in (Joint.L_EAR, Joint.R_EAR):
        if depth[ear] < depth[25] + 0.02:
            up = np.array([0, 0.008 * size])
            radii = (0.010 * size, 0.008 * size)
            parts.append(_stroke(px[ear] - up, px[ear] + up, radii, look.skin * 0.9, at - 0.02))
    for eye in (Joint.L_EYE, Joint.R_EYE):
        if depth[eye] < depth[25] + 0.03:
            wide = np.array([0.004 * size, 0])
            for r, colour, near in ((0.0085, np.array([235.0, 235, 235]), 0.03), (0.0048, dark, 0.04)):
                parts.append(_stroke(px[eye] - wide, px[eye] + wide, (r * size, r * size), colour, at - near))
            brow, half = px[eye] - [0, 0.016 * size], np.array([0.012 * size, 0])
            parts.append(
                _stroke(brow - half, brow + half, (0.003 * size, 0.003 * size), look.hair, at - 0.04)
            )
    ahead = facing[:2] * size
    bridge = px[25] + 0.045 * ahead - [0, 0.008 * size]
    parts.append(_stroke(bridge, px[Joint.NOSE], (0.005 * size, 0.010 * size), look.skin * 1.04, at - 0.05))
    mouth = px[Joint.NOSE] - 0.010 * ahead + [0, 0.026 * size]
    side = np.array([0.016 * size * max(0.35, abs(float(facing[2]))), 0])
    parts.append(_stroke(mouth - side, mouth + side, (0.004 * size, 0.004 * size), red, at - 0.05))
    return parts


@dataclass(frozen=True, kw_only=True, eq=False)
class Figure:
    """A walker in front of a camera.

    Args:
        walker: Who.
        look: In which clothes.
        points_m: ``(frame, 26, 3)``, from `placed`.
    """

    walker: Walker
    look: Look
    points_m: Array


def film(
    figures: list[Figure], camera: Camera, studio: Studio, rng: np.random.Generator,
    *, shake_px: NDArray[np.float64] | None = None,
) -> Iterator[NDArray[np.uint8]]:  # fmt: skip
    """The frames of a clip, ``(row, column, 3)`` uint8 RGB each.

    Args:
        figures: Who walks; none gives an empty room.
        camera: How it is seen.
        studio: Of the hospital.
        rng: For place, light and noise.
        shake_px: ``(frame, 2)`` by which the whole picture is moved, for a camera that moves.
    """
    scene = background(rng, camera, studio)
    tone = _Tone.draw(rng, studio, camera)
    count = min((len(figure.points_m) for figure in figures), default=int(5 * camera.frame_rate))
    for index in range(count):
        picture = scene.copy()
        for figure in sorted(figures, key=lambda f: -camera.project(f.points_m[index, Joint.MID_HIP])[1]):
            _draw_figure(picture, figure, camera, index)
        if shake_px is not None:
            matrix = np.float32([[1, 0, shake_px[index, 0]], [0, 1, shake_px[index, 1]]])  # type: ignore[arg-type]
            picture = cv2.warpAffine(
                picture, matrix, (camera.columns, camera.rows), borderMode=cv2.BORDER_REFLECT
            )
        yield tone.applied(picture, index)


def _draw_figure(picture: NDArray[np.uint8], figure: Figure, camera: Camera, index: int) -> None:
    points = figure.points_m[index]
    px, depth = camera.project(points)
    margin = 0.12 * figure.walker.body.height * camera.focal_px / float(depth.min())
    x0, y0 = (max(0, int(v)) for v in px.min(axis=0) - margin)
    x1, y1 = (px.max(axis=0) + margin).astype(int)
    region = picture[y0 : max(y1, 0), x0 : max(x1, 0)]
    if region.size == 0:
        return
    _shadow(region, points, camera, (x0, y0))
    canvas = region.astype(np.float32)
    ahead = points[Joint.NOSE] - points[25]
    facing = camera.axes @ (ahead / np.linalg.norm(ahead))
    for part in _parts(px, depth, figure.walker, figure.look, camera, facing):
        _paint(canvas, part, figure.look, (x0, y0))
    region[:] = np.clip(canvas, 0, 255).astype(np.uint8)


def _shadow(region: NDArray[np.uint8], points: Array, camera: Camera, offset: tuple[int, int]) -> None:
    for toe, heel in ((Joint.L_BIG_TOE, Joint.L_HEEL), (Joint.R_BIG_TOE, Joint.R_HEEL)):
        middle = 0.5 * (points[toe] + points[heel])
        lift = max(float(middle[2]), 0.0)
        middle = middle * [1, 1, 0]
        at, depth = camera.project(middle)
        size = 0.16 * camera.focal_px / float(depth)
        centre = (int(at[0] - offset[0]), int(at[1] - offset[1]))
        dark = region.copy()
        cv2.ellipse(
            dark, centre, (int(size), max(1, int(0.22 * size))), 0, 0, 360, (30, 30, 30), -1, cv2.LINE_AA
        )
        weight = 0.45 / (1 + 8 * lift)
        cv2.addWeighted(dark, weight, region, 1 - weight, 0, dst=region)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Tone:
    """Exposure, colour and noise of the sensor."""

    table: NDArray[np.uint8]
    noise: list[NDArray[np.int16]]

    @classmethod
    def draw(cls, rng: np.random.Generator, studio: Studio, camera: Camera) -> _Tone:
        warmth = _between(rng, studio.warmth)
        contrast = _between(rng, studio.contrast)
        level = np.arange(256, dtype=np.float64)
        gains = np.array([np.sqrt(warmth), 1.0, 1 / np.sqrt(warmth)]) * rng.uniform(0.85, 1.1)
        table = np.clip(((level[:, None] - 128) * contrast + 120) * gains, 0, 255).astype(np.uint8)
        spread = _between(rng, studio.noise)
        shape = (camera.rows, camera.columns, 3)
        noise = [
            np.round(rng.standard_normal(shape, dtype=np.float32) * spread).astype(np.int16) for _ in range(3)
        ]
        return cls(table=table, noise=noise)

    def applied(self, picture: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
        toned = cv2.LUT(picture, self.table[None])
        grain = np.roll(self.noise[index % 3], (37 * index) % 211, axis=1)
        return np.asarray(cv2.add(toned, grain, dtype=cv2.CV_8U), dtype=np.uint8)
