"""Quire's gdb commands: memory as the hardware sees it, and remaps step by step."""
