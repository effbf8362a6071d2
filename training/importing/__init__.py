"""Brings in networks that were trained elsewhere: `digitscope import` (docs/import.md)."""
