"""The behaviours of Pachyderm that the product leans on, as tests.

The same suite runs on the embedded double (the default) and, when `PACHD_ADDRESS` is set, on a real
Pachyderm 2.11.6. What the real one answered is kept in `recorded/`; see `recording`.
"""

from __future__ import annotations

import pytest

# So that a difference from the recorded answer is shown, and not only told.
pytest.register_assert_rewrite(f"{__name__}.recording")
