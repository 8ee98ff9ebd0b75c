package io.redoubt.cluster;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/**
 * Which executors of a worker were attested. An agent writes its status file once the broker has accepted it; before that the
 * process that a worker started is no executor yet.
 */
final class ExecutorStarts {
    private static final int TAIL_BYTES = 16 * 1024;
    private static final int MAX_LINE = 512;
    private static final long POLL_MILLISECONDS = 100;
    private static final String SAYS = "redoubt: [";

    private final Path status;
    private final Set<String> waiting = ConcurrentHashMap.newKeySet();
    private final Set<String> attested = ConcurrentHashMap.newKeySet();
    private final ScheduledExecutorService watch = Executors.newSingleThreadScheduledExecutor(work -> {
        Thread thread = new Thread(work, "redoubt-executors");
        thread.setDaemon(true);
        return thread;
    });

    /** {@code status} is the folder in which agents say what they attested. */
    ExecutorStarts(Path status) {
        this.status = status;
    }

    /** Runs {@code then} when the executor is attested, if it does not end before. */
    void whenAttested(String name, Runnable then) {
        waiting.add(name);
        look(name, then);
    }

    private void look(String name, Runnable then) {
        if (Files.exists(status.resolve("executor-" + name + ".json"))) {
            attested.add(name);
        }
        if (!attested.contains(name)) {
            if (waiting.contains(name)) {
                watch.schedule(() -> look(name, then), POLL_MILLISECONDS, TimeUnit.MILLISECONDS);
            }
        } else if (waiting.remove(name)) {
            then.run();
        }
    }

    /**
     * Forgets an executor that has ended.
     *
     * @return why it was refused, in the words of its agent, if it never was attested and its agent said so
     */
    Optional<String> ended(String name, Path stderr) {
        waiting.remove(name);
        return attested.remove(name) ? Optional.empty() : refusal(stderr);
    }

    private static Optional<String> refusal(Path stderr) {
        try (RandomAccessFile file = new RandomAccessFile(stderr.toFile(), "r")) {
            file.seek(Math.max(0, file.length() - TAIL_BYTES));
            byte[] tail = new byte[(int) (file.length() - file.getFilePointer())];
            file.readFully(tail);
            try (Stream<String> lines = new String(tail, StandardCharsets.UTF_8).lines()) {
                return lines.filter(line -> line.startsWith(SAYS))
                        .reduce((first, second) -> second)
                        .map(line -> line.substring(SAYS.length() - 1, Math.min(line.length(), MAX_LINE)));
            }
        } catch (IOException e) {
            return Optional.empty();
        }
    }
}
