"""The encoding half of a graph writes maps and marks when an app describes some, and needs none."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage, ParametricMapStorage

from operators.encode import codes
from operators.encode.marks import Box
from operators.encode.messages import (
    KeyImages,
    LabelVolume,
    MapVolume,
    Markings,
    PageContent,
    Picture,
    ReportContent,
)
from operators.encode.pdf import Page, PageTable
from operators.encode.report import Group, Number, SegmentReference
from operators.encode.result import Outcome
from operators.encode.segmentation import Segment
from operators.encode.wire_results import wire_results
from operators.graph import Call, Graph
from operators.job import AnalysisJob

PORTS = ("label_volumes", "content", "pictures", "page", "outcome")


class App(Graph):
    """An app that has everything already."""

    def __init__(self, job, producer, described, ports):
        self.job, self.producer, self.described, self.ports = job, producer, described, ports
        super().__init__(job.output_dir)

    def compose(self):
        describe = Call(self, self.once(), function=lambda: self.described, emits=self.ports, name="describe")
        wire_results(self, describe, self.job, self.producer)


@pytest.fixture
def job(tmp_path):
    return AnalysisJob(
        app="a",
        app_dir=tmp_path,
        bundle_dir=tmp_path,
        inputs={},
        input_digest="sha256:0",
        output_dir=tmp_path,
        warnings=(),
    )


@pytest.fixture
def described(spect, labels_zyx, geometry, producer):
    heart = Segment(label=1, name="Heart", property_type=codes.HEART)
    labels = np.where(labels_zyx == 1, labels_zyx, 0)
    group = Group(
        tracking_id="Heart",
        finding=codes.HEART,
        segment=SegmentReference(label=1),
        numbers=(Number(name=codes.VOLUME, value=1.0, unit=codes.MILLILITRE),),
    )
    page = Page(title="T", summary="S", tables=(PageTable(title="t", header=(), rows=(("a", "b"),)),))
    return (
        (LabelVolume(labels_zyx=labels, geometry=geometry, sources=(spect,), segments=(heart,)),),
        ReportContent(groups=(group,), sources=(spect,), procedure=codes.private("SCAN", "Scan")),
        KeyImages(
            pictures=(Picture(rgb_yxc=np.zeros((8, 8, 3), np.uint8), description="x"),), sources=(spect,)
        ),
        PageContent(page=page, sources=(spect,)),
        Outcome(summary="S"),
    )


def _roles(folder):
    objects = json.loads((folder / "result.json").read_text(encoding="utf-8"))["objects"]
    return {entry["role"]: folder / entry["file"] for entry in objects}


def test_a_map_is_written_and_is_evidence_of_the_report(job, producer, described, spect, geometry, tmp_path):
    values = np.random.default_rng(0).random(geometry.shape_zyx, dtype=np.float32)
    maps = (
        MapVolume(
            values_zyx=values,
            geometry=geometry,
            sources=(spect,),
            quantity=codes.private("SBR", "Specific binding ratio"),
            unit=codes.RATIO,
            label="Specific binding ratio",
            series_label="SBR",
        ),
    )
    App(job, producer, (*described, maps), (*PORTS, "maps")).run()
    files = _roles(tmp_path)
    assert set(files) == {"segmentation", "parametric_map", "report", "key_image", "report_pdf"}
    made = dcmread(files["parametric_map"])
    assert made.SOPClassUID == ParametricMapStorage
    assert made.SeriesDescription.startswith("SBR: ")
    read = hd.imread(files["parametric_map"]).get_volume(apply_real_world_transform=True).array
    assert sorted(read.ravel())[-1] == pytest.approx(float(values.max()), abs=1e-4)
    evidence = {
        instance.ReferencedSOPInstanceUID
        for series in dcmread(files["report"])
        .CurrentRequestedProcedureEvidenceSequence[0]
        .ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
    assert made.SOPInstanceUID in evidence


def test_an_app_without_maps_needs_no_port_for_them(job, producer, described, tmp_path):
    App(job, producer, described, PORTS).run()
    assert set(_roles(tmp_path)) == {"segmentation", "report", "key_image", "report_pdf"}


def test_an_app_that_marks_images_needs_no_segmentation(job, producer, described, radiograph, tmp_path):
    _, content, pictures, page, outcome = described
    group = Group(tracking_id="Hip", finding=codes.HIP_JOINT, images=(radiograph,))
    content = replace(content, groups=(group,), sources=(radiograph,))
    lateral = copy.deepcopy(radiograph)
    lateral.SOPInstanceUID, lateral.Rows = "1.2.826.0.1.3680043.8.498.2.9", 40
    box = Box(corners_yx=((2, 3), (20, 30)), label="Hip", target="Hip")
    markings = tuple(Markings(source=image, boxes=(box,)) for image in (radiograph, lateral))
    ports = ("content", "pictures", "page", "outcome", "markings")
    App(job, producer, (content, pictures, page, outcome, markings), ports).run()
    objects = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["objects"]
    assert [(entry["role"], entry["file"]) for entry in objects] == [
        ("presentation_state", "presentation_state_1.dcm"),
        ("presentation_state", "presentation_state_2.dcm"),
        ("report", "report.dcm"),
        ("key_image", "key_image_1.dcm"),
        ("report_pdf", "report_pdf.dcm"),
    ]
    states = [dcmread(tmp_path / entry["file"]) for entry in objects[:2]]
    assert {state.SOPClassUID for state in states} == {GrayscaleSoftcopyPresentationStateStorage}
    assert len({state.SeriesInstanceUID for state in states}) == 1
    assert len({state.SOPInstanceUID for state in states}) == 2
