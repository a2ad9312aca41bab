"""The landmark detector: peaks between pixels, spacing, and what is learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from operators.errors import BrokenBundle
from operators.infer.landmarks import Detector, find_peaks, resampled
from operators.train.augment_images import ImageAugmentation, motions, moved
from operators.train.landmarks import LandmarkCase, LandmarkPlan, into_cut_out, train_landmarks
from operators.train.loop import bars

CPU = torch.device("cpu")
PLAN = LandmarkPlan(
    names=("disc", "square"),
    spacing_mm=4.0,
    size_yx=(64, 80),
    sigma_mm=9.0,
    min_distance_mm=45.0,
    features=(8, 8, 16, 16, 16, 8),
    steps=70,
    batch=6,
    learning_rate=4e-3,
    held_out_share=0.25,
)


def shapes(number: int) -> LandmarkCase:
    """Up to two bright discs and one bright square in noise, 240 mm x 300 mm, spacing of its own."""
    rng = np.random.default_rng([9, number])
    spacing_mm = float(rng.uniform(1.6, 2.6))
    shape = (round(240 / spacing_mm), round(300 / spacing_mm))
    image = rng.normal(0.3, 0.04, shape)
    y_mm, x_mm = (np.arange(side) * spacing_mm for side in shape)
    centres = [(60.0, 60.0), (60.0, 230.0), (180.0, 70.0), (180.0, 220.0)]
    places = [tuple(np.array(centres[k]) + rng.uniform(-25, 25, 2)) for k in rng.permutation(4)[:3]]
    discs, squares = places[: int(rng.integers(0, 3))], places[2:]
    for y, x in discs:
        image[np.hypot(y_mm[:, None] - y, x_mm - x) < 20] = 0.8
    for y, x in squares:
        image[(abs(y_mm - y)[:, None] < 17) & (abs(x_mm - x) < 17)] = 0.8
    return LandmarkCase(
        image_cyx=image.clip(0, 1),
        spacing_mm_yx=(spacing_mm, spacing_mm),
        points_mm=(discs, squares),
        patient_id=f"P{number}",
    )


def train(bundle: Path, cases: list[LandmarkCase]) -> dict:
    with bars() as progress:
        return train_landmarks(
            cases, PLAN, bundle=bundle, name="shapes", seed=0, device=CPU, progress=progress
        )


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    bundle = tmp_path_factory.mktemp("shapes")
    return bundle, train(bundle, [shapes(number) for number in range(40)])


def test_shapes_are_told_apart_and_found_in_images_of_any_spacing(learned) -> None:
    bundle, report = learned
    assert report["detection_rate"] >= 0.9
    assert report["error_mm_median"] < 3
    detector = Detector.load(bundle, "shapes", CPU)
    near, wanted = 0, 0
    for case in map(shapes, range(200, 212)):
        found = detector.find(case.image_cyx, case.spacing_mm_yx)
        for name, points in zip(PLAN.names, case.points_mm, strict=True):
            assert [peak.score for peak in found[name]] == sorted(
                (p.score for p in found[name]), reverse=True
            )
            wanted += len(points)
            near += sum(
                any(np.hypot(peak.y_mm - y, peak.x_mm - x) < 8 for peak in found[name]) for y, x in points
            )
    assert near >= 0.85 * wanted


def test_the_same_seed_gives_the_same_detector(tmp_path, learned) -> None:
    train(tmp_path, [shapes(number) for number in range(40)])
    for name in ("models/shapes.safetensors", "configs/inference.json"):
        assert (tmp_path / name).read_bytes() == (learned[0] / name).read_bytes()


def test_a_small_image_is_seen_in_as_much_emptiness_as_in_training(learned) -> None:
    detector = Detector.load(learned[0], "shapes", CPU)
    small = shapes(300).image_cyx[None, :40, :48]
    unit = (PLAN.spacing_mm, PLAN.spacing_mm)
    above, before = (PLAN.size_yx[0] - 40) // 2, (PLAN.size_yx[1] - 48) // 2
    alone = np.zeros((len(small), *PLAN.size_yx), dtype=np.float32)
    alone[:, above : above + 40, before : before + 48] = small
    within = detector.heat_maps(alone, unit)[:, above : above + 40, before : before + 48]
    np.testing.assert_allclose(detector.heat_maps(small, unit), within, atol=1e-6)


def test_an_image_of_other_channels_is_not_taken(learned) -> None:
    detector = Detector.load(learned[0], "shapes", CPU)
    with pytest.raises(ValueError, match="images of 1 channels, not 2"):
        detector.find(np.zeros((2, 64, 64)), (4.0, 4.0))


def test_landmarks_that_are_not_declared_are_a_broken_bundle(learned) -> None:
    with pytest.raises(BrokenBundle, match="declares no landmarks 'knees'"):
        Detector.load(learned[0], "knees", CPU)


def test_a_case_with_other_landmarks_than_the_plan_is_an_error(tmp_path) -> None:
    case = LandmarkCase(image_cyx=np.zeros((9, 9)), spacing_mm_yx=(4, 4), points_mm=([],), patient_id="a")
    with pytest.raises(ValueError, match="disc, square"):
        train(tmp_path, [case])


def hills(*tops: tuple[float, float, float], sigma_px: float = 2.0) -> np.ndarray:
    rows, columns = np.mgrid[:40, :50]
    out = np.zeros((40, 50), dtype=np.float32)
    for y, x, height in tops:
        hill = height * np.exp(-0.5 * ((rows - y) ** 2 + (columns - x) ** 2) / sigma_px**2)
        np.maximum(out, hill, out=out)
    return out


def test_peaks_lie_between_pixels_and_the_highest_comes_first() -> None:
    found = find_peaks(hills((10.3, 12.7, 0.6), (30.0, 40.4, 0.9)), threshold=0.3, min_distance_px=5)
    assert [(round(y, 1), round(x, 1)) for y, x, _ in found] == [(30.0, 40.4), (10.3, 12.7)]


def test_of_two_peaks_that_are_too_close_the_higher_one_counts() -> None:
    pair = hills((10, 10, 0.6), (10, 20, 0.9))
    assert len(find_peaks(pair, threshold=0.3, min_distance_px=12)) == 1
    assert len(find_peaks(pair, threshold=0.3, min_distance_px=8)) == 2
    assert find_peaks(pair, threshold=0.95, min_distance_px=8) == []


def test_a_peak_at_the_edge_is_found_there() -> None:
    (found,) = find_peaks(hills((0, 49, 0.9)), threshold=0.3, min_distance_px=5)
    assert found[:2] == pytest.approx((0, 49), abs=0.5)


def test_resampling_leaves_places_in_millimetres_where_they_are() -> None:
    image = np.zeros((101, 151), dtype=np.float32)
    image[60, 90] = 1.0
    coarse = resampled(image, (0.5, 0.5), 2.0)[0]
    rows, columns = np.nonzero(coarse == coarse.max())
    assert (rows[0] * 2.0, columns[0] * 2.0) == pytest.approx((30.0, 45.0), abs=1.0)


def test_points_move_with_their_image() -> None:
    image = torch.zeros(1, 1, 90, 110)
    image[0, 0, 40, 70] = 1.0
    settings = ImageAugmentation(turn_deg=25, scale=0.2, shift=0.1, flip_share=0.5)
    for seed in range(10):
        maps = motions(np.random.default_rng(seed), 1, settings)
        cut = moved(image, maps, (64, 80))[0, 0].numpy().astype(np.float64)
        rows, columns = np.mgrid[:64, :80]
        seen = np.array([(cut * rows).sum(), (cut * columns).sum()]) / cut.sum()
        (told,) = into_cut_out(np.array([[40.0, 70.0]]), maps[0], (90, 110), (64, 80))
        assert told == pytest.approx(seen, abs=0.35)
