"""Azure's SDKs behind core's protocols. Imported by bindings only."""
