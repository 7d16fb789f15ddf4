"""The cleaning of facts, on rows made here; gathering itself needs the extra packages and half a minute."""

from __future__ import annotations

import pytest

from workbench.environments.facts import Entity, _airports, _Map, _one_name_each, _unambiguous, fold


def place(name: str, population: int, country: str = "FR") -> dict:
    return {
        "name": name,
        "population": population,
        "countrycode": country,
        "admin1code": "",
        "latitude": 0,
        "longitude": 0,
    }


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("Córdoba", "Cordoba"),
        ("Łódź", "Lodz"),
        ("Tromsø", "Tromso"),
        ("Nuku’alofa", "Nuku'alofa"),
        (" St.  John's ", "St. John's"),
    ],
)
def test_names_are_folded_to_ascii(name, plain):
    assert fold(name) == plain


def test_a_city_keeps_its_name_only_if_no_namesake_has_a_tenth_of_its_people():
    rows = [
        place("Lyon", 500_000),
        place("Troy", 52_000),
        place("Troy", 83_000),
        place("Paris", 2_100_000),
        place("Paris", 25_000),
    ]
    assert {name: row["population"] for name, row in _unambiguous(rows).items()} == {
        "Lyon": 500_000,
        "Paris": 2_100_000,
    }


def airport(iata: str, name: str, city: str = "Lyon", lat: float = 0.1) -> dict:
    return {"iata": iata, "name": name, "city": city, "country": "FR", "lat": lat, "lon": 0.0, "elevation": 820.6}


def test_an_airport_must_not_tell_its_city_or_country_and_must_be_near():
    rows = [
        airport("AAA", "Saint Exupery Airport"),
        airport("BBB", "Lyon Bron Airport"),  # tells the city
        airport("CCC", "France Central Airport"),  # tells the country
        airport("DDD", "Distant Airport", lat=1.0),  # 111 km away
        airport("EEE", "Somewhere Air Base Airport"),
    ]
    places = {"Lyon": place("Lyon", 500_000)}
    (kept,) = _airports(rows, places, _Map({"FR": {"name": "France"}}, {}))
    assert kept == Entity("airport", "Saint Exupery Airport", {"city": "Lyon", "code": "AAA", "elevation": "821 feet"})


def test_of_two_namesakes_the_more_basic_kind_stays_and_what_points_at_the_other_goes():
    country = Entity("country", "Georgia", {"capital": "Tbilisi"})
    state = Entity("state", "Georgia", {"postal code": "GA"})
    county = Entity("county", "Appling County", {"state": "Georgia"})
    city = Entity("city", "Batumi", {"country": "Georgia"})
    assert _one_name_each([country], [state], [county], [city]) == [country, city]
