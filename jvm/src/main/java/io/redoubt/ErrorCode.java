package io.redoubt;

/** The stable error codes that Java code raises; each is explained in {@code docs/errors.md}, under the same code. */
public enum ErrorCode {
    NOT_SEALED("sealed.not_sealed"),
    FORMAT_UNKNOWN("sealed.version"),
    HEADER_INVALID("sealed.header"),
    IDENTITY_MISMATCH("sealed.identity"),
    COMMITMENT_MISMATCH("sealed.commitment"),
    CHUNK_TAMPERED("sealed.chunk"),
    TRUNCATED("sealed.truncated"),
    SLOT_DAMAGED("sealed.slot"),
    COMMIT_INVALID("sealed.commit"),
    NO_COMMIT("sealed.no_commit"),
    PART_CHANGED("sealed.part_changed"),
    PART_MISSING("sealed.part_missing"),
    PART_UNLISTED("sealed.part_unlisted"),
    COMMIT_UNEXPECTED("sealed.commit_unexpected"),
    CONFLICT("sealed.conflict"),
    PLAINTEXT("sealed.plaintext"),
    KEY_FILE_MISSING("sealed.key_file"),
    KEY_INVALID("key.invalid"),
    KEY_CONTEXT("key.context"),
    ENDPOINT_FAILED("endpoint.failed"),
    ENDPOINT_UNREACHABLE("endpoint.unreachable"),
    ENDPOINT_REFUSED("endpoint.refused"),
    REGISTER_ROLLBACK("broker.rollback"),
    REGISTER_CONFLICT("broker.register_conflict"),
    COMMIT_UNANNOUNCED("broker.unannounced"),
    OPTION_REFUSED("spark.option");

    private final String code;

    ErrorCode(String code) {
        this.code = code;
    }

    /** The dotted, lower-case code. */
    public String code() {
        return code;
    }
}
