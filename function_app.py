"""The function app: registers the blueprints, nothing else."""

import azure.functions as func

from functions.bindings import capacity, dead_letters, drift, forecast, health, ingest, nodes, openapi, sweep, train
from functions.bindings.timestamps import read_iso_times_first

read_iso_times_first()
app = func.FunctionApp()
for module in (ingest, sweep, forecast, train, drift, nodes, capacity, dead_letters, health, openapi):
    app.register_functions(module.blueprint)
