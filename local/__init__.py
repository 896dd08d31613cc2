"""Stand-ins for the cloud, and what runs them on one machine. Nothing but tests and benchmarks imports it."""
