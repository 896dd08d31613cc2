"""A Log Analytics stand-in: Logs Ingestion API in, Log Analytics query API out, DuckDB inside.

Runs as a process of its own (`python -m local.log_analytics`); the local supervisor starts it, unmodified
Azure clients talk to it over https. Nothing imports it but its own tests. README.md says where it differs
from the service.
"""
