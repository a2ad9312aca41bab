"""The dashboard: what a person sees, and what a page never does."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dicom_node.store.documents import AppDocument
from dicom_node.store.states import JobState
from dicom_node.web import create_app

HOSTILE = '<script>alert("1")</script>&\'"'
PAGES = ["/", "/studies/1.2.2", "/apps", "/receipts", "/interface"]


def shown(html: str) -> str:
    """The text of a page."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_list_shows_how_every_study_stands(jobs: dict[str, str], ask: Any) -> None:
    text = shown(ask("/").text)
    for sentence in (
        "delivered MIBG heart heart/mediastinum 2.35 early",
        "refused MIBG heart at least 24 slices are needed",
        "failed MIBG heart the app crashed (given up after 3 attempts)",
        "late MIBG heart sending results: pacs (10.0.0.5:104): no connection",
        "in progress MIBG heart computing",
        "not wanted no app no app&#39;s rules name a series of this study",
        "receiving images",
    ):
        assert sentence.replace("&#39;", "'") in text.replace("&#39;", "'")


def test_list_is_chosen_by_outcome_and_counts_each(jobs: dict[str, str], ask: Any) -> None:
    html = ask("/?outcome=failed").text
    assert "1.2.4" in html
    assert "1.2.2" not in html
    assert "late 1" in shown(html)


def test_list_without_a_match_says_so(jobs: dict[str, str], ask: Any) -> None:
    assert "No study answers to this." in ask("/?text=9.9.9").text


def test_empty_node_says_where_to_send_to(ask: Any) -> None:
    assert "10.0.0.3:11112" in shown(ask("/").text)


def test_long_list_has_pages(node: Any, ask: Any) -> None:
    for number in range(51):
        node.receive(f"1.9.{number}", count=1)
    first, second = ask("/").text, ask("/?page=2").text
    assert 'href="/?page=2"' in first
    assert first.count('class="study-head"') == 50
    assert second.count('class="study-head"') == 1
    assert 'href="/"' in second


def test_study_shows_verdicts_measurements_pictures_report_and_history(
    jobs: dict[str, str], ask: Any
) -> None:
    html = ask("/studies/1.2.2").text
    text = shown(html)
    base = f"/api/v1/jobs/{jobs['delivered']}/files"
    assert "heart mediastinum ratio early 2.346" in text
    assert "washout not measured" in text
    assert f'<img src="{base}/preview_early.png"' in html
    assert f'href="{base}/report.pdf"' in html
    assert f'href="{base}/report.dcm"' in html
    assert "the collimator is not known" in text
    assert "Modality is NM, not XC" in text
    assert "MIBG heart every destination has every result" in text


def test_conflicting_images_are_told_in_the_list_and_once_with_the_study(
    jobs: dict[str, str], node: Any, ask: Any
) -> None:
    node.receive("1.2.2", 2, conflict=True)
    said = "2 images came again with other content under the same SOP Instance UID; the first ones are used"
    assert shown(ask("/").text).count(said) == 1
    assert shown(ask("/studies/1.2.2").text).count(said) == 1


def test_progress_of_a_running_job_is_shown_in_the_list_and_with_the_study(
    jobs: dict[str, str], node: Any, ask: Any
) -> None:
    node.ledger.note_progress(jobs["in_progress"], "segmenting", 0.25)
    assert "computing: segmenting 25 %" in shown(ask("/").text)
    html = ask("/studies/1.2.6").text
    assert "segmenting 25 %" in shown(html)
    assert '<progress value="0.25"' in html


def test_results_of_a_model_trained_on_phantoms_say_so(jobs: dict[str, str], node: Any, web_get: Any) -> None:
    without_apps = create_app(node.view(apps=()))
    for app in (create_app(node.view()), without_apps):
        assert "research use, trained on synthetic data" in web_get(app, "/studies/1.2.2").text


def test_apps_page_shows_use_and_training_of_every_app(ask: Any) -> None:
    text = shown(ask("/apps").text)
    assert text.count("research use, trained on synthetic data") == 2
    assert "Counts of the heart in I-123 MIBG SPECT." in text
    assert "sha256:abab" in text
    assert "in use" in text
    assert "not in use here" in text


