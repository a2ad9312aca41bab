"""Pictures, key images and the PDF: right way round, readable in Japanese, always with the statement."""

from __future__ import annotations

import dataclasses
import re
import zlib

import numpy as np
import pytest

from operators.encode.pdf import Page, PageFigure, PageTable, build_encapsulated_pdf, render_page
from operators.encode.pictures import (
    Palette,
    View,
    canonical,
    colormap,
    draw_colour_bar,
    draw_grey,
    draw_plane,
    mark_sides,
    new_figure,
    png_of,
    rendered,
    write_statement,
)
from operators.encode.secondary_capture import build_secondary_capture
from operators.geometry import VolumeGeometry


def _page(warnings=(), figures=()):
    return Page(
        title="I-123 MIBG",
        summary="Late HMR 2.1",
        tables=(PageTable(title="Ratios", header=("", "early"), rows=(("心臓/縦隔", "2.1"),)),),
        figures=figures,
        warnings=tuple(warnings),
        notes=("Method.",),
    )


def test_planes_show_right_on_the_left_and_head_up_whatever_the_grid():
    feet_first = VolumeGeometry((2, 3, 4), (5, 2, 1), (0, 0, 0), ((0, 0, 1), (0, 1, 0), (1, 0, 0)))
    turned = VolumeGeometry((4, 3, 2), (1, 2, 5), (0, 0, 0), ((-1, 0, 0), (0, -1, 0), (0, 0, -1)))
    array = np.arange(24).reshape(2, 3, 4)
    one = canonical(array, feet_first)
    assert one.spacing_mm_zyx == (5, 2, 1)
    assert np.array_equal(one.array_zyx, array[::-1])
    other = canonical(np.arange(24).reshape(4, 3, 2), turned)
    assert other.array_zyx.shape == (2, 3, 4)
    assert other.array_zyx[0, 0, 0] == np.arange(24).reshape(4, 3, 2)[3, 2, 0]


def test_a_drawn_plane_has_its_outline_and_the_statement_in_its_colour(geometry, labels_zyx):
    figure = new_figure(3, 3)
    axes = figure.add_subplot()
    image = canonical(np.ones(geometry.shape_zyx, np.float32), geometry)
    heart = canonical(labels_zyx == 1, geometry)
    draw_plane(axes, image, View.AXIAL, 10, highest=2.0, outlines={"heart": (heart, "#00ff00", "solid")})
    write_statement(figure, "research use")
    picture = rendered(figure)
    assert picture.dtype == np.uint8
    green = (picture[..., 1].astype(int) - picture[..., 0] - picture[..., 2]) > 80
    assert green.sum() > 20
    assert (picture[-30:, :, 0] > 200).any()


def test_a_grey_plane_is_black_and_white_at_the_ends_of_its_window(geometry):
    values = np.zeros(geometry.shape_zyx, np.float32)
    values[:, :, :10], values[:, :, 20:] = -500.0, 500.0
    figure = new_figure(4, 4)
    axes = figure.add_axes((0, 0, 1, 1))
    draw_grey(axes, canonical(values, geometry), View.AXIAL, 3, window=(-100.0, 100.0))
    picture = rendered(figure)
    colours = {tuple(pixel) for pixel in picture[220].tolist()} - {tuple(picture[0, 0].tolist()), (5, 7, 10)}
    assert all(red == green == blue for red, green, blue in colours)
    assert {(0, 0, 0), (255, 255, 255)} <= colours


def test_a_colour_bar_says_its_values_and_runs_upwards():
    figure = new_figure(2, 4)
    axes = figure.add_axes((0.2, 0.05, 0.2, 0.9))
    draw_colour_bar(axes, Palette.HOT_IRON, (-2.0, 10.0))
    assert axes.get_ylim() == (-2.0, 10.0)
    assert len(axes.get_yticks()) >= 4
    column = rendered(figure)[:, 60].astype(int).sum(axis=1)
    height = len(column)
    assert column[round(height * 0.1)] > column[round(height * 0.5)] > column[round(height * 0.9)]


def test_the_patients_right_is_marked_on_the_left():
    axes = new_figure(2, 2).add_subplot()
    mark_sides(axes)
    places = {text.get_text(): text.get_position()[0] for text in axes.texts}
    assert places["R"] < 0.5 < places["L"]


@pytest.mark.parametrize("palette", Palette)
def test_palettes_run_from_dark_to_bright(palette):
    colours = colormap(palette)
    assert sum(colours(0)[:3]) < 0.1
    assert sum(colours(255)[:3]) > 1.5


