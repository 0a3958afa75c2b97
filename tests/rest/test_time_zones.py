"""`Prefer: timezone`: datetimes as PostgreSQL shows them there, on every engine, and those without an offset read there."""

from __future__ import annotations

import pytest

from tests.rest.conftest import Wire
from tests.servers.portico import PorticoProcess


def zone(name: str, *others: str) -> dict[str, str]:
    return {"Prefer": ", ".join((f"timezone={name}", *others))}


MOMENTS = {
    # Before and after the clock is put forward and back in Berlin, in 2024.
    11: "2024-03-31T00:59:59.5Z",
    12: "2024-03-31T01:00:00Z",
    13: "2024-10-27T00:30:00Z",
    14: "2024-10-27T01:30:00Z",
    15: "1890-01-01T00:00:00.000001Z",
    16: "2024-12-31T23:30:00Z",
}


@pytest.fixture
def moments(rest: Wire) -> Wire:
    """The library with books that were published at these moments, by one author."""
    rows = [{"id": key, "title": f"T{key}", "author_id": 3, "published": moment} for key, moment in MOMENTS.items()]
    rest.post("/books", json=rows).raise_for_status()
    return rest


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (
            "Europe/Berlin",
            [
                "2024-03-31T01:59:59.5+01:00", "2024-03-31T03:00:00+02:00", "2024-10-27T02:30:00+02:00", "2024-10-27T02:30:00+01:00",
                "1890-01-01T00:53:28.000001+00:53:28", "2025-01-01T00:30:00+01:00",
            ],
        ),
        (
            "America/St_Johns",
            [
                "2024-03-30T22:29:59.5-02:30", "2024-03-30T22:30:00-02:30", "2024-10-26T22:00:00-02:30", "2024-10-26T23:00:00-02:30",
                "1889-12-31T20:29:08.000001-03:30:52", "2024-12-31T20:00:00-03:30",
            ],
        ),
        (
            "Asia/Kathmandu",
            [
                "2024-03-31T06:44:59.5+05:45", "2024-03-31T06:45:00+05:45", "2024-10-27T06:15:00+05:45", "2024-10-27T07:15:00+05:45",
                "1890-01-01T05:41:16.000001+05:41:16", "2025-01-01T05:15:00+05:45",
            ],
        ),
    ],
)  # fmt: skip
def test_datetimes_are_shown_in_the_zone(moments: Wire, name: str, shown: list[str]):
    answer = moments.get("/books?select=published&id=gt.9&order=id", headers=zone(name))
    assert [row["published"] for row in answer.json()] == shown
    assert answer.headers["preference-applied"] == f"timezone={name}"
    assert [row["published"] for row in moments.get("/books?select=published&id=in.(11,15)&order=id").json()] == [
        "2024-03-31T00:59:59.5+00:00",
        "1890-01-01T00:00:00.000001+00:00",
    ]


def test_related_rows_csv_and_casts_are_in_the_zone(moments: Wire):
    related = moments.get("/authors?select=name,books(published)&id=eq.3&books.id=eq.12", headers=zone("Europe/Berlin"))
    assert related.json() == [{"name": "Cy", "books": [{"published": "2024-03-31T03:00:00+02:00"}]}]
    csv = moments.get("/books?select=id,published&id=eq.12", headers=zone("Europe/Berlin") | {"Accept": "text/csv"})
    assert csv.text == "id,published\n12,2024-03-31T03:00:00+02:00\n"
    casts = "/books?select=text:published::text,day:published::date&id=in.(15,16)&order=id"
    assert moments.get(casts, headers=zone("Europe/Berlin")).json() == [
        {"text": "1890-01-01 00:53:28.000001+00:53:28", "day": "1890-01-01"},
        {"text": "2025-01-01 00:30:00+01", "day": "2025-01-01"},
    ]
    assert moments.get(casts).json()[1] == {"text": "2024-12-31 23:30:00+00", "day": "2024-12-31"}


def test_groups_are_in_the_zone_and_have_postgresqls_form(moments: Wire):
    latest = "/books?select=author_id,last:published.max()&author_id=eq.3"
    assert moments.get(latest).json() == [{"author_id": 3, "last": "2024-12-31T23:30:00+00:00"}]
    assert moments.get(latest, headers=zone("Europe/Berlin")).json() == [{"author_id": 3, "last": "2025-01-01T00:30:00+01:00"}]
    days = "/books?select=day:published::date,count()&id=gt.12&order=id"
    by_moment = moments.get("/books?select=published,count()&id=in.(12,16)&order=published.desc", headers=zone("Asia/Kathmandu"))
    assert by_moment.json() == [
        {"published": "2025-01-01T05:15:00+05:45", "count": 1},
        {"published": "2024-03-31T06:45:00+05:45", "count": 1},
    ]
    by_day = moments.get(days.replace("&order=id", ""), headers=zone("Asia/Kathmandu")).json()
    assert [row["day"] for row in by_day] == ["1890-01-01", "2024-10-27", "2025-01-01"]
    assert [row["count"] for row in by_day] == [1, 2, 1]


