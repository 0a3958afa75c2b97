"""Interactive transactions: their ids, the ones that this worker holds, and what is known of all others."""
