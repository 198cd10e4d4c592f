"""What an application declares, and how an action on it is performed."""
