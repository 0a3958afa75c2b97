"""Conversations of users, and the messages in them."""

CONVERSATIONS: dict[str, object] = {
    "name": "conversations",
    "fields": [
        {"name": "conversation_id", "type": "uuid", "default_value": "uuid7", "constraints": ["primary_key"]},
        {"name": "user_id", "type": "uuid", "required": True, "constraints": ["references:users.user_id:cascade"]},
        {"name": "title", "type": "string(500)", "required": True},
        {"name": "metadata", "type": "json", "default_value": {}},
    ],
    "indexes": [
        {"name": "idx_conversations_user_id", "fields": ["user_id"]},
        {"name": "idx_conversations_title", "fields": ["title"]},
        {"name": "idx_conversations_created_at", "fields": ["created_at"]},
    ],
    "security": {"access_control": "owner", "owner_field": "user_id"},
    "search": {"fields": ["title"]},
    "timestamps": True,
    "audit": True,
}

MESSAGES: dict[str, object] = {
    "name": "messages",
    "fields": [
        {"name": "message_id", "type": "uuid", "default_value": "uuid7", "constraints": ["primary_key"]},
        {
            "name": "conversation_id",
            "type": "uuid",
            "required": True,
            "constraints": ["references:conversations.conversation_id:cascade"],
        },
        {"name": "role", "type": "string(20)", "required": True, "constraints": ["in:user,assistant,system"]},
        {"name": "content", "type": "text", "required": True},
        {"name": "metadata", "type": "json", "default_value": {}},
        {"name": "token_count", "type": "integer"},
        {"name": "timestamp", "type": "datetime", "required": True, "default_value": "now"},
    ],
    "indexes": [
        {"name": "idx_messages_conversation_id", "fields": ["conversation_id"]},
        {"name": "idx_messages_timestamp", "fields": ["timestamp"]},
        {"name": "idx_messages_role", "fields": ["role"]},
    ],
    "security": {"access_control": "relation", "relation": "conversation"},
    "search": {"fields": ["content"]},
    "audit": True,
}
