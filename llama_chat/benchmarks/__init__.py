"""Measurements as plain data: what is measured, what was found, what was found before. No torch here."""