def test_key_image_keeps_its_pixels_and_has_no_dciodvfy_error(spect, producer, dicom_errors):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = build_secondary_capture(
        picture, [spect], producer, role="key_image_1", instance_number=1, description="Slices."
    )
    assert np.array_equal(image.pixel_array, picture)
    assert producer.statement in image.ImageComments
    assert image.SourceImageSequence[0].ReferencedSOPInstanceUID == spect.SOPInstanceUID
    assert dicom_errors(image) == []


def test_a_picture_that_is_not_rgb_is_an_error(spect, producer):
    with pytest.raises(ValueError, match="RGB"):
        build_secondary_capture(
            np.zeros((4, 4), np.uint8), [spect], producer, role="k", instance_number=1, description=""
        )


def test_the_page_shows_a_japanese_name_in_a_japanese_font(spect, producer):
    pdf = render_page(_page(), spect, producer)
    assert b"HeiseiKakuGo-W5" in pdf
    assert _escaped("山田".encode("utf-16-be")) in pdf
    assert _escaped("心臓".encode("utf-16-be")) in pdf


def _escaped(text: bytes) -> bytes:
    """Bytes as reportlab writes them between parentheses."""
    special = {ord(c): f"\\{c}".encode() for c in "()\\"}
    return b"".join(special.get(b) or (bytes([b]) if 32 <= b < 127 else f"\\{b:03o}".encode()) for b in text)


def test_the_page_carries_statement_and_warnings(spect, producer):
    pdf = render_page(_page(["Late SPECT is missing."]), spect, producer)
    assert b"Research use, trained on synthetic data" in pdf
    assert b"Late SPECT is missing." in pdf


def test_a_report_is_one_page_however_much_it_says(spect, producer):
    wide = png_of(np.zeros((300, 900, 3), np.uint8))
    figures = (
        (PageFigure(png=wide, caption="a"),),
        (PageFigure(png=wide, caption="b"), PageFigure(png=wide, caption="c")),
    )
    pdf = render_page(_page([f"Warning number {i} of many." for i in range(40)], figures), spect, producer)
    assert len(re.findall(rb"/Type /Page\b", pdf)) == 1
    assert b"Warning number 39" in pdf


def _long(rows: int) -> PageTable:
    header = ("Structure", "Side", "mL", "HU", "SD", "Fat", "Lean", "PSV", "構造")
    cells = tuple((f"Structure number {n}", "R", *(str(n),) * 7) for n in range(rows))
    return PageTable(title="All structures", header=header, rows=cells, emphasised=frozenset({3}))


def _sheets(pdf: bytes) -> list[bytes]:
    """What is drawn on each sheet."""
    return re.findall(rb"stream\r?\n(.*?)endstream", pdf, flags=re.DOTALL)


@pytest.mark.parametrize(("rows", "sheets"), [(43, 2), (130, 4)])
def test_a_long_table_has_sheets_of_its_own_with_header_patient_and_statement(spect, producer, rows, sheets):
    pdf = render_page(dataclasses.replace(_page(), appendix=(_long(rows),)), spect, producer)
    drawn = _sheets(pdf)
    assert len(re.findall(rb"/Type /Page\b", pdf)) == len(drawn) == sheets
    for number, sheet in enumerate(drawn[1:], start=2):
        assert b"(Structure)" in sheet
        assert b"Research use, trained on synthetic data" in sheet
        assert str(spect.PatientID).encode() in sheet
        assert f"page {number} of {sheets}".encode() in sheet
    assert all(sum(sheet.count(b"number %d)" % n) for sheet in drawn) == 1 for n in range(rows))


def test_two_long_tables_share_a_sheet_as_far_as_they_fit(spect, producer):
    pdf = render_page(dataclasses.replace(_page(), appendix=(_long(10), _long(12))), spect, producer)
    assert len(_sheets(pdf)) == 2


def test_the_same_report_is_the_same_file(spect, producer):
    assert zlib.crc32(render_page(_page(), spect, producer)) == zlib.crc32(
        render_page(_page(), spect, producer)
    )


def test_encapsulated_pdf_gives_the_file_back(spect, producer, dicom_errors):
    pdf = render_page(_page(), spect, producer)
    document = build_encapsulated_pdf(pdf, [spect], producer, title="I-123 MIBG")
    assert document.EncapsulatedDocument[: document.EncapsulatedDocumentLength] == pdf
    assert dicom_errors(document) == []


def test_what_is_not_a_pdf_is_an_error(spect, producer):
    with pytest.raises(ValueError, match="PDF"):
        build_encapsulated_pdf(b"<html>", [spect], producer, title="x")
