"""The built-in collections, declared once, as the same schema documents that anybody writes."""
