"""Every bound that Redoubt enforces, named, with its reason. Units stand in the names."""

from __future__ import annotations

from typing import Final

# --- C2SP chunked encryption (c2sp.org/chunked-encryption) ----------------------------------------------------------
CHUNK_PLAINTEXT_BYTES: Final = 16384
CHUNK_TAG_BYTES: Final = 16
CHUNK_CIPHERTEXT_BYTES: Final = CHUNK_PLAINTEXT_BYTES + CHUNK_TAG_BYTES
BODY_SALT_BYTES: Final = 24
BODY_COMMITMENT_BYTES: Final = 32
BODY_PREFIX_BYTES: Final = BODY_SALT_BYTES + BODY_COMMITMENT_BYTES
MAX_CHUNKS: Final = 2**38

# --- keys -----------------------------------------------------------------------------------------------------------
DATA_KEY_BYTES: Final = 32
GCM_NONCE_BYTES: Final = 12
#: NIST SP 800-38D 8.3: at most 2^32 invocations of AES-GCM with random nonces under one key.
MAX_WRAPS_PER_KEY_VERSION: Final = 2**32
MAX_KEY_NAME_BYTES: Final = 128
MAX_WRAPPED_KEY_BYTES: Final = 1536
#: A wrapped key with its names; fits one key slot.
MAX_WRAPPED_RECORD_BYTES: Final = 1960
MAX_KEY_BATCH: Final = 1024
MAX_PASSPHRASE_BYTES: Final = 4096

# --- key providers --------------------------------------------------------------------------------------------------
#: MAX_KEY_BATCH unwrapped keys of a Vault are about 100 KB.
MAX_PROVIDER_ANSWER_BYTES: Final = 1024 * 1024
#: One step of an exchange. Making a key takes a handful of exchanges in which others wait for the books, at most 30 s.
PROVIDER_TIMEOUT_SECONDS: Final = 8.0
#: OpenBao refuses a request with more than 1000 strings; an item has four.
MAX_TRANSIT_BATCH: Final = 200
#: Connections kept open between calls, each for one thread at a time.
MAX_IDLE_PROVIDER_CONNECTIONS: Final = 4
#: Tokens, secrets and API keys; a Kubernetes or Entra token has 1 to 4 KB.
MAX_CREDENTIAL_BYTES: Final = 16 * 1024
MAX_CA_FILE_BYTES: Final = 1024 * 1024
#: A token is asked for again this long before its end.
TOKEN_RENEWAL_SECONDS: Final = 60.0
MAX_TOKEN_LIFE_SECONDS: Final = 86400.0

# --- sealed files ---------------------------------------------------------------------------------------------------
MAX_HEADER_BYTES: Final = 2048
MAX_PART_NAME_BYTES: Final = 1024
MAX_MEDIA_TYPE_BYTES: Final = 127
PREAMBLE_BYTES: Final = 8192
SLOT_OFFSETS: Final = (4096, 6144)
SLOT_BYTES: Final = 2048
#: One re-wrap a second for 300 years; a higher generation was forged, and its successor must fit 64 bits.
MAX_SLOT_GENERATION: Final = 10**10

# --- datasets -------------------------------------------------------------------------------------------------------
MAX_PARTS: Final = 200_000
MAX_COMMIT_BYTES: Final = 256 * 1024 * 1024
MAX_COMMIT_NUMBER: Final = 10**8 - 1
#: Writers retry a lost commit race this often before they report a conflict.
COMMIT_ATTEMPTS: Final = 8
MAX_KEY_GENERATION: Final = 10**8 - 1

# --- files of BigDL PPML, which are only read ------------------------------------------------------------------------
LEGACY_GEN_A_HEADER_BYTES: Final = 25
LEGACY_GEN_B_HEADER_BYTES: Final = 400
LEGACY_MAC_BYTES: Final = 32
#: What is hashed, checked and decrypted at a time.
LEGACY_SEGMENT_BYTES: Final = 1024 * 1024
#: One digest a segment is kept while a file is read: 32 MiB for the largest.
MAX_LEGACY_FILE_BYTES: Final = 2**40
#: A Fernet token is one text, checked and decrypted in memory.
MAX_LEGACY_FERNET_BYTES: Final = 512 * 1024 * 1024
#: Key files hold one line: a wrapped key, an identifier or a URL.
MAX_LEGACY_KEY_BYTES: Final = 4096
MAX_LEGACY_META_BYTES: Final = 16 * 1024

