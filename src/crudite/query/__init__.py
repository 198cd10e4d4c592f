"""One query language: one tree, one parser for each spelling, one SQL compiler, one in-memory matcher."""
