"""Classifiers of dat_spect: kept as numbers, honest about held-out patients, the same from a seed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from apps.dat_spect import train as training
from apps.dat_spect.classifiers import (
    KINDS,
    Classifiers,
    Neighbours,
    load_classifiers,
    log_odds,
    save_classifiers,
)
from apps.dat_spect.evaluate import area_under_curve, calibration_error, share_of
from apps.dat_spect.features import VIEWS, numbers, picture_vector, regions_of
from apps.dat_spect.fit import Fitted, _components, _folds, fit_classifiers
from apps.dat_spect.labels import Feature, Side
from apps.dat_spect.table import Row
from apps.dat_spect.template import Template, load_template
from apps.dat_spect.train import calibrate, normal_ranges
from dicom_node.catalog import SHIPPED_ROOT
from operators.errors import BrokenBundle, Refused
from operators.phantom.identity import generator
from operators.train.loop import bars

BUNDLE = SHIPPED_ROOT / "dat_spect" / "model"
PATIENTS = 70


@pytest.fixture(scope="module")
def template() -> Template:
    return load_template(BUNDLE)


@pytest.fixture(scope="module")
def regions(template):
    return regions_of(template)


def made_rows(regions, count: int = PATIENTS, seed: int = 1) -> list[Row]:
    """Patients whose slab is drawn from the template's own regions: quick, and clear in what they show."""
    rng = generator(seed)
    rows = []
    for number in range(count):
        is_abnormal = number % 2 == 0
        level = rng.normal(2.0, 0.25) * (0.55 if is_abnormal else 1.0)
        is_uneven, is_dot = rng.random() < 0.4, rng.random() < 0.4
        slab = rng.normal(0, 0.05, (48, 64)).astype(np.float32)
        for part, weight in regions.weights.items():
            share = 0.4 if is_dot and "posterior" in part else 1.0
            share *= 0.6 if is_uneven and part.endswith("right") else 1.0
            slab += np.float32(level * share) * weight / weight.max()
        bolt = {Side.RIGHT: 3.5 * level * (0.6 if is_uneven else 1), Side.LEFT: 3.5 * level}
        rows.append(
            Row(
                patient_id=f"P{number}",
                age_years=float(rng.uniform(45, 85)),
                sex="F" if rng.random() < 0.5 else "M",
                slab=slab.astype(np.float32),
                bolt=bolt,
                structures=dict.fromkeys(
                    ("caudate_right", "caudate_left", "putamen_right", "putamen_left"), level
                ),
                is_abnormal=is_abnormal,
                is_normal_subject=not is_abnormal,
                answers={
                    Feature.LOW_UPTAKE: level < 1.5,
                    Feature.ASYMMETRY: is_uneven,
                    Feature.DOT_SHAPE: is_dot,
                },
                true_ratios={side: value + 0.3 for side, value in bolt.items()},
            )
        )
    return rows


@pytest.fixture(scope="module")
def fitted(regions) -> Fitted:
    return fit_classifiers(made_rows(regions), regions, seed=0, mean_ratio=lambda row: row.mean_bolt)


def predictions(classifiers: Classifiers, rows: list[Row], regions) -> np.ndarray:
    out = []
    for row in rows:
        features = classifiers.features(row.slab, regions)
        out.append(
            [
                *features.values(),
                classifiers.abnormal(features, row.age_years),
                classifiers.by_ratios(row.mean_bolt, row.asymmetry),
                classifiers.direct(row.slab, regions),
            ]
        )
    return np.array(out)


def test_predictions_after_saving_and_loading_equal_those_before(fitted, regions, tmp_path):
    rows = made_rows(regions, 12, seed=9)
    before = predictions(fitted.classifiers, rows, regions)
    save_classifiers(fitted.classifiers, tmp_path)
    assert np.array_equal(predictions(load_classifiers(tmp_path), rows, regions), before)
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".json", ".safetensors"}


def test_the_same_rows_and_seed_give_the_same_files(fitted, regions, tmp_path):
    again = fit_classifiers(made_rows(regions), regions, seed=0, mean_ratio=lambda row: row.mean_bolt)
    for folder, one in (("one", fitted), ("two", again)):
        save_classifiers(one.classifiers, tmp_path / folder)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert len(files) == 3
    for path in files:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes(), path


def test_what_is_easy_to_see_is_learned(fitted):
    for name in ("low_uptake", "asymmetry", "dot_shape", "model3"):
        assert fitted.held_out[name] > 0.9, (name, fitted.held_out)


def test_shuffled_answers_teach_nothing(regions):
    rows = made_rows(regions, 90, seed=3)
    order = generator(5).permutation(len(rows))
    shuffled = [
        Row(
            **{
                **{name: getattr(row, name) for name in row.__dataclass_fields__},
                "answers": rows[int(other)].answers,
                "is_abnormal": rows[int(other)].is_abnormal,
            }
        )
        for row, other in zip(rows, order, strict=True)
    ]
    found = fit_classifiers(shuffled, regions, seed=0, mean_ratio=lambda row: row.mean_bolt)
    assert all(0.25 < value < 0.75 for value in found.held_out.values()), found.held_out


