"""Words of the embedded world: how a page states its facts, how a question asks for them.

A chain is an entity and a path of relations: ("Lyon", ("country", "capital")) asks for the capital of the country
where Lyon lies. Wordings are drawn from several forms, so that a policy cannot go by one fixed string.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

WITH_ARTICLE = frozenset(
    (
        "Bahamas",
        "Central African Republic",
        "Comoros",
        "Democratic Republic of the Congo",
        "Dominican Republic",
        "Gambia",
        "Maldives",
        "Marshall Islands",
        "Netherlands",
        "Philippines",
        "Republic of the Congo",
        "Seychelles",
        "Solomon Islands",
        "United Arab Emirates",
        "United Kingdom",
        "United States",
    )
)

FIRST_SENTENCE = {
    "country": "{name} is a country.",
    "city": "{name} is a city in {place}.",
    "state": "{name} is a state of the United States.",
    "airport": "This airport serves {city}.",
    "county": "{name} is a county in {place}.",
    "currency": "{name} is a currency.",
    "element": "{name} is a chemical element.",
}
IN_FIRST_SENTENCE = frozenset((("city", "country"), ("city", "state"), ("airport", "city"), ("county", "state")))
SENTENCES = {
    ("currency", "country"): "It is used in {value}.",
    ("element", "country"): "It was discovered in {value}.",
    ("element", "year"): "The year of discovery was {value}.",
}

ASKS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("country", "capital"): (
        "What is the capital of {x}?",
        "Which city is the capital of {x}?",
        "Which place is the capital of {x}?",
    ),
    ("country", "currency"): (
        "What is the currency of {x}?",
        "Which currency is used in {x}?",
        "What currency does one pay with in {x}?",
    ),
    ("country", "language"): ("What is the official language of {x}?", "Which language is official in {x}?"),
    ("country", "calling code"): ("What is the calling code of {x}?", "Which calling code does {x} have?"),
    ("city", "country"): (
        "In which country does {x} lie?",
        "Which country does {x} belong to?",
        "What is the country of {x}?",
    ),
    ("city", "state"): ("In which US state does {x} lie?", "Which US state does {x} belong to?"),
    ("city", "population"): ("What is the population of {x}?", "How large is the population of {x}?"),
    ("airport", "city"): ("Which city does {x} serve?", "What city is served by {x}?", "What is the city of {x}?"),
    ("airport", "code"): ("What is the code of {x}?", "Which code does {x} have?"),
    ("airport", "elevation"): ("What is the elevation of {x}?", "At which elevation does {x} lie?"),
    ("element", "symbol"): ("What is the symbol of {x}?", "Which symbol stands for {x}?"),
    ("element", "atomic number"): ("What is the atomic number of {x}?", "Which atomic number does {x} have?"),
    ("element", "country"): ("In which country was {x} discovered?", "What is the country where {x} was discovered?"),
    ("element", "year"): ("What was the year of discovery of {x}?", "In which year was {x} discovered?"),
    ("county", "state"): ("In which US state does {x} lie?", "Which US state does {x} belong to?"),
    ("county", "FIPS code"): ("What is the FIPS code of {x}?", "Which FIPS code does {x} have?"),
    ("state", "postal code"): ("What is the postal code of {x}?", "Which postal code does {x} have?"),
    ("state", "FIPS code"): ("What is the FIPS code of {x}?", "Which FIPS code does {x} have?"),
    ("currency", "code"): ("What is the currency code of {x}?", "Which currency code does {x} have?"),
    ("currency", "country"): ("In which country is {x} used?", "Which country uses {x}?"),
}
"""(kind, relation) -> forms of the question for it."""

PHRASES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("country", "capital"): ("the capital of {x}",),
    ("country", "currency"): ("the currency of {x}", "the currency used in {x}"),
    ("city", "country"): ("the country of {x}", "the country where {x} lies"),
    ("city", "state"): ("the state of {x}", "the state where {x} lies"),
    ("airport", "city"): ("the city served by {x}", "the city of {x}"),
    ("element", "country"): ("the country where {x} was discovered", "the country of discovery of {x}"),
    ("county", "state"): ("the state of {x}", "the state where {x} lies"),
    ("currency", "country"): ("the country that uses {x}",),
}
"""(kind, relation) -> forms of the phrase that stands for an entity not named."""


def with_article(name: str, kind: str = "country") -> str:
    """`name` as it stands in a sentence: currencies and some countries take an article."""
    return f"the {name}" if kind == "currency" or name in WITH_ARTICLE else name


def page_text(kind: str, name: str, facts: Mapping[str, str]) -> str:
    """The sentences of a page, facts in their order."""
    place = facts.get("country", facts.get("state", ""))
    shown = with_article(name, kind)
    opening = FIRST_SENTENCE[kind].format(name=shown, place=with_article(place), city=facts.get("city", ""))
    told = [
        SENTENCES.get((kind, relation), "Its {relation} is {value}.").format(
            relation=relation, value=with_article(value, relation)
        )
        for relation, value in facts.items()
        if (kind, relation) not in IN_FIRST_SENTENCE
    ]
    return " ".join([opening[0].upper() + opening[1:], *told])


def question(kinds: Sequence[str], name: str, path: Sequence[str], rng: Random) -> str:
    """A question for the end of the chain. `kinds[i]` is the kind of what relation `path[i]` is asked of."""
    asked = with_article(name, kinds[0])
    for kind, relation in zip(kinds[:-1], path[:-1], strict=True):
        asked = rng.choice(PHRASES[kind, relation]).format(x=asked)
    return rng.choice(ASKS[kinds[-1], path[-1]]).format(x=asked)
