"""The function app: what runs in Azure Functions.

`core` is pure and knows no Azure, `adapters` put Azure's SDKs behind core's protocols, `bindings` hold one
blueprint per function. Imports telemetry; is imported by function_app.py and tests only.
"""
