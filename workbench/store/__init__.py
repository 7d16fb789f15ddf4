"""The store: everything logged in a folder, by several processes at once; read back unchanged, asked with SQL."""

from workbench.store.joining import join_team
from workbench.store.opening import open_store
from workbench.store.store import Store

__all__ = ["Store", "join_team", "open_store"]
