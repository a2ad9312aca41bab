"""The muscles of the phantom: paths, and who owns which point (weighted Voronoi "power tubes").

Paths are polylines in millimetres, LPS relative to the right hip centre, so +x is medial;
the left side is mirrored. They begin and end at the attachments of the lower-limb model of
Delp et al., IEEE TBME 1990;37:757 (science.md A30) with way points between that bring the
bellies where they lie on CT. A point belongs to the muscle with the least distance to its
path over the radius there, when that is below 1; else it is fat between muscles.
"""

from __future__ import annotations

import json
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from operators.phantom.fields import Path3

RADII_FILE = Path(__file__).parent / "muscle_radii.json"
"""Radii that give the target volumes in the standard body: made by `python -m apps.msk_ct.tune`."""

PATHS: dict[str, tuple[Path3, ...]] = {
    "gluteus_maximus": (
        ((16, 56, 120), (-14, 62, 67), (-42, 50, -25), (-48, 30, -57)),
        ((30, 74, 84), (-6, 78, 14), (-36, 56, -53), (-43, 18, -102)),
        ((70, 90, 35), (36, 86, -32), (-14, 58, -90), (-42, 14, -142)),
    ),
    "gluteus_medius": (
        ((-44, -30, 94), (-64, -14, 42), (-57, 20, -12)),
        ((-22, 16, 112), (-50, 16, 50), (-55, 26, -6)),
        ((16, 54, 80), (-24, 44, 34), (-52, 31, -5)),
    ),
    "gluteus_minimus": (
        ((-30, -24, 58), (-48, -14, 22), (-56, 7, -10)),
        ((-10, 13, 60), (-34, 12, 26), (-54, 14, -6)),
    ),
    "tensor_fasciae_latae": (((-44, -46, 80), (-64, -44, 10), (-66, -30, -100)),),
    "psoas_major": (
        (
            (50, 18, 270),
            (44, 10, 200),
            (40, 0, 140),
            (34, -12, 90),
            (22, -28, 50),
            (8, -45, 10),
            (-2, -34, -22),
            (-16, 14, -60),
        ),
    ),
    "iliacus": (
        ((-34, -18, 98), (-14, -32, 50), (-6, -44, 14), (-10, -28, -28), (-20, 14, -66)),
        ((2, 22, 100), (8, 0, 60), (2, -38, 20), (-8, -28, -28), (-20, 14, -66)),
    ),
    "obturator_internus": (
        ((54, -20, -38), (34, 4, -26), (30, 36, -20), (22, 55, -22), (-8, 40, -10), (-40, 14, 0)),
        ((40, -20, -6), (30, 8, -4), (28, 38, -12), (20, 55, -18), (-8, 40, -8), (-40, 14, 0)),
    ),
    "obturator_externus": (
        ((60, -18, -44), (38, 0, -48), (6, 22, -34), (-38, 18, -6)),
        ((48, -24, -28), (32, -2, -38), (6, 22, -34), (-38, 18, -6)),
    ),
    "piriformis": (((62, 66, 62), (40, 60, 48), (14, 50, 30), (-42, 20, 0)),),
    "pectineus": (((50, -42, -2), (16, -30, -36), (-24, 10, -82)),),
    "adductor_muscles": (
        ((67, -42, -18), (34, -34, -120), (-14, 6, -211)),
        ((64, -22, -28), (22, -12, -80), (-24, 12, -130)),
        ((58, 2, -51), (20, 12, -90), (-28, 14, -121)),
        ((53, 14, -56), (30, 16, -140), (-18, 10, -228)),
        ((38, 38, -54), (36, 24, -150), (34, 12, -260), (28, -4, -384)),
    ),
    "gracilis": (((62, 2, -53), (60, 12, -150), (54, 26, -280), (40, 34, -428)),),
    "sartorius": (
        (
            (-42, -54, 66),
            (-28, -62, 10),
            (2, -62, -80),
            (30, -46, -170),
            (46, -18, -270),
            (46, 8, -357),
            (42, 14, -440),
        ),
    ),
    "rectus_femoris": (
        ((-14, -42, 32), (-24, -56, -60), (-20, -64, -160), (-12, -58, -280), (-2, -40, -403)),
    ),
    "vastus_lateralis_and_vastus_intermedius": (
        ((-50, 10, -34), (-58, 16, -110), (-56, 18, -220), (-42, 10, -320), (-24, -14, -395)),
        ((-56, -4, -38), (-66, -12, -120), (-64, -14, -230), (-46, -18, -320), (-18, -32, -400)),
        ((-50, -16, -50), (-52, -34, -130), (-46, -38, -240), (-30, -38, -330), (-10, -38, -402)),
        ((-36, -16, -70), (-30, -34, -150), (-22, -38, -240), (-12, -36, -330), (-5, -38, -402)),
    ),
    "vastus_medialis": (
        ((-22, -8, -110), (-6, -26, -200), (14, -30, -300), (22, -32, -370), (12, -40, -405)),
        ((-18, 2, -120), (8, -10, -210), (28, -10, -310), (30, -22, -388)),
    ),
    "biceps_femoris": (
        ((14, 54, -40), (2, 62, -120), (-18, 60, -230), (-28, 48, -340), (-29, 36, -432)),
        ((-22, 10, -190), (-28, 28, -300), (-29, 36, -432)),
    ),
    "semitendinosus": (((23, 56, -44), (18, 66, -150), (16, 64, -260), (25, 49, -425)),),
    "semimembranosus": (((14, 48, -34), (30, 44, -130), (28, 44, -250), (24, 42, -350), (19, 40, -431)),),
}

