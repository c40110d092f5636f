"""Training: one loop for every task, and the folder it leaves."""
