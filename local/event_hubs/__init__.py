"""An Event Hubs broker for one machine: the unmodified azure-eventhub SDK talks to it over AMQP 1.0.

Start it with `python -m local.event_hubs --help`; README.md says what it does and does not do.
Nothing but tests and the local supervisor may import it; it imports the standard library only.
"""
