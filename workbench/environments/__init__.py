"""Where agents act: tools with limits, and generated worlds."""

from workbench.environments.grid_world import GridWorld
from workbench.environments.hop_world import HopWorld
from workbench.environments.search_tool import SearchTool
from workbench.environments.tool_environment import ToolEnvironment
from workbench.environments.walkthroughs import FirstCalls, walkthrough_rows

__all__ = ["FirstCalls", "GridWorld", "HopWorld", "SearchTool", "ToolEnvironment", "walkthrough_rows"]
