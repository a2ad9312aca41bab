"""The key image of a classifier shows the image, where the evidence lay, and what was found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from operators.encode.heat_map import MARK_COLOUR, PANELS_ACROSS, HeatMapPanel, Tone, draw_heat_maps
from operators.encode.marks import Box
from operators.encode.pictures import STATEMENT_COLOUR

STATEMENT = "research use, trained on synthetic data"


@pytest.fixture
def panel() -> HeatMapPanel:
    """A grey square whose lower right quarter is where the evidence lies."""
    heat = np.zeros((8, 8))
    heat[4:, 4:] = 1.0
    return HeatMapPanel(
        grey_yx=np.full((64, 64), 0.5),
        spacing_mm_yx=(1.0, 1.0),
        title="Right hip, AP",
        verdict="femoral neck fracture 93 %",
        tone=Tone.POSITIVE,
        heat_yx=heat,
    )


def _draw(*panels: HeatMapPanel, statement: str = STATEMENT) -> NDArray[np.uint8]:
    return draw_heat_maps(panels, title="Hips", statement=statement)


def _count(picture: NDArray[np.uint8], colour: str) -> int:
    wanted = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)])
    return int((np.abs(picture.astype(int) - wanted).max(axis=2) <= 2).sum())


def _grey_and_coloured(picture: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where the bare image is seen, and where something red to yellow lies over it."""
    values = picture.astype(int)
    grey = np.abs(values - 127).max(axis=2) <= 3
    return grey, (values[..., 0] - values[..., 2] > 60) & (values[..., 0] > 120)


def test_the_heat_map_covers_the_quarter_of_the_image_where_the_evidence_lies(panel):
    without_text = replace(panel, verdict="", title="")
    grey, coloured = _grey_and_coloured(_draw(without_text, statement="")[:, :-120])
    half = grey.shape[0] // 2
    rows, columns = np.nonzero(grey)
    bottom, right, left = rows.max(), columns.max(), columns.min()
    middle = (left + right) / 2
    red_rows, red_columns = np.nonzero(coloured)
    assert len(red_rows) > 1000
    assert red_rows.min() > half
    assert np.median(red_columns) > middle
    assert np.median(red_rows) > (half + bottom) / 2


def test_the_image_is_also_shown_undisturbed(panel):
    """Twice the picture of one without a heat map, of which one is bare."""
    plain = _draw(replace(panel, heat_yx=None), statement="")
    both = _draw(panel, statement="")
    assert _grey_and_coloured(plain)[0].sum() > 0.9 * (4.4 * 110) ** 2 * 0.95
    assert 1.6 < _grey_and_coloured(both)[0].sum() / _grey_and_coloured(plain)[0].sum() < 1.9


def test_the_bone_below_the_strongest_evidence_is_still_seen(panel):
    striped = np.tile(np.repeat([0.2, 0.8], 8), (64, 4))
    heat = np.ones((8, 8))
    bare = _draw(replace(panel, grey_yx=np.full((64, 64), 0.5), heat_yx=heat), statement="")
    seen = _draw(replace(panel, grey_yx=striped, heat_yx=heat), statement="")
    middle = int(bare.shape[0] * 0.7)
    assert np.ptp(bare[middle, 100:400].astype(int).sum(axis=1)) < 60
    assert np.ptp(seen[middle, 100:400].astype(int).sum(axis=1)) > 150


@pytest.mark.parametrize("tone", list(Tone))
def test_the_verdict_is_written_in_the_colour_of_its_meaning(panel, tone):
    told = _draw(replace(panel, tone=tone), statement="")
    silent = _draw(replace(panel, tone=tone, verdict=""), statement="")
    assert _count(told, tone.value) > _count(silent, tone.value) + 200


def test_the_verdict_is_written_where_there_is_no_heat_map_too(panel):
    assert _count(_draw(replace(panel, heat_yx=None), statement=""), Tone.POSITIVE.value) > 200


def test_a_long_verdict_is_broken_into_lines_that_stay_under_their_panel(panel):
    long = "osteoporotic fracture 80 %; T1 alone: malignant fracture 12 %"
    picture = _draw(replace(panel, verdict=long), statement="")
    assert picture.shape[0] > _draw(panel, statement="").shape[0]
    columns = np.nonzero((picture == (0xFF, 0x8A, 0x80)).all(axis=2))[1]
    shown = np.nonzero(_grey_and_coloured(picture)[0])[1]
    assert columns.min() >= shown.min()
    assert columns.max() <= shown.max()


def test_every_reader_sees_the_statement(panel):
    unsure = replace(panel, tone=Tone.UNSURE)
    assert _count(_draw(unsure, statement=""), STATEMENT_COLOUR) == 0
    assert _count(_draw(unsure), STATEMENT_COLOUR) > 100


def test_a_box_is_drawn_around_its_pixels(panel):
    boxed = replace(panel, heat_yx=None, boxes=(Box(corners_yx=((16, 16), (48, 48))),))
    picture = _draw(boxed, statement="").astype(int)
    wanted = np.array([int(MARK_COLOUR[at : at + 2], 16) for at in (1, 3, 5)])
    rows, columns = np.nonzero(np.abs(picture - wanted).max(axis=2) < 30)
    scale = 4.4 * 110 / 64
    assert np.ptp(rows) == pytest.approx(32 * scale, abs=4)
    assert np.ptp(columns) == pytest.approx(32 * scale, abs=4)


def test_pixels_that_are_no_squares_are_drawn_in_their_proportions(panel):
    plain = replace(panel, heat_yx=None, verdict="", title="", spacing_mm_yx=(2.0, 1.0))
    rows, columns = np.nonzero(_grey_and_coloured(_draw(plain, statement=""))[0])
    assert np.ptp(rows) / np.ptp(columns) == pytest.approx(2.0, rel=0.05)


def test_many_panels_are_spread_evenly_over_lines(panel):
    one = _draw(panel)
    four, five = _draw(*[panel] * PANELS_ACROSS), _draw(*[panel] * (PANELS_ACROSS + 1))
    assert four.shape[0] == one.shape[0]
    assert five.shape[1] < four.shape[1]
    assert five.shape[0] > 1.8 * four.shape[0]


def test_the_same_panels_make_the_same_picture(panel):
    assert np.array_equal(_draw(panel), _draw(panel))


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="no panel"):
        draw_heat_maps((), title="x", statement="")
