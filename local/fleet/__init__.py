"""A fleet simulator: N nodes with realistic, seeded behaviour and faults on demand, publishing to Event Hubs.

Start it with `python -m local.fleet --help`. It speaks the agents' wire language (telemetry) through the real SDK;
`local.fleet.model.FleetModel` gives the same envelopes to benchmarks without any network.
Nothing but tests, benchmarks and the local supervisor may import it. Besides the standard library and telemetry it
needs numpy, and azure-eventhub to publish.
"""
