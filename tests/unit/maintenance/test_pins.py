"""Pins: what they say, and that a damaged one still pins."""

from __future__ import annotations

from pathlib import Path

import pytest

from made import flip, new_vault
from pachvault.format import layout
from pachvault.maintenance import pins
from pachvault.vault.vault import Vault

ONE, TWO = "1" * 64, "2" * 64


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return new_vault(tmp_path)


def test_pinning_is_said_once_and_its_reason_stays(vault: Vault) -> None:
    assert pins.load(vault) == {}
    assert pins.pin(vault, ONE, "before the migration")
    assert not pins.pin(vault, ONE, "another reason")
    assert pins.pin(vault, TWO)
    assert {name: pin.reason for name, pin in pins.load(vault).items()} == {
        ONE: "before the migration",
        TWO: "",
    }
    assert pins.is_pinned(vault, ONE)


def test_unpinning_is_said_once(vault: Vault) -> None:
    pins.pin(vault, ONE)
    assert pins.unpin(vault, ONE)
    assert not pins.unpin(vault, ONE)
    assert not pins.is_pinned(vault, ONE)
    assert pins.load(vault) == {}


def test_a_damaged_pin_pins_and_can_be_taken_away(vault: Vault, tmp_path: Path) -> None:
    pins.pin(vault, ONE, "why")
    flip(tmp_path / "vault" / layout.pin_path(ONE), 3)
    assert "damaged" in pins.load(vault)[ONE].reason
    assert not pins.pin(vault, ONE)
    assert pins.unpin(vault, ONE)
    assert pins.pin(vault, ONE, "why")


def test_names_that_are_no_pins_are_passed_over(vault: Vault) -> None:
    vault.store.put(f"{layout.PINS}/notes.txt", [b"x"], 1)
    assert pins.load(vault) == {}
