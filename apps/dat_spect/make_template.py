"""The striatal template out of cases with outlined structures.

Cases are first laid over one another by their striata alone: the middle between them, and the
line from right to left. Their mean is a template; cases are registered to it, with their
outlined striata made bright, so that uptake plays no part, and averaged again. Left and right are
averaged too: a template has no side that is larger.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from apps.dat_spect.labels import LABELS, PARTS, Side
from apps.dat_spect.register import brain_of, register
from apps.dat_spect.template import GRID, SPACING_MM, Template
from operators.geometry import VolumeGeometry
from operators.preprocess.resample import resample

ROUNDS = 2
BRAIN_SHARE = 0.6
"""Counts above this share of the brain's own lie inside of it: half of the step to the scalp."""
MARK = 6.0
"""Binding ratio that outlined striata get."""
MARK_FWHM_MM = 8.0
LEAST_CASES = 6


@dataclass(frozen=True, kw_only=True, eq=False)
class Outlined:
    """A scan with its structures.

    Args:
        counts_zyx: ``(z, y, x)`` float32, corrected for attenuation.
        labels_zyx: ``(z, y, x)`` uint8, values of `LABELS`.
        geometry: Of both.
    """

    counts_zyx: NDArray[np.float32]
    labels_zyx: NDArray[np.uint8]
    geometry: VolumeGeometry


def make_template(cases: Sequence[Outlined], advance: Callable[[], None] = lambda: None) -> Template:
    """The mean of the cases.

    Args:
        cases: At least `LEAST_CASES`, each with both caudates and putamina.
        advance: Called after each of ``ROUNDS * len(cases)`` registrations.

    Raises:
        ValueError: There are too few, or a structure is missing in one.
        Refused: A scan shows no brain.
    """
    if len(cases) < LEAST_CASES:
        raise ValueError(f"{len(cases)} outlined cases; at least {LEAST_CASES} are needed for a template")
    places = [_by_striata(case) for case in cases]
    template = _mean(cases, places)
    for _ in range(ROUNDS):
        places = []
        for case in cases:
            found = register(_marked(case), case.geometry, template)
            places.append(found.patient_from_template)
            advance()
        template = _mean(cases, places)
    return template


def _by_striata(case: Outlined) -> NDArray[np.float64]:
    """``(4, 4)`` template mm to LPS mm: origin between the striata, x from right to left."""
    centres = {side: _centre(case, (f"caudate_{side}", f"putamen_{side}")) for side in Side}
    across = centres[Side.LEFT] - centres[Side.RIGHT]
    across /= np.linalg.norm(across)
    up = np.array([0.0, 0.0, 1.0])
    back = np.cross(up, across)
    back /= np.linalg.norm(back)
    out = np.eye(4)
    out[:3, :3] = np.stack([across, back, np.cross(across, back)], axis=1)
    out[:3, 3] = (centres[Side.LEFT] + centres[Side.RIGHT]) / 2
    return out


def _centre(case: Outlined, names: Sequence[str]) -> NDArray[np.float64]:
    index = np.argwhere(np.isin(case.labels_zyx, [LABELS[name] for name in names]))
    if not len(index):
        raise ValueError(f"a case has no outline of {' or '.join(names)}")
    z, y, x = index.mean(axis=0)
    return case.geometry.position_mm_lps((float(z), float(y), float(x)))


def _marked(case: Outlined) -> NDArray[np.float32]:
    """The scan with its striata at one uptake, whatever the patient's."""
    _, level = brain_of(case.counts_zyx, case.geometry)
    brain = np.clip(case.counts_zyx / np.float32(level), 0, 1)
    striata = (case.labels_zyx > 0) & (case.labels_zyx != LABELS["reference"])
    sigma = [MARK_FWHM_MM / 2.3548 / mm for mm in case.geometry.spacing_mm_zyx]
    return np.asarray(brain + ndimage.gaussian_filter(striata * np.float32(MARK), sigma), dtype=np.float32)


def _mean(cases: Sequence[Outlined], places: Sequence[NDArray[np.float64]]) -> Template:
    structures = [name for name in LABELS if name != "reference"]
    total = np.zeros((len(structures) + 1, *GRID.shape_zyx))
    for case, place in zip(cases, places, strict=True):
        _, level = brain_of(case.counts_zyx, case.geometry)
        smooth = ndimage.gaussian_filter(case.counts_zyx, [3.0 / mm for mm in case.geometry.spacing_mm_zyx])
        masks = [(case.labels_zyx == LABELS[name]).astype(np.float32) for name in structures]
        masks.append((smooth > BRAIN_SHARE * level).astype(np.float32))
        total += resample(np.stack(masks), case.geometry, GRID, source_from_target_lps=place).numpy()
    total /= len(cases)
    chances = {name: _evened(total, structures, name) for name in structures}
    brain = (total[-1] + total[-1][:, :, ::-1]) / 2
    return Template({part: _half(chances, part) for part in PARTS} | {"brain": brain.astype(np.float32)})


def _evened(total: NDArray[np.float64], structures: Sequence[str], name: str) -> NDArray[np.float32]:
    """The mean of a structure and the mirrored one of the other side."""
    kind, side = name.rsplit("_", 1)
    other = f"{kind}_{'left' if side == 'right' else 'right'}"
    mirrored = total[structures.index(other)][:, :, ::-1]
    return np.asarray((total[structures.index(name)] + mirrored) / 2, dtype=np.float32)


def _half(chances: dict[str, NDArray[np.float32]], part: str) -> NDArray[np.float32]:
    """The caudate as it is; of a putamen the half in front of or behind its middle."""
    if part.startswith("caudate"):
        return chances[part]
    _, which, side = part.split("_")
    putamen = chances[f"putamen_{side}"]
    along = _along(putamen)
    middle = _weighted_median(along, putamen)
    # A voxel that the border goes through belongs to both.
    behind = np.clip((along - middle) / SPACING_MM + 0.5, 0, 1)
    return np.asarray(putamen * (behind if which == "posterior" else 1 - behind), dtype=np.float32)


def _along(chance: NDArray[np.float32]) -> NDArray[np.float64]:
    """How far back each voxel lies along the putamen's long axis, mm."""
    index = np.argwhere(chance > 0)
    weight = chance[chance > 0]
    centre = np.average(index, axis=0, weights=weight)
    spread = np.cov((index - centre).T, aweights=weight)
    axis = np.linalg.eigh(spread)[1][:, -1]
    axis *= np.sign(axis[1]) or 1.0
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in chance.shape), indexing="ij"), axis=-1)
    return np.asarray((grid - centre) @ axis * SPACING_MM, dtype=np.float64)


def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float32]) -> float:
    chosen = weights > 0
    order = np.argsort(values[chosen], kind="stable")
    sums = np.cumsum(weights[chosen][order], dtype=np.float64)
    return float(values[chosen][order][int(np.searchsorted(sums, sums[-1] / 2))])
