"""Parts of networks that tasks share, beside the recurrence."""
