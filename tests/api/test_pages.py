"""Pages of a list."""

import re
from urllib.parse import urlsplit

import pytest

from releases.models import Application, Version

HERE = "/api/deployments/versions"


@pytest.fixture
def many(db):
    """Twenty-five versions, some of one and the same moment."""
    shop = Application.objects.create(key="shop")
    Version.objects.bulk_create(
        Version(
            application=shop, number=f"1.0.{n}", spec={}, digest="d", created_by="x",
            created_at=f"2026-01-01T00:00:{n // 5:02}Z",
        )
        for n in range(25)
    )  # fmt: skip


def walk(api, path):
    """Every row, page by page."""
    rows = []
    while path:
        answer = api.get(path, as_="vera")
        assert answer.status_code == 200, answer.content
        assert isinstance(answer.json(), list)
        rows += answer.json()
        link = re.fullmatch(r'<(.+)>; rel="next"', answer.get("Link", ""))
        path = "{0.path}?{0.query}".format(urlsplit(link[1])) if link else ""
    return rows


@pytest.mark.parametrize("limit", [1, 4, 5, 24, 25, 200])
def test_the_pages_hold_every_row_once_newest_first(api, many, limit):
    rows = walk(api, f"{HERE}?limit={limit}&workflowId=shop")
    assert len({row["id"] for row in rows}) == len(rows) == 25
    assert [row["createdAt"] for row in rows] == sorted((row["createdAt"] for row in rows), reverse=True)


def test_rows_that_come_in_meanwhile_shift_nothing(api, many):
    first = api.get(f"{HERE}?limit=10", as_="vera")
    Version.objects.create(application=Application.objects.get(), number="2.0.0", spec={}, digest="d", created_by="x")
    next_page = urlsplit(re.findall("<(.+)>", first["Link"])[0])
    second = api.get(f"{next_page.path}?{next_page.query}", as_="vera").json()
    assert not {row["id"] for row in first.json()} & {row["id"] for row in second}


def test_a_page_has_at_most_two_hundred_rows(api, many):
    for wrong in ("201", "0", "-1", "x", "1e9", "9" * 30, "", "١"):
        assert api.get(f"{HERE}?limit={wrong}", as_="vera").status_code == 400


@pytest.mark.parametrize("cursor", ["x", "", "bm8", "WyJ4IiwgInkiXQ", "WzEsMl0", "e30", "WyIyMDI2LTAxLTAxIl0", "'; --"])
def test_a_cursor_that_is_none_of_ours_is_refused(api, many, cursor):
    answer = api.get(f"{HERE}?cursor={cursor}", as_="vera")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["path"] == "cursor"
