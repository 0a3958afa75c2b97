"""The collections being served: declared ones merged over discovered ones, as an immutable snapshot."""
