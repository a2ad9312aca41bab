"""node.toml: what is right is read, what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from dicom_node.cli import main
from dicom_node.config import load, openings
from dicom_node.errors import Misconfigured

GOOD = """
[node]
ae_title = "NODE"
port = 0
data_dir = "data"
[[destination]]
name = "results"
kind = "folder"
path = "out"
[[route]]
app = "mibg_spect"
destinations = ["results"]
[route.settings]
threshold = 3
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "node.toml"
    path.write_text(text, encoding="utf-8")
    return path


def message(folder: Path, text: str) -> str:
    with pytest.raises(Misconfigured) as caught:
        load(write(folder, text))
    return str(caught.value)


def test_an_empty_file_has_every_default(tmp_path: Path) -> None:
    config = load(write(tmp_path, ""))
    assert (config.node.ae_title, config.node.port, config.node.settle_seconds) == ("DICOMNODE", 11112, 10)
    assert config.web.port == 8080


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    config = load(write(tmp_path, GOOD))
    assert config.node.data_dir == tmp_path / "data"
    assert config.inbox == tmp_path / "data" / "inbox"
    assert config.destination_named("results").path == tmp_path / "out"  # type: ignore[union-attr]


def test_settings_reach_the_route(tmp_path: Path) -> None:
    route = load(write(tmp_path, GOOD)).route_for("mibg_spect")
    assert route is not None
    assert route.settings == {"threshold": 3}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[node]\nport = 70000", "node.port = 70000: Input should be less than or equal to 65535"),
        ("[node]\nprot = 1", "node.prot: unknown key; allowed are"),
        ("[nodes]", "nodes: unknown key; allowed are destination, node"),
        (
            '[node]\nae_title = "SEVENTEEN_LETTERS"',
            "node.ae_title = 'SEVENTEEN_LETTERS': an AE title has 1 to 16",
        ),
        ('[node]\nsettle_seconds = "soon"', "node.settle_seconds = 'soon': Input should be a valid number"),
        ('[node]\ndatabase = "mysql://x"', "node.database = 'mysql://x'"),
        ('[[peer]]\nae_title = "PACS"', "peer[0].host: missing"),
        ('[[destination]]\nname = "x"\nkind = "fax"', "destination[0] = "),
        ('[[route]]\napp = "a"\ndestinations = ["b"]', "route[0].destinations = 'b': no such destination"),
    ],
)
def test_a_mistake_is_one_line_with_key_value_and_what_is_allowed(
    tmp_path: Path, text: str, expected: str
) -> None:
    told = message(tmp_path, text)
    assert expected in told
    assert "\n" not in told


def test_a_name_used_twice_is_told(tmp_path: Path) -> None:
    text = '[[destination]]\nname = "a"\nkind = "folder"\npath = "x"\n' * 2
    assert "destination[1].name = 'a': each name may be used once" in message(tmp_path, text)


def test_a_missing_file_says_where_an_example_is(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"no such file; deploy/node\.toml is an example"):
        load(tmp_path / "absent.toml")


def test_broken_toml_names_the_line(tmp_path: Path) -> None:
    assert "line 1" in message(tmp_path, "[node\n")


def test_the_example_configuration_is_right() -> None:
    load(Path(__file__).parents[2] / "deploy" / "node.toml")


@pytest.mark.parametrize(
    ("host", "is_open"),
    [
        ("127.0.0.1", False),
        ("::1", False),
        ("localhost", False),
        ("0.0.0.0", True),  # noqa: S104  what is warned of
        ("::", True),
        ("", True),
        ("10.0.0.3", True),
        ("node.hospital.example", True),
    ],
)
def test_the_http_interface_beyond_the_loopback_is_told_by_check_config(
    tmp_path: Path, host: str, is_open: bool
) -> None:
    path = write(tmp_path, f'[web]\nhost = "{host}"')
    said = CliRunner().invoke(main, ["check-config", "--config", str(path)])
    assert said.exit_code == 0, said.output
    assert ("warning: web.host" in said.output, "no access control" in said.output) == (is_open, is_open)
    assert len(openings(load(path))) == int(is_open)
