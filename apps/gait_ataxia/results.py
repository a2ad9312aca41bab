"""Findings of gait_ataxia as a measurement group, the report's page and a summary.

Pure: nothing here reads or writes DICOM files. The group's finding is the gait as such: that
somebody has ataxia is not what the app finds out.
"""

from __future__ import annotations

from pydicom.sr.coding import Code

from apps.gait_ataxia.findings import KEY_POINTS_FILE, Findings, quantities
from apps.gait_ataxia.pictures import key_images
from operators.encode import codes
from operators.encode.identity import Producer
from operators.encode.messages import KeyImages, PageContent, ReportContent
from operators.encode.pdf import Page, PageFigure, PageTable
from operators.encode.pictures import png_of
from operators.encode.report import Group, Number
from operators.encode.result import Outcome
from operators.measure.quantity import Quantity
from operators.video.photographic import ENTIRE_BODY

PROCEDURE = codes.private("GAIT_VIDEO", "Video recording of gait")
GAIT = codes.private("GAIT", "Gait")
SYNTHETIC_WARNING = (
    "The models learned from synthetic walkers only. On a person's walk the score has no validated meaning."
)


def report_content(findings: Findings, producer: Producer) -> ReportContent:
    """The SR: one group with all numbers."""
    strikes = findings.strike_frames
    comments = [
        f"Camera view: {findings.walk.view}. Points by {findings.pose.estimator}.",
        f"Heel strikes at frames, left: {_list(strikes['L'])}; right: {_list(strikes['R'])}.",
        f"Key-point series {KEY_POINTS_FILE}, BODY_25, {findings.key_points_digest}.",
        f"The interval is made to hold {100 * findings.estimate.coverage:.0f} % of patients "
        "like those of the training.",
    ]
    comments += [f"{q.meaning}: {q.why_missing}." for q in quantities(findings) if q.value is None]
    if findings.estimate.ridge is not None:
        comments.append(f"A ridge regression on gait parameters alone gives {findings.estimate.ridge:.1f}.")
    group = Group(
        tracking_id="Gait",
        finding=GAIT,
        site=ENTIRE_BODY,
        images=(findings.video.header,),
        numbers=tuple(_number(q, findings) for q in quantities(findings) if q.value is not None),
        comments=tuple(comments),
    )
    return ReportContent(
        groups=(group,),
        sources=(findings.video.header,),
        procedure=PROCEDURE,
        warnings=warnings_of(findings, producer),
        series_label="Gait report",
    )


def warnings_of(findings: Findings, producer: Producer) -> tuple[str, ...]:
    """What a reader must see, most important first."""
    own = (SYNTHETIC_WARNING,) if producer.is_synthetic else ()
    return tuple(dict.fromkeys((*own, *findings.warnings)))


def _list(frames: list[int]) -> str:
    return ", ".join(str(frame) for frame in frames) or "none"


def _number(quantity: Quantity, findings: Findings) -> Number:
    assert quantity.value is not None  # noqa: S101 - asked by the caller
    estimate = findings.estimate
    uncertainty = None
    if quantity.name == "sara_total":
        uncertainty = (estimate.sara - estimate.low, estimate.high - estimate.sara)
    name: Code = codes.private(quantity.code, quantity.meaning)
    return Number(
        name=name,
        value=quantity.value,
        unit=codes.unit_code(quantity.unit),
        uncertainty=uncertainty,
        derivation=codes.MEAN if quantity.name == "stride_time" else None,
    )


def key_image_content(findings: Findings, producer: Producer) -> KeyImages:
    """The pictures."""
    return KeyImages(
        pictures=key_images(findings, producer.statement),
        sources=(findings.video.header,),
        series_label="Gait plots",
    )


def page_content(findings: Findings, images: KeyImages, producer: Producer) -> PageContent:
    """The PDF's page."""
    numbers = [q for q in quantities(findings) if not q.name.startswith("sara_")]
    estimate = findings.estimate
    scores = [
        ("SARA total, 0 to 40", f"{estimate.sara:.1f}"),
        (f"{100 * estimate.coverage:.0f} % interval", f"{estimate.low:.1f} to {estimate.high:.1f}"),
        ("SARA gait item, 0 to 8", f"{estimate.gait_item:.1f}"),
        ("Ridge on gait parameters", "–" if estimate.ridge is None else f"{estimate.ridge:.1f}"),
        ("Camera view", findings.walk.view),
        ("Walk analysed", f"{findings.walk.duration_s:.1f} s"),
    ]
    tables = (
        PageTable(title="Score", header=("", "estimate"), rows=tuple(scores)),
        PageTable(title="Gait", header=("", "value"), rows=tuple((q.meaning, _shown(q)) for q in numbers)),
    )
    shown = [PageFigure(png=png_of(one.rgb_yxc), caption=one.description) for one in images.pictures]
    figures = [tuple(shown[:1]), tuple(shown[1:])]
    notes = (
        "Lengths are in leg lengths (hip to ankle), because one camera has no scale. Points: "
        f"{findings.pose.estimator}. Five Transformers on points and gait parameters; "
        "interval by split conformal prediction.",
    )
    page = Page(
        title="Gait video: estimate of the SARA score",
        summary=summary_of(findings),
        tables=tables,
        figures=tuple(figures),
        warnings=warnings_of(findings, producer),
        notes=notes,
    )
    return PageContent(page=page, sources=(findings.video.header,), series_label="PDF report")


def _shown(quantity: Quantity) -> str:
    if quantity.value is None:
        return quantity.why_missing
    unit = (
        quantity.unit.replace("{leg_length}", "leg lengths").replace("{strides}", "").replace("{score}", "")
    )
    digits = 3 if "leg" in unit else 2 if unit == "s" else 0 if quantity.name == "strides" else 1
    return f"{quantity.value:.{digits}f} {unit}".strip()


def summary_of(findings: Findings) -> str:
    """The result in one line."""
    estimate = findings.estimate
    return (
        f"Estimated SARA {estimate.sara:.1f} ({estimate.low:.1f} to {estimate.high:.1f}), "
        f"cadence {findings.parameters.values['cadence_per_min']:.0f} steps/min, "
        f"stride-time variation {findings.parameters.stride_time_cv_percent:.1f} %"
    )


def outcome_of(findings: Findings, producer: Producer) -> Outcome:
    """What goes into result.json."""
    measurements: dict[str, dict[str, object]] = {}
    for quantity in quantities(findings):
        entry: dict[str, object] = {"value": quantity.value, "unit": quantity.unit}
        if quantity.value is None:
            entry["why_missing"] = quantity.why_missing
        measurements[quantity.name] = entry
    measurements["sara_low"] = {"value": findings.estimate.low, "unit": "{score}"}
    measurements["sara_high"] = {"value": findings.estimate.high, "unit": "{score}"}
    measurements["sara_ridge"] = {"value": findings.estimate.ridge, "unit": "{score}"}
    return Outcome(
        summary=summary_of(findings), measurements=measurements, warnings=warnings_of(findings, producer)
    )
