"""What clients and users keep: files' metadata, documents, wireframes and diagrams."""

DOCUMENT_METADATA: dict[str, object] = {
    "name": "document_metadata",
    "fields": [
        {"name": "id", "type": "bigint", "default_value": "database", "constraints": ["primary_key"]},
        {"name": "client_id", "type": "string(255)", "constraints": ["references:clients.id"]},
        {"name": "filename", "type": "string(500)", "required": True},
        {"name": "file_size", "type": "bigint", "required": True, "constraints": ["min:0"]},
        {"name": "file_type", "type": "string(100)", "required": True},
        {"name": "content_type", "type": "string(255)"},
        {"name": "upload_timestamp", "type": "datetime", "required": True, "default_value": "now"},
        {"name": "file_path", "type": "string(1000)", "required": True},
        {"name": "summary", "type": "text"},
        {"name": "metadata", "type": "json", "default_value": {}},
        {"name": "uploaded_by", "type": "uuid", "constraints": ["references:users.user_id:set_null"]},
    ],
    "indexes": [
        # The key beside the client serves a client's pages in the order of the key, without a sort.
        {"name": "idx_document_metadata_client_id", "fields": ["client_id", "id"]},
        {"name": "idx_document_metadata_upload_timestamp", "fields": ["upload_timestamp"]},
        {"name": "idx_document_metadata_uploaded_by", "fields": ["uploaded_by"]},
        {"name": "uq_document_metadata_client_id_filename", "fields": ["client_id", "filename"], "unique": True},
    ],
    "security": {"access_control": "tenant", "tenant_field": "client_id"},
    "audit": True,
}

DOCUMENTS: dict[str, object] = {
    "name": "documents",
    "fields": [
        {"name": "document_id", "type": "uuid", "default_value": "uuid7", "constraints": ["primary_key"]},
        {"name": "user_id", "type": "uuid", "required": True, "constraints": ["references:users.user_id:cascade"]},
        {"name": "project_name", "type": "string(500)", "required": True},
        {"name": "content", "type": "text", "required": True},
        {"name": "metadata", "type": "json", "default_value": {}},
        {"name": "status", "type": "string(50)", "default_value": "draft"},
        {"name": "version", "type": "integer", "default_value": 1},
        {"name": "file_path", "type": "string(1000)"},
    ],
    "indexes": [
        {"name": "idx_documents_user_id", "fields": ["user_id"]},
        {"name": "idx_documents_project_name", "fields": ["project_name"]},
        {"name": "idx_documents_status", "fields": ["status"]},
        {"name": "idx_documents_created_at", "fields": ["created_at"]},
        {"name": "idx_documents_metadata", "fields": ["metadata"], "kind": "gin"},
    ],
    "security": {"access_control": "owner", "owner_field": "user_id"},
    "search": {"fields": ["project_name", "content"], "weights": {"project_name": 2}},
    "timestamps": True,
    "audit": True,
    "versioned": True,
}

WIREFRAMES: dict[str, object] = {
    "name": "wireframes",
    "fields": [
        {"name": "wireframe_id", "type": "uuid", "default_value": "uuid7", "constraints": ["primary_key"]},
        {"name": "user_id", "type": "uuid", "required": True, "constraints": ["references:users.user_id:cascade"]},
        {"name": "title", "type": "string(500)", "required": True},
        {"name": "html_content", "type": "text"},
        {"name": "css_styles", "type": "text"},
        {"name": "metadata", "type": "json", "default_value": {}},
        {"name": "template_type", "type": "string(100)"},
        {"name": "preview_url", "type": "string(1000)"},
    ],
    "indexes": [
        {"name": "idx_wireframes_user_id", "fields": ["user_id"]},
        {"name": "idx_wireframes_title", "fields": ["title"]},
        {"name": "idx_wireframes_template_type", "fields": ["template_type"]},
        {"name": "idx_wireframes_created_at", "fields": ["created_at"]},
    ],
    "security": {"access_control": "owner", "owner_field": "user_id"},
    "search": {"fields": ["title", "html_content"], "weights": {"title": 2}},
    "timestamps": True,
    "audit": True,
}

DIAGRAMS: dict[str, object] = {
    "name": "diagrams",
    "fields": [
        {"name": "diagram_id", "type": "uuid", "default_value": "uuid7", "constraints": ["primary_key"]},
        {"name": "user_id", "type": "uuid", "required": True, "constraints": ["references:users.user_id:cascade"]},
        {"name": "title", "type": "string(500)", "required": True},
        {"name": "diagram_type", "type": "string(50)", "required": True, "constraints": ["in:sequence,architecture,usecase,flowchart"]},
        {"name": "mermaid_code", "type": "text", "required": True},
        {"name": "preview_url", "type": "string(1000)"},
        {"name": "metadata", "type": "json", "default_value": {}},
    ],
    "indexes": [
        {"name": "idx_diagrams_user_id", "fields": ["user_id"]},
        {"name": "idx_diagrams_type", "fields": ["diagram_type"]},
        {"name": "idx_diagrams_title", "fields": ["title"]},
        {"name": "idx_diagrams_created_at", "fields": ["created_at"]},
    ],
    "security": {"access_control": "owner", "owner_field": "user_id"},
    "search": {"fields": ["title", "mermaid_code"], "weights": {"title": 2}},
    "timestamps": True,
    "audit": True,
}
