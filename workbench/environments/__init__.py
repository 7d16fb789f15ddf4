"""Where agents act: tools with limits, and generated worlds."""

from workbench.environments.catalogue_world import Catalogue, CatalogueWorld
from workbench.environments.document_writers import LanguageWriter, RuleWriter
from workbench.environments.grid_world import GridWorld
from workbench.environments.hop_world import HopWorld
from workbench.environments.search_tool import SearchTool
from workbench.environments.simulated_search import SimulatedSearch
from workbench.environments.tool_environment import ToolEnvironment
from workbench.environments.walkthroughs import FirstCalls, walkthrough_rows

__all__ = [
    "Catalogue",
    "CatalogueWorld",
    "FirstCalls",
    "GridWorld",
    "HopWorld",
    "LanguageWriter",
    "RuleWriter",
    "SearchTool",
    "SimulatedSearch",
    "ToolEnvironment",
    "walkthrough_rows",
]
