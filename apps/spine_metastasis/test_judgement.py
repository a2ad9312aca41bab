"""What is said of vertebrae for given probabilities: what is sure, what is not, what was not examined."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from apps.spine_metastasis import results
from apps.spine_metastasis.cases import TrueVertebra, TruthCase
from apps.spine_metastasis.classify import CAUSES, Calibration, Judge, Presence
from apps.spine_metastasis.crops import outside_share, white_of
from apps.spine_metastasis.evaluate import _of_patient, _refused, hits_of, matched
from apps.spine_metastasis.findings import NOT_FOUND, Findings, findings_of, range_of, scope_of
from apps.spine_metastasis.fit import LIMITS
from apps.spine_metastasis.labels import FractureClass, Weighting
from apps.spine_metastasis.levels import Point, Spine, spine_of
from apps.spine_metastasis.samples import Sample
from apps.spine_metastasis.stack import SagittalStack
from apps.spine_metastasis.train import held_out_of
from operators.encode.report import Group
from operators.errors import Refused
from operators.geometry import VolumeGeometry

SOUND = np.array([0.98, 0.01, 0.01])
MALIGNANT = np.array([0.05, 0.03, 0.92])
OSTEOPOROTIC = np.array([0.05, 0.92, 0.03])
SACRUM = Point(position_mm_lps=(0.0, 6.0, 8.0), score=0.9)
LEVEL_MM = 34.0
COUNT = 7


def _points(count: int = COUNT) -> list[Point]:
    """Bodies above the sacrum, the lowest one first."""
    return [Point(position_mm_lps=(0.0, 0.0, 40.0 + LEVEL_MM * i), score=0.9) for i in range(count)]


def _stack(top_mm: float = 330.0, *, height_mm: float = 350.0) -> SagittalStack:
    """Five slices of 200 mm depth around the spine, from a height downwards."""
    shape = (5, int(height_mm), 200)
    geometry = VolumeGeometry(
        shape,
        (4.0, 1.0, 1.0),
        (-8.0, -100.0, top_mm),
        ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)),
    )
    volume = SimpleNamespace(headers=tuple(map(_header, range(shape[0]))), geometry=geometry)
    return SagittalStack(signal=np.ones(shape, np.float32), geometry=geometry, volume=volume)  # type: ignore[arg-type]


def _header(number: int) -> Dataset:
    header = Dataset()
    header.Rows, header.Columns, header.SOPInstanceUID = 350, 200, f"2.25.{number + 1}"
    return header


@dataclasses.dataclass(frozen=True)
class _Says:
    """A classifier that says the same of each vertebra whatever it looks like."""

    answers: tuple[NDArray[np.float64], ...]

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        return np.stack(self.answers[: len(images)])


def _findings(
    spine: Spine,
    answers: Mapping[Weighting, Mapping[int, NDArray[np.float64]]],
    stacks: Mapping[Weighting, SagittalStack] | None = None,
) -> Findings:
    """Of a spine whose vertebrae are sound but for those of an index."""
    stacks = stacks or {weighting: _stack() for weighting in answers}
    classifiers: dict[Weighting, Any] = {
        weighting: _Says(tuple(by_index.get(i, SOUND) for i in range(len(spine.vertebrae))))
        for weighting, by_index in answers.items()
    }
    judge = Judge(classifiers=classifiers, calibration=Calibration())
    return findings_of(stacks, spine, judge.judge(stacks, spine.vertebrae, maps=False))


def _both(index: int, t1: NDArray[np.float64], stir: NDArray[np.float64]) -> Any:
    return {Weighting.T1: {index: t1}, Weighting.STIR: {index: stir}}


NOTHING: Any = {Weighting.T1: {}, Weighting.STIR: {}}


def _patient_group(findings: Findings) -> Group:
    return results.report_content(findings).groups[-1]


def _codes(findings: Findings) -> list[str]:
    return [quality.value.value for quality in _patient_group(findings).qualities]


# ------------------------------------------------------- a negative answer


def test_a_negative_answer_names_the_vertebrae_that_were_examined():
    findings = _findings(spine_of(_points(), SACRUM), NOTHING)
    assert range_of(findings) == "T11 to L5 (7 vertebrae) were"
    assert scope_of(findings) == ("T11 to L5 (7 vertebrae) were examined, nothing above or below",)
    said = results.summary_of(findings)
    assert NOT_FOUND in said
    assert "T11 to L5 (7 vertebrae) were examined" in said
    group = _patient_group(findings)
    assert any("T11 to L5 (7 vertebrae) were examined" in text for text in group.comments)
    assert _codes(findings) == ["NO_FRACTURE"]
    assert results.report_content(findings).is_complete


@pytest.mark.parametrize("sacrum", [SACRUM, None])
def test_a_vertebra_that_may_have_been_missed_is_told_beside_a_negative_answer(sacrum):
    points = _points(8)
    del points[4]
    findings = _findings(spine_of(points, sacrum), NOTHING)
    assert not findings.told
    above = "vertebra 3 from the top (unlabelled level)"
    assert any(w.startswith(f"between {above} and") and "missed" in w for w in findings.warnings)
    assert f"between {above}" in results.summary_of(findings)
    assert "NO_FRACTURE" not in _codes(findings)
    assert not results.report_content(findings).is_complete


def test_without_a_sacrum_a_negative_answer_says_that_levels_are_unknown():
    findings = _findings(spine_of(_points()), NOTHING)
    assert range_of(findings) == "7 vertebrae of unknown level were"
    assert any("the sacrum was not found" in warning for warning in findings.warnings)


def test_a_sacrum_that_is_not_believed_is_told():
    false = dataclasses.replace(SACRUM, position_mm_lps=_points()[3].position_mm_lps)
    findings = _findings(spine_of(_points(), false), NOTHING)
    assert len(findings.judged) == COUNT
    assert any("was not believed" in warning for warning in findings.warnings)


def test_a_vertebra_at_the_border_is_not_called_sound():
    top = 40.0 + LEVEL_MM * (COUNT - 1)
    stack = _stack(top + 15.0)
    findings = _findings(spine_of(_points(), SACRUM), NOTHING, {w: stack for w in Weighting})
    assert outside_share(stack, findings.judged[0].vertebra) > 0.25
    assert findings.judged[0].presence is Presence.NOT_ASSESSED
    assert range_of(findings) == "T12 to L5 (6 vertebrae) were"
    assert "T11 is not assessed: it lies at the border of the pictures" in findings.warnings
    assert "T11 is not assessed" in results.summary_of(findings)


def test_a_fracture_at_the_border_is_still_told():
    stack = _stack(40.0 + LEVEL_MM * (COUNT - 1) + 15.0)
    findings = _findings(
        spine_of(_points(), SACRUM), _both(0, MALIGNANT, MALIGNANT), {w: stack for w in Weighting}
    )
    assert [one.presence for one in findings.told] == [Presence.FRACTURED]


def test_a_vertebra_whole_in_one_sequence_is_assessed():
    short = _stack(40.0 + LEVEL_MM * (COUNT - 1) + 15.0)
    findings = _findings(
        spine_of(_points(), SACRUM), NOTHING, {Weighting.T1: short, Weighting.STIR: _stack()}
    )
    assert findings.not_assessed == ()


def test_a_spine_of_which_nothing_can_be_examined_is_refused():
    narrow = _stack(160.0, height_mm=130.0)
    narrow = dataclasses.replace(narrow, signal=narrow.signal[:, :, 80:120])
    geometry = dataclasses.replace(
        narrow.geometry, shape_zyx=narrow.signal.shape, origin_mm_lps=(-8.0, -20.0, 160.0)
    )
    narrow = dataclasses.replace(narrow, geometry=geometry)
    with pytest.raises(Refused, match="none can be examined"):
        _findings(spine_of(_points(3), SACRUM), NOTHING, {w: narrow for w in Weighting})


def test_vertebrae_of_one_sequence_alone_are_told_in_a_negative_answer():
    stacks = {Weighting.T1: _stack(), Weighting.STIR: _stack(190.0)}
    findings = _findings(spine_of(_points(), SACRUM), NOTHING, stacks)
    assert any(w.startswith("not in the pictures of STIR: T11, T12") for w in findings.warnings)


# -------------------------------------------------- is it fractured at all


def test_one_sure_sequence_against_the_other_is_a_possible_fracture():
    findings = _findings(spine_of(_points(), SACRUM), _both(3, SOUND, np.array([0.12, 0.0, 0.88])))
    (one,) = findings.told
    assert one.presence is Presence.POSSIBLE
    assert NOT_FOUND not in results.summary_of(findings)
    assert "possible fracture, indeterminate: L2" in results.summary_of(findings)
    assert "L2: possible fracture, T1 sees no fracture (0.02), STIR sees one (0.88)" in findings.warnings
    assert _codes(findings) == ["82334004"]
    assert results.outcome_of(findings).measurements["possibly_fractured_vertebrae"]["value"] == 1.0
    assert results.outcome_of(findings).measurements["l2_p_fractured_stir"]["value"] == pytest.approx(0.88)


def test_a_probability_near_the_limit_is_a_possible_fracture():
    doubtful = np.array([0.6, 0.3, 0.1])
    findings = _findings(spine_of(_points(), SACRUM), _both(3, doubtful, doubtful))
    assert [one.presence for one in findings.told] == [Presence.POSSIBLE]
    assert any("L2: possible fracture" in warning and "0.40" in warning for warning in findings.warnings)


@pytest.mark.parametrize(
    ("possible", "answer"),
    [(np.array([0.6, 0.1, 0.3]), None), (np.array([0.6, 0.38, 0.02]), CAUSES.index("osteoporotic fracture"))],
)
def test_a_possible_fracture_that_might_be_malignant_makes_the_patient_indeterminate(possible, answer):
    answers = {w: {2: OSTEOPOROTIC, 5: possible} for w in Weighting}
    findings = _findings(spine_of(_points(), SACRUM), answers)
    assert findings.answer == answer
    assert "possible fracture of L4" in results.patient_verdict(findings)


def test_the_limit_of_a_fracture_is_never_above_one_half(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "inference.json").write_text('{"spine": {"fractured_from": 0.74}}')
    assert Calibration.load(tmp_path).fractured_from == 0.5
    assert LIMITS.max() == pytest.approx(0.5)


# ---------------------------------------------------------- what it says why


def test_a_sequence_that_sees_no_fracture_says_nothing_of_the_cause():
    blind = np.array([0.65, 0.05, 0.30])
    findings = _findings(spine_of(_points(), SACRUM), _both(3, OSTEOPOROTIC, blind))
    (one,) = findings.told
    assert one.presence is Presence.FRACTURED
    assert set(one.causes_by_sequence) == {Weighting.T1}
    assert "STIR says" not in " ".join(findings.warnings)
    assert "STIR alone: sees no fracture (fracture 0.35)." in [
        text for group in results.report_content(findings).groups for text in group.comments
    ]
    assert "l2_p_malignant_stir" not in results.outcome_of(findings).measurements
    assert results.outcome_of(findings).measurements["l2_p_fractured_stir"]["value"] == pytest.approx(0.35)


def test_an_answer_of_one_sequence_says_so_wherever_it_stands():
    answers: Any = {Weighting.STIR: {3: MALIGNANT}}
    findings = _findings(spine_of(_points(), SACRUM), answers)
    assert results.patient_verdict(findings).endswith("STIR alone")
    assert "STIR alone" in results.summary_of(findings)
    assert not results.report_content(findings).is_complete


# ------------------------------------------------------------------ pictures


def test_white_of_vertebrae_beyond_a_sequence_is_that_of_its_border():
    stack = _stack(10.0, height_mm=80.0)
    vertebrae = spine_of(_points(), SACRUM).vertebrae
    assert white_of(stack, vertebrae) == pytest.approx(1.0)
    assert white_of(_stack(500.0, height_mm=100.0), vertebrae) == pytest.approx(1.0)


# ---------------------------------------------------------------- evaluation


def _case(findings: Findings, fractures: Mapping[int, FractureClass]) -> TruthCase:
    return TruthCase(
        name="case",
        patient_id="1",
        stacks=findings.stacks,
        vertebrae=tuple(
            TrueVertebra(
                centre_mm_lps=one.vertebra.centre_mm_lps,
                fracture=fractures.get(index, FractureClass.NOT_FRACTURED),
            )
            for index, one in enumerate(findings.judged)
        ),
        sacrum=SACRUM.position_mm_lps,
    )


def _row(findings: Findings, fractures: Mapping[int, FractureClass]) -> dict[str, float]:
    case = _case(findings, fractures)
    return _of_patient(case, findings, hits_of(matched(case.vertebrae, findings.judged)))


@pytest.mark.parametrize(
    ("fracture", "worst_score"), [(FractureClass.OSTEOPOROTIC, 1.0), (FractureClass.MALIGNANT, 0.0)]
)
def test_a_missed_fracture_has_the_worst_score(fracture, worst_score):
    findings = _findings(spine_of(_points(), SACRUM), NOTHING)
    row = _row(findings, {3: fracture})
    assert row["score"] == row["score_t1"] == row["score_stir"] == worst_score
    assert "found_score" not in row
    assert _refused(_case(findings, {3: fracture}))["score"] == worst_score


def test_the_right_cause_at_a_sound_vertebra_is_not_right():
    findings = _findings(spine_of(_points(), SACRUM), _both(1, MALIGNANT, MALIGNANT))
    assert _row(findings, {1: FractureClass.MALIGNANT})["is_right"] == 1.0
    assert _row(findings, {5: FractureClass.MALIGNANT})["is_right"] == 0.0


# ----------------------------------------------------------------------- age


def _aged(**attributes: str) -> dict[Weighting, SagittalStack]:
    stack = _stack()
    for header in stack.headers:
        for keyword, value in attributes.items():
            setattr(header, keyword, value)
    return {Weighting.T1: stack}


def test_a_child_is_refused_by_the_date_of_birth_too():
    born = _aged(PatientBirthDate="20120304", StudyDate="20240101")
    with pytest.raises(Refused, match="11 years old") as refused:
        _findings(spine_of(_points(), SACRUM), {Weighting.T1: {}}, born)
    assert refused.value.attribute == "PatientAge"


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({}, "tells the age"),
        ({"PatientAge": "029Y"}, "below 38 were not learned from"),
        ({"PatientAge": "070Y"}, None),
    ],
)
def test_an_age_that_was_not_learned_from_or_is_unknown_is_told(attributes, told):
    findings = _findings(spine_of(_points(), SACRUM), {Weighting.T1: {}}, _aged(**attributes))
    found = [warning for warning in findings.warnings if "adults" in warning or "years old" in warning]
    assert bool(found) == (told is not None)
    assert all(told in warning for warning in found)


# ------------------------------------------------------------------ training


def test_two_examinations_of_a_patient_are_kept_apart():
    def sample(fracture: FractureClass) -> Sample:
        return Sample(
            patient_id="1",
            slices=(),
            pictures={w: np.zeros((1, 3, 4, 4), np.uint8) for w in Weighting},
            fractures={w: np.array([fracture], np.int64) for w in Weighting},
            numbers={w: np.array([2]) for w in Weighting},
        )

    before, after = sample(FractureClass.NOT_FRACTURED), sample(FractureClass.MALIGNANT)
    answers = SimpleNamespace(labels=np.array([0, 2]), out_of_fold=np.stack([SOUND, MALIGNANT]))
    held_out = held_out_of([before, after], dict.fromkeys(Weighting, answers))  # type: ignore[arg-type]
    assert [one.fracture for one in held_out] == [FractureClass.NOT_FRACTURED, FractureClass.MALIGNANT]
    assert [one.parts[Weighting.STIR].tolist() for one in held_out] == [SOUND.tolist(), MALIGNANT.tolist()]