def test_app_that_cannot_be_run_says_why(node: Any, web_get: Any) -> None:
    broken = AppDocument(
        name="a",
        title="",
        version="1",
        intended_use="",
        training_kind="Kyoto",
        training_statement="",
        model_digest="",
        problem="the model cannot be read",
    )
    text = shown(web_get(create_app(node.view(apps=(broken,))), "/apps").text)
    assert "cannot be run" in text
    assert "the model cannot be read" in text


def test_what_was_not_accepted_is_shown_with_its_reason(jobs: dict[str, str], ask: Any) -> None:
    text = shown(ask("/receipts").text)
    assert "STRANGER 0xA900 the data set contradicts its SOP class 1.2.3.99" in text


def test_hostile_strings_are_shown_and_never_run(node: Any, web_get: Any) -> None:
    study = f"1.2.9{HOSTILE}"
    node.receive(study, calling_ae_title=HOSTILE)
    job = node.route(study, app="mibg_spect", reason=HOSTILE)
    node.write_results(
        job,
        summary=HOSTILE,
        warnings=[HOSTILE],
        previews=[f"{HOSTILE}.png"],
        measurements={HOSTILE: {"value": HOSTILE, "unit": HOSTILE}},
    )
    node.finish(job)
    node.receive(f"{study}.1")
    failed = node.route(f"{study}.1")
    node.go(failed, JobState.RUNNING, JobState.FAILED, reason=HOSTILE)
    node.ledger.record_refused_receipt(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    app = create_app(
        node.view(
            ae_title=HOSTILE,
            apps=(
                AppDocument(
                    name="mibg_spect",
                    title=HOSTILE,
                    version=HOSTILE,
                    intended_use=HOSTILE,
                    training_kind=HOSTILE,
                    training_statement=HOSTILE,
                    model_digest=HOSTILE,
                    destinations=[HOSTILE],
                    problem=HOSTILE,
                ),
            ),
        )
    )
    links = re.findall(r'href="(/studies/[^"]+)"', web_get(app, "/").text)
    assert len(links) == 2
    for page in ["/", "/?text=" + "%3Cscript%3Ealert(", "/apps", "/receipts", *links]:
        answer = web_get(app, page)
        assert answer.status_code == 200
        assert "alert(" in answer.text
        assert "<script>" not in answer.text


def test_unknown_page_is_a_page_for_people_and_json_for_programs(ask: Any) -> None:
    page = ask("/studies/9.9", headers={"accept": "text/html"})
    assert page.status_code == 404
    assert "no study with this Study Instance UID" in page.text
    assert ask("/nowhere").json() == {"detail": "Not Found"}


def test_page_without_ledger_says_so(node: Any, ask: Any) -> None:
    with node.ledger.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE verdict")
    page = ask("/", headers={"accept": "text/html"})
    assert page.status_code == 503
    assert "The ledger cannot be reached." in page.text


@pytest.mark.parametrize(
    "path", [*PAGES, "/static/dashboard.css", "/static/renew.js", "/api/v1/jobs", "/nowhere"]
)
def test_every_answer_forbids_content_from_elsewhere(path: str, jobs: dict[str, str], ask: Any) -> None:
    headers = ask(path).headers
    assert headers["content-security-policy"].startswith("default-src 'self'")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", PAGES)
def test_page_loads_nothing_from_elsewhere_and_has_nothing_that_the_policy_would_block(
    path: str, jobs: dict[str, str], ask: Any
) -> None:
    html = ask(path).text
    assert not re.search(r"(?:src|href|action)=\"(?!/)", html)
    assert " style=" not in html
    assert not re.search(r"<script(?! src=\"/static/)", html)
    assert not re.search(r" on[a-z]+=", html)


def test_every_file_that_a_page_names_is_served(jobs: dict[str, str], ask: Any) -> None:
    for path in PAGES:
        for address in re.findall(r'(?:src|href)="([^"]+)"', ask(path).text):
            assert ask(address.replace("&amp;", "&")).status_code == 200, address


def test_look_has_a_light_and_a_dark_theme_and_no_foreign_address(ask: Any) -> None:
    css = ask("/static/dashboard.css").text
    assert "prefers-color-scheme: dark" in css
    assert "http" not in css
    assert "@import" not in css
