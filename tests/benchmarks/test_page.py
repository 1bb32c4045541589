"""The page that is made of figures."""

import json
import xml.etree.ElementTree as ET

import click
import pytest

from benchmarks import page
from benchmarks.result import Result, read, write

ROW = Result(
    "bulk: <a> & b",
    12.5,
    25.0,
    "flows/s",
    "ovs-ofctl, in turns",
    ">= 0.7 times",
    False,
    {"flow-mods": 3},
    "How it was.",
)
ALONE = Result("memory", 700, None, "bytes", "nobody", "<= 1000 bytes", True)


def made(folder, *rows):
    file = folder / "figures.json"
    write(rows, file)
    return file


def test_rows_are_read_as_they_were_written(tmp_path):
    file = made(tmp_path, ROW, ALONE)
    assert read(file)[1] == [ROW, ALONE]
    shape = json.loads(file.read_text())["results"][0]
    assert shape.keys() >= {"row", "ours", "theirs", "ratio", "unit", "counters", "goal", "met"}
    assert shape["ratio"] == 0.5


def test_the_page_links_a_picture_of_every_row(tmp_path):
    stale = tmp_path / "docs" / "benchmarks" / "gone.svg"
    stale.parent.mkdir(parents=True)
    stale.write_text("")
    assert page.write([made(tmp_path, ROW, ALONE)], tmp_path / "docs") == 2
    text = (tmp_path / "docs" / "benchmarks.md").read_text()
    pictures = sorted(file.name for file in stale.parent.iterdir())
    assert pictures == ["bulk-a-b.svg", "memory.svg"]
    for picture in pictures:
        assert f"](benchmarks/{picture})" in text
        assert ET.parse(stale.parent / picture).getroot().tag.endswith("svg")
    assert "**missed**" in text
    assert "flow-mods: 3" in text


def test_what_holds_no_figures_is_named(tmp_path):
    file = tmp_path / "other.json"
    file.write_text("[]")
    with pytest.raises(click.ClickException, match="holds no figures"):
        page.write([file], tmp_path)