def test_one_patient_is_never_on_both_sides_of_a_fold():
    groups = np.repeat([f"P{i}" for i in range(30)], 3)
    answers = np.repeat(np.arange(30) % 2, 3).astype(float)
    for learn, check in _folds(answers, groups, 5, 0):
        assert not set(groups[learn]) & set(groups[check])


def test_too_few_patients_of_a_kind_are_refused(regions):
    rows = [row for row in made_rows(regions) if not row.is_abnormal]
    with pytest.raises(ValueError, match="are needed"):
        fit_classifiers(rows, regions, seed=0, mean_ratio=lambda row: row.mean_bolt)


def test_neighbours_and_components_are_those_of_scikit_learn(regions):
    rng = generator(8)
    points, answers, asked = rng.normal(size=(60, 6)), rng.integers(0, 2, 60), rng.normal(size=(20, 6))
    own = Neighbours(
        mean=np.zeros(6), scale=np.ones(6), points=points, answers=answers.astype(float), k=np.array([7.0])
    )
    theirs = KNeighborsClassifier(7).fit(points, answers).predict_proba(asked)[:, 1]
    assert np.allclose(own.probability(asked), (theirs * 7 + 1) / 9)
    slabs = [row.slab for row in made_rows(regions, 30)]
    components = _components(Feature.LOW_UPTAKE, slabs, regions)
    pictures = np.stack([picture_vector(Feature.LOW_UPTAKE, slab, regions) for slab in slabs])
    wanted = PCA(n_components=5, svd_solver="full").fit(pictures).components_
    assert np.allclose(np.abs((components.axes[:5] * wanted).sum(axis=1)), 1, atol=1e-6)


def test_a_mirrored_picture_has_the_same_features(regions):
    for row in made_rows(regions, 6):
        for feature in Feature:
            for view in (picture_vector, numbers):
                one = view(feature, row.slab, regions)
                other = view(feature, np.ascontiguousarray(row.slab[:, ::-1]), regions)
                assert np.allclose(one, other, atol=2e-2), feature


def test_asymmetry_and_shape_do_not_depend_on_how_much_uptake_there_is(regions):
    slab = made_rows(regions, 1)[0].slab + np.float32(0.5)
    for feature in (Feature.ASYMMETRY, Feature.DOT_SHAPE):
        assert np.allclose(
            picture_vector(feature, slab, regions), picture_vector(feature, 2 * slab, regions), atol=1e-4
        )


def test_a_broken_bundle_is_said_to_be_broken(fitted, tmp_path):
    save_classifiers(fitted.classifiers, tmp_path)
    (tmp_path / "models" / "direct.json").write_text("{}")
    with pytest.raises(BrokenBundle):
        load_classifiers(tmp_path)
    with pytest.raises(BrokenBundle):
        load_classifiers(Path(tmp_path / "nothing"))


def test_calibration_of_the_scanner_and_ranges_of_normal_come_from_the_rows(regions):
    rows = made_rows(regions, 60)
    line = calibrate(rows)
    assert line(4.0) == pytest.approx(4.3, abs=1e-3)
    assert line.n == 120
    assert calibrate(rows[:5])(4.0) == 4.0
    ranges = normal_ranges(rows, line)
    assert set(ranges) == {"striatum", "caudate", "putamen"}
    assert normal_ranges(rows[:8], line) == {}


def test_metrics_of_perfect_and_of_useless_scores():
    rows = {
        "t": np.array([0.0, 0, 1, 1] * 10),
        "good": np.array([0.0, 0, 1, 1] * 10),
        "none": np.full(40, 0.5),
    }
    assert area_under_curve("t", "good")(rows) == 1.0
    assert area_under_curve("t", "none")(rows) == 0.5
    assert calibration_error("t", "good")(rows) == 0.0
    assert np.isnan(area_under_curve("t", "good")({**rows, "t": np.ones(40)}))


def test_every_classifier_has_a_view():
    assert set(VIEWS) == set(KINDS)
    assert log_odds(np.array([0.0]))[0] > -10


def test_a_scan_that_cannot_be_used_is_left_out_of_training_and_many_end_it(monkeypatch, tmp_path, regions):
    rows = made_rows(regions, count=1)

    def measured(case, _template):
        if case.name in unusable:
            raise Refused("no brain", attribute="PixelData")
        return rows[0]

    monkeypatch.setattr(training, "read_case", lambda folder: SimpleNamespace(name=folder.name))
    monkeypatch.setattr(training, "measured_row", measured)
    folders = [tmp_path / str(number) for number in range(40)]
    with bars() as progress:
        unusable = {"3", "17"}
        assert len(training._measured(folders, None, progress)[0]) == 38
        unusable = {"3", "17", "20"}
        with pytest.raises(Refused, match="3 of 40"):
            training._measured(folders, None, progress)


def test_shares_of_decided_patients_are_those_of_their_kind():
    rows = {"abnormal": np.array([1.0, 1.0, 0.0, 0.0]), "model3": np.array([0.9, 0.2, 0.9, np.nan])}
    assert share_of(lambda p: p >= 0.65, "model3", is_abnormal=True)(rows) == 0.5
    assert share_of(lambda p: p >= 0.65, "model3", is_abnormal=False)(rows) == 1.0
