"""Properties are about what is right, not about how fast this machine is today.

Locally every run draws new cases. In CI the cases are those of the last run,
so that a change is judged by what it does; what a local run finds becomes an
`example` beside the property.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

slow = [HealthCheck.too_slow]
settings.register_profile("local", deadline=None, suppress_health_check=slow)
settings.register_profile("ci", deadline=None, suppress_health_check=slow, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")