# --- key endpoint ---------------------------------------------------------------------------------------------------
MAX_ENDPOINT_REQUEST_BYTES: Final = 4 * 1024 * 1024
MAX_ENDPOINT_RESPONSE_BYTES: Final = 4 * 1024 * 1024
#: A request, from its token to its answer; also how long a client waits.
ENDPOINT_TIMEOUT_SECONDS: Final = 30.0
#: TLS handshake and head of the first request: any user of the machine can begin one.
ENDPOINT_ADMISSION_SECONDS: Final = 5.0
#: Each is a thread. Clients hold one for one call, so more of them only wait a little.
MAX_ENDPOINT_CONNECTIONS: Final = 64
MAX_CACHED_DATA_KEYS: Final = 16384
#: How long an unwrapped data key outlives `redoubt keys disable`, in each process that keeps one; the same in Java.
CACHED_KEY_SECONDS: Final = 600.0

# --- evidence -------------------------------------------------------------------------------------------------------
#: What the adapter reads of one file; each parser's own bound is lower.
MAX_EVIDENCE_FILE_BYTES: Final = 16 * 1024 * 1024
REPORT_DATA_BYTES: Final = 64
MAX_NONCE_BYTES: Final = 64
#: A quote with its PCK chain is about 5 KB; some providers pad it to 8 KB.
MAX_QUOTE_BYTES: Final = 64 * 1024
#: TCB info and QE identity with chains and CRLs: about 30 KB today.
MAX_COLLATERAL_BYTES: Final = 1024 * 1024
#: Parsed collaterals that a process keeps: one a kind of platform (FMSPC and CA).
MAX_PARSED_COLLATERALS: Final = 16
#: Enclaves and TDs, each on one platform, of which a process remembers what their last quote said: 20 KB each.
MAX_REMEMBERED_QUOTES: Final = 256
MAX_SNP_CERTIFICATES: Final = 8
MAX_CERTIFICATE_BYTES: Final = 16 * 1024
#: CCEL tables of guests are 64 KB; firmware may reserve more and leave the rest 0xff.
MAX_EVENT_LOG_BYTES: Final = 4 * 1024 * 1024
MAX_EVENTS: Final = 65536
MAX_LOG_DIGESTS: Final = 8

# --- TPM quotes, HCL reports, tokens --------------------------------------------------------------------------------
#: A TPMS_ATTEST of a quote is about 150 bytes; three banks and the longest nonce stay far below this.
MAX_TPM_ATTEST_BYTES: Final = 1024
#: TPMT_SIGNATURE of RSA-4096, with its header.
MAX_TPM_SIGNATURE_BYTES: Final = 1024
MAX_TPM_SIZED_BYTES: Final = 512
#: TPM 2.0 PC clients have 24 registers and at most five banks.
MAX_PCR_INDEX: Final = 23
MAX_PCR_SELECTIONS: Final = 8
MAX_PUBLIC_KEY_BYTES: Final = 4096
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 4096
MAX_RSA_EXPONENT_BITS: Final = 64
#: Azure's NV index holds 2600 bytes.
MAX_HCL_REPORT_BYTES: Final = 16 * 1024
#: Evidence in JSON: the first encodings spell bytes as lists of numbers, six characters each.
MAX_EVIDENCE_JSON_BYTES: Final = 512 * 1024
MAX_JSON_DEPTH: Final = 32
MAX_JSON_NUMBER_DIGITS: Final = 32
MAX_TOKEN_BYTES: Final = 256 * 1024
MAX_KEY_SET_BYTES: Final = 256 * 1024
MAX_KEY_SET_KEYS: Final = 128
MAX_TOKEN_CLAIMS: Final = 4096
#: Clocks of issuers and verifiers differ; more than this is a wrong clock.
TOKEN_CLOCK_SKEW_SECONDS: Final = 60

