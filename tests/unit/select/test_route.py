"""Every app's verdict on a study, and the catalogue that the apps come from."""

from __future__ import annotations

from dicom_node.catalog import App
from dicom_node.route import Decision, route_study


def app_of(manifest, tmp_path):
    return App(
        manifest=manifest,
        app_dir=tmp_path,
        bundle_dir=tmp_path,
        model_digest="sha256:0",
        training_kind="synthetic",
    )


def test_every_app_has_a_verdict(build, mibg, make_manifest, tmp_path):
    ct = make_manifest([{"name": "ct", "title": "CT", "match": [{"attribute": "Modality", "equals": "CT"}]}])
    lacking = make_manifest([build.spect_input("early", 10, 60), build.spect_input("late", 150, 330)])
    apps = [app_of(one, tmp_path) for one in (mibg, ct, lacking)]
    verdicts = route_study(build.series_of(build.spect()), apps)
    assert [one.decision for one in verdicts] == [
        Decision.TAKEN,
        Decision.NOT_FOR_THIS_APP,
        Decision.REFUSED,
    ]
    assert [one.app for one in verdicts] == apps
    assert verdicts[1].attribute == "Modality"
    assert "late MIBG SPECT" in verdicts[2].reason


def test_a_taken_study_names_its_files_and_has_a_digest(build, mibg, tmp_path):
    from operators.select.headers import read_series

    path = tmp_path / "a.dcm"
    build.spect().save_as(path, enforce_file_format=True)
    series, _ = read_series([path])
    (first,), (second,) = (route_study(series, [app_of(mibg, tmp_path)]) for _ in range(2))
    assert first.paths == {"early": [path]}
    assert first.input_digest() == second.input_digest()
    assert first.input_digest().startswith("sha256:")
