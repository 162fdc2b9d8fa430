"""The vault's format, version 1: bytes to values and back. No input or output happens here.

The law is docs/format.md; each module names the section it implements.
"""
