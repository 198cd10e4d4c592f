"""`crudite import`: from files of other programs to records."""
