"""What is asked, in three stages: raw (`ast`), resolved against a schema (`bound`), and limited to a scope (`scoped`)."""
