"""Arms beside the body of the phantom, with their bones."""

from __future__ import annotations

import numpy as np

from apps.msk_ct.acquire import Scanner
from apps.msk_ct.anatomy import OTHER, Anatomy
from apps.msk_ct.population import Person
from operators.phantom.fields import Field, distance_to_path


def put_arms(hu: Field, anatomy: Anatomy, scanner: Scanner, person: Person) -> None:
    """Paints forearms and hands into the air beside trunk and thighs, in place."""
    rng = np.random.default_rng([person.tissue_seed, 3])
    half = 156 * person.girth * person.size_xyz[0] + 1.2 * person.fat_mm
    for side in (-1.0, 1.0):
        out = half + float(rng.uniform(34, 60))
        back = float(rng.uniform(-5, 40))
        path = [
            (side * out, back + 10, 330.0),
            (side * out, back, 130.0),
            (side * (out - 6), back - 6, -30.0),
        ]
        path.append((side * (out - 14), back - 10, -130.0))
        inside = np.abs(scanner.x - side * out) < 75
        if not inside.any():
            continue
        x = scanner.x[inside].astype(np.float32)
        shape = (scanner.z.size, scanner.y.size, x.size)
        points = (
            np.broadcast_to(x, shape),
            np.broadcast_to(scanner.y.astype(np.float32)[:, None], shape),
            np.broadcast_to(scanner.z.astype(np.float32)[:, None, None], shape),
        )
        columns = np.flatnonzero(inside)
        part = (slice(None), slice(None), slice(int(columns[0]), int(columns[-1]) + 1))
        skin = distance_to_path(points, path, [46, 42, 29, 24])
        free = (anatomy.fine_zyx[part] == 0) & (anatomy.skin_zyx[part] > 0.5)
        bones = np.minimum(
            distance_to_path(points, [(a + 9, b + 5, c) for a, b, c in path], [9, 8, 7, 4]),
            distance_to_path(points, [(a - 9, b - 3, c) for a, b, c in path], [9, 8, 7, 4]),
        )
        fat = 3 + 0.25 * person.fat_mm
        layers = (
            (skin < 0, "fat", person.fat_hu),
            ((skin < 0) & (skin > -1.8), "skin", 15.0),
            (skin < -fat, "arm", person.muscle_hu - 4),
            (bones < 0, "arm_bone", 1100.0),
            (bones < -3.2, "arm_bone", 80.0),
        )
        for mask, name, value in layers:
            where = free & mask & (skin < 0)
            hu[part][where] = value
            anatomy.fine_zyx[part][where] = OTHER[name]
