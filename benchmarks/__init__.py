"""What Crudite costs, beside what else one could use (docs/explanation/performance.md tells the method)."""
