"""Lines for people and for programs name the requests that they belong to."""

import io
import json
import logging

import pytest

from telemetry import logs


@pytest.fixture(params=logs.FORMATS)
def written(request):
    """A logger, and what it has written, as one of the formats."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonLines("api") if request.param == "json" else logs.Human())
    logger = logging.Logger("some.part")
    logger.addHandler(handler)
    return logger, stream, request.param


def test_a_line_names_its_requests(written):
    logger, stream, form = written
    logger.info("nobody's")
    with logs.belongs_to("r-1"):
        logger.info("%d of mine", 1)
        logger.info("r-1 says so itself")
        logger.info("with others", extra=logs.of("r-2", "", "r-3", ms=7))
    logger.info("nobody's again")
    lines = stream.getvalue().splitlines()
    if form == "human":
        ends = [line.partition("some.part: ")[2] for line in lines]
        assert ends == [
            "nobody's",
            "1 of mine [r-1]",
            "r-1 says so itself",
            "with others [r-1 r-2 r-3]",
            "nobody's again",
        ]
    else:
        told = [json.loads(line) for line in lines]
        assert [line.get("requests") for line in told] == [None, ["r-1"], ["r-1"], ["r-1", "r-2", "r-3"], None]
        assert [line["message"] for line in told][1] == "1 of mine"
        assert (told[3]["ms"], told[3]["service"], told[3]["logger"], told[3]["level"]) == (
            7,
            "api",
            "some.part",
            "INFO",
        )
        assert told[0]["time"].endswith("+00:00")


def test_a_traceback_stays_with_its_line(written):
    logger, stream, form = written
    try:
        raise ValueError("line one\nline two")
    except ValueError:
        logger.exception("failed\nbadly")
    text = stream.getvalue()
    assert "ValueError: line one" in text
    if form == "json":
        assert len(text.splitlines()) == 1
        assert json.loads(text)["message"] == "failed\nbadly"
