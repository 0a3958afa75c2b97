"""Pure-ASGI middleware: what every request passes before the dispatcher and the control plane."""
