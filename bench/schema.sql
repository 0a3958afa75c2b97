-- The table that the hand-written floor, the idiomatic service and pREST use: Portico's built-in `document_metadata`
-- column for column and index for index, without row-level security, beside an audit table like Portico's.
-- The benchmark refuses to run when the indexes of the two differ.
DROP SCHEMA IF EXISTS plain CASCADE;
CREATE SCHEMA plain;

CREATE TABLE plain.clients (
    id varchar(255) PRIMARY KEY,
    name varchar(255) NOT NULL,
    email varchar(255),
    status varchar(50) NOT NULL DEFAULT 'active',
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE plain.users (
    user_id uuid PRIMARY KEY DEFAULT gen_random_uuid()
);

CREATE TABLE plain.document_metadata (
    id bigserial PRIMARY KEY,
    client_id varchar(255) COLLATE "C" NOT NULL REFERENCES plain.clients,
    filename varchar(500) COLLATE "C" NOT NULL,
    file_size bigint NOT NULL CHECK (file_size >= 0),
    file_type varchar(100) COLLATE "C" NOT NULL,
    content_type varchar(255) COLLATE "C",
    upload_timestamp timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    file_path varchar(1000) COLLATE "C" NOT NULL,
    summary text COLLATE "C",
    metadata jsonb NOT NULL DEFAULT '{}',
    uploaded_by uuid REFERENCES plain.users,
    UNIQUE (client_id, filename)
);
CREATE INDEX ON plain.document_metadata (client_id, id);
CREATE INDEX ON plain.document_metadata (upload_timestamp);
CREATE INDEX ON plain.document_metadata (uploaded_by);

CREATE TABLE plain.audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    service text COLLATE "C" NOT NULL,
    client_id text COLLATE "C",
    user_id text COLLATE "C",
    correlation_id text COLLATE "C" NOT NULL,
    collection text COLLATE "C" NOT NULL,
    operation text COLLATE "C" NOT NULL,
    document_key text COLLATE "C" NOT NULL,
    before jsonb,
    after jsonb,
    transaction xid8 NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX ON plain.audit (collection, document_key);
CREATE INDEX ON plain.audit USING brin (at);

GRANT USAGE ON SCHEMA plain TO appuser;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA plain TO appuser;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA plain TO appuser;
