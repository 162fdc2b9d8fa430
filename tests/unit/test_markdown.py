"""Reports for people: the first line, and text that Markdown must not read as something else."""

from __future__ import annotations

from pachvault import markdown
from pachvault.markdown import Table, listing


def test_the_first_line_is_the_sentence_and_empty_parts_are_left_out() -> None:
    text = markdown.report(
        "Backup: sealed", {"Snapshot": "ab", "Tick": "", "Run": None}, tables=[Table("Notes", ("A",), [])]
    ).decode()
    assert text == "**Backup: sealed**\n\n|  |  |\n| --- | --- |\n| Snapshot | ab |\n"


def test_names_and_messages_stay_what_they_are() -> None:
    text = markdown.report(
        "a_b *x* [y] <z> | #\nnext", {}, next_step="`pachvault show a|b`", tables=[listing("One", ["`odd"])]
    ).decode()
    first, step, *_ = text.split("\n\n")
    assert first == "**a_b \\*x\\* \\[y\\] \\<z\\> \\| \\# next**"
    assert step == "Next: `pachvault show a\\|b`"
    assert "| \\`odd |" in text


def test_a_long_table_is_cut_and_counted() -> None:
    text = markdown.report("s", {}, tables=[listing("Many", [str(number) for number in range(2_000)])])
    assert text.decode().count("\n|") == 102
    assert "And 1,900 more" in text.decode()
