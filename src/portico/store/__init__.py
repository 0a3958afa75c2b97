"""Control data (services, keys, jobs, sessions) and its repositories."""