# --- manifests and their results -----------------------------------------------------------------------------------
#: RFC 8785 knows no larger whole number.
LARGEST_INTEGER: Final = 2**53 - 1
#: A manifest of 1000 programs is about 300 KB; TOML is parsed in Python.
MAX_MANIFEST_BYTES: Final = 512 * 1024
#: Python's TOML parser needs time and memory with the square of a dotted key's length, and keys end with their line.
MAX_MANIFEST_LINE_DOTS: Final = 128
MAX_MANIFEST_ENTRIES: Final = 4096
MAX_MANIFEST_TEXT: Final = 1024
MAX_MANIFEST_VERSION: Final = 10**8 - 1
#: Payload in base64, and a signature of each owner.
MAX_ENVELOPE_BYTES: Final = 2 * 1024 * 1024
MAX_MANIFEST_SIGNATURES: Final = 256
MAX_OWNER_KEY_BYTES: Final = 4096
MAX_PROGRAM_BYTES: Final = 8 * 1024 * 1024
MAX_PROGRAM_FILES: Final = 65536
MAX_PROGRAM_TEXT: Final = 64 * 1024
MAX_ARGUMENTS: Final = 256
MAX_ARGUMENT_CHARACTERS: Final = 4096
#: Grants are re-appraised at the latest after this: a revoked manifest stops being of use.
MAX_EAR_SECONDS: Final = 3600
MAX_REFUSAL_BYTES: Final = 1024 * 1024

# --- the broker's protocol ------------------------------------------------------------------------------------------
#: Evidence in JSON, an event log of the usual 64 KB in base64, init-data.
MAX_RCAR_BYTES: Final = 1024 * 1024
RCAR_NONCE_BYTES: Final = 32
MAX_INIT_DATA_BYTES: Final = 128 * 1024
#: A resource of the largest size, encrypted and in base64url.
MAX_JWE_BYTES: Final = 2 * 1024 * 1024
#: What the broker's key API takes and gives in clear: the largest batch of wrapped keys is what decides it.
MAX_KEY_API_BYTES: Final = 4 * 1024 * 1024
MAX_TICKET_CHARACTERS: Final = 1024
#: From the challenge to its answer, and how long the result of a session is kept for its cookie.
CHALLENGE_SECONDS: Final = 300
#: A certificate request of a role has one key, one signature and one attribute.
MAX_CSR_BYTES: Final = 2 * 1024
#: A request for a certificate, or its answer: one certificate, three CAs, a secret.
MAX_MEMBERSHIP_BYTES: Final = 64 * 1024
#: One certificate in PEM that a peer shows.
MAX_PEER_CERTIFICATE_BYTES: Final = 16 * 1024
#: The CA of a trust domain signs for one epoch and is trusted for two.
DOMAIN_CA_EPOCH_SECONDS: Final = 30 * 24 * 3600
#: A role's certificate; far below an epoch, and renewed while the role runs. A broker may be set to less.
ROLE_CERTIFICATE_SECONDS: Final = 24 * 3600
MIN_ROLE_CERTIFICATE_SECONDS: Final = 10
#: The file of an internal CA: a key and three certificates in PEM, about 3 KB.
MAX_AUTHORITY_BYTES: Final = 64 * 1024
#: A server's key with its chain, or an enclave signing key; each host adds its name.
MAX_IDENTITY_BYTES: Final = 256 * 1024
MAX_CERTIFICATE_HOSTS: Final = 100
#: A common name has 64 characters (RFC 5280), and a CA's says more than this.
MAX_CERTIFICATE_NAME_CHARACTERS: Final = 40
#: No certificate from before a rotation lives longer.
MAX_OVERLAP_DAYS: Final = 397
#: What `redoubt certs show` calls due.
CERTIFICATE_RENEWAL_DAYS: Final = 30
#: A job may write for so long before it commits.
TICKET_SECONDS: Final = 7 * 24 * 3600
#: An owner signs each request for itself; more than this is a clock that is wrong, or a token that is kept.
MAX_OWNER_TOKEN_SECONDS: Final = 300
MAX_OWNER_TOKEN_BYTES: Final = 4096
MAX_REQUEST_PATH: Final = 1024
#: Method, path and headers; a token of an owner or an attester has a few kilobytes.
MAX_BROKER_HEAD_BYTES: Final = 64 * 1024
BROKER_HANDSHAKE_SECONDS: Final = 10.0
#: Unfinished TLS handshakes of everybody, and of one peer. A cluster that starts behind one address has as many.
MAX_HANDSHAKES: Final = 512
MAX_PEER_HANDSHAKES: Final = 256
#: From a connection, or the first byte of a further request, to the end of the head.
BROKER_HEAD_SECONDS: Final = 10.0
#: Time to send a whole body. A peer that dawdles holds a place among the connections.
BROKER_BODY_SECONDS: Final = 20.0
#: A peer takes no more of an answer than its window: so long it holds a place without reading on.
BROKER_ANSWER_SECONDS: Final = 30.0
MAX_BROKER_CONNECTIONS: Final = 1024
#: Of them, how many one peer may hold.
MAX_PEER_CONNECTIONS: Final = 768
#: Besides connections: the store's, files, and what the interpreter holds.
BROKER_OTHER_DESCRIPTORS: Final = 512
BROKER_START_SECONDS: Final = 10.0
#: What runs when a broker is told to stop has so long to end.
BROKER_SHUTDOWN_SECONDS: Final = 5.0
#: Requests a second from one address, and how many at once; a refused one counts as several.
PEER_REQUESTS_PER_SECOND: Final = 200.0
PEER_BURST: Final = 1000.0
REFUSED_REQUEST_COST: Final = 10.0
MAX_RATE_LIMITED_PEERS: Final = 4096
#: Commits of a dataset that writers announced and nobody registered yet: writers at once, and some that died.
MAX_ANNOUNCED_HEADS: Final = 64
#: Requests for the broker's own evidence at one time, each in a thread of its 40.
MAX_EVIDENCE_COLLECTIONS: Final = 4
#: Between two anchorings of the store in a counter; an NV index of a TPM wears out after some 100,000 writes.
ANCHOR_SECONDS: Final = 3600.0
#: Platforms whose collateral, or the failure to fetch it, is kept in memory.
MAX_COLLATERAL_PLATFORMS: Final = 256
#: Requests that wait for a vendor's answer, one fetch at a time; the broker has 40 threads.
MAX_COLLATERAL_WAITERS: Final = 8
MAX_PROBLEM_BYTES: Final = 64 * 1024

