"""The groups of settings, but for databases: what each setting means, its default and its bounds."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from portico.settings.secrets import Secret

PositiveInt = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)]


class Environment(StrEnum):
    """Where Portico runs; everything but development is strict."""

    DEVELOPMENT = "development"
    STAGING = "staging"
    PRODUCTION = "production"

    @property
    def strict(self) -> bool:
        """Whether unsafe settings keep Portico from starting and every call needs a credential."""
        return self is not Environment.DEVELOPMENT


class Group(BaseModel):
    """A group of settings: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=False)


class Http(Group):
    """The address that Portico serves, and what it takes from a request."""

    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(default=8001, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    workers: int = Field(default=1, ge=1, le=256, description="Worker processes.")
    max_body_bytes: int = Field(
        default=10_485_760, ge=1024, description="Largest request body, after decompression; beyond it 413. Imports are streamed."
    )
    max_header_bytes: int = Field(default=32_768, ge=1024, description="Largest request line and headers together; beyond it 431.")
    send_timeout_seconds: Seconds = Field(default=10, description="How long a streamed answer waits for a client that does not read.")
    shutdown_seconds: Seconds = Field(default=30, description="How long running calls may take to finish after SIGTERM.")
    tls_certificate: str | None = Field(
        default=None, description="File with the certificate chain; with `tls_key`, Portico serves HTTPS (TLS 1.2 or later)."
    )
    tls_key: str | None = Field(default=None, description="File with the certificate's private key.")
    cors_origins: tuple[str, ...] = Field(default=(), description="Origins that browsers may call from; none by default.")
    docs: bool = Field(default=True, description="Serve the interactive documentation at `/docs`.")


class Store(Group):
    """Control data: services, keys, jobs, sessions."""

    database: str | None = Field(default=None, description="Name of the database that keeps them; by default the first SQL database.")


_ADDRESS = r"^[^\s:/]+:\d{1,5}$|^\[[0-9a-fA-F:.]+\]:\d{1,5}$"


class Cluster(Group):
    """Nodes that carry each other's transactions."""

    advertise: str | None = Field(
        default=None, pattern=_ADDRESS, description="`host:port` that other nodes reach this one at, for the calls that they carry."
    )
    listen: str | None = Field(
        default=None, pattern=_ADDRESS, description="`host:port` of this machine to listen on, where it is not the advertised one."
    )
    secret: Secret | None = Field(
        default=None, description="Secret of 32 or more characters that the nodes share (`secret_file` names a file)."
    )


class Cache(Group):
    """The cache of reads."""

    enabled: bool = Field(default=True, description="Whether reads of collections that declare a cache are cached at all.")
    database: str | None = Field(
        default=None,
        description="Name of the Redis database that nodes share; without it the cache is in-process, with one worker on one node.",
    )
    max_bytes: int = Field(default=67_108_864, ge=0, description="Memory for cached answers in each worker.")
    timeout_seconds: Seconds = Field(default=0.05, description="How long a request waits for Redis before it goes on without.")


class Issuer(Group):
    """An issuer of JSON Web Tokens that Portico trusts."""

    issuer: str = Field(min_length=1, description="Value of `iss`.")
    audience: str = Field(min_length=1, description="Value that `aud` must contain.")
    jwks_url: str = Field(min_length=1, description="Address of the issuer's keys.")
    algorithms: tuple[str, ...] = Field(default=("RS256",), min_length=1, description="Signature algorithms accepted.")
    provider: str | None = Field(default=None, description="Name under which `user_identities` holds its users; by default the issuer.")
    service_claim: str = Field(default="azp", description="Claim that names the service.")
    client_claim: str | None = Field(default=None, description="Claim that names the client.")
    user_claim: str = Field(default="sub", description="Claim that names the user.")


class Auth(Group):
    """Who may call."""

    required: bool = Field(
        default=True, description="Whether every call needs a credential. In development on a loopback address it is off by default."
    )
    issuers: tuple[Issuer, ...] = Field(default=(), description="Issuers of JSON Web Tokens that are trusted.")
    session_seconds: PositiveInt = Field(default=86_400, description="Life of a user session that is not extended.")
    password_min_length: int = Field(default=12, ge=8, le=128, description="Shortest password of a user.")


class RateLimits(Group):
    """Calls that one service may make, by class; a service's own limit goes before. None is unlimited."""

    reads_per_minute: PositiveInt | None = Field(default=None, description="Reads a minute.")
    writes_per_minute: PositiveInt | None = Field(default=None, description="Writes a minute.")
    expensive_per_minute: PositiveInt | None = Field(default=None, description="Aggregations, searches, exports and imports a minute.")


class Limits(Group):
    """What one call may ask for."""

    page_default: PositiveInt = Field(default=50, description="Documents of a page when the caller names no limit.")
    page_max: PositiveInt = Field(default=1000, description="Largest limit.")
    offset_max: int = Field(default=100_000, ge=0, description="Largest offset.")
    filter_expressions: PositiveInt = Field(default=200, description="Comparisons in one filter.")
    filter_depth: PositiveInt = Field(default=20, description="Nesting of a filter.")
    in_values: PositiveInt = Field(default=10_000, description="Values of one `in`.")
    include_depth: int = Field(default=5, ge=0, description="Nesting of included relations.")
    statement_timeout_seconds: Seconds = Field(
        default=30, description="Time for one statement; beyond it 504. A service's own goes before."
    )
    delete_cascade_rows: PositiveInt = Field(
        default=10_000, description="Rows that one delete may touch through its cascades; beyond it 422."
    )
    rate: RateLimits = Field(default=RateLimits(), description="Calls of a service.")


class Transactions(Group):
    """Batches, interactive transactions and idempotency."""

    batch_operations: PositiveInt = Field(default=1000, description="Operations of one batch.")
    idle_seconds: Seconds = Field(default=30, description="Rolled back after this long without a call.")
    life_seconds: Seconds = Field(default=300, description="Rolled back this long after it began.")
    embedded_idle_seconds: Seconds = Field(default=2, description="Idle limit on SQLite, once it writes.")
    embedded_life_seconds: Seconds = Field(default=10, description="Life limit on SQLite, once it writes; of a batch there as well.")
    idempotency_hours: PositiveInt = Field(default=24, description="How long the answer of a write with an Idempotency-Key is kept.")


class Changes(Group):
    """Change feeds."""

    keep_hours: int = Field(default=24, ge=1, le=87_600, description="From how old a change a feed can be resumed; beyond it 410.")


class Observe(Group):
    """Logs, metrics and traces."""

    log_level: LogLevel = Field(default="INFO", description="Least severe level that is logged.")
    log_format: Literal["auto", "json", "text"] = Field(default="auto", description="`auto` is text on a terminal, JSON lines elsewhere.")
    otel_endpoint: str | None = Field(default=None, repr=False, description="OTLP endpoint for traces and metrics; none, no export.")
    trace_ratio: float = Field(default=1.0, ge=0, le=1, description="Share of requests that are traced when the caller did not decide.")
    metrics: bool = Field(default=True, description="Serve Prometheus metrics at `/metrics`.")
    client_label: bool = Field(default=False, description="Label metrics with the client (the most frequent ones; the rest is `other`).")
    slow_query_ms: float = Field(default=100, gt=0, description="Queries slower than this are logged as a warning, in milliseconds.")


class Files(Group):
    """Where documents' files are kept."""

    url: str = Field(
        default="file:./portico-files",
        pattern=r"^(file:|s3://)",
        description="A folder (`file:///…`, `file:./…`) or an S3 bucket (`s3://bucket/prefix`).",
    )
    endpoint: str | None = Field(default=None, description="Address of an S3-compatible store other than Amazon's.")
    region: str | None = Field(default=None, description="Region of the bucket.")
    access_key_id: str | None = Field(default=None, description="Access key of the store.")
    secret_access_key: Secret | None = Field(default=None, description="Secret of the access key.")


class Function(Group):
    """A database function that `/rest/v1/rpc` may call."""

    name: str = Field(min_length=1, description="Name, with its schema where that is not the first discovered one.")
    database: str = Field(default="main", description="Database that has it.")
    security_definer: bool = Field(
        default=False, description="Says that the function runs with its owner's rights, which is otherwise refused."
    )
