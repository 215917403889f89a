"""What is remembered: the audit event, the tree over all of them, the checkpoint. The record, not the sink."""
