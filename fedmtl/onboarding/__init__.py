"""New clients and tasks after training: the trunk of a run, and heads from few labels."""
