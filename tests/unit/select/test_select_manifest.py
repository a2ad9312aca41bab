"""Wrong app.toml files: each error names the file, the key, the value and what is allowed."""

from __future__ import annotations

import re
import tomllib

import pytest

from operators.select.facts import FACTS
from operators.select.manifest import BrokenManifest, load_manifest, parse_manifest
from operators.select.predicates import OPERATORS, Predicate


def raw_manifest(build, **predicate):
    raw = tomllib.loads(build.manifest_text) | {"study": {}}
    match = [predicate or {"attribute": "Modality", "equals": "NM"}]
    raw["input"] = [{"name": "early", "title": "early SPECT", "match": match}]
    return raw


def test_a_right_manifest_is_read_with_its_defaults(build):
    manifest = parse_manifest(raw_manifest(build))
    assert manifest.claims == ("early",)
    assert manifest.needs_any == (("early",),)
    assert manifest.inputs[0].kind == "image"
    assert manifest.model is None


@pytest.mark.parametrize(
    ("predicate", "words"),
    [
        ({"attribute": "Modallity", "equals": "NM"}, ["'Modallity'", "not a DICOM keyword", "'Modality'"]),
        ({"attribute": "Modality", "equal": "NM"}, ["match[1].equal", "equals", "one_of"]),
        ({"attribute": "@slices", "at_least": 3}, ["'@slices'", "@slice_count"]),
        ({"attribute": "Modality"}, ["'Modality'", "exactly one operator"]),
        ({"attribute": "Modality", "equals": "NM", "matches": "N"}, ["equals, matches"]),
        ({"attribute": "Modality", "matches": "("}, ["'('", "not a regular expression"]),
        ({"attribute": "Rows", "at_least": "many"}, ["match[1].at_least", "'many'"]),
        ({"attribute": "DetectorInformationSequence", "equals": "x"}, ["ends in a sequence", "present"]),
        ({"attribute": "Rows.Columns", "equals": 1}, ["'Rows' is not a sequence"]),
        ({"equals": "NM"}, ["exactly one of attribute, any, all, not"]),
        ({"any": [{"attribute": "Nonsense", "equals": 1}]}, ["any[1]", "'Nonsense'"]),
    ],
)
def test_a_wrong_predicate_is_named_with_what_is_allowed(build, predicate, words):
    with pytest.raises(BrokenManifest) as error:
        parse_manifest(raw_manifest(build, **predicate), name="apps/x/app.toml")
    assert "apps/x/app.toml: input[1].match[1]" in str(error.value)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("table", "value", "words"),
    [
        (
            "app",
            {"name": "My App", "version": "0.1.0", "title": "t", "intended_use": "x"},
            ["app.name", "My App"],
        ),
        ("app", {"name": "a", "title": "t", "intended_use": "x"}, ["app.version is missing"]),
        ("limits", {"device": "gpu"}, ["limits.device", "'gpu'", "'auto', 'cpu' or 'cuda'"]),
        ("limits", {"time_limit": 3}, ["limits.time_limit", "time_limit_s"]),
        ("model", {"bundle": "../other", "digest": "sha256:" + "0" * 64}, ["'../other'", "below the app"]),
        ("model", {"digest": "abc"}, ["model.digest", "'abc'"]),
        ("study", {"claims": ["late"]}, ["study.claims", "'late'", "early"]),
        (
            "output",
            [{"role": "seg", "sop_class": "1.2", "count": "7"}],
            ["output[1].count", "'1', '0..1' or '1..n'"],
        ),
    ],
)
def test_a_wrong_table_is_named_with_what_is_allowed(build, table, value, words):
    with pytest.raises(BrokenManifest) as error:
        parse_manifest(raw_manifest(build) | {table: value})
    for word in words:
        assert word in str(error.value)


def test_one_wrong_key_is_one_line(build):
    with pytest.raises(BrokenManifest) as error:
        parse_manifest(raw_manifest(build, attribute="Modality", equal="NM"))
    assert len(str(error.value).splitlines()) == 1


def test_a_missing_file_and_no_toml_are_named(tmp_path):
    with pytest.raises(BrokenManifest, match="cannot be read"):
        load_manifest(tmp_path / "app.toml")
    (tmp_path / "app.toml").write_text("[app")
    with pytest.raises(BrokenManifest, match="is not TOML"):
        load_manifest(tmp_path / "app.toml")


def test_every_fact_and_every_operator_is_in_its_table():
    from operators.select import facts, predicates

    assert set(re.findall(r"^``(@\w+)``", facts.__doc__, re.MULTILINE)) == set(FACTS)
    assert set(OPERATORS) <= set(re.findall(r"^``(\w+)``", predicates.__doc__, re.MULTILINE))


def test_every_fact_names_attributes_that_exist():
    for fact in FACTS.values():
        for attribute in fact.attributes:
            Predicate(attribute=attribute, present=True)
