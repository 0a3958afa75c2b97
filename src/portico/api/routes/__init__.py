"""The control plane's typed routes, one module for each resource."""
