package io.redoubt.keys;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/**
 * Unwrapped data keys in memory, by the exact bytes of their wrapped records, so that a changed record never hits. The
 * least recently used key goes when the cache is full; each goes when its lifetime ends.
 */
final class DataKeyCache {
    private record Entry(DataKey key, long expires) {}

    private final int capacity;
    private final long lifetimeNanos;
    private final LinkedHashMap<ByteBuffer, Entry> entries = new LinkedHashMap<>(16, 0.75f, true);

    DataKeyCache(int capacity, Duration lifetime) {
        this.capacity = capacity;
        this.lifetimeNanos = lifetime.toNanos();
    }

    synchronized Optional<DataKey> get(byte[] record) {
        ByteBuffer name = ByteBuffer.wrap(record);
        Entry entry = entries.get(name);
        if (entry == null) {
            return Optional.empty();
        }
        if (entry.expires() - System.nanoTime() < 0) {
            entries.remove(name);
            return Optional.empty();
        }
        return Optional.of(entry.key());
    }

    synchronized void put(byte[] record, DataKey key) {
        entries.put(ByteBuffer.wrap(record.clone()), new Entry(key, System.nanoTime() + lifetimeNanos));
        if (entries.size() > capacity) {
            Map.Entry<ByteBuffer, Entry> eldest = entries.entrySet().iterator().next();
            entries.remove(eldest.getKey());
        }
    }

    synchronized void clear() {
        entries.clear();
    }
}
