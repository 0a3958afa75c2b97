"""Raw events, and what came of processing them. They belong to no tenant: only scope ``*`` reaches them, unless declared shared."""

EVENTS: dict[str, object] = {
    "name": "events",
    "fields": [
        {"name": "id", "type": "uuid", "default_value": "uuid7", "constraints": ["primary_key"]},
        {"name": "data", "type": "json", "default_value": {}},
        {"name": "task_context", "type": "json", "default_value": {}},
    ],
    "indexes": [
        {"name": "idx_events_created_at", "fields": ["created_at"]},
        {"name": "idx_events_data", "fields": ["data"], "kind": "gin"},
        {"name": "idx_events_task_context", "fields": ["task_context"], "kind": "gin"},
    ],
    "timestamps": True,
}
