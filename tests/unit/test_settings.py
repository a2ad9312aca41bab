"""What a site may set for an app is said by the app, and checked before any study comes."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicom_node.config import load
from dicom_node.errors import Misconfigured
from dicom_node.serve import routed_apps

ROUTE = """
[[destination]]
name = "a"
kind = "folder"
path = "a"
[[route]]
app = "mibg_spect"
destinations = ["a"]
[route.settings]
"""


def check(folder: Path, settings: str) -> None:
    path = folder / "node.toml"
    path.write_text(ROUTE + settings)
    routed_apps(load(path))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("foo = 1", r"route\[0\]\.settings\.foo: unknown key; allowed are collimator_coefficients"),
        ('segmentation_kind = "XX"', "settings.segmentation_kind = 'XX': allowed are BINARY, LABELMAP"),
        ("segmentation_kind = 1", "allowed is a text"),
        ('collimator_coefficients = { LEHR = "a" }', "a positive number each"),
        ("collimator_coefficients = { LEHR = -1 }", "a positive number each"),
        ("collimator_coefficients = { LEHR = nan }", "a positive number each"),
    ],
)
def test_a_wrong_setting_names_key_value_and_what_is_allowed(
    tmp_path: Path, settings: str, told: str
) -> None:
    with pytest.raises(Misconfigured, match=told):
        check(tmp_path, settings)


def test_good_settings_are_taken(tmp_path: Path) -> None:
    check(tmp_path, 'segmentation_kind = "LABELMAP"\ncollimator_coefficients = { LEHR = 0.55 }')
