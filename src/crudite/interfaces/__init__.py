"""The ways to speak to an application; independent of each other."""
