package io.redoubt.parquet;

import io.redoubt.crypto.FieldList;
import io.redoubt.crypto.Texts;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.UUID;

/**
 * What a Parquet file is, and what every module in it is bound to: the AAD prefix of the file. The algorithm belongs to it,
 * because Parquet states it beside the encrypted footer in clear, where a change to the weaker one would go unseen.
 *
 * @param name path relative to the dataset, partition folders included
 */
record PartIdentity(UUID dataset, UUID commit, Algorithm algorithm, String name) {
    private static final byte[] LABEL = "redoubt/parquet/v1".getBytes(StandardCharsets.US_ASCII);

    byte[] aadPrefix() {
        return FieldList.encode(List.of(
                LABEL,
                Texts.bytes(dataset),
                Texts.bytes(commit),
                algorithm.text().getBytes(StandardCharsets.US_ASCII),
                name.getBytes(StandardCharsets.UTF_8)));
    }
}
