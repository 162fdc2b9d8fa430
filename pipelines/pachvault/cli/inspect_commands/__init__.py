"""Commands that only read: `probe`, `show`, `ls`, `cat`, `diff`, `extract`, `snapshots`, `status`."""