def test_values_without_an_offset_are_read_in_the_zone(moments: Wire):
    def found(filter_: str, headers: dict[str, str]) -> list[int]:
        return [row["id"] for row in moments.get(f"/books?select=id&order=id&id=gt.9&{filter_}", headers=headers).json()]

    berlin = zone("Europe/Berlin")
    assert found("published=eq.2024-03-31T03:00:00", berlin) == [12]
    assert found("published=eq.2024-03-31T03:00:00", {}) == []
    assert found("published=eq.2024-03-31T01:00:00Z", berlin) == [12]
    # A time that the clock shows twice is the later one, and one that it leaves out is read by the offset before.
    assert found("published=eq.2024-10-27 02:30", berlin) == [14]
    assert found("published=eq.2024-03-31 02:00", berlin) == [12]
    assert found("published=gte.2025-01-01", berlin) == [16]
    assert found("published=in.(2025-01-01T00:30,2024-03-31T03:00)", berlin) == [12, 16]
    assert found("or=(published.eq.2025-01-01T00:30,id.eq.11)", berlin) == [11, 16]


def test_writes_read_and_show_datetimes_in_the_zone(moments: Wire):
    berlin = zone("Europe/Berlin", "return=representation")
    made = moments.post(
        "/books?select=published", json={"id": 20, "title": "2024-07-01", "published": "2024-07-01T12:00:00"}, headers=berlin
    )
    assert made.json() == [{"published": "2024-07-01T12:00:00+02:00"}]
    assert made.headers["preference-applied"] == "return=representation, timezone=Europe/Berlin"
    assert moments.get("/books?select=title,published&id=eq.20").json() == [
        {"title": "2024-07-01", "published": "2024-07-01T10:00:00+00:00"}
    ]
    changed = moments.patch("/books?published=eq.2024-07-01T12:00&select=published", json={"published": "2024-01-01"}, headers=berlin)
    assert changed.json() == [{"published": "2024-01-01T00:00:00+01:00"}]
    related = moments.patch("/authors?id=eq.3&select=name,books(published)&books.id=eq.12", json={"name": "Cyd"}, headers=berlin)
    assert related.json() == [{"name": "Cyd", "books": [{"published": "2024-03-31T03:00:00+02:00"}]}]
    deleted = moments.delete("/books?published=eq.2024-01-01&select=id,published", headers=berlin)
    assert deleted.json() == [{"id": 20, "published": "2024-01-01T00:00:00+01:00"}]


@pytest.mark.parametrize("name", ["Mars/Olympus", "europe/berlin", "+02:00", "localtime", "posix/Europe/Berlin", "'; SELECT 1 --"])
def test_a_zone_that_is_none_is_ignored_or_refused(rest: Wire, name: str):
    shown = rest.get("/books?select=published&id=eq.1", headers=zone(name))
    assert (shown.json(), shown.headers.get("preference-applied")) == ([{"published": "1843-09-01T10:00:00+00:00"}], None)
    lenient = rest.get("/books?select=id&id=eq.1", headers=zone(name, "handling=lenient"))
    assert (lenient.status_code, lenient.headers["preference-applied"]) == (200, "handling=lenient")
    refused = rest.get("/books?select=id&id=eq.1", headers=zone(name, "handling=strict"))
    assert (refused.status_code, refused.json()["code"]) == (400, "PGRST122")


def test_the_ends_of_the_calendar_are_shown(rest: Wire):
    rows = [
        {"id": 30, "title": "T", "published": "0001-01-01T00:00:00Z"},
        {"id": 31, "title": "T", "published": "9999-12-31T23:59:59.999999Z"},
    ]
    rest.post("/books", json=rows).raise_for_status()
    for name in ("Europe/Berlin", "America/New_York", "Pacific/Kiritimati"):
        assert rest.get("/books?id=gt.29", headers=zone(name)).status_code == 200


def test_functions_run_in_the_zone(engine: str, rest: Wire):
    if engine == "sqlite":
        assert rest.get("/rpc/local_time?moment=2024-07-01", headers=zone("Europe/Berlin")).json()["code"] == "PGRST202"
        return
    for name, shown in (
        ("Europe/Berlin", "2024-07-01 00:00:00+02"),
        ("Asia/Tokyo", "2024-07-01 00:00:00+09"),
        ("UTC", "2024-07-01 00:00:00+00"),
    ):
        assert rest.get("/rpc/local_time?moment=2024-07-01", headers=zone(name)).json() == shown
        assert rest.post("/rpc/local_time", json={"moment": "2024-07-01T00:00"}, headers=zone(name)).json() == shown
    assert rest.get("/rpc/local_time?moment=2024-07-01T00:00:00Z").json() == "2024-07-01 00:00:00+00"


def test_the_zone_of_a_call_is_not_that_of_its_transaction(engine: str, rest: Wire, library: PorticoProcess):
    begun = library.client.post("/api/db/transaction/begin", json={}).json()["data"]["transaction_id"]
    inside = {"X-Transaction-ID": begun}
    tokyo = inside | zone("Asia/Tokyo")
    if engine == "postgres":
        rest.get("/rpc/local_time?moment=2024-07-01", headers=tokyo).raise_for_status()
        rest.post("/rpc/local_time", json={"moment": "2024-07-01"}, headers=tokyo).raise_for_status()
    assert rest.get("/books?select=published&id=eq.1", headers=tokyo).json() == [{"published": "1843-09-01T19:18:59+09:18:59"}]
    assert rest.get("/books?select=published&id=eq.1", headers=inside).json() == [{"published": "1843-09-01T10:00:00+00:00"}]
    library.client.post(f"/api/db/transaction/{begun}/rollback").raise_for_status()
