"""Commands that only read: `show`, `ls`, `cat`, `diff`, `extract`, `snapshots`, `status`."""
