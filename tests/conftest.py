"""Shared by all tests: hypothesis profiles, chosen by HYPOTHESIS_PROFILE; helpers whose asserts explain."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

_CALM = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile("default", max_examples=50, deadline=None, suppress_health_check=_CALM)
settings.register_profile("quick", max_examples=10, deadline=None, suppress_health_check=_CALM)
settings.register_profile("soak", max_examples=5000, deadline=None, suppress_health_check=_CALM)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

pytest.register_assert_rewrite("e2e.oracle", "e2e.cli", "e2e.cluster", "fault.driven")