SHEETS = (
    "gluteus_maximus",
    "gluteus_medius",
    "gluteus_minimus",
    "adductor_muscles",
    "vastus_lateralis_and_vastus_intermedius",
    "vastus_medialis",
    "iliacus",
    "obturator_internus",
    "obturator_externus",
)
"""Muscles with three more polylines between each two of `PATHS`."""

VOLUME_ML = {
    "gluteus_maximus": 873,
    "gluteus_medius": 332,
    "gluteus_minimus": 108,
    "tensor_fasciae_latae": 65,
    "psoas_major": 278,
    "iliacus": 181,
    "obturator_internus": 45,
    "obturator_externus": 55,
    "piriformis": 45,
    "pectineus": 65,
    "adductor_muscles": 847,
    "gracilis": 107,
    "sartorius": 168,
    "rectus_femoris": 277,
    "vastus_lateralis_and_vastus_intermedius": 1134,
    "vastus_medialis": 443,
    "biceps_femoris": 316,
    "semitendinosus": 190,
    "semimembranosus": 253,
}
"""Healthy young adult, per side (Rajagopal et al., IEEE TBME 2016, as computed in science.md A30)."""

SHARE_OF_YOUNG = 0.87
"""Target volumes of the standard body as a share of `VOLUME_ML`."""

STEPS = {"gluteus_maximus": 6, "adductor_muscles": 4, "vastus_lateralis_and_vastus_intermedius": 5}
RADIUS_AT_ENDS = 0.3


def lines_of(name: str) -> list[NDArray[np.float32]]:
    """All polylines of a muscle, each ``(n, 3)`` float32 mm, right side, sampled evenly."""
    steps = STEPS.get(name, 2 * (max(map(len, PATHS[name])) - 1))
    lines = [_resampled(np.asarray(path, dtype=np.float64), steps) for path in PATHS[name]]
    if name not in SHEETS:
        return [line.astype(np.float32) for line in lines]
    fractions = (0.0, 0.25, 0.5, 0.75)
    dense = [(1 - f) * a + f * b for a, b in pairwise(lines) for f in fractions]
    return [line.astype(np.float32) for line in (*dense, lines[-1])]


def _resampled(path: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    at = np.linspace(0, along[-1], steps + 1)
    return np.stack([np.interp(at, along, path[:, i]) for i in range(3)], axis=1)


def spindle(n: int) -> NDArray[np.float32]:
    """Relative radius at n even positions along a muscle: thin at both ends."""
    t = np.linspace(0, 1, n)
    shape = np.sin(np.pi * t) ** 0.6 * (1 - RADIUS_AT_ENDS) + RADIUS_AT_ENDS
    return np.asarray(shape, dtype=np.float32)


@lru_cache(maxsize=1)
def standard_radii_mm() -> dict[str, float]:
    """Greatest radius of each muscle in the standard body, mm."""
    return {k: float(v) for k, v in json.loads(RADII_FILE.read_text(encoding="utf-8")).items()}