# --- the broker's store ---------------------------------------------------------------------------------------------
#: Lost races and connections are tried again this often, with a pause that doubles up to the second number: the time
#: in which a database restarts.
STORE_ATTEMPTS: Final = 10
STORE_FIRST_PAUSE_SECONDS: Final = 0.02
STORE_LONGEST_PAUSE_SECONDS: Final = 1.5
#: Of one broker to its database, and how long one request waits for one of them.
STORE_CONNECTIONS: Final = 16
STORE_WAIT_SECONDS: Final = 30
#: How long the database may take to answer a connection, or to acknowledge what was sent to it.
STORE_CONNECT_SECONDS: Final = 10
#: A session that ended is known as expired for so long; then it is unknown.
EXPIRED_SESSION_SECONDS: Final = 3600
MAX_RESOURCE_BYTES: Final = 1024 * 1024
MAX_KEPT_REFUSALS: Final = 10_000
MAX_AUDIT_PAGE: Final = 1000
#: Rows that are written in one transaction: as many threads as decide at once.
MAX_AUDIT_BATCH: Final = 128
#: An event names an evidence digest, a decision and what it is about.
MAX_AUDIT_EVENT_BYTES: Final = 64 * 1024
#: A row of an export: the event with its number, time and digests.
MAX_AUDIT_LINE_BYTES: Final = MAX_AUDIT_EVENT_BYTES + 1024

#: Shares of a root key: more people than that do not meet.
MAX_SHARES: Final = 16
MAX_SHARE_TEXT_BYTES: Final = 1024
MAX_RECIPIENT_KEY_BYTES: Final = 4096
#: One row of a backup, in base64: a manifest's envelope is the largest.
MAX_BACKUP_LINE_BYTES: Final = 4 * 1024 * 1024
MAX_BACKUP_HEADER_BYTES: Final = 4096

# --- collection of evidence -----------------------------------------------------------------------------------------
#: SEV_FW_BLOB_MAX_SIZE, and what configfs-tsm may return of certificates.
MAX_AUXILIARY_BYTES: Final = 64 * 1024
#: Another process may write to our configfs entry; after so many tries something is wrong.
TSM_ATTEMPTS: Final = 4
TPM_COMMAND_SECONDS: Final = 30.0

