"""Every way pachvault fails, and the exit code of each.

    PachvaultError        1   failed
    ├── UsageError        2   bad input: a flag, a policy, an address
    ├── NoVaultError     10   no vault there, or not one this version reads
    ├── BusyError        11   the vault or the backup repo is in use by another run
    ├── VaultKeyError    12   wrong or missing key
    ├── DamageError      13   what is stored is not what was stored
    │   └── TakenError        another object has the name already
    └── PachydermError    1   the cluster cannot be reached, or refused
        └── SourceGoneError   what was to be read is no longer there

An error carries fields (what, where); the sentence a user reads is its `str`, one line, and is
printed once, by the outermost layer.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_PARTIAL = 3
EXIT_NO_VAULT = 10
EXIT_BUSY = 11
EXIT_KEY = 12
EXIT_DAMAGE = 13
EXIT_INTERRUPTED = 130


class PachvaultError(Exception):
    """What went wrong, where, and what to do about it, in one line."""

    exit_code = EXIT_FAILED

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        self.what = what
        self.where = where
        self.hint = hint
        super().__init__(what)

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        return f"{line} ({self.hint})" if self.hint else line


class UsageError(PachvaultError):
    """The input is wrong: nothing was done."""

    exit_code = EXIT_USAGE


class NoVaultError(PachvaultError):
    """The target holds no vault, or one this version does not read."""

    exit_code = EXIT_NO_VAULT


class BusyError(PachvaultError):
    """Another run holds what this one needs."""

    exit_code = EXIT_BUSY


class VaultKeyError(PachvaultError):
    """The objects are sealed with a key that was not given."""

    exit_code = EXIT_KEY


class DamageError(PachvaultError):
    """Stored bytes are missing or are not what their name promises."""

    exit_code = EXIT_DAMAGE


class TakenError(DamageError):
    """Another complete object has the name already: it is damaged, or what was to be written is."""


class PachydermError(PachvaultError):
    """Pachyderm cannot be reached, or refused the call."""


class SourceGoneError(PachydermError):
    """A source commit can no longer be read: deleted, squashed, forgotten, or no rights."""
