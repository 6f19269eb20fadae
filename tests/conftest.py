"""For all tests: none is judged by the wall clock, so hypothesis has no deadline and does not mind a slow machine."""

from hypothesis import HealthCheck, settings

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
