"""What the commands report: a class for each `type` of JSON output, with the text that people get instead.

docs/json.md and docs/json.schema.json are generated from these classes.
"""
