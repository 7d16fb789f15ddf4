"""The command line, one module a family of commands. `workbench.cli` builds the parser from them.

Nothing heavy is imported at the top of these modules: ``--help`` must be instant.
"""
