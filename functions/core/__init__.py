"""Pure processing: decode -> fold -> close -> score -> rows.

No azure.*, no clock, no environment, no I/O but through the protocols in `ports`. Start reading at `ingest`.
"""
