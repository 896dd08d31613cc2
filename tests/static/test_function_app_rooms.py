"""import-linter knows packages only, so the one module at the root is checked here."""

import ast
from pathlib import Path

FUNCTION_APP = Path(__file__).parents[2] / "function_app.py"


def test_function_app_knows_the_bindings_and_nothing_else_of_ours():
    tree = ast.parse(FUNCTION_APP.read_text())
    plain = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    modules = plain | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert "azure.functions" in modules
    assert all(module == "azure.functions" or module.startswith("functions.bindings") for module in modules)
