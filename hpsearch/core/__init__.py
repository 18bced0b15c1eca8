"""Foundations that every other package uses: seeds, the schema base, parameter space, processes, text."""
