"""The function app: registers the blueprints, nothing else."""

import azure.functions as func

from functions.bindings import dead_letters, health, ingest, nodes, openapi, sweep
from functions.bindings.timestamps import read_iso_times_first

read_iso_times_first()
app = func.FunctionApp()
for module in (ingest, sweep, nodes, dead_letters, health, openapi):
    app.register_functions(module.blueprint)
