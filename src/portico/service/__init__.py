"""The pipeline of every call: plan, authorize, scope, execute, record."""
