"""The random model test: whatever happens, what a client holds is what a plain model of the tables says."""
