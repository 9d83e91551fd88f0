from __future__ import annotations

from pathlib import Path

import pytest

from agent.demo.forms import World, load_world

ROWS = """
- {name: Atlantis, kind: country, article: the, aliases: [ATL], demonyms: [Atlantean], facts: {capital: Poseidonis, continent: Oceania, currency: Atlantean pearl, official_language: [Greek, Latin], head_of_state: Nereus Tidewater, head_of_government: Doris Shoal}}
- {name: Lemuria, kind: country, demonyms: [Lemurian], facts: {capital: Mu, continent: Asia, head_of_state: Ila Reef}}
- {name: Brinkworks, kind: company, aliases: [Brink], facts: {ceo: Otto Kelp, headquarters: Mu, industry: salt, founder: [Otto Kelp, Ada Spray]}}
- {name: Mu Rovers, kind: club, facts: {head_coach: Finn Hake, league: Coral League, home_city: Mu}}
- {name: Bank of Atlantis, kind: central_bank, article: the, facts: {central_bank_governor: Coral Banks, headquarters: Poseidonis}}
- {name: Tide Council, kind: body, article: the, aliases: [TC], facts: {head_of_organisation: Ebb Flowers}}
- {name: Doris Shoal, kind: person, facts: {nationality: Atlantis, occupation: politician, position: prime minister of Atlantis}}
- {name: Gil Marsh, kind: person, facts: {nationality: Lemuria, occupation: diver}}
"""


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Eight invented entities with the real relations and phrasings."""
    path: Path = tmp_path_factory.mktemp("world") / "world.yaml"
    path.write_text(ROWS)
    return load_world(facts=path)
