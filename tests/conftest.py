"""Settings of every test: hypothesis does not judge speed, since test machines are shared."""

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
