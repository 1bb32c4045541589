"""Breaks the flow compiler on purpose, one small change at a time, and counts how many changes the tests find."""
