"""Clients, their users, and the identities by which users sign in."""

CLIENTS: dict[str, object] = {
    "name": "clients",
    "fields": [
        {"name": "id", "type": "string(255)", "constraints": ["primary_key", "pattern:^[A-Za-z0-9._:@-]+$"]},
        {"name": "name", "type": "text", "required": True},
        {"name": "email", "type": "text"},
        {
            "name": "status",
            "type": "string(50)",
            "required": True,
            "default_value": "active",
            "constraints": ["in:active,suspended,closed"],
        },
    ],
    "indexes": [{"name": "idx_clients_email", "fields": ["email"]}],
    "security": {"access_control": "tenant", "tenant_field": "id"},
    "timestamps": True,
    "audit": True,
}

USERS: dict[str, object] = {
    "name": "users",
    "fields": [
        {"name": "user_id", "type": "uuid", "default_value": "uuid7", "constraints": ["primary_key"]},
        {"name": "client_id", "type": "string(255)", "constraints": ["references:clients.id"]},
        {"name": "username", "type": "string(255)", "constraints": ["unique"]},
        {"name": "email", "type": "string(255)", "constraints": ["unique"]},
        {"name": "password_hash", "type": "string(255)"},
        {"name": "full_name", "type": "string(255)", "required": True, "default_value": {"join": ["first_name", "last_name"]}},
        {"name": "first_name", "type": "text"},
        {"name": "last_name", "type": "text"},
        {"name": "organization", "type": "string(255)"},
        {"name": "role", "type": "string(50)", "default_value": "user"},
        {"name": "preferences", "type": "json", "default_value": {}},
        {"name": "is_active", "type": "boolean", "default_value": True},
        {"name": "last_login", "type": "datetime"},
    ],
    "indexes": [
        {"name": "idx_users_email", "fields": ["email"]},
        {"name": "idx_users_created_at", "fields": ["created_at"]},
        {"name": "idx_users_active", "fields": ["is_active"]},
        {"name": "idx_users_client_id", "fields": ["client_id"]},
    ],
    "security": {
        "access_control": "tenant",
        "tenant_field": "client_id",
        "hidden": ["password_hash"],
        "passwords": {"password": "password_hash"},
    },
    "at_least_one": ["username", "email"],
    "timestamps": True,
    "audit": True,
}

USER_IDENTITIES: dict[str, object] = {
    "name": "user_identities",
    "fields": [
        {"name": "id", "type": "uuid", "default_value": "uuid7", "constraints": ["primary_key"]},
        {"name": "user_id", "type": "uuid", "required": True, "constraints": ["references:users.user_id:cascade"]},
        {"name": "provider", "type": "text", "required": True},
        {"name": "subject", "type": "text", "required": True},
        {"name": "email", "type": "text"},
        {"name": "created_at", "type": "datetime", "required": True, "default_value": "now"},
        {"name": "last_login", "type": "datetime"},
    ],
    "indexes": [
        {"name": "uq_user_identities_provider_subject", "fields": ["provider", "subject"], "unique": True},
        {"name": "idx_user_identities_user_id", "fields": ["user_id"]},
    ],
    "security": {"access_control": "owner", "owner_field": "user_id"},
    "audit": True,
}