# --- agent ----------------------------------------------------------------------------------------------------------
#: The private copy of a program lies in memory.
MAX_BUNDLE_BYTES: Final = 4 * 1024 * 1024 * 1024
#: A virtual environment with Spark, pandas and their tests has about 21 000.
MAX_IMAGE_FILES: Final = 500_000
#: That hash an image, one a core: more would wait for one disk.
IMAGE_HASH_PROCESSES: Final = 8
#: The manifest of a signed jar names each of its files.
MAX_JAR_MANIFEST_BYTES: Final = 16 * 1024 * 1024
#: A hundred bytes an entry; jars of half a million files have 50 MB.
MAX_JAR_DIRECTORY_BYTES: Final = 256 * 1024 * 1024
#: Linux reads 256 bytes of a `#!` line.
MAX_SHEBANG_BYTES: Final = 256
BROKER_CONNECT_SECONDS: Final = 5.0
BROKER_TIMEOUT_SECONDS: Final = 30.0
#: A broker that restarts, or whose store changes hands, is back by then; jobs wait for it.
BROKER_RETRY_SECONDS: Final = 30.0
#: The same for owners: people wait.
OWNER_RETRY_SECONDS: Final = 5.0
#: An unwrap of MAX_KEY_BATCH keys as JWE is about 200 KB.
MAX_BROKER_ANSWER_BYTES: Final = 4 * 1024 * 1024
#: A challenge whose answer was lost is used up; so often another one is asked for.
ATTEST_ATTEMPTS: Final = 3
#: Of a job that writes many datasets; each is dropped when its commit is registered.
MAX_TICKETS: Final = 16384

# --- TEEs and their library operating systems -------------------------------------------------------------------------
#: A manifest names each file of an installation with its digest: 200 bytes each, 100 000 of them.
MAX_TEE_MANIFEST_BYTES: Final = 64 * 1024 * 1024
#: What one socket's EPC can be at most (4th generation Xeon); Gramine makes the whole enclave before it starts.
MAX_ENCLAVE_BYTES: Final = 512 * 1024**3
#: Each has a stack in the enclave's plan; nothing that runs here comes near.
MAX_ENCLAVE_THREADS: Final = 4096
#: Of Occlum's kernel; 2 GB are what people give it.
MAX_KERNEL_HEAP_BYTES: Final = 64 * 1024**3
MAX_PYTHON_WORKERS: Final = 256
MAX_CORES: Final = 1024
MAX_MALLOC_ARENAS: Final = 64
#: The chain of libraries that one program loads; Spark's JVM with pandas has about 600.
MAX_SHARED_LIBRARIES: Final = 20_000
#: Lists of the kernel: mounts and swaps.
MAX_PROC_BYTES: Final = 4 * 1024 * 1024

# --- receipts -------------------------------------------------------------------------------------------------------
#: What an agent reports: its attestation results, 3 KB each, are the most of it.
MAX_REPORTED_BYTES: Final = 1536 * 1024
#: The reported part twice in base64, and what the broker proves; it must fit one answer of the broker.
MAX_RECEIPT_BYTES: Final = 4 * 1024 * 1024
#: One every 36 minutes: nine days.
MAX_RECEIPT_ROLES: Final = 384
#: Other members of the job's trust domain: a cluster of many executors, and what was killed in it within a day.
MAX_RECEIPT_MEMBERS: Final = 512
#: Datasets at one commit that were read or written, resources, and commits: each is about 250 bytes.
MAX_RECEIPT_FACTS: Final = 2048
MAX_RECEIPT_ENGINES: Final = 32
MAX_RECEIPT_TEXT: Final = 1024
#: Rows of the audit log that the broker reads for one receipt.
MAX_RECEIPT_ROWS: Final = 100_000

# --- Spark ----------------------------------------------------------------------------------------------------------
#: From starting a process of a cluster until it does its work: measuring it from a cold disk takes most of that.
CLUSTER_START_SECONDS: Final = 180.0
#: From asking a process of a cluster to end until it is killed.
CLUSTER_END_SECONDS: Final = 10.0
MAX_CLUSTER_WORKERS: Final = 256
#: A longer line is a wrong separator rather than data; a task holds at least one whole line in memory.
MAX_LINE_BYTES: Final = 256 * 1024 * 1024

# --- configuration --------------------------------------------------------------------------------------------------
MAX_CONFIG_BYTES: Final = 1024 * 1024
